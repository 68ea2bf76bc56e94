"""Cycle model: the clock of everything a core does, from a program and its spikes.

Nothing is simulated clock by clock.  The fetch pipeline, the lanes' queues and the barriers
obey max-plus recurrences over the fetched words, evaluated for all images at once; slabs of
one op differ only in their weights, so an op is evaluated once.

Times of a slab are relative to its start clock s (the sequencer's START state):
- the first word stands before the lanes at s + 1 + FETCH_LATENCY, then one a clock, unless a
  lane that wants the word has a full queue;
- a word pushed at q leaves the queue at pop = max(q + 1, the clock its lane gets free), and
  lets its n events go in clocks pop + 1 .. pop + n;
- a boundary releases when the slowest lane's last event goes, and a drain not before R clocks
  after the drain before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .attention_layout import gate_clocks
from .config import CoreConfig
from .layout import (
    FETCH_LATENCY,
    Flag,
    barrier_to_slot,
    descriptor_words,
    slot_to_writeback,
)
from .occupancy import event_counts, time_masks
from .program import Op, Program
from .scan_items import ScanItems, scan_items

Times = NDArray[np.int64]
_NEVER = -(1 << 40)
#: So many images are evaluated one after the other.
_FEW = 4


@dataclass(frozen=True)
class OpTiming:
    """Timing of one slab of an op, clocks relative to the slab's start.

    barriers: ``[boundary, N]`` release clocks of the flagged items, in order.
    end: ``[N]`` clock in which the slab's last result is written.
    events: ``[N]`` events of all lanes.
    push, pop: ``[item, N, K]`` where kept for a trace: the word's entry in its lane (False /
    undefined where the lane does not take it).
    """

    items: ScanItems
    barriers: Times
    end: Times
    events: Times
    pushed: NDArray[np.bool_] | None = None
    pop: Times | None = None


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


def run_timing(program: Program, tensors: dict[str, NDArray[np.integer]], *, keep: bool = False) -> RunTiming:
    """Clocks of a run on the given spikes.

    ``tensors``: every tensor's integers ``[N, T, C, H, W]``, as the golden model keeps them.
    ``keep``: keep what a trace needs (memory grows with the number of words).
    """
    config = program.config
    counts_of: dict[str, NDArray[np.int64]] = {}
    result = RunTiming(program)
    timing: OpTiming | None = None
    last_op: Op | None = None
    n = next(iter(tensors.values())).shape[0]
    start = np.zeros(n, np.int64)  # START of the slab before; the run's start pulse plays that part first
    idle = np.zeros(n, np.int64)
    overhead = 3 + config.output_lanes  # header address, header, ..., parameters
    for slab in program.slabs:
        op = slab.op
        name = op.layer.source
        if op is not last_op or op.pool:
            if op.scans and name not in counts_of:
                counts_of = {key: value for key, value in counts_of.items() if _used_later(program, key, op.index)}
                masks = time_masks(tensors[name], config, program.chunks, op.source.planes)
                counts_of[name] = event_counts(masks)
            _, height, width = op.source.shape
            nothing = np.zeros((n, program.chunks, 1, height, width, 1, config.event_lanes), np.int64)
            counts = counts_of[name] if op.scans else nothing
            timing = op_timing(program, op, counts, slab.group, keep=keep)
            last_op = op
        assert timing is not None
        loaded = start + overhead + config.event_lanes * op.weights + len(slab.attention_words)
        start = np.maximum(loaded, idle) + descriptor_words(config) + 1
        end = start + timing.end
        idle = end + 1
        if slab.computes and op.layer.attention is not None:
            idle = idle + 1 + gate_clocks(op.layer.attention, config)
        result.slabs.append(timing)
        result.start.append(start)
        result.end.append(end)
    result.clocks = np.maximum(start + 3, idle) + program.classes + 2
    return result


def _used_later(program: Program, name: str, index: int) -> bool:
    return any(op.layer.source == name and op.scans for op in program.ops[index:])


def op_timing(program: Program, op: Op, counts: NDArray[np.int64], group: int, *, keep: bool = False) -> OpTiming:
    """Timing of one slab; ``counts`` are its source's events ``[N, chunks, planes, H, W, G, K]``."""
    config = program.config
    items = scan_items(op, program.chunks)
    n_images = counts.shape[0]
    gather = counts[
        :,
        items.chunk,
        np.where(items.shortcut, 0, items.plane),
        items.y,
        items.x,
        items.word + (group if op.pool else 0),
    ]  # [N, items, K]
    events = np.where((items.inside & ~items.shortcut)[None, :, None], gather, 0).transpose(1, 0, 2)
    loop = _loop_one_by_one if n_images <= _FEW else _loop_together
    pushed, barriers, kept_pop = loop(items.flag, events, config, keep)
    last_drain = barriers[-1]
    last_slot = last_drain + barrier_to_slot(config) + config.slots_per_chunk - 1
    end = last_slot + slot_to_writeback(config) + op.writes
    return OpTiming(
        items=items,
        barriers=barriers,
        end=end,
        events=events.sum(axis=(0, 2)),
        pushed=pushed if keep else None,
        pop=kept_pop,
    )


