"""Shared words: fields side by side, packing, and the clocks in which snapshots are read."""

from __future__ import annotations

import itertools
import random

import pytest

from refmodel import layout
from refmodel.config import CoreConfig
from refmodel.errors import ConfigError
from tests.sim.shapes import SHAPES

FIELDS = (layout.descriptor_fields, layout.header_fields, layout.param_fields, layout.probe_fields)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fields_of", FIELDS)
def test_fields_lie_side_by_side(fields_of, shape: str) -> None:
    fields = fields_of(SHAPES[shape])
    assert len({f.name for f in fields}) == len(fields)
    assert all(f.width >= 1 for f in fields)
    assert [f.offset for f in fields] == [0, *itertools.accumulate(f.width for f in fields)][:-1]


@pytest.mark.parametrize("fields_of", FIELDS)
def test_pack_puts_each_value_into_its_field(fields_of) -> None:
    fields, rng = fields_of(SHAPES["k4p16"]), random.Random(1)
    for _ in range(30):
        values = {f.name: rng.getrandbits(f.width) for f in fields if rng.random() < 0.8}
        word = layout.pack(fields, values)
        for f in fields:
            assert word >> f.offset & ((1 << f.width) - 1) == values.get(f.name, 0)
        signed = {f.name: values[f.name] - (1 << f.width) for f in fields if f.name in values}
        assert layout.pack(fields, signed) == word


def test_pack_refuses_unknown_fields() -> None:
    with pytest.raises(KeyError, match="unknown fields.*'thershold'"):
        layout.pack(layout.param_fields(CoreConfig()), {"thershold": 1})


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes(shape: str) -> None:
    config = SHAPES[shape]
    descriptor, probe = layout.descriptor_fields(config), layout.probe_fields(config)
    assert layout.descriptor_bits(config) == sum(f.width for f in descriptor)
    assert layout.probe_bits(config) == sum(f.width for f in probe)
    words = layout.descriptor_words(config) - (config.engines - 1) * layout.start_words(config)
    assert (words - 1) * config.store_width < layout.descriptor_bits(config) <= words * config.store_width
    assert sum(f.width for f in layout.param_fields(config)) == config.param_width <= config.store_width
    assert sum(f.width for f in layout.header_fields(config)) <= config.store_width


def _all_shapes():
    few = (1, 2, 4, 8, 16)
    for lanes, units, bank, steps in itertools.product((4, 8, 16, 32, 64), few, few, (1, 2, 4, 8)):
        try:
            yield CoreConfig(
                event_lanes=1, output_lanes=lanes, neuron_units=units, bank_lanes=bank, time_lanes=steps, max_planes=1
            )
        except ConfigError:
            continue


def test_every_slot_reads_its_own_snapshot() -> None:
    """In every shape that CoreConfig takes, with drains as close as they may come.

    Stage s holds a chunk's snapshot from s clocks after stage 0 until R clocks later.
    """
    count = 0
    for config in _all_shapes():
        first = layout.barrier_to_slot(config) - layout.BARRIER_TO_BUNDLE - layout.array_latency(config)
        first -= layout.drain_clocks(config)
        for t, index in itertools.product(range(config.time_lanes), range(config.slots_per_step)):
            clock = first + t * config.slots_per_step + index
            for lane in range(index * config.neuron_units, (index + 1) * config.neuron_units):
                stage = lane // config.bank_lanes
                assert stage <= clock < stage + config.slots_per_chunk, config
                count += 1
    assert count > 1000
