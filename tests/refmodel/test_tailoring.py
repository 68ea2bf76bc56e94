"""Tailored cores: they run the network, and with less of anything they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refmodel import zoo
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, SkipspikeError
from refmodel.lowering import lower
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from refmodel.tailoring import Shape, shape_of, tailored

SHAPE = Shape(2, 8, 4, 1, 2)


@pytest.fixture(scope="module", params=["sew-resnet18", "ms-resnet18"])
def network(request: pytest.FixtureRequest) -> QuantizedNetwork:
    return quantize(zoo.build(request.param, width=1 / 16, size=4, steps=4, classes=3, seed=1), 6)


def test_a_tailored_core_runs_the_network_and_no_smaller_one_does(network: QuantizedNetwork) -> None:
    config = tailored(lower(network), CoreConfig(), SHAPE)
    assert shape_of(config) == SHAPE and config.weight_bits == 6
    program = compile_network(network, config)
    memory = program.memory()
    assert config.store_depth - memory["store_words"] < 64 and config.spike_depth - memory["spike_words"] < 64
    for setting, less in (("acc_width", 1), ("bank_depth", config.bank_depth // 2)):
        with pytest.raises(SkipspikeError):
            compile_network(network, replace(config, **{setting: getattr(config, setting) - less}))


def test_wide_biases_of_readouts_count(network: QuantizedNetwork) -> None:
    layers = list(network.layers)
    bias = np.full(layers[-1].weight.shape[0], 1 << 20)  # pyright: ignore[reportOptionalMemberAccess]
    layers[-1] = replace(layers[-1], bias=bias)
    wide = replace(network, layers=tuple(layers))
    config = tailored(lower(wide), CoreConfig(), SHAPE)
    assert config.acc_width == 22
    compile_network(wide, config)


def test_shapes_without_room_are_refused(network: QuantizedNetwork) -> None:
    """R = 4 slots leave no time to write the planes of counts."""
    with pytest.raises(SkipspikeError):
        tailored(lower(network), CoreConfig(), Shape(2, 8, 1, 4, 4))
    with pytest.raises(CompileError, match="attention"):
        gated = replace(network.layers[0], attention=object())
        tailored(replace(network, layers=(gated, *network.layers[1:])), CoreConfig(), SHAPE)
