"""Event scanner: one event lane's queue of spike words, emitted as one event a clock."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import Flag

from .layouts import event_layout, lane_word_layout


class EventScanner(wiring.Component):
    """Emits the non-zero channels of queued words, lowest channel first, one a clock.

    Only words with a spike or a boundary flag may be pushed.  A word with a flag stays
    until ``release``: that is how the lanes wait for each other at the end of a bit-plane
    or tile.  It releases in the same clock in which its last event leaves, so a boundary
    costs nothing to the slowest lane.

    Members
    -------
    push, word, full: queue input; a push while full is lost (the caller must not).
    event: the event of this clock (combinational, ``valid`` 0 when there is none).
    waiting: the present word has a flag and at most one event left, which leaves now.
    flag: flag of the present word.
    release: drop the present word at the end of this clock (only while ``waiting``).
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "push": In(1),
                "word": In(lane_word_layout(config)),
                "full": Out(1),
                "event": Out(event_layout(config)),
                "waiting": Out(1),
                "flag": Out(2),
                "release": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        layout, depth, width = lane_word_layout(cfg), cfg.fifo_depth, cfg.channels_per_word

        # Queue with an asynchronous read port: LUT RAM on ECP5, registers on iCE40.
        m.submodules.queue = queue = Memory(shape=layout, depth=max(2, depth), init=[])
        write = queue.write_port()
        read = queue.read_port(domain="comb")
        level = Signal(range(depth + 1))
        pop = Signal()
        m.d.comb += [write.en.eq(self.push), write.data.eq(self.word), self.full.eq(level == depth)]
        if depth > 1:
            head, tail = Signal(range(depth)), Signal(range(depth))
            m.d.comb += [write.addr.eq(tail), read.addr.eq(head)]
            with m.If(self.push):
                m.d.sync += tail.eq(Mux(tail == depth - 1, 0, tail + 1))
            with m.If(pop):
                m.d.sync += head.eq(Mux(head == depth - 1, 0, head + 1))
        m.d.sync += level.eq(level + self.push - pop)

        valid = Signal()
        masks = Signal(layout["masks"].shape, reset_less=True)
        remaining = Signal(width, reset_less=True)
        tag = Signal(cfg.tag_bits, reset_less=True)
        flag = Signal(2, reset_less=True)
        rest = Signal(width)
        last, finish = Signal(), Signal()
        m.d.comb += [
            rest.eq(remaining & (remaining - 1)),
            last.eq(rest == 0),
            self.waiting.eq(valid & (flag != Flag.NONE) & last),
            self.flag.eq(flag),
            finish.eq(valid & Mux(flag == Flag.NONE, last, self.release)),
            pop.eq((~valid | finish) & (level != 0)),
            self.event.valid.eq(valid & (remaining != 0)),
        ]
        # The lowest set bit selects: address by OR-ing, mask by AND-OR.
        chosen = remaining & ~rest
        index_bits = (width - 1).bit_length()
        selected = 0
        for channel in range(width):
            selected = selected | Mux(chosen[channel], masks[channel], 0)
        m.d.comb += self.event.mask.eq(selected)
        if index_bits:
            index = Signal(index_bits)
            for bit in range(index_bits):
                m.d.comb += index[bit].eq(Cat(chosen[c] for c in range(width) if c >> bit & 1).any())
            m.d.comb += self.event.weight.eq(Cat(index, tag))
        else:
            m.d.comb += self.event.weight.eq(tag)

        with m.If(pop):
            m.d.sync += [
                valid.eq(1),
                masks.eq(read.data.masks),
                remaining.eq(read.data.busy),
                tag.eq(read.data.tag),
                flag.eq(read.data.flag),
            ]
        with m.Else():
            m.d.sync += remaining.eq(rest)
            with m.If(finish):
                m.d.sync += valid.eq(0)
        return m
