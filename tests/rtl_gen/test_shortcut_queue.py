"""The shortcut queue against a list of words."""

from __future__ import annotations

import dataclasses
import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from rtl_gen.shortcut_queue import ShortcutQueue, queue_depth

CONFIG = CoreConfig(fifo_depth=1, max_planes=1)


@pytest.mark.parametrize("fill", [0.3, 0.5, 0.8])
def test_first_in_first_out(fill: float) -> None:
    rng, depth = random.Random(fill), queue_depth(CONFIG)
    dut = ShortcutQueue(config=CONFIG)
    fullest = clears = 0

    async def bench(ctx):
        nonlocal fullest, clears
        queue: deque[tuple[int, int]] = deque()  # word, and the clock from which it may be popped
        for clock in range(3000):
            ready = bool(queue) and queue[0][1] <= clock
            if ready:
                assert ctx.get(dut.word) == queue[0][0]
            push = len(queue) < depth and rng.random() < fill
            pop = ready and rng.random() < 0.5
            clear = rng.random() < 0.005
            word = rng.getrandbits(CONFIG.spike_width)
            ctx.set(dut.push, push and not clear)
            ctx.set(dut.push_word, word)
            ctx.set(dut.pop, pop and not clear)
            ctx.set(dut.clear, clear)
            await ctx.tick()
            if pop:
                queue.popleft()
            if push:
                queue.append((word, clock + 2))
            fullest = max(fullest, len(queue))
            if clear:
                queue.clear()
                clears += 1

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert clears > 3
    assert fullest == depth or fill < 0.5


@pytest.mark.parametrize("fifo_depth", [1, 2, 16])
@pytest.mark.parametrize("planes", [1, 8, 14])
def test_depth_holds_all_tiles_that_can_be_on_their_way(fifo_depth: int, planes: int) -> None:
    config = dataclasses.replace(CoreConfig(), fifo_depth=fifo_depth, max_planes=planes)
    depth = queue_depth(config)
    assert depth >= (fifo_depth + 6) * planes and depth & (depth - 1) == 0
