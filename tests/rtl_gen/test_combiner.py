"""The spike combiner's planes against integer arithmetic on counts."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from refmodel.layout import CombineOp
from rtl_gen.combiner import CombinerPlane, SpikeCombiner

#: SEW paper, table 1, on numbers.
EQUATIONS = {
    CombineOp.ADD: lambda a, s: a + s,
    CombineOp.AND: lambda a, s: a * s,
    CombineOp.IAND: lambda a, s: (1 - a) * s,
    CombineOp.OR: lambda a, s: a + s - a * s,
}

PLANES = {
    CombineOp.ADD: CombinerPlane.ADD,
    CombineOp.AND: CombinerPlane.AND,
    CombineOp.IAND: CombinerPlane.AND,  # of inverted spikes
    CombineOp.OR: CombinerPlane.OR,
}


def combine(width: int, op: CombineOp, own: list[int], shortcut: list[int], planes: int) -> list[int]:
    """The numbers that the combiner makes of ``own`` spikes and ``shortcut`` numbers, plane by plane."""
    dut = SpikeCombiner(width=width)
    result = [0] * width

    async def bench(ctx):
        carry = sum((bit ^ (op == CombineOp.IAND)) << i for i, bit in enumerate(own))
        top = max(shortcut).bit_length()
        for plane in range(planes):
            passes = op == CombineOp.ADD and plane >= top
            ctx.set(dut.plane, CombinerPlane.PASS if passes else PLANES[op])
            ctx.set(dut.carry, carry)
            bits = [number >> plane & 1 ^ passes for number in shortcut]  # beyond the top: not looked at
            ctx.set(dut.shortcut, sum(bit << i for i, bit in enumerate(bits)))
            out, carry = ctx.get(dut.out), ctx.get(dut.carry_out)
            for i in range(width):
                result[i] |= (out >> i & 1) << plane

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
    return result


@pytest.mark.parametrize("planes", [1, 2, 7])
@pytest.mark.parametrize("width", [1, 8, 64])
def test_add_counts_of_any_width(width: int, planes: int) -> None:
    rng = random.Random(planes * width)
    top = (1 << planes) - 1
    own = [rng.randrange(2) for _ in range(width)]
    shortcut = [rng.choice([0, 1, top - 1, top, rng.randrange(top + 1)]) for _ in range(width)]
    own[0], shortcut[0] = 1, top  # the carry runs through all planes
    expected = [EQUATIONS[CombineOp.ADD](a, s) for a, s in zip(own, shortcut, strict=True)]
    assert combine(width, CombineOp.ADD, own, shortcut, planes + 1) == expected


@pytest.mark.parametrize("op", list(CombineOp))
def test_table_of_binary_functions(op: CombineOp) -> None:
    own, shortcut = [0, 0, 1, 1], [0, 1, 0, 1]
    planes = 2 if op == CombineOp.ADD else 1
    expected = [EQUATIONS[op](a, s) for a, s in zip(own, shortcut, strict=True)]
    assert combine(4, op, own, shortcut, planes) == expected


def test_passes_without_a_shortcut() -> None:
    own = [random.Random(3).randrange(2) for _ in range(32)]
    assert combine(32, CombineOp.ADD, own, [0] * 32, 1) == own
