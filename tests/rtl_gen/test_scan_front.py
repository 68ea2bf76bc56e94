"""The scan front against a loop over its clocks, and what it promises about empty words and barriers."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, Flag
from rtl_gen.scan_front import ScanFront

CONFIGS = {
    "2 lanes": CoreConfig(fifo_depth=2),
    "4 lanes, 1 word": CoreConfig(event_lanes=4, fifo_depth=1),
    "8 lanes, 4 words": CoreConfig(event_lanes=8, fifo_depth=4),
    "1 lane, 3 words": CoreConfig(event_lanes=1, output_lanes=4, neuron_units=1, fifo_depth=3),
}
Event = tuple[int, int]  # weight address, mask


@dataclass
class Item:
    """A fetched word: each lane's events."""

    events: list[list[Event]]
    flag: int = Flag.NONE
    shortcut: bool = False
    empty: bool = False
    tag: int = 0
    word: int = 0


@dataclass
class Lane:
    """A scanner: the word at work, the events it still has, and the words behind it."""

    queue: list[tuple[list[Event], int]] = field(default_factory=list)
    working: bool = False
    flag: int = Flag.NONE
    left: list[Event] = field(default_factory=list)

    @property
    def waiting(self) -> bool:
        return self.working and self.flag != Flag.NONE and len(self.left) <= 1

    def clock(self, push: tuple[list[Event], int] | None, release: bool) -> None:
        if not self.working or (release if self.flag != Flag.NONE else len(self.left) <= 1):
            self.working = bool(self.queue)
            self.left, self.flag = self.queue.pop(0) if self.queue else ([], Flag.NONE)
        else:
            self.left = self.left[1:]
        if push is not None:
            self.queue.append(push)


@dataclass
class Shown:
    """What the front shows in a clock."""

    advance: bool
    bundle: list[Event | None]
    op: int
    drained: bool
    drained_last: bool
    shortcut: int | None
    release: bool


class Front:
    """The scan front, clock by clock: fetch pipeline, lanes, barrier."""

    def __init__(self, config: CoreConfig):
        self.config = config
        self.lanes = [Lane() for _ in range(config.event_lanes)]
        self.read: Item | None = None
        self.held: Item | None = None
        self.since_drain = config.slots_per_chunk
        self.op_next = self.op = int(ArrayOp.ADD)
        self.bundle: list[Event | None] = [None] * config.event_lanes

    def _takes(self, lane: int) -> bool:
        held = self.held
        return held is not None and not held.shortcut and bool(held.events[lane] or held.flag != Flag.NONE)

    @property
    def idle(self) -> bool:
        return not (self.read or self.held or any(lane.working or lane.queue for lane in self.lanes))

    def show(self) -> Shown:
        lanes = range(len(self.lanes))
        blocked = any(self._takes(k) and len(self.lanes[k].queue) == self.config.fifo_depth for k in lanes)
        ready = all(lane.waiting for lane in self.lanes)
        drains = ready and self.lanes[0].flag != Flag.SHIFT
        release = ready and (not drains or self.since_drain >= self.config.slots_per_chunk)
        return Shown(
            advance=not blocked,
            bundle=self.bundle,
            op=self.op,
            drained=release and drains,
            drained_last=release and self.lanes[0].flag == Flag.DRAIN_LAST,
            shortcut=self.held.word if self.held and self.held.shortcut and not blocked else None,
            release=release,
        )

    def clock(self, item: Item | None, restart: bool = False) -> None:
        shown = self.show()
        self.bundle, self.op = [lane.left[0] if lane.left else None for lane in self.lanes], self.op_next
        self.op_next = int(ArrayOp.CLEAR if restart else ArrayOp.ADD)
        if shown.release:
            self.op_next = int(ArrayOp.NEW if shown.drained else ArrayOp.DOUBLE)
        self.since_drain = 1 if shown.drained else self.since_drain + 1
        pushes = [self._takes(k) and shown.advance for k in range(len(self.lanes))]
        for k, lane in enumerate(self.lanes):
            lane.clock((self.held.events[k], self.held.flag) if self.held and pushes[k] else None, shown.release)
        if shown.advance:
            self.held, self.read = self.read, item


