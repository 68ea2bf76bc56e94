"""The fetch against the clocks that docs/cycle-model.md gives, on random spike memories."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import BARRIER_TO_BUNDLE, FETCH_LATENCY, ArrayOp, Flag
from rtl_gen.fetch import Fetch
from rtl_gen.spike_memory import SpikeMemory
from tests.rtl_gen.windows import Window, random_windows

CONFIGS = {
    "2 lanes": CoreConfig(spike_depth=512, fifo_depth=2),
    "4 lanes, 1 item": CoreConfig(spike_depth=512, event_lanes=4, fifo_depth=1, scan_words=2),
    "8 lanes of 1 channel": CoreConfig(spike_depth=512, event_lanes=8, fifo_depth=4, scan_words=8),
    "1 lane, 3 items": CoreConfig(
        spike_depth=512, event_lanes=1, output_lanes=4, neuron_units=1, fifo_depth=3, scan_words=1
    ),
    "signed": CoreConfig(spike_depth=512, event_lanes=2, output_lanes=16, bank_depth=1024, signed_sources=True),
}
Event = tuple[int, int]  # weight address, mask


@dataclass
class Expected:
    """By clock after the start: each lane's events, array ops, and shortcut words in order."""

    events: list[dict[int, Event]]
    ops: dict[int, int] = field(default_factory=dict)
    shortcuts: list[list[int]] = field(default_factory=list)
    last: int = 0


@dataclass
class Content:
    """What an item makes a lane read: a word's events, nothing, or a shortcut slice."""

    item: int
    events: list[Event]
    final: bool = False  # last of its item
    flag: int = Flag.NONE
    shortcut: bool = False


def lane_contents(config: CoreConfig, window: Window, memory: list[int], lane: int) -> tuple[list[Content], list[int]]:
    """All contents of a slab for a lane, and its shortcut slices."""
    width, steps = config.channels_per_word, config.time_lanes
    contents, shortcuts = [], []

    def channels(address: int) -> list[int]:
        part = memory[address] >> lane * width * steps & ((1 << width * steps) - 1)
        return [part >> c * steps & ((1 << steps) - 1) for c in range(width)]

    for number, item in enumerate(window.items()):
        if item.shortcut:
            contents.append(Content(number, [], True, shortcut=True))
            shortcuts.append(sum(mask << c * steps for c, mask in enumerate(channels(item.words[0]))))
            continue
        found = []
        for address in item.words:
            tag = 0 if window.shared else item.tag + address - item.words[0]
            events = [(tag * width + c, mask) for c, mask in enumerate(channels(address)) if mask]
            if events:
                found.append(Content(number, events))
        if not found and item.flag:
            found.append(Content(number, []))
        if found:
            found[-1].final, found[-1].flag = True, item.flag
        contents += found
    return contents, shortcuts


def expect(config: CoreConfig, window: Window, memory: list[int]) -> Expected:
    """The clocks of a slab whose start is clock 0, word by word."""
    lanes = range(config.event_lanes)
    pairs = [lane_contents(config, window, memory, k) for k in lanes]
    out = Expected([{} for _ in lanes], shortcuts=[shortcuts for _, shortcuts in pairs])
    contents = [list(c) for c, _ in pairs]
    takes: list[list[int]] = [[] for _ in lanes]  # of each lane's entries
    done = [-10 for _ in lanes]  # when the last content of the entry before was read
    issue_free, move_free, final = [-10 for _ in lanes], [-10 for _ in lanes], [-10 for _ in lanes]
    push, drained = FETCH_LATENCY, -1000
    for number, item in enumerate(window.items()):
        mine = {k: [c for c in contents[k] if c.item == number] for k in lanes}
        push += 1
        for k in lanes:
            if mine[k] and len(takes[k]) >= config.fifo_depth:
                push = max(push, takes[k][-config.fifo_depth] + 1)
        ready = [0 for _ in lanes]
        for k in lanes:
            if not mine[k]:
                continue
            take = max(push + 1, done[k])
            takes[k].append(take)
            before = take
            for content in mine[k]:
                issue = max(before + 1, issue_free[k])
                move = max(issue + 1, move_free[k])
                leave = move + 1 if content.shortcut else max(move + 1, final[k])
                before, issue_free[k], move_free[k] = issue, move, leave
                if content.shortcut:
                    continue
                for i, event in enumerate(content.events):
                    out.events[k][leave + 1 + i] = event
                ready[k] = final[k] = leave + max(1, len(content.events))
            done[k] = before
        if item.flag:
            release = max(ready)
            if item.flag != Flag.SHIFT:
                release = drained = max(release, drained + config.slots_per_chunk)
            final = [release for _ in lanes]
            out.ops[release] = int(ArrayOp.SHIFT if item.flag == Flag.SHIFT else ArrayOp.DRAIN)
            out.last = release
    return out


