"""Cycle model: the clock of everything a core does, from a program and its spikes.

Nothing is simulated clock by clock.  The walker's items, the lanes' queues and the barriers obey max-plus
recurrences over items and words (docs/cycle-model.md), evaluated in machine code for many images together and
by several threads; slabs of one op differ only in their weights, so an op is evaluated once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention_layout import gate_clocks
from .config import CoreConfig
from .engines import first_write
from .golden import usable_processors
from .jit import compiled
from .layout import (
    FETCH_LATENCY,
    LOAD_OVERHEAD,
    barrier_to_slot,
    descriptor_words,
    engine_start,
    readout_clocks,
    slot_to_writeback,
)
from .occupancy import word_events
from .program import Op, Program
from .scan_items import ScanItems, scan_items
from .store_stream import streamed_starts

Times = NDArray[np.int64]
Events = NDArray[np.integer[Any]]
_NEVER = -(1 << 40)
#: So many images are evaluated together: what fills vector registers and still fits a processor's own cache.
_TOGETHER = 32


@dataclass(frozen=True)
class OpTiming:
    """Timing of an engine in one slab of an op, clocks relative to the engine's start.

    end: ``[N]`` clock in which the slab's last result is written.  events: ``[N]`` events of all lanes.
    Where kept for a trace: barriers: ``[boundary, N]`` release clocks of the flagged items, in order;
    leaves: ``[word, K, N]`` clock before a word's first event, the words in the order of the items (undefined where
    the word has no event for the lane).
    """

    items: ScanItems
    end: Times
    events: Times
    barriers: Times | None = None
    leaves: Times | None = None


@dataclass(frozen=True)
class SlabTiming:
    """Timing of one slab, of the engines that run: ``end`` and ``events`` ``[N]``, clocks relative to its start."""

    engines: tuple[OpTiming, ...]
    end: Times
    events: Times


@dataclass
class RunTiming:
    """Timing of whole runs, for N inputs.

    start, end: ``[slab, N]`` clocks of each slab's start and last write, relative to the
    run's start pulse.  clocks: ``[N]``, from the start pulse to ``done``.
    Of a core whose program lies outside (:mod:`refmodel.store_stream`): waits: ``[slab + 1, N]`` clocks in which the
    sequencer stood still for a slab's words, the end header's last; pulls, where kept: ``[word, N]``.
    """

    program: Program
    slabs: list[SlabTiming] = field(default_factory=list)
    start: list[Times] = field(default_factory=list)
    end: list[Times] = field(default_factory=list)
    clocks: Times = field(default_factory=lambda: np.zeros(0, np.int64))
    waits: Times | None = None
    pulls: Times | None = None

    def stalls(self) -> Times:
        """``[N]`` clocks in which the sequencer stood still because a word had not come yet."""
        return np.zeros(len(self.clocks), np.int64) if self.waits is None else self.waits.sum(axis=0)

    def layer_clocks(self) -> Times:
        """``[layer, N]`` clocks of each layer; they add up to ``clocks``."""
        ops = self.program.ops
        result = np.zeros((len(ops), len(self.clocks)), np.int64)
        before = np.zeros(len(self.clocks), np.int64)
        for slab, end in zip(self.program.slabs, self.end, strict=True):
            result[slab.op.index] += end - before
            before = end
        result[-1] += self.clocks - before
        return result

    def layer_events(self) -> Times:
        """``[layer, N]`` events that entered the array in each layer."""
        result = np.zeros((len(self.program.ops), len(self.clocks)), np.int64)
        for slab, timing in zip(self.program.slabs, self.slabs, strict=True):
            result[slab.op.index] += timing.events
        return result


def run_timing(
    program: Program, tensors: dict[str, NDArray[np.integer]], *, keep: bool = False, threads: int | None = None
) -> RunTiming:
    """Clocks of a run on the given spikes.

    ``tensors``: every tensor's integers ``[N, T, C, H, W]``, as the golden model keeps them.
    ``keep``: keep what a trace needs (memory grows with the number of words).
    ``threads``: how many may work at a time, by default as many as there are processors.
    """
    config = program.config
    timings = _op_timings(program, tensors, keep, usable_processors() if threads is None else threads)
    result = RunTiming(program)
    if config.streams_store:
        return _streamed(result, timings, keep)
    n = next(iter(tensors.values())).shape[0]
    start = np.zeros(n, np.int64)  # START of the slab before; the run's start pulse plays that part first
    idle = np.zeros(n, np.int64)
    for slab in program.slabs:
        op = slab.op
        timing = timings[op.index, slab.group if op.pool else 0]
        loads = config.event_lanes * op.weights + config.output_lanes + len(slab.attention_words)
        start = np.maximum(start + LOAD_OVERHEAD + loads, idle) + descriptor_words(config) + 1
        end = start + timing.end
        idle = end + 1
        if slab.computes and op.layer.attention is not None:
            idle = idle + 1 + gate_clocks(op.layer.attention, config)
        result.slabs.append(timing)
        result.start.append(start)
        result.end.append(end)
    result.clocks = np.maximum(start + LOAD_OVERHEAD, idle) + readout_clocks(program.classes)
    return result


def _streamed(result: RunTiming, timings: dict[tuple[int, int], SlabTiming], keep: bool) -> RunTiming:
    """The run of a core whose program lies outside."""
    program, config = result.program, result.program.config
    loads, lengths = [], []
    for slab in program.slabs:
        op = slab.op
        timing = timings[op.index, slab.group if op.pool else 0]
        gates = 1 + gate_clocks(op.layer.attention, config) if slab.computes and op.layer.attention is not None else 0
        loads.append(program.slab_words(slab) - 1 - descriptor_words(config))
        lengths.append(timing.end + 1 + gates)
        result.slabs.append(timing)
    found = streamed_starts(config, loads, np.stack(lengths), keep=keep)
    result.start = list(found.start)
    result.end = [start + timing.end for start, timing in zip(found.start, result.slabs, strict=True)]
    result.clocks = np.maximum(found.closing + LOAD_OVERHEAD - 1, found.start[-1] + lengths[-1]) + readout_clocks(
        program.classes
    )
    result.waits, result.pulls = found.waits, found.pulls
    return result


def op_items(program: Program, op: Op, group: int = 0, engine: int = 0) -> ScanItems:
    """Items of an engine in a slab of the program."""
    source = program.buffers[op.layer.source] if op.scans else None
    return scan_items(op, source, program.chunks, program.config.scan_words, group, engine)


def _op_timings(
    program: Program, tensors: dict[str, NDArray[np.integer]], keep: bool, threads: int
) -> dict[tuple[int, int], SlabTiming]:
    """Timings by op and group (0 where groups do not differ)."""
    config = program.config
    slabs = [(op, group) for op in program.ops for group in (range(op.groups) if op.pool else (0,))]
    keys = [(op, group, engine) for op, group in slabs for engine in range(op.engines)]
    items = [op_items(program, op, group, engine) for op, group, engine in keys]
    last_use = {op.layer.source: number for number, (op, _, _) in enumerate(keys) if op.scans}
    n = next(iter(tensors.values())).shape[0]
    size = _TOGETHER if 2 * n > _TOGETHER else max(1, -(-n // max(1, threads)))

    def work(first: int) -> list[OpTiming]:
        events: dict[str, Events] = {}
        nothing = np.zeros((1, 1, config.event_lanes, min(size, n - first)), np.uint8)
        part = []
        for number, (op, _, engine) in enumerate(keys):
            name = op.layer.source
            if op.scans and name not in events:
                values = tensors[name][first : first + size]
                events[name] = word_events(values, config, program.chunks, op.source.planes)
            found = events[name] if op.scans else nothing
            part.append(op_timing(config, op, items[number], found, keep=keep, engine=engine))
            if last_use.get(name) == number:
                del events[name]
        return part

    firsts = range(0, n, size)
    if threads <= 1 or len(firsts) == 1:
        parts = [work(first) for first in firsts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(work, firsts))
    whole = iter([_joined([part[i] for part in parts]) for i in range(len(keys))])
    return {(op.index, group): _slab(config, [next(whole) for _ in range(op.engines)]) for op, group in slabs}


def _slab(config: CoreConfig, engines: list[OpTiming]) -> SlabTiming:
    """The slab ends when its last engine does."""
    ends = [part.end + engine_start(config, engine) for engine, part in enumerate(engines)]
    return SlabTiming(tuple(engines), np.max(ends, axis=0), np.sum([part.events for part in engines], axis=0))


def _joined(parts: list[OpTiming]) -> OpTiming:
    """Timings of several images as one."""
    if len(parts) == 1:
        return parts[0]
    barriers, leaves = [part.barriers for part in parts], [part.leaves for part in parts]
    return OpTiming(
        parts[0].items,
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.events for part in parts]),
        np.concatenate([b for b in barriers if b is not None], axis=1) if barriers[0] is not None else None,
        np.concatenate([v for v in leaves if v is not None], axis=2) if leaves[0] is not None else None,
    )


def op_timing(
    config: CoreConfig, op: Op, items: ScanItems, events: Events, *, keep: bool = False, engine: int = 0
) -> OpTiming:
    """Timing of an engine in one slab; ``events``: of its source's words, ``[chunks * planes, words, K, N]``."""
    lanes, n = events.shape[2:]
    boundaries, words = int(np.count_nonzero(items.flag)), int(items.count.sum())
    barriers = np.zeros((boundaries if keep else 1, n), np.int64)
    leaves = np.zeros((words if keep else 0, lanes, n), np.int64)
    issued, moved, left, free = (np.full((lanes, n), _NEVER) for _ in range(4))
    takes = np.full((config.fifo_depth, lanes, n), _NEVER)
    pushed, take, release, drain = (np.full(n, clock) for clock in (FETCH_LATENCY, 0, 0, _NEVER))
    _fetch(
        config.slots_per_chunk, items.row, items.first, items.count, items.flag, items.shortcut, events,
        np.zeros((lanes, n), events.dtype), issued, moved, left, free, takes, pushed, take, release, drain, barriers,
        leaves,
    )  # fmt: skip
    last_slot = barriers[-1] + barrier_to_slot(config) + config.slots_per_chunk - 1
    end = last_slot + slot_to_writeback(config)
    if op.writes:
        end = first_write(config, op.engines, engine, end) + (op.writes - 1) * op.engines
    return OpTiming(
        items=items,
        end=end,
        events=_entered(items, events),
        barriers=barriers if keep else None,
        leaves=leaves if keep else None,
    )


