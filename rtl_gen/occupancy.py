"""Occupancy memory: which slices of which spike words have a spike."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE, row_bits


class OccupancyMemory(wiring.Component):
    """A bit for each slice of each spike word, in rows of ``scan_words`` words.

    It follows the spike memory's writes: a row shows a written word from the second clock after
    the write on.  Bits of other words in the row may be written while it is read.

    Members
    -------
    write: the spike memory's write port.
    read: ``en``, ``row``; ``data`` (bit i*K + k: slice k of word i of the row) belongs to the row of the last
        but one clock in which ``en`` was high: memory and register behind it stand still while it is low.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        addr, width = config.spike_addr_bits, config.spike_width
        super().__init__(
            {
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "read": In(
                    wiring.Signature(
                        {"en": Out(1), "row": Out(row_bits(config)), "data": In(config.scan_words * config.event_lanes)}
                    )
                ),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        lanes, words = cfg.event_lanes, cfg.scan_words
        low = (words - 1).bit_length()
        m.submodules.rows = rows = Memory(shape=lanes * words, depth=1 << row_bits(cfg), init=[], attrs=COLLISION_FREE)
        write, read = rows.write_port(granularity=lanes), rows.read_port()
        en, addr = Signal(), Signal.like(self.write.addr)
        occupied = Signal(lanes)
        shown = Signal(lanes * words, reset_less=True)
        lane_bits = cfg.spike_width // lanes
        m.d.sync += [
            en.eq(self.write.en),
            addr.eq(self.write.addr),
            occupied.eq(Cat(self.write.data.word_select(k, lane_bits).any() for k in range(lanes))),
        ]
        m.d.comb += [
            write.en.eq(Cat(en & (addr[:low] == word) for word in range(words))),
            write.addr.eq(addr[low:]),
            write.data.eq(occupied.replicate(words)),
            read.en.eq(self.read.en),
            read.addr.eq(self.read.row),
        ]
        with m.If(self.read.en):
            m.d.sync += shown.eq(read.data)
        m.d.comb += self.read.data.eq(shown)
        return m
