"""Agreement of a float network with its integers, and that it does not depend on how inputs are batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refmodel import agreement, floatmodel, golden
from refmodel.agreement import measure_agreement
from refmodel.errors import DataError, NetworkError
from refmodel.quantize import quantize
from tests.float_networks import random_float_network, random_frames


def changed_threshold(qnet, name: str, by: int):
    layers = [
        replace(layer, threshold=layer.threshold + by) if layer.name == name and layer.threshold is not None else layer
        for layer in qnet.layers
    ]
    return replace(qnet, layers=tuple(layers))


@pytest.mark.parametrize("seed", range(6))
def test_integers_agree_with_themselves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=True)
    found = measure_agreement(net, quantize(net, 16, scale="unit"), random_frames(rng, net, 5))
    assert found.predictions == 1.0 and found.first is None
    for layer in found.layers:
        assert layer.agreement == 1.0 and layer.count_difference == 0 and layer.rate_float == layer.rate_int


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_both_models(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    net = random_float_network(rng, exact=False)
    qnet = quantize(net, 3, allow_leak_error=True)
    x = random_frames(rng, net, 7)
    found = measure_agreement(net, qnet, x)
    real, whole = floatmodel.run(net, x, keep=True), golden.run(qnet, x, keep=True)
    assert found.predictions_float.tolist() == real.predictions.tolist()
    assert found.predictions_int.tolist() == whole.predictions.tolist()
    assert found.predictions == np.mean(real.predictions == whole.predictions)
    made = {layer.name: layer for layer in qnet.layers}
    assert [layer.name for layer in found.layers] == [name for name in made if name in real.spikes]
    for layer in found.layers:
        spikes = real.spikes[layer.name]
        assert layer.neuron_steps == spikes[0].size
        assert layer.rate_float == pytest.approx(np.mean(spikes != 0))
        assert layer.rate_int == pytest.approx(whole.fired[layer.name])
        threshold = made[layer.name].threshold
        if made[layer.name].levels is None and threshold is not None:
            own = whole.membranes[layer.name] >= threshold[:, None, None]
            assert layer.agreement == pytest.approx(np.mean(own == spikes))
            difference = np.abs(own.sum(axis=1) - spikes.sum(axis=1).astype(int))
            assert layer.count_difference == pytest.approx(difference.mean())
            steps = [t for t in range(net.steps) if (own[:, t] != spikes[:, t]).any()]
            assert layer.first_step == (steps[0] if steps else None)
            if steps:
                images = [n for n in range(len(x)) if (own[n, steps[0]] != spikes[n, steps[0]]).any()]
                assert layer.first_sample == images[0]
    monkeypatch.setattr(agreement, "_MOST_IMAGES", 2)
    parts = measure_agreement(net, qnet, x)
    assert parts.layers == found.layers and parts.predictions_int.tolist() == found.predictions_int.tolist()


def test_the_first_layer_that_differs_is_found() -> None:
    rng = np.random.default_rng(11)
    net = random_float_network(rng, exact=True)
    qnet = quantize(net, 16, scale="unit")
    name = next(layer.name for layer in qnet.layers[1:] if layer.threshold is not None)
    shares: list[float] = []
    found = measure_agreement(
        net, changed_threshold(qnet, name, -(10**6)), random_frames(rng, net, 4), progress=shares.append
    )
    assert found.first is not None and found.first.name == name
    assert found.first.rate_int == 1.0 and shares == [0.0]


def test_other_networks_and_no_inputs_are_refused() -> None:
    rng = np.random.default_rng(1)
    net, other = random_float_network(rng, exact=True), random_float_network(rng, exact=True, layers=5)
    x = random_frames(rng, net, 2)
    with pytest.raises(NetworkError, match="not those of the float network 'random'"):
        measure_agreement(net, quantize(other, 16, scale="unit"), x)
    with pytest.raises(DataError, match="no inputs"):
        measure_agreement(net, quantize(net, 16, scale="unit"), x[:0])
