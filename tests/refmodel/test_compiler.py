"""The compiler: every refusal, and images read back weight by weight and address by address."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel.bounds import layer_bounds
from refmodel.buffers import Buffer
from refmodel.compiler import compile_network
from refmodel.errors import CompileError
from refmodel.layout import (
    CombineOp,
    Field,
    descriptor_fields,
    descriptor_words,
    header_fields,
    param_fields,
    start_words,
)
from refmodel.limits import stored_threshold
from refmodel.program import Program, Slab
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork, TensorInfo
from tests.random_networks import random_quantized_network
from tests.sim.shapes import SHAPES

CONFIG = SHAPES["k2p8"]


def conv(name: str, source: str, outputs: int, inputs: int, kernel=(1, 1), weight=1, **options) -> QuantizedLayer:
    fields: dict[str, Any] = {
        "weight": np.full((outputs, inputs, *kernel), weight, np.int64),
        "kernel": kernel,
        "threshold": np.full(outputs, 3, np.int64),
        **options,
    }
    return QuantizedLayer(name, "conv", source, **fields)


def network(*layers: QuantizedLayer, steps=4, shape=(3, 6, 6), bits=1, classes=2, bias=0) -> QuantizedNetwork:
    """``layers`` and a readout of the last one."""
    channels = shape[0]
    for layer in layers:
        channels = channels if layer.weight is None else len(layer.weight)
    readout = QuantizedLayer(
        "out", "readout", layers[-1].name if layers else "input",
        np.ones((classes, channels, 1, 1), np.int64), (1, 1), bias=np.full(classes, bias),
    )  # fmt: skip
    return QuantizedNetwork("net", steps, QuantizedInput(shape, bits), (*layers, readout))


FIRST = conv("a", "input", 8, 3)
MANY = [FIRST, conv("b", "a", 8, 8, shortcut="a", combine="add")]  # counts to 2
REFUSED = {
    "chunks": (network(FIRST, steps=257), {}, "'net' runs for T=257 steps, this core for at most 256"),
    "no readout": (QuantizedNetwork("net", 1, QuantizedInput((3, 4, 4), 1), (FIRST,)), {}, "must end with a readout"),
    "no layers": (QuantizedNetwork("net", 1, QuantizedInput((3, 4, 4), 1), ()), {}, "must end with a readout"),
    "input size": (
        network(conv("a", "input", 1, 1, stride=(2, 2)), shape=(1, 16, 2)),
        {"dim_bits": 4},
        "'a': its input size is over this core's limit of 15;.*dim_bits",
    ),
    "output size": (
        network(conv("a", "input", 1, 1, padding=(1, 1)), shape=(1, 15, 2)),
        {"dim_bits": 4},
        "'a': its output size is over this core's limit of 15;.*dim_bits",
    ),
    "kernel": (
        network(conv("a", "input", 1, 1, (5, 1)), shape=(1, 8, 2)),
        {"kernel_bits": 2},
        "'a': its kernel size is over this core's limit of 4;.*kernel_bits",
    ),
    "stride": (
        network(conv("a", "input", 1, 1, stride=(1, 4))),
        {"kernel_bits": 2},
        "'a': its stride is over this core's limit of 3;.*kernel_bits",
    ),
    "padding": (
        network(conv("a", "input", 1, 1, padding=(4, 0))),
        {"kernel_bits": 2},
        "'a': its padding is over this core's limit of 3;.*kernel_bits",
    ),
    "empty output": (network(conv("a", "input", 1, 3, (7, 7))), {}, "'a': output shape .1, 0, 0. is empty"),
    "bank depth": (
        network(conv("a", "input", 8, 9, (3, 3)), shape=(9, 6, 6)),
        {"bank_depth": 64},
        "'a': a slab needs 72 weights an event lane, this core's banks hold 64;.*bank_depth",
    ),
    "planes of the input": (
        network(FIRST, bits=5),
        {"max_planes": 4},
        "'a': its source has 5 bits, this core takes 4",
    ),
    "planes of a sum": (network(*MANY), {"max_planes": 1}, "'b': values need 2 bits, this core has max_planes=1"),
    "classes": (network(FIRST, classes=17), {}, "'out': 17 classes, this core keeps 16 results"),
    "current with a combiner": (
        network(FIRST, conv("b", "a", 8, 8, shortcut="a", combine="or", current=np.ones(8, np.int64))),
        {},
        "'b': a membrane shortcut takes binary spikes and no combiner",
    ),
    "current of counts": (
        network(*MANY, conv("c", "a", 8, 8, shortcut="b", current=np.ones(8, np.int64))),
        {},
        "'c': a membrane shortcut takes binary spikes and no combiner",
    ),
    "AND of counts": (
        network(*MANY, conv("c", "a", 8, 8, shortcut="b", combine="and")),
        {},
        "'c': AND takes binary spikes, the shortcut has 2 bits",
    ),
    "IAND of counts": (
        network(*MANY, conv("c", "a", 8, 8, shortcut="b", combine="iand")),
        {},
        "'c': IAND takes binary spikes, the shortcut has 2 bits",
    ),
    "OR of counts": (
        network(*MANY, conv("c", "a", 8, 8, shortcut="b", combine="or")),
        {},
        "'c': OR takes binary spikes, the shortcut has 2 bits",
    ),
    "leak terms": (
        network(conv("a", "input", 8, 3, leak_shifts=(1, 2))),
        {"leak_terms": 1},
        r"'a': leak shifts \(1, 2\), this core takes 1 of 1 to 4;.*leak_terms",
    ),
    "leak shift": (
        network(conv("a", "input", 8, 3, leak_shifts=(5,))),
        {},
        r"'a': leak shifts \(5,\), this core takes",
    ),
    "weight width": (
        network(conv("a", "input", 8, 3, weight=8)),
        {"weight_bits": 4},
        "'a': weight magnitude 8 does not fit 4 bits",
    ),
    "negative weight width": (
        network(conv("a", "input", 8, 3, weight=-9)),
        {"weight_bits": 4},
        "'a': weight magnitude 9 does not fit 4 bits",
    ),
    "acc width": (
        network(conv("a", "input", 8, 3, weight=100), bits=3),
        {"acc_width": 11},
        "'a': its sums can need 13 bits, this core's accumulators have 11; quantise with max_sum=1023",
    ),
    "membrane width": (
        network(conv("a", "input", 8, 3, weight=100, threshold=np.full(8, 10**6)), steps=8),
        {"acc_width": 10, "membrane_width": 11},
        "'a': its membranes can need 13 bits, this core's have 11",
    ),
    "readout width": (
        network(FIRST, steps=40),
        {"acc_width": 10, "membrane_width": 12},
        "'out': its membranes can need 15 bits, this core's have 12",
    ),
    "bias": (
        network(conv("a", "input", 8, 3, bias=np.full(8, 512))),
        {"acc_width": 10},
        "'a': its bias does not fit 10 bits",
    ),
    "readout bias": (network(FIRST, bias=-513), {"acc_width": 10}, "'out': its bias does not fit 10 bits"),
    "current": (
        network(FIRST, conv("b", "a", 8, 8, bias=np.full(8, 300), shortcut="a", current=np.full(8, 300))),
        {"acc_width": 10},
        "'b': its shortcut current does not fit 10 bits",
    ),
    "margin": (
        network(conv("a", "input", 8, 3, weight=-100, threshold=np.full(8, 1000)), steps=3),
        {"acc_width": 10, "membrane_width": 10},
        "'a': its membranes can need 11 bits",
    ),
    "margin of a soft reset": (
        network(conv("a", "input", 8, 3, weight=100, threshold=np.full(8, -400), reset="soft"), steps=1),
        {"acc_width": 10, "membrane_width": 10},
        "'a': membrane minus threshold can need 11 bits, this core's membranes have 10",
    ),
    "spike memory": (network(FIRST, bits=4), {"spike_depth": 100}, "'net' needs 180 words of spike memory.* has 100"),
    "store": (network(FIRST), {"store_depth": 44}, "'net' needs 45 words of 64 bits in the resting store.* has 44"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    net, changes, message = REFUSED[case]
    with pytest.raises(CompileError, match=message):
        compile_network(net, dataclasses.replace(CONFIG, **changes))


@pytest.mark.parametrize(
    ("net", "changes"),
    [
        (network(FIRST, steps=256, shape=(3, 2, 2)), {}),
        (network(conv("a", "input", 1, 1, (4, 1), stride=(3, 3), padding=(3, 0)), shape=(1, 8, 2)), {"kernel_bits": 2}),
        (network(FIRST, shape=(3, 15, 15)), {"dim_bits": 4}),
        (network(conv("a", "input", 8, 9, (3, 3)), shape=(9, 6, 6)), {"bank_depth": 128}),
        (network(*MANY), {"max_planes": 2}),
        (network(FIRST, classes=16), {}),
        (network(conv("a", "input", 8, 3, weight=-8)), {"weight_bits": 4}),
        (network(conv("a", "input", 8, 3, bias=np.full(8, 511), threshold=np.full(8, 9))), {"acc_width": 10}),
        (network(FIRST, bits=4), {"spike_depth": 180}),
        (network(FIRST), {"store_depth": 45}),
    ],
)
def test_takes_the_limits(net: QuantizedNetwork, changes: dict) -> None:
    compile_network(net, dataclasses.replace(CONFIG, **changes))


# Images read back.


def unpack(fields: tuple[Field, ...], word: int, signed: tuple[str, ...] = ()) -> dict[str, int]:
    values = {}
    for f in fields:
        value = word >> f.offset & ((1 << f.width) - 1)
        values[f.name] = value - (value >> (f.width - 1) << f.width) if f.name in signed else value
    return values


def check_weights(program: Program, slab: Slab, words: list[int]) -> None:
    """Lane k's word (tap, channel word, c) has the P weights of channel word * P + k * W + c."""
    config, layer = program.config, slab.op.layer
    lanes, per_word, bits = config.output_lanes, config.channels_per_word, config.weight_bits
    kh, kw = layer.kernel
    taps = [(0, 0)] if layer.weight is None else [(ky, kx) for ky in range(kh) for kx in range(kw)]
    at = iter(words)
    for k in range(config.event_lanes):
        for ky, kx in taps:
            for group in range(slab.op.words):
                for c in range(per_word):
                    word, channel = next(at), group * lanes + k * per_word + c
                    for p in range(lanes):
                        field = word >> p * bits & ((1 << bits) - 1)
                        value = field - (field >> (bits - 1) << bits)
                        out = slab.group * lanes + p
                        if layer.weight is None:
                            expected = int(channel == p)
                        elif out < layer.weight.shape[0] and channel < layer.weight.shape[1]:
                            expected = layer.weight[out, channel, ky, kx]
                        else:
                            expected = 0
                        assert value == expected
    assert next(at, None) is None


