"""The golden model's synapses, leaks and threads against plain integer arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import golden
from refmodel.golden_layers import pool
from refmodel.golden_neurons import _shifted, fire
from refmodel.golden_synapses import Synapses, exact_type
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from tests.random_networks import random_input, random_quantized_network


def convolved(layer: QuantizedLayer, source: np.ndarray) -> np.ndarray:
    """conv(source) + bias pixel by pixel, ``[N, Cout, OH, OW]`` int64."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    assert layer.weight is not None
    padded = np.pad(source.astype(np.int64), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    height, width = (padded.shape[2] - kh) // sh + 1, (padded.shape[3] - kw) // sw + 1
    made = np.zeros((len(source), len(layer.weight), height, width), np.int64)
    for y in range(height):
        for x in range(width):
            window = padded[:, :, y * sh : y * sh + kh, x * sw : x * sw + kw]
            made[:, :, y, x] = np.einsum("nchw,ochw->no", window, layer.weight)
    return made + (0 if layer.bias is None else layer.bias[:, None, None])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 1), (3, 3), (5, 5), (2, 3), (1, 7), (4, 1)]),
    st.sampled_from([(1, 1), (2, 2), (3, 1), (1, 2), (2, 3)]),
    st.sampled_from([1 << 8, 1 << 30, 1 << 60]),
)
def test_synapses_by_windows(seed: int, kernel: tuple[int, int], stride: tuple[int, int], bound: int) -> None:
    """Any window, on few and many pixels, in every type, with memory that is used again for fewer images."""
    rng = np.random.default_rng(seed)
    padding = int(rng.integers(0, kernel[0] + 1)), int(rng.integers(0, kernel[1] + 1))
    height, width = (int(rng.integers(max(1, size - 2 * pad), 12)) for size, pad in zip(kernel, padding, strict=True))
    channels, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    weight = rng.integers(-2, 3, (outputs, channels, *kernel))
    bias = rng.integers(-9, 10, outputs) if rng.integers(2) else None
    layer = QuantizedLayer("a", "conv", "input", weight, kernel, stride, padding, bias)
    synapses = Synapses(layer, (channels, height, width), 3, bound)
    for images in (3, 1, 2):
        source = rng.integers(0, 4, (images, channels, height, width)).astype(np.uint8)
        got = synapses(source)
        assert got.dtype == exact_type(bound)
        np.testing.assert_array_equal(got, convolved(layer, source))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shift", [1, 2, 4])
def test_shifts_of_floats_are_those_of_integers(kind: type, shift: int) -> None:
    values = np.concatenate([np.arange(-70, 70), [(1 << 24) - 1, 1 - (1 << 24)]])
    np.testing.assert_array_equal(_shifted(values.astype(kind), shift), values >> shift)


def test_membranes_wider_than_a_float_holds() -> None:
    """Thresholds above 2^53 take the membrane to 64-bit integers, whatever type the sums have."""
    one = np.ones((1, 1, 1, 1), np.int64)
    layer = QuantizedLayer(
        "a", "conv", "input", one, (1, 1), bias=np.array([(1 << 54) + 1]), threshold=np.array([(1 << 55) + 3]),
        leak_shifts=(4,),
    )  # fmt: skip
    out = QuantizedLayer("out", "readout", "a", one, (1, 1))
    net = QuantizedNetwork("wide", 4, QuantizedInput((1, 1, 1), 2), (layer, out))
    got = golden.run(net, np.full((1, 1, 1, 1), 3), keep=True)
    v, expected = 0, []
    for _ in range(4):
        h = v - (v >> 4) + 3 + (1 << 54) + 1
        expected.append((h, h >= (1 << 55) + 3))
        v = 0 if expected[-1][1] else h
    assert got.membranes["a"].ravel().tolist() == [h for h, _ in expected]
    assert got.tensors["a"].ravel().tolist() == [s for _, s in expected]
    assert any(s for _, s in expected)


def test_levels_count_and_keep_the_last_membrane() -> None:
    layer = QuantizedLayer(
        "a", "conv", "input", np.ones((1, 1, 1, 1), np.int64), (1, 1), threshold=np.array([2]),
        levels=np.array([[3], [6]]),
    )  # fmt: skip
    fired, kept = np.empty((4, 1, 1, 1, 1), np.uint8), np.empty((4, 1, 1, 1, 1), np.int32)
    fire(layer, iter(np.array([1, 2, 3, 1]).reshape(4, 1, 1, 1, 1)), fired, np.float32, kept)
    # membranes 1 3 3 1; 1 3 3 1; 1 3 6 1
    assert fired.ravel().tolist() == [0, 2, 3, 0] and kept.ravel().tolist() == [1, 3, 6, 1]


@pytest.mark.parametrize("kind", ["maxpool", "sumpool"])
@pytest.mark.parametrize(("size", "stride", "padding"), [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 3), (1, 0))])
def test_pools_by_windows(kind: str, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    source = rng.integers(0, 9, (2, 3, 2, 7, 8)).astype(np.uint8)
    layer = QuantizedLayer("p", kind, "input", None, size, stride, padding)
    got = pool(layer, source, np.uint8)
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    for y in range(got.shape[3]):
        for x in range(got.shape[4]):
            top, left = y * stride[0], x * stride[1]
            window = padded[..., top : top + size[0], left : left + size[1]]
            expected = window.max(axis=(3, 4)) if kind == "maxpool" else window.sum(axis=(3, 4))
            np.testing.assert_array_equal(got[..., y, x], expected)


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(4)
    net = random_quantized_network(rng, steps=3, max_layers=5, sizes=(4, 7), max_fan_in=200)
    x = random_input(rng, net, 150)
    alone, together = golden.run(net, x, keep=True, threads=1), golden.run(net, x, keep=True, threads=3)
    np.testing.assert_array_equal(alone.results, together.results)
    assert alone.fired == together.fired and alone.active == together.active
    for name, tensor in alone.tensors.items():
        np.testing.assert_array_equal(tensor, together.tensors[name])
    for name, membrane in alone.membranes.items():
        np.testing.assert_array_equal(membrane, together.membranes[name])