def _loop_together(
    flags: Times, events: Times, config: CoreConfig, keep: bool
) -> tuple[NDArray[np.bool_], Times, Times | None]:
    """The recurrences for many images at once: pushed ``[items, N, K]``, barriers ``[boundary, N]``, pops."""
    count, n_images, lanes = events.shape
    pushed = (events > 0) | (flags != Flag.NONE)[:, None, None]
    busy = np.maximum(events, 1)
    any_push = pushed.any(axis=(1, 2)).tolist()
    q = np.full(n_images, FETCH_LATENCY, np.int64)
    free = np.full((n_images, lanes), _NEVER, np.int64)
    pops = [np.full((n_images, lanes), _NEVER, np.int64) for _ in range(config.fifo_depth)]
    last_drain = np.full(n_images, _NEVER, np.int64)
    barriers = []
    kept_pop = np.zeros((count, n_images, lanes), np.int64) if keep else None
    for j, flag in enumerate(flags.tolist()):
        q += 1
        if not any_push[j]:
            continue
        takes = pushed[j]
        np.maximum(q, (np.where(takes, pops[0], _NEVER) + 1).max(axis=1), out=q)
        pop = np.maximum(free, q[:, None] + 1)
        finish = pop + busy[j]
        if kept_pop is not None:
            kept_pop[j] = pop
        if flag:
            release = finish.max(axis=1)
            if flag != Flag.SHIFT:
                np.maximum(release, last_drain + config.slots_per_chunk, out=release)
                last_drain = release
            barriers.append(release)
            free = np.broadcast_to(release[:, None], free.shape)
            pops = [*pops[1:], pop]
        else:
            free = np.where(takes, finish, free)
            pops = [np.where(takes, later, now) for now, later in zip(pops, [*pops[1:], pop], strict=True)]
    return pushed, np.array(barriers), kept_pop


def _loop_one_by_one(
    flags: Times, events: Times, config: CoreConfig, keep: bool
) -> tuple[NDArray[np.bool_], Times, Times | None]:
    """The same for a few images: plain integers are faster than arrays of that size."""
    count, n_images, lanes = events.shape
    pushed = (events > 0) | (flags != Flag.NONE)[:, None, None]
    barriers = np.zeros((np.count_nonzero(flags), n_images), np.int64)
    kept_pop = np.zeros((count, n_images, lanes), np.int64) if keep else None
    for image in range(n_images):
        wanted = np.flatnonzero(pushed[:, image].any(axis=1))
        pops, releases = _one_image(
            np.diff(wanted, prepend=-1).tolist(), flags[wanted].tolist(), events[wanted, image].tolist(), config
        )
        barriers[:, image] = releases
        if kept_pop is not None:
            kept_pop[wanted, image] = pops
    return pushed, barriers, kept_pop


def _one_image(
    gaps: list[int], flags: list[int], events: list[list[int]], config: CoreConfig
) -> tuple[list[list[int]], list[int]]:
    """Pops of the words that some lane takes, ``gaps`` fetches apart, and releases of the flagged ones."""
    lanes, rest, shift = range(config.event_lanes), config.slots_per_chunk, int(Flag.SHIFT)
    q, last_drain = FETCH_LATENCY, _NEVER
    free = [_NEVER] * config.event_lanes
    queues = [deque([_NEVER] * config.fifo_depth, maxlen=config.fifo_depth) for _ in lanes]
    pops: list[list[int]] = []
    releases: list[int] = []
    for gap, flag, counts in zip(gaps, flags, events, strict=True):
        q += gap
        for k in lanes:
            if (flag or counts[k]) and queues[k][0] >= q:
                q = queues[k][0] + 1
        here = [0] * config.event_lanes
        release = 0
        for k in lanes:
            if flag or counts[k]:
                pop = here[k] = free[k] if free[k] > q else q + 1
                queues[k].append(pop)
                free[k] = finish = pop + (counts[k] or 1)
                if finish > release:
                    release = finish
        if flag:
            if flag != shift:
                release = last_drain = max(release, last_drain + rest)
            free = [release] * config.event_lanes
            releases.append(release)
        pops.append(here)
    return pops, releases
