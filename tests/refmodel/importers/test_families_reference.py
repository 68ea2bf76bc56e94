"""Imported state_dicts compute what their own models computed: every spike, stream and logit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from refmodel import floatmodel, golden
from refmodel.importers.families import FAMILIES
from refmodel.importers.imported import Imported
from refmodel.importers.state_dict import import_state_dict
from refmodel.importers.state_dict_options import StateDictOptions
from refmodel.network import ConvLayer
from refmodel.quantize import quantize
from tests.reference import state_dicts

NAMES = state_dicts.names()


def imported(name: str) -> tuple[Imported, state_dicts.Reference]:
    pytest.importorskip("safetensors")
    reference = state_dicts.read(name)
    known = {one.name for one in fields(StateDictOptions)}
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in reference.options.items() if key in known
    }  # fmt: skip
    path = state_dicts.parameters(name)
    return import_state_dict(path, reference.options["family"], StateDictOptions(**options)), reference


def test_every_family_has_a_reference() -> None:
    assert {state_dicts.read(name).options["family"] for name in NAMES} == set(FAMILIES)
    assert sum(path.stat().st_size for path in state_dicts.FOLDER.iterdir()) < 400_000


@pytest.mark.parametrize("name", NAMES)
def test_spikes_streams_and_logits_are_those_of_the_model(name: str) -> None:
    found, reference = imported(name)
    result = floatmodel.run(found.network, reference.x, keep=True)
    compared = set()
    for key, values in reference.tensors.items():
        kind, _, layer = key.partition("/")
        if kind == "spikes":
            assert values.any(), f"{layer} is silent"
            made = result.tensors[layer]
            np.testing.assert_array_equal(made, values, err_msg=layer)
            compared.add(layer)
        else:
            np.testing.assert_allclose(result.streams[layer], values, rtol=1e-5, atol=1e-5, err_msg=layer)
    np.testing.assert_allclose(result.logits, reference.logits, rtol=1e-9, atol=1e-9)
    spiking = {one.name for one in found.network.layers if isinstance(one, ConvLayer) and one.neuron is not None}
    assert spiking - {"input.ones"} == compared - {"stem.pool"}


@pytest.mark.parametrize(
    ("name", "least"),
    [("spikingjelly-sew-iand-bottleneck", 0.98), ("ds-resnet-events", 0.98), ("ms-resnet104", 0.94)],
)
def test_normalised_inputs_survive_quantisation(name: str, least: float) -> None:
    """The mean and what it is subtracted from share their scales: neither may cost the other its bits."""
    found, reference = imported(name)
    expected = floatmodel.run(found.network, reference.x, keep=True).tensors
    whole = quantize(found.network, 8)
    made = golden.run(whole, reference.x, keep=True).tensors
    assert (made["input.ones"] == 1).all()
    first = next(layer for layer in whole.layers if layer.name in ("stem1", "stem"))
    assert first.weight is not None and (np.abs(first.weight).max(axis=(1, 2, 3)) == 127).all()
    assert np.mean(made["stem"] == expected["stem"]) > least
