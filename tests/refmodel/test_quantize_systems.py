"""Quantising streams, pools, MLF units and signed inputs: exactness, shared scales, proven bits, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import floatmodel, golden
from refmodel.bounds import bits_needed, network_bounds
from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, Neuron, PoolLayer, StreamLayer
from refmodel.quantize import quantize, report
from refmodel.quantized import QuantizedLayer, QuantizedNetwork
from tests.float_networks import random_float_network, random_frames

MS = Neuron("lif", 0.5, 4 / 3, False, fire="gt")
SEEDS = st.integers(0, 2**32 - 1)


def array(value) -> np.ndarray:
    assert value is not None
    return np.asarray(value)


def by_name(net: QuantizedNetwork) -> dict[str, QuantizedLayer]:
    return {layer.name: layer for layer in net.layers}


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_integer_networks_quantise_exactly(seed: int, multiply: bool) -> None:
    """Float spikes, counts and streams of an integer-valued network equal the golden model's."""
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=True)
    options = {"leak": "multiply", "leak_bits": 2} if multiply else {}
    whole = quantize(net, 16, scale="unit", max_threshold=1 << 40, **options)  # type: ignore[arg-type]
    images = random_frames(rng, net, 3)
    real, exact = floatmodel.run(net, images, keep=True), golden.run(whole, images, keep=True)
    layers = {layer.name: layer for layer in net.layers}
    for name, tensor in real.tensors.items():
        layer = layers.get(name)
        terms = layer.kernel[0] * layer.kernel[1] if isinstance(layer, PoolLayer) and layer.kind == "average" else 1
        np.testing.assert_array_equal(tensor * terms, exact.tensors[name], err_msg=f"tensor {name}")
    assert set(real.streams) == set(exact.streams)
    for name, stream in real.streams.items():
        np.testing.assert_array_equal(stream, exact.streams[name], err_msg=f"stream {name}")
    scale = array(whole.layers[-1].scale)
    np.testing.assert_allclose(exact.results * scale, real.logits, rtol=1e-9, atol=1e-9)