def check_params(program: Program, slab: Slab, words: list[int]) -> None:
    config, layer = program.config, slab.op.layer
    never = (1 << (config.membrane_width - 1)) - 1
    for p, word in enumerate(words):
        got = unpack(param_fields(config), word, ("threshold", "bias", "bias_shortcut"))
        channel = slab.group * config.output_lanes + p
        if channel >= slab.op.out.shape[0]:
            assert got == {"threshold": never, "bias": 0, "bias_shortcut": 0}
            continue
        bias = 0 if layer.bias is None else layer.bias[channel]
        current = 0 if layer.current is None else layer.current[channel]
        assert (got["bias"], got["bias_shortcut"]) == (bias, bias + current)
        if layer.threshold is not None:
            pixels = slab.op.out.shape[1] * slab.op.out.shape[2]
            bounds = layer_bounds(layer, slab.op.source, program.network.steps, pixels)
            low, high = int(bounds.membrane_low[channel]), int(bounds.membrane_high[channel])
            wanted = int(layer.threshold[channel])
            for h in {low, high, *(h for h in (wanted - 1, wanted, wanted + 1) if low <= h <= high)}:
                assert (h >= got["threshold"]) == (h >= wanted)


def check_descriptor(program: Program, slab: Slab, words: list[int]) -> None:
    """What each engine reads; those that do not run have a start block of zeros."""
    config = program.config
    own = start_words(config)
    shared = len(words) - config.engines * own
    for engine in range(config.engines):
        block = words[shared + engine * own : shared + (engine + 1) * own]
        if engine >= slab.op.engines:
            assert not any(block)
            continue
        seen = words if config.engines == 1 else words[:shared] + block
        packed = sum(word << i * config.store_width for i, word in enumerate(seen))
        check_fields(program, slab, engine, unpack(descriptor_fields(config), packed))


