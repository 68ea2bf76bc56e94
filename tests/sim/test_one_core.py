"""One generated core runs different trained networks, back to back, by loading programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boards.registry import get_board
from refmodel.bundled import load_network
from refmodel.datasets import load_data
from refmodel.quantize import quantize
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.sim.jobs import assert_exact

NETWORKS = ("digits-sew-add-8", "digits-dense", "digits-sew-add-24")


def test_three_trained_networks(tmp_path: Path) -> None:
    config = get_board("ulx3s_85f").core
    nets = tuple(quantize(load_network(name), 8, max_sum=(1 << (config.acc_width - 1)) - 1) for name in NETWORKS)
    x, y = load_data("digits")
    order = (0, 1, 2, 0, 1)
    job = Job(config, nets, tuple((net, x[i].astype(np.int64)) for i, net in enumerate(order)))
    outcomes = simulate(job, tmp_path)
    assert_exact(outcomes, len(order))
    assert [o.prediction for o in outcomes] == y[: len(order)].tolist()
