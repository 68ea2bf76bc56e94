"""Frozen gates: a folded layer computes what constant gates make of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel import floatmodel
from refmodel.attention import Attention, gated, gates
from refmodel.errors import NetworkError
from refmodel.frozen_gates import fold_gate, frozen_gate
from refmodel.layers import ConvLayer, InputSpec, Neuron, ReadoutLayer
from refmodel.network import Network

STEPS = 5


def layer_of(rng: np.random.Generator, **options) -> ConvLayer:
    neuron = Neuron("lif", threshold=0.7, tau=2.0)
    return ConvLayer("a", "input", rng.normal(size=(4, 3, 1, 1)), rng.normal(size=4) / 2, neuron=neuron, **options)


def spikes_of(layer: ConvLayer, x: np.ndarray) -> np.ndarray:
    """Spikes of ``layer`` on ``x`` ``[N, T, C, H, W]``, summed over steps and pixels."""
    readout = ReadoutLayer("out", "a", np.eye(4))
    net = Network("one", STEPS, InputSpec((3, 2, 2), 3, static=False), (layer, readout))
    return np.round(floatmodel.run(net, x).logits * STEPS * 4)


@pytest.mark.parametrize("gate", [0.3, 1.0, 0.0, [0.1, 0.9, 0.5, 0.0]])
def test_folded_layer_is_the_gated_one(gate) -> None:
    rng = np.random.default_rng(1)
    layer = layer_of(rng)
    x = rng.integers(0, 8, (6, STEPS, 3, 2, 2))
    assert layer.bias is not None
    drive = np.einsum("oi,ntihw->ntohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]
    drive = gated(drive, np.broadcast_to(gate, (6, 4)), "channel")
    v, expected = np.zeros_like(drive[:, 0]), np.zeros((6, 4))
    for t in range(STEPS):
        v = v + (drive[:, t] - v) / 2
        expected += (v >= 0.7).sum(axis=(2, 3))
        v = np.where(v >= 0.7, 0, v)
    assert (spikes_of(fold_gate(layer, gate), x) == expected).all()
    assert expected.any() == np.any(gate)


def test_a_frozen_attention_goes_from_the_layer() -> None:
    """Scores of 0 make gates of a half, whatever X is."""
    rng = np.random.default_rng(4)
    attention = Attention("time", rng.normal(size=(2, STEPS)), np.zeros((STEPS, 2)))
    layer = layer_of(rng, attention=attention)
    x = rng.integers(0, 8, (6, STEPS, 3, 2, 2))
    folded = fold_gate(layer, frozen_gate(gates(x, attention), "time"))
    assert folded.attention is None
    assert (spikes_of(folded, x) == spikes_of(layer, x)).all()
    assert (spikes_of(folded, x) != spikes_of(dataclasses.replace(layer, attention=None), x)).any()


def test_current_is_scaled() -> None:
    rng = np.random.default_rng(2)
    folded = fold_gate(layer_of(rng, shortcut="input", current=2.0), 0.25)
    assert (folded.current, folded.rectify) == (0.5, True)


def test_frozen_gate_is_the_mean() -> None:
    seen = np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 0.0]])
    assert frozen_gate(seen, "channel").tolist() == [0.5, 1.0, 0.25]
    assert frozen_gate(seen, "time").tolist() == [pytest.approx(3.5 / 6)]


@pytest.mark.parametrize(
    ("options", "gate", "message"),
    [
        ({}, [0.5, 0.5], r"one number or 4, not of shape \(2,\)"),
        ({}, -0.5, "at least 0 and finite"),
        ({}, float("nan"), "at least 0 and finite"),
        ({"keeps_stream": True}, 0.5, "its X is kept as a stream"),
        ({"stream": "stem"}, 0.5, "stream 'stem' is part of X"),
        ({"shortcut": "input", "current": 1.0}, [0.5, 0.5, 0.5, 1.0], "current is one number"),
    ],
)
def test_refusals(options, gate, message: str) -> None:
    layer = dataclasses.replace(layer_of(np.random.default_rng(3)), **options)
    with pytest.raises(NetworkError, match=message):
        fold_gate(layer, gate)
