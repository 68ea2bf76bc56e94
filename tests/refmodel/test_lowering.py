"""Lowered networks compute what the networks they come from do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import golden
from refmodel.errors import CompileError
from refmodel.lowering import lower
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from tests.random_networks import EXTRAS, random_input, random_quantized_network


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_same_results_and_tensors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(rng, steps=int(rng.integers(1, 6)), extras=EXTRAS, max_layers=8, sizes=(3, 8))
    low = lower(net)
    assert all(layer.levels is None and layer.kind not in ("maxpool", "sumpool") for layer in low.layers)
    x = random_input(rng, net, 2)
    before, after = golden.run(net, x, keep=True), golden.run(low, x, keep=True)
    np.testing.assert_array_equal(before.results, after.results)
    shared = before.tensors.keys() & after.tensors.keys()
    gone = {layer.name for layer in net.layers if layer.kind == "sumpool"}
    assert before.tensors.keys() - shared <= gone
    for name in shared:
        np.testing.assert_array_equal(before.tensors[name], after.tensors[name])
    for name, stream in before.streams.items():
        np.testing.assert_array_equal(stream, after.streams[name])


def _pooled(kind: str, bits: int, *, size: int = 2, padding: int = 0, image: int = 4, **reader) -> QuantizedNetwork:
    rng = np.random.default_rng(1)
    pool = QuantizedLayer("pool", kind, "input", None, (size, size), (2, 2), (padding, padding))  # pyright: ignore
    weight = rng.integers(-9, 10, (2, 3, 3, 3))
    conv = QuantizedLayer("conv", "conv", "pool", weight, (3, 3), padding=(1, 1), threshold=np.array([9, 3]), **reader)
    out = QuantizedLayer("out", "readout", "conv", rng.integers(-9, 10, (2, 2, 1, 1)), (1, 1))
    return QuantizedNetwork("net", 3, QuantizedInput((3, image, image), bits), (pool, conv, out))


def test_a_sum_pool_goes_into_the_kernels_that_read_it() -> None:
    low = lower(_pooled("sumpool", 8))
    assert [layer.name for layer in low.layers] == ["conv", "out"]
    assert low.layers[0].kernel == (6, 6) and low.layers[0].stride == (2, 2) and low.layers[0].padding == (2, 2)


@pytest.mark.parametrize("why", [{"size": 3, "padding": 1}, {"image": 5}], ids=["overlap", "rest"])
def test_a_sum_pool_that_cannot_is_counted(why: dict) -> None:
    net = _pooled("sumpool", 1, **why)
    low = lower(net)
    assert sum(layer.kind == "window" for layer in low.layers) == why.get("size", 2) ** 2
    x = np.random.default_rng(2).integers(0, 2, (4, 3, *net.input.shape[1:]))
    np.testing.assert_array_equal(golden.run(net, x).results, golden.run(low, x).results)


def test_counts_too_large_to_pool_are_refused() -> None:
    with pytest.raises(CompileError, match="layer 'pool': pools counts up to 255, at most 64"):
        lower(_pooled("maxpool", 8))
