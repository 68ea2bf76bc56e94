"""The core shapes that are measured: a name, a device and the settings of a core that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .core_devices import DEVICES, Device, get_device


@dataclass(frozen=True)
class Shape:
    """A core for a device: ``settings`` are fields of :class:`refmodel.config.CoreConfig`."""

    name: str
    device: Device
    settings: Mapping[str, Any]

    @property
    def config(self) -> CoreConfig:
        return CoreConfig(**self.settings)


#: Cores of 128 lanes for iCE40: 14-bit sums, one leak term, images of up to 64 pixels.
_ICE40: dict[str, Any] = {
    "event_lanes": 4,
    "output_lanes": 8,
    "time_lanes": 4,
    "neuron_units": 1,
    "bank_lanes": 8,  # one systolic stage
    "adder": "chain",
    "acc_width": 14,
    "membrane_width": 16,
    "leak_terms": 1,
    "dim_bits": 6,
    "bank_depth": 128,
    "spike_depth": 512,
    "max_planes": 4,
}
_UP5K = _ICE40 | {"store": "spram", "store_depth": 16384}
#: The HX8K has no SPRAM: a short store, to be streamed into, and weights of 6 bits, since it takes block RAMs too.
_HX8K = _ICE40 | {"store": "bram", "store_depth": 256, "weight_bits": 6}
#: Cores for ECP5; K, P and depths by shape.
_ECP5: dict[str, Any] = {
    "event_lanes": 4,
    "time_lanes": 4,
    "bank_lanes": 4,  # 4 weights of 8 bits fill a block RAM's port
    "adder": "chain",
    "acc_width": 14,
    "membrane_width": 20,
    "leak_terms": 1,
    "dim_bits": 8,
    "bank_depth": 256,
}
#: 512 lanes: short memories, and the shortcut queue in LUT RAM, since block RAMs are few.
_512 = {"output_lanes": 32, "neuron_units": 4, "spike_depth": 512, "store_depth": 512} | {
    "membrane_width": 18,
    "max_planes": 4,
}
_NARROW = {"weight_bits": 4, "acc_width": 12, "membrane_width": 18, "neuron_units": 2}

_SHAPES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("up5k-128-w4", "up5k", _UP5K | _NARROW),
    ("hx8k-128", "hx8k", _HX8K),
    (
        "ecp5-25f-128",
        "ecp5-25f",
        _ECP5 | {"output_lanes": 8, "neuron_units": 1, "spike_depth": 2048, "store_depth": 2048},
    ),
    ("ecp5-25f-512-w4", "ecp5-25f", _ECP5 | _512 | {"weight_bits": 4, "acc_width": 12, "bank_lanes": 8}),
    ("ecp5-85f-1024", "ecp5-85f", _ECP5 | _512 | {"engines": 2, "spike_depth": 2048, "store_depth": 1024}),
)

#: What is told to nextpnr of the clock of large cores: rerouting what is late goes on for long where much is.
_TARGETS = {"ecp5-25f-512-w4": 112_000_000}

#: Every shape by name, in the order of tables.
SHAPES: dict[str, Shape] = {
    name: Shape(name, replace(made, target_hz=_TARGETS.get(name, made.target_hz)), settings)
    for name, made, settings in ((name, get_device(device), settings) for name, device, settings in _SHAPES)
}


def chosen(names: tuple[str, ...] = (), devices: tuple[str, ...] = ()) -> list[Shape]:
    """The shapes of these names and devices, all where none is named; ConfigError for an unknown or empty choice."""
    for name in names:
        if name not in SHAPES:
            raise ConfigError(f"no core shape '{name}'; there are {', '.join(SHAPES)}")
    for device in devices:
        get_device(device)
    found = [
        shape
        for shape in SHAPES.values()
        if (not names or shape.name in names) and (not devices or shape.device.name in devices)
    ]
    if not found:
        known = [name for name in DEVICES if any(shape.device.name == name for shape in SHAPES.values())]
        raise ConfigError(f"no shape is both of the names and of the devices asked for; devices: {', '.join(known)}")
    return found
