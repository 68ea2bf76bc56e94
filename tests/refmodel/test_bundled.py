"""The networks in the repository: what the list says is what the files hold and what runs give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boards.registry import get_board
from refmodel import bundled, floatmodel, golden
from refmodel.compiler import compile_network
from refmodel.datasets import load_data
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer
from refmodel.preparation import prepare
from refmodel.quantize import quantize
from skipspike.cores import core_for
from skipspike.models import quantised

#: Family, parameters and weight bits of every bundled network, by name.
BUNDLED = {
    "digits-dense": ("DENSE", 8970, 8),
    "digits-ds-4": ("DS", 18890, 8),
    "digits-ms-24": ("MS", 28202, 8),
    "digits-ms-8": ("MS", 37450, 8),
    "digits-sew-add-24": ("SEW-ADD", 28202, 8),
    "digits-sew-add-50": ("SEW-ADD", 58570, 8),
    "digits-sew-add-8": ("SEW-ADD", 37450, 8),
    "digits-sew-add-8-w4": ("SEW-ADD", 37450, 4),
    "digits-sew-and-6": ("SEW-AND", 28170, 8),
    "digits-sew-iand-8": ("SEW-IAND", 37450, 8),
    "digits-sew-or-8": ("SEW-OR", 37450, 8),
    "digits-spiking-24": ("SPIKING", 28202, 8),
    "fashion-ms-6": ("MS", 50466, 8),
    "fashion-sew-add-5": ("SEW-ADD", 178834, 8),
    "fashion-sew-add-7": ("SEW-ADD", 60882, 8),
    "fashion-sew-add-7-w4": ("SEW-ADD", 60882, 4),
    "mnist-ms-6": ("MS", 50466, 8),
    "mnist-sew-add-7": ("SEW-ADD", 60882, 8),
    "mnist-sew-add-7-w4": ("SEW-ADD", 60882, 4),
}
NAMES = list(BUNDLED)

#: Least float accuracy in percent of the networks that learned.
GOALS = {
    "digits-dense": 97.0, "digits-ds-4": 98.0, "digits-ms-24": 96.0, "digits-ms-8": 97.5, "digits-sew-add-24": 95.5,
    "digits-sew-add-50": 95.0, "digits-sew-add-8": 97.5, "digits-sew-add-8-w4": 97.0, "digits-sew-and-6": 95.0,
    "digits-sew-iand-8": 97.5, "digits-sew-or-8": 97.0, "fashion-ms-6": 88.0,
    "fashion-sew-add-5": 89.0, "fashion-sew-add-7": 89.5, "fashion-sew-add-7-w4": 88.5, "mnist-ms-6": 98.5,
    "mnist-sew-add-7": 99.0, "mnist-sew-add-7-w4": 98.5,
}  # fmt: skip

TRAINING = Path(__file__).parents[2] / "docs" / "training.md"


#: Test images of each data set.
IMAGES = {"digits": 360, "mnist": 10_000, "fashion-mnist": 10_000}


def data_of(name: str) -> str:
    """The data set that a network's name begins with."""
    return next(data for data in IMAGES if name.startswith(data.split("-")[0]))


def test_names() -> None:
    assert bundled.names() == NAMES


def test_list() -> None:
    entries = {entry["name"]: entry for entry in bundled.list_networks()}
    assert list(entries) == NAMES
    for entry in entries.values():
        assert entry["data"] == data_of(entry["name"]) and entry["steps"] == 4
        assert isinstance(entry["accuracy_float"], float) and isinstance(entry["accuracy_int"], float)
    found = {name: (entry["family"], entry["parameters"], entry["weight_bits"]) for name, entry in entries.items()}
    assert found == BUNDLED


def test_accuracies_meet_their_goals() -> None:
    entries = {entry["name"]: entry for entry in bundled.list_networks()}
    for name, goal in GOALS.items():
        assert entries[name]["accuracy_float"] >= goal, name
        assert abs(entries[name]["accuracy_int"] - entries[name]["accuracy_float"]) <= 1.0, name
    # 4-bit weights, fine-tuned, cost at most one and a half points of the float parent
    for name in NAMES:
        if name.endswith("-w4"):
            assert entries[name]["accuracy_int"] >= entries[name.removesuffix("-w4")]["accuracy_float"] - 1.5, name


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("digits")])
def test_networks_of_real_pictures_fit_their_boards(name: str) -> None:
    """SEW-ADD and its 4-bit form an iCEBreaker; the others the ULX3S 85F."""
    board = get_board("icebreaker" if "sew-add-7" in name else "ulx3s_85f")
    net = quantised(bundled.load_network(name), None, board.core)
    compile_network(net, core_for(board, net))


