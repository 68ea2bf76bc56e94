"""Neuron datapath: the registers and adders of one neuron unit."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.attention import GATE_BITS
from refmodel.config import CoreConfig
from refmodel.layout import slot_to_spike

from .block_ram import LUT_RAM
from .carry import Kept, add_choice, add_kept, on_ecp5, subtract
from .delay import delayed
from .gate_multiplier import GateMultiplier
from .layouts import COLLISION_FREE
from .leak import add_leak, leaks_inverted
from .neuron_control import control_layout, in_ring, joining_clock, mode_layout, spike_to_write
from .shortcut import MembraneShortcutMux


def value_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of a datapath that carry the values of a unit's slots."""
    members = {
        "sum": In(signed(config.acc_width)),
        "shortcut": In(1),
        "spike": Out(1),
        "membrane": Out(signed(config.membrane_width)),
    }
    if config.stream_width:
        members |= {"stream": In(signed(config.stream_width)), "input": Out(signed(config.stream_width))}
    if config.attention is not None:
        members["gate"] = In(GATE_BITS)
    if config.state_depth:
        members |= {"begins": In(signed(config.membrane_width)), "kept": Out(signed(config.membrane_width))}
    return members


class NeuronDatapath(wiring.Component):
    """One neuron a clock: H = leak(V) + X + constant, S = [H >= threshold], reset.

    leak(V) = V - (V >> a) - (V >> b), or (V * m) >> f in a core with ``leak_bits``; hard reset
    V = 0, soft reset V = H - threshold, or no reset V = H; a readout accumulates V = H and takes its
    bias once.  With ``rectify`` the membrane takes max(X, 0), with ``extract`` the spike is a bit of X.

    Pipeline, from the slot's clock: 0 constant; 1 X = sum + constant; a clock more to add a stream, and one to gate;
    then two for H and H - threshold; then the spike is known; then reset, and two for the leak.

    With P/NU = 4 the four clocks of this recurrence hold the four lanes' membranes: X and X - threshold are made
    first, so that V meets both at once, and the ring moves on with each slot alone.  With more lanes the membranes
    lie in a memory, and the threshold is taken from H.

    Members
    -------
    controls, mode: see :class:`NeuronControl`.
    bias, bias_shortcut, not_threshold: see :class:`NeuronParams`.
    sum: this clock's slot's synaptic sum.  shortcut: its shortcut spike.
    stream: with membrane streams: R of the slot of the clock before; input: X = sum + constant + R of the one
        that started ``SLOT_TO_STREAM`` clocks before.
    gate: with attention: the gate of the slot that started ``SLOT_TO_STREAM`` clocks before.
    begins: with a state memory: V, leak included, of a slot that is ``first``, ``loading_clock`` clocks after it.
    kept: leak(V) for the next step, ``slot_to_state`` clocks after the slot, of those with ``keep``.
    spike, membrane: S and H of the slot that started ``slot_to_spike`` clocks before.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                **value_members(config),
                "controls": In(control_layout(config)),
                "mode": In(mode_layout(config)),
                "bias": In(signed(config.acc_width)),
                "bias_shortcut": In(signed(config.acc_width)),
                "not_threshold": In(config.membrane_width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, slots, width = self._config, self.controls.slots, self._config.membrane_width
        wide = signed(width)
        ring, joins, spikes = in_ring(cfg), joining_clock(cfg), slot_to_spike(cfg)

        arriving = self._add_input(m, platform)
        driven = Mux(self.mode.rectify & arriving[-1], 0, arriving) if cfg.rectify else arriving
        h, margin = Signal(wide, reset_less=True), Signal(wide, reset_less=True)
        last = Signal(wide, name="leaked_last", reset_less=True)
        before = Kept(width=width, inverted=ring and leaks_inverted(cfg, platform), name="before")
        if ring:
            moves = slots[joins + 1].valid
            if cfg.state_depth:  # what is kept moves on to its end, also when no slot follows
                moves |= Cat(slots[joins + clock].valid & slots[joins + clock].keep for clock in (2, 3)).any()
            less = Signal(wide, name="input_less_threshold", reset_less=True)
            here = Signal.like(arriving, name="input_late", reset_less=True)
            m.d.sync += [
                less.eq(subtract(m, platform, "subtract", driven, self.not_threshold, width)),
                here.eq(driven),
            ]
            with m.If(moves):
                m.d.sync += [
                    h.eq(add_kept(m, platform, "h_sum", here, before, width)),
                    margin.eq(add_kept(m, platform, "margin_sum", less, before, width)),
                ]
            shown = h
        else:
            moves = Const(1, 1)
            shown = Signal(wide, name="h_late", reset_less=True)
            m.d.sync += [
                h.eq(add_kept(m, platform, "h_sum", driven, before, width)),
                margin.eq(subtract(m, platform, "subtract", h, self.not_threshold, width)),
                shown.eq(h),
            ]

        over = ~margin[-1]
        if cfg.stream_width:  # the wanted bit of X
            bit = Signal(name="extracted", reset_less=True)
            m.d.sync += bit.eq(arriving.bit_select(self.mode.extract_bit, 1) & self.mode.extract)
            over |= delayed(m, bit, spikes - joins - 1, "extracted")
        clears, subtracts = Signal(), Signal()
        m.d.comb += [
            self.spike.eq(over & self.controls.fires),
            self.membrane.eq(shown),
            clears.eq(over & self.controls.clears),
            subtracts.eq(over & self.controls.subtracts),
        ]
        reset = Signal(wide, reset_less=True)
        with m.If(moves):
            m.d.sync += reset.eq(Mux(clears, 0, Mux(subtracts, margin, shown)))
        leaked = add_leak(m, cfg, platform, self.controls, self.mode, reset, moves)
        if ring:
            with m.If(moves):
                m.d.sync += before.register.eq(leaked)
            with m.If(slots[joins].valid & slots[joins].first):
                m.d.sync += before.begun(self.begins) if cfg.state_depth else before.cleared()
            if cfg.state_depth:
                m.d.sync += last.eq(~leaked if before.inverted else leaked)
                m.d.comb += self.kept.eq(last)
        else:
            self._add_memory(m, before.register, leaked, platform)
        return m

    def _add_input(self, m: Module, platform: Any) -> Value:
        """X of the slot that started ``joining_clock`` clocks before."""
        cfg = self._config
        acc = signed(cfg.acc_width)
        x = Signal(signed(cfg.acc_width + 1), name="x", reset_less=True)
        summed = Signal(acc, reset_less=True)
        m.d.sync += summed.eq(self.sum)
        if on_ecp5(platform):  # the adder chooses
            low, high = Signal(acc, name="low", reset_less=True), Signal(acc, name="high", reset_less=True)
            spiked = Signal(reset_less=True)
            m.d.sync += [
                low.eq(self.bias),
                high.eq(self.bias_shortcut),
                spiked.eq(self.shortcut & self.mode.use_current),
            ]
            with m.If(~self.controls.takes_bias):
                m.d.sync += [low.eq(0), high.eq(0)]
            m.d.sync += x.eq(add_choice(m, platform, "x_sum", summed, high, low, spiked, len(x)))
        else:
            m.submodules.shortcut_mux = mux = MembraneShortcutMux(width=cfg.acc_width)
            m.d.comb += [
                mux.enable.eq(self.mode.use_current),
                mux.shortcut.eq(self.shortcut),
                mux.bias.eq(self.bias),
                mux.bias_shortcut.eq(self.bias_shortcut),
            ]
            constant = Signal(acc, reset_less=True)
            m.d.sync += [constant.eq(Mux(self.controls.takes_bias, mux.constant, 0)), x.eq(summed + constant)]
        if cfg.stream_width == 0:
            return x
        stream = Signal(signed(cfg.stream_width), name="stream_late", reset_less=True)
        with_stream = Signal(
            signed(max(cfg.acc_width + 1, cfg.stream_width) + 1), name="x_with_stream", reset_less=True
        )
        m.d.sync += [stream.eq(self.stream), with_stream.eq(x + stream)]
        m.d.comb += self.input.eq(with_stream)
        if cfg.attention is None:
            return with_stream
        m.submodules.gate_multiplier = multiplier = GateMultiplier(width=len(with_stream), gated_width=cfg.stream_width)
        m.d.comb += [
            multiplier.value.eq(with_stream),
            multiplier.gate.eq(self.gate),
            multiplier.enable.eq(self.mode.gated),
        ]
        return multiplier.result

    def _add_memory(self, m: Module, before: Signal, leaked: Value, platform: Any) -> None:
        """The membranes between their slots; ``before`` has the one of the slot that H is made for.

        A membrane that starts anew comes as 0: on iCE40 from a word that is never written, which saves a
        register behind the block RAM; elsewhere by the register, which the block RAM's delay wants, and which
        takes the membranes of a state memory as well.
        """
        cfg, slots = self._config, self.controls.slots
        on_ice40 = isinstance(platform, SiliconBluePlatform) and not cfg.state_depth
        stored = leaked
        if spike_to_write(cfg) > 2:
            stored = Signal(signed(cfg.membrane_width), name="leaked_late", reset_less=True)
            m.d.sync += stored.eq(leaked)
        lanes = cfg.slots_per_step
        m.submodules.membranes = memory = Memory(
            shape=signed(cfg.membrane_width),
            depth=2 * lanes if on_ice40 else lanes,
            init=[],
            attrs=COLLISION_FREE
            if on_ecp5(platform) and lanes <= LUT_RAM
            else {**COLLISION_FREE, "ram_style": "block"},
        )
        write, read = memory.write_port(), memory.read_port()
        store = slots[slot_to_spike(cfg) + spike_to_write(cfg)]
        joins = joining_clock(cfg)
        m.d.comb += [
            write.en.eq(store.valid),
            write.addr.eq(store.index),
            write.data.eq(~stored if leaks_inverted(cfg, platform) else stored),
            read.en.eq(1),
        ]
        if cfg.state_depth:
            m.d.comb += self.kept.eq(write.data)
        if on_ice40:
            m.d.comb += [read.addr.eq(Cat(slots[joins - 1].index, slots[joins - 1].first)), before.eq(read.data)]
        else:
            m.d.comb += read.addr.eq(slots[joins - 2].index)
            m.d.sync += before.eq(read.data)
            with m.If(slots[joins - 1].first):
                m.d.sync += before.eq(self.begins if cfg.state_depth else 0)
