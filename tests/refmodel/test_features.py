"""A core with the features of a network takes it; without them it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError
from refmodel.features import with_features
from tests.random_networks import EXTRAS, random_quantized_network

BARE = CoreConfig(leak_terms=0, max_planes=2, spike_depth=1 << 16, store_depth=1 << 16, bank_depth=1 << 12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_added_is_enough_and_needed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(rng, steps=3, extras=EXTRAS, max_layers=8, sizes=(3, 6))
    config = with_features(BARE, net)
    compile_network(net, config)
    assert with_features(config, net) is config
    for field in dataclasses.fields(CoreConfig):
        value, before = getattr(config, field.name), getattr(BARE, field.name)
        if value == before or field.name == "stream_depth":
            continue
        if field.name == "attention":
            for size in dataclasses.fields(value):
                fewer = getattr(value, size.name) - (1 if size.name != "weight_depth" else 256)
                if fewer >= (16 if size.name == "weight_depth" else 1):
                    with pytest.raises(CompileError):
                        tight = dataclasses.replace(value, **{size.name: fewer})
                        compile_network(net, dataclasses.replace(config, attention=tight))
            continue
        less = {"stream_width": value - 1 if value > 2 else 0, "source_planes": value - 1}.get(field.name, before)
        with pytest.raises((CompileError, ConfigError)):
            compile_network(net, dataclasses.replace(config, **{field.name: less}))


def test_a_network_without_needs_leaves_the_core_alone() -> None:
    net = random_quantized_network(np.random.default_rng(1), steps=2, input_bits=(1,), max_layers=2)
    config = CoreConfig()
    assert with_features(config, net) is config
