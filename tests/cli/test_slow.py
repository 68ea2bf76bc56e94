"""The verbs that start simulators and FPGA tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skipspike import api
from tests.cli.conftest import Command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_simulated_clocks_are_the_estimated_ones(
    command: Command, small: str, small_data: str, simulator: str, tmp_path: Path
) -> None:
    waves = tmp_path / "waves.vcd"
    options = ["--data", small_data, "--samples", "3", "--simulator", simulator, "--waves", str(waves), "--json"]
    done = command("simulate", small, *options)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["mismatched_clocks"] == 0
    assert seen["compared_clocks"] == sum(seen["clocks"])
    assert seen["clocks"] == api.estimate(small, data=small_data, samples=3)["clocks"]
    assert seen["predictions"] == seen["golden_predictions"]
    assert waves.stat().st_size > 1000


def test_two_processes_give_what_one_gives(small: str, small_data: str, tmp_path: Path) -> None:
    two = api.simulate(small, data=small_data, samples=6, jobs=2, out=tmp_path / "out")
    one = api.simulate(small, data=small_data, samples=6, jobs=1, out=tmp_path / "out")
    assert two == one
    assert one["samples"] == 6 and one["mismatched_clocks"] == 0


def test_a_bitstream_its_report_and_how_it_would_be_loaded(command: Command, small: str, tmp_path: Path) -> None:
    out = tmp_path / "built"
    done = command("build", small, "--board", "icebreaker", "-o", str(out), "--json", timeout=1800)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert Path(built["bitstream"]).stat().st_size > 10_000
    assert set(built["utilisation"]) == {"lut", "ff", "bram", "dsp", "spram"}
    assert built["program_in_bitstream"] is False
    done = command("report", str(out), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fmax_hz"] == pytest.approx(built["fmax_hz"], rel=1e-4)
    assert found["utilisation"] == built["utilisation"]
    assert any(entry["name"].endswith("core") for entry in found["hierarchy"])
    assert found["memory"]["network"] == "small"
    assert "component" in command("report", str(out)).stdout
    done = command("load", str(out), "--json")
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr
