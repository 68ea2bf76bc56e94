"""Neuron unit: a pipelined, time-multiplexed LIF/IF neuron for P / NU output lanes."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import slot_to_spike

from .layouts import param_layout
from .neuron_control import NeuronControl, comparing_clock, mode_layout, slot_layout
from .neuron_datapath import NeuronDatapath, value_members
from .neuron_params import NeuronParams


class NeuronUnit(wiring.Component):
    """One neuron a clock: a :class:`NeuronDatapath` with a :class:`NeuronControl` of its own.

    The unit's lanes come in turn, P/NU of them, each at the earliest P/NU slots after its last one; with
    P/NU = ``CoreConfig.NEURON_LOOP`` none may be left out (a slot whose result nobody wants does).  Slots with
    ``keep`` follow each other without a gap.

    Members
    -------
    slot: control of this clock's slot.
    ahead: lane of the next clock's slot, if there is one.
    mode: see :func:`mode_layout`.
    run_half, write_*: parameter memory: which half computes; write of a channel's parameters.
    out_valid, out_index, out_end: the slot whose ``spike`` and ``membrane`` are shown.
    others: see :class:`NeuronDatapath`.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        index = slot_layout(config)["index"].width
        super().__init__(
            {
                **value_members(config),
                "slot": In(slot_layout(config)),
                "ahead": In(index),
                "mode": In(mode_layout(config)),
                "run_half": In(1),
                "write_en": In(1),
                "write_half": In(1),
                "write_index": In(index),
                "write_data": In(param_layout(config)),
                "out_valid": Out(1),
                "out_index": Out(index),
                "out_end": Out(1),
            }
        )

    #: Clocks from a slot to its result, without streams and attention.
    LATENCY = slot_to_spike(CoreConfig())

    @property
    def latency(self) -> int:
        """Clocks from a slot to its result on this core."""
        return slot_to_spike(self._config)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.control = control = NeuronControl(config=self._config)
        m.submodules.params = params = NeuronParams(config=self._config, units=1)
        m.submodules.path = path = NeuronDatapath(config=self._config)
        for name in ("run_half", "ahead", "write_en", "write_half", "write_index", "write_data"):
            m.d.comb += getattr(params, name).eq(getattr(self, name))
        shown = control.controls.slots[self.latency]
        m.d.comb += [
            control.slot.eq(self.slot),
            control.mode.eq(self.mode),
            params.later.eq(control.controls.slots[comparing_clock(self._config) - 1].index),
            path.bias.eq(params.bias[0]),
            path.bias_shortcut.eq(params.bias_shortcut[0]),
            path.not_threshold.eq(params.not_threshold[0]),
            path.controls.eq(control.controls),
            path.mode.eq(self.mode),
            self.out_valid.eq(shown.valid),
            self.out_index.eq(shown.index),
            self.out_end.eq(shown.end),
        ]
        if self._config.state_depth:
            keep = Signal()
            m.d.sync += keep.eq(self.slot.keep)
            m.d.comb += control.keep.eq(keep)
        for name, member in value_members(self._config).items():
            if member.flow == In:
                m.d.comb += getattr(path, name).eq(getattr(self, name))
            else:
                m.d.comb += getattr(self, name).eq(getattr(path, name))
        return m
