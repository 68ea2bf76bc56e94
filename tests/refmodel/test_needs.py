"""Needs: no limits where the compiler has none, all of them where it refuses, and enough in the larger core."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.quantized import QuantizedNetwork
from tests.random_networks import EXTRAS, random_quantized_network
from tests.sim.shapes import SHAPES

#: An attention's sizes are not among the needs.
PLAIN = set(EXTRAS) - {"attention"}

#: Cores with too little of something.
TIGHT = {
    "memories": {"spike_depth": 64, "store_depth": 128, "bank_depth": 16},
    "fields": {"dim_bits": 4, "kernel_bits": 2, "chunk_bits": 1, "result_depth": 4},
    "planes": {"max_planes": 1},
    "widths": {"acc_width": 9, "membrane_width": 10},
    "leaks": {"leak_terms": 0},
    "shifts": {"leak_shift_max": 1},
}


def random_cases(seed: int, count: int) -> Iterator[QuantizedNetwork]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield random_quantized_network(rng, steps=int(rng.integers(1, 14)), sizes=(3, 18), extras=PLAIN)


@pytest.mark.parametrize("tight", TIGHT)
def test_limits_are_what_the_compiler_refuses(tight: str) -> None:
    config = dataclasses.replace(SHAPES["k2p8"], **TIGHT[tight])
    refused = fine = 0
    for net in random_cases(len(tight), 12):
        planned = plan(lower(net), config)
        try:
            program = compile_network(net, config)
        except CompileError:
            refused += 1
            assert planned.limits
            larger = compile_network(net, planned.config)
            assert plan(lower(net), planned.config).limits == ()
            for limit in planned.limits:
                assert limit.needed > limit.present
                lacking = getattr(config, limit.setting)
                less = {limit.setting: False if isinstance(lacking, bool) else limit.present}
                if limit.setting == "source_planes":
                    less["max_planes"] = limit.present
                with pytest.raises((CompileError, ConfigError)):  # or no such core can be
                    compile_network(net, _narrowed(planned.config, less))
            assert {k: v for k, v in planned.memory.items() if k.endswith("_words")} == {
                k: v for k, v in larger.memory().items() if k.endswith("_words")
            }
        else:
            fine += 1
            assert planned.limits == ()
            assert planned.config == config
            assert planned.memory == program.memory()
    assert refused > 3, (refused, fine)


def _narrowed(config: CoreConfig, less: dict[str, int]) -> CoreConfig:
    return dataclasses.replace(config, **less)


def test_some_networks_fit() -> None:
    """The same comparison where most fit: the memory of the plan is the program's."""
    config = SHAPES["k2p8all"]
    fits = 0
    for net in random_cases(8, 20):
        planned = plan(lower(net), config)
        try:
            program = compile_network(net, config)
        except CompileError:
            assert planned.limits
        else:
            fits += 1
            assert planned.limits == () and planned.memory == program.memory()
            assert [op.layer.name for op in planned.ops] == [op.layer.name for op in program.ops]
    assert fits > 3


def test_a_limit_says_what_how_much_and_where() -> None:
    rng = np.random.default_rng(1)
    net = random_quantized_network(rng, steps=4, min_layers=3)
    config = dataclasses.replace(SHAPES["k2p8"], store_depth=16, dim_bits=4, bank_depth=4)
    limits = {limit.setting: limit for limit in plan(lower(net), config).limits}
    store, bank = limits["store_depth"], limits["bank_depth"]
    assert store.bits == store.needed * config.store_width
    assert str(store.needed) in str(store) and "16 present (store_depth)" in str(store)
    assert bank.layer in {layer.name for layer in net.layers} and f"'{bank.layer}'" in str(bank)
