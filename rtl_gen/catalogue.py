"""The components by name, each of which can be generated alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from amaranth.back import verilog
from amaranth.lib import wiring

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .combiner import SpikeCombiner
from .core import Core
from .neuron import NeuronUnit
from .neuron_stage import NeuronStage
from .readout import Readout
from .scan_front import ScanFront
from .scanner import EventScanner
from .sequencer import LayerSequencer
from .shortcut import MembraneShortcutMux
from .shortcut_queue import ShortcutQueue
from .spike_memory import SpikeMemory
from .store import ResidentStore
from .stream_memory import StreamMemory
from .synapses import SynapseArray, SynapseStage
from .walker import WindowWalker
from .writeback import WriteBack

#: Components whose one parameter is a width in bits, with its default.
_WIDTHS: dict[str, tuple[Callable[..., wiring.Component], int]] = {
    "MembraneShortcutMux": (MembraneShortcutMux, 18),
    "SpikeCombiner": (SpikeCombiner, 32),
}
#: Components that take the fields of a CoreConfig.
_CONFIGURED: dict[str, Callable[..., wiring.Component]] = {
    "Core": Core,
    "EventScanner": EventScanner,
    "LayerSequencer": LayerSequencer,
    "NeuronStage": NeuronStage,
    "NeuronUnit": NeuronUnit,
    "Readout": Readout,
    "ResidentStore": lambda config: ResidentStore(config),
    "ScanFront": ScanFront,
    "ShortcutQueue": ShortcutQueue,
    "SpikeMemory": SpikeMemory,
    "StreamMemory": StreamMemory,
    "SynapseArray": SynapseArray,
    "SynapseStage": SynapseStage,
    "WindowWalker": WindowWalker,
    "WriteBack": WriteBack,
}


def component_names() -> list[str]:
    """Names of all components, sorted."""
    return sorted([*_WIDTHS, *_CONFIGURED])


def make_component(name: str, settings: Mapping[str, str] | None = None) -> wiring.Component:
    """A component by name; ``settings`` are its parameters as text, the others take their defaults.

    Raises ConfigError for an unknown name or parameter, or a value that is not allowed.
    """
    settings = dict(settings or {})
    if name in _WIDTHS:
        factory, width = _WIDTHS[name]
        _refuse_unknown(name, settings, {"width"})
        width = _integer("width", settings.get("width", str(width)))
        if width < 1:
            raise ConfigError(f"component {name}: width must be at least 1, not {width}")
        return factory(width=width)
    if name in _CONFIGURED:
        fields = {field.name for field in dataclasses.fields(CoreConfig)}
        _refuse_unknown(name, settings, fields)
        values: dict[str, Any] = {
            key: value if key == "store" else _integer(key, value) for key, value in settings.items()
        }
        return _CONFIGURED[name](config=CoreConfig(**values))
    raise ConfigError(f"no component '{name}'; there are {', '.join(component_names())}")


def component_verilog(name: str, settings: Mapping[str, str] | None = None) -> str:
    """Verilog of one component, its module named as the component; the same text for the same parameters."""
    component = make_component(name, settings)
    return verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)


def _refuse_unknown(name: str, settings: Mapping[str, str], known: set[str]) -> None:
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(f"component {name} has no parameter '{unknown[0]}'; it takes {', '.join(sorted(known))}")


def _integer(key: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ConfigError(f"parameter {key} must be a whole number, not '{value}'") from None
