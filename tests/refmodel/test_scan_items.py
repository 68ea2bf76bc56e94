"""Items of the walk against nested loops over taps, and against what the descriptors of real programs say."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from refmodel.buffers import Buffer
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError
from refmodel.jit import Compiled
from refmodel.layout import Field, Flag, descriptor_fields, descriptor_words, start_words
from refmodel.program import Op, Program, Slab
from refmodel.scan_items import _walk, scan_items
from tests.random_networks import EXTRAS, random_quantized_network
from tests.sim.jobs import extras_for
from tests.sim.shapes import SHAPES

#: Address (None: no word of the source), words, tag, flag, shortcut.
Item = tuple[int | None, int, int, int, bool]


def random_programs(seed: int, count: int) -> Iterator[Program]:
    rng = np.random.default_rng(seed)
    while count:
        shape = SHAPES["k2p8all" if count % 2 else str(rng.choice(list(SHAPES)))]
        config = dataclasses.replace(
            shape,
            spike_depth=1 << 15,
            store_depth=1 << 15,
            stream_depth=1 << 15,
            bank_depth=1 << 11,
            scan_words=int(2 ** rng.integers(5)),
        )
        net = random_quantized_network(
            rng, steps=int(rng.integers(1, 2 * config.time_lanes + 2)), sizes=(3, 9), min_layers=2, max_layers=5,
            max_fan_in=200, input_bits=(1, 2, 3), extras=EXTRAS if config.attention is not None else extras_for(config),
        )  # fmt: skip
        try:
            yield compile_network(net, config)
        except CompileError:
            continue
        count -= 1


def source_of(program: Program, op: Op) -> Buffer | None:
    return program.buffers[op.layer.source] if op.scans else None


def nested_loops(program: Program, slab: Slab, engine: int) -> list[Item]:
    """Every tap and channel word of an engine's rows, one by one, packed into segments."""
    op, config = slab.op, program.config
    (kh, kw), (sh, sw), (ph, pw) = op.layer.kernel, op.layer.stride, op.layer.padding
    _, in_h, in_w = op.source.shape
    first, count = op.share(engine)
    out_w, end = op.out.shape[2], first + count
    buffer = source_of(program, op)
    items: list[Item] = []
    for oy, ox, chunk in itertools.product(range(first, end), range(out_w), range(program.chunks)):
        rows = sum(0 <= oy * sh - ph + ky < in_h for ky in range(kh))
        if rows <= 1 and (program.chunks, op.source.planes, op.sc_planes) == (1, 1, 0):
            items.append((None, 0, 0, Flag.NONE, False))
        items += [(None, 0, 0, Flag.NONE, True)] * op.sc_planes
        for plane in reversed(range(op.source.planes)):
            before = len(items)
            for ky in range(kh):
                y = oy * sh - ph + ky
                if buffer is None or not 0 <= y < in_h:
                    continue
                segments: list[list[int]] = []
                for kx in range(kw):
                    x = ox * sw - pw + kx
                    if not 0 <= x < in_w:
                        continue
                    for word in [slab.group] if op.pool else range(op.words):
                        start = buffer.base + chunk * buffer.chunk_step + plane * buffer.plane_step
                        address = start + (y * in_w + x) * buffer.groups + word
                        tag = 0 if op.pool else (ky * kw + kx) * op.words + word
                        tag += op.top_tag if plane == op.source.planes - 1 else 0
                        row = address // config.scan_words
                        if segments and not op.pool and segments[-1][0] // config.scan_words == row:
                            segments[-1][1] += 1
                        else:
                            segments.append([address, 1, tag])
                items += [(a, n, tag, Flag.NONE, False) for a, n, tag in segments] or [(None, 0, 0, Flag.NONE, False)]
            if len(items) == before:
                items.append((None, 0, 0, Flag.NONE, False))
            last = (oy, ox, chunk) == (end - 1, out_w - 1, program.chunks - 1)
            flag = Flag.SHIFT if plane else Flag.DRAIN_LAST if last else Flag.DRAIN
            items[-1] = (items[-1][0], items[-1][1], items[-1][2], flag, False)
    return items


def engine_words(program: Program, slab: Slab, engine: int) -> list[int]:
    """The descriptor's words that an engine sees: those of all, and its own."""
    config = program.config
    end = slab.address + program.slab_words(slab)
    words = list(program.image[end - descriptor_words(config) : end])
    if config.engines == 1:
        return words
    own, shared = start_words(config), len(words) - config.engines * start_words(config)
    return words[:shared] + words[shared + engine * own : shared + (engine + 1) * own]


