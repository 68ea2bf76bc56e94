# amaranth: UnusedElaboratable=no
"""The counter: its portable form counts, and UltraPlus counts in a multiplier block."""

from __future__ import annotations

import random

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from amaranth.vendor import LatticeICE40Platform

from rtl_gen.counter import Counter


class _Ice40(LatticeICE40Platform):
    package, resources, connectors, default_clk = "SG48", (), (), None

    def __init__(self, device: str):
        self._device = device
        super().__init__()

    device = property(lambda self: self._device)


@pytest.mark.parametrize("width", [1, 5])
def test_counts(width):
    dut, rng = Counter(width=width), random.Random(width)

    async def bench(ctx):
        ctx.set(dut.clear, 1)
        await ctx.tick()
        count = 0
        for _ in range(300):
            assert ctx.get(dut.value) == count
            en, clear = rng.random() < 0.8, rng.random() < 0.02
            ctx.set(dut.en, en)
            ctx.set(dut.clear, clear)
            await ctx.tick()
            count = 0 if clear else (count + en) % (1 << width)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(
    ("device", "block", "blocks"), [("iCE40UP5K", True, 1), ("iCE40UP5K", False, 0), ("iCE40HX8K", True, 0)]
)
def test_counts_in_a_block_where_there_is_one(device, block, blocks):
    text = rtlil.convert(Counter(width=20, block=block), platform=_Ice40(device), emit_src=False)
    assert text.count("cell \\SB_MAC16") == blocks


def test_width_is_checked():
    with pytest.raises(ValueError, match="width must be 1 to 32, not 33"):
        Counter(width=33)
