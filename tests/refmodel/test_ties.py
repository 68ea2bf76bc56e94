"""Biases and currents at a threshold keep their side of it in integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import bundled, floatmodel, golden
from refmodel.builder import NetworkBuilder
from refmodel.network import ConvLayer, InputSpec, Network, Neuron, ReadoutLayer
from refmodel.quantize import quantize, report
from refmodel.quantized import QuantizedLayer

CHANNELS = 6


def shortcut_network(neuron: Neuron, current: float | None, bias, seed: int, size: float = 1.0) -> Network:
    """One layer ``b`` whose shortcut is the input's only channel, spread over all of its channels by ``a``."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)) * size
    layers = (
        ConvLayer("a", "input", np.ones((CHANNELS, 1, 1, 1)), neuron=Neuron("step")),
        ConvLayer("silent", "input", -np.ones((CHANNELS, 1, 1, 1)), neuron=Neuron("step")),
        ConvLayer("b", "silent", weight, np.asarray(bias), padding=(1, 1), neuron=neuron,
                  shortcut=None if current is None else "a", current=current),
        ReadoutLayer("out", "b", np.ones((2, CHANNELS))),
    )  # fmt: skip
    return Network("net", 3, InputSpec((1, 3, 3), 1), layers)


def layer_b(net: Network, bits: int, **options) -> QuantizedLayer:
    return next(layer for layer in quantize(net, bits, **options).layers if layer.name == "b")


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 8),
    st.sampled_from(["ge", "gt"]),
    st.sampled_from([1.0, 0.5, 1.3, 1.0 + 1e-12, 1.0 + 1e-6, 1.0 - 1e-6, 0.999, 1.001, -1.0]),
    st.sampled_from([None, 100, 5000]),
)
def test_a_lone_shortcut_spike_fires_as_in_floats(seed: int, bits: int, fire, current: float, max_sum) -> None:
    rng = np.random.default_rng(seed)
    bias = rng.choice([0.0, 0.0, 0.1, -0.1, 0.5, 1.0 - current, 1e-5, -1e-5], CHANNELS)
    # weights so small that a unit is far below what max_sum leaves room for, or as large as the threshold
    net = shortcut_network(Neuron(threshold=1.0, fire=fire), current, bias, seed, float(rng.choice([0.05, 1.0])))
    made = layer_b(net, bits, max_sum=max_sum)
    assert made.bias is not None and made.current is not None and made.threshold is not None
    total = bias + current
    tie = np.abs(total - 1) <= 1e-9
    expected = (total > 1) & ~tie if fire == "gt" else (total > 1) | tie
    assert (made.bias + made.current >= made.threshold).tolist() == expected.tolist()
    assert made.scale is not None
    assert (np.abs(made.current - current / made.scale) < 2).all()
    if max_sum is not None:
        for values in (made.bias, made.current, made.bias + made.current):
            assert np.abs(values).max() <= max_sum


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize(
    "neuron",
    [Neuron(), Neuron(fire="gt"), Neuron("lif", tau=2.0), Neuron("lif", tau=2.0, decay_input=False), Neuron("step")],
)
def test_spikes_of_lone_shortcuts_are_the_float_ones(neuron: Neuron, bits: int) -> None:
    """Without other events all T steps agree: for LIF with decaying input the tie is at current = tau."""
    current = neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    net = shortcut_network(neuron, current, np.zeros(CHANNELS), 3, 0.2)
    x = np.ones((1, 1, 3, 3), int)
    real = floatmodel.run(net, x, keep=True).spikes["b"]
    whole = golden.run(quantize(net, bits), x, keep=True).tensors["b"]
    assert np.array_equal(real, whole)
    assert real[0, 0].all() == (neuron.fire == "ge")


@pytest.mark.parametrize("fire", ["ge", "gt"])
def test_a_bias_at_the_threshold_keeps_to_it(fire) -> None:
    bias = np.array([1.0, 0.6, 1.0 + 1e-12, 0.0, 2.0, -1.0])
    net = shortcut_network(Neuron(threshold=1.0, fire=fire), None, bias, 5)
    made = layer_b(net, 4)
    assert made.bias is not None and made.threshold is not None
    assert (made.bias >= made.threshold)[[0, 2]].tolist() == [fire == "ge"] * 2
    assert {row.name: row.ties for row in report(net, quantize(net, 4))} == {"a": 0, "silent": 0, "b": 2, "out": 0}


def test_each_level_of_a_unit_keeps_its_order() -> None:
    neuron = Neuron(threshold=0.6, levels=(0.9, 1.0, 1.6))
    bias = np.array([0.0, 0.3, -0.1, 0.6, 1.0, -0.4])
    net = shortcut_network(neuron, 1.0, bias, 7, 0.2)
    made = layer_b(net, 4)
    assert made.bias is not None and made.current is not None and made.threshold is not None and made.levels is not None
    thresholds = np.vstack([made.threshold[None], made.levels])
    expected = bias + 1.0 >= np.array(neuron.thresholds)[:, None] - 1e-12
    assert ((made.bias + made.current) >= thresholds).tolist() == expected.tolist()


def test_what_does_not_tie_is_rounded_to_nearest() -> None:
    net = bundled.load_network("digits-sew-add-8")
    assert not any(row.ties for row in report(net, quantize(net)))
    made = quantize(net).layers[1]
    conv = net.layers[1]
    assert isinstance(conv, ConvLayer) and conv.bias is not None and made.bias is not None and made.scale is not None
    assert np.array_equal(made.bias, np.round(conv.bias / made.scale))


def test_shortcut_currents_of_spiking_resnet() -> None:
    """Blocks whose current is 1.0 against a threshold of 1.0: a lone shortcut spike passes every block."""
    rng = np.random.default_rng(2)
    builder = NetworkBuilder("spiking", 2, InputSpec((1, 4, 4), 1), neuron=Neuron(), family="SPIKING")
    x = builder.conv("input", np.ones((4, 1, 1, 1)))
    for _ in range(3):
        w1, w2 = -np.abs(rng.normal(size=(2, 4, 4, 3, 3)))
        x = builder.spiking_resnet_block(x, w1, np.zeros(4), w2, np.zeros(4), current=1.0)
    builder.readout(x, rng.normal(size=(3, 4)))
    net = builder.build()
    image = np.ones((1, 1, 4, 4), int)
    for bits in (4, 8):
        whole = golden.run(quantize(net, bits), image, keep=True)
        assert whole.tensors[x].all()
