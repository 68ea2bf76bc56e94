"""The item queue against a list."""

from __future__ import annotations

import random
from collections import deque

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from rtl_gen.item_queue import ItemQueue


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("fill", [0.3, 0.7])
def test_first_in_first_out(depth: int, fill: float) -> None:
    rng = random.Random(depth)
    dut = ItemQueue(shape=data.StructLayout({"number": 8}), depth=depth)
    fullest = 0

    async def bench(ctx):
        nonlocal fullest
        queue: deque[int] = deque()
        for _ in range(1000):
            assert ctx.get(dut.full) == (len(queue) == depth)
            assert ctx.get(dut.valid) == bool(queue)
            if queue:
                assert ctx.get(dut.head.number) == queue[0]
            fullest = max(fullest, len(queue))
            push, pop = len(queue) < depth and rng.random() < fill, bool(queue) and rng.random() < 0.5
            number = rng.randrange(256)
            ctx.set(dut.push, push)
            ctx.set(dut.pop, pop)
            ctx.set(dut.vacant, pop or not queue)
            ctx.set(dut.entry, {"number": number})
            await ctx.tick()
            if pop:
                queue.popleft()
            if push:
                queue.append(number)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert fullest == depth