def check_fields(program: Program, slab: Slab, engine: int, got: dict[str, int]) -> None:
    """Its address steps are differences of two addresses of the plan."""
    config, op, layer, net = program.config, slab.op, slab.op.layer, program.network
    source, chunks = program.buffers[layer.source], program.chunks
    _, in_h, in_w = op.source.shape
    out_w = op.out.shape[2]
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    planes = op.source.planes
    first_word = slab.group if layer.kind == "window" else 0

    def word(y=0, x=0, chunk=0, plane=0) -> int:
        where = source.base + chunk * source.chunk_step + plane * source.plane_step
        return where + (y * in_w + x) * source.groups + first_word

    def result(buffer: Buffer, pixel=0, chunk=0, plane=0) -> int:
        return buffer.base + chunk * buffer.chunk_step + plane * buffer.plane_step + pixel * buffer.groups + slab.group

    top = planes - 1
    first, count = op.share(engine)
    y = first * sh - ph  # image row that the engine's first window begins at
    skipped, above = 0 if op.pool else ph, max(-y, 0)
    inside = next(oy for oy in range(ph + 1) if oy * sh >= ph)  # the first row of windows that begins in the image
    expected = {
        "src": word(y=max(y, 0), plane=top),
        "line_words": word(y=1) - word(),
        "kernel_last": word(x=kw - 1) - word() + (0 if op.pool else op.words - 1),
        "origin_x": word(x=-pw) - word(),
        "line_last": word(x=in_w - 1) - word() + (0 if op.pool else op.words - 1),
        "stride_x": word(x=sw) - word(),
        "tap_words": word(x=1) - word() if op.pool else 0,
        "kernel_y_last": kh - 1, "origin_y": -above, "slack_y": in_h - (kh + y), "stride_y": sh,
        "first_row": word(y=inside * sh - ph) - word(),
        "row_step": word(y=sh) - word(),
        "tag_y": 0 if op.pool else above * kw * op.words,
        "tag_y_step": min(sh, skipped) * kw * op.words,
        "plane_step": word() - word(plane=1),
        "chunk_step": word(chunk=1, plane=top) - word(),
        "out_x_last": out_w - 1, "out_y_last": count - 1, "turns_last": op.engines - 1, "enable": 1,
        "planes_last": top, "chunks_last": chunks - 1, "shared_taps": int(op.pool),
        "last_step": (net.steps - 1) % config.time_lanes, "soft_reset": int(layer.reset == "soft"),
        "stateless": int(layer.kind == "window"),
        "leak_a": ([*layer.leak_shifts, 0, 0])[0], "leak_b": ([*layer.leak_shifts, 0, 0])[1],
        "readout": int(layer.kind == "readout"), "use_current": int(layer.current is not None),
    }  # fmt: skip
    if layer.kind == "readout":
        expected["result_group"] = slab.group
    elif layer.name not in {name for reader in net.layers for name in (reader.source, reader.shortcut)}:
        expected["discard"] = 1
    else:
        buffer, high = program.buffers[layer.name], op.out_planes - 1
        counted = layer.combine == "add" and layer.shortcut is not None
        assert op.out_planes == ((op.out.max_value).bit_length() if counted else 1)
        expected |= {
            "out_planes_last": high,
            "combine": int(CombineOp.ADD if layer.combine == "pass" else CombineOp[layer.combine.upper()]),
            "dst": result(buffer, pixel=first * out_w),
            "dst_plane_step": result(buffer, plane=1) - result(buffer),
            "dst_chunk_step": result(buffer, chunk=1) - result(buffer, plane=high),
            "dst_pixel_step": result(buffer, pixel=1) - result(buffer, plane=high, chunk=chunks - 1),
        }
    if layer.shortcut is not None:
        buffer, high = program.buffers[layer.shortcut], op.sc_planes - 1
        expected |= {
            "sc_planes": program.network.tensors()[layer.shortcut].planes,
            "sc": result(buffer, pixel=first * out_w),
            "sc_plane_step": result(buffer, plane=1) - result(buffer),
            "sc_chunk_step": result(buffer, chunk=1) - result(buffer, plane=high),
            "sc_pixel_step": result(buffer, pixel=1) - result(buffer, plane=high, chunk=chunks - 1),
        }
    widths = {f.name: f.width for f in descriptor_fields(config)}
    assert got == {name: expected.get(name, 0) % (1 << width) for name, width in widths.items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = list(SHAPES.values())[int(rng.integers(len(SHAPES)))]
    config = dataclasses.replace(shape, spike_depth=1 << 14, store_depth=1 << 14, bank_depth=1 << 11)
    net = random_quantized_network(
        rng,
        steps=int(rng.integers(1, 2 * config.time_lanes + 2)),
        sizes=(2, 5),
        max_layers=4,
        max_fan_in=200,
        input_bits=(1, 2, 4),
        input_as_spikes=bool(rng.integers(2)),
    )
    program = compile_network(net, config)
    image, at = list(program.image), 0
    slabs = iter(program.slabs)
    order = []
    while True:
        header = unpack(header_fields(config), image[at])
        if header["end"]:
            break
        slab = next(slabs)
        order.append((slab.op.layer.name, slab.group))
        assert slab.address == at
        weights = config.event_lanes * (header["weights_last"] + 1)
        first = at + 1
        check_weights(program, slab, image[first : first + weights])
        first += weights
        check_params(program, slab, image[first : first + config.output_lanes])
        first += config.output_lanes
        words = image[first : first + descriptor_words(config)]
        check_descriptor(program, slab, words)
        at = first + descriptor_words(config)
    assert next(slabs, None) is None and at == len(image) - 1
    assert header["classes_last"] == net.tensors()[net.layers[-1].name].shape[0] - 1
    groups = {layer.name: -(-net.tensors()[layer.name].shape[0] // config.output_lanes) for layer in net.layers}
    assert order == [(layer.name, group) for layer in net.layers for group in range(groups[layer.name])]


def test_a_threshold_out_of_reach_moves_to_the_edge() -> None:
    thresholds = np.array([10**9, -(10**9), 5])
    for reset, expected in (("hard", [25, -6, 5]), ("soft", [25, -(10**9), 5])):
        weight = np.array([[-2, 8]] * 3).reshape(3, 2, 1, 1)
        layer = QuantizedLayer("a", "conv", "input", weight, (1, 1), threshold=thresholds, reset=reset)
        bounds = layer_bounds(layer, TensorInfo((2, 1, 1), 1), 3, 1)
        assert bounds.membrane_low.tolist()[0] == -6 and bounds.membrane_high.tolist()[0] == 24
        assert stored_threshold(layer, bounds).tolist() == expected
