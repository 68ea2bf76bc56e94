"""Random networks on the generated Verilog, every clock compared, in Verilator and Icarus."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sim.cocotb_sim import simulate
from tests.sim.jobs import assert_exact, random_job
from tests.sim.shapes import SHAPES

FAST = ("k2p8", "k4p16", "k2p8streams")


def _check(shape: str, tmp_path: Path, networks: int, inputs: int, seed: int) -> None:
    job = random_job(seed, SHAPES[shape], networks, inputs)
    assert_exact(simulate(job, tmp_path, seed=seed), len(job.runs))


@pytest.mark.parametrize("shape", FAST)
def test_random_networks(shape: str, tmp_path: Path) -> None:
    _check(shape, tmp_path, networks=10, inputs=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_random_networks(shape: str, seed: int, tmp_path: Path) -> None:
    _check(shape, tmp_path, networks=60, inputs=2, seed=seed)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
def test_icarus(tmp_path: Path) -> None:
    """Icarus knows X: a value that is not defined would not compare equal."""
    job = random_job(3, SHAPES["k2p8"], 2, 1, sizes=(3, 4), max_layers=3, channels_choices=(3, 8))
    assert_exact(simulate(job, tmp_path, simulator="icarus"), len(job.runs))


@pytest.mark.slow
def test_waves(tmp_path: Path) -> None:
    job = random_job(4, SHAPES["k2p8"], 1, 1, sizes=(3, 4), max_layers=2, channels_choices=(3,))
    waves = tmp_path / "run.vcd"
    assert_exact(simulate(job, tmp_path / "job", waves=waves), 1)
    assert waves.read_text(errors="replace").count("$var") > 100
