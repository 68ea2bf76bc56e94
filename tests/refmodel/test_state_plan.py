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
from refmodel.state import State, keeps_membrane
from refmodel.state_bounds import _kept, has_drifted, prove_state
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
            kept = _kept(layer, bounds["a"], steps or 1 << 40)
            low, high = int(kept.membrane_low[0]), int(kept.membrane_high[0])
            assert low <= min(seen[:steps]) and max(seen[:steps]) <= high, steps


def test_leaks_hold_membranes_for_ever() -> None:
    net = one_layer((50, -70), 1000, leak_shifts=(1,))
    bounds = network_bounds(net)
    proof = prove_state(net, CONFIG, bounds)
    assert proof.steps is None and not proof.watched
    kept = proof.bounds["a"]
    assert (int(kept.membrane_low[0]), int(kept.membrane_high[0])) == (-140, 102)
    program = compile_network(net, CONFIG)
    assert program.state_steps is None and not program.state_watched


def test_without_a_leak_the_core_watches() -> None:
    """H - threshold of one run from the inner half of the range must fit the whole."""
    net = one_layer((50, -70), 100)
    widths = {}
    for width in range(10, 14):
        program = compile_network(net, dataclasses.replace(CONFIG, acc_width=9, membrane_width=width))
        widths[width] = (program.state_steps, program.state_watched)
    assert widths == {10: (5, False), 11: (None, True), 12: (None, True), 13: (None, True)}
    assert 70 * 5 + 100 <= 512 < 70 * 6 + 100 and 70 * 4 + 100 + 256 > 512 and 70 * 4 + 100 + 512 <= 1024
    rising = compile_network(one_layer((50, 70), 100), CONFIG)  # nothing falls, the reset bounds it
    assert rising.state_steps is None and not rising.state_watched
    soft = compile_network(one_layer((50, 70), 100, reset="soft"), CONFIG)
    assert soft.state_steps is None and soft.state_watched


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(LEAKS),
    st.sampled_from(["hard", "soft", "none"]),
    st.integers(-60, 60),
    st.lists(st.integers(-100, 100), min_size=1, max_size=4),
    st.integers(0, 1 << 30),
)
def test_one_run_from_the_inner_half_stays_within_the_whole(leak, reset, threshold, weights, seed) -> None:
    net = one_layer(tuple(weights), threshold, reset=reset, **leak)
    rng = np.random.default_rng(seed)
    for width in range(10, 16):
        config = dataclasses.replace(CONFIG, acc_width=9, membrane_width=width)
        try:
            program = compile_network(net, config)
        except CompileError:
            continue
        if not program.state_watched:
            continue
        half = 1 << (width - 2)
        drives = [np.minimum(weights, 0).sum(), np.maximum(weights, 0).sum()]
        stored = int(stored_threshold(net.layers[0], prove_state(net, config, network_bounds(net)).bounds["a"])[0])
        for leaked in (-half, half - 1, 0, int(rng.integers(-half, half))):
            for choice in (0, 1, None):
                v = None
                for _ in range(net.steps):
                    before = leaked if v is None else int(integer_leak(net.layers[0], np.array([v]))[0])
                    h = before + int(drives[rng.integers(2) if choice is None else choice])
                    assert -2 * half <= h < 2 * half and -2 * half <= h - stored < 2 * half
                    assert (h >= stored) == (h >= threshold)
                    v = {"hard": 0, "soft": h - threshold, "none": h}[reset] if h >= threshold else h


def test_a_state_has_drifted_when_it_leaves_the_inner_half() -> None:
    net, config = one_layer((50, -70), 100), dataclasses.replace(CONFIG, acc_width=9, membrane_width=11)
    for value, drifted in ((-512, False), (-513, True), (511, False), (512, True)):
        assert has_drifted(net, config, State({"a": np.full((1, 1, 1, 1), value)}, 4)) == drifted
    leaky = one_layer((50, -70), 100, leak_shifts=(1,))  # the leaked membrane is what is kept
    assert not has_drifted(leaky, config, State({"a": np.full((1, 1, 1, 1), -1024)}, 4))


def test_thresholds_are_stored_for_all_runs_together() -> None:
    """One call of 4 steps cannot reach this threshold; many can."""
    net = one_layer((50, -70), 1000)
    bounds = network_bounds(net)
    assert int(stored_threshold(net.layers[0], bounds["a"])[0]) == 201
    assert int(stored_threshold(net.layers[0], prove_state(net, CONFIG, bounds).bounds["a"])[0]) == 1000
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
