"""Set bits of a word against counting in Python."""

from __future__ import annotations

import random

import pytest
from amaranth import Const, Module, Signal
from amaranth.sim import Simulator

from rtl_gen.bits import at_least, choose_lowest, lowest, without_lowest


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8, 16])
def test_every_function(width: int) -> None:
    rng = random.Random(width)
    bits, m = Signal(width), Module()
    outs = {name: Signal(width + 8, name=name) for name in ("rest", "number", "chosen", "two", "three")}
    values = [rng.randrange(256) for _ in range(width)]
    m.d.comb += [
        outs["rest"].eq(without_lowest(bits)),
        outs["number"].eq(lowest(bits)),
        outs["chosen"].eq(choose_lowest(bits, [Const(value, 8) for value in values])),
        outs["two"].eq(at_least(bits, 2)),
        outs["three"].eq(at_least(bits, 3)),
    ]

    async def bench(ctx):
        for word in [*range(min(64, 1 << width)), *(rng.getrandbits(width) for _ in range(100))]:
            ctx.set(bits, word)
            first = (word & -word).bit_length() - 1 if word else width - 1
            found = {name: ctx.get(out) for name, out in outs.items()}
            count = word.bit_count()
            expected = (word & (word - 1) if word else 0, first, values[first], int(count >= 2), int(count >= 3))
            assert tuple(found.values()) == expected, word

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
