"""The verb bench, with a stand-in for the FPGA tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from boards import bench
from boards.sizes import Size, Subject
from refmodel.errors import ToolError
from skipspike.cli import app


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``skipspike bench components`` with a cache of its own; ``run.broken`` makes ECP5 fail."""

    def synthesise(what: Subject, *_: Any, **__: Any) -> Size:
        if run.broken and what.family == "ecp5":
            raise ToolError("yosys: out of luck")
        return Size(cells=40, lut=32, ram=0, carry=0, ff=0, bram=0, dsp=0, spram=0)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["bench", "components", "--cache", str(tmp_path / "cache"), *arguments])

    run.broken = False
    monkeypatch.setattr(bench, "synthesise", synthesise)
    return run


def test_rows_and_differences_as_json(run: Any, tmp_path: Path) -> None:
    result = run("--component", "SpikeCombiner", "--family", "ice40", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert {(row["component"], row["family"], row["origin"]) for row in found["rows"]} == {
        ("SpikeCombiner", "ice40", "run")
    }
    assert found["rows"][0] | {"lut": 32, "settings": {"width": "32"}} == found["rows"][0]
    assert {row["feature"] for row in found["differences"]} >= {"combiner ADD", "combiner OR"}
    assert found["cache"] == str(tmp_path / "cache") and found["failed"] == 0
    again = json.loads(run("--component", "SpikeCombiner", "--cached", "--json").stdout)
    origins = {row["family"]: row["origin"] for row in again["rows"]}
    assert origins["ice40"] == "cache" and origins["ecp5"] in ("missing", "table")


def test_a_table_for_people(run: Any) -> None:
    result = run("--component", "MembraneShortcutMux", "--family", "ice40")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["component", "parameters", "family", "cells"]
    assert any(line.split() == ["MembraneShortcutMux", "width=16", "ice40", "40", "32", *"000000"] for line in lines)
    assert any(line.startswith("membrane shortcut  NeuronUnit") for line in lines)


def test_failures_are_named_and_end_with_1(run: Any) -> None:
    run.broken = True
    result = run("--component", "MembraneShortcutMux")
    assert result.exit_code == 1
    assert "MembraneShortcutMux, width=16, ecp5: yosys: out of luck" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ") and "syntheses failed" in result.stderr
    assert any("ecp5" in line and line.endswith("failed") for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--component", "Combiner"], 1, "no component 'Combiner'"),
        (["--component", "SpikeCombiner", "--docs", "docs"], 1, "give neither with docs"),
        (["--family", "ecp5", "--docs", "docs"], 1, "give neither with docs"),
        (["--family", "xilinx"], 2, "xilinx"),
        (["--jobs", "0"], 2, "jobs"),
    ],
)
def test_wrong_usage(run: Any, arguments: list[str], code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
