"""Float networks with SynA attention: by hand, quantised, lowered and compiled."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import floatmodel, golden
from refmodel.attention import GATE_ONE, Attention, gates, integer_gates, lif_gates, scores
from refmodel.bounds import network_bounds
from refmodel.builder import NetworkBuilder
from refmodel.compiler import compile_network
from refmodel.errors import NetworkError
from refmodel.frozen_gates import fold_gate, frozen_gate
from refmodel.lowering import lower
from refmodel.network import ConvLayer, GateLayer, InputSpec, Network, Neuron
from refmodel.quantize import quantize, report
from refmodel.quantized import QuantizedLayer, QuantizedNetwork
from tests.attention_networks import images, syna_network
from tests.sim.shapes import SHAPES

ONE = np.ones((1, 1, 1, 1))
CASES = [(seed, axis) for seed in (3, 9) for axis in ("time", "channel")]


def array(value) -> np.ndarray:
    assert value is not None
    return np.asarray(value)


def by_name(net: QuantizedNetwork) -> dict[str, QuantizedLayer]:
    return {layer.name: layer for layer in net.layers}


def gated_layers(net: Network) -> dict[str, Attention]:
    """The attentions of ``net`` by layer."""
    return {
        layer.name: layer.attention
        for layer in net.layers
        if isinstance(layer, ConvLayer | GateLayer) and layer.attention is not None
    }


def test_a_gated_layer_by_hand() -> None:
    """T = 2, one channel of two pixels, X = input - 0.5: (0.5, 3.5), then (1.5, -0.5)."""
    builder = NetworkBuilder("hand", 2, InputSpec((1, 1, 2), 3, static=False))
    attention = Attention("time", np.array([[1.0, 0.5]]), np.array([[0.2], [-0.1]]))
    builder.conv("input", ONE, [-0.5], attention=attention, name="a")
    builder.conv("input", ONE, [-0.5], name="plain")
    builder.readout("a", np.ones((1, 1)))
    x = np.array([1, 4, 2, 0]).reshape(1, 2, 1, 1, 2)
    result = floatmodel.run(builder.build(), x, keep=True)
    # means 2 and 0.5, maxima 3.5 and 1.5: hidden (2 + 0.25) + (3.5 + 0.75) = 6.5, scores 1.3 and -0.65
    first, second = 1 / (1 + exp(-1.3)), 1 / (1 + exp(0.65))
    np.testing.assert_allclose(result.gates["a"], [[first, second]])
    # H = 0.5 * 0.786 = 0.393 and 2.75; then 0.393 + 1.5 * 0.343 = 0.907, and relu(-0.17) = 0
    assert result.spikes["a"].ravel().tolist() == [0, 1, 0, 0]
    assert result.spikes["plain"].ravel().tolist() == [0, 1, 1, 0]


def test_gates_of_a_channel_and_of_spikes_by_hand() -> None:
    """Two channels: the first spikes at both steps, the second at one; the score is what they spike."""
    builder = NetworkBuilder("hand", 2, InputSpec((2, 1, 1), 1, static=False))
    builder.gate("input", Attention("channel", np.eye(2), np.eye(2), Neuron(threshold=1.6)), name="channel")
    builder.gate("input", Attention("time", np.eye(2), np.eye(2), Neuron("lif", threshold=0.9)), name="time")
    builder.readout("time", np.ones((1, 2)))
    x = np.array([1, 0, 1, 1]).reshape(1, 2, 2, 1, 1)
    result = floatmodel.run(builder.build(), x, keep=True)
    # channels: mean + maximum 2 and 1.5
    assert result.gates["channel"].tolist() == [[1, 0]]
    assert result.tensors["channel"].ravel().tolist() == [1, 0, 1, 0]
    # steps: 1.5 and 2; H = 0.75, then 0.375 + 1
    assert result.gates["time"].tolist() == [[0, 1]]
    assert result.tensors["time"].ravel().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("seed", "axis"), CASES)
def test_integer_gates_are_the_float_ones_within_their_error(seed: int, axis) -> None:
    """On the integer network's own X, in the units of its scale, every gate is as good as ``attention_error`` says."""
    net = syna_network(seed, axis)
    made = quantize(net)
    x = images(np.random.default_rng(seed), 8)
    result = golden.run(lower(made), x, keep=True)
    errors = made.meta["attention_error"]
    attentions = gated_layers(net)
    assert isinstance(errors, dict) and list(errors) == list(attentions)
    bounds = network_bounds(made)
    for name, attention in attentions.items():
        layer = by_name(made)[name]
        kept = result.streams[f"{name}/score"]
        assert layer.attention is not None and len(np.unique(kept)) > 1
        assert bounds[name].input_low.min() <= kept.min() and kept.max() <= bounds[name].input_high.max()
        whole = integer_gates(kept, layer.attention) / GATE_ONE
        real = kept * _unit(net, layer)
        if attention.neuron is None:
            assert np.abs(whole - gates(real, attention)).max() <= errors[name] < 0.05
            continue
        wanted, margin = lif_gates(scores(real, attention), attention)
        gain = attention.neuron.tau if attention.neuron.kind == "lif" else 1.0
        near = np.abs(margin) * gain <= errors[name]
        undecided = np.logical_or.accumulate(near, axis=1) if attention.axis == "time" else near
        assert ((whole == wanted) | undecided).all()
        assert undecided.mean() < 0.3, "a margin that excuses every gate tests nothing"


