"""The verb data, and what the other verbs make of data: prepared once, of the network's own set by default."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import modelfile
from refmodel.datasets import registry
from refmodel.errors import DataError
from refmodel.layers import InputSpec
from refmodel.network import Network
from refmodel.preparation import prepare
from refmodel.quantize import quantize
from skipspike import api
from skipspike.cli import app
from skipspike.models import data_of, samples_of
from tests.cli.conftest import small_network

RAW = np.random.default_rng(6).integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and nothing that can be fetched."""
    monkeypatch.setenv("SKIPSPIKE_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, one in list(registry.FETCHED.items()):
        monkeypatch.setitem(registry.FETCHED, name, replace(one, url="http://127.0.0.1:9/x.tgz", installed=None))


def folded_network(**meta: Any) -> Network:
    """The small network on 4x4 pixels of 8 bits, folded into 4 channels of 3 bits."""
    net = small_network(side=2)
    spec = InputSpec((4, 2, 2), 3, scale=1 / 7, fold=2, drop_bits=5)
    first: Any = net.layers[0]
    wide = replace(first, weight=np.repeat(first.weight, 4, axis=1) * [[[[0.9]], [[0.4]], [[-0.3]], [[0.2]]]])
    return Network("folded", net.steps, spec, (wide, *net.layers[1:]), net.family, meta)


@pytest.fixture
def folded(tmp_path: Path) -> str:
    path = tmp_path / "folded.skn"
    modelfile.save(folded_network(), path)
    return str(path)


@pytest.fixture
def raw(tmp_path: Path) -> str:
    np.savez(tmp_path / "raw.npz", x=RAW, y=LABELS)
    return str(tmp_path / "raw.npz")


def run_json(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_sets_are_listed(tmp_path: Path) -> None:
    found = run_json("data")
    assert found["folder"] == str(tmp_path / "cache")
    sets = {one["name"]: one for one in found["sets"]}
    assert list(sets) == ["digits", "mnist", "fashion-mnist"]
    assert sets["digits"]["at_hand"] and sets["mnist"]["at_hand"] is None
    assert sets["mnist"]["samples"] == {"test": 10_000, "train": 60_000} and sets["mnist"]["shape"] == [1, 28, 28]
    assert sets["fashion-mnist"]["licence"] == "MIT" and sets["fashion-mnist"]["download"] == 30_900_652
    rows = [line.split()[0] for line in CliRunner().invoke(app, ["data"]).stdout.splitlines() if line]
    assert rows[:6] == ["data", *registry.NAMES]


def test_one_set() -> None:
    found = run_json("data", "digits")
    assert found == {
        "name": "digits", "samples": 360, "shape": [1, 8, 8], "values": [0, 16], "unlabelled": 0,
        "classes": [36, 36, 35, 37, 36, 37, 36, 36, 35, 36],
    }  # fmt: skip
    lines = CliRunner().invoke(app, ["data", "digits"]).stdout.splitlines()
    assert lines[4].split() == ["3", "37"] and lines[-1] == "digits: 360 samples 1x8x8, values 0 to 16"


def test_a_file(tmp_path: Path, raw: str) -> None:
    assert run_json("data", raw)["classes"] == [2, 2, 2]
    np.save(tmp_path / "x.npy", RAW)
    found = run_json("data", str(tmp_path / "x.npy"))
    assert found["classes"] == [] and found["unlabelled"] == 6
    assert "none        6" in CliRunner().invoke(app, ["data", str(tmp_path / "x.npy")]).stdout


def test_what_cannot_be_fetched_is_one_line() -> None:
    result = CliRunner().invoke(app, ["data", "mnist", "--json"])
    assert result.exit_code == 1 and not result.stdout
    assert "error: data 'mnist': cannot fetch http://127.0.0.1:9/x.tgz (no connection); save it as" in result.stderr


def test_a_network_names_its_data(tmp_path: Path) -> None:
    for named, expected in (("mnist", "mnist"), ("random", "random"), ("mine.npz", "digits"), (3, "digits")):
        net = folded_network(data=named)
        assert data_of(net, None) == expected and data_of(net, "digits") == "digits"
        assert data_of(quantize(net), None) == expected
    assert data_of(folded_network(), None) == "digits"
    modelfile.save(folded_network(data="fashion-mnist"), tmp_path / "net.skn")
    with pytest.raises(DataError, match="data 'fashion-mnist': cannot fetch"):
        api.evaluate(tmp_path / "net.skn")


def test_data_is_prepared_once(tmp_path: Path, folded: str, raw: str) -> None:
    net = folded_network()
    prepared = prepare(net.input, RAW)
    assert prepared.shape == (6, 4, 2, 2) and prepared.max() == 7
    np.savez(tmp_path / "prepared.npz", x=prepared, y=LABELS)
    x, y = samples_of(net, raw, 4)
    assert np.array_equal(x, prepared[:4]) and np.array_equal(y, LABELS[:4])
    expected = api.evaluate(folded, data=raw)
    got = api.evaluate(folded, data=tmp_path / "prepared.npz")
    assert expected | {"data": ""} == got | {"data": ""}
    clocks = [api.estimate(folded, data=data)["clocks"] for data in (raw, tmp_path / "prepared.npz")]
    assert clocks[0] == clocks[1] and len(set(clocks[0])) > 1


def test_info_says_how_data_is_prepared(folded: str) -> None:
    assert run_json("info", folded)["input"] == {
        "shape": [4, 2, 2], "bits": 3, "static": True, "fold": 2, "drop_bits": 5,
    }  # fmt: skip
    last = CliRunner().invoke(app, ["info", folded]).stdout.splitlines()[-1]
    assert "input 4x2x2 of 3 bits (folded 2x2, 5 bits dropped), T = 4" in last


def test_the_example_is_prepared(tmp_path: Path, folded: str, raw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amaranth.back.verilog.convert", lambda *_, **__: "")
    api.generate(folded, board="icebreaker", out=tmp_path / "out", data=raw)
    example = json.loads((tmp_path / "out" / "example.json").read_text())
    assert example["input"] == prepare(folded_network().input, RAW)[0].tolist() and example["label"] == 0
    assert [example["clocks"]] == api.estimate(folded, data=raw, samples=1)["clocks"]
    kept = modelfile.load(tmp_path / "out" / "network.skn")
    assert (kept.input.fold, kept.input.drop_bits) == (2, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("simulator", "samples"), [("amaranth", 2), ("verilator", 6)])
def test_the_core_gets_what_prepare_makes(folded: str, raw: str, simulator: Any, samples: int) -> None:
    seen = api.simulate(folded, data=raw, samples=samples, simulator=simulator)
    assert seen["mismatched_clocks"] == 0
    assert seen["clocks"] == api.estimate(folded, data=raw, samples=samples)["clocks"]
    assert seen["predictions"] == api.evaluate(folded, data=raw, samples=samples)["predictions"]


def test_data_that_does_not_fit(tmp_path: Path, folded: str) -> None:
    def refusal(x: np.ndarray) -> str:
        np.savez(tmp_path / "x.npz", x=x, y=np.zeros(len(x), int))
        with pytest.raises(DataError) as caught:
            api.evaluate(folded, data=tmp_path / "x.npz")
        return str(caught.value)

    shapes = "samples have the shape (1, 4, 5), but the network takes (C, H, W) = (1, 4, 4), or folded 2x2 (4, 2, 2)"
    assert f"network 'folded': {shapes}; reshape the data" in refusal(np.zeros((3, 1, 4, 5), int))
    assert "values of 0 to 8, but network 'folded' takes 0 to 7 (3 bits after dropping 5)" in refusal(
        np.full((1, 1, 4, 4), 256) * np.eye(4, dtype=int)
    )
    assert "values of 8 to 8, but" in refusal(np.full((1, 4, 2, 2), 8))


def test_event_frames(tmp_path: Path) -> None:
    net = replace(folded_network(), input=replace(folded_network().input, static=False))
    modelfile.save(net, tmp_path / "frames.skn")
    frames = np.random.default_rng(1).integers(0, 256, (3, 4, 1, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "frames.npz", x=frames, y=[0, 1, 2])
    np.save(tmp_path / "one.npy", frames[1])
    several = api.evaluate(tmp_path / "frames.skn", data=tmp_path / "frames.npz")
    one = api.evaluate(tmp_path / "frames.skn", data=tmp_path / "one.npy")
    assert one["samples"] == 1 and one["accuracy"] is None and one["predictions"] == several["predictions"][1:2]
    np.savez(tmp_path / "long.npz", x=np.repeat(frames, 2, axis=1), y=[0, 1, 2])
    with pytest.raises(DataError) as caught:
        api.evaluate(tmp_path / "frames.skn", data=tmp_path / "long.npz")
    assert "shape (8, 1, 4, 4), but the network takes (T, C, H, W) = (4, 1, 4, 4)" in str(caught.value)
