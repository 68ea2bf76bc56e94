"""Attention pools: sums and maxima of X by time step or channel, and the gates that take their place."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS
from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.layout import SLOT_TO_STREAM

from .layouts import COLLISION_FREE


class AttentionPools(wiring.Component):
    """For each neuron unit a memory of sums and maxima, by step or by slot of a step.

    Along the time axis entry t of unit u holds what the unit has seen at step t, along the channel axis
    entry g * P/NU + i its i-th channel in group g.  A slot is counted if its step is below T; along the
    time axis also by its channel, which must exist.  Each entry is read in the clock after the slot, and
    written ``SLOT_TO_RESULT`` clocks after it; slots that follow each other with the same entry go on
    from the result itself.  There is no back pressure.

    Members
    -------
    restart: a slab starts.
    slot: a neuron slot starts, in the order of :class:`NeuronStage`.
    values: X of the slot that started ``SLOT_TO_STREAM`` clocks before.
    score: count the slots.
    channel: pool along the channel axis; stable from ``restart`` on, like the next ones.
    first: the slab's entries start from nothing: the layer's first group, or any along the channel axis.
    base: the slab's first entry along the channel axis, its group times P/NU.
    lanes_last: output lanes of the group that have a channel, minus one.
    last_step, chunks_last: last valid step of the last chunk, number of chunks minus one.
    gates: of the slot that started ``SLOT_TO_STREAM`` clocks before, 0 for a step beyond T.
    computing: the engine has the memories.
    entry, sums, maxima: an entry to read, and in the next clock what the units have there.
    store_sums, store_maxima, store_entry, store_value: the engine's writes, by unit.
    """

    #: Clocks from a slot to the write of its entry.
    SLOT_TO_RESULT = SLOT_TO_STREAM + 2

    def __init__(self, *, config: CoreConfig, attention: AttentionConfig):
        attention.demand_streams(config)
        self._config = config
        self._attention = attention
        units, bits = config.neuron_units, attention.entry_bits(config)
        sums = signed(attention.sum_width(config))
        values = signed(config.stream_width)
        super().__init__(
            {
                "restart": In(1),
                "slot": In(1),
                "values": In(data.ArrayLayout(values, units)),
                "score": In(1),
                "channel": In(1),
                "first": In(1),
                "base": In(bits),
                "lanes_last": In((config.output_lanes - 1).bit_length()),
                "last_step": In(max(1, (config.time_lanes - 1).bit_length())),
                "chunks_last": In(config.chunk_bits),
                "gates": Out(data.ArrayLayout(GATE_BITS, units)),
                "computing": In(1),
                "entry": In(bits),
                "sums": Out(data.ArrayLayout(sums, units)),
                "maxima": Out(data.ArrayLayout(values, units)),
                "store_sums": In(units),
                "store_maxima": In(units),
                "store_entry": In(bits),
                "store_value": In(sums),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, sizes = self._config, self._attention
        units, slots, steps = cfg.neuron_units, cfg.slots_per_step, cfg.time_lanes
        bits = sizes.entry_bits(cfg)
        layout = data.StructLayout(
            {"entry": bits, "counted": 1, "fake": 1, "first": 1, "lanes": units, "valid": 1},
        )

        # The slot: where it is in its tile, and which entry it counts in.
        index, step = Signal((slots - 1).bit_length()), Signal(max(1, (steps - 1).bit_length()))
        chunk, time = Signal(cfg.chunk_bits), Signal(bits)  # time: the step from the tile's start
        tile_first = Signal()
        index_last, step_last, chunk_last = Signal(), Signal(), Signal()
        m.d.comb += [
            index_last.eq(index == slots - 1),
            step_last.eq(step == steps - 1),
            chunk_last.eq(chunk == self.chunks_last),
        ]
        with m.If(self.slot):
            m.d.sync += index.eq(index + 1)
            with m.If(index_last):
                m.d.sync += [index.eq(0), step.eq(step + 1), time.eq(time + 1)]
                with m.If(step_last):
                    m.d.sync += [step.eq(0), chunk.eq(chunk + 1)]
                    with m.If(chunk_last):
                        m.d.sync += [chunk.eq(0), time.eq(0), tile_first.eq(0)]
        with m.If(self.restart):
            m.d.sync += [index.eq(0), step.eq(0), chunk.eq(0), time.eq(0), tile_first.eq(1)]

        stages = [Signal(layout, name="slot0")]
        unit_bits = (units - 1).bit_length()
        lane = Cat(Const(0, unit_bits), index)
        fake = chunk_last & (step > self.last_step)
        starts = Mux(self.channel, (chunk == 0) & (step == 0), index == 0)
        m.d.comb += [
            stages[0].entry.eq(Mux(self.channel, self.base + index, time)),
            stages[0].valid.eq(self.slot),
            stages[0].fake.eq(fake),
            stages[0].counted.eq(self.slot & self.score & ~fake),
            stages[0].first.eq(self.first & tile_first & starts),
            *(stages[0].lanes[u].eq((lane | u) <= self.lanes_last) for u in range(units)),
        ]
        for clock in range(1, self.SLOT_TO_RESULT + 1):
            late = Signal(layout, name=f"slot{clock}", reset_less=clock > 1)
            m.d.sync += late.eq(stages[-1])
            stages.append(late)

        # A slot goes on from the result where the one counted before it had the same entry.
        arrived, added, written = stages[SLOT_TO_STREAM], stages[SLOT_TO_STREAM + 1], stages[self.SLOT_TO_RESULT]
        before, continues = Signal(bits), Signal()
        m.d.sync += continues.eq((before == arrived.entry) & ~arrived.first)
        with m.If(arrived.counted):
            m.d.sync += before.eq(arrived.entry)

        for u in range(units):
            self._add_unit(m, u, stages[SLOT_TO_STREAM - 1].entry, arrived, added, written, continues)
        return m

    def _add_unit(self, m: Module, u: int, entry, arrived, added, written, continues) -> None:
        cfg, sizes = self._config, self._attention
        wide, narrow = signed(sizes.sum_width(cfg)), signed(cfg.stream_width)
        depth = sizes.entries(cfg)
        value, counts = Signal(narrow, name=f"value{u}", reset_less=True), Signal(name=f"counts{u}", reset_less=True)
        m.d.sync += [value.eq(self.values[u]), counts.eq(arrived.lanes[u])]
        with m.If(~arrived.lanes[u]):
            m.d.sync += value.eq(0)

        lowest = Const(-1 << (cfg.stream_width - 1), narrow)
        for name, shape, neutral, out in (("sums", wide, 0, self.sums), ("maxima", narrow, lowest, self.maxima)):
            memory = Memory(shape=shape, depth=depth, init=[], attrs=COLLISION_FREE)
            m.submodules[f"{name}{u}"] = memory
            write, read = memory.write_port(), memory.read_port()
            found = Signal(shape, name=f"{name}_found{u}", reset_less=True)
            result = Signal(shape, name=f"{name}_result{u}", reset_less=True)
            base = Signal(shape, name=f"{name}_base{u}")
            m.d.sync += found.eq(read.data)
            with m.If(arrived.first):
                m.d.sync += found.eq(neutral)
            m.d.comb += [
                read.en.eq(1),
                read.addr.eq(Mux(self.computing, self.entry, entry)),
                out[u].eq(read.data),
                base.eq(Mux(continues, result, found)),
            ]
            with m.If(added.counted):
                if name == "sums":
                    m.d.sync += result.eq(base + value)
                else:
                    m.d.sync += result.eq(Mux(counts & (value > base), value, base))
            store = self.store_sums if name == "sums" else self.store_maxima
            m.d.comb += [
                write.en.eq(Mux(self.computing, store[u], written.counted)),
                write.addr.eq(Mux(self.computing, self.store_entry, written.entry)),
                write.data.eq(Mux(self.computing, self.store_value, result)),
            ]
        m.d.comb += self.gates[u].eq(Mux(arrived.fake, 0, self.sums[u][:GATE_BITS]))
