"""Whole cores whose programs lie outside the FPGA: every clock, the waits for words included, as the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from sim.amaranth_sim import simulate
from sim.cocotb_sim import simulate as simulate_verilog
from sim.compare import compare_run
from tests.random_networks import random_input
from tests.sim.jobs import fitting_network, random_job
from tests.sim.shapes import SHAPES


def test_sdram_every_clock() -> None:
    config = replace(SHAPES["k2p8"], spike_depth=64, store_depth=512, store="sdram", store_fifo=4)
    rng = np.random.default_rng(6)
    net = fitting_network(rng, config, sizes=(2, 3), max_layers=2, channels_choices=(3, 8), input_bits=(1,))
    x = random_input(rng, net, 2)
    program = compile_network(net, config)
    result = golden.run(program.network, x, keep=True)
    timing = run_timing(program, result.tensors, keep=True)
    inside = run_timing(compile_network(net, replace(config, store="bram")), result.tensors)
    runs = simulate([(program, x[0]), (program, x[1])])
    for image, run in enumerate(runs):
        comparison = compare_run(timing, result, image, run.trace)
        assert not comparison.mismatched, comparison.first
        assert comparison.compared == run.clocks > inside.clocks[image]
        assert run.results == result.results[image].tolist()
        assert run.stalls == timing.stalls()[image] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "store", "fifo"),
    [
        ("k2p8all", "sdram", 16),
        ("k4p16", "sdram", 2),
        ("k1p4t2", "sdram", 8),
        ("k2p8", "flash", 4),
        ("k2p8all", "flash", 16),
    ],
)
def test_random_networks(shape: str, store: str, fifo: int, tmp_path: Path) -> None:
    config = replace(SHAPES[shape], store=store, store_fifo=fifo)
    job = random_job(11, config, networks=3, inputs=3)
    outcomes = simulate_verilog(job, tmp_path)
    assert len(outcomes) == 9
    for outcome in outcomes:
        assert not outcome.mismatched, outcome.first
        assert outcome.compared == outcome.clocks > 0
        assert outcome.prediction == outcome.golden_prediction
