"""Neuron unit: a pipelined, time-multiplexed LIF/IF neuron for P / NU output lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS
from refmodel.config import CoreConfig
from refmodel.layout import descriptor_fields, slot_to_spike
from refmodel.quantized import LEAK_SHIFTS

from .delay import delayed
from .gate_multiplier import GateMultiplier
from .layouts import COLLISION_FREE, param_layout
from .shortcut import MembraneShortcutMux


def slot_layout(config: CoreConfig) -> data.StructLayout:
    """Control of one neuron slot.

    valid; index: which of the unit's lanes; first: the membrane starts anew; fake: the step
    lies past T, nothing may fire; end: the chunk's last step (a readout's result is final).
    """
    index = max(1, (config.slots_per_step - 1).bit_length())
    return data.StructLayout({"valid": 1, "index": index, "first": 1, "fake": 1, "end": 1})


def mode_layout(config: CoreConfig) -> data.StructLayout:
    """What the slab's neurons do, stable while it runs: fields of the descriptor, by the same names."""
    return data.StructLayout({name: width for name, width in _mode_fields(config)})


def _mode_fields(config: CoreConfig) -> list[tuple[str, int]]:
    wanted = {
        "readout", "soft_reset", "no_reset", "stateless", "use_current", "leak_a", "leak_b", "leak_factor",
        "leak_multiply", "rectify", "extract", "extract_bit", "gated",
    }  # fmt: skip
    return [(field.name, field.width) for field in descriptor_fields(config) if field.name in wanted]


