"""Random legal networks of every feature: gateware, cycle model and golden model agree in every clock.

``pytest tests/sim/test_property.py --networks 5000`` runs as many as one likes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from refmodel.quantized import QuantizedNetwork
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.random_networks import random_input
from tests.sim.jobs import assert_exact, extras_for, fitting_network
from tests.sim.shapes import SHAPES

SHAPE = SHAPES["k2p8all"]
#: Networks that one simulation runs.
BATCH = 25


@st.composite
def cases(draw: st.DrawFn) -> tuple[QuantizedNetwork, np.ndarray]:
    """A network and an input; small numbers make small networks, so failures shrink."""
    everything = extras_for(SHAPE)
    options: dict[str, Any] = {
        "extras": everything - draw(st.sets(st.sampled_from(sorted(everything)), max_size=3)),
        "min_layers": (layers := draw(st.sampled_from([1, 3, 5, 7, 9]))),
        "max_layers": layers,
        "sizes": (2, draw(st.integers(2, 5))),
        "channels_choices": draw(st.sampled_from([(1, 3), (3, 8), (5, 11), (8, 16)])),
        "max_fan_in": 150,
    }
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    net = fitting_network(rng, SHAPE, **options)
    return net, random_input(rng, net, 1)[0]


def test_random_legal_networks(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    wanted = int(request.config.getoption("--networks"))
    ran = {"networks": 0, "kinds": set()}

    # Examples of one batch each; a failing batch is reported as it is, since shrinking means simulating again.
    @settings(
        max_examples=-(-wanted // BATCH),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(cases(), min_size=BATCH, max_size=BATCH))
    def batch(found: list[tuple[QuantizedNetwork, np.ndarray]]) -> None:
        networks = tuple(net for net, _ in found)
        job = Job(SHAPE, networks, tuple((number, x) for number, (_, x) in enumerate(found)))
        assert_exact(simulate(job, tmp_path), BATCH)
        ran["networks"] += BATCH
        ran["kinds"] |= {layer.kind for net in networks for layer in net.layers}

    batch()
    assert ran["networks"] >= wanted
    assert wanted < 100 or ran["kinds"] == {"conv", "maxpool", "sumpool", "stream", "window", "readout"}