def described(program: Program, slab: Slab, engine: int) -> list[Item]:
    """The same from the descriptor in the program's image, by its fields' arithmetic alone."""
    config = program.config
    words = engine_words(program, slab, engine)
    packed = sum(word << i * config.store_width for i, word in enumerate(words))
    signed = ("origin_x", "origin_y", "slack_y")
    d = {f.name: _value(f, packed, f.name in signed) for f in descriptor_fields(config)}
    addresses, size = 1 << config.spike_addr_bits, config.scan_words
    items: list[Item] = []
    row_start, tag_y = d["src"], d["tag_y"]
    kernel_words = d["kernel_last"] + (d["tap_words"] if d["shared_taps"] else 1)
    chunk_step = d["chunk_step"] + d["planes_last"] * d["plane_step"]  # from its lowest plane to the next top one
    for oy in range(d["out_y_last"] + 1):
        y0, slack_y = d["origin_y"] + oy * d["stride_y"], d["slack_y"] - oy * d["stride_y"]
        rows = d["kernel_y_last"] + 1 + min(y0, 0) + min(slack_y, 0)
        for ox in range(d["out_x_last"] + 1):
            x0 = d["origin_x"] + ox * d["stride_x"]
            x_end = min(x0 + d["kernel_last"], d["line_last"]) + kernel_words - d["kernel_last"]
            length = x_end - max(x0, 0)
            if rows <= 1 and not d["chunks_last"] + d["planes_last"] + d["sc_planes"]:
                items.append((None, 0, 0, Flag.NONE, False))
            for chunk in range(d["chunks_last"] + 1):
                items += [(None, 0, 0, Flag.NONE, True)] * d["sc_planes"]
                for plane in range(d["planes_last"] + 1):
                    top_tag = d.get("top_tag", 0) if plane == 0 else 0
                    for row in range(max(rows, 1)):
                        offset = chunk * chunk_step + plane * d["plane_step"] + row * d["line_words"]
                        at, left = (row_start + offset + max(x0, 0)) % addresses, length if rows > 0 else 0
                        tag = top_tag + tag_y + row * kernel_words - min(x0, 0)
                        if left <= 0:
                            items.append((None, 0, 0, Flag.NONE, False))
                        while left > 0:
                            count = min(left, size - at % size)
                            if d["shared_taps"]:
                                items.append((at, 1, top_tag, Flag.NONE, False))
                                count = d["tap_words"]
                            else:
                                items.append((at, count, tag % (1 << config.tag_bits), Flag.NONE, False))
                            at, tag, left = (at + count) % addresses, tag + count, left - count
                    flag = Flag.SHIFT
                    if plane == d["planes_last"]:
                        last = oy == d["out_y_last"] and ox == d["out_x_last"] and chunk == d["chunks_last"]
                        flag = Flag.DRAIN_LAST if last else Flag.DRAIN
                    items[-1] = (items[-1][0], items[-1][1], items[-1][2], flag, False)
        below = y0 < 0 and y0 + d["stride_y"] >= 0  # the next row of windows is the first that begins in the image
        if y0 >= 0:
            row_start += d["row_step"]
        elif below:
            row_start += d["first_row"]
        tag_y = max(tag_y - d["tag_y_step"], 0)
    return items


def _value(field: Field, packed: int, signed: bool) -> int:
    value = packed >> field.offset & ((1 << field.width) - 1)
    return value - (value >> (field.width - 1) << field.width) if signed else value


def modelled(program: Program, slab: Slab, engine: int) -> list[Item]:
    """The same as the cycle model sees it."""
    op, buffer = slab.op, source_of(program, slab.op)
    items = scan_items(op, buffer, program.chunks, program.config.scan_words, slab.group, engine)
    first, count = op.share(engine)
    assert (np.diff(items.tile) >= 0).all() and items.tile[0] == first * op.out.shape[2]
    assert items.tile[-1] == (first + count) * op.out.shape[2] - 1
    result: list[Item] = []
    for j in range(len(items)):
        chunk, plane = divmod(int(items.row[j]), op.source.planes)
        address, count = None, int(items.count[j])
        if count:
            assert buffer is not None
            start = buffer.base + chunk * buffer.chunk_step + plane * buffer.plane_step
            address = start + int(items.first[j])
        result.append((address, count, int(items.tag[j]), int(items.flag[j]), bool(items.shortcut[j])))
    return result


@pytest.mark.parametrize("seed", range(4))
def test_items_are_those_of_nested_loops_and_of_the_descriptor(seed: int) -> None:
    compared = 0
    for program in random_programs(seed, 10):
        for slab in program.slabs:
            for engine in range(slab.op.engines):
                expected = nested_loops(program, slab, engine)
                assert modelled(program, slab, engine) == expected, slab.op.layer
                assert described(program, slab, engine) == expected, slab.op.layer
                compared += len(expected)
    assert compared > 1500


def test_every_kind_of_window_is_among_them() -> None:
    ops = [op for seed in range(4) for program in random_programs(seed, 10) for op in program.ops]
    assert any(op.pool and op.layer.kernel[0] > 1 for op in ops)
    assert any(not op.scans for op in ops)
    assert any(op.top_tag for op in ops)
    assert any(op.sc_planes > 1 for op in ops)
    assert any(max(op.layer.stride) > 1 and max(op.layer.padding) > 0 for op in ops)
    assert any(op.engines > 2 and max(op.layer.padding) > 0 for op in ops)
    assert any(op.engines > 1 and op.pool for op in ops) and any(op.engines > 1 and not op.scans for op in ops)
    assert any(op.words > 1 and op.source.planes > 1 for op in ops)


def test_compiled_and_plain_walk_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in random_programs(9, 2):
        found = [modelled(program, slab, 0) for slab in program.slabs]
        with monkeypatch.context() as patch:
            patch.setattr(Compiled, "__call__", lambda self, *arguments: self.plain(*arguments))
            assert [modelled(program, slab, 0) for slab in program.slabs] == found
    assert isinstance(_walk, Compiled)


def test_a_row_wider_than_the_addresses_is_refused() -> None:
    for program in random_programs(2, 1):
        config: CoreConfig = dataclasses.replace(program.config, spike_depth=4)
        with pytest.raises(CompileError, match=r"addresses count to 3;.*raise spike_depth to \d+"):
            compile_network(program.original, config)
