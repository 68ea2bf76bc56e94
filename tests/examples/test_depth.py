"""The figures of firing against depth: the measure, the drawing, and that the checked-in files are of one run."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import numpy as np
import pytest

from examples.training.depth import __main__ as depth
from examples.training.depth.chart import Curve, Panel, chart
from examples.training.depth.measure import block_rates, explained_by
from refmodel import floatmodel
from refmodel.builder import NetworkBuilder
from refmodel.datasets import load_data
from refmodel.network import InputSpec

SVG = "{http://www.w3.org/2000/svg}"


def checked_in() -> dict[str, list[dict[str, str]]]:
    """Rows of depth.csv, by network."""
    with (depth.DOCS / "depth.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [row for row in rows if row["network"] == name] for name in dict.fromkeys(r["network"] for r in rows)}


def test_explained_variance() -> None:
    y = np.repeat(np.arange(4), 50)
    noise = np.random.default_rng(0).normal(size=(200, 30))
    assert explained_by(y, np.eye(4)[y]) == pytest.approx(1.0)
    assert explained_by(y, noise) == pytest.approx(3 / 199, rel=0.3)
    assert explained_by(y, np.ones((200, 30))) == 0.0
    both = np.concatenate([np.eye(4)[y], noise], axis=1)
    assert 0.0 < explained_by(y, both) < 0.5


def test_rates_of_the_blocks_are_those_of_the_tensors() -> None:
    rng = np.random.default_rng(1)
    builder = NetworkBuilder("net", 4, InputSpec((1, 8, 8), 5, scale=1 / 16))
    x = builder.conv("input", rng.normal(size=(3, 1, 3, 3)))
    for _ in range(2):
        x = builder.sew_block(x, *(rng.normal(size=(3, 3, 3, 3)), None) * 2)
    builder.readout(x, rng.normal(size=(10, 3)))
    images, labels = (part[:40] for part in load_data("digits"))
    network = builder.build()
    rows = block_rates(network, images, labels)
    result = floatmodel.run(network, images, keep=True)
    assert [row.block for row in rows] == [0, 1, 2]
    for row, name in zip(rows, ("conv1", "block1.conv2", "block2.conv2"), strict=True):
        assert row.fired == pytest.approx(result.spikes[name].mean(), abs=1e-4)
        assert row.output == pytest.approx((result.tensors[name] > 0).mean(), abs=1e-4)
        assert row.mean == pytest.approx(result.tensors[name].mean(), abs=1e-4)
    assert rows[2].mean > rows[2].output > rows[2].fired > 0.0


def test_chart_places_curves_inside_their_axes() -> None:
    curve = Curve("a < b", [0, 5, 10], [0.0, 0.5, 1.0], "red", dashed=True)
    panel = Panel("title", "x", "y", 10, 1.0, 5, 0.5, [curve])
    root = ElementTree.fromstring(chart([[panel, panel], [panel, panel]]))
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == 4
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert words.count("a < b") == 2 and words.count("title") == 4
    first = [tuple(map(float, point.split(","))) for point in lines[0].attrib["points"].split()]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert first[0][0] < first[1][0] < first[2][0] < width and height > first[0][1] > first[1][1] > first[2][1] > 0
    assert first[1] == pytest.approx(tuple(np.mean([first[0], first[2]], axis=0)))


def test_checked_in_figures_are_of_these_networks() -> None:
    rows = checked_in()
    assert list(rows) == [subject.network for subject in depth.SUBJECTS]
    for subject in depth.SUBJECTS:
        assert len(rows[subject.network]) == 1 + sum(
            layer.name.endswith(".conv2") for layer in depth.read(subject.network).layers
        )


def test_checked_in_drawing_is_of_the_checked_in_figures() -> None:
    measured = {
        name: [
            depth.BlockRates(
                int(row["block"]), *(float(row[column]) for column in ("fired", "output", "mean", "digit"))
            )
            for row in rows
        ]
        for name, rows in checked_in().items()
    }
    assert depth.drawing(measured) == (depth.DOCS / "depth.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["digits-plain-20-no-norm", "digits-ms-20"])
def test_figures_measured_again(name: str) -> None:
    found = block_rates(depth.read(name), *load_data("digits"))
    for rates, row in zip(found, checked_in()[name], strict=True):
        for column in ("block", "fired", "output", "mean", "digit"):
            assert getattr(rates, column) == pytest.approx(float(row[column]), abs=2e-4)


def test_spikes_vanish_without_and_survive_with_an_identity() -> None:
    """What docs/depth.md says."""
    last = {name: float(rows[-1]["output"]) for name, rows in checked_in().items()}
    assert last["digits-plain-20-no-norm"] == last["digits-spiking-20-no-norm"] == 0.0
    assert min(last[f"digits-{family}"] for family in ("sew-add-20", "sew-add-50", "ms-20", "ms-50")) > 0.2
    digit = {name: float(rows[-1]["digit"]) for name, rows in checked_in().items()}
    degraded = max(digit[f"digits-{family}"] for family in ("plain-20", "spiking-20", "spiking-50"))
    assert 2 * degraded < min(digit[f"digits-{family}"] for family in ("sew-add-20", "sew-add-50", "ms-20", "ms-50"))
