"""Networks of the zoo on the command line, and estimates from densities."""

from __future__ import annotations

import json
import resource
import sys
import time

import pytest
from typer.testing import CliRunner

from boards.registry import BOARDS
from refmodel import zoo
from skipspike import api, estimating
from skipspike.cli import app
from skipspike.hardware import compiled
from tests.cli.conftest import Command
from tests.cli.test_errors import refused
from tests.cli.test_verbs import run_json

SMALL = "zoo:7b-net,width=0.125,size=4,steps=4"


def test_the_zoo_is_listed() -> None:
    listed = run_json("networks")["zoo"]
    assert [one["name"] for one in listed] == [f"zoo:{name}" for name in zoo.names()]
    assert listed[2]["options"]["size"] == 224
    text = CliRunner().invoke(app, ["networks"]).stdout
    assert "zoo:ds-resnet68" in text and "levels=3" in text


def test_verbs_take_networks_of_the_zoo() -> None:
    assert run_json("info", SMALL)["name"] == "7b-net"
    evaluated = run_json("evaluate", SMALL, "--samples", "3")
    assert (evaluated["data"], evaluated["samples"], evaluated["accuracy"]) == ("random", 3, None)
    assert evaluated["labels"] == [-1, -1, -1]
    estimated = run_json("estimate", SMALL, "--samples", "1")
    assert estimated["exact"] is True and estimated["fits"] is True
    _, program = compiled(SMALL, "icebreaker", None)  # what generate and build begin with
    assert program.memory()["store_words"] == estimated["memory"]["store_words"]


@pytest.mark.slow
def test_a_network_of_the_zoo_runs_as_estimated() -> None:
    seen = run_json("simulate", SMALL, "--samples", "1", "--simulator", "amaranth")
    assert seen["mismatched_clocks"] == 0
    assert seen["clocks"] == run_json("estimate", SMALL, "--samples", "1")["clocks"]


def test_an_analytic_estimate_comes_close() -> None:
    exact = run_json("estimate", SMALL, "--board", "ulx3s_85f")
    expected = run_json("estimate", SMALL, "--board", "ulx3s_85f", "--analytic")
    assert expected["exact"] is False and expected["samples"] == 0 and expected["clocks"] == []
    assert expected["clocks_per_inference"] == pytest.approx(exact["clocks_per_inference"], rel=0.1)
    assert [layer["name"] for layer in expected["layers"]] == [layer["name"] for layer in exact["layers"]]
    assert expected["frames_per_second"] == pytest.approx(
        BOARDS["ulx3s_85f"].clock_hz / expected["clocks_per_inference"]
    )
    for key in ("store_words", "spike_words", "bank_words", "core", "board"):
        assert expected["memory"][key] == exact["memory"][key], key
    text = CliRunner().invoke(app, ["estimate", SMALL, "--board", "ulx3s_85f", "--analytic"]).stdout
    assert "not exact" in text and "density" in text


def test_densities() -> None:
    def clocks(*options: str) -> float:
        return run_json("estimate", SMALL, "--board", "ulx3s_12f", *options)["clocks_per_inference"]

    assert clocks("--density", "0.05") < clocks("--analytic") < clocks("--density", "0.5")
    assert clocks("--density", "0.15") == clocks("--analytic")
    assert clocks("--density", "block*=0.5,input=0.9") > clocks("--density", "block*=0.5")
    assert estimating.rates_of("0.5,a.*=0.25") == {"*": 0.5, "a.*": 0.25}
    assert estimating.rates_of({"a": 1.0}) == {"a": 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--density", "much"], ["much", "LAYER=RATE"]),
        (["--density", "2"], ["0 to 1"]),
        (["--density", "conv9=0.1"], ["conv9", "block1.conv1"]),
        (["--analytic", "--samples", "3"], ["densities", "samples"]),
        (["--analytic", "--data", "random"], ["densities", "data"]),
    ],
)
def test_wrong_densities(options: list[str], words: list[str]) -> None:
    line = refused("estimate", SMALL, *options)
    assert all(word in line for word in words), line


def test_unknown_names_and_options() -> None:
    assert "sew-resnet18" in refused("info", "zoo:sew-resnet19")
    assert "width" in refused("estimate", "zoo:sew-resnet18,breadth=2")
    assert "zoo:NAME" in refused("info", "sew-resnet18")


def test_all_that_is_missing_is_told() -> None:
    found = run_json("estimate", "zoo:sew-resnet18,width=0.25,size=32", "--samples", "1")
    assert found["fits"] is False and found["exact"] is True and found["clocks_per_inference"] is None
    settings = {limit["setting"] for limit in found["limits"]}
    assert {"store_depth", "spike_depth", "bank_depth"} <= settings
    assert all(limit["needed"] > limit["present"] for limit in found["limits"])
    text = CliRunner().invoke(app, ["estimate", "zoo:sew-resnet18,width=0.25,size=32"]).stdout
    assert text.count("needed") == len(settings) and "--analytic" in text


def test_huge_networks_are_expected_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "MOST_WORDS", 100)
    assert api.estimate(SMALL, board="ulx3s_12f")["exact"] is False
    assert api.estimate(SMALL, board="ulx3s_12f", samples=1)["exact"] is True
    monkeypatch.undo()
    monkeypatch.setattr(estimating, "MOST_OPERATIONS", 100)
    assert api.estimate(SMALL, board="ulx3s_12f")["exact"] is False


def test_huge_networks_are_described_without_weights() -> None:
    found = api.info("zoo:sew-resnet50")
    assert found["parameters"] > 25_000_000
    assert all(layer["sum_bits"] is None for layer in found["layers"])


def test_7b_net_in_full() -> None:
    """The paper's network on its 128x128 event frames, T = 16: quickly, with all that the boards lack."""
    began = time.process_time()
    found = run_json("estimate", "zoo:7b-net", "--board", "icebreaker")
    assert time.process_time() - began < 30
    assert found["exact"] is False and found["fits"] is False
    assert {limit["setting"] for limit in found["limits"]} >= {"store_depth", "spike_depth", "bank_depth", "dim_bits"}
    assert found["clocks_per_inference"] > 10_000_000
    assert sum(layer["clocks"] for layer in found["layers"]) == pytest.approx(found["clocks_per_inference"])


@pytest.mark.slow
@pytest.mark.parametrize("board", ["icebreaker", "ulx3s_85f"])
def test_sew_resnet152_in_full(command: Command, board: str) -> None:
    """Under 30 s of CPU and 2 GiB, in a process of its own."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("estimate", "zoo:sew-resnet152", "--board", board, "--json")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["exact"] is False and len(found["layers"]) == 157
    assert ended.ru_utime - began.ru_utime < 30
    assert sys.platform != "linux" or ended.ru_maxrss < 2 << 20  # kilobytes