def random_memory(rng: random.Random, config: CoreConfig, density: float) -> list[int]:
    """Words of which many, and many slices, are empty."""
    per_lane = config.spike_width // config.event_lanes
    words = []
    for _ in range(config.spike_depth):
        word = 0
        for k in range(config.event_lanes):
            if rng.random() < density:
                bits = rng.choice([0.1, 0.3, 1.0])
                word |= sum((rng.random() < bits) << bit for bit in range(per_lane)) << k * per_lane
        words.append(word)
    return words


class Top(wiring.Component):
    """Fetch and spike memory."""

    def __init__(self, config: CoreConfig):
        super().__init__({})
        self.fetch, self.spikes = Fetch(config=config), SpikeMemory(config=config)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.fetch, m.submodules.spikes = self.fetch, self.spikes
        for mine, port in zip(self.fetch.reads, self.spikes.reads, strict=True):
            wiring.connect(m, mine, port)
        for name in ("en", "addr", "data"):
            m.d.comb += getattr(self.fetch.write, name).eq(getattr(self.spikes.write, name))
        return m


def run(config: CoreConfig, windows: list[Window], memories: list[list[int]]) -> None:
    """Scan each window on its memory; compare every clock."""
    top = Top(config)
    fetch, lanes = top.fetch, range(config.event_lanes)

    async def bench(ctx):
        for window, memory in zip(windows, memories, strict=True):
            expected = expect(config, window, memory)
            ctx.set(top.spikes.write.en, 1)
            for address, word in enumerate(memory):
                ctx.set(top.spikes.write.addr, address)
                ctx.set(top.spikes.write.data, word)
                await ctx.tick()
            ctx.set(top.spikes.write.en, 0)
            await ctx.tick()
            ctx.set(fetch.descriptor, window.descriptor())
            ctx.set(fetch.start, 1)
            shortcuts: list[list[int]] = [[] for _ in lanes]
            for clock in range(expected.last + 10):
                for k in lanes:
                    event = fetch.bundle.events[k]
                    got = (ctx.get(event.weight), ctx.get(event.mask)) if ctx.get(event.valid) else None
                    assert got == expected.events[k].get(clock - BARRIER_TO_BUNDLE), (clock, k)
                    if ctx.get(fetch.shortcut_push) >> k & 1:
                        shortcuts[k].append(ctx.get(fetch.reads[k].data))
                op = expected.ops.get(clock, 0)
                assert ctx.get(fetch.bundle.op) == expected.ops.get(clock - BARRIER_TO_BUNDLE, 0), clock
                assert ctx.get(fetch.drained) == (op == ArrayOp.DRAIN)
                assert ctx.get(fetch.drained_last) == (clock == expected.last)
                await ctx.tick()
                ctx.set(fetch.start, 0)
            assert shortcuts == expected.shortcuts

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_clock(name: str) -> None:
    config, rng = CONFIGS[name], random.Random(name)
    windows = random_windows(rng, config, 8, most=4)
    memories = [random_memory(rng, config, density) for density in (0.1, 0.5, 1.0, 0.5, 0.05, 0.3, 0.8, 0.0)]
    run(config, windows, memories)
