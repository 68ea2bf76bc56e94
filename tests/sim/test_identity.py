"""Zero residual branches: fifty blocks in a row pass their input on unchanged, in hardware (SEW paper, section 3.2).

A block is the identity for ADD, IAND and OR where A = 0, for AND where A = 1, and with a membrane stream where
nothing is added; with IF neurons of threshold 1, Spiking ResNet's is one, too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from refmodel import golden
from refmodel.builder import NetworkBuilder
from refmodel.config import CoreConfig
from refmodel.features import with_features
from refmodel.network import InputSpec, Neuron
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.sim.jobs import assert_exact

BLOCKS, CHANNELS, SIZE, STEPS = 50, 8, 4, 4
SYSTEMS = ("add", "iand", "or", "and", "ms", "spiking_resnet")
CORE = CoreConfig(spike_depth=1024, store_depth=16384, bank_depth=128, fifo_depth=3)


def identities(system: str) -> QuantizedNetwork:
    """A stem and fifty blocks: the first convolution of each spikes, the second has zero weights."""
    rng = np.random.default_rng(SYSTEMS.index(system))
    spec = InputSpec((2, SIZE, SIZE), 2, static=False)
    builder = NetworkBuilder(f"{system}-{BLOCKS}", STEPS, spec, neuron=Neuron("if", threshold=5))
    stem = rng.integers(-3, 5, (CHANNELS, 2, 3, 3))
    x = builder.conv("input", stem, keeps_stream=system == "ms", name="stem")
    zero = np.zeros((CHANNELS, CHANNELS, 3, 3))
    for number in range(1, BLOCKS + 1):
        weight = rng.integers(-3, 4, zero.shape)
        bias = np.full(CHANNELS, 5 if system == "and" else 0)  # AND: every neuron fires at every step
        block = {
            "ms": builder.ms_block,
            "spiking_resnet": partial(builder.spiking_resnet_block, neuron=Neuron("if", threshold=1)),
        }.get(system) or partial(builder.sew_block, combine=system)
        x = block(x, weight, rng.integers(-1, 2, CHANNELS), zero, bias, name=f"block{number}")
    builder.readout(x, rng.integers(-7, 8, (3, CHANNELS)), name="readout")
    return quantize(builder.build(), 8, scale="unit")


def frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (STEPS, 2, SIZE, SIZE))


@pytest.mark.parametrize("system", SYSTEMS)
def test_golden_model(system: str) -> None:
    """What the hardware is compared with: each block's output, and stream, is the stem's."""
    result = golden.run(identities(system), frames(1)[None], keep=True)
    stem = result.tensors["stem"]
    assert 0.2 < stem.mean() < 0.8
    for number in range(1, BLOCKS + 1):
        assert result.tensors[f"block{number}.conv1"].any(), f"block {number} has no activity"
        np.testing.assert_array_equal(result.tensors[f"block{number}.conv2"], stem)
        if system == "ms":
            np.testing.assert_array_equal(result.streams[f"block{number}.conv2"], result.streams["stem"])


def test_hardware(tmp_path: Path) -> None:
    nets = tuple(identities(system) for system in SYSTEMS)
    config = CORE
    for net in nets:
        config = with_features(config, net)
    runs = tuple((number, frames(1)) for number in range(len(nets)))
    assert_exact(simulate(Job(config, nets, runs), tmp_path), len(runs))
