"""SynA against its equations: float model, golden model, lowered network."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import floatmodel, golden
from refmodel.attention import Attention, integer_gates
from refmodel.builder import NetworkBuilder
from refmodel.lowering import lower
from refmodel.network import InputSpec, Network, Neuron
from refmodel.quantize import quantize
from tests.reference import syna


def build(p: syna.Arrays, axis: str) -> Network:
    neuron = Neuron("if", syna.THRESHOLD)
    lif = Neuron("lif", syna.GATE_THRESHOLD, syna.TAU)
    builder = NetworkBuilder("syna", syna.STEPS, InputSpec((2, 5, 5), 3), neuron=neuron)
    stem = builder.conv("input", p["stem_weight"], p["stem_bias"], name="stem")
    inhibition = Attention(axis, p["ia_first"], p["ia_second"], lif)  # pyright: ignore[reportArgumentType]
    gate = builder.gate(stem, inhibition, name="gate")
    excitation = Attention(axis, p["ma_first"], p["ma_second"])  # pyright: ignore[reportArgumentType]
    builder.conv(
        stem, p["branch_weight"], p["branch_bias"], shortcut=gate, combine="or", attention=excitation, name="branch"
    )
    builder.readout("branch", p["fc"])
    return builder.build()


def load(axis: str) -> syna.Arrays:
    with np.load(syna.FOLDER / f"{axis}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("axis", ["time", "channel"])
def test_vectors_are_those_of_the_equations(axis: str) -> None:
    p = load(axis)
    for number in range(2):
        for key, value in syna.evaluate(p, p["x"][number], axis).items():
            np.testing.assert_allclose(value, p[f"out_{key}"][number], rtol=1e-12)


@pytest.mark.parametrize("axis", ["time", "channel"])
def test_float_model(axis: str) -> None:
    p = load(axis)
    found = floatmodel.run(build(p, axis), p["x"], keep=True)
    np.testing.assert_allclose(found.gates["branch"], p["out_ma"], rtol=1e-12)
    np.testing.assert_array_equal(found.gates["gate"], p["out_ia"])
    np.testing.assert_array_equal(found.tensors["gate"], p["out_gate"])
    np.testing.assert_array_equal(found.spikes["branch"], p["out_branch"])
    np.testing.assert_array_equal(found.tensors["branch"], p["out_output"])
    np.testing.assert_allclose(found.logits, p["out_logits"], rtol=1e-12)


@pytest.mark.parametrize("axis", ["time", "channel"])
def test_integers(axis: str) -> None:
    """0/1 gates are equal, sigmoid gates within the stated error; nearly all spikes are equal."""
    p = load(axis)
    net = quantize(build(p, axis), 8, scale="unit")
    found = golden.run(net, p["x"], keep=True)
    np.testing.assert_array_equal(found.tensors["stem"], p["out_stem"])
    np.testing.assert_array_equal(found.tensors["gate"], p["out_gate"])
    low = golden.run(lower(net), p["x"], keep=True)
    np.testing.assert_array_equal(low.results, found.results)
    layer = next(layer for layer in net.layers if layer.name == "branch")
    assert layer.attention is not None and layer.attention.gate_error < 0.02
    gates = integer_gates(low.streams["branch/score"], layer.attention) / 256
    assert np.abs(gates - p["out_ma"]).max() <= layer.attention.gate_error
    assert np.mean(found.tensors["branch"] == p["out_output"]) > 0.98
