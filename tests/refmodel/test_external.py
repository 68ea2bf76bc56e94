"""Weights and spikes from an external memory: what a bandwidth costs, and where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from refmodel import zoo
from refmodel.config import CoreConfig
from refmodel.errors import CompileError
from refmodel.external import line_words, spike_bytes, streamed
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.outline import outline
from refmodel.outlook import outlook
from refmodel.quantized import QuantizedNetwork

CONFIG = CoreConfig(event_lanes=4, output_lanes=16, neuron_units=4, bank_lanes=4, spike_depth=4096, bank_depth=512)


@pytest.fixture(scope="module")
def network() -> QuantizedNetwork:
    return outline(zoo.sketch("sew-resnet18", width=1 / 8, size=8, steps=4, classes=3), 8)


def test_a_fast_memory_costs_nothing(network: QuantizedNetwork) -> None:
    found = streamed(network, CONFIG, 1e6)
    assert found.clocks == pytest.approx(outlook(network, CONFIG).clocks, rel=1e-3)
    assert sum(layer.clocks for layer in found.layers) == pytest.approx(found.clocks)
    assert not found.spikes_outside and not any(layer.bound for layer in found.layers)
    assert not [limit for limit in found.limits if limit.setting in ("store_depth", "spike_depth")]


def test_a_slow_memory_takes_as_long_as_its_bytes(network: QuantizedNetwork) -> None:
    found = streamed(network, CONFIG, 0.05)
    moved = sum(layer.bytes for layer in found.layers)
    assert moved > network.parameters * 0.9
    assert found.clocks == pytest.approx(moved / 0.05, rel=0.1)
    assert all(layer.bound for layer in found.layers[1:])
    assert streamed(network, CONFIG, 0.1).clocks < found.clocks
    with pytest.raises(CompileError, match="more than 0 bytes"):
        streamed(network, CONFIG, 0.0)


def test_spikes_that_do_not_fit_lie_outside(network: QuantizedNetwork) -> None:
    small = replace(CONFIG, spike_depth=64)
    inside, outside = streamed(network, CONFIG, 4.0), streamed(network, small, 4.0)
    assert outside.spikes_outside and outside.clocks > inside.clocks
    lowered = lower(network)
    more = sum(out.bytes - within.bytes for out, within in zip(outside.layers, inside.layers, strict=True))
    ops = plan(lowered, small).ops
    assert more == pytest.approx(sum(op.groups * spike_bytes(op, small, 1) for op in ops), rel=0.1)
    # The first convolution reads 3 channels of 8 bits, 16x16 pixels and 4 steps, and writes 8 channels of spikes.
    assert spike_bytes(ops[0], small, 1) == 64 * 4 * (3 * 8 + 8) / 8
    assert 0 < line_words(lowered, small) < plan(lowered, small).memory["spike_words"]
