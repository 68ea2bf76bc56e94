"""The event scanner: order, timing and queue, with random gaps and releases."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import Flag
from rtl_gen.scanner import EventScanner

CONFIGS = {
    "4 channels": CoreConfig(fifo_depth=2),
    "8 channels, 3 words": CoreConfig(event_lanes=1, fifo_depth=3),
    "1 channel, 1 word": CoreConfig(event_lanes=8, fifo_depth=1),
    "2 channels, 1 step, 5 words": CoreConfig(event_lanes=4, time_lanes=1, max_planes=2, fifo_depth=5),
}


@dataclass
class Word:
    masks: list[int]
    tag: int
    flag: int

    @property
    def events(self) -> list[tuple[int, int]]:
        """Weight address and mask of each event, in the order in which they leave."""
        return [(self.tag * len(self.masks) + c, mask) for c, mask in enumerate(self.masks) if mask]

    @property
    def value(self) -> dict:
        busy = sum((mask != 0) << c for c, mask in enumerate(self.masks))
        return {"masks": self.masks, "busy": busy, "tag": self.tag, "flag": self.flag}


def random_word(rng: random.Random, config: CoreConfig, density: float) -> Word:
    while True:
        flag = rng.choice([Flag.NONE] * 4 + [Flag.SHIFT, Flag.DRAIN, Flag.DRAIN_LAST])
        masks = [
            rng.randrange(1, 1 << config.time_lanes) if rng.random() < density else 0
            for _ in range(config.channels_per_word)
        ]
        if any(masks) or flag != Flag.NONE:
            return Word(masks, rng.randrange(1 << config.tag_bits), flag)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("pushing", [0.2, 1.0])
@pytest.mark.parametrize("releasing", [0.3, 1.0])
def test_every_clock(name: str, pushing: float, releasing: float) -> None:
    """Against a list of words: the first is at work, the rest wait, and each takes max(1, events) clocks."""
    config = CONFIGS[name]
    rng = random.Random(f"{name} {pushing} {releasing}")
    dut = EventScanner(config=config)
    queue: list[Word] = []
    work: Word | None = None
    left: list[tuple[int, int]] = []
    released = events = fullest = 0

    async def bench(ctx):
        nonlocal work, left, released, events, fullest
        density = 0.5
        for clock in range(900):
            if clock % 100 == 0:
                density = rng.choice([0.0, 0.2, 0.6, 1.0])
            # What the scanner shows of its state
            assert ctx.get(dut.full) == (len(queue) == config.fifo_depth)
            fullest = max(fullest, len(queue))
            assert ctx.get(dut.event.valid) == bool(left)
            if left:
                assert (ctx.get(dut.event.weight), ctx.get(dut.event.mask)) == left[0]
                events += 1
            waiting = work is not None and work.flag != Flag.NONE and len(left) <= 1
            assert ctx.get(dut.waiting) == waiting
            if waiting:
                assert ctx.get(dut.flag) == work.flag
            # What it is told
            release = waiting and rng.random() < releasing
            released += release
            room = len(queue) < config.fifo_depth
            push = random_word(rng, config, density) if room and rng.random() < pushing else None
            ctx.set(dut.release, release)
            ctx.set(dut.push, push is not None)
            if push is not None:
                ctx.set(dut.word, push.value)
            await ctx.tick()
            # What follows from it
            ends = work is None or (release if work.flag != Flag.NONE else len(left) <= 1)
            left = left[1:]
            if ends:
                work = queue.pop(0) if queue else None
                left = work.events if work else []
            if push is not None:
                queue.append(push)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert events > 50 and released > 20
    if pushing == 1.0:
        assert fullest == config.fifo_depth


def test_an_empty_flagged_word_waits_without_an_event() -> None:
    dut = EventScanner(config=CONFIGS["4 channels"])

    async def bench(ctx):
        ctx.set(dut.word, Word([0] * 4, 3, Flag.SHIFT).value)
        ctx.set(dut.push, 1)
        await ctx.tick()
        ctx.set(dut.push, 0)
        assert not ctx.get(dut.waiting)
        await ctx.tick()
        for _ in range(5):
            assert ctx.get(dut.waiting) and not ctx.get(dut.event.valid)
            await ctx.tick()
        ctx.set(dut.release, 1)
        await ctx.tick()
        assert not ctx.get(dut.waiting)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
