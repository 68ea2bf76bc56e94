"""The cycle model against a loop over clocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import op_items, op_timing, run_timing
from refmodel.errors import CompileError
from refmodel.jit import Compiled
from refmodel.layout import (
    BARRIER_TO_BUNDLE,
    FETCH_LATENCY,
    Flag,
    array_latency,
    descriptor_words,
    slot_to_writeback,
    start_words,
)
from refmodel.occupancy import time_masks, word_events
from refmodel.program import Op, Program
from refmodel.scan_items import ScanItems
from tests.random_networks import random_input, random_quantized_network
from tests.sim.shapes import SHAPES


def random_program(rng: np.random.Generator, config: CoreConfig) -> Program:
    config = dataclasses.replace(config, spike_depth=1 << 14, store_depth=1 << 14)
    while True:
        net = random_quantized_network(
            rng,
            steps=int(rng.integers(1, 2 * config.time_lanes + 2)),
            sizes=(2, 4),
            max_layers=3,
            max_fan_in=100,
            input_bits=(1, 2),
            input_as_spikes=True,
        )
        try:
            return compile_network(net, config)
        except CompileError:
            continue


def random_events(rng: np.random.Generator, program: Program, op: Op) -> NDArray[np.integer]:
    """Events ``[chunks * planes, words, K, N]``, from silent to full, with and without many empty words."""
    config = program.config
    words = int(np.prod(op.source.shape[1:])) * (program.buffers[op.layer.source].groups if op.scans else 1)
    shape = (program.chunks * op.source.planes, words, config.event_lanes)
    events = [
        rng.binomial(config.channels_per_word, p, shape) * (rng.random(shape) < some)
        for p, some in ((0.0, 1.0), (0.1, 1.0), (0.5, 0.5), (1.0, 1.0), (1.0, 0.1), (0.8, 0.9))
    ]
    return np.stack(events, axis=-1).astype(np.uint8)


@dataclasses.dataclass
class Content:
    """What an item is for a lane: a word (``number`` in the order of the items), nothing, or a shortcut's word."""

    left: int
    number: int = -1
    end: bool = False
    shortcut: bool = False


@dataclasses.dataclass
class Lane:
    """The registers of one event lane."""

    queue: list[list[Content]] = dataclasses.field(default_factory=list)
    current: list[Content] = dataclasses.field(default_factory=list)
    read: Content | None = None
    shown: Content | None = None
    emits: Content | None = None


@dataclasses.dataclass
class Front:
    """Items through queues, lanes and barriers, one clock at a time."""

    config: CoreConfig
    items: ScanItems
    events: NDArray[np.integer]  # of one image
    barriers: list[int] = dataclasses.field(default_factory=list)
    leaves: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    emitted: int = 0
    queued_shortcuts: list[int] = dataclasses.field(default_factory=list)

    def contents(self, j: int, number: int) -> list[list[Content]]:
        """Contents of item ``j`` for every lane; a lane with none does not take it."""
        found: list[list[Content]] = []
        flagged = bool(self.items.flag[j])
        for k in range(self.config.event_lanes):
            mine = []
            for i in range(self.items.count[j]):
                n = int(self.events[self.items.row[j], self.items.first[j] + i, k])
                if n:
                    mine.append(Content(n, number + i))
            if self.items.shortcut[j]:
                mine = [Content(0, shortcut=True)]
            elif flagged and not mine:
                mine = [Content(0)]
            if flagged:
                mine[-1].end = True
            found.append(mine)
        return found

    def run(self) -> None:
        lanes = [Lane() for _ in range(self.config.event_lanes)]
        flags = [int(flag) for flag in self.items.flag if flag]
        j = number = clock = 0
        since_drain = self.config.slots_per_chunk
        self.queued_shortcuts = [0] * len(lanes)
        while len(self.barriers) < len(flags):
            item = self.contents(j, number) if clock > FETCH_LATENCY and j < len(self.items) else None
            # What the registers say in this clock.
            waits = [lane.emits is not None and lane.emits.end and lane.emits.left <= 1 for lane in lanes]
            drains = flags[len(self.barriers)] != Flag.SHIFT
            release = all(waits) and (not drains or since_drain >= self.config.slots_per_chunk)
            full = item is not None and any(
                bool(mine) and len(lane.queue) == self.config.fifo_depth for lane, mine in zip(lanes, item, strict=True)
            )
            for k, lane in enumerate(lanes):
                self.emitted += lane.emits is not None and lane.emits.left > 0
                done = lane.emits is None or (release if lane.emits.end else lane.emits.left <= 1)
                leaves = lane.shown is not None and (lane.shown.shortcut or done)
                moves = lane.read is not None and (lane.shown is None or leaves)
                issues = bool(lane.current) and (lane.read is None or moves)
                takes = bool(lane.queue) and (not lane.current or (issues and len(lane.current) == 1))
                # What they hold in the next one.
                if done:
                    lane.emits = None
                elif lane.emits is not None:
                    lane.emits.left = max(0, lane.emits.left - 1)
                if leaves:
                    assert lane.shown is not None
                    if lane.shown.shortcut:
                        self.queued_shortcuts[k] += 1
                    else:
                        lane.emits = lane.shown
                        self.leaves[lane.shown.number, k] = clock
                    lane.shown = None
                if moves:
                    lane.shown, lane.read = lane.read, None
                if issues:
                    lane.read = lane.current.pop(0)
                if takes:
                    lane.current = lane.queue.pop(0)
                if item is not None and not full and item[k]:
                    lane.queue.append(item[k])
            if release:
                self.barriers.append(clock)
            since_drain = 1 if release and drains else since_drain + 1
            if item is not None and not full:
                number += int(self.items.count[j])
                j += 1
            clock += 1
        assert j == len(self.items)


