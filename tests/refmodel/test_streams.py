"""Membrane streams: the golden model's equation, the plan of their memory, and the refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel import golden, modelfile
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, NetworkError
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from refmodel.streams import plan_streams
from tests.random_networks import random_input, random_quantized_network, with_streams

CONFIG = CoreConfig(stream_width=22, stream_depth=4096, bank_depth=512)


def ms_network(rng: np.random.Generator, blocks: int, channels: int = 5, steps: int = 3) -> QuantizedNetwork:
    """Stem and MS blocks: y = conv(SN(conv(SN x))) + x, the stream multi-bit, the spikes binary (MS-ResNet)."""

    def conv(name: str, source: str, cin: int, **options) -> QuantizedLayer:
        weight = rng.integers(-20, 25, (channels, cin, 3, 3))
        return QuantizedLayer(
            name, "conv", source, weight, (3, 3), padding=(1, 1), bias=rng.integers(-9, 9, channels),
            threshold=rng.integers(30, 200, channels), leak_shifts=(1, 2), **options,
        )  # fmt: skip

    layers = [conv("stem", "input", 2, keeps_stream=True)]
    stream = "stem"
    for block in range(blocks):
        layers.append(conv(f"b{block}a", stream, channels))
        layers.append(conv(f"b{block}b", f"b{block}a", channels, stream=stream, keeps_stream=True))
        stream = f"b{block}b"
    layers.append(QuantizedLayer("out", "readout", stream, rng.integers(-9, 9, (3, channels, 1, 1)), (1, 1)))
    return QuantizedNetwork("ms", steps, QuantizedInput((2, 4, 5), 3), tuple(layers))


def _direct(net: QuantizedNetwork, x: np.ndarray) -> np.ndarray:
    """The same network by plain loops over steps, from the equations of the MS block."""
    padded = {"input": [np.pad(x, ((0, 0), (1, 1), (1, 1)))] * net.steps}
    streams: dict[str, list[np.ndarray]] = {}
    for layer in net.layers[:-1]:
        assert layer.weight is not None and layer.bias is not None and layer.threshold is not None
        _, height, width = x.shape
        u = np.zeros((len(layer.bias), height, width), np.int64)
        spikes, kept = [], []
        for t in range(net.steps):
            source = padded[layer.source][t]
            y = np.zeros_like(u) + layer.bias[:, None, None]
            for ky in range(3):
                for kx in range(3):
                    tap = source[:, ky : ky + height, kx : kx + width]
                    y += np.tensordot(layer.weight[:, :, ky, kx], tap, axes=1)
            if layer.stream:
                y = y + streams[layer.stream][t]
            u = u - (u >> 1) - (u >> 2) + y
            fired = u >= layer.threshold[:, None, None]
            u = np.where(fired, 0, u)
            kept.append(y)
            spikes.append(np.pad(fired.astype(np.int64), ((0, 0), (1, 1), (1, 1))))
        padded[layer.name], streams[layer.name] = spikes, kept
    last = net.layers[-1]
    assert last.weight is not None
    total = sum(s.sum(axis=(1, 2)) for s in padded[last.source])
    return last.weight[:, :, 0, 0] @ total


@pytest.mark.parametrize("seed", range(5))
def test_golden_model_is_the_ms_equation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = ms_network(rng, blocks=3)
    x = rng.integers(0, 8, (2, 2, 4, 5))
    result = golden.run(net, x)
    for image in range(2):
        assert result.results[image].tolist() == _direct(net, x[image]).tolist()


def test_zero_branches_pass_the_stream_through_fifty_blocks() -> None:
    rng = np.random.default_rng(1)
    net = ms_network(rng, blocks=50)
    layers = [
        dataclasses.replace(layer, weight=layer.weight * 0, bias=layer.bias * 0)
        if layer.stream and layer.weight is not None and layer.bias is not None
        else layer
        for layer in net.layers
    ]
    result = golden.run(dataclasses.replace(net, layers=tuple(layers)), rng.integers(0, 8, (1, 2, 4, 5)), keep=True)
    assert (result.streams["b49b"] == result.streams["stem"]).all()
    assert result.streams["stem"].any()


def test_streams_are_replaced_in_place() -> None:
    plan = plan_streams(ms_network(np.random.default_rng(0), blocks=4), CONFIG)
    assert len({buffer.base for buffer in plan.values()}) == 1
    assert plan["stem"].words == 4 * 5 * 1 * CONFIG.slots_per_chunk


@pytest.mark.parametrize("seed", range(30))
def test_streams_alive_together_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = with_streams(rng, random_quantized_network(rng, steps=2, min_layers=4, max_layers=8, sizes=(3, 5)))
    plan = plan_streams(net, dataclasses.replace(CONFIG, stream_depth=1 << 20))
    last = {name: i for i, layer in enumerate(net.layers) for name in (layer.name, layer.stream) if name}
    for index, layer in enumerate(net.layers):
        if not layer.keeps_stream:
            continue
        for other in net.layers[:index]:
            if other.keeps_stream and last[other.name] > index:
                a, b = plan[layer.name], plan[other.name]
                assert a.base + a.words <= b.base or b.base + b.words <= a.base


def test_model_file_keeps_streams() -> None:
    net = ms_network(np.random.default_rng(2), blocks=1)
    again = modelfile.loads(modelfile.dumps(net), "test")
    assert isinstance(again, QuantizedNetwork)
    assert [(layer.stream, layer.keeps_stream) for layer in again.layers] == [
        (layer.stream, layer.keeps_stream) for layer in net.layers
    ]


def test_refusals() -> None:
    rng = np.random.default_rng(3)
    net = ms_network(rng, blocks=2)
    with pytest.raises(CompileError, match="membrane streams need a core with a stream memory"):
        compile_network(net, dataclasses.replace(CONFIG, stream_width=0))
    with pytest.raises(CompileError, match="words of stream memory, this core has 64"):
        compile_network(net, dataclasses.replace(CONFIG, stream_depth=64))
    with pytest.raises(CompileError, match="membrane stream can need"):
        compile_network(net, dataclasses.replace(CONFIG, stream_width=9))
    broken = dataclasses.replace(net.layers[2], stream="nothing")
    broken_net = dataclasses.replace(net, layers=(*net.layers[:2], broken, *net.layers[3:]))
    with pytest.raises(NetworkError, match="unknown stream 'nothing'"):
        golden.run(broken_net, random_input(rng, net, 1))
