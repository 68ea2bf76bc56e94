"""Neuron stage: slot sequencing of the NU neuron units over a drained tile."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS
from refmodel.config import CoreConfig
from refmodel.layout import slot_to_writeback

from .layouts import param_layout
from .neuron import NeuronUnit, mode_layout, slot_layout


class NeuronStage(wiring.Component):
    """Runs R = P/NU * Tp slots for each drained tile and chunk, step by step.

    Slot t * P/NU + i handles time lane t of output lanes i*NU .. i*NU+NU-1, one in each
    unit: step-major order follows the systolic stagger of the array and gives the membrane
    recurrence P/NU clocks.  The units' spikes gather in shift registers; ``word_valid``
    says that a whole spike word stands in ``word`` (bit p*Tp + t), for one clock.

    Members
    -------
    restart: a slab starts (first tile, first chunk).
    drained: pulse from the array.  Pulses come at least R clocks apart.
    sums, shift: the array's snapshots and their shift strobes.
    mode, last_step, chunks_last: from the descriptor.
    stream, inputs, slot, tile_end: with membrane streams: to and from :class:`StreamMemory`.
    gates: with attention: from :class:`AttentionUnit`.
    shortcut_pop, shortcut_word: the tile's shortcut word for membrane shortcuts.
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
        super().__init__(
            {
                **streams,
                "restart": In(1),
                "drained": In(1),
                "sums": In(data.ArrayLayout(signed(cfg.acc_width), cfg.output_lanes)),
                "shift": Out(cfg.output_lanes),
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
                "word_valid": Out(1),
                "word": Out(cfg.spike_width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        units, slots, steps = cfg.neuron_units, cfg.slots_per_step, cfg.time_lanes

        go = self.drained
        active = Signal()
        index = Signal(slot_layout(cfg)["index"].width)
        step = Signal(max(1, (steps - 1).bit_length()))
        chunk = Signal(cfg.chunk_bits)
        fresh = Signal(init=1)  # readout: nothing accumulated yet in this slab
        index_last, step_last, chunk_last = Signal(), Signal(), Signal()
        m.d.comb += [
            index_last.eq(index == slots - 1),
            step_last.eq(step == steps - 1),
            chunk_last.eq(chunk == self.chunks_last),
        ]
        with m.If(active):
            m.d.sync += index.eq(index + 1)
            with m.If(index_last):
                m.d.sync += [index.eq(0), step.eq(step + 1), fresh.eq(0)]
                with m.If(step_last):
                    m.d.sync += [step.eq(0), active.eq(0), chunk.eq(chunk + 1)]
                    with m.If(chunk_last):
                        m.d.sync += chunk.eq(0)
        with m.If(go):
            m.d.sync += active.eq(1)
        with m.If(self.restart):
            m.d.sync += [active.eq(0), index.eq(0), step.eq(0), chunk.eq(0), fresh.eq(1)]

        slot = Signal(slot_layout(cfg))
        m.d.comb += [
            slot.valid.eq(active),
            slot.index.eq(index),
            slot.first.eq(((chunk == 0) & (step == 0) & ~self.mode.readout) | fresh | self.mode.stateless),
            slot.fake.eq(chunk_last & (step > self.last_step)),
            slot.end.eq(step_last),
            self.shortcut_pop.eq(go & self.mode.use_current),
        ]
        for lane in range(cfg.output_lanes):
            m.d.comb += self.shift[lane].eq(active & (index == lane // units))

        ends = Signal(slot_to_writeback(cfg))  # the last slot of a chunk, as it passes the units
        m.d.sync += ends.eq(Cat(active & index_last & step_last, ends[:-1]))
        m.d.comb += self.word_valid.eq(ends[-1])

        if cfg.stream_width:
            m.d.comb += [self.slot.eq(active), self.tile_end.eq(index_last & step_last & chunk_last)]

        length = slots * steps
        for u in range(units):
            unit = NeuronUnit(config=cfg)
            m.submodules[f"unit{u}"] = unit
            waiting = Signal(length, name=f"shortcut{u}", reset_less=True)
            order = [(i * units + u) * steps + t for t in range(steps) for i in range(slots)]
            with m.If(go):
                m.d.sync += waiting.eq(Cat(self.shortcut_word[bit] for bit in order))
            with m.Elif(active):
                m.d.sync += waiting.eq(waiting >> 1)
            gathered = Signal(length, name=f"spikes{u}", reset_less=True)
            with m.If(unit.out_valid):
                m.d.sync += gathered.eq(Cat(gathered[1:], unit.spike))
            m.d.comb += [self.word[bit].eq(gathered[position]) for position, bit in enumerate(order)]
            m.d.comb += [
                unit.slot.eq(slot),
                unit.sum.eq(Array(self.sums[i * units + u] for i in range(slots))[index]),
                unit.shortcut.eq(waiting[0]),
                unit.mode.eq(self.mode),
                unit.run_half.eq(self.run_half),
                unit.write_en.eq(self.write_unit[u]),
                unit.write_half.eq(self.write_half),
                unit.write_index.eq(self.write_index),
                unit.write_data.eq(self.write_data),
                self.spikes[u].eq(unit.spike),
                self.membranes[u].eq(unit.membrane),
            ]
            if cfg.stream_width:
                m.d.comb += [unit.stream.eq(self.stream[u]), self.inputs[u].eq(unit.input)]
            if cfg.attention is not None:
                m.d.comb += unit.gate.eq(self.gates[u])
            if u == 0:
                m.d.comb += [
                    self.out_valid.eq(unit.out_valid),
                    self.out_index.eq(unit.out_index),
                    self.out_end.eq(unit.out_end),
                ]
        return m
