"""The system test in Amaranth's own simulator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from sim.amaranth_sim import simulate
from sim.compare import compare_run
from tests.random_networks import random_input
from tests.sim.jobs import fitting_network
from tests.sim.shapes import SHAPES


@pytest.mark.parametrize("shape", ["k2p8", "k8p8t8", "k2p8e2"])
def test_every_clock(shape: str) -> None:
    config = dataclasses.replace(SHAPES[shape], spike_depth=256, store_depth=1024)
    rng = np.random.default_rng(5)
    net = fitting_network(rng, config, sizes=(2, 4), max_layers=3, channels_choices=(3, 8), input_bits=(1, 2))
    x = random_input(rng, net, 2)
    program = compile_network(net, config)
    result = golden.run(program.network, x, keep=True)
    timing = run_timing(program, result.tensors, keep=True)
    runs = simulate([(program, x[0]), (program, x[1])])
    for image, run in enumerate(runs):
        comparison = compare_run(timing, result, image, run.trace)
        assert not comparison.mismatched, comparison.first
        assert comparison.compared == run.clocks > 0
        assert run.results == result.results[image].tolist()
        assert run.argmax == result.predictions[image]