def _entered(items: ScanItems, events: Events) -> Times:
    """Events of all items, ``[N]``."""
    rows, words = events.shape[:2]
    full = items.count > 0
    first = items.row[full].astype(np.int64) * (words + 1) + items.first[full]
    begins, ends = (np.bincount(at, minlength=rows * (words + 1)) for at in (first, first + items.count[full]))
    reads = np.cumsum(begins - ends).reshape(rows, words + 1)[:, :-1]  # how often each word is read
    return np.tensordot(reads, events.sum(axis=2, dtype=np.int64), 2)


@compiled
def _fetch(
    rest: int,
    row: NDArray[np.int32],
    first: NDArray[np.int32],
    count: NDArray[np.int32],
    flag: NDArray[np.int32],
    shortcut: NDArray[np.bool_],
    events: Events,
    wanted: Events,
    issued: Times,
    moved: Times,
    left: Times,
    free: Times,
    takes: Times,
    pushed: Times,
    take: Times,
    release: Times,
    drain: Times,
    barriers: Times,
    leaves: Times,
) -> None:
    """The recurrences of docs/cycle-model.md for every image of ``events``; images are the innermost loops, without
    branches, which the processor's vector instructions run.

    Of each lane's last content, ``issued``, ``moved``, ``left``, ``free`` ``[K, N]`` are the clock in which it was
    issued, in which it moved to the output register, in which it left that for the emitter, and from which the emitter
    takes the next one; of its last ``fifo_depth`` entries,
    ``takes`` ``[.., K, N]`` are the clocks in which they left the queue, oldest first.  ``pushed``: the last push;
    ``drain``: the last drain's release; ``wanted``, ``take``, ``release``: places to work in.
    Fills ``barriers`` ``[boundaries, N]`` (or ``[1, N]``: the last one) and, unless it has no words, ``leaves``
    ``[words, K, N]``.
    """
    lanes, images = wanted.shape
    depth = len(takes)
    boundary = word = 0
    for j in range(len(row)):
        begin, size, source, everyone = first[j], count[j], row[j], flag[j] != 0 or shortcut[j]
        for lane in range(lanes):
            w = wanted[lane]
            for image in range(images):
                w[image] = everyone
            for at in range(begin, begin + size):
                n = events[source, at, lane]
                for image in range(images):
                    w[image] |= n[image]
        for image in range(images):
            pushed[image] += 1
        for lane in range(lanes):
            w, t = wanted[lane], takes[0, lane]
            for image in range(images):
                pushed[image] = max(pushed[image], t[image] + 1 if w[image] > 0 else _NEVER)
        for lane in range(lanes):
            w, i, o, m, f = wanted[lane], issued[lane], moved[lane], left[lane], free[lane]
            for image in range(images):
                take[image] = max(pushed[image] + 1, i[image])
            for at in range(size):
                n = events[source, begin + at, lane]
                for image in range(images):
                    now = max(take[image] + 1, o[image])
                    next = max(now + 1, m[image])
                    then = max(next + 1, f[image])
                    i[image] = now if n[image] > 0 else i[image]
                    o[image] = next if n[image] > 0 else o[image]
                    m[image] = then if n[image] > 0 else m[image]
                    f[image] = then + n[image] if n[image] > 0 else f[image]
                if len(leaves) > 0:
                    kept = leaves[word + at, lane]
                    for image in range(images):
                        kept[image] = m[image]
            if everyone:  # a lane without a word gets a null or a shortcut content
                for image in range(images):
                    none, now = i[image] <= take[image], max(take[image] + 1, o[image])
                    next = max(now + 1, m[image])
                    then = next + 1 if shortcut[j] else max(next + 1, f[image])
                    i[image] = now if none else i[image]
                    o[image] = next if none else o[image]
                    m[image] = then if none else m[image]
                    f[image] = then + 1 if none and not shortcut[j] else f[image]
            for place in range(depth):
                t, later = takes[place, lane], takes[place + 1, lane] if place < depth - 1 else take
                for image in range(images):
                    t[image] = later[image] if w[image] > 0 else t[image]
        word += size
        if flag[j] != 0:
            for image in range(images):
                release[image] = drain[image] + rest if flag[j] != 1 else _NEVER
            for lane in range(lanes):
                f = free[lane]
                for image in range(images):
                    release[image] = max(release[image], f[image])
            for lane in range(lanes):
                f = free[lane]
                for image in range(images):
                    f[image] = release[image]
            kept = barriers[min(boundary, len(barriers) - 1)]
            for image in range(images):
                kept[image] = release[image]
                drain[image] = release[image] if flag[j] != 1 else drain[image]
            boundary += 1
