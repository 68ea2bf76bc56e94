# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
"""What is measured: the components with a few parameters each, and the pairs whose difference is a feature's cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import CombineOp
from rtl_gen.catalogue import component_names, make_component
from rtl_gen.combiner import CombinerPlane, SpikeCombiner

from .registry import get_board
from .sizes import FAMILIES, Family

#: The board of each family whose core gives the parameters.
BOARDS: dict[Family, str] = {"ice40": "icebreaker", "ecp5": "ulx3s_85f"}


@dataclass(frozen=True)
class Part:
    """Gateware to be measured: ``make`` makes it anew; ``parameters`` says in a few words which it is."""

    component: str
    parameters: str
    family: Family
    settings: Mapping[str, str]
    make: Callable[[], wiring.Component]


@dataclass(frozen=True)
class Difference:
    """A feature's cost: ``whole`` has it, ``without`` does not, all else is the same.

    units: neuron units in it (0: none).  channels: output channels it serves (P, or the unit's part of them).
    lanes: neuron lanes, bits of the spike words that pass it (channels x Tp).
    """

    feature: str
    whole: Part
    without: Part
    units: int
    channels: int
    lanes: int

    @property
    def components(self) -> tuple[str, ...]:
        """Components that it tells something about."""
        feature = "MembraneShortcutMux" if "membrane" in self.feature else "SpikeCombiner"
        return feature, self.whole.component


def board_settings(board: str) -> dict[str, str]:
    """A board's core as component settings: what differs from the defaults."""
    core, usual = get_board(board).core, CoreConfig()
    made = {}
    for field in fields(CoreConfig):
        value = getattr(core, field.name)
        if is_dataclass(value):
            made |= {f"{field.name}.{name}": str(part) for name, part in asdict(value).items()}
        elif value != getattr(usual, field.name):
            made[field.name] = str(value)
    return made


#: Parameters other than those of the boards' cores.
_MORE: dict[str, tuple[dict[str, str], ...]] = {
    "GateMultiplier": ({"width": "19"}, {"width": "20", "gated_width": "16"}),
    "LIFArray": (
        {"neurons": "16"},
        {"neurons": "16", "leak_shifts": "", "reset": "soft"},
        {"neurons": "16", "shortcut": "1"},
        {"neurons": "64", "leak_shifts": "1,3"},
        {"neurons": "64", "units": "4"},
        {"neurons": "256", "input_width": "16", "membrane_width": "24"},
    ),
    "FlashReader": ({"addresses": "0x100000"}, {"addresses": "0x100000,0x100010"}),
    "MembraneShortcutMux": ({"width": "16"}, {"width": "18"}, {"width": "24"}),
    "SpikeCombiner": ({"width": "32"}, {"width": "64"}, {"width": "128"}),
    "NeuronUnit": ({"leak_terms": "0"}, {"leak_terms": "2"}),
    "EventScanner": ({"fifo_depth": "8"},),
    "SynapseStage": ({"weight_bits": "4"},),
    "SpikeMemory": ({"spike_depth": "4096"},),
    "StateMemory": ({"state_depth": "2048", "neuron_units": "1"},),
    "StreamMemory": ({"stream_width": "12", "stream_depth": "2048"},),
    "ResidentStore": ({"store_depth": "1024"},),
    "ShortcutQueue": ({"max_planes": "2"},),
    "StreamStore": ({"store_fifo": "2"},),
    "WriteBus": ({"engines": "4"},),
}
#: Components that are not parametrised by a core, and those measured on their own board's family only.
_NO_CORE = ("FlashReader", "GateMultiplier", "LIFArray", "MembraneShortcutMux", "SpikeCombiner")
_OWN_FAMILY = ("Core", "ResidentStore")


def parts(component: str | None = None, families: tuple[Family, ...] = FAMILIES) -> list[Part]:
    """Everything that is measured of ``component``, or of all, by component and family."""
    made = []
    for name in component_names() if component is None else [component]:
        for family in families:
            if name not in _NO_CORE:
                for own, board in BOARDS.items():
                    if name not in _OWN_FAMILY or own == family:
                        made.append(_part(name, f"core of {board}", board_settings(board), family))
            for settings in _MORE.get(name, ()):
                label = " ".join(f"{key}={value or 'none'}" for key, value in settings.items())
                made.append(_part(name, label, settings, family))
    return made


def _part(name: str, label: str, settings: dict[str, str], family: Family) -> Part:
    return Part(name, label, family, settings, lambda: make_component(name, settings))


class Tied(wiring.Component):
    """A component with some inputs, or fields of them, tied to a constant: synthesis takes out what serves them.

    Parameters
    ----------
    inner: the component; its ports are this one's.
    ties: input, with dots before its fields, to its value.

    Raises
    ------
    ValueError: no such input.
    """

    def __init__(self, inner: wiring.Component, ties: Mapping[str, int]):
        members = dict(inner.signature.members)
        for path in ties:
            first, *names = path.split(".")
            if first not in members or members[first].flow != In or (names and not _has(members[first].shape, names)):
                raise ValueError(f"{type(inner).__name__} has no input '{path}'")
        self._inner, self._ties = inner, dict(ties)
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.inner = inner = self._inner
        for name, member in self.signature.members.items():
            outside, inside = getattr(self, name), getattr(inner, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        for path, value in self._ties.items():
            target: Any = inner
            for name in path.split("."):
                target = getattr(target, name)
            m.d.comb += target.eq(value)
        return m


def _has(shape: Any, names: list[str]) -> bool:
    try:
        for name in names:
            shape = shape[name].shape
    except (KeyError, TypeError, AttributeError):
        return False
    return True


class SpikePath(wiring.Component):
    """A spike word's way through the write-back: its register, the combiner, the spike memory's data.

    Parameters
    ----------
    width: bits of the word.
    combine: one function, "all", or None for spikes that are written as they are.

    Members
    -------
    take, word: a spike word comes.  step: its next plane.  has_plane, shortcut: the shortcut's plane; counts go
        on for one plane more.  op: the function, with "all".  out: the plane that is written.
    """

    def __init__(self, *, width: int, combine: CombineOp | str | None):
        self._width, self._combine = width, combine
        super().__init__(
            {
                "take": In(1),
                "word": In(width),
                "step": In(1),
                "has_plane": In(1),
                "shortcut": In(width),
                "op": In(2),
                "out": Out(width),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        own = Signal(self._width, reset_less=True)
        if self._combine is None:
            inverts = Const(0, 1)
            m.d.comb += self.out.eq(own)
        else:
            m.submodules.combiner = combiner = SpikeCombiner(width=self._width)
            counts = self._combine in (CombineOp.ADD, "all")
            op = self.op if self._combine == "all" else Const(self._combine, 2)
            inverts = op == CombineOp.IAND
            plane = Mux(inverts, CombinerPlane.AND, op)
            m.d.comb += [
                # Only a sum has more planes than its shortcut.
                combiner.plane.eq(Mux(self.has_plane, plane, CombinerPlane.PASS) if counts else plane),
                combiner.carry.eq(own),
                combiner.shortcut.eq(self.shortcut),
                self.out.eq(combiner.out),
            ]
            if counts:
                with m.If(self.step):
                    m.d.sync += own.eq(combiner.carry_out)
        with m.If(self.take):
            m.d.sync += own.eq(self.word ^ inverts.replicate(self._width))
        return m


def differences(component: str | None = None, families: tuple[Family, ...] = FAMILIES) -> list[Difference]:
    """The features measured by difference, with the parameters of each family's board."""
    made = []
    for family in families:
        board = BOARDS[family]
        core, settings = get_board(board).core, board_settings(board)
        label = f"core of {board}"
        channels = core.slots_per_step
        lanes, word = channels * core.time_lanes, core.spike_width

        def tied(name: str, words: str, ties: dict[str, int], family=family, settings=settings, label=label) -> Part:
            return Part(name, f"{label}, {words}", family, settings, lambda: Tied(make_component(name, settings), ties))

        off = {"mode.use_current": 0}
        made += [
            Difference(
                "membrane shortcut",
                tied("NeuronUnit", "all", {}),
                tied("NeuronUnit", "no membrane shortcut", {**off, "shortcut": 0}),
                1,
                channels,
                lanes,
            ),
            Difference(
                "membrane shortcut",
                tied("NeuronStage", "all", {}),
                tied("NeuronStage", "no membrane shortcut", {**off, "shortcut_word": 0}),
                core.neuron_units,
                core.output_lanes,
                word,
            ),
        ]

        def path(combine: CombineOp | str | None, family=family, word=word) -> Part:
            words = {None: "no combiner", "all": "all functions"}.get(combine) or f"only {CombineOp(combine).name}"
            return Part("SpikePath", words, family, {}, lambda: SpikePath(width=word, combine=combine))

        for combine in (*CombineOp, "all"):
            feature = f"combiner {'of all' if combine == 'all' else CombineOp(combine).name}"
            made.append(Difference(feature, path(combine), path(None), 0, core.output_lanes, word))
        made.append(
            Difference(
                "combiner of all",
                tied("WriteBack", "all", {}),
                tied("WriteBack", "no combiner", {"shortcut_word": 0, "descriptor.combine": 0}),
                0,
                core.output_lanes,
                word,
            )
        )
    return [found for found in made if component is None or component in found.components]
