"""Runs that resume: membranes kept in the state memory, every clock compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import CompileError
from refmodel.quantized import QuantizedNetwork
from sim.amaranth_sim import simulate
from sim.cocotb_sim import simulate as simulate_verilog
from sim.compare import compare_run
from sim.job import Job
from tests.random_networks import random_input
from tests.refmodel.test_state_plan import one_layer
from tests.sim.jobs import assert_exact, extras_for, fitting_network
from tests.sim.shapes import SHAPES


@pytest.mark.parametrize(("shape", "steps"), [("k2p8", 5), ("k4p8t1", 3)])
def test_every_clock(shape: str, steps: int) -> None:
    """The last step, whose membranes are kept, is the first of its chunk."""
    config = dataclasses.replace(SHAPES[shape], spike_depth=512, store_depth=1024, state_depth=300)
    rng = np.random.default_rng(5)
    net = fitting_network(
        rng, config, sizes=(2, 4), max_layers=3, channels_choices=(3, 8), input_bits=(1, 2), static=False
    )
    net = dataclasses.replace(net, steps=steps)
    program = compile_network(net, config)
    x = random_input(rng, net, 4)
    resumes = {1, 3}
    runs = simulate([(program, one) for one in x], resumes=resumes)
    state = None
    for number, run in enumerate(runs):
        result = golden.run(
            program.network,
            x[number : number + 1],
            keep=True,
            state=state if number in resumes else None,
            keep_state=True,
        )
        state = result.state
        timing = run_timing(program, result.tensors, keep=True)
        comparison = compare_run(timing, result, 0, run.trace)
        assert not comparison.mismatched, comparison.first
        assert comparison.compared == run.clocks > 0
        assert run.results == result.results[0].tolist()


def test_the_core_says_when_membranes_have_drifted() -> None:
    """Falling by 70 a step: after two runs of 4 steps beyond -512 of 11 bits' -1024, until they begin anew."""
    net = one_layer((50, -70), 100)
    config = dataclasses.replace(SHAPES["k2p8"], acc_width=9, membrane_width=11, state_depth=4)
    program = compile_network(net, config)
    assert program.state_watched
    down = np.array([[0, 1]] * 4)[:, :, None, None]
    runs = simulate([(program, x) for x in (down, down, down * 0, down, down * 0)], resumes={1, 2, 4})
    assert [run.drifted for run in runs] == [False, True, True, False, False]


def streaming_job(seed: int, config: CoreConfig, networks: int) -> Job:
    """Random networks, each compiled for two numbers of steps; several runs each, most of which resume."""
    rng = np.random.default_rng(seed)
    nets: list[QuantizedNetwork] = []
    runs: list[tuple[int, np.ndarray]] = []
    resumes: list[int] = []
    for _ in range(networks):
        net = fitting_network(rng, config, sizes=(2, 6), static=False, extras=extras_for(config) - {"attention"})
        other = dataclasses.replace(net, steps=int(rng.integers(1, 2 * config.time_lanes + 2)))
        for number, one in enumerate((net, other)):
            try:
                compile_network(one, config)
            except CompileError:
                continue
            nets.append(one)
            begun = number > 0 and nets[-2] is net
            for x in random_input(rng, one, 3):
                if begun and rng.random() < 0.8:
                    resumes.append(len(runs))
                runs.append((len(nets) - 1, x))
                begun = True
    return Job(config, tuple(nets), tuple(runs), resumes=tuple(resumes))


@pytest.mark.parametrize("shape", ["k2p8all"])
def test_random_networks(shape: str, tmp_path: Path) -> None:
    config = dataclasses.replace(SHAPES[shape], state_depth=3000)
    job = streaming_job(7, config, 8)
    assert len(job.resumes) > 12
    assert_exact(simulate_verilog(job, tmp_path), len(job.runs))