def last_write(config: CoreConfig, op: Op, taken: int, engine: int) -> int:
    """The clock of a word's last plane, counted from the engine's start."""
    if op.engines == 1 or not op.writes:
        return taken + op.writes
    after = engine * start_words(config)  # engine 0's start
    turns = [u for u in range(taken + 1, taken + 1 + op.engines * op.writes) if (u + after - 1) % op.engines == engine]
    assert len(turns) == op.writes and turns[-1] < taken + config.slots_per_chunk - 1
    return turns[-1]


def compare(config: CoreConfig, op: Op, items: ScanItems, events: NDArray[np.integer], engine: int = 0) -> int:
    """The model against the loop over clocks; how many barriers were compared."""
    timing = op_timing(config, op, items, events, keep=True, engine=engine)
    brief = op_timing(config, op, items, events, engine=engine)
    assert np.array_equal(timing.end, brief.end) and np.array_equal(timing.events, brief.events)
    assert timing.barriers is not None and timing.leaves is not None
    for image in range(events.shape[-1]):
        front = Front(config, items, events[..., image])
        front.run()
        assert timing.barriers[:, image].tolist() == front.barriers
        for (number, k), clock in front.leaves.items():
            assert number < 0 or timing.leaves[number, k, image] == clock
        assert timing.events[image] == front.emitted
        assert front.queued_shortcuts == [np.count_nonzero(items.shortcut)] * config.event_lanes
        # Bundle, array, a long array's registers, R neuron slots, and the last one's way to the memory.
        long = config.stages > 4 and config.neuron_units == config.bank_lanes
        end = front.barriers[-1] + BARRIER_TO_BUNDLE + array_latency(config) + long + config.slots_per_chunk - 1
        assert timing.end[image] == last_write(config, op, end + slot_to_writeback(config), engine)
    return events.shape[-1] * len(front.barriers)


@pytest.mark.parametrize("shape", SHAPES)
def test_barriers_clock_by_clock(shape: str) -> None:
    rng, compared = np.random.default_rng(len(shape)), 0
    while compared < 500:
        program = random_program(rng, dataclasses.replace(SHAPES[shape], scan_words=int(2 ** rng.integers(5))))
        for op in program.ops:
            engine = int(rng.integers(op.engines))
            items = op_items(program, op, int(rng.integers(op.groups)), engine)
            compared += compare(program.config, op, items, random_events(rng, program, op), engine)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_any_order_of_items(depth: int) -> None:
    """Items that no walk makes: flags, shortcuts and empty segments anywhere."""
    rng, size = np.random.default_rng(depth), 60
    for shape in ("k2p8", "k4p8t1", "k1p4t2"):
        program = random_program(rng, SHAPES[shape])
        config = dataclasses.replace(program.config, fifo_depth=depth)
        for _ in range(4):
            flag = rng.choice([0, 0, 0, 1, 2], size).astype(np.int32)
            flag[-1] = Flag.DRAIN_LAST
            shortcut = (rng.random(size) < 0.1) & (flag == 0)
            count = np.where(shortcut, 0, rng.integers(0, 5, size)).astype(np.int32)
            zeros = np.zeros(size, np.int32)
            first = rng.integers(0, 16, size).astype(np.int32)
            items = ScanItems(zeros, zeros, first, count, zeros, flag, shortcut)
            chances = np.array([0.1, 0.5, 1.0])
            events = rng.binomial(config.channels_per_word, chances, (1, 20, config.event_lanes, 3)).astype(np.uint8)
            events *= rng.random(events.shape) < 0.7
            compare(config, program.ops[0], items, events)


