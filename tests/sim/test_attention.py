"""A quantised network with SynA attention in every place on the generated Verilog, every clock compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refmodel.quantize import quantize
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.attention_networks import images, syna_network
from tests.sim.jobs import assert_exact
from tests.sim.shapes import SHAPES


def test_quantised_networks(tmp_path: Path) -> None:
    """Gates of steps in most places, and of channels."""
    config = SHAPES["k2p8all"]
    limit = (1 << (config.stream_width - 1)) - 1
    nets = tuple(quantize(syna_network(3, axis), max_stream=limit) for axis in ("time", "channel"))
    x = images(np.random.default_rng(1), 3)
    job = Job(config, nets, ((0, x[0]), (1, x[1]), (0, x[2])))
    assert_exact(simulate(job, tmp_path), len(job.runs))
