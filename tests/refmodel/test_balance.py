"""Other orders of channels: the same results, and lanes that are equally busy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refmodel import golden
from refmodel.balance import _classes, _improved, _slowest, _swapped, balance, reordered
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.legality import validate
from refmodel.lowering import lower
from refmodel.quantized import INPUT, QuantizedNetwork
from tests.random_networks import EXTRAS, random_input, random_quantized_network

CONFIG = CoreConfig(event_lanes=4, output_lanes=16, neuron_units=4, bank_lanes=4)


def _network(seed: int) -> tuple[np.random.Generator, QuantizedNetwork]:
    rng = np.random.default_rng(seed)
    return rng, random_quantized_network(rng, steps=int(rng.integers(1, 6)), sizes=(3, 7), min_layers=3, extras=EXTRAS)


@pytest.mark.parametrize("seed", range(25))
def test_any_order_has_the_same_results(seed: int) -> None:
    rng, net = _network(seed)
    classes, infos = _classes(net, lower(net)), net.tensors()
    by_class = {}
    for name in infos:
        channels = infos[name].shape[0]
        order = np.concatenate([rng.permutation(channels), np.full(int(rng.integers(0, 4)), -1)])
        by_class.setdefault(classes[name], rng.permutation(order))
    orders = {name: by_class[classes[name]] for name in infos if classes[name] != INPUT}
    made = reordered(net, orders)
    validate(made)
    x = random_input(rng, net, 3)
    before, after = golden.run(net, x, keep=True), golden.run(made, x, keep=True)
    assert np.array_equal(before.results, after.results)
    for name, order in orders.items():
        if name in before.tensors:
            assert np.array_equal(before.tensors[name][:, :, order[order >= 0]], after.tensors[name][:, :, order >= 0])
            assert not after.tensors[name][:, :, order < 0].any()


@pytest.mark.parametrize("seed", range(100, 108))
def test_balanced_networks_have_the_same_results(seed: int) -> None:
    rng, net = _network(seed)
    found = balance(net, random_input(rng, net, 4), CONFIG)
    x = random_input(rng, net, 4)
    assert np.array_equal(golden.run(net, x).results, golden.run(found.network, x).results)
    assert found.after <= found.before and found.network.input == net.input
    again = balance(net, random_input(np.random.default_rng(seed), net, 4), CONFIG)
    once_more = balance(net, random_input(np.random.default_rng(seed), net, 4), CONFIG)
    assert all(np.array_equal(order, once_more.orders[name]) for name, order in again.orders.items())


def _lopsided(channels: int) -> tuple[QuantizedNetwork, np.ndarray]:
    """A tensor whose first quarter of channels fires twice as often as the others, and its readers."""
    rng = np.random.default_rng(5)
    net = random_quantized_network(
        rng, steps=4, channels_choices=(channels,), sizes=(8, 8), min_layers=2, max_layers=2, combines=(),
        maxpool=False, current=False, dense=False, leaks=((),), strides=(1,), kernels=((3, 3),), rates=(0.3, 0.4),
        max_fan_in=1000,
    )  # fmt: skip
    first = net.layers[0]
    assert first.threshold is not None
    threshold = first.threshold.copy()
    threshold[channels // 4 :] *= 3
    return replace(net, layers=(replace(first, threshold=threshold), *net.layers[1:])), random_input(rng, net, 8)


@pytest.mark.parametrize(("channels", "most"), [(16, 0.9), (8, 0.75)])
def test_lanes_become_equally_busy(channels: int, most: float) -> None:
    """On other inputs; 8 channels of 16 places leave half the lanes idle, without balance."""
    net, x = _lopsided(channels)
    found = balance(net, x[:4], CONFIG)
    assert found.after < most * found.before
    clocks = []
    for one in (net, found.network):
        program = compile_network(one, CONFIG)
        clocks.append(run_timing(program, golden.run(program.network, x[4:], keep=True).tensors).clocks.mean())
    assert clocks[1] < clocks[0]
    order = found.orders[net.layers[0].name]
    assert sorted(order[order >= 0]) == list(range(channels))
    lanes = np.arange(len(order)) % 16 // 4
    assert max(np.bincount(lanes[order >= 0], minlength=4)) <= 3 * channels // 8  # a busy one may stay alone


@pytest.mark.parametrize("values", [1 << 40, 1])
def test_expected_events_are_those_of_the_slowest_lanes(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All windows of a small network are counted, whether inputs run together or one by one."""
    monkeypatch.setattr("refmodel.balance._MOST_VALUES", values)
    net, x = _lopsided(16)
    slowest = 0
    tensors = golden.run(net, x, keep=True).tensors
    for layer in net.layers[1:]:
        assert layer.weight is not None
        spikes = tensors[layer.source].any(axis=1)  # [N, C, H, W], a chunk of all 4 steps
        (kh, kw), (ph, pw) = layer.kernel, layer.padding
        padded = np.pad(spikes, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        for y in range(padded.shape[2] - kh + 1):
            for column in range(padded.shape[3] - kw + 1):
                window = padded[:, :, y : y + kh, column : column + kw]
                slowest += window.reshape(len(x), 4, -1).sum(axis=2).max(axis=1).sum()
    assert balance(net, x, CONFIG).before == pytest.approx(slowest / len(x))


def test_costs_of_swaps_are_those_of_the_swapped() -> None:
    rng = np.random.default_rng(2)
    events, weights = rng.integers(0, 9, (50, 12)).astype(np.float32), rng.random(50).astype(np.float32)
    lanes = np.arange(12) // 4
    others = np.flatnonzero(lanes != lanes[1])
    for other, cost in zip(others, _swapped(events, weights, lanes, 1, others), strict=True):
        swapped = lanes.copy()
        swapped[[1, other]] = lanes[[other, 1]]
        assert cost == pytest.approx(_slowest(events, weights, swapped), rel=1e-5)
    best, cost = _improved(events, weights, lanes, rng)
    assert cost <= _slowest(events, weights, lanes) and np.bincount(best).tolist() == [4, 4, 4]
