"""The verb bench boards, with a stand-in for the FPGA tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from boards import board_bench
from boards.build import BuildResult
from boards.registry import BOARDS, get_board
from refmodel.errors import BoardError
from skipspike.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"


class Built:
    """Stands in for :func:`boards.board_bench.build_one`: a clock for each seed, and what was built."""

    def __init__(self) -> None:
        self.clocks = {1: 100e6}
        self.broken: set[str] = set()
        self.built: list[tuple[str, int]] = []

    def __call__(self, board: Any, seed: int, timeout: float | None = None) -> BuildResult:
        self.built.append((board.name, seed))
        if board.name in self.broken:
            raise BoardError("design does not fit")
        clock = self.clocks[seed]
        used = {name: {"used": 100, "available": 1000} for name in ("lut", "ff", "bram", "dsp", "spram")}
        met = clock >= board.clock_hz
        return BuildResult(Path("x"), Path("x/top.bin"), clock, board.clock_hz, met, used, seed, "ab12", {"yosys": "1"})


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Built:
    stand_in = Built()
    monkeypatch.setattr(board_bench, "build_one", stand_in)
    monkeypatch.setattr(board_bench, "_versions", lambda board: {"yosys": "0.70"})
    monkeypatch.setattr(board_bench, "TABLE", tmp_path / "none.json")
    original = board_bench.bench
    named = {"source": lambda board: f"source of {board.name}"}
    monkeypatch.setattr(board_bench, "bench", lambda boards, **given: original(boards, **{**named, **given}))
    return stand_in


@pytest.fixture
def run(built: Built, tmp_path: Path) -> Any:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["bench", "boards", "--cache", str(tmp_path / "cache"), *arguments])

    return run


def test_rows_as_json_and_again_without_building(run: Any, built: Built) -> None:
    result = run("--board", "icebreaker", "--board", "ulx3s_25f", "--json")
    assert result.exit_code == 0, result.stderr
    ice, ulx = json.loads(result.stdout)["rows"]
    assert ice | {"board": "icebreaker", "lut": 100, "fmax_hz": 100_000_000, "met": True, "origin": "run"} == ice
    assert ulx["clock_hz"] == get_board("ulx3s_25f").clock_hz and ulx["tried"] == 1
    again = json.loads(run("--board", "icebreaker", "--json").stdout)["rows"][0]
    assert again == ice | {"origin": "cache"} and built.built == [("icebreaker", 1), ("ulx3s_25f", 1)]
    known = json.loads(run("--board", "icebreaker", "--cached", "--json").stdout)["rows"][0]
    assert known == ice | {"origin": "cache"} and len(built.built) == 2


def test_seeds_until_the_clock_is_met(run: Any, built: Built) -> None:
    built.clocks = {1: 20e6, 2: 90e6, 3: 95e6}
    (row,) = json.loads(run("--board", "icebreaker", "--json").stdout)["rows"]
    assert (row["seed"], row["met"], row["tried"]) == (2, True, 2)


def test_a_clock_that_is_not_met_is_an_error_and_tried_on(run: Any, built: Built) -> None:
    built.clocks = {1: 20e6, 2: 21e6, 3: 19e6, 4: 50e6}
    result = run("--board", "icebreaker")
    assert result.exit_code == 1 and "the clock is not met: icebreaker" in result.stderr
    assert "21.0" in result.stdout and " no" in result.stdout
    run("--board", "icebreaker")
    assert len(built.built) == 3
    result = run("--board", "icebreaker", "--seeds", "4")
    assert result.exit_code == 0 and "50.0" in result.stdout


def test_a_board_that_fails_does_not_stop_the_others(run: Any, built: Built, tmp_path: Path) -> None:
    built.broken = {"icesugar"}
    result = run()
    assert result.exit_code == 1 and "error: 1 boards failed" in result.stderr
    assert "icesugar: design does not fit" in result.stderr and "hx8k_evn" in result.stdout
    built.built.clear()
    result = run("--docs", str(tmp_path))
    assert result.exit_code == 1 and "no table is written" in result.stderr
    assert built.built == [("icesugar", 1)] and not (tmp_path / "boards.json").exists()


def test_table_of_the_source_tree(run: Any, tmp_path: Path) -> None:
    (tmp_path / "boards.md").write_text((DOCS / "boards.md").read_text())
    result = run("--docs", str(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    rows = board_bench.read_table(tmp_path / "boards.json")["rows"]
    assert [row["board"] for row in rows] == [*BOARDS] and "origin" not in rows[0]
    assert (tmp_path / "boards.md").read_text().count("| yes |") == len(BOARDS)


def test_wrong_use(run: Any, tmp_path: Path) -> None:
    assert "give none with docs" in run("--board", "icebreaker", "--docs", str(tmp_path)).stderr
    assert "'mega' is not known" in run("--board", "mega").stderr
