"""The verb bench networks on small networks: its rows, tables and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from boards.core_table import with_section
from refmodel.errors import CompileError, DataError, NetworkError
from skipspike import bench_networks, models, workload
from skipspike.bench_networks import BOARDS, LITERATURE, markdown, read_table
from skipspike.cli import app

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "networks", *arguments])


def test_rows_as_json(small: str, small_data: str) -> None:
    result = bench(small, "--data", small_data, "--samples", "3", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["board"] for row in found["rows"]] == list(BOARDS) and found["failed"] == 0
    for row in found["rows"]:
        assert row["exact"] and row["fits"] and row["samples"] == 3 and row["data"] == small_data
        assert row["input"] == [1, 4, 4] and row["steps"] == 4 and 0 < row["lane_use"] <= 1
        assert row["frames_per_second"] == pytest.approx(row["clock_hz"] / row["clocks"], rel=1e-3)
        assert row["gsops_dense"] == pytest.approx(row["operations"] * row["frames_per_second"] / 1e9, abs=1e-4)
        assert row["spike_operations"] > 0 and row["gsops_spikes"] > 0


def test_the_clocks_are_those_of_estimate(small: str, small_data: str) -> None:
    (row,) = bench_networks.networks([small], boards=["icebreaker"], data=small_data, samples=2)["rows"]
    other = json.loads(
        CliRunner().invoke(app, ["estimate", small, "--data", small_data, "--samples", "2", "--json"]).stdout
    )
    assert row["clocks"] == other["clocks_per_inference"]


def test_large_networks_are_expected(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "MOST_OPERATIONS", 1)
    (row,) = bench_networks.networks([small], boards=["ulx3s_85f"])["rows"]
    assert row["exact"] is False and row["data"] == "densities" and row["samples"] == 0
    assert row["clocks"] > 0 and row["fits"] and row["gsops_dense"] > row["gsops_spikes"] > 0
    monkeypatch.undo()
    (row,) = bench_networks.networks(["zoo:7b-net,size=64"], boards=["icebreaker"])["rows"]
    assert row["exact"] is False and not row["fits"] and "store" in row["reason"] and row["clocks"] > 0


def test_data_that_cannot_be_fetched_are_random(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = models.samples_of

    def offline(net: Any, data: Any, *rest: Any, **named: Any) -> Any:
        if data != "random":
            raise DataError("no network")
        return real(net, data, *rest, **named)

    monkeypatch.setattr(models, "samples_of", offline)
    (row,) = bench_networks.networks([small], boards=["ulx3s_85f"])["rows"]
    assert row["data"] == "random" and row["clocks"] > 0 and row["error"] is None
    (row,) = bench_networks.networks([small], boards=["ulx3s_85f"], data="mnist")["rows"]
    assert row["error"] == "no network" and row["clocks"] is None  # asked for by name


def test_what_does_not_fit_is_expected_or_has_no_figures(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise CompileError("too large")

    monkeypatch.setattr(workload, "exact_workload", refuse)
    (row, _) = json.loads(bench(small, "--data", "random", "--json").stdout)["rows"]
    assert (row["exact"], row["fits"], row["reason"], row["samples"]) == (False, False, "too large", 0)
    assert row["clocks"] > 0 and "expected, needs a larger core" in bench(small, "--data", "random").stdout
    monkeypatch.setattr(workload, "expected_workload", refuse)
    result = bench(small, "--data", "random")
    assert result.exit_code == 0
    assert all(line.endswith("does not fit") for line in result.stdout.splitlines()[1:3])
    (row, _) = json.loads(bench(small, "--data", "random", "--json").stdout)["rows"]
    assert (row["fits"], row["reason"], row["clocks"]) == (False, "too large", None)


def test_sums_too_narrow_for_a_network_are_a_reason(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise NetworkError("leaves no weights")

    monkeypatch.setattr(models, "quantised", refuse)
    (row,) = bench_networks.networks([small], boards=["icebreaker"], data="random")["rows"]
    assert (row["error"], row["reason"], row["fits"], row["exact"]) == (None, "leaves no weights", False, False)
    assert row["clocks"] > 0


def test_failures_are_named_and_end_with_1(small: str) -> None:
    result = bench(small, "nothing.skn", "--data", "random", "--board", "icebreaker")
    assert result.exit_code == 1 and "nothing.skn on icebreaker: " in result.stderr
    assert result.stderr.splitlines()[-1] == "error: 1 networks failed"
    assert result.stdout.splitlines()[2].endswith("failed")


def test_docs_and_cached(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refmodel.bundled.names", lambda: [])
    monkeypatch.setattr(bench_networks, "LITERATURE", (small,))
    page = tmp_path / "benchmarks.md"
    page.write_text("<!-- networks: begin -->\nold\n<!-- networks: end -->\n")
    result = bench("--docs", str(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    monkeypatch.setattr(bench_networks, "TABLE", tmp_path / "networks.json")
    assert json.loads(bench("--cached", "--json").stdout)["rows"] == rows
    assert len(json.loads(bench("--cached", "--board", "icebreaker", "--json").stdout)["rows"]) == 1
    assert f"| {small} | icebreaker |" in page.read_text() and "random inputs" in page.read_text()
    for arguments, message in (
        (["--cached", "--board", "none"], "the table has no board 'none'"),
        (["--cached", "--docs", "docs"], "leave out cached"),
        ([small, "--docs", "docs"], "give none of them with docs"),
    ):
        result = bench(*arguments)
        assert result.exit_code == 1 and message in result.stderr
    monkeypatch.setattr(bench_networks, "LITERATURE", ("nothing.skn",))
    assert "no table is written" in bench("--docs", str(tmp_path)).stderr
    (tmp_path / "networks.json").write_text("{")
    assert "cannot be read" in bench("--cached").stderr


def test_the_page_shows_the_figures_beside_it() -> None:
    """docs/benchmarks.md and networks.json are written together: `skipspike bench networks --docs docs`."""
    table, page = read_table(), (ROOT / "docs" / "benchmarks.md").read_text()
    assert with_section(page, "networks", markdown(table)) == page
    assert set(LITERATURE) <= {row["network"] for row in table["rows"]}
