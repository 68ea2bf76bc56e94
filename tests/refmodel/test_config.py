"""CoreConfig: every refusal, and the derived widths of shapes worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

REFUSED = [
    ({"event_lanes": 3}, "event_lanes must be a power of two, not 3"),
    ({"output_lanes": 0}, "output_lanes must be a power of two, not 0"),
    ({"time_lanes": -4}, "time_lanes must be a power of two, not -4"),
    ({"neuron_units": 6}, "neuron_units must be a power of two, not 6"),
    ({"bank_lanes": 5}, "bank_lanes must be a power of two, not 5"),
    ({"event_lanes": 16}, "output_lanes must be a multiple of event_lanes"),
    ({"engines": 0}, "engines must be 1 to 16, not 0"),
    ({"engines": 17}, "engines must be 1 to 16, not 17"),
    ({"engines": 2, "stream_width": 8, "attention": AttentionConfig()}, "attention pools all output rows in one place"),
    ({"engines": 2, "store": "flash"}, "engines start with words that come one a clock"),
    ({"neuron_units": 4, "bank_lanes": 4}, "output_lanes / neuron_units must be at least 4"),
    ({"bank_lanes": 16}, "output_lanes must be a multiple of bank_lanes"),
    ({"bank_lanes": 1}, "neuron_units must be at most bank_lanes"),
    ({"weight_bits": 1}, "weight_bits must be 2 to 8, not 1"),
    ({"weight_bits": 9}, "weight_bits must be 2 to 8, not 9"),
    ({"acc_width": 8}, "weight_bits < acc_width <= membrane_width <= 48"),
    ({"acc_width": 25}, "weight_bits < acc_width <= membrane_width <= 48"),
    ({"membrane_width": 49}, "weight_bits < acc_width <= membrane_width <= 48"),
    ({"fifo_depth": 0}, "fifo_depth must be 1 to 16, not 0"),
    ({"fifo_depth": 17}, "fifo_depth must be 1 to 16, not 17"),
    ({"max_planes": 0}, "max_planes must be 1 to 14 for this shape, not 0"),
    ({"max_planes": 15}, "max_planes must be 1 to 14 for this shape, not 15"),
    ({"bank_depth": 100}, "bank_depth must be a power of two, not 100"),
    ({"bank_depth": 2}, "bank_depth must hold at least one word of channels"),
    ({"spike_depth": 3}, "memories must have at least 4 words"),
    ({"store_depth": 3}, "memories must have at least 4 words"),
    ({"dim_bits": 3}, "dim_bits must be 4 to 12, not 3"),
    ({"dim_bits": 13}, "dim_bits must be 4 to 12, not 13"),
    ({"kernel_bits": 1}, "kernel_bits must be 2 to dim_bits"),
    ({"kernel_bits": 9}, "kernel_bits must be 2 to dim_bits"),
    ({"chunk_bits": 0}, "chunk_bits must be 1 to 12, not 0"),
    ({"chunk_bits": 13}, "chunk_bits must be 1 to 12, not 13"),
    ({"leak_terms": 3}, "leak_terms must be 0 to 2, not 3"),
    ({"leak_terms": -1}, "leak_terms must be 0 to 2, not -1"),
    ({"store": "disk"}, "store must be one of bram, spram, flash, sdram, not 'disk'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refuses(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CoreConfig(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 2, "acc_width": 3, "membrane_width": 3},
        {"membrane_width": 48, "acc_width": 48},
        {"fifo_depth": 16, "max_planes": 14, "bank_depth": 4, "spike_depth": 4, "store_depth": 4},
        {"dim_bits": 4, "kernel_bits": 4, "chunk_bits": 12, "leak_terms": 0},
        {"event_lanes": 8, "neuron_units": 1, "bank_lanes": 1},
    ],
)
def test_takes_the_limits(changes: dict) -> None:
    CoreConfig(**changes)


def test_derived_widths() -> None:
    config = CoreConfig(event_lanes=4, output_lanes=16, time_lanes=8, neuron_units=2, bank_lanes=4, bank_depth=64)
    assert (config.lanes, config.channels_per_word, config.spike_width) == (512, 4, 128)
    assert (config.slots_per_step, config.slots_per_chunk, config.stages, config.tree_levels) == (8, 64, 4, 2)
    assert (config.tag_bits, config.weight_addr_bits) == (4, 6)
    assert (config.param_width, config.store_width) == (60, 128)
    assert (config.spike_addr_bits, config.store_addr_bits) == (10, 14)
    odd = dataclasses.replace(config, spike_depth=1000, store_depth=5000, bank_depth=4, weight_bits=2)
    assert (odd.spike_addr_bits, odd.store_addr_bits) == (10, 13)
    assert (odd.tag_bits, odd.weight_addr_bits, odd.store_width) == (1, 3, 64)
