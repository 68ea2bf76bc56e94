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
from .golden import usable_processors
from .jit import compiled
from .layout import (
    FETCH_LATENCY,
    LOAD_OVERHEAD,
    barrier_to_slot,
    descriptor_words,
    slot_to_writeback,
)
from .occupancy import word_events
from .program import Op, Program
from .scan_items import ScanItems, scan_items

Times = NDArray[np.int64]
Events = NDArray[np.integer[Any]]
_NEVER = -(1 << 40)
#: So many images are evaluated together: what fills vector registers and still fits a processor's own cache.
_TOGETHER = 32


@dataclass(frozen=True)
class OpTiming:
    """Timing of one slab of an op, clocks relative to the slab's start.

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


@dataclass
class RunTiming:
    """Timing of whole runs, for N inputs.

    start, end: ``[slab, N]`` clocks of each slab's start and last write, relative to the
    run's start pulse.  clocks: ``[N]``, from the start pulse to ``done``.
    """

    program: Program
    slabs: list[OpTiming] = field(default_factory=list)
    start: list[Times] = field(default_factory=list)
    end: list[Times] = field(default_factory=list)
    clocks: Times = field(default_factory=lambda: np.zeros(0, np.int64))

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
    result.clocks = np.maximum(start + LOAD_OVERHEAD, idle) + program.classes + 2
    return result


def op_items(program: Program, op: Op, group: int = 0) -> ScanItems:
    """Items of a slab of the program."""
    source = program.buffers[op.layer.source] if op.scans else None
    return scan_items(op, source, program.chunks, program.config.scan_words, group)


def _op_timings(
    program: Program, tensors: dict[str, NDArray[np.integer]], keep: bool, threads: int
) -> dict[tuple[int, int], OpTiming]:
    """Timings by op and group (0 where groups do not differ)."""
    config = program.config
    keys = [(op, group) for op in program.ops for group in (range(op.groups) if op.pool else (0,))]
    items = [op_items(program, op, group) for op, group in keys]
    last_use = {op.layer.source: number for number, (op, _) in enumerate(keys) if op.scans}
    n = next(iter(tensors.values())).shape[0]
    size = max(1, min(_TOGETHER, -(-n // max(1, threads))))

    def work(first: int) -> list[OpTiming]:
        events: dict[str, Events] = {}
        nothing = np.zeros((1, 1, config.event_lanes, min(size, n - first)), np.uint8)
        part = []
        for number, (op, _) in enumerate(keys):
            name = op.layer.source
            if op.scans and name not in events:
                values = tensors[name][first : first + size]
                events[name] = word_events(values, config, program.chunks, op.source.planes)
            part.append(op_timing(config, op, items[number], events[name] if op.scans else nothing, keep=keep))
            if last_use.get(name) == number:
                del events[name]
        return part

    firsts = range(0, n, size)
    if threads <= 1 or len(firsts) == 1:
        parts = [work(first) for first in firsts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(work, firsts))
    return {(op.index, group): _joined([part[i] for part in parts]) for i, (op, group) in enumerate(keys)}


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


def op_timing(config: CoreConfig, op: Op, items: ScanItems, events: Events, *, keep: bool = False) -> OpTiming:
    """Timing of one slab; ``events``: of its source's words, ``[chunks * planes, words, K, N]``."""
    lanes, n = events.shape[2:]
    boundaries, words = int(np.count_nonzero(items.flag)), int(items.count.sum())
    barriers = np.zeros((boundaries if keep else 1, n), np.int64)
    leaves = np.zeros((words if keep else 0, lanes, n), np.int64)
    total = np.zeros(n, np.int64)
    _fetch(
        FETCH_LATENCY, config.fifo_depth, config.slots_per_chunk,
        items.row, items.first, items.count, items.flag, items.shortcut, events, total, barriers, leaves,
    )  # fmt: skip
    last_slot = barriers[-1] + barrier_to_slot(config) + config.slots_per_chunk - 1
    return OpTiming(
        items=items,
        end=last_slot + slot_to_writeback(config) + op.writes,
        events=total,
        barriers=barriers if keep else None,
        leaves=leaves if keep else None,
    )


