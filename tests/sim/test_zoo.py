"""Whole networks of the literature, small versions, in Verilator: every clock compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refmodel import zoo
from refmodel.config import CoreConfig
from refmodel.features import with_features
from refmodel.quantize import quantize
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.random_networks import random_input
from tests.sim.jobs import assert_exact

#: The tutorial stacks have 20 blocks of 64 features, forty layers, unless told otherwise.
#: A core like that of a ULX3S, with memories as large as these networks need.
CORE = CoreConfig(
    event_lanes=4,
    output_lanes=16,
    neuron_units=4,
    bank_lanes=4,
    fifo_depth=4,
    bank_depth=256,
    spike_depth=1 << 16,
    store_depth=1 << 16,
    acc_width=20,
    membrane_width=28,
    kernel_bits=5,
)
NETWORKS = {
    "forty-layers-sew": ("tutorial-sew", {}),
    "forty-layers-ms": ("tutorial-ms", {}),
    "sew-resnet18": ("sew-resnet18", {"width": 1 / 8, "size": 32}),
    "7b-net": ("7b-net", {"size": 32, "steps": 16}),
    "ds-resnet20": ("ds-resnet20", {"width": 1 / 8, "size": 32}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS)
def test_every_clock(case: str, tmp_path: Path) -> None:
    name, options = NETWORKS[case]
    net = quantize(zoo.build(name, **options), 8, max_sum=(1 << (CORE.acc_width - 1)) - 1)
    x = random_input(np.random.default_rng(1), net, 1)
    job = Job(with_features(CORE, net), (net,), ((0, x[0]),))
    assert_exact(simulate(job, tmp_path), 1)
