"""Item queue: occupancy items that wait before an event lane."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class ItemQueue(wiring.Component):
    """A first-in first-out queue of ``depth`` places in registers; each place takes its successor's entry or the input.

    Parameters
    ----------
    shape: of an entry.
    depth: places.

    Members
    -------
    push, entry: add an entry; a push while ``full`` is lost (the caller must not).
    full: all places are taken, whether or not one is freed in this clock.
    valid, head: the oldest entry, from the clock after its push on.
    pop: drop it, if there is one.
    vacant: ``pop``, or there is none; it comes from where ``pop`` is made, as one function.
    """

    def __init__(self, *, shape: data.StructLayout, depth: int):
        self._shape, self._depth = shape, depth
        super().__init__(
            {
                "push": In(1),
                "entry": In(shape),
                "full": Out(1),
                "valid": Out(1),
                "head": Out(shape),
                "pop": In(1),
                "vacant": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        valid = Signal(self._depth)
        # The last place is free: a register beside ``valid``, or synthesis joins the last two places' multiplexers.
        room = Signal(init=1)
        after = Signal(self._shape)
        m.d.comb += after.eq(self.entry)
        for place in reversed(range(self._depth)):
            entry = Signal(self._shape, name=f"entry{place}", reset_less=True)
            following = Signal(name=f"following{place}")
            ahead = valid[place - 1] & ~self.pop if place else 1
            if place + 1 < self._depth:
                behind = valid[place + 1]
                with m.If(self.pop | ~valid[place] if place else self.vacant):
                    m.d.sync += entry.eq(Mux(behind, after, self.entry))
            else:  # the last place takes only pushes, and there is none while it is taken
                behind = 0
                with m.If(room):
                    m.d.sync += entry.eq(self.entry)
                m.d.sync += room.eq(~following)
            # Stays taken if nothing moves up or something follows; a push takes the first free place.
            m.d.comb += following.eq(Mux(valid[place], ~self.pop | behind | self.push, self.push & ahead))
            m.d.sync += valid[place].eq(following)
            after = entry
        m.d.comb += [self.full.eq(valid[-1]), self.valid.eq(valid[0]), self.head.eq(after)]
        return m
