"""Trace: every clock of a run, as the core's probe shows it.

Expands the cycle model's times and the golden model's values into one packed row a clock:
``[clocks, words]`` of uint32, the fields of :func:`refmodel.layout.probe_fields` from the
least significant bit of word 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .cycles import OpTiming, RunTiming
from .engines import first_write
from .golden import GoldenResult
from .layout import (
    BARRIER_TO_BUNDLE,
    LOAD_OVERHEAD,
    SLOT_TO_STREAM,
    ArrayOp,
    Field,
    Flag,
    LoadKind,
    barrier_to_slot,
    descriptor_words,
    engine_start,
    probe_bits,
    probe_fields,
    probe_prefix,
    slot_to_spike,
    slot_to_state,
    slot_to_writeback,
)
from .membranes import integer_leak
from .occupancy import time_masks
from .program import Op, Program, Slab
from .slab_values import SlabValues, idle_inputs, slab_values


class _Rows:
    """The packed rows of a window of clocks."""

    def __init__(self, config: CoreConfig, start: int, stop: int):
        self.start, self.stop = start, stop
        self.words = np.zeros((stop - start, trace_words(config)), np.uint32)
        self.fields = {f.name: f for f in probe_fields(config)}

    def put(self, name: str, clocks: NDArray[np.int64], values: NDArray[np.integer]) -> None:
        """Set a field of at most 64 bits in the given clocks (those outside the window are left out)."""
        self._put_bits(self.fields[name].offset, self.fields[name].width, clocks, values)

    def put_wide(self, name: str, clocks: NDArray[np.int64], bits: NDArray[np.uint8]) -> None:
        """Set a field from its bits ``[clocks, width]``, least significant first."""
        field = self.fields[name]
        for low in range(0, field.width, 32):
            part = bits[:, low : low + 32].astype(np.int64)
            value = (part << np.arange(part.shape[1])).sum(axis=1)
            self._put_bits(field.offset + low, part.shape[1], clocks, value)

    def _put_bits(self, offset: int, width: int, clocks: NDArray[np.int64], values: NDArray[np.integer]) -> None:
        inside = (clocks >= self.start) & (clocks < self.stop)
        rows = clocks[inside] - self.start
        value = np.broadcast_to(values, clocks.shape)[inside].astype(np.int64)
        while width > 0:  # as much as fits into the word, then the next one
            word, shift = divmod(offset, 32)
            size = min(width, 32 - shift)
            self.words[rows, word] |= ((value & ((1 << size) - 1)) << shift).astype(np.uint32)
            value, offset, width = value >> size, offset + size, width - size


def trace_words(config: CoreConfig) -> int:
    """32-bit words of a trace row."""
    return -(-probe_bits(config) // 32)


def describe(config: CoreConfig, row: NDArray[np.uint32]) -> dict[str, int]:
    """The non-zero fields of one trace row, by name."""
    value = int.from_bytes(row.astype("<u4").tobytes(), "little")
    fields = {f.name: (value >> f.offset) & ((1 << f.width) - 1) for f in probe_fields(config)}
    return {name: number for name, number in fields.items() if number}


def differing_fields(config: CoreConfig, a: NDArray[np.uint32], b: NDArray[np.uint32]) -> list[Field]:
    """Fields in which two rows differ."""
    x = int.from_bytes((a ^ b).astype("<u4").tobytes(), "little")
    return [f for f in probe_fields(config) if (x >> f.offset) & ((1 << f.width) - 1)]


def run_trace(
    timing: RunTiming, golden: GoldenResult, image: int, start: int = 1, stop: int | None = None
) -> NDArray[np.uint32]:
    """Rows of clocks ``start`` to ``stop`` (default: every clock in which the core is busy) of one image's run.

    ``timing`` must have been made with ``keep=True`` and ``golden`` with tensors and
    membranes kept; clock 0 is the clock of the start pulse, clock ``clocks`` that of ``done``.
    """
    program = timing.program
    config = program.config
    total = int(timing.clocks[image]) + 1
    rows = _Rows(config, start, total if stop is None else min(stop, total))
    loaded_from = 0
    masks_of: dict[str, NDArray[np.uint16]] = {}
    values_op: Op | None = None
    values: list[SlabValues] = []
    idle_of = idle_inputs(program.network)
    values_plane = 0
    for number, slab in enumerate(program.slabs):
        begin, end = int(timing.start[number][image]), int(timing.end[number][image])
        if timing.pulls is None:
            _put_loads(rows, program.config, slab, loaded_from, begin)
        else:
            _put_pulled(rows, program, slab, timing.pulls[:, image], begin)
        loaded_from = begin
        if end < rows.start or begin + engine_start(config, 0) >= rows.stop:
            continue
        op = slab.op
        name = op.layer.source
        if op.scans and name not in masks_of:
            assert golden.tensors is not None
            source = golden.tensors[name][image : image + 1]
            found = time_masks(source, config, program.chunks, op.source.planes)[0]
            lanes = (config.event_lanes, config.channels_per_word)
            masks_of = {name: found.reshape(program.chunks * op.source.planes, -1, *lanes)}
        masks = masks_of[name] if op.scans else None
        if op is not values_op or slab.plane != values_plane:
            values = slab_values(config, golden, op, program, image, idle_of[op.layer.name], slab.plane)
            values_op, values_plane = op, slab.plane
        for engine, found in enumerate(timing.slabs[number].engines):
            started = begin + engine_start(config, engine)
            _put_events(rows, config, probe_prefix(engine), found, masks, started, image)
            run = _SlabRun(program, slab, engine, found, values[slab.group], started, image)
            if op.layer.keeps_stream:
                _put_stream(rows, run)
            if op.layer.name in program.state:
                assert golden.state is not None, "a program that keeps its state needs golden results that have it"
                _put_state(rows, run, golden.state.membranes[op.layer.name][image])
            _put_neurons(rows, run)
    rows.put("done", np.array([total - 1]), np.array([1]))
    return rows.words


def _put_loads(rows: _Rows, config: CoreConfig, slab: Slab, previous_start: int, start: int) -> None:
    weights = config.event_lanes * slab.op.weights
    first = previous_start + LOAD_OVERHEAD
    before, extra = weights + config.output_lanes, len(slab.attention_words)
    plan = (
        (LoadKind.WEIGHT, first, slab.address + 1, weights),
        (LoadKind.PARAM, first + weights, slab.address + 1 + weights, config.output_lanes),
        (LoadKind.ATTENTION, first + before, slab.address + 1 + before, extra),
        (
            LoadKind.DESCRIPTOR,
            start - descriptor_words(config),
            slab.address + 1 + before + extra,
            descriptor_words(config),
        ),
    )
    for kind, clock, address, count in plan:
        span = np.arange(count)
        rows.put("load_kind", clock + span, np.full(count, int(kind)))
        rows.put("load_addr", clock + span, address + span)


def _put_pulled(rows: _Rows, program: Program, slab: Slab, pulls: NDArray[np.int64], start: int) -> None:
    """Loads of a program that lies outside: a word is dealt with when the next one is pulled, a slab's last one when
    the slab is about to start."""
    first, count = slab.address + 1, program.slab_words(slab) - 1  # without the header
    clocks = np.append(pulls[first + 1 : first + count], start - 1)
    weights, descriptor = program.config.event_lanes * slab.op.weights, descriptor_words(program.config)
    kinds = np.full(count, int(LoadKind.ATTENTION))
    kinds[:weights] = int(LoadKind.WEIGHT)
    kinds[weights : weights + program.config.output_lanes] = int(LoadKind.PARAM)
    kinds[count - descriptor :] = int(LoadKind.DESCRIPTOR)
    rows.put("load_kind", clocks, kinds)
    rows.put("load_addr", clocks, first + np.arange(count))


def _put_events(
    rows: _Rows,
    config: CoreConfig,
    prefix: str,
    timing: OpTiming,
    masks: NDArray[np.uint16] | None,
    begin: int,
    image: int,
) -> None:
    """Events in the first stage's bundle, and array ops.

    ``masks``: ``[chunks * planes, words, K, W]``, of the source's words.
    """
    items = timing.items
    assert timing.barriers is not None and timing.leaves is not None
    flags = items.flag[items.flag != Flag.NONE]
    ops = np.where(flags == Flag.SHIFT, int(ArrayOp.SHIFT), int(ArrayOp.DRAIN))
    rows.put(f"{prefix}array_op", begin + timing.barriers[:, image] + BARRIER_TO_BUNDLE, ops)
    if masks is None:
        return
    before = np.arange(items.count.sum()) - np.repeat(np.cumsum(items.count) - items.count, items.count)
    row, tag = np.repeat(items.row, items.count), np.repeat(items.tag, items.count) + before
    word_masks = masks[row, np.repeat(items.first, items.count) + before]  # [words, K, W]
    busy = word_masks != 0
    rank = np.cumsum(busy, axis=2)
    for k in range(config.event_lanes):
        word, channel = np.nonzero(busy[:, k])
        clock = begin + timing.leaves[word, k, image] + rank[word, k, channel] + BARRIER_TO_BUNDLE
        rows.put(f"{prefix}event{k}_valid", clock, np.ones(len(clock), np.int64))
        rows.put(f"{prefix}event{k}_weight", clock, tag[word] * config.channels_per_word + channel)
        rows.put(f"{prefix}event{k}_mask", clock, word_masks[word, k, channel])


@dataclass(frozen=True)
class _SlabRun:
    """One engine in one slab of one image's run: what it computes and when.

    values: the slab's, of all engines; ``begin``: the engine's start.
    """

    program: Program
    slab: Slab
    engine: int
    timing: OpTiming
    values: SlabValues
    begin: int
    image: int

    @property
    def first_slots(self) -> NDArray[np.int64]:
        """Clock of the first neuron slot of each tile's chunk, ``[tiles * chunks]``."""
        flags = self.timing.items.flag[self.timing.items.flag != Flag.NONE]
        assert self.timing.barriers is not None
        drains = self.timing.barriers[flags != Flag.SHIFT][:, self.image]
        return self.begin + drains + barrier_to_slot(self.program.config)

    @property
    def tiles(self) -> slice:
        """Output pixels of the engine."""
        (first, count), width = self.slab.op.share(self.engine), self.slab.op.out.shape[2]
        return slice(first * width, (first + count) * width)


