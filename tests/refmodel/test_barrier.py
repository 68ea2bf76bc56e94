"""The barrier bound: below the exact clocks and near them, and equal to plain counting."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from refmodel import golden, zoo
from refmodel.barrier import BarrierBound, slab_bytes, window_sums
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.densities import random_inputs, tensor_values
from refmodel.lowering import lower
from refmodel.outlook import outlook
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from refmodel.tailoring import Shape, tailored

BASE = CoreConfig(event_lanes=4, output_lanes=8, neuron_units=2, bank_lanes=4, max_planes=6)
SHAPES = (Shape(4, 8, 4, 2, 4), Shape(2, 16, 2, 2, 4), Shape(1, 8, 1, 1, 2), Shape(4, 32, 4, 2, 4))


@pytest.fixture(scope="module")
def network() -> QuantizedNetwork:
    """Two SEW stages with a pool of counts and a projection, small."""
    return quantize(zoo.build("sew-resnet18", width=1 / 8, size=8, steps=4, classes=3, seed=3), 6)


def test_window_sums_are_sums_of_windows() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (2, 5, 6))
    kernel, stride, padding = (3, 2), (2, 1), (1, 0)
    padded = np.pad(values, ((0, 0), (1, 1), (0, 0)))
    found = window_sums(values, kernel, stride, padding, (3, 5))
    for y, x in product(range(3), range(5)):
        want = padded[:, 2 * y : 2 * y + 3, x : x + 2].sum(axis=(1, 2))
        assert (found[:, y, x] == want).all()


def test_it_is_a_bound_and_a_near_one(network: QuantizedNetwork) -> None:
    """Exact clocks are hardly ever below it, at most a fifth of them above; the best by it is about the best."""
    lowered = lower(network)
    x = random_inputs(network.input, network.steps, 2, np.random.default_rng(1))
    tensors = golden.run(lowered, x, keep=True).tensors
    bound = BarrierBound(lowered, tensors=tensors)
    ranks = []
    for shape in SHAPES:
        config = tailored(lowered, BASE, shape)
        exact = run_timing(compile_network(network, config), tensors).clocks.mean()
        least = bound.clocks(config)
        assert 0.8 * exact < least < 1.02 * exact
        ranks.append((least, exact))
    assert min(ranks)[1] <= 1.05 * min(exact for _, exact in ranks)


def test_densities_give_about_the_outlook(network: QuantizedNetwork) -> None:
    lowered = lower(network)
    bound = BarrierBound(lowered, values=tensor_values(network))
    config = tailored(lowered, BASE, SHAPES[0])
    assert bound.clocks(config) == pytest.approx(outlook(network, config).clocks, rel=0.2)


def test_slow_memories_bound_it(network: QuantizedNetwork) -> None:
    lowered = lower(network)
    bound = BarrierBound(lowered, values=tensor_values(network))
    config = tailored(lowered, BASE, SHAPES[0])
    weights = sum(layer.weight.size for layer in lowered.layers if layer.weight is not None)
    slow = bound.clocks(config, bytes_per_clock=0.01)
    assert slow > weights * config.weight_bits / 8 / 0.01
    assert bound.clocks(config, bytes_per_clock=1e6) == pytest.approx(bound.clocks(config))
    assert slab_bytes(config, 10) > config.event_lanes * 10 * config.output_lanes * config.weight_bits / 8
