"""Properties of the quantiser: scales, thresholds, leaks, limits, report."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import floatmodel, golden
from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, Neuron, ReadoutLayer
from refmodel.quantize import integer_threshold, quantize, report
from refmodel.quantized import QuantizedLayer, QuantizedNetwork


def build(
    weight, bias=None, neuron: Neuron | None = None, *, fc=None, fc_bias=None, scale=1.0, bits=4, steps=4
) -> Network:
    weight = np.asarray(weight, dtype=float)
    builder = NetworkBuilder("net", steps, InputSpec((weight.shape[1], 4, 4), bits, scale=scale), neuron=neuron)
    x = builder.conv("input", weight, bias, name="a")
    builder.readout(x, np.ones((2, len(weight))) if fc is None else fc, fc_bias, name="out")
    return builder.build()


def first(net: QuantizedNetwork) -> QuantizedLayer:
    return net.layers[0]


def vector(array) -> np.ndarray:
    assert array is not None
    return np.asarray(array)


@settings(max_examples=200)
@given(st.floats(1e-3, 1e6), st.sampled_from(["ge", "gt"]))
def test_integer_threshold_is_the_smallest_that_fires(ratio: float, fire) -> None:
    got = int(integer_threshold(np.array([ratio]), fire)[0])
    tie = abs(ratio - round(ratio)) <= 1e-9 * max(1, ratio)
    exact = round(ratio) if tie else ratio

    def fires(h: int) -> bool:
        return h >= exact if fire == "ge" else h > exact

    assert fires(got) and not fires(got - 1)


@pytest.mark.parametrize("noise", [-1e-12, 0.0, 1e-12])
def test_threshold_ties_ignore_float_noise(noise: float) -> None:
    assert integer_threshold(np.array([7 + noise]), "ge")[0] == 7
    assert integer_threshold(np.array([7 + noise]), "gt")[0] == 8


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 10), st.floats(1e-4, 1e3))
def test_weights_are_within_half_a_unit(seed: int, bits: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(3, 2, 3, 3)) * size
    net = build(weight, rng.normal(size=3), Neuron(threshold=size), scale=0.5)
    layer = first(quantize(net, bits))
    unit, whole = vector(layer.scale), vector(layer.weight)
    assert np.abs(whole).max(axis=(1, 2, 3)).tolist() == [2 ** (bits - 1) - 1] * 3
    assert (np.abs(whole * unit[:, None, None, None] - 0.5 * weight) <= unit[:, None, None, None] * 0.500001).all()
    threshold = vector(layer.threshold) * unit
    assert (threshold >= size * (1 - 1e-8)).all() and (threshold < size + unit).all()


def test_logits_follow_the_float_network() -> None:
    """Quantised logits follow the float ones, the closer the more bits (random networks are chaotic)."""
    rng = np.random.default_rng(0)
    builder = NetworkBuilder("net", 4, InputSpec((1, 8, 8), 4, scale=1 / 16))
    x = builder.conv("input", rng.normal(size=(8, 1, 3, 3)), rng.normal(size=8) / 4)
    for _ in range(3):
        w1, w2 = rng.normal(size=(2, 8, 8, 3, 3)) / 4
        x = builder.sew_block(x, w1, rng.normal(size=8) / 4, w2, rng.normal(size=8) / 4)
    builder.readout(x, rng.normal(size=(5, 8)), rng.normal(size=5))
    net = builder.build()
    images = rng.integers(0, 16, (64, 1, 8, 8))
    real = floatmodel.run(net, images)
    errors = []
    for bits in (4, 8, 14):
        qnet = quantize(net, bits)
        whole = golden.run(qnet, images)
        errors.append(np.abs(whole.results * vector(qnet.layers[-1].scale) - real.logits).mean())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[1] < 0.1 * real.logits.std()
    assert (whole.predictions == real.predictions).mean() > 0.95


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        (Neuron(threshold=10), 10),
        (Neuron(threshold=10, fire="gt"), 11),
        (Neuron(threshold=10, v_reset=-4), 14),
        (Neuron("lif", threshold=10, tau=2.0), 20),
        (Neuron("lif", threshold=10, tau=4.0, v_reset=-2), 48),
        (Neuron("lif", threshold=10, tau=4.0, decay_input=False, v_reset=-2), 12),
        (Neuron("lif", threshold=10, tau=2.0, fire="gt"), 21),
        (Neuron("step", threshold=10.5), 11),
        (Neuron("lif", threshold=10, tau=2.0, reset="none"), 20),
    ],
)
def test_neuron_folding(neuron: Neuron, expected: int) -> None:
    layer = first(quantize(build(np.full((1, 1, 3, 3), 3), [7], neuron), scale="unit"))
    assert vector(layer.threshold).tolist() == [expected]
    assert (layer.reset, layer.stateless) == (neuron.reset, neuron.kind == "step")
    assert vector(layer.bias).tolist() == [7] and (vector(layer.weight) == 3).all()


def test_unit_scale_refuses_what_it_would_change() -> None:
    with pytest.raises(NetworkError, match="'a'.*integer weights"):
        quantize(build(np.full((1, 1, 3, 3), 0.5)), scale="unit")
    with pytest.raises(NetworkError, match="'a'.*integer weights"):
        quantize(build(np.ones((1, 1, 3, 3)), [0.5]), scale="unit")
    with pytest.raises(NetworkError, match="'a'.*more than 7"):
        quantize(build(np.full((1, 1, 3, 3), 8)), 4, scale="unit")
    with pytest.raises(NetworkError, match="'a': channel 0 exceeds max_sum=100"):
        quantize(build(np.ones((1, 1, 3, 3))), scale="unit", max_sum=100)


def test_channels_without_weights_keep_bias_and_threshold() -> None:
    weight = np.ones((2, 1, 3, 3))
    weight[1] = 0
    layer = first(quantize(build(weight, [0.1, 0.37], Neuron(threshold=1.3))))
    unit = vector(layer.scale)[1]
    assert vector(layer.bias)[1] * unit == pytest.approx(0.37, abs=1.3 / 4000)
    assert vector(layer.threshold)[1] * unit == pytest.approx(1.3, abs=1.3 / 4000)
    assert vector(layer.threshold)[1] <= 4096


@pytest.mark.parametrize("size", [1e-12, 1e-300, 5e-324])
def test_tiny_weights_do_not_overflow(size: float) -> None:
    layer = first(quantize(build(np.full((1, 1, 3, 3), size), [0.5])))
    assert 1 <= vector(layer.threshold)[0] <= 1 << 20
    assert abs(vector(layer.bias)[0] / vector(layer.threshold)[0] - 0.5) < 1e-3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([300, 1000, 5000, 10**6]))
def test_max_sum_bounds_the_worst_case(seed: int, max_sum: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(4, 2, 3, 3)) * rng.uniform(0.1, 2, (4, 1, 1, 1))
    net = build(weight, rng.normal(size=4) * 3, scale=0.1, fc=rng.normal(size=(3, 4)), fc_bias=rng.normal(size=3))
    made = quantize(net, max_sum=max_sum)
    infos = made.tensors()
    for layer in made.layers:
        whole, largest = vector(layer.weight), infos[layer.source].max_value
        assert np.maximum(whole, 0).sum(axis=(1, 2, 3)).max() * largest <= max_sum
        assert np.maximum(-whole, 0).sum(axis=(1, 2, 3)).max() * largest <= max_sum
        assert np.abs(vector(layer.bias)).max() <= max_sum
    free = quantize(net)
    changed = made.meta["rescaled"]
    assert isinstance(changed, dict)
    for mine, theirs in zip(made.layers, free.layers, strict=True):
        same = np.array([np.array_equal(a, b) for a, b in zip(vector(mine.weight), vector(theirs.weight), strict=True)])
        assert same.all() or mine.name in changed
        if "all" not in changed.get(mine.name, {}):
            enlarged = {int(channel) for channel in changed.get(mine.name, {})}
            assert {int(c) for c in np.flatnonzero(~same)} <= enlarged
            assert all(factor > 1 for factor in changed.get(mine.name, {}).values())


def test_max_sum_too_small_is_refused() -> None:
    with pytest.raises(NetworkError, match="'a': max_sum=10 leaves channel 0 no weights"):
        quantize(build(np.ones((1, 1, 3, 3))), max_sum=10)


def test_current_and_bias_fit_together() -> None:
    layers = (
        ConvLayer("a", "input", np.ones((1, 1, 1, 1))),
        ConvLayer("b", "a", np.full((1, 1, 1, 1), 0.01), np.array([5.0]), shortcut="a", current=9.0),
        ReadoutLayer("out", "b", np.ones((2, 1))),
    )
    made = quantize(Network("net", 2, InputSpec((1, 2, 2), 1), layers), max_sum=1000).layers[1]
    total = int(vector(made.bias)[0] + vector(made.current)[0])
    assert 990 <= total <= 1000
    assert vector(made.current)[0] / vector(made.bias)[0] == pytest.approx(9 / 5, rel=0.01)


def test_readout_sums_over_time_and_pixels() -> None:
    fc = np.array([[3.0, -1.0], [2.0, 2.0], [0.0, 127.0]])
    net = build(np.ones((2, 1, 3, 3)), fc=fc, fc_bias=[1.0, -2.0, 0.0])
    layer = quantize(net).layers[-1]
    assert vector(layer.weight)[:, :, 0, 0].tolist() == fc.tolist()
    assert vector(layer.bias).tolist() == [64, -128, 0]  # T * H * W = 64
    assert layer.kernel == (1, 1) and vector(layer.scale).tolist() == [1 / 64] * 3
    builder = NetworkBuilder("flat", 4, InputSpec((2, 3, 2), 4))
    flat = np.arange(24.0).reshape(2, 12)
    builder.readout("input", flat, [1.0, 0.0], pool="none")
    layer = quantize(builder.build(), scale="unit").layers[-1]
    assert layer.kernel == (3, 2) and vector(layer.weight).shape == (2, 2, 3, 2)
    assert vector(layer.weight).ravel().tolist() == flat.ravel().tolist()
    assert vector(layer.bias).tolist() == [4, 0]


def test_report() -> None:
    rng = np.random.default_rng(4)
    weight, fc = rng.normal(size=(3, 1, 3, 3)), rng.normal(size=(2, 3))
    net = build(weight, neuron=Neuron("lif", tau=2.0, reset="soft"), scale=0.25, fc=fc)
    made = quantize(net)
    conv, out = report(net, made)
    unit = np.abs(weight).max(axis=(1, 2, 3)).max() / 127
    assert 0 < conv.weight_error <= unit / 2 * 1.000001
    assert 0 < conv.threshold_error <= vector(first(made).scale).max()
    assert conv.soft_reset_error == conv.threshold_error
    assert 0 < out.weight_error <= np.abs(fc).max() / 254 * 1.000001
    assert "weight error" in str(conv)
    exact = build(np.full((1, 1, 3, 3), 2.0), neuron=Neuron(threshold=5))
    rows = report(exact, quantize(exact, scale="unit"))
    assert [(row.weight_error, row.threshold_error) for row in rows] == [(0, 0), (0, 0)]
    with pytest.raises(NetworkError, match="quantised from this network"):
        report(net, quantize(exact))


BAD = ({"weight_bits": 1}, {"scale": "min"}, {"max_sum": 0}, {"max_threshold": 0}, {"max_stream": 0})


@pytest.mark.parametrize("options", [*BAD, {"leak": "linear"}, {"leak_bits": 0}, {"leak_bits": 16}])
def test_bad_options_are_refused(options) -> None:
    with pytest.raises(NetworkError, match=next(iter(options))):
        quantize(build(np.ones((1, 1, 3, 3))), **options)


def test_zero_network_quantises() -> None:
    made = quantize(build(np.zeros((2, 1, 3, 3)), fc=np.zeros((2, 2)), fc_bias=[0.0, 0.5]))
    assert golden.run(made, np.zeros((1, 1, 4, 4), int)).predictions.tolist() == [1]
    assert math.isfinite(float(vector(made.layers[-1].scale)[0]))
