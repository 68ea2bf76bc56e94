"""The shortcut queue against a list of words."""

from __future__ import annotations

import dataclasses
import random
from collections import deque

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from refmodel.config import CoreConfig
from refmodel.layout import barrier_to_slot, slot_to_writeback
from rtl_gen.shortcut_queue import ShortcutQueue, queue_depth

CONFIG = CoreConfig(max_planes=1)


@pytest.mark.parametrize("fill", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(("board", "planes"), [(None, 1), ("icebreaker", 1), ("ulx3s_85f", 1), ("ulx3s_85f", 8)])
def test_first_in_first_out(board: str | None, planes: int, fill: float) -> None:
    """Lanes push their slices when they like."""
    config = dataclasses.replace(CONFIG, max_planes=planes)
    rng, depth, lanes = random.Random(fill), queue_depth(config), config.event_lanes
    width = config.spike_width // lanes
    dut = ShortcutQueue(config=config)
    platform = None if board is None else get_board(board).platform()
    fullest = clears = 0
    popped = -2

    async def bench(ctx):
        nonlocal fullest, clears, popped
        # Each lane's slices, and the clock from which they may be popped.
        queues: list[deque[tuple[int, int]]] = [deque() for _ in range(lanes)]
        for clock in range(3000):
            ready = all(queue and queue[0][1] <= clock for queue in queues)
            if ready and clock > popped + 1:
                assert ctx.get(dut.word) == sum(queue[0][0] << k * width for k, queue in enumerate(queues))
            push = [len(queue) < depth and rng.random() < fill for queue in queues]
            pop = ready and rng.random() < 0.5
            clear = rng.random() < 0.005
            word = rng.getrandbits(config.spike_width)
            ctx.set(dut.push, 0 if clear else sum(here << k for k, here in enumerate(push)))
            ctx.set(dut.push_word, word)
            ctx.set(dut.pop, pop and not clear)
            ctx.set(dut.clear, clear)
            await ctx.tick()
            for k, queue in enumerate(queues):
                if pop:
                    popped = clock
                    queue.popleft()
                if push[k]:
                    queue.append((word >> k * width & ((1 << width) - 1), clock + 3))
                fullest = max(fullest, len(queue))
                if clear:
                    queue.clear()
            clears += clear

    sim = Simulator(Fragment.get(dut, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert clears > 3
    assert fullest == depth or fill < 0.8


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("planes", [1, 6])
def test_depth_holds_all_tiles_that_can_be_on_their_way(units: int, planes: int) -> None:
    """One that waits, one that drains, and those that drained less than a write-back's time ago."""
    config = dataclasses.replace(CoreConfig(), neuron_units=units, max_planes=planes)
    depth, interval = queue_depth(config), config.slots_per_chunk
    written = barrier_to_slot(config) + interval + slot_to_writeback(config) + planes  # after the drain, the last word
    drained = sum(1 for tile in range(100) if tile * interval < written)
    assert depth >= (drained + 2) * planes and depth & (depth - 1) == 0
