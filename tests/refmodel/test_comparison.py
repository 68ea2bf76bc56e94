"""Float and integer networks beside each other: counts, the first difference, its reason, and a wrong number found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import bundled, comparison, floatmodel, golden
from refmodel.agreement import measure_agreement
from refmodel.attention import integer_gates
from refmodel.builder import NetworkBuilder
from refmodel.comparison import Comparison, compare
from refmodel.datasets import load_data
from refmodel.errors import DataError, NetworkError
from refmodel.isolated import isolated_differences
from refmodel.layers import ConvLayer, GateLayer, PoolLayer
from refmodel.membranes import float_drive, float_history, integer_drive, integer_history
from refmodel.network import InputSpec, Network, Neuron
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from refmodel.rounding import misfits, tensor_units, units_of
from tests.attention_networks import images as syna_images
from tests.attention_networks import syna_network
from tests.float_networks import random_float_network, random_frames

#: Random networks in which some spikes differ: LIFs of both kinds, MLF units, currents, streams, pools.
SEEDS = range(8)


def random_case(seed: int, bits: int = 5) -> tuple[Network, QuantizedNetwork, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=False)
    return net, quantize(net, bits, leak="multiply", allow_leak_error=True), random_frames(rng, net, 6)


def two_layers() -> Network:
    """A SEW block of quarters, which 8 bits hold exactly: nothing differs until someone changes a number."""
    rng = np.random.default_rng(4)
    builder = NetworkBuilder("two", 4, InputSpec((1, 5, 5), 2), neuron=Neuron(threshold=1.0))

    def synapses(outputs: int, inputs: int) -> NDArray[np.float64]:
        weight = rng.integers(-2, 4, (outputs, inputs, 3, 3)) / 4
        weight[:, 0, 0, 0] = 127 / 4  # the scale is 1/4; the corner reads padding or decides
        return weight

    builder.conv("input", synapses(3, 1), padding=1, name="stem")
    builder.conv("stem", synapses(3, 3), padding=1, shortcut="stem", combine="add", name="block")
    classes = rng.integers(-127, 128, (4, 3)) / 8
    classes[0, 0] = 127 / 8
    builder.readout("block", classes)
    return builder.build()


def with_layer(net: QuantizedNetwork, name: str, **changes: object) -> QuantizedNetwork:
    """``net`` with other numbers in one layer."""
    layers = tuple(replace(layer, **changes) if layer.name == name else layer for layer in net.layers)  # type: ignore[arg-type]
    return replace(net, layers=layers)


def tampered(amount: int = 9) -> tuple[Network, QuantizedNetwork, NDArray[np.int64]]:
    """One weight of the second layer is wrong: [2, 1, 1, 1]."""
    net = two_layers()
    whole = quantize(net, 8)
    block = next(layer for layer in whole.layers if layer.name == "block")
    assert block.weight is not None
    weight = block.weight.copy()
    weight[2, 1, 1, 1] -= amount
    x = np.random.default_rng(5).integers(0, 4, (12, 1, 5, 5))
    return net, with_layer(whole, "block", weight=weight), x


def test_what_is_exact_does_not_differ() -> None:
    net = two_layers()
    x = np.random.default_rng(5).integers(0, 4, (12, 1, 5, 5))
    made = compare(net, quantize(net, 8), x)
    assert made.first is None and made.agreement == 1.0
    assert (made.first_layer == -1).all()
    assert all(not layer.images and layer.example is None and not layer.steps.any() for layer in made.layers)
    assert all(misfit.units < 1e-9 and misfit.cause == "rounding" for misfit in made.misfits)
    np.testing.assert_allclose(made.logits_float, made.logits_int)


def test_a_wrong_weight_is_found_with_layer_step_and_neuron() -> None:
    net, whole, x = tampered()
    made = compare(net, whole, x)
    real, exact = floatmodel.run(net, x, keep=True), golden.run(whole, x, keep=True)
    wanted = real.spikes["block"] != (exact.tensors["block"] - exact.tensors["stem"])
    assert wanted[:, :, 2].any() and not wanted[:, :, :2].any(), "only the third channel can differ"
    first = made.first
    assert first is not None and first.name == "block" and first.agreement is not None
    assert made.layers[0].name == "stem" and made.layers[0].images == 0
    assert first.images == first.first_in == wanted.any(axis=(1, 2, 3, 4)).sum()
    np.testing.assert_allclose(first.steps, wanted.mean(axis=(0, 2, 3, 4)))
    step = int(np.argmax(wanted.any(axis=(0, 2, 3, 4))))
    image = int(np.argmax(wanted[:, step].any(axis=(1, 2, 3))))
    _, y, x_place = (int(i) for i in np.argwhere(wanted[image, step])[0])
    example = first.example
    assert example is not None
    assert (example.layer, example.image, example.step, example.channel) == ("block", image, step, 2)
    assert (example.y, example.x, first.agreement.first_step) == (y, x_place, step)
    assert example.integer_membrane == exact.membranes["block"][image, step, 2, y, x_place]
    assert example.moved.keys() == {"weights"} and example.moved["weights"] % 9 == 0
    assert "layer 'block'" in str(example) and f"step {step}" in str(example)
    misfit = {one.layer: one for one in made.misfits}["block"]
    assert (misfit.what, misfit.place, misfit.units, misfit.cause) == ("weight", (2, 1, 1, 1), 9, "neither")
    assert "[2, 1, 1, 1]" in str(misfit) and "block" in str(misfit)


@pytest.mark.parametrize("what", ["bias", "threshold"])
def test_a_wrong_bias_or_threshold_is_no_rounding(what: str) -> None:
    net = two_layers()
    whole = quantize(net, 8)
    stem = next(layer for layer in whole.layers if layer.name == "stem")
    values = getattr(stem, what).copy()
    values[1] += 5
    found = {one.layer: one for one in misfits(net, with_layer(whole, "stem", **{what: values}))}
    assert (found["stem"].what, found["stem"].cause, found["stem"].stored) == (what, "neither", values[1])
    assert found["stem"].place[-1] == 1 and found["block"].cause == "rounding"


def test_a_clipped_weight_is_told_from_a_wrong_one() -> None:
    net = two_layers()
    builder = NetworkBuilder("two", 4, net.input)
    stem = net.layers[0]
    assert isinstance(stem, ConvLayer)
    weight = stem.weight.copy()
    weight[0, 0, 0, 0] *= 2  # its integer stays at 127
    builder.add(replace(stem, weight=weight))
    for layer in net.layers[1:]:
        builder.add(layer)
    found = misfits(builder.build(), quantize(net, 8))[0]
    assert (found.place, found.stored, found.exact, found.cause) == ((0, 0, 0, 0), 127, 254.0, "clipping")


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_the_models(seed: int) -> None:
    net, whole, x = random_case(seed)
    made = compare(net, whole, x)
    other = measure_agreement(net, whole, x)
    assert tuple(layer.agreement for layer in made.layers if layer.agreement is not None) == other.layers
    assert (made.predictions_float == other.predictions_float).all()
    assert (made.predictions_int == other.predictions_int).all()
    assert sum(layer.first_in for layer in made.layers) == np.sum(made.first_layer >= 0)
    for number, layer in enumerate(made.layers):
        assert layer.first_in == np.sum(made.first_layer == number) <= layer.images
        if layer.agreement is not None:
            assert 1 - layer.steps.mean() == pytest.approx(layer.agreement.agreement)
    real, exact = floatmodel.run(net, x, keep=True), golden.run(whole, x, keep=True)
    units = {layer.name: layer.scale for layer in whole.layers}
    gains = {layer.name: layer.neuron for layer in net.layers if isinstance(layer, ConvLayer)}
    for layer in made.layers:
        assert (layer.stream_error is not None) == (layer.name in real.streams)
        if layer.stream_error is not None:
            neuron, scale = gains[layer.name], units[layer.name]
            assert scale is not None
            decays = neuron is not None and neuron.kind == "lif" and neuron.decay_input
            unit = scale * (neuron.tau if neuron is not None and decays else 1.0)
            error = real.streams[layer.name] - exact.streams[layer.name] * unit[:, None, None]
            size = np.sqrt(np.mean(real.streams[layer.name] ** 2))
            assert layer.stream_error == pytest.approx(np.sqrt(np.mean(error**2)) / size if size else 0.0)


@pytest.mark.parametrize("seed", range(12))
def test_layers_alone_differ_by_their_own_numbers_only(seed: int) -> None:
    """Of integer-valued networks not at all; a layer that reads the input differs alone as it does in the network."""
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=True)
    whole = quantize(net, 16, scale="unit", max_threshold=1 << 40)
    found = isolated_differences(net, whole, floatmodel.run(net, random_frames(rng, net, 3), keep=True))
    assert found and not any(found.values())
    net, whole, x = random_case(seed)
    seen = {layer.name: layer for layer in compare(net, whole, x).layers}
    for layer in net.layers:
        reads_input = isinstance(layer, ConvLayer) and layer.source == "input" and layer.neuron is not None
        if reads_input and layer.stream is None and layer.current is None:
            assert seen[layer.name].own == pytest.approx(seen[layer.name].steps.mean())


@pytest.mark.parametrize("seed", [3, 8, 14, 22, 23, 26, 31, 57])
def test_layers_fed_with_the_integer_network_s_own_values_do_not_differ(seed: int) -> None:
    """Counts, averages, streams and projected ones become the very integers that the golden model has."""
    net, whole, x = random_case(seed)
    exact = golden.run(whole, x, keep=True)
    names = [name for name in exact.tensors if name not in {one.name for one in whole.layers if one.kind == "stream"}]
    units = tensor_units(net, whole, names)
    layers = {layer.name: layer for layer in net.layers}
    made = {layer.name: layer for layer in whole.layers}
    streams: dict[str, NDArray[np.float64]] = {}
    spikes: dict[str, NDArray[np.int64]] = {}
    for name, values in exact.streams.items():
        layer = layers[name]
        assert isinstance(layer, ConvLayer)
        streams[name] = values * units_of(layer, made[name])[:, None, None]
    every = np.arange(len(x))
    for name, layer in layers.items():
        if isinstance(layer, ConvLayer) and layer.neuron is not None:
            driven = integer_drive(made[name], exact, every).driven
            spikes[name] = integer_history(made[name], driven).spikes.sum(axis=0)
    tensors = {name: exact.tensors[name] * units[name][:, None, None] for name in names}
    found = isolated_differences(
        net, whole, floatmodel.FloatResult(np.zeros((len(x), 2)), np.zeros(len(x), np.int64), spikes, tensors, streams)
    )
    assert found.keys() == spikes.keys() and not any(found.values())


def test_only_the_wrong_layer_differs_alone() -> None:
    net, whole, x = tampered()
    own = {layer.name: layer.own for layer in compare(net, whole, x).layers}
    assert own["stem"] == 0 and own["block"]
    net = syna_network(3)
    x = syna_images(np.random.default_rng(1), 12)
    own = {layer.name: layer.own for layer in compare(net, quantize(net, 8), x).layers}
    assert own["gate"] is not None and all(share is not None and share < 0.05 for share in own.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_membranes_made_again_are_the_models(seed: int) -> None:
    """Spikes of both, and H of the integer network."""
    net, whole, x = random_case(seed)
    real, exact = floatmodel.run(net, x, keep=True), golden.run(whole, x, keep=True)
    made = {layer.name: layer for layer in whole.layers}
    every = np.array([4, 1])
    for layer in net.layers:
        if isinstance(layer, ConvLayer) and layer.neuron is not None:
            mine = float_history(layer.neuron, float_drive(layer, real, every).driven)
            np.testing.assert_array_equal(mine.spikes.sum(axis=0), real.spikes[layer.name][every])
            theirs = integer_history(made[layer.name], integer_drive(made[layer.name], exact, every).driven)
            np.testing.assert_array_equal(theirs.membranes[-1], exact.membranes[layer.name][every])


@pytest.mark.parametrize("seed", SEEDS)
def test_causes_add_up_to_the_difference(seed: int) -> None:
    """Of every first difference: the float decision, what moved it, the integer decision."""
    net, whole, x = random_case(seed)
    real = floatmodel.run(net, x, keep=True)
    seen = 0
    for layer in compare(net, whole, x).layers:
        one = layer.example
        if one is None:
            continue
        seen += 1
        assert one.float_fires != one.integer_fires and one.integer_membrane is not None
        apart = one.float_units - one.threshold_units
        assert (one.integer_membrane >= one.integer_threshold) == one.integer_fires
        assert one.integer_membrane - one.integer_threshold == pytest.approx(apart + sum(one.moved.values()), abs=1e-6)
        assert abs(apart) <= sum(abs(units) for units in one.moved.values()) + 1e-6
        count = real.spikes[layer.name][one.image, one.step, one.channel, one.y, one.x]
        assert (count > one.level) == one.float_fires
        margins = layer.margins
        assert margins is not None and margins.count >= 1 and margins.largest >= abs(apart) - 1e-9
        assert margins.median <= margins.largest and margins.error_rms <= margins.error_largest
        assert margins.largest <= margins.error_largest + 1, "nearer to the threshold than what quantising does"
    assert seen, "a case without any difference tests nothing"


def test_soft_resets_take_the_threshold_s_rounding_along() -> None:
    """0.75 a step against 1: in units of 0.75 / 127 the threshold is 169.33, and 170 in integers.

    H 0.75, 1.5, 1.25, 1.0; in integers 127, 254, 211, 168: after two resets, each 0.67 too much, no fourth spike.
    """
    builder = NetworkBuilder("soft", 4, InputSpec((1, 1, 1), 1), neuron=Neuron(reset="soft"))
    builder.conv("input", np.full((1, 1, 1, 1), 0.75), name="a")
    builder.readout("a", np.ones((2, 1)))
    net = builder.build()
    first = compare(net, quantize(net, 8), np.ones((1, 1, 1, 1), np.int64)).first
    assert first is not None and first.example is not None
    one = first.example
    assert (one.step, one.float_fires, one.integer_membrane, one.integer_threshold) == (3, True, 168, 170)
    assert one.moved == pytest.approx({"reset": -4 / 3, "threshold": -2 / 3})


def test_attention_and_gates_of_spikes() -> None:
    """Gates that differ are a cause, and a gate of spikes may be the first to differ."""
    net = syna_network(3)
    x = syna_images(np.random.default_rng(1), 12)
    whole = quantize(net, 6)
    made = compare(net, whole, x)
    examples = [layer.example for layer in made.layers if layer.example is not None]
    assert examples and examples[0].layer == "stem" and "gates" in examples[0].moved
    one = examples[0]
    assert one.integer_membrane is not None
    apart = one.float_units - one.threshold_units + sum(one.moved.values())
    assert one.integer_membrane - one.integer_threshold == pytest.approx(apart, abs=1e-6)


def test_a_gate_that_opens_in_one_network_only() -> None:
    net = syna_network(3)
    x = syna_images(np.random.default_rng(1), 4)
    exact = quantize(net, 8)
    name = next(layer.name for layer in net.layers if isinstance(layer, GateLayer))
    gate = next(layer for layer in exact.layers if layer.name == name)
    assert gate.attention is not None
    wrong = replace(gate.attention, threshold=-32767)  # always open
    builder = NetworkBuilder("gate", net.steps, InputSpec((4, 6, 6), 1, static=False))
    found = next(layer for layer in net.layers if layer.name == name)
    assert isinstance(found, GateLayer)
    builder.add(replace(found, source="input"))
    builder.readout(name, np.ones((2, 4)))
    small = builder.build()
    frames = floatmodel.run(net, x, keep=True).tensors[found.source].astype(np.int64) > 0
    whole = with_layer(quantize(small, 8), name, attention=wrong)
    first = compare(small, whole, frames.astype(np.int64)).first
    assert first is not None and first.example is not None and first.margins is None
    one = first.example
    assert one.integer_membrane is None and one.integer_fires and not one.float_fires
    assert one.float_membrane < one.float_threshold and "gate" in str(one)
    assert integer_gates(frames[:1].astype(np.int64), wrong).all()


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    net, whole, x = random_case(2)

    def shown(made: Comparison) -> str:
        rows = [(one.agreement, one.images, one.first_in, one.example) for one in made.layers]
        return repr((rows, made.first_layer.tolist(), made.logits_int.tolist()))

    once = compare(net, whole, x)
    monkeypatch.setattr(comparison, "batch_images", lambda tensors, steps: 4)
    shares: list[float] = []
    again = compare(net, whole, x, progress=shares.append)
    assert shown(once) == shown(again) and shares == [0, 4 / 6]
    for one, other in zip(once.layers, again.layers, strict=True):
        np.testing.assert_allclose(one.steps, other.steps)
        assert (one.margins is None) == (other.margins is None)
        if one.margins is not None and other.margins is not None:
            assert (one.margins.count, one.margins.median) == (other.margins.count, other.margins.median)


def test_an_example_in_a_later_batch_has_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    net, whole, x = tampered()
    alone = compare(net, whole, x).first
    monkeypatch.setattr(comparison, "batch_images", lambda tensors, steps: 4)
    first = compare(net, whole, np.concatenate([np.zeros((9, 1, 5, 5), np.int64), x])).first
    assert alone is not None and first is not None and alone.example is not None and first.example is not None
    assert first.example == replace(alone.example, image=alone.example.image + 9)


def test_rounding_explains_streams_and_pools() -> None:
    """Averages and projected streams, whose lowest bits are dropped, are in the numbers of their readers."""
    kinds: set[str] = set()
    for seed in (10, 14, 22, 23, 26, 57):
        net, whole, _ = random_case(seed)
        assert {misfit.cause for misfit in misfits(net, whole)} == {"rounding"}
        read = {layer.source for layer in net.layers}
        kinds |= {layer.kind for layer in net.layers if isinstance(layer, PoolLayer) and layer.name in read}
        kinds |= {"stream" for layer in whole.layers if layer.kind == "stream" and layer.shift}
    assert kinds == {"max", "sum", "average", "stream"}


@pytest.mark.parametrize("name", ["digits-sew-add-8", "digits-ms-8", "digits-ds-4"])
def test_bundled_networks_differ_by_rounding(name: str) -> None:
    net = bundled.load_network(name)
    x, _ = load_data("digits")
    made = compare(net, quantize(net, 8), x[:6])
    assert all(misfit.cause == "rounding" for misfit in made.misfits)
    first = made.first
    assert first is not None and first.name == "conv1" and first.margins is not None
    assert first.margins.median < first.margins.all_median / 10, "spikes differ where membranes are near the threshold"
    assert first.margins.largest <= first.margins.error_largest + 1


def test_refusals() -> None:
    net, whole, x = tampered()
    with pytest.raises(DataError, match="at least one"):
        compare(net, whole, x[:0])
    with pytest.raises(NetworkError, match="are not those of the float network"):
        compare(net, quantize(bundled.load_network("digits-dense"), 8), x)
    with pytest.raises(NetworkError, match="'stem' does not say its scale"):
        compare(net, with_layer(whole, "stem", scale=None), x)