def _unit(net: Network, made: QuantizedLayer) -> float:
    """Float X of one integer unit."""
    if made.kind == "window":
        return 1.0
    layer = next(layer for layer in net.layers if layer.name == made.name)
    assert isinstance(layer, ConvLayer) and layer.neuron is not None
    gain = layer.neuron.tau if layer.neuron.kind == "lif" else 1.0
    assert len(np.unique(array(made.scale))) == 1, "one scale for all channels"
    return float(array(made.scale)[0]) * gain


@pytest.mark.parametrize(("seed", "axis"), CASES)
def test_quantised_spikes_and_logits_follow_the_float_network(seed: int, axis) -> None:
    net = syna_network(seed, axis)
    x = images(np.random.default_rng(seed), 16)
    real = floatmodel.run(net, x, keep=True)
    for bits, least in ((8, 0.88), (14, 0.97)):
        made = quantize(net, bits)
        whole = golden.run(made, x, keep=True)
        for name in real.spikes:
            assert 0.01 < (real.tensors[name] != 0).mean() < 0.95, f"{name} tests nothing"
            assert (whole.tensors[name] == real.tensors[name]).mean() > least, name
    error = np.abs(whole.results * array(made.layers[-1].scale) - real.logits).mean()
    assert error < 0.25 * real.logits.std()


@pytest.mark.parametrize("axis", ["time", "channel"])
def test_integer_networks_with_lif_gates_quantise_exactly(axis) -> None:
    """Integer weights at scale "unit": X is the float X, and all else follows from gates that are equal."""
    rng = np.random.default_rng(8)
    size = 3 if axis == "time" else 4
    # one of the sizes is never open
    attention = Attention(axis, np.ones((1, size)), np.arange(size)[:, None], Neuron(threshold=50.0))
    builder = NetworkBuilder("exact", 3, InputSpec((2, 5, 5), 1, static=False), neuron=Neuron(threshold=6.0))

    def weight(outputs: int, inputs: int) -> NDArray[np.float64]:
        return rng.integers(-9, 12, (outputs, inputs, 3, 3)).astype(float)

    kept = builder.conv("input", weight(4, 2), keeps_stream=True, name="kept")
    builder.conv(
        kept, weight(4, 4), rng.integers(-5, 6, 4), shortcut=kept, current=3.0, stream="kept", attention=attention,
        neuron=Neuron(threshold=6.0, levels=(40.0,)), name="a",
    )  # fmt: skip
    builder.conv(
        "a", weight(4, 4), rng.integers(-5, 6, 4), shortcut=kept, combine="iand", attention=attention, name="b"
    )
    builder.readout("b", rng.integers(-5, 6, (3, 4)))
    net = builder.build()
    x = rng.integers(0, 2, (12, 3, 2, 5, 5))
    real = floatmodel.run(net, x, keep=True)
    for made in (quantize(net, scale="unit"), lower(quantize(net, scale="unit"))):
        whole = golden.run(made, x, keep=True)
        for name, tensor in real.tensors.items():
            np.testing.assert_array_equal(whole.tensors[name], tensor, err_msg=name)
    for name in ("a", "b"):
        assert 0 < real.gates[name].mean() < 1 and real.spikes[name].mean() > 0
    assert real.tensors["a"].max() == 2


