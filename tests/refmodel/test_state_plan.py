"""State memory: places, refusals, and for how many steps membranes are proven to fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel.bounds import network_bounds
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError
from refmodel.limits import stored_threshold
from refmodel.lowering import lower
from refmodel.membranes import integer_leak
from refmodel.needs import plan
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from refmodel.state import keeps_membrane
from refmodel.state_bounds import proven_steps, state_bounds
from tests.random_networks import random_quantized_network

CONFIG = CoreConfig(state_depth=4096)
LEAKS = [{}, *({"leak_shifts": s} for s in ((1,), (2,), (4,), (1, 1), (2, 3), (4, 4))), {"leak_factor": (7, 3)}]


def one_layer(weights: tuple[int, ...], threshold: int, steps: int = 4, **options: object) -> QuantizedNetwork:
    """A layer of one channel on spikes, and a readout."""
    weight = np.array(weights, np.int64)[None, :, None, None]
    layer = QuantizedLayer("a", "conv", "input", weight, (1, 1), threshold=np.array([threshold]), **options)  # pyright: ignore
    out = QuantizedLayer("out", "readout", "a", np.ones((2, 1, 1, 1), np.int64), (1, 1))
    return QuantizedNetwork("one", steps, QuantizedInput((len(weights), 1, 1), 1, False), (layer, out))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(LEAKS),
    st.sampled_from(["hard", "soft", "none"]),
    st.booleans(),
    st.integers(-60, 60),
    st.lists(st.integers(-100, 100), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=120, max_size=120),
)
def test_membranes_stay_within_their_bounds(leak, reset, rectify, threshold, weights, choices) -> None:
    """Runs of the largest and the smallest inputs, and of both in turn."""
    net = one_layer(tuple(weights), threshold, reset=reset, rectify=rectify, **leak)
    layer, bounds = net.layers[0], network_bounds(net)
    ends = [min(0, *np.cumsum(sorted(weights))), max(0, *np.cumsum(sorted(weights)[::-1]))]
    for drive in ([ends[0]] * 120, [ends[1]] * 120, [ends[int(choice)] for choice in choices]):
        v, seen = np.zeros(1, np.int64), []
        for x in drive:
            h = integer_leak(layer, v) + (max(x, 0) if rectify else x)
            seen.append(int(h[0]))
            fired = h >= threshold
            v = np.where(fired, {"hard": h * 0, "soft": h - threshold, "none": h}[reset], h)
        for steps in (4, 50, 120, None):
            kept = state_bounds(net, bounds, steps)["a"]
            low, high = int(kept.membrane_low[0]), int(kept.membrane_high[0])
            assert low <= min(seen[:steps]) and max(seen[:steps]) <= high, steps


def test_leaks_hold_membranes_for_ever() -> None:
    net = one_layer((50, -70), 1000, leak_shifts=(1,))
    bounds = network_bounds(net)
    assert proven_steps(net, CONFIG, bounds) is None
    kept = state_bounds(net, bounds, None)["a"]
    assert (int(kept.membrane_low[0]), int(kept.membrane_high[0])) == (-140, 102)
    assert compile_network(net, CONFIG).state_steps is None


def test_without_a_leak_only_so_many_steps_are_proven() -> None:
    net = one_layer((50, -70), 1000)
    narrow = dataclasses.replace(CONFIG, membrane_width=18)
    steps = compile_network(net, narrow).state_steps
    assert steps is not None and 70 * steps + 1000 <= 1 << 17 < 70 * (steps + 1) + 1000  # H - threshold must fit
    assert compile_network(net, dataclasses.replace(narrow, membrane_width=19)).state_steps > 2 * steps  # pyright: ignore
    assert compile_network(one_layer((50, 70), 1000), CONFIG).state_steps is None  # nothing falls, the reset bounds it
    soft = compile_network(one_layer((50, 70), 100, reset="soft"), narrow).state_steps
    assert soft is not None and 120 * soft < 1 << 17 <= 120 * (soft + 1)


def test_thresholds_are_stored_for_all_steps_together() -> None:
    """One call of 4 steps cannot reach this threshold; many can."""
    net = one_layer((50, -70), 1000)
    bounds = network_bounds(net)
    assert int(stored_threshold(net.layers[0], bounds["a"])[0]) == 201
    assert int(stored_threshold(net.layers[0], state_bounds(net, bounds, 100)["a"])[0]) == 1000
    assert compile_network(net, CONFIG).image_bytes() != compile_network(net, CONFIG, keep_state=False).image_bytes()


def test_every_membrane_has_a_place_of_its_own() -> None:
    rng = np.random.default_rng(3)
    config = dataclasses.replace(CONFIG, state_depth=1 << 16, spike_depth=1 << 14, bank_depth=1024)
    for _ in range(8):
        net = random_quantized_network(rng, steps=6, extras=("levels", "stateless", "count_pools"))
        program = compile_network(net, config)
        taken: set[int] = set()
        for slab in program.slabs:
            assert slab.descriptor.get("keeps_state", 0) == int(keeps_membrane(slab.op.layer))
            if keeps_membrane(slab.op.layer):
                _, height, width = slab.op.out.shape
                words = range(
                    slab.descriptor["state"], slab.descriptor["state"] + height * width * config.slots_per_step
                )
                assert taken.isdisjoint(words)
                taken |= set(words)
        memory = program.memory()
        assert taken == set(range(memory["state_words"])) and memory["state_depth"] == 1 << 16
        planned = plan(lower(net), dataclasses.replace(config, state_depth=4))
        assert [limit.needed for limit in planned.limits if limit.setting == "state_depth"] == [len(taken)] * (
            len(taken) > 4
        )
        compile_network(net, dataclasses.replace(config, state_depth=max(4, len(taken))))
        if len(taken) <= 4:
            continue
        with pytest.raises(CompileError, match=f"needs {len(taken)} words of state memory"):
            compile_network(net, dataclasses.replace(config, state_depth=len(taken) - 1))


def test_what_keeps_no_state_is_as_it_was() -> None:
    net = one_layer((50, -70), 1000)
    plain, without = CoreConfig(), compile_network(net, CONFIG, keep_state=False)
    assert not without.keeps_state and without.state == {} and not compile_network(net, plain).keeps_state
    assert all("keeps_state" not in slab.descriptor for slab in without.slabs)
    with pytest.raises(CompileError, match="takes 4 words of state memory, and this core has none"):
        compile_network(net, plain, keep_state=True)
    with pytest.raises(ConfigError, match="state_depth must be 0 or at least 4"):
        CoreConfig(state_depth=3)
