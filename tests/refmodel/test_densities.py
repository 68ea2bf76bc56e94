"""Densities against sampling: the distribution of every tensor is that of independent random spikes."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import zoo
from refmodel.densities import (
    AND_RATE,
    EVENT_DENSITY,
    LEVEL_RATIO,
    RATE,
    Values,
    random_inputs,
    tensor_values,
)
from refmodel.errors import NetworkError
from refmodel.outline import outline
from refmodel.quantized import INPUT, QuantizedInput, QuantizedLayer, QuantizedNetwork

SHAPE = (4, 6, 6)


def conv(name: str, source: str, **options) -> QuantizedLayer:
    weight = np.zeros((4, 4, 1, 1), np.int64)
    return QuantizedLayer(name, "conv", source, weight, (1, 1), threshold=np.ones(4, np.int64), **options)


def network(*layers: QuantizedLayer, static: bool = True, bits: int = 3, signed: bool = False) -> QuantizedNetwork:
    readout = QuantizedLayer("out", "readout", layers[-1].name, np.zeros((2, 4, 1, 1), np.int64), (1, 1))
    return QuantizedNetwork("net", 4, QuantizedInput(SHAPE, bits, static, signed=signed), (*layers, readout))


def sampled(net: QuantizedNetwork, rates: dict[str, float], size: int = 40_000) -> dict[str, np.ndarray]:
    """Independent values of every tensor, ``[size]``, from drawn spikes."""
    rng = np.random.default_rng(1)
    drawn = {INPUT: random_inputs(net.input, 1, size, rng).reshape(size, -1)[:, :40].reshape(-1)}
    for layer in net.layers[:-1]:
        source = drawn[layer.source]
        if layer.kind in ("maxpool", "sumpool"):
            taps = layer.kernel[0] * layer.kernel[1]
            windows = rng.choice(source, (size, taps))
            drawn[layer.name] = windows.max(axis=1) if layer.kind == "maxpool" else windows.sum(axis=1)
            continue
        levels = 1 if layer.levels is None else 1 + len(layer.levels)
        uniform = rng.random(size)
        fired = sum((uniform < rates[layer.name] * LEVEL_RATIO**k).astype(int) for k in range(levels))
        shortcut = None if layer.shortcut is None else rng.choice(drawn[layer.shortcut], size)
        assert isinstance(fired, np.ndarray)
        drawn[layer.name] = fired if shortcut is None else COMBINED[layer.combine](fired, shortcut)
    return drawn


COMBINED = {
    "add": lambda a, s: a + s,
    "and": lambda a, s: a * s,
    "iand": lambda a, s: (1 - a) * s,
    "or": lambda a, s: np.maximum(a, s),
}


NETWORK = network(
    conv("a", INPUT),
    conv("b", "a", shortcut="a", combine="add"),
    conv("c", "b", shortcut="b", combine="add", levels=np.ones((2, 4), np.int64)),
    QuantizedLayer("pool", "maxpool", "c", None, (2, 2), (2, 2)),
    conv("d", "pool"),
    conv("e", "d", shortcut="d", combine="and"),
    conv("f", "d", shortcut="d", combine="iand"),
    conv("g", "d", shortcut="d", combine="or"),
    QuantizedLayer("sum", "sumpool", "g", None, (2, 1), (2, 1)),
)


def test_distributions_are_those_of_independent_spikes() -> None:
    rates = {"a": 0.3, "b": 0.2, "c": 0.4, "d": 0.5, "e": 0.6, "f": 0.25, "g": 0.35}
    values, drawn = tensor_values(NETWORK, rates), sampled(NETWORK, rates)
    for name, wanted in drawn.items():
        found = values[name].probability
        assert found is not None
        assert found.sum() == pytest.approx(1)
        counted = np.bincount(wanted, minlength=len(found)) / len(wanted)
        assert len(counted) == len(found), name
        assert np.abs(counted - found).max() < 0.012, name
        assert len(found) == NETWORK.tensors()[name].max_value + 1


def test_bits_and_events() -> None:
    values = Values(np.array([0.4, 0.3, 0.2, 0.1]))
    assert values.bit(0) == pytest.approx(0.4) and values.bit(1) == pytest.approx(0.3)
    assert values.event(1, 3) == pytest.approx(1 - 0.7**3)
    assert Values(values.probability, static=True).event(1, 3) == pytest.approx(0.3)
    assert values.at_least(2) == pytest.approx(0.3) and values.density == pytest.approx(0.6)
    assert Values(None).event(5, 2) == 0.75 and Values(None, static=True).event(5, 2) == 0.5


def test_defaults() -> None:
    values = tensor_values(NETWORK)
    assert values["a"].density == pytest.approx(RATE)
    assert values["e"].density == pytest.approx(AND_RATE * RATE)
    assert values[INPUT].static and not values["a"].static
    assert values[INPUT].probability == pytest.approx(np.full(8, 1 / 8))
    frames = tensor_values(network(conv("a", INPUT), static=False))[INPUT]
    assert frames.density == pytest.approx(EVENT_DENSITY) and not frames.static
    assert frames.probability is not None and frames.probability[1] == pytest.approx(2 * frames.probability[2])
    assert tensor_values(network(conv("a", INPUT), signed=True))[INPUT].probability is None


def test_random_inputs_are_as_assumed() -> None:
    for static in (True, False):
        spec = QuantizedInput((2, 30, 30), 3, static)
        x = random_inputs(spec, 5, 4, np.random.default_rng(0))
        assert x.shape == ((4, 2, 30, 30) if static else (4, 5, 2, 30, 30))
        values = tensor_values(network(conv("a", INPUT), static=static))[INPUT]
        counted = np.bincount(x.ravel(), minlength=8) / x.size
        assert values.probability is not None
        assert np.abs(counted - values.probability).max() < 0.02
    signed = random_inputs(QuantizedInput((1, 8, 8), 3, signed=True), 1, 9, np.random.default_rng(0))
    assert (signed.min(), signed.max()) == (-4, 3)


def test_patterns_name_layers_and_the_last_one_counts() -> None:
    values = tensor_values(NETWORK, {"*": 0.5, "[ab]": 0.25, "b": 0.75, "input": 0.125})
    assert values["a"].density == 0.25 and values["d"].density == 0.5
    assert values["b"].probability == pytest.approx(np.convolve([0.25, 0.75], [0.75, 0.25]))
    assert values[INPUT].density == 0.125
    assert tensor_values(NETWORK, {"*": 0.5})[INPUT].density == pytest.approx(7 / 8), "no pattern means the input"


@pytest.mark.parametrize(
    ("rates", "words"), [({"a": 1.5}, "0 to 1"), ({"x*": 0.5}, "no such layer"), ({"A": 0.5}, "a, b")]
)
def test_bad_rates(rates: dict[str, float], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        tensor_values(NETWORK, rates)


def test_streams_are_static_while_their_layers_read_a_static_input() -> None:
    values = tensor_values(outline(zoo.sketch("ms-resnet104", size=32, width=1 / 16)))
    assert values["conv1.stream"] == Values(None, True) and values["conv2.stream"] == Values(None, True)
    assert values["stage2.block1.stream"] == Values(None, False)