def test_one_scale_suits_the_largest_weights_of_all_channels() -> None:
    """Also of layers that share it; a channel without weights does not count."""
    attention = Attention("time", np.ones((1, 2)), np.ones((2, 1)))
    builder = NetworkBuilder("scales", 2, InputSpec((1, 4, 4), 1), neuron=Neuron(threshold=100.0))
    weight = np.array([0.5, 2.0, 0.0, 1.0]).reshape(4, 1, 1, 1)
    builder.conv("input", weight, attention=attention, name="a")
    builder.conv("input", weight * 3, keeps_stream=True, name="kept")
    builder.conv("input", weight, stream="kept", attention=attention, name="b")
    builder.conv("input", weight, name="plain")
    builder.readout("a", np.ones((2, 4)))
    made = by_name(quantize(builder.build()))
    for name, unit in (("a", 2 / 127), ("kept", 6 / 127), ("b", 6 / 127)):
        np.testing.assert_allclose(array(made[name].scale), np.full(4, unit))
    assert array(made["a"].weight).ravel().tolist() == [32, 127, 0, 64]
    assert array(made["plain"].weight).ravel().tolist() == [127, 127, 0, 127]


@pytest.mark.parametrize("limit", [{"max_sum": 900}, {"max_stream": 500}, {"max_threshold": 40}])
def test_limits_hold_with_one_scale(limit) -> None:
    """max_stream bounds X, too, since it waits as a stream for its gates."""
    net = syna_network(3)
    made = quantize(net, **limit)
    bounds = network_bounds(made)
    rescaled = made.meta["rescaled"]
    assert isinstance(rescaled, dict)
    for layer in made.layers:
        if layer.kind != "conv" or layer.attention is None:
            continue
        one = bounds[layer.name]
        assert len(set(array(layer.scale).tolist())) == 1
        if "max_sum" in limit:
            assert max(int(one.sum_high.max()), -int(one.sum_low.min())) <= 900
        if "max_stream" in limit:
            assert 400 < max(int(one.input_high.max()), -int(one.input_low.min())) <= 500
        if "max_threshold" in limit:
            assert array(layer.threshold).max() <= 40
        if layer.name in rescaled:
            factors = rescaled[layer.name]
            assert len(factors) == len(array(layer.scale)) and len(set(factors.values())) == 1
    assert "dense" in rescaled


def test_report_and_meta_of_attention() -> None:
    net = syna_network(1)
    made = quantize(net)
    rows = {row.name: row for row in report(net, made)}
    errors = made.meta["attention_error"]
    assert {name: row.attention_error for name, row in rows.items() if row.attention_error is not None} == errors
    assert "attention error" in str(rows["gate"]) and "attention error" not in str(rows["readout"])
    builder = NetworkBuilder("none", 1, InputSpec((1, 1, 1), 1))
    builder.readout(builder.conv("input", ONE), np.ones((1, 1)))
    assert "attention_error" not in quantize(builder.build()).meta


def test_an_attention_that_cannot_be_quantised_is_named() -> None:
    builder = NetworkBuilder("steep", 2, InputSpec((1, 4, 4), 8))
    steep = Attention("time", np.full((1, 2), 300.0), np.full((2, 1), 300.0))
    builder.conv("input", ONE, attention=steep, name="a")
    builder.readout("a", np.ones((2, 1)))
    with pytest.raises(NetworkError, match="layer 'a': attention: .* no precision"):
        quantize(builder.build())


@pytest.mark.parametrize(("seed", "axis"), CASES)
def test_lowered_and_compiled(seed: int, axis) -> None:
    made = quantize(syna_network(seed, axis))
    x = images(np.random.default_rng(seed), 3)
    whole = golden.run(made, x, keep=True)
    lowered = golden.run(lower(made), x, keep=True)
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(lowered.tensors[name], tensor, err_msg=name)
    assert compile_network(made, SHAPES["k2p8all"]).image


def test_frozen_gates_of_the_float_network_fold() -> None:
    """Gates that do not change are folded into the layer, which then needs no attention."""
    builder = NetworkBuilder("frozen", 2, InputSpec((1, 4, 4), 4))
    constant = Attention("channel", np.zeros((1, 2)), np.zeros((2, 1)))
    builder.conv("input", np.array([0.1, -0.2]).reshape(2, 1, 1, 1), [0.0, 2.0], attention=constant, name="a")
    builder.readout("a", np.ones((2, 2)))
    net = builder.build()
    x = np.random.default_rng(0).integers(0, 16, (4, 1, 4, 4))
    real = floatmodel.run(net, x, keep=True)
    layer = net.layers[0]
    assert isinstance(layer, ConvLayer)
    folded = fold_gate(layer, frozen_gate(real.gates["a"], "channel"))
    assert folded.rectify and folded.attention is None
    frozen = floatmodel.run(Network(net.name, net.steps, net.input, (folded, *net.layers[1:])), x, keep=True)
    np.testing.assert_array_equal(frozen.tensors["a"], real.tensors["a"])
    assert 0 < real.tensors["a"].mean() < 1
