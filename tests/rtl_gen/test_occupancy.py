"""The occupancy memory against the spike words that were written."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from rtl_gen.layouts import counts_words
from rtl_gen.occupancy import OccupancyMemory

CONFIGS = [
    CoreConfig(spike_depth=64, event_lanes=4),
    CoreConfig(spike_depth=50, event_lanes=1, output_lanes=4, neuron_units=1, scan_words=1),
    CoreConfig(spike_depth=64, scan_words=16),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_show_what_was_written(config: CoreConfig) -> None:
    rng, dut = random.Random(3), OccupancyMemory(config=config)
    lanes, words = config.event_lanes, config.scan_words
    width = config.spike_width // lanes
    contents = [0] * (-(-config.spike_depth // words) * words)

    def channels(part: int) -> int:
        steps = config.time_lanes
        return sum(part >> c * steps & ((1 << steps) - 1) != 0 for c in range(config.channels_per_word))

    def marks(row: int) -> tuple[int, int]:
        """Which slices have a channel that is not 0, which have several."""
        here = contents[row * words :][:words]
        counts = [channels(word >> k * width & ((1 << width) - 1)) for word in here for k in range(lanes)]
        one, two = (sum((count >= least) << bit for bit, count in enumerate(counts)) for least in (1, 2))
        return one, two

    async def bench(ctx):
        shown = last = late = None  # what the read port holds; the row read before; the write of the clock before
        for _ in range(1500):
            if shown is not None:
                assert ctx.get(dut.read.data) == shown[0]
                assert not counts_words(config) or ctx.get(dut.read.several) == shown[1]
            write, address = rng.random() < 0.5, rng.randrange(config.spike_depth)
            word = sum(rng.choice([0, 0, rng.getrandbits(width)]) << k * width for k in range(lanes))
            read, row = rng.random() < 0.6, rng.randrange(len(contents) // words)
            if late is not None and late[0] // words == row:
                read = False  # in the clock in which the row changes
            ctx.set(dut.write.en, write)
            ctx.set(dut.write.addr, address)
            ctx.set(dut.write.data, word)
            ctx.set(dut.read.en, read)
            ctx.set(dut.read.row, row)
            await ctx.tick()
            if read:
                shown, last = last, marks(row)
            if late is not None:
                contents[late[0]] = late[1]
            late = (address, word) if write else None

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