def ms_network(rng: np.random.Generator, blocks: int = 3, max_bits: int | None = None) -> Network:
    """A small MS-ResNet with one projection."""
    builder = NetworkBuilder("ms", 4, InputSpec((2, 8, 8), 4, scale=1 / 16), neuron=MS, family="MS")

    def synapses(outputs: int, inputs: int, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
        spread = (inputs * size * size) ** -0.5
        return rng.normal(0, 2 * spread, (outputs, inputs, size, size)), rng.normal(0, 0.2, outputs)

    x = builder.conv("input", *synapses(6, 2), keeps_stream=True, name="stem")
    for _ in range(blocks):
        x = builder.ms_block(x, *synapses(6, 6), *synapses(6, 6))
    if max_bits is None:
        x = builder.ms_block(x, *synapses(8, 6), *synapses(8, 8), stride=2, projection=synapses(8, 6, 1), name="down")
    else:
        builder.stream(x, max_bits, name="down.stream")
        builder.conv("down.stream", *synapses(8, 6, 1), stride=2, neurons=False, name="down.projection")
        y = builder.conv(x, *synapses(8, 6), stride=2)
        x = builder.conv(y, *synapses(8, 8), stream="down.projection", keeps_stream=True, name="down.conv2")
    x = builder.ms_block(x, *synapses(8, 8), *synapses(8, 8), name="last")
    builder.readout(x, rng.normal(size=(5, 8)))
    return builder.build()


def test_layers_joined_by_a_stream_share_the_largest_scale() -> None:
    net = ms_network(np.random.default_rng(0))
    whole = quantize(net, 8)
    made = by_name(whole)
    first = ["stem", "block1.conv2", "block2.conv2", "block3.conv2"]
    second = ["down.projection", "down.conv2", "last.conv2"]
    for group in (first, second):
        units = [array(made[name].scale) for name in group]
        assert all((unit == units[0]).all() for unit in units)
        # each unit is what the neediest layer's largest weight demands
        peaks = [np.abs(array(made[name].weight)).max(axis=(1, 2, 3)) for name in group]
        assert (np.max(peaks, axis=0) == 127).all() and (np.min(peaks) < 127)
    assert (array(made["block1.conv1"].scale) != array(made["stem"].scale)).any()
    assert made["down.projection"].threshold is None and made["down.projection"].keeps_stream
    assert [made[name].stream for name in (*first, *second)] == [
        None, "stem", "block1.conv2", "block2.conv2", None, "down.projection", "down.conv2"
    ]  # fmt: skip
    # the projection's weights are on the scale of the stream they read
    layer = next(layer for layer in net.layers if layer.name == "down.projection")
    assert isinstance(layer, ConvLayer)
    second_unit = array(made["down.projection"].scale)
    ratio = second_unit[:, None] / (array(made["stem"].scale) * 2 ** made["down.stream"].shift)
    real = array(made["down.projection"].weight)[:, :, 0, 0] * ratio
    assert (np.abs(real - layer.weight[:, :, 0, 0]) <= ratio / 2 * 1.0001).all()
    assert np.abs(array(made["down.projection"].weight)).max() > 16, "shifting leaves the projection its bits"
    row = next(row for row in report(net, whole) if row.name == "down.projection")
    assert row.weight_error == pytest.approx(np.abs(real - layer.weight[:, :, 0, 0]).max())


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_stream_bits_are_those_of_the_proof(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=False)
    made = quantize(net, int(rng.integers(4, 9)), leak="multiply")
    bounds = network_bounds(made)
    layers = {layer.name: layer for layer in net.layers}
    shifts: list[int] = []
    for layer in made.layers:
        if layer.kind == "stream":
            needed = max(2, bits_needed(bounds[layer.source].input_low, bounds[layer.source].input_high))
            source = layers[layer.name]
            assert isinstance(source, StreamLayer)
            assert layer.bits + layer.shift == needed
            assert layer.bits == min(needed, source.max_bits) if source.max_bits else layer.bits >= 2
            shifts.append(layer.shift)
    # the golden model refuses a value that leaves its bits
    golden.run(made, random_frames(rng, net, 3))


def streams_error(net: Network, made: QuantizedNetwork, name: str, images: np.ndarray) -> tuple[float, float]:
    """Mean and largest |stream - scale * integer stream| of a layer whose inputs are those of the float network."""
    real, whole = floatmodel.run(net, images, keep=True), golden.run(made, images, keep=True)
    unit = array(by_name(made)[name].scale)
    difference = np.abs(real.streams[name] - whole.streams[name] * unit[:, None, None])
    return float(difference.mean()), float(np.abs(real.streams[name]).mean())


def test_streams_follow_the_float_network() -> None:
    """A network with a projection comes closer with each bit; random networks are chaotic, so over one block."""
    rng = np.random.default_rng(5)
    net = ms_network(rng, blocks=1)
    images = rng.integers(0, 16, (16, 2, 8, 8))
    real = floatmodel.run(net, images)
    for bits, allowed in ((8, 0.15), (12, 0.05), (16, 0.01)):
        made = quantize(net, bits)
        error, size = streams_error(net, made, "down.projection", images)
        results = golden.run(made, images).results * array(made.layers[-1].scale)
        assert error < allowed * size
        assert np.abs(results - real.logits).mean() < allowed * real.logits.std()


def test_dropped_bits_are_given_back_on_average() -> None:
    """max_bits shifts the stream; its readers' biases hold the mean of what that drops, but not behind padding."""
    rng = np.random.default_rng(6)
    net = ms_network(rng, max_bits=8)
    short = by_name(quantize(net, 12))
    stream = short["down.stream"]
    assert stream.bits == 8 and stream.shift > 3
    unit = array(short["stem"].scale)
    layer = next(layer for layer in net.layers if layer.name == "down.projection")
    assert isinstance(layer, ConvLayer) and layer.bias is not None
    lost = layer.weight[:, :, 0, 0] @ unit * ((1 << stream.shift) - 1) / 2
    made = short["down.projection"]
    np.testing.assert_allclose(
        array(made.bias) * array(made.scale), layer.bias + lost, atol=float(array(made.scale).max())
    )
    # and that is nearer to the float stream than without
    images = rng.integers(0, 16, (16, 2, 8, 8))
    real = floatmodel.run(net, images, keep=True).streams["down.projection"]
    whole = golden.run(quantize(net, 12), images, keep=True).streams["down.projection"]
    difference = (whole * array(made.scale)[:, None, None] - real).mean(axis=(0, 1, 3, 4))
    assert np.abs(difference).mean() < 0.3 * np.abs(lost).mean()


def test_unit_scale_leaves_streams_alone() -> None:
    builder = NetworkBuilder("unit", 2, InputSpec((1, 4, 4), 3))
    builder.conv("input", np.full((1, 1, 1, 1), 3.0), [1.0], keeps_stream=True, name="a")
    builder.stream("a", 3, name="s")
    builder.conv("s", np.full((1, 1, 1, 1), 5.0), name="b")
    builder.readout("b", np.ones((2, 1)))
    made = by_name(quantize(builder.build(), scale="unit"))
    # 1 to 22: 6 bits, of which 3 are dropped; the weight makes up for them
    assert (made["s"].bits, made["s"].shift) == (3, 3)
    assert array(made["b"].weight).item() == 40 and array(made["b"].bias).item() == 0


def test_pools_and_their_readers() -> None:
    builder = NetworkBuilder("pools", 2, InputSpec((1, 4, 4), 3, scale=0.5), neuron=Neuron(levels=(2.0,)))
    builder.conv("input", np.ones((1, 1, 1, 1)), name="a")
    for make, name in ((builder.maxpool, "max"), (builder.sumpool, "sum"), (builder.avgpool, "mean")):
        make("a", 2, name=name)
        builder.conv(name, np.full((1, 1, 1, 1), 0.5), name=f"{name}.conv")
    builder.avgpool("input", 2, name="image")
    builder.conv("image", np.full((1, 1, 1, 1), 0.5), name="image.conv")
    builder.readout("mean", np.ones((2, 1)), [1.0, 2.0])
    net = builder.build()
    made = by_name(quantize(net))
    assert [made[name].kind for name in ("max", "sum", "mean", "image")] == ["maxpool"] + ["sumpool"] * 3
    unit = 0.5 / 127
    for name, factor in (("max", 1), ("sum", 1), ("mean", 1 / 4), ("image", 1 / 8)):
        layer = made[f"{name}.conv"]
        assert array(layer.scale).item() == pytest.approx(unit * factor)
        assert array(layer.threshold).item() == np.ceil(1 / (unit * factor))
    assert array(made["readout"].scale)[0] == pytest.approx(1 / 127 / 4 / (2 * 4))
    assert max(row.weight_error for row in report(net, quantize(net))) < 1e-12


def test_mlf_levels_are_rounded_like_the_threshold() -> None:
    neuron = Neuron("lif", 0.6, 4 / 3, False, fire="gt", levels=(1.6, 2.6))
    builder = NetworkBuilder("mlf", 2, InputSpec((1, 4, 4), 3, signed=True), neuron=neuron)
    weight = np.array([1.27, 2.54]).reshape(2, 1, 1, 1)
    builder.conv("input", weight, name="a")
    builder.conv("a", np.ones((1, 2, 1, 1)), neuron=Neuron("lif", 1.0, 4.0, levels=(1.9,)), name="b")
    builder.readout("b", np.ones((2, 1)))
    net = builder.build()
    made = quantize(net)
    layer = made.layers[0]
    assert made.input.signed
    assert array(layer.threshold).tolist() == [61, 31]
    assert array(layer.levels).tolist() == [[161, 81], [261, 131]]
    # decay_input scales every level by tau: units of 1/127
    assert array(made.layers[1].threshold).tolist() == [508]
    assert array(made.layers[1].levels).tolist() == [[int(np.ceil(1.9 * 4 * 127))]]
    assert report(net, made)[0].threshold_error == pytest.approx(0.02)


def projected(rng: np.random.Generator, channels: int, max_bits: int | None) -> Network:
    """A stream of two layers that read the input itself, and its projection onto another stream."""

    def synapses(outputs: int, inputs: int, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(0, 2 / (inputs * size**2) ** 0.5, (outputs, inputs, size, size)), rng.normal(0, 0.2, outputs)

    builder = NetworkBuilder("p", 4, InputSpec((channels, 8, 8), 1, static=False), neuron=MS)
    builder.conv("input", *synapses(channels, channels), keeps_stream=True, name="a")
    builder.conv("input", *synapses(channels, channels), keeps_stream=True, stream="a", name="b")
    y = builder.conv("input", *synapses(channels, channels), stride=2)
    builder.stream("b", max_bits, name="s")
    builder.conv("s", *synapses(channels, channels, 1), stride=2, neurons=False, name="projection")
    x = builder.conv(y, *synapses(channels, channels), stream="projection", keeps_stream=True)
    builder.readout(x, np.ones((2, channels)))
    return builder.build()


@pytest.mark.parametrize("weight_bits", [4, 8])
@pytest.mark.parametrize("channels", [4, 24])
def test_the_chosen_shift_is_near_the_best(weight_bits: int, channels: int) -> None:
    """No number of bits gives a much better projection than the chosen one, and all bits a much worse."""
    images = (np.random.default_rng(1).random((8, 4, channels, 8, 8)) < 0.2).astype(int)

    def error(max_bits: int | None) -> tuple[float, int]:
        net = projected(np.random.default_rng(2), channels, max_bits)
        made = quantize(net, weight_bits)
        stream = by_name(made)["s"]
        assert max_bits is None or stream.bits <= max_bits
        return streams_error(net, made, "projection", images)[0], stream.bits + stream.shift

    chosen, full = error(None)
    others = [error(bits)[0] for bits in range(4, full + 1)]
    assert chosen <= 1.4 * min(others)
    assert others[-1] > (1.2 if weight_bits == 4 else 6) * chosen


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from([4000, 60000]), st.sampled_from([4000, 60000]))
def test_limits_hold_with_shared_scales(seed: int, max_sum: int, max_stream: int) -> None:
    net = ms_network(np.random.default_rng(seed), blocks=1)
    made = quantize(net, 6, max_sum=max_sum, max_stream=max_stream)
    bounds = network_bounds(made)
    for layer in made.layers:
        if layer.kind == "stream":
            continue
        sums = bounds[layer.name]
        assert max(int(sums.sum_high.max()), -int(sums.sum_low.min())) <= max_sum
        assert np.abs(array(layer.bias)).max() <= max_sum
        if layer.keeps_stream:
            assert max(int(sums.input_high.max()), -int(sums.input_low.min())) <= max_stream
    rescaled = made.meta["rescaled"]
    assert isinstance(rescaled, dict)
    shared = [rescaled.get(name) for name in ("down.projection", "down.conv2", "last.conv2")]
    assert shared[0] == shared[1] == shared[2]
    free = network_bounds(quantize(net, 6))["last.conv2"]
    if np.maximum(free.input_high, -free.input_low).max() > 1.5 * max_stream:
        assert shared[0] and all(factor > 1 for factor in shared[0].values())


def test_limits_are_not_exceeded_by_much() -> None:
    """max_stream costs what it must: every channel's worst stream is near it."""
    net = ms_network(np.random.default_rng(3), blocks=1)

    def largest(made: QuantizedNetwork) -> np.ndarray:
        bounds = network_bounds(made)["last.conv2"]
        return np.maximum(bounds.input_high, -bounds.input_low)

    assert (largest(quantize(net, 8)) > 12000).all()
    reach = largest(quantize(net, 8, max_stream=10000))
    assert (reach <= 10000).all() and (reach >= 9000).all()
    with pytest.raises(NetworkError, match="max_stream=9 leaves channel 0 no weights"):
        quantize(net, 8, max_stream=9)


def test_unit_scale_refuses_too_large_streams() -> None:
    builder = NetworkBuilder("unit", 2, InputSpec((1, 4, 4), 3))
    builder.conv("input", np.full((1, 1, 1, 1), 3.0), keeps_stream=True, name="a")
    builder.conv("a", np.full((1, 1, 1, 1), 3.0), stream="a", name="b")
    builder.readout("b", np.ones((2, 1)))
    net = builder.build()
    assert quantize(net, scale="unit", max_stream=21)
    with pytest.raises(NetworkError, match="'a', 'b': channel 0 exceeds max_stream=20"):
        quantize(net, scale="unit", max_stream=20)


def test_a_scale_that_depends_on_itself_is_refused() -> None:
    builder = NetworkBuilder("loop", 2, InputSpec((1, 4, 4), 3))
    builder.conv("input", np.ones((1, 1, 1, 1)), keeps_stream=True, name="a")
    builder.stream("a", name="s")
    builder.conv("s", np.ones((1, 1, 1, 1)), stream="a", name="b")
    builder.readout("b", np.ones((2, 1)))
    with pytest.raises(NetworkError, match="layer 'a': its scale depends on itself.*'b'"):
        quantize(builder.build())


def test_streams_wider_than_any_tensor_are_refused() -> None:
    builder = NetworkBuilder("wide", 2, InputSpec((1, 4, 4), 16))
    builder.conv("input", np.ones((1, 1, 1, 1)), neuron=Neuron(threshold=1e9), keeps_stream=True, name="a")
    builder.stream("a", name="narrow")
    builder.conv("narrow", np.ones((1, 1, 1, 1)), neuron=Neuron(threshold=1e9), keeps_stream=True, name="b")
    builder.stream("b", name="s")
    builder.readout("s", np.ones((2, 1)))
    with pytest.raises(NetworkError, match="layer 's': the stream of 'b' needs .. bits.*max_bits"):
        quantize(builder.build(), 16, max_threshold=1 << 60)