def test_spiking_resnet_is_at_chance() -> None:
    """The degradation problem, which the network is bundled to show: it guesses, in floats and in integers."""
    assert set(NAMES) - set(GOALS) == {"digits-spiking-24"}
    row = bundled.accuracies()["digits-spiking-24"]
    assert row["accuracy_float"] < 15.0 and abs(row["accuracy_int"] - row["accuracy_float"]) <= 1.0


def test_docs_show_the_table() -> None:
    """docs/training.md has the checked-in figures of every network."""
    lines = TRAINING.read_text(encoding="utf-8").splitlines()
    for name, row in bundled.accuracies().items():
        (line,) = (line for line in lines if line.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in line.split("|")]
        assert f"{BUNDLED[name][1]:,}" in cells, name
        assert f"{row['accuracy_float']:.2f} %" in cells, name
        assert f"{row['accuracy_int']:.2f} % ({row['weight_bits']} bits)" in cells, name
        validation = bundled.load_network(name).meta.get("accuracy_validation")
        assert f"{validation:.2f} %" in cells, name


def test_table_matches_meta() -> None:
    assert sorted(bundled.accuracies()) == NAMES
    for name, row in bundled.accuracies().items():
        network = bundled.load_network(name)
        assert row["images"] == IMAGES[data_of(name)] and row["weight_bits"] == network.meta["weight_bits"]
        # measured by PyTorch in float32 at training, by the float model in float64 in the table
        assert abs(row["accuracy_float"] - float(str(network.meta["accuracy_float"]))) < 0.6


@pytest.mark.parametrize(
    "name",
    [
        "digits-dense", "digits-ds-4", "digits-ms-8", "digits-sew-add-8-w4",
        *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if not name.startswith("digits")),
    ],
)  # fmt: skip
def test_integer_accuracy_is_what_the_table_says(name: str) -> None:
    x, y = load_data(data_of(name))
    row = bundled.accuracies()[name]
    net = quantize(bundled.load_network(name), row["weight_bits"])
    predictions = golden.run(net, prepare(net.input, x)).predictions
    assert round(100.0 * float(np.mean(predictions == y)), 2) == row["accuracy_int"]


@pytest.mark.parametrize(
    ("name", "convolutions", "largest"),
    [
        ("digits-sew-add-24", 49, 25),
        ("digits-sew-add-50", 101, 51),
        ("digits-ms-24", 49, 1),
        ("digits-spiking-24", 49, 1),
        ("digits-ds-4", 9, 15),
    ],
)
def test_depth_and_largest_count(name: str, convolutions: int, largest: int) -> None:
    network = bundled.load_network(name)
    convs = [layer for layer in network.layers if isinstance(layer, ConvLayer)]
    assert len(convs) == convolutions
    assert network.tensors()[convs[-1].name].max_value == largest


@pytest.mark.parametrize("name", NAMES)
def test_meta(name: str) -> None:
    meta = bundled.load_network(name).meta
    assert set(meta) >= {"data", "family", "steps", "command", "seed", "accuracy_float", "torch", "weight_bits"}
    assert str(meta["command"]).endswith(f"--out refmodel/networks/{name}.skn")
    known = str(meta["command"]).replace("refmodel/networks/", "").replace("examples/training/depth/", "")
    assert "/" not in known  # no place of one machine


def test_w4_lies_on_its_own_grid() -> None:
    """Fine-tuning wrote the integers: float and 4-bit spikes are the same, ties with the threshold included."""
    network = bundled.load_network("digits-sew-add-8-w4")
    x, _ = load_data("digits")
    floats = floatmodel.run(network, x[:12], keep=True)
    whole = golden.run(quantize(network, 4), x[:12], keep=True)
    for layer in network.layers[:-1]:
        assert np.array_equal(floats.tensors[layer.name], whole.tensors[layer.name]), layer.name


def test_unknown_name() -> None:
    with pytest.raises(NetworkError, match="'digits-sew'; there are digits-dense, digits-ds-4"):
        bundled.load_network("digits-sew")
