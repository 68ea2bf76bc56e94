"""Stream memory: membrane streams, read and written in the order of the neuron slots."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError
from refmodel.layout import SLOT_TO_STREAM

from .layouts import COLLISION_FREE


class StreamMemory(wiring.Component):
    """Reads the stream R of each slot, and keeps the slot's input X = sum + bias + R.

    Slots of a tile follow each other in the memory; ``step`` leads from a tile's last slot to
    the next tile's first.  A slot's word is read before it is written, so a stream may be
    replaced by the next one in place.

    Members
    -------
    restart: a slab starts: addresses begin at ``read_base`` and ``write_base``.
    slot: a neuron slot starts; tile_end: it is its tile's last one.
    reads, keeps: the slab reads a stream; keeps its own.
    read: R of the slot that started one clock before, 0 if the slab reads none.
    values: X of the slot that started ``SLOT_TO_STREAM`` clocks before.
    write_en, write_addr: the write of this clock, for the trace.
    """

    def __init__(self, *, config: CoreConfig):
        if config.stream_width == 0:
            raise ConfigError("a StreamMemory needs stream_width > 0: with 0 a core has no membrane streams")
        self._config = config
        bits = config.stream_addr_bits
        word = data.ArrayLayout(signed(config.stream_width), config.neuron_units)
        super().__init__(
            {
                "restart": In(1),
                "slot": In(1),
                "tile_end": In(1),
                "reads": In(1),
                "keeps": In(1),
                "read_base": In(bits),
                "write_base": In(bits),
                "step": In(bits),
                "read": Out(word),
                "values": In(word),
                "write_en": Out(1),
                "write_addr": Out(bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        word = data.ArrayLayout(signed(cfg.stream_width), cfg.neuron_units)
        m.submodules.words = words = Memory(shape=word, depth=cfg.stream_depth, init=[], attrs=COLLISION_FREE)
        write, read = words.write_port(), words.read_port()
        read_addr, write_addr = Signal(cfg.stream_addr_bits), Signal(cfg.stream_addr_bits)
        slots, ends = [self.slot], [self.tile_end]
        for clock in range(1, SLOT_TO_STREAM + 1):
            slot, end = Signal(name=f"slot{clock}"), Signal(name=f"tile_end{clock}")
            m.d.sync += [slot.eq(slots[-1]), end.eq(ends[-1])]
            slots.append(slot)
            ends.append(end)
        with m.If(self.slot):
            m.d.sync += read_addr.eq(read_addr + Mux(self.tile_end, self.step, 1))
        with m.If(slots[-1]):
            m.d.sync += write_addr.eq(write_addr + Mux(ends[-1], self.step, 1))
        with m.If(self.restart):
            m.d.sync += [read_addr.eq(self.read_base), write_addr.eq(self.write_base)]
        m.d.comb += [
            read.en.eq(1),
            read.addr.eq(read_addr),
            self.write_en.eq(slots[-1] & self.keeps),
            self.write_addr.eq(write_addr),
            write.en.eq(self.write_en),
            write.addr.eq(write_addr),
            write.data.eq(self.values),
        ]
        m.d.comb += [self.read[u].eq(Mux(self.reads, read.data[u], 0)) for u in range(cfg.neuron_units)]
        return m
