"""Write bus: what all engines and the host write to the copies of the spike memory."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .layouts import write_layout


class WriteBus(wiring.Component):
    """Joins the writes of the engines, of which at most one is in any clock, and of the host, which writes while none
    runs.  A write comes a clock later, of several engines two, long before it is read.

    Several engines write in turns: turn 0 comes in the clock after engine 0's start.

    Members
    -------
    host: a word from the host.  engines: a word from each engine.
    start, turns_last: with several engines: engine 0's start, and how many take turns, minus one.
    turn: bit e: engine e may write in the next clock.
    write: what all spike memories write.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        word = write_layout(config)
        count = config.engines
        turns = {"start": In(1), "turns_last": In((count - 1).bit_length()), "turn": Out(count)}
        super().__init__(
            {
                "host": In(word),
                "engines": In(data.ArrayLayout(word, count)),
                **(turns if count > 1 else {}),
                "write": Out(word),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        word, count = write_layout(self._config), self._config.engines
        first = Signal(word)  # engine 0 or the host
        m.d.comb += [
            first.en.eq(self.engines[0].en | self.host.en),
            first.addr.eq(Mux(self.engines[0].en, self.engines[0].addr, self.host.addr)),
            first.data.eq(Mux(self.engines[0].en, self.engines[0].data, self.host.data)),
        ]
        if count == 1:
            enable = Signal()
            address, words = Signal.like(first.addr, reset_less=True), Signal.like(first.data, reset_less=True)
            m.d.sync += [enable.eq(first.en), address.eq(first.addr), words.eq(first.data)]
            m.d.comb += [self.write.en.eq(enable), self.write.addr.eq(address), self.write.data.eq(words)]
            return m
        parts = []
        for number in range(count):
            source = first if number == 0 else self.engines[number]
            held = Signal(word, name=f"word{number}")
            m.d.sync += held.eq(Mux(source.en, source, 0))  # a register that is cleared takes no LUT on ECP5
            parts.append(held.as_value())
        joined = Signal(word)
        m.d.sync += joined.eq(reduce(or_, parts))
        m.d.comb += self.write.eq(joined)

        number, following = Signal(range(count)), Signal(range(count))  # of the next clock's turn
        m.d.comb += following.eq(Mux(number == self.turns_last, 0, number + 1))
        with m.If(self.start):
            m.d.comb += following.eq(self.turns_last != 0)
        m.d.sync += [number.eq(following), *(self.turn[engine].eq(following == engine) for engine in range(count))]
        return m
