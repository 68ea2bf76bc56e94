"""The golden model against the float model, against scalar loops, and its refusals."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import floatmodel, golden, legality
from refmodel.errors import DataError, NetworkError
from refmodel.golden_synapses import exact_type
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from tests.float_twins import as_float
from tests.random_networks import random_input, random_quantized_network, scaled, uniform

SEEDS = st.integers(0, 2**32 - 1)


def conv(name: str = "a", source: str = "input", outputs: int = 1, inputs: int = 1, **options) -> QuantizedLayer:
    fields = {
        "weight": np.ones((outputs, inputs, 1, 1), np.int64),
        "kernel": (1, 1),
        "threshold": np.full(outputs, 3),
        **options,
    }
    return QuantizedLayer(name, "conv", source, **fields)


def readout(source: str, inputs: int = 1, classes: int = 2) -> QuantizedLayer:
    return QuantizedLayer("out", "readout", source, np.ones((classes, inputs, 1, 1), np.int64), (1, 1))


def network(*layers: QuantizedLayer, steps: int = 4, bits: int = 4, shape=(1, 2, 2), static=True) -> QuantizedNetwork:
    return QuantizedNetwork("net", steps, QuantizedInput(shape, bits, static), layers)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_spikes_equal_the_float_models(seed: int) -> None:
    """All combiners, IF and LIF of both conventions, hard and soft, ge and gt, any stride and padding."""
    rng = np.random.default_rng(seed)
    # two leak steps of at most 2^-4 divide by 2^8: integers that are multiples of 256 never round
    net = scaled(
        uniform(
            random_quantized_network(
                rng, steps=int(rng.integers(1, 4)), weight_bits=7, acc_width=16,
                leaks=((), (1,), (2,), (4,), (1, 2), (3, 4)),
                input_bits=(1, 3), sizes=(2, 7), channels_choices=(1, 3, 5), input_as_spikes=bool(rng.integers(2)),
            )
        ),
        256,
    )  # fmt: skip
    soft_exact = [layer for layer in net.layers if layer.reset == "soft" and len(layer.leak_shifts) > 1]
    for layer in soft_exact:  # a soft reset subtracts the float threshold, which must then be exact
        net = dataclasses.replace(
            net, layers=tuple(dataclasses.replace(k, leak_shifts=(2,)) if k is layer else k for k in net.layers)
        )
    float_net = as_float(rng, net)
    x = random_input(rng, net, 3)
    whole, real = golden.run(net, x, keep=True), floatmodel.run(float_net, x, keep=True)
    for layer in net.layers[:-1]:
        np.testing.assert_array_equal(whole.tensors[layer.name], real.tensors[layer.name], err_msg=layer.name)
        assert whole.fired[layer.name] == pytest.approx(real.spikes[layer.name].mean())
    _, height, width = net.tensors()["l" + str(len(net.layers) - 1)].shape
    np.testing.assert_allclose(real.logits * net.steps * height * width, whole.results, rtol=1e-9, atol=1e-6)
    again = quantize(float_net, weight_bits=16, scale="unit", max_threshold=1 << 40)
    for mine, theirs in zip(again.layers, net.layers, strict=True):
        for option in ("weight", "bias", "threshold", "current"):
            left, right = getattr(mine, option), getattr(theirs, option)
            if option == "bias" and right is None and left is not None:
                right = np.zeros_like(left)
            np.testing.assert_array_equal(left, right, err_msg=f"{mine.name} {option}")
        assert (mine.leak_shifts, mine.reset) == (theirs.leak_shifts, theirs.reset)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["hard", "soft"]), st.sampled_from([(), (1,), (4,), (1, 1), (2, 3)]))
def test_membrane_by_scalar_loop(seed: int, reset: str, shifts: tuple[int, ...]) -> None:
    """H = leak(V) + conv + bias + current; arithmetic shifts of negative membranes included."""
    rng = np.random.default_rng(seed)
    steps = 7
    gate = conv("gate", threshold=np.array([6]))
    layer = conv(
        weight=np.array([[[[-3]]]]), bias=np.array([int(rng.integers(-9, 30))]), threshold=np.array([11]),
        leak_shifts=shifts, reset=reset, shortcut="gate", current=np.array([int(rng.integers(-9, 20))]),
    )  # fmt: skip
    net = network(gate, layer, readout("a"), steps=steps, shape=(1, 1, 1), static=False)
    assert layer.bias is not None and layer.current is not None
    x = rng.integers(0, 16, (1, steps, 1, 1, 1))
    got = golden.run(net, x, keep=True)
    v = gate_v = 0
    for t, value in enumerate(x.ravel().tolist()):
        gate_v += value
        gate_spike = gate_v >= 6
        gate_v = 0 if gate_spike else gate_v
        h = v - sum(v >> shift for shift in shifts) - 3 * value + int(layer.bias[0])
        h += int(layer.current[0]) if gate_spike else 0
        assert got.membranes["a"][0, t, 0, 0, 0] == h
        assert got.tensors["a"][0, t, 0, 0, 0] == (h >= 11)
        v = (h - 11 if reset == "soft" else 0) if h >= 11 else h


def test_readout_running_total_goes_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    out = dataclasses.replace(
        readout("input", 2), weight=rng.integers(-9, 9, (2, 2, 1, 1)), bias=np.array([5, -7])
    )  # fmt: skip
    net = network(out, steps=3, shape=(2, 2, 3), static=False)
    x = random_input(rng, net, 2)
    got = golden.run(net, x, keep=True)
    assert out.weight is not None
    for n in range(2):
        total = np.array([5, -7])
        for row in range(2):
            for column in range(3):
                for t in range(3):
                    total = total + out.weight[:, :, 0, 0] @ x[n, t, :, row, column]
                    np.testing.assert_array_equal(got.membranes["out"][n, t, :, row, column], total)
        np.testing.assert_array_equal(got.results[n], total)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_chunks_keep_and_repetition_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(rng, steps=3, static=True, max_layers=4, sizes=(2, 5), max_fan_in=100)
    x = random_input(rng, net, 70)
    whole = golden.run(net, x, keep=True)
    np.testing.assert_array_equal(whole.results, golden.run(net, x).results)
    np.testing.assert_array_equal(whole.results[66:], golden.run(net, x[66:]).results)
    dynamic = dataclasses.replace(net, input=dataclasses.replace(net.input, static=False))
    repeated = golden.run(dynamic, np.repeat(x[:, None], 3, axis=1), keep=True)
    assert whole.tensors.keys() == repeated.tensors.keys() and whole.membranes.keys() == repeated.membranes.keys()
    for name, info in net.tensors().items():
        if name in whole.tensors:
            assert whole.tensors[name].shape == (70, 3, *info.shape)
            assert whole.tensors[name].dtype == np.uint8
            np.testing.assert_array_equal(whole.tensors[name], repeated.tensors[name])
        if name in whole.membranes:
            assert whole.membranes[name].shape == (70, 3, *info.shape)
            np.testing.assert_array_equal(whole.membranes[name], repeated.membranes[name])


@pytest.mark.parametrize(("bits", "kind"), [(4, np.float32), (10, np.float64), (16, np.float64)])
def test_large_sums_are_exact(bits: int, kind: type) -> None:
    """The matmul's type is chosen by the proven bound; odd sums above 2^24 would show a wrong choice."""
    rng = np.random.default_rng(2)
    weight = rng.integers(32000, 32768, (3, 7, 1, 1)) | 1
    layer = conv(outputs=3, weight=weight, threshold=np.full(3, 2**40), bias=np.ones(3, np.int64))
    net = dataclasses.replace(network(layer, readout("a", 3), steps=2, bits=bits, shape=(7, 2, 2)), weight_bits=16)
    assert exact_type(legality.sum_bound(layer, 2**bits - 1)) is kind
    x = rng.integers(2**bits - 3, 2**bits, (2, 7, 2, 2))
    expected = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x) + 1
    got = golden.run(net, x, keep=True).membranes["a"]
    np.testing.assert_array_equal(got[:, 0], expected)
    np.testing.assert_array_equal(got[:, 1], 2 * expected)
    assert exact_type(1 << 53) is np.int64


