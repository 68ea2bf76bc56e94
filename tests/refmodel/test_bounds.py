"""Bounds: what networks and brute-force neurons really reach lies within, and the bounds are reached."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import golden
from refmodel.bounds import bits_needed, fits, layer_bounds
from refmodel.quantized import QuantizedLayer, TensorInfo
from tests.random_networks import random_input, random_quantized_network


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_golden_membranes_stay_within(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(rng, steps=int(rng.integers(1, 7)), sizes=(2, 5), max_layers=4)
    x = random_input(rng, net, 2)
    x[0] = (1 << net.input.bits) - 1
    infos, result = net.tensors(), golden.run(net, x, keep=True)
    for layer in net.layers:
        if layer.weight is None:
            continue
        _, height, width = infos[layer.name].shape
        bounds = layer_bounds(layer, infos[layer.source], net.steps, height * width)
        membrane = result.membranes[layer.name]
        assert (membrane >= bounds.membrane_low[:, None, None]).all(), layer
        assert (membrane <= bounds.membrane_high[:, None, None]).all(), layer
        if layer.current is None and layer.kind == "conv":  # before the first step a membrane is 0
            bias = 0 if layer.bias is None else layer.bias[:, None, None]
            sums = membrane[:, 0] - bias
            assert (sums >= bounds.sum_low[:, None, None]).all() and (sums <= bounds.sum_high[:, None, None]).all()


def one_neuron(rng: np.random.Generator) -> QuantizedLayer:
    """Two inputs, any signs, thresholds on either side of 0."""
    leaks = ((), (1,), (2,), (1, 1), (1, 2), 0, 5, 8)
    return QuantizedLayer(
        "a", "conv", "input", rng.integers(-6, 7, (1, 2, 1, 1)), (1, 1),
        bias=rng.integers(-6, 7, 1),
        threshold=rng.integers(-12, 30, 1),
        leak_shifts=leak if isinstance(leak := leaks[int(rng.integers(len(leaks)))], tuple) else (),
        leak_factor=None if isinstance(leak, tuple) else (leak, 3),
        reset=("hard", "soft", "none")[int(rng.integers(3))],
        rectify=bool(rng.integers(2)),
        current=rng.integers(-9, 10, 1) if rng.integers(2) else None,
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_neuron_gets_out_whatever_it_is_fed(seed: int) -> None:
    """Every sequence of extreme inputs and shortcut spikes, step by step."""
    rng = np.random.default_rng(seed)
    layer, steps, top = one_neuron(rng), int(rng.integers(1, 5)), int(rng.integers(1, 4))
    bottom = int(rng.choice([0, -2]))
    assert layer.weight is not None and layer.bias is not None and layer.threshold is not None
    bounds = layer_bounds(layer, TensorInfo((2, 1, 1), top, bottom), steps, 1)
    low, high = int(bounds.membrane_low[0]), int(bounds.membrane_high[0])
    weights, bias, threshold = layer.weight.ravel().tolist(), int(layer.bias[0]), int(layer.threshold[0])
    currents = (0,) if layer.current is None else (0, int(layer.current[0]))
    ends = (bottom, top)
    inputs = {weights[0] * a + weights[1] * b + bias + r for a in ends for b in ends for r in currents}
    reached = {0}
    for _ in range(steps):
        charged = set()
        for v, x in itertools.product(reached, inputs):
            leaked = v - sum(v >> shift for shift in layer.leak_shifts)
            if layer.leak_factor is not None:
                leaked = v * layer.leak_factor[0] >> layer.leak_factor[1]
            h = leaked + (max(x, 0) if layer.rectify else x)
            assert low <= h <= high
            charged.add(h)
        after = {"hard": lambda h: 0, "soft": lambda h: h - threshold, "none": lambda h: h}[layer.reset]
        reached = {after(h) if h >= threshold else h for h in charged}


def test_bounds_are_reached() -> None:
    weight = np.array([[3, -2]]).reshape(1, 2, 1, 1)
    layer = QuantizedLayer("a", "conv", "input", weight, (1, 1), bias=np.array([1]), threshold=np.array([1000]))
    bounds = layer_bounds(layer, TensorInfo((2, 1, 1), 7), 3, 1)
    assert (bounds.sum_low[0], bounds.sum_high[0]) == (-14, 21)
    assert (bounds.membrane_low[0], bounds.membrane_high[0]) == (3 * -13, 3 * 22)
    readout = QuantizedLayer("r", "readout", "input", weight, (1, 1), bias=np.array([5]))
    bounds = layer_bounds(readout, TensorInfo((2, 1, 1), 7), 3, 4)
    assert (bounds.membrane_low[0], bounds.membrane_high[0]) == (5 - 14 * 12, 5 + 21 * 12)


@pytest.mark.parametrize("width", [2, 8, 24])
def test_widths(width: int) -> None:
    low, high = np.array([-(1 << (width - 1))]), np.array([(1 << (width - 1)) - 1])
    assert fits(low, high, width).all() and bits_needed(low, high) == width
    assert not fits(low - 1, high, width).any() and bits_needed(low - 1, high) == width + 1
    assert not fits(low, high + 1, width).any() and bits_needed(low, high + 1) == width + 1
