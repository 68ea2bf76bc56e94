"""What calibration measures, and what the quantiser makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import calibration, floatmodel, golden
from refmodel.agreement import measure_agreement
from refmodel.bounds import network_bounds
from refmodel.calibration import calibrate
from refmodel.errors import DataError, NetworkError
from refmodel.network import ConvLayer
from refmodel.quantize import quantize
from refmodel.quantize_layers import fold_neuron
from tests.attention_networks import syna_network
from tests.float_networks import random_float_network, random_frames


@pytest.mark.parametrize("seed", range(8))
def test_ranges_are_those_of_the_integers_where_nothing_is_rounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=True)
    x = random_frames(rng, net, 5)
    found = calibrate(net, x)
    qnet = quantize(net, 16, scale="unit")
    whole, real = golden.run(qnet, x, keep=True), floatmodel.run(net, x, keep=True)
    bounds = network_bounds(qnet)
    assert found.samples == 5 and found.name == "random"
    for layer in net.layers:
        if not isinstance(layer, ConvLayer):
            continue
        low, high = found.sums[layer.name]
        assert (low >= bounds[layer.name].input_low - 1e-6).all() and (
            high <= bounds[layer.name].input_high + 1e-6
        ).all()
        if layer.keeps_stream:
            stream = whole.streams[layer.name]
            assert low == pytest.approx(stream.min(axis=(0, 1, 3, 4))) and high == pytest.approx(
                stream.max(axis=(0, 1, 3, 4))
            )
            power = (stream.astype(float) ** 2).mean(axis=(0, 1, 3, 4))
            assert found.streams[layer.name] == pytest.approx(power)
        if layer.neuron is not None and layer.neuron.v_reset == 0:
            gain = fold_neuron(layer.neuron)[1]
            membrane = whole.membranes[layer.name] / gain
            low, high = found.membranes[layer.name]
            assert low == pytest.approx(membrane.min(axis=(0, 1, 3, 4)), abs=8)
            assert high == pytest.approx(membrane.max(axis=(0, 1, 3, 4)), abs=8)
    for name, values in real.tensors.items():
        assert found.mean[name] == pytest.approx(values.mean(axis=(0, 1, 3, 4)))
        assert found.power[name] == pytest.approx((values**2).mean(axis=(0, 1, 3, 4)))


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    net = random_float_network(rng, exact=False)
    x = random_frames(rng, net, 5)
    whole = calibrate(net, x)
    monkeypatch.setattr(calibration, "batch_images", lambda tensors, steps: 2)
    shares: list[float] = []
    parts = calibrate(net, x, progress=shares.append)
    assert shares == [0.0, 0.4, 0.8]
    for name in whole.power:
        assert parts.power[name] == pytest.approx(whole.power[name]) and parts.mean[name] == pytest.approx(
            whole.mean[name]
        )
    for name, (low, high) in whole.sums.items():
        assert np.allclose(parts.sums[name], (low, high))


def test_biases_give_back_what_weights_lose() -> None:
    """With calibration the mean of each sum is nearer to the float one."""
    rng = np.random.default_rng(0)
    off = {"plain": 0.0, "calibrated": 0.0}
    for _ in range(6):
        net = random_float_network(rng, exact=False)
        x = random_frames(rng, net, 16)
        found = calibrate(net, x)
        first = net.layers[0]
        assert isinstance(first, ConvLayer)
        frames = x if not net.input.static else np.repeat(x[:, None], net.steps, axis=1)
        source = frames * net.input.scale
        for name, made in (
            ("plain", quantize(net, 3, allow_leak_error=True)),
            ("calibrated", quantize(net, 3, allow_leak_error=True, calibration=found)),
        ):
            layer = made.layers[0]
            assert layer.weight is not None and layer.bias is not None and layer.scale is not None
            gain = 1.0 if first.neuron is None else fold_neuron(first.neuron)[1]
            unit = layer.scale * gain
            rounded = ConvLayer(
                "a", "input", layer.weight * unit[:, None, None, None] / net.input.scale, layer.bias * unit,
                first.stride, first.padding,
            )  # fmt: skip
            exact = floatmodel._convolve(first, source).mean(axis=(0, 1, 3, 4))
            off[name] += float(
                (np.abs(floatmodel._convolve(rounded, source).mean(axis=(0, 1, 3, 4)) - exact) / unit).sum()
            )
    assert off["calibrated"] < 0.6 * off["plain"]


@pytest.mark.parametrize("seed", range(10))
def test_limits_hold_with_calibration(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    net = random_float_network(rng, exact=False)
    found = calibrate(net, random_frames(rng, net, 4))
    made = quantize(net, 4, calibration=found, clip="mse", max_sum=20000, max_stream=10**7, allow_leak_error=True)
    for name, bound in network_bounds(made).items():
        layer = next(layer for layer in made.layers if layer.name == name)
        if layer.weight is not None:
            assert max(bound.sum_high.max(), -bound.sum_low.min()) <= 20000
            assert layer.bias is None or np.abs(layer.bias).max() <= 20000
        if layer.keeps_stream:
            assert max(bound.input_high.max(), -bound.input_low.min()) <= 10**7
    golden.run(made, random_frames(rng, net, 2))


def test_other_networks_and_no_inputs_are_refused() -> None:
    rng = np.random.default_rng(1)
    net, other = random_float_network(rng, exact=False), random_float_network(rng, exact=False, layers=4)
    x = random_frames(rng, net, 2)
    with pytest.raises(DataError, match="nothing to calibrate on"):
        calibrate(net, x[:0])
    with pytest.raises(NetworkError, match="the calibration was measured on 'random'"):
        quantize(other, calibration=calibrate(net, x), allow_leak_error=True)


def test_networks_with_attention_are_measured_too() -> None:
    net = syna_network(3)
    rng = np.random.default_rng(2)
    x = random_frames(rng, net, 3)
    found = calibrate(net, x)
    gated = {layer.name for layer in net.layers if isinstance(layer, ConvLayer) and layer.attention is not None}
    assert gated and not gated & set(found.membranes) and gated <= set(found.sums)
    made = quantize(net, 6, calibration=found, clip="mse")
    agreement = measure_agreement(net, made, x)
    assert gated <= {layer.name for layer in agreement.layers}
    assert all(0 <= layer.agreement <= 1 for layer in agreement.layers)
