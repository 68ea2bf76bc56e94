"""The verb bench cores, with a stand-in for the FPGA tools."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from boards import core_bench, core_flow
from boards.core_flow import Design, Netlist, Placement
from boards.core_shapes import SHAPES
from boards.sizes import Size
from refmodel.errors import ToolError
from skipspike import bench_plots, roofline
from skipspike.cli import app

SIZE = Size(cells=4000, lut=3500, ram=0, carry=900, ff=2000, bram=20, dsp=0, spram=4)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``skipspike bench cores`` with a cache of its own; ``run.broken``: devices that cannot be placed."""

    def place(self: Any, what: Design, netlist: str, seed: int) -> Placement:
        if what.device.name in run.broken:
            raise ToolError("nextpnr: out of luck")
        return Placement(seed, 50e6 + 1e6 * seed, ("core.a", "core.b"))

    def make(config: Any, device: Any) -> Design:
        return Design(device, repr(config), "harness", "stub")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["bench", "cores", "--cache", str(tmp_path / "cache"), *arguments])

    run.broken = ()
    monkeypatch.setattr(core_flow.Flow, "versions", lambda self, device: {"yosys": "0.70"})
    monkeypatch.setattr(core_flow.Flow, "synthesise", lambda self, what: Netlist(SIZE, "netlist"))
    monkeypatch.setattr(core_flow.Flow, "place", place)
    original = core_bench.bench
    monkeypatch.setattr(core_bench, "bench", lambda shapes, **named: original(shapes, **{"make": make, **named}))
    monkeypatch.setattr(core_bench, "TABLE", tmp_path / "none.json")
    return run


def test_rows_as_json(run: Any, tmp_path: Path) -> None:
    result = run("--shape", "up5k-128-w4", "--seeds", "2", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    (row,) = found["rows"]
    assert row | {"device": "up5k", "shape": "up5k-128-w4", "lanes": 128, "lut": 4000, "fmax_hz": 51_000_000} == row
    assert row["gsops"] == 6.528 and row["gsops_per_klut"] == 1.632 and len(row["seeds"]) == 2
    assert found["cache"] == str(tmp_path / "cache") and found["failed"] == 0 and found["files"] == []


def test_cached_shows_what_was_measured_and_runs_nothing(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("--shape", "hx8k-128")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be run")

    for name in ("versions", "synthesise", "place"):
        monkeypatch.setattr(core_flow.Flow, name, refuse)
    monkeypatch.setattr(core_bench, "known", partial(core_bench.known, table=tmp_path / "none.json"))
    result = run("--cached", "--json")
    assert result.exit_code == 0, result.stderr
    rows = {row["shape"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows.keys() == SHAPES.keys() and rows["hx8k-128"]["gsops"] == 6.528
    assert {row["origin"] for name, row in rows.items() if name != "hx8k-128"} == {"missing"}
    lines = run("--cached").stdout.splitlines()
    assert any(line.startswith("hx8k-128 ") and " 51.0 " in line for line in lines)
    assert any(line.startswith("up5k-128-w4 ") and line.endswith("missing") for line in lines)


def test_failures_are_named_and_end_with_1(run: Any) -> None:
    run.broken = ("ecp5-25f",)
    result = run("--device", "up5k", "--device", "ecp5-25f", "--seeds", "1")
    assert result.exit_code == 1
    assert "ecp5-25f-128: seed 1: nextpnr: out of luck" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: 2 cores failed"
    assert any(line.startswith("up5k-128-w4 ") and "51.0" in line for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--shape", "big"], 1, "no core shape 'big'"),
        (["--device", "xc7"], 1, "no device 'xc7'"),
        (["--device", "up5k", "--docs", "docs"], 1, "give neither with docs"),
        (["--seeds", "0"], 2, "seeds"),
    ],
)
def test_wrong_usage(run: Any, arguments: list[str], code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_docs_writes_table_page_and_plots(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(roofline, "NETWORKS", ("digits-sew-and-6",))
    monkeypatch.setattr(roofline, "SAMPLES", 1)
    few = {name: SHAPES[name] for name in ("up5k-128-w4", "ecp5-25f-128")}
    monkeypatch.setattr("boards.core_shapes.SHAPES", few)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "benchmarks.md").write_text("<!-- cores: begin -->\n<!-- cores: end -->\n")
    result = run("--docs", str(docs), "--json")
    assert result.exit_code == 0, result.stderr
    files = json.loads(result.stdout)["files"]
    assert [Path(file).name for file in files] == ["benchmarks.md", "cores.json", "speed.svg", "roofline.svg"]
    table = json.loads((docs / "cores.json").read_text())
    assert [row["shape"] for row in table["rows"]] == list(few) and "origin" not in table["rows"][0]
    for point in table["achieved"]:
        assert 0 < point["lane_use"] <= 1 and 0 < point["spikes_a_weight"] <= 4
        assert point["gsops_spikes"] < 6.6  # below the roof
    first = [Path(file).read_bytes() for file in files]
    assert b"<svg" in first[2] and b"up5k-128-w4" in first[2] and b"digits-sew-and-6" in first[3]
    run("--docs", str(docs))
    assert [Path(file).read_bytes() for file in files] == first


def test_docs_needs_matplotlib_before_anything_runs(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        bench_plots.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    result = run("--docs", "docs")
    assert result.exit_code == 1 and "skipspike[plots]" in result.stderr
