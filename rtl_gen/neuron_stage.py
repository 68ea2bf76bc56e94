"""Neuron stage: slot sequencing of the NU neuron units over a drained tile."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS
from refmodel.config import CoreConfig
from refmodel.layout import CombineOp, slot_to_spike, slot_to_state

from .layouts import param_layout
from .neuron_control import NeuronControl, comparing_clock, loading_clock, mode_layout, slot_layout
from .neuron_datapath import NeuronDatapath
from .neuron_params import NeuronParams


class NeuronStage(wiring.Component):
    """Runs R = P/NU * Tp slots for each drained tile and chunk, step by step.

    Slot t * P/NU + i handles time lane t of output lanes i*NU .. i*NU+NU-1, one in each
    unit: step-major order follows the systolic stagger of the array and gives the membrane
    recurrence P/NU clocks.  The units' spikes gather in shift registers; ``word_valid``
    says that a whole spike word stands in ``word`` (bit p*Tp + t), for one clock, and
    ``word_soon`` the clock before.

    Members
    -------
    restart: a slab starts (first tile, first chunk).
    drained: pulse from the array.  Pulses come at least R clocks apart.
    slot_active, slot_step, slot_index: the neuron slot of this clock.
    sums: its synaptic sums, one a unit: of output lanes slot_index*NU .. + NU-1 at step slot_step (combinational).
    mode, last_step, chunks_last: from the descriptor.
    stream, inputs, slot, tile_end: with membrane streams: to and from :class:`StreamMemory`.
    begins, begun, kept, keep: with a state memory: to and from :class:`StateMemory` (its read, next, values,
        write).
    gates: with attention: from :class:`AttentionUnit`.
    shortcut_pop, shortcut_word: the tile's shortcut word for membrane shortcuts.  It stands from the clock of
        ``drained`` on until two clocks after it is popped.
    out_valid, out_index, out_end, spikes, membranes: the results of a slot, ``slot_to_spike`` clocks after it.
    word: spikes; where the combiner is IAND, which takes 1-A, each is inverted.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        cfg = config
        index = slot_layout(cfg)["index"].width
        streams = {}
        if cfg.stream_width:
            values = data.ArrayLayout(signed(cfg.stream_width), cfg.neuron_units)
            streams = {"stream": In(values), "inputs": Out(values), "slot": Out(1), "tile_end": Out(1)}
        if cfg.attention is not None:
            streams["gates"] = In(data.ArrayLayout(GATE_BITS, cfg.neuron_units))
        if cfg.state_depth:
            membranes = data.ArrayLayout(signed(cfg.membrane_width), cfg.neuron_units)
            streams |= {"begins": In(membranes), "begun": Out(1), "kept": Out(membranes), "keep": Out(1)}
        super().__init__(
            {
                **streams,
                "restart": In(1),
                "drained": In(1),
                "slot_active": Out(1),
                "slot_step": Out(max(1, (cfg.time_lanes - 1).bit_length())),
                "slot_index": Out(index),
                "sums": In(data.ArrayLayout(signed(cfg.acc_width), cfg.neuron_units)),
                "mode": In(mode_layout(cfg)),
                "last_step": In(max(1, (cfg.time_lanes - 1).bit_length())),
                "chunks_last": In(cfg.chunk_bits),
                "shortcut_pop": Out(1),
                "shortcut_word": In(cfg.spike_width),
                "run_half": In(1),
                "write_unit": In(cfg.neuron_units),
                "write_half": In(1),
                "write_index": In(index),
                "write_data": In(param_layout(cfg)),
                "out_valid": Out(1),
                "out_index": Out(index),
                "out_end": Out(1),
                "spikes": Out(cfg.neuron_units),
                "membranes": Out(data.ArrayLayout(signed(cfg.membrane_width), cfg.neuron_units)),
                "word_soon": Out(1),
                "word_valid": Out(1),
                "word": Out(cfg.spike_width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        units, slots, steps = cfg.neuron_units, cfg.slots_per_step, cfg.time_lanes

        # The slot's number counts through P/NU * Tp, a power of two: the lane below, the step above.
        active = Signal()
        number = Signal((slots * steps - 1).bit_length())
        following = Signal.like(number)  # the number of the next clock's slot, if there is one: number + active
        chunk = Signal(cfg.chunk_bits)
        fresh = Signal(init=1)  # readout: nothing accumulated yet in this slab
        index_bits = (slots - 1).bit_length()
        index, step = number[:index_bits], number[index_bits:]
        # Whether the chunk is a pixel's first or last one is known from registers: the second is first asked for in
        # the tile's second step.
        last, chunk_first, chunk_last = Signal(), Signal(init=1), Signal()
        continues = Signal()
        m.d.comb += [last.eq(active & number.all()), continues.eq(self.drained | (active & ~last))]
        m.d.sync += chunk_last.eq(chunk == self.chunks_last)
        m.d.sync += [active.eq(continues), number.eq(following), following.eq(following + continues)]
        with m.If(active & index.all()):
            m.d.sync += fresh.eq(0)
        with m.If(last):
            m.d.sync += [chunk.eq(Mux(chunk_last, 0, chunk + 1)), chunk_first.eq(chunk_last)]
        # Shortcut bits are chosen a clock ahead, and a word stands for two clocks after its pop: the last slot but two.
        m.d.sync += self.shortcut_pop.eq(continues & (following == slots * steps - 3) & self.mode.use_current)
        with m.If(self.restart):
            m.d.sync += [active.eq(0), number.eq(0), following.eq(0), chunk.eq(0), chunk_first.eq(1), fresh.eq(1)]
            m.d.sync += self.shortcut_pop.eq(0)

        m.submodules.control = control = NeuronControl(config=cfg)
        controls = control.controls
        results = controls.slots[slot_to_spike(cfg)]
        m.d.comb += [
            control.mode.eq(self.mode),
            control.slot.valid.eq(active),
            control.slot.index.eq(index),
            control.slot.first.eq((chunk_first & (step == 0) & ~self.mode.readout) | fresh | self.mode.stateless),
            control.slot.fake.eq(chunk_last & (step > self.last_step)),
            control.slot.end.eq(step.all()),
            self.slot_active.eq(active),
            self.slot_index.eq(index),
            self.slot_step.eq(step),
            self.out_valid.eq(results.valid),
            self.out_index.eq(results.index),
            self.out_end.eq(results.end),
        ]
        due = controls.slots[slot_to_spike(cfg) - 1]
        m.d.sync += [
            self.word_soon.eq(due.valid & due.end & due.index.all()),
            self.word_valid.eq(self.word_soon),
        ]
        if cfg.stream_width:
            m.d.comb += [self.slot.eq(active), self.tile_end.eq(last & chunk_last)]

        if cfg.state_depth:
            begins, ends = controls.slots[loading_clock(cfg) - 1], controls.slots[slot_to_state(cfg)]
            step_last = Signal()
            m.d.sync += step_last.eq(step == self.last_step)
            m.d.comb += [
                control.keep.eq(chunk_last & step_last & self.mode.keeps_state),
                self.begun.eq(begins.valid & begins.first),
                self.keep.eq(ends.valid & ends.keep),
            ]

        m.submodules.params = params = NeuronParams(config=cfg, units=units)
        m.d.comb += [
            params.run_half.eq(self.run_half),
            params.ahead.eq(following[:index_bits]),
            params.later.eq(controls.slots[comparing_clock(cfg) - 1].index),
            params.write_en.eq(self.write_unit),
            params.write_half.eq(self.write_half),
            params.write_index.eq(self.write_index),
            params.write_data.eq(self.write_data),
        ]
        invert = self.mode.combine == CombineOp.IAND
        for u in range(units):
            m.submodules[f"unit{u}"] = path = NeuronDatapath(config=cfg)
            order = [(i * units + u) * steps + t for t in range(steps) for i in range(slots)]
            shortcut = Signal(name=f"shortcut{u}", reset_less=True)
            m.d.sync += shortcut.eq(_choose([self.shortcut_word[bit] for bit in order], following))
            gathered = Signal(len(order), name=f"spikes{u}", reset_less=True)
            with m.If(results.valid):
                m.d.sync += gathered.eq(Cat(gathered[1:], path.spike ^ invert))
            m.d.comb += [self.word[bit].eq(gathered[position]) for position, bit in enumerate(order)]
            m.d.comb += [
                path.controls.eq(controls),
                path.mode.eq(self.mode),
                path.sum.eq(self.sums[u]),
                path.shortcut.eq(shortcut),
                path.bias.eq(params.bias[u]),
                path.bias_shortcut.eq(params.bias_shortcut[u]),
                path.not_threshold.eq(params.not_threshold[u]),
                self.spikes[u].eq(path.spike),
                self.membranes[u].eq(path.membrane),
            ]
            if cfg.stream_width:
                m.d.comb += [path.stream.eq(self.stream[u]), self.inputs[u].eq(path.input)]
            if cfg.state_depth:
                m.d.comb += [path.begins.eq(self.begins[u]), self.kept[u].eq(path.kept)]
            if cfg.attention is not None:
                m.d.comb += path.gate.eq(self.gates[u])
        return m


def _choose(bits: Sequence[Value], number: Value) -> Value:
    """Bit ``number`` of them, a power of two many: a tree of multiplexers."""
    for select in number:
        bits = [Mux(select, high, low) for low, high in zip(bits[::2], bits[1::2], strict=True)]
    return bits[0]