def test_rates_and_ties() -> None:
    layer = conv(threshold=np.array([2]), weight=np.ones((1, 1, 1, 1), np.int64))
    add = conv("b", "a", shortcut="a", combine="add", threshold=np.array([9]))
    net = network(layer, add, readout("b", classes=3), shape=(1, 1, 1), bits=1)
    got = golden.run(net, np.ones((5, 1, 1, 1), np.int64))
    assert golden.firing_rates(got) == {"a": 0.5, "b": 0.0}
    assert golden.firing_rates(got, of="outputs") == {"a": 0.5, "b": 0.5}
    np.testing.assert_array_equal(got.results, np.full((5, 3), 2))
    np.testing.assert_array_equal(got.predictions, 0)
    assert golden.run(net, np.ones((0, 1, 1, 1), np.int64)).predictions.shape == (0,)


@pytest.mark.parametrize(
    "x",
    [np.zeros((1, 2, 2)), np.zeros((1, 1, 2, 2)), np.full((1, 1, 2, 2), 16), np.full((1, 1, 2, 2), -1)],
    ids=["axes", "floats", "too large", "negative"],
)
def test_bad_inputs_are_refused(x: np.ndarray) -> None:
    net = network(conv(), readout("a"))
    with pytest.raises(DataError, match="net.*input must be"):
        golden.run(net, x)


