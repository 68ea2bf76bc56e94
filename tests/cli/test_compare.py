"""The verb ``compare``: what it says of networks that agree, differ, are wrong, are integer already or do not fit."""

from __future__ import annotations

import importlib.util
import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import modelfile
from refmodel.network import Network
from refmodel.quantize import quantize
from skipspike import api, comparing
from skipspike.cli import app
from tests.cli.conftest import Command, small_network
from tests.cli.test_errors import refused
from tests.cli.test_verbs import run_json

CORE = ["--rtl-samples", "1", "--simulator", "amaranth"]
ALONE = ["--rtl-samples", "0"]


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    """The small network's integers, with one weight of the second layer 60 units off."""
    whole = quantize(small_network(), 8)
    layers = list(whole.layers)
    assert layers[1].weight is not None
    weight = layers[1].weight.copy()
    weight[3, 2, 1, 1] += -60 if weight[3, 2, 1, 1] > 0 else 60
    layers[1] = replace(layers[1], weight=weight)
    path = tmp_path / "wrong.skn"
    modelfile.save(replace(whole, layers=tuple(layers)), path)
    return str(path)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the simulation: its result, to be changed by the test, which then holds its arguments, too."""
    result: dict[str, Any] = {
        "simulator": "none", "samples": 1, "accuracy": 0.0, "predictions": [1], "golden_predictions": [1],
        "clocks": [70], "compared_clocks": 70, "mismatched_clocks": 0, "first_mismatch": None,
    }  # fmt: skip

    def simulate(network: str, **options: Any) -> dict[str, Any]:
        result["asked"] = (str(network), options["board"], options["samples"], options["bits"])
        return result

    monkeypatch.setattr(comparing, "simulate", simulate)
    return result


def test_all_three_stages_beside_each_other(small: str, small_data: str) -> None:
    found = run_json("compare", small, "--data", small_data, *CORE)
    other = run_json("evaluate", small, "--data", small_data, "--board", "icebreaker")
    assert found["form"] == "float" and found["samples"] == 6 and found["weight_bits"] == 8
    assert found["accuracy_int"] == other["accuracy"] and found["accuracy_float"] == other["accuracy_float"]
    assert found["predictions_int"] == other["predictions"] and found["labels"] == other["labels"]
    rtl = found["rtl"]
    assert rtl["agrees"] and rtl["samples"] == 1 and rtl["simulator"] == "amaranth"
    assert rtl["clocks"] == api.estimate(small, data=small_data, samples=1)["clocks"]
    assert rtl["compared_clocks"] == sum(rtl["clocks"]) and rtl["mismatched_clocks"] == 0
    assert rtl["predictions"] == found["predictions_int"][:1]
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in small_network().layers[:-1]]
    assert found["misfits"] == [] and found["clipped"] == []
    assert f"the core loses none: 1 image and {rtl['compared_clocks']} clocks equal" in found["verdict"]
    differing = [i for i in range(6) if found["predictions_float"][i] != found["predictions_int"][i]]
    assert [one["image"] for one in found["differing"]] == differing
    assert found["plots"] == [] and found["rtl_reason"] is None


def test_images_lost_and_won_are_counted() -> None:
    """With 3 bits some predictions differ; the margins are those of the logits."""
    found = api.compare("digits-dense", bits=3, rtl_samples=0)
    pairs = list(zip(found["predictions_float"], found["predictions_int"], found["labels"], strict=True))
    assert found["lost"] == sum(a == y != b for a, b, y in pairs)
    assert found["won"] == sum(b == y != a for a, b, y in pairs)
    assert found["differing"], "a case without a difference tests nothing"
    assert found["agreement"] == round(100 * sum(a == b for a, b, _ in pairs) / 360, 2)
    for one in found["differing"]:
        image = one["image"]
        assert [one["float"], one["integer"], one["label"]] == list(pairs[image])
        assert one["margin_float"] > 0 and one["margin_int"] >= 0
    assert f"quantising loses {found['lost']} and wins {found['won']} of 360 images" in found["verdict"]
    assert "not simulated: not asked for" in found["verdict"]
    assert found["first"]["layer"] == "conv1" and "units" in found["first"]["example"]["text"]


def test_a_wrong_number_is_named(small: str, small_data: str, wrong: str, simulated: dict[str, Any]) -> None:
    found = run_json("compare", small, "--data", small_data, "--integer", wrong)
    assert simulated["asked"] == (wrong, "icebreaker", 2, None)
    assert len(found["misfits"]) == 1 and "layer 'conv2': weight [3, 2, 1, 1]" in found["misfits"][0]
    assert "not by rounding alone" in found["verdict"] and "conv2" in found["verdict"]
    assert found["rtl"]["agrees"], "the core does what the integer network says, right or wrong"
    marks = {layer["name"]: layer["misfit"]["cause"] for layer in found["layers"]}
    assert marks == {"conv1": "rounding", "conv2": "neither", "conv3": "rounding"}
    result = CliRunner().invoke(app, ["compare", small, "--data", small_data, "--integer", wrong, *ALONE])
    assert result.exit_code == 0 and "NOT ROUNDING: layer 'conv2'" in result.stdout


def test_tables_say_what_the_result_holds(small: str, small_data: str, simulated: dict[str, Any]) -> None:
    result = CliRunner().invoke(app, ["compare", small, "--data", small_data, "--bits", "2", "--rtl-samples", "9"])
    assert result.exit_code == 0, result.stderr
    assert simulated["asked"] == (small, "icebreaker", 6, 2), "no more than there are"
    for words in ("float network", "integer network", "core", "conv2", "first difference in layer", "verdict:"):
        assert words in result.stdout, words


def test_a_network_that_is_quantised_already(
    small: str, small_data: str, tmp_path: Path, simulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "batch_images", lambda tensors, steps: 4)
    net = modelfile.load(small)
    assert isinstance(net, Network)
    path = tmp_path / "whole.skn"
    modelfile.save(quantize(net, 8), path)
    found = run_json("compare", str(path), "--data", small_data, "--rtl-samples", "1")
    assert simulated["asked"] == (str(path), "icebreaker", 1, None)
    assert found["form"] == "quantised" and found["rtl"]["agrees"]
    assert found["accuracy_float"] is found["agreement"] is found["first"] is None
    float_one = api.compare(small, data=small_data, rtl_samples=0)
    assert found["predictions_int"] == float_one["predictions_int"]
    for mine, theirs in zip(found["layers"], float_one["layers"], strict=True):
        assert mine["rate_int"] == pytest.approx(theirs["rate_int"])
    assert "it is quantised already" in found["verdict"]
    result = CliRunner().invoke(app, ["compare", str(path), "--data", small_data, *ALONE])
    assert result.exit_code == 0 and "give it as NET" in result.stdout


def test_data_without_labels() -> None:
    found = run_json("compare", "zoo:tutorial-sew,n_blocks=1,n_features=8", "--samples", "3", *ALONE)
    assert found["data"] == "random" and found["labels"] == [-1, -1, -1]
    assert found["accuracy_float"] is None and found["lost"] is None
    assert "of 3 predictions" in found["verdict"]


def test_a_core_that_cannot_run_it_is_no_error() -> None:
    found = run_json("compare", "digits-ms-8", "--samples", "2")
    assert found["rtl"] is None and "icebreaker cannot run it" in found["rtl_reason"]
    assert found["rtl_reason"] in found["verdict"]


def test_a_core_that_differs_is_an_error(small: str, small_data: str, simulated: dict[str, Any]) -> None:
    simulated.update(mismatched_clocks=3, first_mismatch="sample 0: clock 7")
    result = CliRunner().invoke(app, ["compare", small, "--data", small_data, "--json"])
    assert result.exit_code == 1 and "3 clocks: sample 0: clock 7" in result.stderr
    found = json.loads(result.stdout)
    assert not found["rtl"]["agrees"] and "CORE DIFFERS" in found["verdict"]
    simulated.update(mismatched_clocks=0, first_mismatch=None, predictions=[2])
    result = CliRunner().invoke(app, ["compare", small, "--data", small_data])
    assert result.exit_code == 1 and "predictions differ" in result.stderr


def test_refusals(small: str, small_data: str, wrong: str, tmp_path: Path) -> None:
    options = ["--data", small_data, *ALONE]
    assert "--integer wants one that is quantised" in refused("compare", small, "--integer", small, *options)
    assert "quantised already" in refused("compare", wrong, "--integer", wrong, *options)
    assert "8 bits already" in refused("compare", small, "--integer", wrong, "--bits", "4", *options)
    assert "quantise that network" in refused("compare", small, "--integer", _pruned(tmp_path), *options)
    assert "arty" in refused("compare", small, "--board", "arty", *options)
    assert "--rtl-samples" in refused("compare", small, "--rtl-samples", "-1", code=2)
    with pytest.raises(api.SkipspikeError, match="rtl_samples"):
        api.compare(small, rtl_samples=-1)


def _pruned(folder: Path) -> str:
    whole = quantize(small_network(channels=5), 8)
    modelfile.save(whole, folder / "other.skn")
    return str(folder / "other.skn")


def test_plots_without_matplotlib_are_refused_first(
    small: str, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else known(name, *rest)
    )
    out = tmp_path / "plots"
    result = CliRunner().invoke(app, ["compare", small, "--data", small_data, "--plots", str(out), *ALONE])
    assert result.exit_code == 1 and "skipspike[plots]" in result.stderr and "golden" not in result.stderr
    assert not out.exists()


def test_without_plots_matplotlib_is_not_needed(small: str, small_data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert api.compare(small, data=small_data, rtl_samples=0)["plots"] == []


def test_plots_are_the_same_every_time(small: str, small_data: str, wrong: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    options: dict[str, Any] = {"data": small_data, "rtl_samples": 0, "bits": 2}
    found = api.compare(small, plots=tmp_path / "a", **options)
    api.compare(small, plots=tmp_path / "b", **options)
    names = ["accuracy.svg", "difference.svg", "margins.svg", "own.svg", "rates.svg"]
    assert sorted(Path(path).name for path in found["plots"]) == names
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    words = " ".join(ElementTree.parse(tmp_path / "a" / "rates.svg").getroot().itertext())
    assert all(layer["name"] in words for layer in found["layers"])
    words = " ".join(ElementTree.parse(tmp_path / "a" / "accuracy.svg").getroot().itertext())
    assert f"{found['accuracy_float']:.2f} %" in words and f"{found['accuracy_int']:.2f} %" in words
    alone = api.compare(wrong, data=small_data, rtl_samples=0, plots=tmp_path / "c")
    assert sorted(Path(path).name for path in alone["plots"]) == ["accuracy.svg", "rates.svg"]
    (tmp_path / "file").write_text("")
    with pytest.raises(api.SkipspikeError, match="is a file"):
        api.compare(small, plots=tmp_path / "file", **options)


@pytest.mark.slow
def test_a_bundled_network_down_to_verilator(command: Command, tmp_path: Path) -> None:
    done = command("compare", "digits-sew-add-8", "--samples", "60", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rtl"]["agrees"] and found["rtl"]["samples"] == 2 and found["misfits"] == []
    assert found["rtl"]["predictions"] == found["predictions_int"][:2]
    assert np.mean([layer["agreement"] for layer in found["layers"]]) > 0.9