def _put_neurons(rows: _Rows, run: _SlabRun) -> None:
    """Neuron slots, and the write-back of their spikes."""
    program, slab, values, prefix = run.program, run.slab, run.values, probe_prefix(run.engine)
    config, op, first = program.config, slab.op, run.first_slots
    units, slots, steps = config.neuron_units, config.slots_per_step, config.time_lanes
    shape = (len(first), steps, slots, units)  # slot order: step, then index
    clock = (first[:, None] + np.arange(steps * slots) + slot_to_spike(config)).reshape(-1)
    rows.put(f"{prefix}neuron_valid", clock, np.ones(len(clock), np.int64))
    spike = values.spike[run.tiles].reshape(shape).reshape(-1, units).astype(np.int64)
    membrane = values.membrane[run.tiles].reshape(shape).reshape(-1, units)
    for u in range(units):
        rows.put(f"{prefix}neuron{u}_spike", clock, spike[:, u])
        rows.put(f"{prefix}neuron{u}_membrane", clock, membrane[:, u])
    if values.written is None:
        return
    buffer, planes = program.buffers[op.layer.name], op.writes
    taken = first + steps * slots - 1 + slot_to_writeback(config) - run.begin
    write = run.begin + first_write(config, op.engines, run.engine, taken)
    clock = (write[:, None] + np.arange(planes) * op.engines).reshape(-1)
    tile, chunk = np.divmod(np.arange(len(first)), program.chunks)
    base = buffer.base + slab.group + (run.tiles.start + tile) * buffer.groups + chunk * buffer.chunk_step
    address = (base[:, None] + (slab.plane + np.arange(planes)) * buffer.plane_step).reshape(-1)
    rows.put("write_valid", clock, np.ones(len(clock), np.int64))
    rows.put("write_addr", clock, address)
    rows.put_wide("write_data", clock, values.written[run.tiles].reshape(len(clock), config.spike_width))