VECTOR = np.ones(2, np.int64)
REFUSALS = {
    "no readout": (network(conv()), "last layer must be a readout"),
    "readout first": (network(readout("input"), conv(), readout("a")), "only it|last layer"),
    "duplicate": (network(conv(), conv(), readout("a")), "taken"),
    "source": (network(conv(source="x"), readout("a")), "unknown source 'x'"),
    "shortcut": (network(conv(shortcut="x", combine="add"), readout("a")), "unknown shortcut"),
    "wide weight": (network(conv(weight=np.full((1, 1, 1, 1), 128)), readout("a")), "8 bits"),
    "float weight": (network(conv(weight=np.ones((1, 1, 1, 1))), readout("a")), "integers"),
    "kernel": (network(conv(kernel=(2, 2)), readout("a")), "shape"),
    "channels": (network(conv(inputs=2), readout("a")), "shape"),
    "bias": (network(conv(bias=VECTOR), readout("a")), "bias"),
    "no threshold": (network(conv(threshold=None), readout("a")), "threshold"),
    "leak": (network(conv(leak_shifts=(5,)), readout("a")), "leak_shifts"),
    "leaks": (network(conv(leak_shifts=(1, 1, 1)), readout("a")), "leak_shifts"),
    "combine alone": (network(conv(combine="add"), readout("a")), "needs a shortcut"),
    "shortcut alone": (network(conv(), conv("b", shortcut="a"), readout("b")), "either"),
    "and on counts": (network(conv(shortcut="input", combine="and"), readout("a")), "binary"),
    "current on counts": (network(conv(shortcut="input", current=VECTOR[:1]), readout("a")), "binary"),
    "shapes": (network(conv(outputs=2), conv("b", shortcut="a", combine="or"), readout("b")), "project"),
    "pool signed": (
        network(
            conv(keeps_stream=True),
            QuantizedLayer("s", "stream", "a", None, (1, 1), bits=4),
            QuantizedLayer("p", "maxpool", "s", None, (1, 1)),
            readout("p"),
        ),
        "'p': pooling takes unsigned",
    ),
    "no stream": (
        network(conv(), QuantizedLayer("s", "stream", "a", None, (1, 1), bits=4), conv("b", "s"), readout("b")),
        "'s': unknown stream 'a'",
    ),
    "a bare stream as source": (
        network(conv(threshold=None, keeps_stream=True), readout("a")),
        "'a' only keeps a stream",
    ),
    "nothing to fire for": (network(conv(threshold=None), readout("a")), "threshold .* or keeps_stream"),
    "levels that gate": (
        network(conv(), conv("b", shortcut="a", combine="and", levels=np.array([[9]])), readout("b")),
        "'b': MLF units count",
    ),
    "two leaks": (network(conv(leak_factor=(3, 2), leak_shifts=(1,)), readout("a")), "leak_factor must be"),
    "window and weight": (
        network(dataclasses.replace(conv(), kind="window"), readout("a")),
        "'a': a window has no weight",
    ),
    "too large": (network(conv(weight=np.ones((1, 1, 3, 3), np.int64), kernel=(3, 3)), readout("a")), "larger"),
    "padding": (network(conv(padding=(1, 1)), readout("a")), "padding"),
    "overflow": (network(conv(bias=np.array([2**62])), readout("a")), "62 bits"),
}


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_illegal_networks_are_refused_by_name(case: str) -> None:
    net, message = REFUSALS[case]
    with pytest.raises(NetworkError, match=message) as caught:
        legality.validate(net)
    assert "layer '" in str(caught.value) or "network 'net'" in str(caught.value)


def test_tensors_agree_with_the_contract() -> None:
    for seed in range(30):
        net = random_quantized_network(np.random.default_rng(seed), steps=2)
        assert legality.validate(net) == net.tensors()


def test_random_networks_fire() -> None:
    """The generator's promise: most layers fire at 5 to 60 %, on images it was not calibrated on."""
    rates: list[float] = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        net = random_quantized_network(rng, steps=4, maxpool=False)
        rates += golden.firing_rates(golden.run(net, random_input(rng, net, 4))).values()
    assert np.mean([0.03 < rate < 0.7 for rate in rates]) > 0.9


def test_speed() -> None:
    """17 convolutions of 16 channels at 8x8, T=4, 360 images: about half a second; the limit is generous."""
    rng = np.random.default_rng(0)
    wide = {"outputs": 16, "kernel": (3, 3), "padding": (1, 1), "threshold": np.full(16, 300)}

    def weight(inputs: int) -> np.ndarray:
        return rng.integers(-127, 128, (16, inputs, 3, 3))

    layers = [conv("s", weight=weight(1), **wide)]
    for block in range(8):
        source = layers[-1].name
        layers.append(conv(f"{block}a", source, weight=weight(16), **wide))
        layers.append(conv(f"{block}b", f"{block}a", weight=weight(16), shortcut=source, combine="add", **wide))
    net = network(*layers, readout(layers[-1].name, 16, 10), shape=(1, 8, 8))
    x = random_input(rng, net, 360)
    start = time.perf_counter()
    golden.run(net, x)
    assert time.perf_counter() - start < 10
