"""Tailoring: the smallest core of a shape that runs a network, with the widths that its weights prove sufficient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .bounds import bits_needed
from .config import CoreConfig
from .errors import CompileError
from .needs import plan
from .quantized import QuantizedNetwork

#: Memories grow in steps of so many words.
_STEP = 64
#: Most bit-planes of sources and written tensors are at least these: narrower fields save nothing.
_PLANES = 2


@dataclass(frozen=True, order=True)
class Shape:
    """The axes of a core: K, P, Tp, NU, Q, E."""

    event_lanes: int
    output_lanes: int
    time_lanes: int
    neuron_units: int
    bank_lanes: int
    engines: int = 1

    @property
    def lanes(self) -> int:
        return self.engines * self.event_lanes * self.output_lanes * self.time_lanes

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of CoreConfig."""
        return {
            "event_lanes": self.event_lanes,
            "output_lanes": self.output_lanes,
            "time_lanes": self.time_lanes,
            "neuron_units": self.neuron_units,
            "bank_lanes": self.bank_lanes,
            "engines": self.engines,
        }

    def __str__(self) -> str:
        engines = f"E={self.engines}, " if self.engines > 1 else ""
        return (
            f"{engines}K={self.event_lanes}, P={self.output_lanes}, Tp={self.time_lanes}, NU={self.neuron_units}, "
            f"Q={self.bank_lanes}"
        )


def shape_of(config: CoreConfig) -> Shape:
    """A core's axes."""
    return Shape(
        config.event_lanes,
        config.output_lanes,
        config.time_lanes,
        config.neuron_units,
        config.bank_lanes,
        config.engines,
    )


def smallest(base: CoreConfig, shape: Shape, weight_bits: int, *, proven: bool = True) -> CoreConfig:
    """A core of ``shape`` with as little of everything as there can be; the rest is ``base``'s.

    proven: sums and membranes as narrow as they can be, else as wide as ``base``'s (for outlines without weights).
    Raises ConfigError where there is no core of the shape.
    """
    widths = (weight_bits + 1, weight_bits + 1) if proven else (base.acc_width, base.membrane_width)
    return replace(
        base,
        **shape.settings,
        weight_bits=weight_bits,
        acc_width=widths[0],
        membrane_width=widths[1],
        bank_depth=max(4, shape.output_lanes // shape.event_lanes),
        spike_depth=_STEP,
        store_depth=_STEP,
        max_planes=_PLANES,
        source_planes=_PLANES,
        leak_terms=0,
        leak_shift_max=4,
        leak_bits=0,
        rectify=False,
        signed_sources=False,
        stream_width=0,
        stream_depth=_STEP,
        state_depth=_STEP if base.state_depth else 0,
    )


def tailored(
    lowered: QuantizedNetwork, base: CoreConfig, shape: Shape, *, proven: bool = True, external: bool = False
) -> CoreConfig:
    """The smallest core of ``shape`` that runs a lowered network.

    external: the weights rest in an external memory; the store holds nothing.
    Raises CompileError and ConfigError where no core of the shape will do.
    """
    if any(layer.attention is not None for layer in lowered.layers):
        raise CompileError(f"network '{lowered.name}' has attention (SynA), for which cores are not searched")
    bits = max(2, lowered.weight_bits)
    config = plan(lowered, smallest(base, shape, bits, proven=proven)).config
    depths = {
        setting: -(-getattr(config, setting) // _STEP) * _STEP
        for setting in ("spike_depth", "store_depth", "stream_depth", "state_depth")
    }
    if external:
        depths["store_depth"] = _STEP
    biases = [layer.bias for layer in lowered.layers if layer.bias is not None]
    acc = max([config.acc_width, *(bits_needed(bias, bias) for bias in biases)])
    shift = max((shift for layer in lowered.layers for shift in layer.leak_shifts), default=1)
    return replace(
        config, **depths, acc_width=acc, membrane_width=max(acc, config.membrane_width), leak_shift_max=max(1, shift)
    )