class NeuronUnit(wiring.Component):
    """One neuron a clock: H = leak(V) + X + constant, S = [H >= threshold], reset.

    leak(V) = V - (V >> a) - (V >> b), or (V * m) >> f in a core with ``leak_bits``; hard reset
    V = 0, soft reset V = H - threshold, or no reset V = H; a readout accumulates V = H and takes its
    bias once.  With ``rectify`` the membrane takes max(X, 0), with ``extract`` the spike is a bit of X.
    Pipeline, from the slot's clock: 1 sum, parameters; 2 X + constant; 3 H; 4 H - threshold; then reset
    and leak, written
    back in clock 6; a core with attention multiplies by the gate in clock 2 and is a clock later from
    there.  A lane comes back after P/NU slots, at least ``CoreConfig.NEURON_LOOP`` = 4; with
    more, the membranes lie in a memory with a read register, which block RAM can be.

    Members
    -------
    slot: control of this clock's slot.
    sum: its synaptic sum (combinational from the array's snapshots).
    shortcut: its shortcut spike.
    mode: see :func:`mode_layout`.
    run_half, write_*: parameter memory: which half computes; write of a channel's parameters.
    stream, input: with membrane streams: R, one clock after the slot; X = sum + constant + R, two after.
    gate: with attention: the gate of the slot that started two clocks before.
    out_valid, out_index, out_end, spike, membrane: result, ``latency`` clocks after the slot.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        index = slot_layout(config)["index"].width
        streams = {}
        if config.stream_width:
            streams = {"stream": In(signed(config.stream_width)), "input": Out(signed(config.stream_width))}
        if config.attention is not None:
            streams["gate"] = In(GATE_BITS)
        super().__init__(
            {
                **streams,
                "slot": In(slot_layout(config)),
                "sum": In(signed(config.acc_width)),
                "shortcut": In(1),
                "mode": In(mode_layout(config)),
                "run_half": In(1),
                "write_en": In(1),
                "write_half": In(1),
                "write_index": In(index),
                "write_data": In(param_layout(config)),
                "out_valid": Out(1),
                "out_index": Out(index),
                "out_end": Out(1),
                "spike": Out(1),
                "membrane": Out(signed(config.membrane_width)),
            }
        )

    #: Clocks from a slot to its result, without attention.
    LATENCY = slot_to_spike(CoreConfig())

    @property
    def latency(self) -> int:
        """Clocks from a slot to its result on this core."""
        return slot_to_spike(self._config)

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        wide = signed(cfg.membrane_width)
        index_bits = slot_layout(cfg)["index"].width

        m.submodules.params = params = Memory(
            shape=param_layout(cfg), depth=2 << index_bits, init=[], attrs=COLLISION_FREE
        )
        write, read = params.write_port(), params.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.write_index, self.write_half)),
            write.data.eq(self.write_data),
            read.en.eq(1),
            read.addr.eq(Cat(self.slot.index, self.run_half)),
        ]
        slots = [self.slot]
        for clock in range(1, self.latency + 2):
            late = Signal(slot_layout(cfg), name=f"slot{clock}")
            m.d.sync += late.eq(slots[-1])
            slots.append(late)

        # Clock 1: the sum is registered, the parameters arrive.
        summed = Signal(signed(cfg.acc_width), reset_less=True)
        shortcut = Signal(reset_less=True)
        m.d.sync += [summed.eq(self.sum), shortcut.eq(self.shortcut)]
        m.submodules.shortcut_mux = mux = MembraneShortcutMux(width=cfg.acc_width)
        constant = Signal(signed(cfg.acc_width))
        m.d.comb += [
            mux.enable.eq(self.mode.use_current),
            mux.shortcut.eq(shortcut),
            mux.bias.eq(read.data.bias),
            mux.bias_shortcut.eq(read.data.bias_shortcut),
            constant.eq(Mux(self.mode.readout & ~slots[1].first, 0, mux.constant)),
        ]
        width = max(cfg.acc_width + 1, cfg.stream_width) + 1 if cfg.stream_width else cfg.acc_width + 1
        current = Signal(signed(width), reset_less=True)
        streamed = self.stream if cfg.stream_width else 0
        if cfg.stream_width:
            m.d.comb += self.input.eq(current)
        threshold = Signal(wide, name="threshold2", reset_less=True)
        m.d.sync += [current.eq(summed + constant + streamed), threshold.eq(read.data.threshold)]

        # Clock 2 of a core with attention: the gate.
        joins, arriving = 2, current  # the clock in which the membrane joins, and what joins it
        if cfg.attention is not None:
            m.submodules.gate_multiplier = multiplier = GateMultiplier(width=width, gated_width=cfg.stream_width)
            m.d.comb += [
                multiplier.value.eq(current),
                multiplier.gate.eq(self.gate),
                multiplier.enable.eq(self.mode.gated),
            ]
            joins, arriving = joins + multiplier.LATENCY, multiplier.result
            threshold = delayed(m, threshold, multiplier.LATENCY, "threshold_gate")

        # Clock 2: the membrane joins.
        m.submodules.membranes = membranes = Memory(
            shape=wide, depth=max(2, cfg.slots_per_step), init=[], attrs=COLLISION_FREE
        )
        before = Signal(wide)
        h = Signal(wide, reset_less=True)
        if cfg.slots_per_step > cfg.NEURON_LOOP:  # time enough for a block RAM
            leaked = membranes.read_port()
            m.d.comb += [leaked.en.eq(1), leaked.addr.eq(slots[joins - 1].index)]
        else:
            leaked = membranes.read_port(domain="comb")
            m.d.comb += leaked.addr.eq(slots[joins].index)
        m.d.comb += before.eq(Mux(slots[joins].first, 0, leaked.data))
        driven = Mux(self.mode.rectify & arriving[-1], 0, arriving) if cfg.rectify else arriving
        m.d.sync += h.eq(before + driven)
        threshold = delayed(m, threshold, 1, "threshold_late")
        extracted = 0  # the wanted bit of X, in clock 4
        if cfg.stream_width:
            bit = Signal(name="extracted", reset_less=True)
            m.d.sync += bit.eq(arriving.bit_select(self.mode.extract_bit, 1))
            extracted = delayed(m, bit, 1, "extracted") & self.mode.extract

        # Clock 3: compare by subtraction.
        margin = Signal(wide, reset_less=True)
        h_late = Signal(wide, reset_less=True)
        m.d.sync += [margin.eq(h - threshold), h_late.eq(h)]

        # Clock 4: fire, reset, first leak term.
        fires, after = Signal(), Signal(wide)
        m.d.comb += [
            fires.eq((~margin[-1] | extracted) & ~self.mode.readout & ~slots[joins + 2].fake),
            self.spike.eq(fires),
            self.membrane.eq(h_late),
            self.out_valid.eq(slots[joins + 2].valid),
            self.out_index.eq(slots[joins + 2].index),
            self.out_end.eq(slots[joins + 2].end),
            after.eq(Mux(fires & ~self.mode.no_reset, Mux(self.mode.soft_reset, margin, 0), h_late)),
        ]
        minus_a, leak_b = Signal(wide, reset_less=True), Signal(wide, reset_less=True)
        m.d.sync += minus_a.eq(after - _leak(m, after, self.mode.leak_a) if cfg.leak_terms else after)
        if cfg.leak_terms > 1:
            m.d.sync += leak_b.eq(_leak(m, after, self.mode.leak_b))

        # Clock 5: second leak term or multiplication (which takes no terms), write back.
        store = membranes.write_port()
        m.d.comb += [
            store.en.eq(slots[joins + 3].valid),
            store.addr.eq(slots[joins + 3].index),
            store.data.eq(minus_a - leak_b),
        ]
        if cfg.leak_bits:
            product = (minus_a * self.mode.leak_factor) >> cfg.leak_bits
            with m.If(self.mode.leak_multiply):
                m.d.comb += store.data.eq(product)
        return m


def _leak(m: Module, value: Signal, code: Signal) -> Signal:
    """``value >> code`` (arithmetic), 0 for code 0."""
    result = Signal.like(value)
    with m.Switch(code):
        for shift in LEAK_SHIFTS:
            with m.Case(shift):
                m.d.comb += result.eq(value >> shift)
        with m.Default():
            m.d.comb += result.eq(0)
    return result