def test_masks_and_counts() -> None:
    """Bit t of (chunk, plane, y, x, group, lane, c) is bit ``plane`` of the channel's value at that step."""
    rng, config = np.random.default_rng(1), SHAPES["k4p16"]
    values = rng.integers(0, 4, (2, 6, 20, 2, 3))
    masks = time_masks(values, config, 2, 2)
    assert masks.shape == (2, 2, 2, 2, 3, 2, 4, 4)
    for n, chunk, plane, y, x, group, lane, c in np.ndindex(*masks.shape):
        channel, expected = group * 16 + lane * 4 + c, 0
        for t in range(4):
            step = chunk * 4 + t
            if channel < 20 and step < 6:
                expected |= (int(values[n, step, channel, y, x]) >> plane & 1) << t
        assert masks[n, chunk, plane, y, x, group, lane, c] == expected
    by_word = np.count_nonzero(masks, axis=-1).reshape(2, 4, -1, 4)
    by_word = np.moveaxis(by_word, 0, -1)  # [chunks * planes, words, K, N]
    assert np.array_equal(word_events(values, config, 2, 2), by_word)
    assert np.array_equal(word_events(values.astype(np.uint8), config, 2, 2), by_word)
    still = np.broadcast_to(values[:, :1], values.shape)
    assert np.array_equal(word_events(still, config, 2, 2), word_events(still.copy(), config, 2, 2))


def test_events_of_signed_and_wide_values() -> None:
    """Bit-planes of two's complement values, more than a byte has."""
    rng, config = np.random.default_rng(2), SHAPES["k2p8all"]
    values = rng.integers(-2048, 2048, (2, 4, 9, 3, 2))
    masks = time_masks(values, config, 1, 12)
    for kind in (np.int16, np.int32, np.int64):
        events = word_events(values.astype(kind), config, 1, 12)
        by_word = np.count_nonzero(masks, axis=-1).reshape(2, 12, -1, 2)
        assert np.array_equal(events, np.moveaxis(by_word, 0, -1))


@pytest.mark.parametrize("shape", ["k2p8", "k1p4t2"])
def test_runs(shape: str) -> None:
    """Slabs follow each other: the next one loads while one runs, and starts when both are done."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        program = random_program(rng, SHAPES[shape])
        config = program.config
        x = random_input(rng, program.network, 3)
        timing = run_timing(program, golden.run(program.network, x, keep=True).tensors)
        for image in range(3):
            started, ended = 0, -1
            for slab, slab_timing, start, end in zip(
                program.slabs, timing.slabs, timing.start, timing.end, strict=True
            ):
                loaded = started + 4 + config.event_lanes * slab.op.weights + config.output_lanes
                assert start[image] == max(loaded, ended + 1) + descriptor_words(config) + 1
                started, ended = int(start[image]), int(start[image] + slab_timing.end[image])
                assert end[image] == ended
            assert timing.clocks[image] == max(started + 4, ended + 1) + 2 * program.classes + 3
        assert np.array_equal(timing.layer_clocks().sum(axis=0), timing.clocks)
        assert (timing.layer_clocks() > 0).all()


def test_events_are_spikes_of_each_tap() -> None:
    """A 1x1 layer lets each channel that spikes within a chunk in once for every group of outputs."""
    rng, config = np.random.default_rng(6), SHAPES["k2p8"]
    net = random_quantized_network(rng, steps=7, kernels=((1, 1),), strides=(1,), max_layers=1, sizes=(3, 4),
                                   input_bits=(1,), dense=False, static=False)  # fmt: skip
    program = compile_network(net, config)
    x = random_input(rng, net, 2)
    timing = run_timing(program, golden.run(net, x, keep=True).tensors)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0), (0, 0)))
    active = padded.reshape(2, 2, 4, *x.shape[2:]).any(axis=2)
    assert net.layers[0].padding == (0, 0)
    assert timing.layer_events()[0].tolist() == (program.ops[0].groups * active.sum(axis=(1, 2, 3, 4))).tolist()


def test_threads_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    program = random_program(rng, SHAPES["k4p16"])
    tensors = golden.run(program.network, random_input(rng, program.network, 7), keep=True).tensors
    found = [run_timing(program, tensors, keep=True, threads=threads) for threads in (1, 3)]
    monkeypatch.setattr("refmodel.cycles._TOGETHER", 2)
    found.append(run_timing(program, tensors, keep=True, threads=2))
    for other in found[1:]:
        assert np.array_equal(found[0].clocks, other.clocks)
        for slab, again in zip(found[0].slabs, other.slabs, strict=True):
            (a,), (b,) = slab.engines, again.engines
            assert a.barriers is not None and b.barriers is not None and np.array_equal(a.barriers, b.barriers)
            assert a.leaves is not None and b.leaves is not None
            assert np.array_equal(a.end, b.end) and a.leaves.shape == b.leaves.shape


def test_plain_python_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs where there is no numba."""
    rng = np.random.default_rng(9)
    program = random_program(rng, SHAPES["k2p8"])
    tensors = golden.run(program.network, random_input(rng, program.network, 2), keep=True).tensors
    compiled = run_timing(program, tensors)
    monkeypatch.setattr(Compiled, "__call__", lambda self, *arguments: self.plain(*arguments))
    plain = run_timing(program, tensors)
    assert np.array_equal(plain.clocks, compiled.clocks)
    assert np.array_equal(plain.layer_events(), compiled.layer_events())
