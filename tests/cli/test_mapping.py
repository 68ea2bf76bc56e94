"""The search for a core: what it finds runs, fits, is the same every time, and all verbs take it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from boards.area_model import area
from boards.registry import get_board
from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from refmodel.errors import CompileError, SkipspikeError
from refmodel.quantized import QuantizedNetwork
from skipspike import api, mapping
from skipspike.candidates import shapes
from skipspike.cores import core_for, mapped, read_core
from skipspike.hardware import compiled
from skipspike.mapping import search, search_inputs
from skipspike.models import quantised
from tests.cli.conftest import small_network
from tests.cli.test_verbs import run_json


@pytest.fixture(scope="module")
def network() -> QuantizedNetwork:
    return quantised(small_network(12, 8), 6, get_board("ulx3s_25f").core)


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s_25f"])
def test_what_is_found_fits_and_is_fast(network: QuantizedNetwork, name: str) -> None:
    board = get_board(name)
    found = search(board, network)
    best = found.best
    assert search(board, network).best == best
    assert best.area == area(board.family, best.config)
    assert best.area.cells_most < board.luts and best.area.brams_most <= board.brams
    assert best.clock_hz <= board.clock_hz and found.exact and found.too_large < found.examined
    assert found.runner_up is not None and found.runner_up.shape != best.shape
    program = compile_network(network, best.config)
    x = search_inputs(network)
    clocks = run_timing(program, golden.run(program.network, x, keep=True).tensors).clocks.mean()
    assert clocks == best.clocks
    own = compile_network(network, core_for(board, network, "board"))
    usual = run_timing(own, golden.run(own.network, x, keep=True).tensors).clocks.mean()
    assert best.seconds < 1.02 * usual / board.clock_hz
    json.dumps(found.summary())


def test_several_engines_where_there_is_room(network: QuantizedNetwork) -> None:
    board = get_board("ulx3s_85f")
    found = search(board, network).best
    assert (
        found.shape.engines > 1
        and found.config.engines == found.shape.engines
        and f"E={found.shape.engines}" in str(found.shape)
    )
    alone = search(board, network, axes=(found.shape.event_lanes, found.shape.output_lanes, found.shape.time_lanes))
    assert alone.best.shape.engines == 1 and alone.best.seconds > found.seconds
    several = search(get_board("ulx3s_85f+sdram"), network).best
    assert several.shape.engines == 1


def test_a_board_without_room_is_refused(network: QuantizedNetwork) -> None:
    board = replace(get_board("ulx3s_25f"), luts=2000)
    with pytest.raises(CompileError, match="fits no core of ulx3s_25f"):
        search(board, network)
    with pytest.raises(CompileError, match="bits of weights"):
        search(replace(board, brams=0), network)


def test_shapes_are_those_that_can_be_built() -> None:
    found = list(shapes(get_board("ulx3s_85f"), 1, 4))
    assert {shape.time_lanes for shape in found} == {1}
    assert all(shape.output_lanes // shape.neuron_units >= 4 for shape in found)
    assert all(shape.neuron_units <= shape.bank_lanes <= shape.output_lanes for shape in found)
    assert {shape.bank_lanes for shape in found if shape.neuron_units == 1} == {8}  # 8 weights of 4 bits a word


def test_a_core_is_chosen_as_asked(network: QuantizedNetwork, tmp_path: Path) -> None:
    board = get_board("ulx3s_25f")
    assert mapped(board, network).choice == "board" and mapped(board, network, "board").config is board.core
    chosen = mapped(board, network, "search")
    assert chosen.choice == "search" and chosen.search is not None and chosen.config == chosen.search.best.config
    path = tmp_path / "core.json"
    path.write_text(json.dumps(asdict(chosen.config)))
    assert core_for(board, network, path) == chosen.config
    path.write_text(json.dumps({"core": asdict(chosen.config), "clock_hz": 40_000_000}))
    assert read_core(path) == (chosen.config, 40_000_000) and mapped(board, network, path).board.clock_hz == 40_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON file"),
        ("{}", "holds no core"),
        ('{"event_lanes": 2, "wings": 2}', "fields that no core has: wings"),
        ('{"event_lanes": 3}', "event_lanes must be a power of two"),
        (None, "use auto, board, search or a JSON file"),
    ],
)
def test_files_without_a_core_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "core.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SkipspikeError, match=message):
        read_core(path)


def test_a_network_that_the_boards_core_does_not_run_gets_another() -> None:
    """The store of the 12F's own core is too short for it."""
    found = run_json("estimate", "digits-sew-add-8", "--board", "ulx3s_12f", "--samples", "2")
    assert found["fits"] and found["mapping"]["choice"] == "search"
    assert "the board's own core does not run the network" in found["mapping"]["why"]
    assert found["core"] == found["mapping"]["search"]["best"]["core"]


def test_every_verb_takes_the_same_core(small: str, small_data: str, tmp_path: Path) -> None:
    told = run_json("estimate", small, "--data", small_data, "--samples", "1", "--core", "search")
    assert told["mapping"]["choice"] == "search" and told["mapping"]["search"]["runner_up"] is not None
    core = tmp_path / "core.json"
    core.write_text(json.dumps(told))
    for choice in ("search", str(core)):  # what generate and build begin with
        board, program = compiled(small, "icebreaker", None, choice)
        assert asdict(program.config) == told["core"] and board.clock_hz == told["clock_hz"]
    options = ("--data", small_data, "--samples", "1", "--simulator", "amaranth", "--core", str(core))
    seen = run_json("simulate", small, *options)
    assert seen["clocks"] == told["clocks"] and seen["mismatched_clocks"] == 0


def test_estimates_with_an_external_memory() -> None:
    net = "zoo:sew-resnet18,width=1/16,size=4"
    slow = run_json("estimate", net, "--board", "ulx3s_85f", "--bandwidth", "10")
    fast = run_json("estimate", net, "--board", "ulx3s_85f", "--bandwidth", "10000")
    assert slow["bandwidth"] == 10 and slow["frames_per_second"] < fast["frames_per_second"]
    assert any(layer["bound"] for layer in slow["layers"]) and not slow["exact"] and slow["fits"]
    assert run_json("estimate", net, "--board", "ulx3s_85f", "--bandwidth", "10", "--core", "search")["fits"]
    with pytest.raises(SkipspikeError, match="more than 0 MB/s"):
        api.estimate(net, bandwidth=0)
    with pytest.raises(SkipspikeError, match="takes densities and no data"):
        api.estimate(net, bandwidth=5, samples=1)


def test_huge_networks_are_searched_by_densities(monkeypatch: pytest.MonkeyPatch, network: QuantizedNetwork) -> None:
    monkeypatch.setattr(mapping, "_MOST_WORDS", 1)
    monkeypatch.setattr(mapping, "run_timing", None)
    found = search(get_board("ulx3s_25f"), network)
    assert not found.exact and found.best.clocks is not None and np.isfinite(found.best.clocks)
