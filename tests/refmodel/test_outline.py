"""Outlines: of the same shape as what the quantiser makes, in no memory."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from refmodel import zoo
from refmodel.lowering import lower
from refmodel.outline import outline
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedLayer

NETWORKS = {
    "tutorial-ms": {"n_features": 8, "n_blocks": 2},
    "sew-resnet50": {"width": 1 / 16, "size": 8},
    "spiking-resnet18": {"width": 1 / 16, "size": 64},
    "ms-resnet18": {"width": 1 / 16, "size": 16, "stream_bits": 12},
    "7b-net": {"width": 1 / 8, "size": 8},
    "ds-resnet14": {"width": 1 / 16, "size": 8},
    "or-resnet18-gesture": {"width": 1 / 16, "size": 16, "steps": 5},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outlines_have_the_quantisers_shape(name: str) -> None:
    net = zoo.build(name, **NETWORKS[name])
    whole, drawn = quantize(net, 7), outline(net, 7)
    assert (drawn.name, drawn.steps, drawn.input, drawn.weight_bits) == (
        whole.name, whole.steps, whole.input, whole.weight_bits,
    )  # fmt: skip
    assert drawn.parameters == whole.parameters
    for found, wanted in zip(drawn.layers, whole.layers, strict=True):
        for option in fields(QuantizedLayer):
            a, b = getattr(found, option.name), getattr(wanted, option.name)
            if isinstance(b, np.ndarray) and option.name != "scale":
                assert isinstance(a, np.ndarray)
                assert (a.shape, a.dtype) == (b.shape, b.dtype), (wanted.name, option.name)
            elif option.name not in ("scale", "bits", "shift"):
                assert a == b, (wanted.name, option.name)
        assert found.bits >= wanted.bits
    assert [layer.name for layer in lower(drawn).layers] == [layer.name for layer in lower(whole).layers]


def test_outlines_take_no_memory() -> None:
    drawn = outline(zoo.sketch("sew-resnet152"))
    assert drawn.parameters > 60_000_000
    for layer in lower(drawn).layers:
        for array in (layer.weight, layer.bias, layer.threshold):
            assert array is None or layer.kind == "window" or set(array.strides) == {0}
