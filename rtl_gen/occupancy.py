"""Occupancy memory: which slices of which spike words have a spike."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .bits import at_least
from .layouts import COLLISION_FREE, counts_words, row_bits


class OccupancyMemory(wiring.Component):
    """A bit for each slice of each spike word, in rows of ``scan_words`` words; for wide words (``counts_words``) two.

    It follows the spike memory's writes: a row shows a written word from the second clock after
    the write on.  Bits of other words in the row may be written while it is read.

    Members
    -------
    write: the spike memory's write port.
    read: ``en``, ``row``; ``data`` (bit i*K + k: slice k of word i of the row is not 0), and ``several`` (it has more
        than one channel that is not 0) belong to the row of the last but one clock in which ``en`` was high: memory
        and register behind it stand still while it is low.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        addr, width = config.spike_addr_bits, config.spike_width
        read = {"en": Out(1), "row": Out(row_bits(config)), "data": In(config.scan_words * config.event_lanes)}
        if counts_words(config):
            read["several"] = In(config.scan_words * config.event_lanes)
        super().__init__(
            {
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "read": In(wiring.Signature(read)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        lanes, words = cfg.event_lanes, cfg.scan_words
        low = (words - 1).bit_length()
        bits = lanes * (1 + counts_words(cfg))  # of a word
        m.submodules.rows = rows = Memory(shape=bits * words, depth=1 << row_bits(cfg), init=[], attrs=COLLISION_FREE)
        write, read = rows.write_port(granularity=bits), rows.read_port()
        shown = Signal(bits * words, reset_less=True)

        en, addr, marks = Signal(), Signal.like(self.write.addr), Signal(bits)
        channels = cfg.channels_per_word
        word = self.write.data
        busy = [
            Cat(word.word_select(k * channels + c, cfg.time_lanes).any() for c in range(channels)) for k in range(lanes)
        ]
        m.d.sync += [
            en.eq(self.write.en),
            addr.eq(self.write.addr),
            marks.eq(Cat(*(b.any() for b in busy), *((at_least(b, 2) for b in busy) if counts_words(cfg) else ()))),
        ]
        m.d.comb += [
            write.en.eq(Cat(en & (addr[:low] == i) for i in range(words))),
            write.addr.eq(addr[low:]),
            write.data.eq(marks.replicate(words)),
            read.en.eq(self.read.en),
            read.addr.eq(self.read.row),
            self.read.data.eq(Cat(shown.word_select(i, bits)[:lanes] for i in range(words))),
        ]
        if counts_words(cfg):
            m.d.comb += self.read.several.eq(Cat(shown.word_select(i, bits)[lanes:] for i in range(words)))
        with m.If(self.read.en):
            m.d.sync += shown.eq(read.data)
        return m