def make_item(config: CoreConfig, word: int, tag: int, flag: int = Flag.NONE, empty: bool = False) -> Item:
    """The item of a spike word: lane k has channels k*W to k*W + W - 1, and an event for each that spikes."""
    per_word, steps = config.channels_per_word, config.time_lanes
    events: list[list[Event]] = []
    for k in range(config.event_lanes):
        masks = [word >> (k * per_word + c) * steps & ((1 << steps) - 1) for c in range(per_word)]
        events.append([] if empty else [(tag * per_word + c, mask) for c, mask in enumerate(masks) if mask])
    return Item(events, flag, False, empty, tag, word)


def random_items(rng: random.Random, config: CoreConfig, count: int) -> list[Item]:
    items, last = [], [Flag.SHIFT, Flag.DRAIN, Flag.DRAIN, Flag.DRAIN_LAST]
    while len(items) < count:
        density = rng.choice([0.0, 0.1, 0.4, 1.0])
        for _ in range(rng.randrange(1, 9)):
            word = 0
            for bit in range(config.spike_width):
                word |= (rng.random() < density / 2) << bit
            items.append(make_item(config, word, rng.randrange(1 << config.tag_bits), empty=rng.random() < 0.15))
        items[-1].flag = rng.choice(last)
        if items[-1].flag != Flag.SHIFT:
            for _ in range(rng.choice([0, 0, 1, 3])):
                items.append(Item([], shortcut=True, word=rng.getrandbits(config.spike_width)))
    return items


def run(config: CoreConfig, items: Sequence[Item], offers: Iterator[bool]) -> list[Shown]:
    """Feed ``items`` until the last has left, each clock compared with the model; returns what was shown."""
    dut, model, shown = ScanFront(config=config), Front(config), []

    async def bench(ctx):
        waiting, clock, spare = list(items), 0, 5
        while spare:
            now = model.show()
            shown.append(now)
            assert ctx.get(dut.advance) == now.advance
            assert ctx.get(dut.bundle.op) == now.op
            for k, event in enumerate(now.bundle):
                got = dut.bundle.events[k]
                assert ctx.get(got.valid) == (event is not None)
                if event is not None:
                    assert (ctx.get(got.weight), ctx.get(got.mask)) == event
            assert ctx.get(dut.drained) == now.drained
            assert ctx.get(dut.drained_last) == now.drained_last
            assert ctx.get(dut.shortcut_push) == (now.shortcut is not None)
            if now.shortcut is not None:
                assert ctx.get(dut.shortcut_word) == now.shortcut
            item = waiting[0] if clock and waiting and next(offers) else None
            ctx.set(dut.restart, clock == 0)
            ctx.set(dut.valid, item is not None)
            if item is not None:
                ctx.set(dut.tag, item.tag)
                ctx.set(dut.flag, item.flag)
                ctx.set(dut.empty, item.empty)
                ctx.set(dut.shortcut, item.shortcut)
            await ctx.tick()
            if now.advance:  # as the spike memory does
                ctx.set(dut.word, item.word if item is not None else 0)
                waiting = waiting[1:] if item is not None else waiting
            model.clock(item, restart=clock == 0)
            clock += 1
            spare -= not waiting and model.idle

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return shown


