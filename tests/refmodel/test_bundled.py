"""The networks in the repository: what the list says is what the files hold and what runs give."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import bundled, floatmodel, golden
from refmodel.datasets import load_data
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer
from refmodel.quantize import quantize

NAMES = ["digits-dense", "digits-sew-add-24", "digits-sew-add-8", "digits-sew-add-8-w4"]


def test_names() -> None:
    assert bundled.names() == NAMES


def test_list() -> None:
    entries = {entry["name"]: entry for entry in bundled.list_networks()}
    assert list(entries) == NAMES
    for entry in entries.values():
        assert entry["data"] == "digits" and entry["steps"] == 4
        assert isinstance(entry["accuracy_float"], float) and isinstance(entry["accuracy_int"], float)
    assert {name: entry["family"] for name, entry in entries.items()} == {
        "digits-dense": "DENSE",
        "digits-sew-add-24": "SEW-ADD",
        "digits-sew-add-8": "SEW-ADD",
        "digits-sew-add-8-w4": "SEW-ADD",
    }
    assert [entries[name]["weight_bits"] for name in NAMES] == [8, 8, 8, 4]
    assert [entries[name]["parameters"] for name in NAMES] == [8970, 28202, 37450, 37450]


def test_accuracies_meet_their_goals() -> None:
    entries = {entry["name"]: entry for entry in bundled.list_networks()}
    assert entries["digits-sew-add-8"]["accuracy_float"] >= 97.5
    assert entries["digits-sew-add-24"]["accuracy_float"] >= 95.5
    for entry in entries.values():
        assert abs(entry["accuracy_int"] - entry["accuracy_float"]) <= 0.5, entry["name"]
    # 4-bit weights cost at most two points of the float parent
    assert entries["digits-sew-add-8-w4"]["accuracy_int"] >= entries["digits-sew-add-8"]["accuracy_float"] - 2.0


def test_table_matches_meta() -> None:
    assert sorted(bundled.accuracies()) == NAMES
    for name, row in bundled.accuracies().items():
        network = bundled.load_network(name)
        assert row["images"] == 360 and row["weight_bits"] == network.meta["weight_bits"]
        # measured by PyTorch in float32 at training, by the float model in float64 in the table
        assert abs(row["accuracy_float"] - float(str(network.meta["accuracy_float"]))) < 0.6


@pytest.mark.parametrize("name", ["digits-dense", "digits-sew-add-8-w4"])
def test_integer_accuracy_is_what_the_table_says(name: str) -> None:
    x, y = load_data("digits")
    row = bundled.accuracies()[name]
    predictions = golden.run(quantize(bundled.load_network(name), row["weight_bits"]), x).predictions
    assert round(100.0 * float(np.mean(predictions == y)), 2) == row["accuracy_int"]


def test_depth_and_meta() -> None:
    network = bundled.load_network("digits-sew-add-24")
    assert sum(isinstance(layer, ConvLayer) for layer in network.layers) == 49
    assert network.tensors()["block24.conv2"].max_value == 25
    assert set(network.meta) >= {"data", "family", "steps", "command", "seed", "accuracy_float", "torch", "weight_bits"}
    assert "/" not in str(network.meta["command"]).replace("refmodel/networks/", "")


def test_w4_lies_on_its_own_grid() -> None:
    """Fine-tuning wrote the integers: float and 4-bit spikes are the same, ties with the threshold included."""
    network = bundled.load_network("digits-sew-add-8-w4")
    x, _ = load_data("digits")
    floats = floatmodel.run(network, x[:12], keep=True)
    whole = golden.run(quantize(network, 4), x[:12], keep=True)
    for layer in network.layers[:-1]:
        assert np.array_equal(floats.tensors[layer.name], whole.tensors[layer.name]), layer.name


def test_unknown_name() -> None:
    with pytest.raises(NetworkError, match="'digits-sew'; there are digits-dense, digits-sew-add-24"):
        bundled.load_network("digits-sew")
