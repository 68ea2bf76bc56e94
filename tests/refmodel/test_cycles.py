"""The cycle model against a loop over clocks, and its parts against nested loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import op_timing, run_timing
from refmodel.errors import CompileError
from refmodel.layout import Flag, descriptor_words
from refmodel.occupancy import event_counts, time_masks
from refmodel.program import Op, Program
from refmodel.scan_items import scan_items
from tests.random_networks import random_input, random_quantized_network
from tests.rtl_gen.test_scan_front import Front, Item
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


def random_counts(rng: np.random.Generator, program: Program, op: Op) -> NDArray[np.int64]:
    """Events ``[N, chunks, planes, H, W, G, K]``, from silent to full."""
    config, (channels, height, width) = program.config, op.source.shape
    groups = -(-channels // config.output_lanes)
    shape = (program.chunks, op.source.planes, height, width, groups, config.event_lanes)
    return np.stack([rng.binomial(config.channels_per_word, p, shape) for p in (0.0, 0.1, 0.5, 1.0)])


def loop_items(program: Program, op: Op, counts: NDArray[np.int64], group: int) -> list[Item]:
    """The walk as nested loops; ``counts`` of one image."""
    layer, config = op.layer, program.config
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    _, in_h, in_w = op.source.shape
    _, out_h, out_w = op.out.shape
    items: list[Item] = []
    for oy in range(out_h):
        for ox in range(out_w):
            for chunk in range(program.chunks):
                for plane in reversed(range(op.source.planes)):
                    for ky in range(kh):
                        for kx in range(kw):
                            y, x = oy * sh - ph + ky, ox * sw - pw + kx
                            if not (0 <= y < in_h and 0 <= x < in_w):
                                items.append(Item([[] for _ in range(config.event_lanes)]))
                                continue
                            here = counts[chunk, plane, y, x]
                            for word in [group] if op.pool else range(op.words):
                                items.append(Item([[(0, 1)] * int(n) for n in here[word]]))
                    items[-1].flag = Flag.SHIFT if plane else Flag.DRAIN
                items.extend(Item([], shortcut=True) for _ in range(op.sc_planes))
    last = max(i for i, item in enumerate(items) if item.flag)
    items[last].flag = Flag.DRAIN_LAST
    return items


def loop_barriers(config: CoreConfig, items: list[Item]) -> list[int]:
    """Clocks of the barriers after the slab's start, one clock at a time."""
    front, clock, waiting, barriers = Front(config), 0, list(items), []
    while True:
        shown = front.show()
        if shown.release:
            barriers.append(clock)
        if shown.drained_last:
            return barriers
        item = waiting[0] if clock and waiting else None  # the first is offered in the clock after the start
        if shown.advance and item is not None:
            waiting.pop(0)
        front.clock(item)
        clock += 1


@pytest.mark.parametrize("shape", SHAPES)
def test_barriers_clock_by_clock(shape: str) -> None:
    rng, compared = np.random.default_rng(len(shape)), 0
    while compared < 1500:
        program = random_program(rng, SHAPES[shape])
        config = program.config
        read = {name for layer in program.network.layers for name in (layer.source, layer.shortcut)}
        for op in program.ops:
            counts, group = random_counts(rng, program, op), int(rng.integers(op.groups))
            timing = op_timing(program, op, counts, group)
            for image in range(len(counts)):
                items = loop_items(program, op, counts[image], group)
                barriers = loop_barriers(config, items)
                assert timing.barriers[:, image].tolist() == barriers
                assert timing.events[image] == sum(len(lane) for item in items for lane in item.events)
                # Bundle, array, R neuron slots, and the last one's way to the memory.
                end = barriers[-1] + 2 + (2 + config.tree_levels) + config.slots_per_chunk - 1
                end += 5 if config.attention is None else 6
                assert timing.end[image] == end + (op.out_planes if op.layer.name in read else 0)
                compared += len(barriers)


def test_items_are_the_nested_loops() -> None:
    """The words that the model thinks are fetched, in order, with their places."""
    rng = np.random.default_rng(4)
    for _ in range(10):
        program = random_program(rng, SHAPES["k2p8"])
        for op in program.ops:
            silent = random_counts(rng, program, op)[0]
            items, loop = scan_items(op, program.chunks), loop_items(program, op, silent, op.groups - 1)
            assert len(items) == len(loop)
            assert items.flag.tolist() == [item.flag for item in loop]
            assert items.shortcut.tolist() == [item.shortcut for item in loop]
            # A word's tag is its place in the window: the same in every plane, chunk and tile.
            kh, kw = op.layer.kernel
            _, out_w = op.out.shape[1:]
            (sh, sw), (ph, pw) = op.layer.stride, op.layer.padding
            for j in np.flatnonzero(items.inside & ~items.shortcut):
                ky = items.y[j] + ph - items.tile[j] // out_w * sh
                kx = items.x[j] + pw - items.tile[j] % out_w * sw
                assert 0 <= ky < kh and 0 <= kx < kw
                assert items.tag[j] == (0 if op.shared_taps else (ky * kw + kx) * op.words) + items.word[j]


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
    assert np.array_equal(event_counts(masks), np.count_nonzero(masks, axis=-1))


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
                loaded = started + 2 + config.event_lanes * slab.op.weights + config.output_lanes + 1
                assert start[image] == max(loaded, ended + 1) + descriptor_words(config) + 1
                started, ended = int(start[image]), int(start[image] + slab_timing.end[image])
                assert end[image] == ended
            assert timing.clocks[image] == max(started + 3, ended + 1) + program.classes + 2
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


def test_both_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few images are evaluated one by one, many together."""
    rng = np.random.default_rng(8)
    for shape in ("k2p8", "k4p16", "k1p4t2"):
        program = random_program(rng, SHAPES[shape])
        for op in program.ops:
            counts = random_counts(rng, program, op)
            monkeypatch.setattr("refmodel.cycles._FEW", len(counts))
            one = op_timing(program, op, counts, 0, keep=True)
            monkeypatch.setattr("refmodel.cycles._FEW", 0)
            together = op_timing(program, op, counts, 0, keep=True)
            assert np.array_equal(one.barriers, together.barriers) and np.array_equal(one.end, together.end)
            assert one.pushed is not None and np.array_equal(one.pushed, together.pushed)
            assert one.pop is not None and together.pop is not None
            assert np.array_equal(one.pop * one.pushed, together.pop * one.pushed)
