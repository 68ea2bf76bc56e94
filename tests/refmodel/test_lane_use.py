"""Lane use: its bound by a plain count, and what the fetch reaches of it on random spikes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel.config import CoreConfig
from refmodel.cycles import op_items
from refmodel.lane_use import BENCHMARK_CORE, lane_use, layer_benchmark
from refmodel.layout import Flag
from tests.refmodel.test_cycles import random_events, random_program
from tests.sim.shapes import SHAPES


def test_the_bound_is_the_slowest_lanes_events() -> None:
    rng = np.random.default_rng(1)
    for shape in ("k2p8", "k4p16"):
        program = random_program(rng, SHAPES[shape])
        for op in program.ops:
            items, events = op_items(program, op), random_events(rng, program, op)
            found = lane_use(program.config, op, items, events)
            for image in range(events.shape[-1]):
                bound, lanes = 0, np.zeros(program.config.event_lanes, np.int64)
                for j in range(len(items)):
                    first = items.first[j]
                    lanes += events[items.row[j], first : first + items.count[j], :, image].sum(axis=0, dtype=np.int64)
                    if items.flag[j] != Flag.NONE:
                        bound, lanes = bound + int(lanes.max()), np.zeros_like(lanes)
                assert found.bound[image] == bound < found.clocks[image]
            assert found.use == found.events.sum() / found.clocks.sum() / program.config.event_lanes
            assert found.use == pytest.approx(found.bound_use * found.of_bound)


@pytest.mark.parametrize("channels", [32, 64])
def test_random_layers_come_close_to_the_bound(channels: int) -> None:
    assert (BENCHMARK_CORE.event_lanes, BENCHMARK_CORE.lanes) == (4, 128)
    dense = layer_benchmark(channels, 1.0, images=1)
    assert dense.use >= 0.97 and dense.bound_use == 1.0
    for density in (0.1, 0.2, 0.3):
        found = layer_benchmark(channels, density)
        assert found.of_bound >= 0.9
        mean = found.events.mean() / (16 * 16)
        assert mean == pytest.approx(density * channels * 9 * (46 / 48) ** 2, rel=0.02)  # 46 of 48 taps lie inside


def test_few_spikes_take_few_clocks() -> None:
    dense, sparse = (layer_benchmark(64, density).clocks.mean() for density in (1.0, 0.02))
    assert dense >= 20 * sparse


def test_a_silent_layer_takes_the_neurons_clocks_or_the_items() -> None:
    for units, rest in ((8, 4), (2, 16)):
        config: CoreConfig = dataclasses.replace(BENCHMARK_CORE, neuron_units=units)
        assert config.slots_per_chunk == rest
        found = layer_benchmark(32, 0.0, config, images=1)
        items = 5 if rest == 4 else 0  # three segments or more
        assert found.use == 0.0 and found.bound[0] == 0
        assert rest * 256 <= found.clocks[0] <= max(rest, items) * 256 + 40
