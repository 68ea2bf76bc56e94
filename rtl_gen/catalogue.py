# amaranth: UnusedElaboratable=no
"""The components by name, each of which can be generated alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.back import verilog
from amaranth.lib import wiring

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .attention import AttentionUnit
from .attention_pools import AttentionPools
from .combiner import SpikeCombiner
from .core import Core
from .fetch import Fetch
from .flash_reader import FlashReader
from .flash_stream import FlashStream
from .gate_engine import GateEngine
from .gate_multiplier import GateMultiplier
from .lif_array import LIFArray
from .neuron import NeuronUnit
from .neuron_stage import NeuronStage
from .occupancy import OccupancyMemory
from .readout import Readout
from .scan_front import ScanFront
from .scanner import EventScanner
from .sdram import SdramController
from .sequencer import LayerSequencer
from .shortcut import MembraneShortcutMux
from .shortcut_queue import ShortcutQueue
from .spike_memory import SpikeMemory
from .state_memory import StateMemory
from .store import ResidentStore
from .stream_memory import StreamMemory
from .stream_store import StreamStore
from .synapses import SynapseArray, SynapseStage
from .walker import WindowWalker
from .write_bus import WriteBus
from .writeback import WriteBack

#: From a parameter's name and text to its value.
Parser = Callable[[str, str], Any]


@dataclass(frozen=True)
class Entry:
    """How a component is made: ``make`` takes ``parameters`` by name.

    defaults: values, as text, of parameters whose own default does not suit the component.
    """

    make: Callable[..., wiring.Component]
    parameters: Mapping[str, Parser]
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _integer(key: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ConfigError(f"parameter {key} must be a whole number, not '{value}'") from None


def _switch(key: str, value: str) -> bool:
    try:
        return {"1": True, "0": False, "true": True, "false": False}[value.lower()]
    except KeyError:
        raise ConfigError(f"parameter {key} must be 1 or 0, not '{value}'") from None


def _text(key: str, value: str) -> str:
    del key
    return value


def _integers(key: str, value: str) -> tuple[int, ...]:
    return tuple(_integer(key, part) for part in value.split(",") if part.strip())


def _pair(key: str, value: str) -> tuple[int, int] | None:
    """Two numbers, or nothing."""
    numbers = _integers(key, value)
    if len(numbers) not in (0, 2):
        raise ConfigError(f"parameter {key} must be two whole numbers such as 3,2, not '{value}'")
    return (numbers[0], numbers[1]) if numbers else None


#: Fields of a core's configuration, by the type of their defaults, and of its attention unit.
_ATTENTION = "attention"
_CONFIG: dict[str, Parser] = {
    **{
        field.name: {bool: _switch, int: _integer, str: _text}[type(field.default)]
        for field in dataclasses.fields(CoreConfig)
        if field.name != _ATTENTION
    },
    **{f"{_ATTENTION}.{field.name}": _integer for field in dataclasses.fields(AttentionConfig)},
}


def _core_config(values: Mapping[str, Any]) -> CoreConfig:
    """A configuration from its fields; it has an attention unit if a field of one is given."""
    own = {key: value for key, value in values.items() if "." not in key}
    unit = {key.partition(".")[2]: value for key, value in values.items() if "." in key}
    return CoreConfig(**own, **({_ATTENTION: AttentionConfig(**unit)} if unit else {}))


def _wide(component: Callable[..., wiring.Component], width: int) -> Entry:
    """A component whose one parameter is a width in bits."""

    def make(width: int) -> wiring.Component:
        if width < 1:
            raise ConfigError(f"component {getattr(component, '__name__', '')}: width must be at least 1, not {width}")
        return component(width=width)

    return Entry(make, {"width": _integer}, {"width": str(width)})


def _configured(component: Callable[..., wiring.Component], **defaults: str) -> Entry:
    """A component that takes the fields of a CoreConfig."""
    return Entry(lambda **values: component(config=_core_config(values)), _CONFIG, defaults)


def _attentive(component: Callable[..., wiring.Component]) -> Entry:
    """A component of the attention unit, which has sizes of its own and needs membrane streams."""

    def make(**values: Any) -> wiring.Component:
        config = _core_config(values)
        return component(config=config, attention=config.attention or AttentionConfig())

    return Entry(make, _CONFIG, {"stream_width": "16"})


_ENTRIES: dict[str, Entry] = {
    "AttentionPools": _attentive(AttentionPools),
    "AttentionUnit": _attentive(AttentionUnit),
    "Core": _configured(Core),
    "EventScanner": _configured(EventScanner),
    "Fetch": _configured(Fetch),
    "FlashReader": Entry(FlashReader, {"addresses": _integers, "wake": _integer}, {"addresses": "0x100000"}),
    "FlashStream": _configured(FlashStream, store="flash", store_fifo="2"),
    "GateEngine": _attentive(GateEngine),
    "GateMultiplier": Entry(GateMultiplier, {"width": _integer, "gated_width": _integer}, {"width": "19"}),
    "LIFArray": Entry(
        LIFArray,
        {
            "neurons": _integer,
            "units": _integer,
            "input_width": _integer,
            "membrane_width": _integer,
            "leak_shifts": _integers,
            "leak_factor": _pair,
            "reset": _text,
            "threshold": _integer,
            "bias": _integer,
            "shortcut": _switch,
            "membranes": _switch,
        },
    ),
    "LayerSequencer": _configured(LayerSequencer),
    "MembraneShortcutMux": _wide(MembraneShortcutMux, 18),
    "NeuronStage": _configured(NeuronStage),
    "NeuronUnit": _configured(NeuronUnit),
    "OccupancyMemory": _configured(OccupancyMemory),
    "Readout": _configured(Readout),
    "ResidentStore": _configured(ResidentStore),
    "ScanFront": _configured(ScanFront),
    "SdramController": _configured(SdramController, store="sdram", store_fifo="16"),
    "ShortcutQueue": _configured(ShortcutQueue),
    "SpikeCombiner": _wide(SpikeCombiner, 32),
    "SpikeMemory": _configured(SpikeMemory),
    "StateMemory": _configured(StateMemory, state_depth="1024"),
    "StreamMemory": _configured(StreamMemory, stream_width="16"),
    "StreamStore": _configured(StreamStore, store="sdram", store_fifo="16"),
    "SynapseArray": _configured(SynapseArray),
    "SynapseStage": _configured(SynapseStage),
    "WindowWalker": _configured(WindowWalker),
    "WriteBack": _configured(WriteBack),
    "WriteBus": _configured(WriteBus, engines="2"),
}


def component_names() -> list[str]:
    """Names of all components, sorted."""
    return sorted(_ENTRIES)


def make_component(name: str, settings: Mapping[str, str] | None = None) -> wiring.Component:
    """A component by name; ``settings`` are its parameters as text, the others take their defaults.

    Numbers may be written as in Python; switches are 1 or 0; several numbers are joined by commas.
    Raises ConfigError for an unknown name or parameter, or a value that is not allowed.
    """
    if name not in _ENTRIES:
        raise ConfigError(f"no component '{name}'; there are {', '.join(component_names())}")
    entry = _ENTRIES[name]
    unknown = sorted(set(settings or {}) - set(entry.parameters))
    if unknown:
        raise ConfigError(
            f"component {name} has no parameter '{unknown[0]}'; it takes {', '.join(sorted(entry.parameters))}"
        )
    texts = {**entry.defaults, **(settings or {})}
    return entry.make(**{key: entry.parameters[key](key, value) for key, value in texts.items()})


def component_verilog(name: str, settings: Mapping[str, str] | None = None) -> str:
    """Verilog of one component, its module named as the component; the same text for the same parameters."""
    component = make_component(name, settings)
    return verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