def _put_stream(rows: _Rows, run: _SlabRun) -> None:
    """The kept membrane stream, written slot by slot."""
    assert run.values.stream is not None
    program, config, prefix = run.program, run.program.config, probe_prefix(run.engine)
    buffer, first = program.streams[run.slab.op.layer.name], run.first_slots
    slots = config.slots_per_chunk
    clock = first[:, None] + np.arange(slots) + SLOT_TO_STREAM
    tile, chunk = np.divmod(np.arange(len(first)), program.chunks)
    base = buffer.base + (tile * buffer.groups + run.slab.group) * buffer.group_words + chunk * slots
    address = base[:, None] + np.arange(slots)
    rows.put(f"{prefix}stream_valid", clock.reshape(-1), np.ones(clock.size, np.int64))
    rows.put(f"{prefix}stream_addr", clock.reshape(-1), address.reshape(-1))
    value = run.values.stream[run.tiles].reshape(-1, config.neuron_units)
    for u in range(config.neuron_units):
        rows.put(f"{prefix}stream{u}_value", clock.reshape(-1), value[:, u])


def _put_state(rows: _Rows, run: _SlabRun, after: NDArray[np.int64]) -> None:
    """The membranes ``after`` ``[C, H, W]`` the run, leak included, written in the slots of its last step."""
    program, config, op = run.program, run.program.config, run.slab.op
    place, slots = program.state[op.layer.name], config.slots_per_step
    first = run.first_slots[program.chunks - 1 :: program.chunks]  # of each tile's last chunk
    channels, height, width = after.shape
    lanes = np.zeros((place.groups * config.output_lanes, height * width), np.int64)
    lanes[:channels] = integer_leak(op.layer, after.astype(np.int64)).reshape(channels, -1)
    mine = lanes.reshape(place.groups, config.output_lanes, -1)[run.slab.group].T  # [tiles, P]
    step = (program.network.steps - 1) % config.time_lanes
    clock = (first[:, None] + step * slots + np.arange(slots) + slot_to_state(config)).reshape(-1)
    rows.put("state_valid", clock, np.ones(len(clock), np.int64))
    base = place.base + run.slab.group * place.group_words
    rows.put("state_addr", clock, base + np.arange(len(clock)))
    value = mine.reshape(-1, config.neuron_units)
    for u in range(config.neuron_units):
        rows.put(f"state{u}_value", clock, value[:, u])
