"""The window walker against nested loops, with random stalls."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from rtl_gen.walker import WindowWalker
from tests.rtl_gen.windows import Item, Window, random_windows

CONFIGS = {
    "rows of 4": CoreConfig(spike_depth=1024, bank_depth=1024, chunk_bits=3, dim_bits=6),
    "rows of 1": CoreConfig(spike_depth=1024, bank_depth=512, scan_words=1, dim_bits=4),
    "rows of 8, signed": CoreConfig(spike_depth=1000, bank_depth=1024, scan_words=8, signed_sources=True),
}


def walk(config: CoreConfig, windows: list[Window], rng: random.Random, stalls: float) -> list[list[tuple[int, Item]]]:
    """Items of every window and the clocks after its start in which they were taken."""
    dut, found = WindowWalker(config=config), []

    async def bench(ctx):
        for window in windows:
            ctx.set(dut.descriptor, window.descriptor())
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            taken, idle, clock = [], 0, 0
            while idle < 8:
                clock += 1
                advance = rng.random() >= stalls or not ctx.get(dut.valid)
                ctx.set(dut.advance, advance)
                if ctx.get(dut.valid) and advance:
                    item = dut.item
                    row, mask = ctx.get(item.row) * config.scan_words, ctx.get(item.words)
                    words = tuple(row + i for i in range(config.scan_words) if mask >> i & 1)
                    tag = (ctx.get(item.delta) + words[0]) % (1 << config.tag_bits) if words else 0
                    shortcut = bool(ctx.get(item.shortcut))
                    tag = 0 if window.shared or shortcut else tag
                    taken.append((clock, Item(words, tag, ctx.get(item.flag), shortcut)))
                idle = 0 if ctx.get(dut.valid) else idle + 1
                await ctx.tick()
            found.append(taken)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return found


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_items(name: str, stalls: float) -> None:
    config, rng = CONFIGS[name], random.Random(f"{name} {stalls}")
    windows = random_windows(rng, config, 16)
    for window, taken in zip(windows, walk(config, windows, rng, stalls), strict=True):
        assert [item for _, item in taken] == list(window.items())
        if not stalls:  # an item a clock
            assert [clock for clock, _ in taken] == list(range(4, 4 + len(taken)))
