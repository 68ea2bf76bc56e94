"""Weights of other widths in other layers, clipped weights, and channels that do nothing."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import bundled, golden, modelfile
from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, Neuron
from refmodel.quantize import quantize, report
from refmodel.quantized import QuantizedLayer, QuantizedNetwork
from refmodel.widths import layer_bits


def blocks(channels: int = 4, streams: bool = False, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder("net", 2, InputSpec((1, 4, 4), 4, scale=1 / 16), neuron=Neuron())
    x = builder.conv("input", rng.normal(size=(channels, 1, 3, 3)), rng.normal(size=channels) / 4, padding=(1, 1),
                     keeps_stream=streams)  # fmt: skip
    for _ in range(2):
        w1, w2 = rng.normal(size=(2, channels, channels, 3, 3)) / 2
        block = builder.ms_block if streams else builder.sew_block
        x = block(x, w1, rng.normal(size=channels) / 4, w2, rng.normal(size=channels) / 4)
    builder.readout(x, rng.normal(size=(3, channels)))
    return builder.build()


def by_name(net: QuantizedNetwork) -> dict[str, QuantizedLayer]:
    return {layer.name: layer for layer in net.layers}


def largest(layer: QuantizedLayer) -> int:
    assert layer.weight is not None
    return int(np.abs(layer.weight).max())


def test_each_layer_has_its_own_bits() -> None:
    net = blocks()
    names = [layer.name for layer in net.layers]
    made = quantize(net, 8, layer_bits={"*.conv1": 4, names[-1]: 6, "block2.conv1": 2})
    wanted = {"conv1": 8, "block1.conv1": 4, "block1.conv2": 8, "block2.conv1": 2, "block2.conv2": 8, names[-1]: 6}
    assert layer_bits(made) == wanted == made.meta["layer_bits"]
    assert made.weight_bits == 8
    assert {name: largest(layer) for name, layer in by_name(made).items()} == {
        name: 2 ** (bits - 1) - 1 for name, bits in wanted.items()
    }
    assert {row.name: row.bits for row in report(net, made)} == wanted
    loaded = modelfile.loads(modelfile.dumps(made))
    assert isinstance(loaded, QuantizedNetwork) and layer_bits(loaded) == wanted
    # what has 8 bits is as in a network of 8 bits
    whole = quantize(net, 8)
    assert "layer_bits" not in whole.meta and set(layer_bits(whole).values()) == {8}
    one, other = by_name(made)["block2.conv2"].weight, by_name(whole)["block2.conv2"].weight
    assert one is not None and other is not None and np.array_equal(one, other)


def test_the_widest_is_the_networks() -> None:
    assert quantize(blocks(), 8, layer_bits={"*": 4}).weight_bits == 4
    assert quantize(blocks(), 4, layer_bits={"block1.conv2": 6}).weight_bits == 6
    assert "layer_bits" not in quantize(blocks(), 8, layer_bits={"*": 4}).meta


def test_a_stream_makes_its_layers_share_the_coarsest_scale() -> None:
    net = blocks(streams=True)
    chain = [layer for layer in net.layers if isinstance(layer, ConvLayer) and (layer.keeps_stream or layer.stream)]
    assert len(chain) == 3
    made = quantize(net, 8, layer_bits={chain[1].name: 3})
    layers = by_name(made)
    scales = [layers[layer.name].scale for layer in chain]
    for layer, scale in zip(chain, scales, strict=True):
        bits = layer_bits(made)[layer.name]
        assert scale is not None and scales[0] is not None and np.array_equal(scale, scales[0])
        assert largest(layers[layer.name]) <= 2 ** (bits - 1) - 1
    factor = net.input.scale
    peaks = [np.abs(layer.weight * (factor if layer.source == "input" else 1)).max(axis=(1, 2, 3)) for layer in chain]
    assert scales[0] == pytest.approx(np.max([peaks[0] / 127, peaks[1] / 3, peaks[2] / 127], axis=0))


def test_bad_bits_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"'block9\*'.*matches no layer with weights; there are conv1, "):
        quantize(blocks(), layer_bits={"block9*": 4})
    for bits in (1, 17):
        with pytest.raises(NetworkError, match=f"conv1.*2 to 16, not {bits}"):
            quantize(blocks(), layer_bits={"conv1": bits})
    with pytest.raises(NetworkError, match="clip must be"):
        quantize(blocks(), clip="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_clipping_never_rounds_worse(bits: int, streams: bool) -> None:
    net = blocks(streams=streams, seed=bits)
    plain, clipped = quantize(net, bits), quantize(net, bits, clip="mse")
    before, after = report(net, plain), report(net, clipped)
    assert not any(row.clipped for row in before)

    def lost(made: QuantizedNetwork) -> float:
        total = 0.0
        for layer in net.layers:
            whole = by_name(made)[layer.name]
            assert isinstance(layer, ConvLayer) or layer is net.layers[-1]
            if isinstance(layer, ConvLayer):
                assert whole.weight is not None and whole.scale is not None
                factor = net.input.scale if layer.source == "input" else 1.0
                total += ((layer.weight * factor - whole.weight * whole.scale[:, None, None, None]) ** 2).sum()
        return total

    assert lost(clipped) <= lost(plain)
    assert all(largest(layer) <= 2 ** (bits - 1) - 1 for layer in clipped.layers if layer.weight is not None)
    if bits == 3:
        assert lost(clipped) < 0.95 * lost(plain) and sum(row.clipped for row in after) > 0


def test_fine_tuned_weights_stay_on_their_grid() -> None:
    net = bundled.load_network("digits-sew-add-8-w4")
    plain, clipped = quantize(net, 4), quantize(net, 4, clip="mse")
    for one, other in zip(plain.layers, clipped.layers, strict=True):
        assert one.weight is not None and other.weight is not None and np.array_equal(one.weight, other.weight)
    for row in report(net, plain):
        assert row.weight_rms < 1e-6 and row.clipped == 0 and row.bits == 4, row


def pruned_channel(weight: float, bias: float) -> Network:
    """A channel whose batch norm learned a factor near 0: next to no weights, a bias that stays."""
    rng = np.random.default_rng(3)
    builder = NetworkBuilder("net", 4, InputSpec((1, 4, 4), 4))
    kernel = rng.normal(size=(3, 1, 3, 3))
    kernel[1] *= weight / np.abs(kernel[1]).max()
    x = builder.conv("input", kernel, np.array([0.0, bias, -1e6]), name="a")
    builder.readout(x, rng.normal(size=(2, 3)))
    return builder.build()


@pytest.mark.parametrize("weight", [0.0, 1e-7, 1e-12])
@pytest.mark.parametrize("bias", [0.3, 0.99, 1.0, 1.5])
def test_channels_without_effect_are_no_error(weight: float, bias: float) -> None:
    net = pruned_channel(weight, bias)
    made = quantize(net, max_sum=127 * 9 * 15)
    layer = made.layers[0]
    assert layer.weight is not None and layer.bias is not None and layer.threshold is not None
    assert (layer.weight[1] == 0).all()
    assert layer.bias[1] / layer.threshold[1] == pytest.approx(bias, abs=1e-3)
    assert (layer.bias[1] >= layer.threshold[1]) == (bias >= 1)
    row = report(net, made)[0]
    assert row.dead == (1, 2) and "dead channels 1, 2" in str(row)
    spikes = golden.run(made, np.full((1, 1, 4, 4), 9), keep=True).tensors["a"][0]
    assert spikes[:, 1].any() == (4 * bias >= 1) and not spikes[:, 2].any()


def test_numbers_that_overflow_are_refused_by_name() -> None:
    builder = NetworkBuilder("net", 4, InputSpec((1, 4, 4), 4, scale=1e200))
    x = builder.conv("input", np.full((1, 1, 3, 3), 1e200), name="a")
    builder.readout(x, np.ones((2, 1)), name="out")
    with pytest.raises(NetworkError, match="layer 'a': .*infinite"):
        quantize(builder.build())
