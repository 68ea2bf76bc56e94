"""Jobs of random networks for the system tests."""

from __future__ import annotations

import numpy as np

from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError
from refmodel.quantized import QuantizedNetwork
from sim.job import Job, Outcome
from tests.random_networks import random_input, random_quantized_network


def extras_for(config: CoreConfig) -> set[str]:
    """Features of random networks that a core has the parts for."""
    extras = {"no_reset", "stateless", "levels", "count_pools"}
    if config.leak_bits:
        extras.add("leak_factor")
    if config.attention is not None:
        extras.add("attention")
    if config.rectify:
        extras.add("rectify")
    if config.signed_sources:
        extras.add("signed")
    if config.stream_width:
        extras.add("streams")
    if config.stream_width and config.signed_sources:
        extras.add("stream_tensors")
    return extras


def fitting_network(rng: np.random.Generator, config: CoreConfig, **options: object) -> QuantizedNetwork:
    """A random network that the core takes."""
    for _ in range(200):
        settings = {"extras": extras_for(config), "stream_bits": config.most_source_planes, **options}
        net = random_quantized_network(
            rng,
            steps=int(rng.integers(1, 2 * config.time_lanes + 2)),
            acc_width=config.acc_width,
            membrane_width=config.membrane_width,
            weight_bits=config.weight_bits,
            **settings,  # pyright: ignore[reportArgumentType]
        )
        try:
            compile_network(net, config)
        except CompileError:
            continue
        return net
    raise AssertionError("no random network fits this core")


def random_job(seed: int, config: CoreConfig, networks: int, inputs: int, **options: object) -> Job:
    """Random networks on one core, each on a few inputs, interleaved so that programs are loaded again."""
    rng = np.random.default_rng(seed)
    nets = tuple(fitting_network(rng, config, **options) for _ in range(networks))
    data = [random_input(rng, net, inputs) for net in nets]
    runs = tuple((n, data[n][i]) for i in range(inputs) for n in range(networks))
    return Job(config, nets, runs)


def assert_exact(outcomes: list[Outcome], runs: int) -> None:
    """Every run was compared, on every clock, and none differs."""
    assert len(outcomes) == runs
    for outcome in outcomes:
        assert not outcome.mismatched, outcome.first
        assert outcome.compared == outcome.clocks > 0
        assert outcome.prediction == outcome.golden_prediction