@compiled
def _fetch(
    latency: int,
    depth: int,
    rest: int,
    row: NDArray[np.int32],
    first: NDArray[np.int32],
    count: NDArray[np.int32],
    flag: NDArray[np.int32],
    shortcut: NDArray[np.bool_],
    events: Events,
    total: Times,
    barriers: Times,
    leaves: Times,
) -> None:
    """The recurrences of docs/cycle-model.md for every image of ``events``; images are the innermost loops, without
    branches, which the processor's vector instructions run.

    Fills ``total`` ``[N]``, ``barriers`` ``[boundaries, N]`` (or ``[1, N]``: the last one) and, unless it has no
    words, ``leaves`` ``[words, K, N]``.
    """
    lanes, images = events.shape[2:]
    # Of a lane's last content: the clock in which it was issued, in which it left for the emitter, and from which
    # the emitter takes the next one; of its last entries, oldest first: the clocks in which they left the queue.
    issued, left = np.full((lanes, images), _NEVER), np.full((lanes, images), _NEVER)
    free, takes = np.full((lanes, images), _NEVER), np.full((depth, lanes, images), _NEVER)
    pushed = np.full(images, latency)
    take, release, drain = np.zeros_like(pushed), np.zeros_like(pushed), np.full(images, _NEVER)
    wanted = np.zeros((lanes, images), events.dtype)
    reads = np.zeros(events.shape[:2], np.int64)
    boundary = word = 0
    for j in range(len(row)):
        begin, size, everyone = first[j], count[j], flag[j] != 0 or shortcut[j]
        wanted[:] = 1 if everyone else 0
        for at in range(begin, begin + size):
            reads[row[j], at] += 1
            for lane in range(lanes):
                n, w = events[row[j], at, lane], wanted[lane]
                for image in range(images):
                    w[image] |= n[image]
        for image in range(images):
            pushed[image] += 1
        for lane in range(lanes):
            w, t = wanted[lane], takes[0, lane]
            for image in range(images):
                pushed[image] = max(pushed[image], t[image] + 1 if w[image] > 0 else _NEVER)
        for lane in range(lanes):
            w, i, m, f = wanted[lane], issued[lane], left[lane], free[lane]
            for image in range(images):
                take[image] = max(pushed[image] + 1, i[image])
            for at in range(size):
                n = events[row[j], begin + at, lane]
                for image in range(images):
                    now = max(take[image] + 1, m[image])
                    then = max(now + 1, f[image])
                    i[image] = now if n[image] > 0 else i[image]
                    m[image] = then if n[image] > 0 else m[image]
                    f[image] = then + n[image] if n[image] > 0 else f[image]
                if len(leaves) > 0:
                    leaves[word + at, lane] = m
            if everyone:  # a lane without a word gets a null or a shortcut content
                for image in range(images):
                    none, now = i[image] <= take[image], max(take[image] + 1, m[image])
                    then = now + 1 if shortcut[j] else max(now + 1, f[image])
                    i[image] = now if none else i[image]
                    m[image] = then if none else m[image]
                    f[image] = then + 1 if none and not shortcut[j] else f[image]
            for place in range(depth - 1):
                t, later = takes[place, lane], takes[place + 1, lane]
                for image in range(images):
                    t[image] = later[image] if w[image] > 0 else t[image]
            t = takes[depth - 1, lane]
            for image in range(images):
                t[image] = take[image] if w[image] > 0 else t[image]
        word += size
        if flag[j] != 0:
            release[:] = free[0]
            for lane in range(lanes):
                release[:] = np.maximum(release, free[lane])
            if flag[j] != 1:
                release[:] = np.maximum(release, drain + rest)
                drain[:] = release
            for lane in range(lanes):
                free[lane] = release
            barriers[min(boundary, len(barriers) - 1)] = release
            boundary += 1
    for source in range(reads.shape[0]):
        for at in range(reads.shape[1]):
            for lane in range(lanes):
                n = events[source, at, lane]
                for image in range(images):
                    total[image] += reads[source, at] * n[image]
