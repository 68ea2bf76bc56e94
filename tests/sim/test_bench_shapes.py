"""The core shapes that ``skipspike bench cores`` measures: small random networks, every clock compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards.core_shapes import SHAPES
from sim.cocotb_sim import simulate
from tests.sim.jobs import assert_exact, random_job

NETWORKS, INPUTS = 4, 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_every_clock(name: str, tmp_path: Path) -> None:
    """With room for any small network: depths change no clock."""
    config = SHAPES[name].config
    roomy = replace(config, spike_depth=max(2048, config.spike_depth), store_depth=max(4096, config.store_depth))
    job = random_job(7, roomy, NETWORKS, INPUTS, max_fan_in=150)
    assert_exact(simulate(job, tmp_path), NETWORKS * INPUTS)
