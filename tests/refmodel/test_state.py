"""Membranes kept between calls: golden model, places in the state memory, proofs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import golden
from refmodel.errors import DataError
from refmodel.lowering import lower
from refmodel.quantized import QuantizedNetwork
from refmodel.state import kept_membranes, neurons_kept
from tests.random_networks import random_input, random_quantized_network

MIX = (
    "no_reset", "stateless", "rectify", "leak_factor", "levels", "streams", "stream_tensors", "count_pools", "signed",
)  # fmt: skip


def streaming_network(seed: int, steps: int) -> tuple[QuantizedNetwork, np.ndarray]:
    """A random network with event input, and its input ``[2, T, C, H, W]``."""
    rng = np.random.default_rng(seed)
    extras = [extra for extra in MIX if rng.random() < 0.4]
    net = random_quantized_network(rng, steps=steps, extras=extras, static=False, max_layers=5, sizes=(3, 7))
    return net, random_input(rng, net, 2)


def in_parts(net: QuantizedNetwork, x: np.ndarray, parts: list[int]) -> list[golden.GoldenResult]:
    """Calls of so many steps each, one after the other."""
    state, done, results = None, 0, []
    for steps in parts:
        short = dataclasses.replace(net, steps=steps)
        results.append(golden.run(short, x[:, done : done + steps], keep=True, state=state, keep_state=True))
        state, done = results[-1].state, done + steps
    return results


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 20), st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_calls_with_state_make_the_spikes_of_one_call(seed: int, parts: list[int]) -> None:
    net, x = streaming_network(seed, sum(parts))
    whole = golden.run(net, x, keep=True, keep_state=True)
    results = in_parts(net, x, parts)
    for kind in ("tensors", "membranes", "streams"):
        for name, value in getattr(whole, kind).items():
            if name == net.layers[-1].name:
                continue  # the readout is of each call
            joined = np.concatenate([getattr(result, kind)[name] for result in results], axis=1)
            assert np.array_equal(joined, value), (kind, name)
    last, state = results[-1].state, whole.state
    assert last is not None and state is not None and last.steps == state.steps == sum(parts)
    for name, v in state.membranes.items():
        assert np.array_equal(last.membranes[name], v)
    bias = net.layers[-1].bias
    each = 0 if bias is None else bias * (len(parts) - 1)
    assert np.array_equal(sum(result.results for result in results), whole.results + each)


def test_a_network_and_the_same_lowered_share_their_state() -> None:
    rng = np.random.default_rng(5)
    for _ in range(6):
        net = random_quantized_network(rng, steps=3, extras=("levels", "count_pools"), static=False)
        lowered, x = lower(net), random_input(rng, net, 2)
        assert kept_membranes(net) == kept_membranes(lowered)
        first = golden.run(net, x, keep_state=True)
        a = golden.run(net, x, state=first.state, keep_state=True)
        b = golden.run(lowered, x, state=first.state, keep_state=True)
        assert np.array_equal(a.results, b.results) and a.state is not None and b.state is not None
        assert all(np.array_equal(v, b.state.membranes[name]) for name, v in a.state.membranes.items())


def test_a_run_without_state_begins_anew() -> None:
    net, x = streaming_network(3, 4)
    first = golden.run(net, x, keep_state=True)
    assert golden.run(net, x).state is None
    again = golden.run(net, x, state=first.state)
    assert again.state is None
    assert neurons_kept(net) == sum(v[0].size for v in first.state.membranes.values()) > 0  # pyright: ignore
    assert np.array_equal(golden.run(net, x).results, first.results)


def test_large_states_are_exact() -> None:
    """The numbers' types follow the state: sums beyond 2^24 and 2^53 do not round."""
    net, x = streaming_network(3, 4)
    name, plain = "l0", dict(leak_shifts=(), leak_factor=None, stateless=False)
    assert name in kept_membranes(net)
    layers = [dataclasses.replace(layer, **plain) if layer.name == name else layer for layer in net.layers]
    net = dataclasses.replace(net, layers=tuple(layers))
    zero = golden.run(net, x, keep_state=True).state
    assert zero is not None
    after = []
    for size in (1 << 20, 1 << 25, (1 << 54) + 1):  # so far below the threshold nobody fires
        state = dataclasses.replace(zero, membranes={k: v * 0 - size for k, v in zero.membranes.items()})
        left = golden.run(net, x, state=state, keep_state=True).state
        assert left is not None
        after.append(left.membranes[name] + size)
    assert after[0].any() and np.array_equal(after[0], after[1]) and np.array_equal(after[0], after[2])


def test_states_of_other_networks_and_other_inputs_are_refused() -> None:
    net, x = streaming_network(3, 4)
    state = golden.run(net, x, keep_state=True).state
    assert state is not None
    with pytest.raises(DataError, match="must be integers of shape"):
        golden.run(net, x[:1], state=state)
    name = next(iter(state.membranes))
    with pytest.raises(DataError, match=f"of another network: '{name}'"):
        golden.run(net, x, state=dataclasses.replace(state, membranes={}))