def always() -> Iterator[bool]:
    while True:
        yield True


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_every_clock(name: str, gaps: float) -> None:
    config, rng = CONFIGS[name], random.Random(f"{name} {gaps}")
    items = random_items(rng, config, 100)
    offers = (rng.random() >= gaps for _ in iter(int, 1))
    shown = run(config, items, offers)
    # Everything arrived, in order, each section's events between its op and the next.
    for k in range(config.event_lanes):
        sent = [event for item in items if not item.shortcut for event in item.events[k]]
        assert [s.bundle[k] for s in shown if s.bundle[k] is not None] == sent
    assert [s.shortcut for s in shown if s.shortcut is not None] == [i.word for i in items if i.shortcut]
    ops = {Flag.SHIFT: ArrayOp.DOUBLE, Flag.DRAIN: ArrayOp.NEW, Flag.DRAIN_LAST: ArrayOp.NEW}
    assert [s.op for s in shown if s.op] == [ArrayOp.CLEAR, *(ops[Flag(i.flag)] for i in items if i.flag)]
    section, counts = 0, [0] * (1 + sum(1 for item in items if item.flag))
    for s in shown:
        section += s.op in (ArrayOp.NEW, ArrayOp.DOUBLE)
        counts[section] += sum(event is not None for event in s.bundle)
    expected, section = [0] * len(counts), 0
    for item in items:
        expected[section] += sum(map(len, item.events))
        section += item.flag != Flag.NONE
    assert counts == expected


def test_empty_words_cost_nothing_behind_a_full_one() -> None:
    """While a lane lets 4 events go, the fetch gets ahead: 3 empty words leave no gap before the next event."""
    config = CONFIGS["2 lanes"]
    full = (1 << config.spike_width // 2) - 1  # lane 0's four channels
    items = [make_item(config, full, 0), *(make_item(config, 0, i) for i in (1, 2, 3)), make_item(config, full, 4)]
    items[-1].flag = Flag.DRAIN
    shown = run(config, items, always())
    clocks = [clock for clock, s in enumerate(shown) if s.bundle[0] is not None]
    assert len(clocks) == 8 and clocks[-1] - clocks[0] == 7


def test_a_slow_lane_does_not_hold_up_a_fast_one_before_the_barrier() -> None:
    config = dataclasses.replace(CONFIGS["2 lanes"], fifo_depth=4)
    low, high = (1 << config.spike_width // 2) - 1, 1 << config.spike_width // 2
    items = [make_item(config, low | high, 0), make_item(config, high, 1), make_item(config, high, 2, Flag.SHIFT)]
    shown = run(config, items, always())
    fast = [clock for clock, s in enumerate(shown) if s.bundle[1] is not None]
    slow = [clock for clock, s in enumerate(shown) if s.bundle[0] is not None]
    assert fast == [slow[0], slow[0] + 1, slow[0] + 2] and len(slow) == 4
    # The word with the boundary has no event for the slow lane, but takes a clock there.
    assert [clock for clock, s in enumerate(shown) if s.op == ArrayOp.DOUBLE] == [slow[-1] + 2]


@pytest.mark.parametrize("name", CONFIGS)
def test_drains_keep_the_neurons_distance(name: str) -> None:
    config = CONFIGS[name]
    shown = run(config, [make_item(config, 1, 0, Flag.DRAIN) for _ in range(5)], always())
    drains = [clock for clock, s in enumerate(shown) if s.drained]
    assert [b - a for a, b in itertools.pairwise(drains)] == [config.slots_per_chunk] * 4


@pytest.mark.parametrize("name", CONFIGS)
def test_planes_follow_each_other_at_once(name: str) -> None:
    """A plane of one word with one event in each lane takes one clock, or two if the queue holds one word only."""
    config = CONFIGS[name]
    word = sum(1 << k * config.channels_per_word * config.time_lanes for k in range(config.event_lanes))
    shown = run(config, [make_item(config, word, 0, Flag.SHIFT) for _ in range(6)], always())
    doubles = [clock for clock, s in enumerate(shown) if s.op == ArrayOp.DOUBLE]
    pace = 1 if config.fifo_depth > 1 else 2
    assert doubles == [doubles[0] + pace * i for i in range(6)]
