"""The builder's blocks: their equations written out with the float model's neuron, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import floatmodel
from refmodel.attention import Attention, gated, gates
from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import InputSpec, Neuron, StreamLayer

Array = NDArray[np.float64]
RNG = np.random.default_rng(11)
T, C = 3, 4
IF = Neuron(threshold=0.9)
MLF = Neuron("lif", 0.6, 4 / 3, False, fire="gt", levels=(1.6, 2.6))


def synapses(outputs: int, inputs: int, size: int) -> tuple[Array, Array]:
    return RNG.normal(0, 0.5, (outputs, inputs, size, size)), RNG.normal(0.3, 0.3, outputs)


def bn_conv(x: Array, weights: tuple[Array, Array], stride: int = 1) -> Array:
    """BN(C(x)) with "same" padding for x ``[N, T, C, H, W]``, by einsum over windows."""
    weight, bias = weights
    pad = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(3, 4))
    return np.einsum("ntcyxkl,ockl->ntoyx", windows[:, :, :, ::stride, ::stride], weight) + bias[:, None, None]


def sn(x: Array, neuron: Neuron) -> Array:
    return floatmodel.fire(neuron, x).astype(float)


class Bench:
    """A network with a block on its stem, and what the stem makes."""

    def __init__(self, neuron: Neuron = IF, binary: bool = True, size: tuple[int, int] = (4, 6)) -> None:
        spec = InputSpec((C, *size), 1 if binary else 3, static=False)
        self.builder = NetworkBuilder("bench", T, spec, neuron=neuron)
        self.stem = synapses(C, C, 3)
        self.x = self.builder.conv("input", *self.stem, keeps_stream=True, name="stem")
        self.neuron = neuron
        self.images = RNG.integers(0, 2 if binary else 8, (5, T, C, *size))

    @property
    def stream(self) -> Array:
        return bn_conv(self.images.astype(float), self.stem)

    @property
    def spikes(self) -> Array:
        return sn(self.stream, self.neuron)

    def run(self, name: str) -> floatmodel.FloatResult:
        channels = self.builder.tensor(name).shape[0]
        self.builder.readout(name, np.ones((2, channels)))
        result = floatmodel.run(self.builder.build(), self.images, keep=True)
        rate = (result.tensors[name] != 0).mean()
        assert 0.02 < rate < 0.98, "a trivial result tests nothing"
        return result


def test_plain_block() -> None:
    bench, w1, w2 = Bench(), synapses(3, C, 3), synapses(2, 3, 3)
    name = bench.builder.plain_block(bench.x, *w1, *w2, stride=2)
    expected = sn(bn_conv(sn(bn_conv(bench.spikes, w1, 2), IF), w2), IF)
    np.testing.assert_array_equal(bench.run(name).tensors[name], expected)


def residual(s: Array, convs: list[tuple[Array, Array]], strides: list[int], neuron: Neuron) -> Array:
    """BN(C(...SN(BN(C S)))), before the last neuron."""
    for index, (weights, stride) in enumerate(zip(convs, strides, strict=True)):
        s = bn_conv(s if index == 0 else sn(s, neuron), weights, stride)
    return s


G = {
    "add": lambda a, s: a + s,
    "and": lambda a, s: a * s,
    "iand": lambda a, s: (1 - a) * s,
    "or": lambda a, s: np.maximum(a, s),
}


@pytest.mark.parametrize("combine", G)
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_sew_blocks(combine, down: bool, bottleneck: bool) -> None:
    bench = Bench()
    outputs, stride = (6, 2) if down else (C, 1)
    projection = synapses(outputs, C, 1) if down else None
    if bottleneck:
        convs = [synapses(3, C, 1), synapses(3, 3, 3), synapses(outputs, 3, 1)]
        strides, make = [1, stride, 1], bench.builder.sew_bottleneck
    else:
        convs = [synapses(outputs, C, 3), synapses(outputs, outputs, 3)]
        strides, make = [stride, 1], bench.builder.sew_block
    flat = [part for pair in convs for part in pair]
    name = make(bench.x, *flat, combine=combine, stride=stride, projection=projection)  # type: ignore[call-arg]
    a = sn(residual(bench.spikes, convs, strides, IF), IF)
    s = bench.spikes if projection is None else sn(bn_conv(bench.spikes, projection, stride), IF)
    np.testing.assert_array_equal(bench.run(name).tensors[name], G[combine](a, s))


def test_clamp_is_a_limited_sum() -> None:
    bench, w1, w2 = Bench(), synapses(C, C, 3), synapses(C, C, 3)
    name = bench.builder.sew_block(bench.x, *w1, *w2, clamp=True)
    a = sn(residual(bench.spikes, [w1, w2], [1, 1], IF), IF)
    np.testing.assert_array_equal(bench.run(name).tensors[name], np.minimum(a + bench.spikes, 1))


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_spiking_resnet_blocks(bottleneck: bool, down: bool) -> None:
    bench = Bench()
    outputs, stride = (6, 2) if down else (C, 1)
    projection = synapses(outputs, C, 1) if down else None
    current = 1.0 if down else 0.7
    if bottleneck:
        convs = [synapses(3, C, 1), synapses(3, 3, 3), synapses(outputs, 3, 1)]
        strides, make = [1, stride, 1], bench.builder.spiking_resnet_bottleneck
    else:
        convs = [synapses(outputs, C, 3), synapses(outputs, outputs, 3)]
        strides, make = [stride, 1], bench.builder.spiking_resnet_block
    flat = [part for pair in convs for part in pair]
    name = make(bench.x, *flat, stride=stride, projection=projection, current=current)  # type: ignore[call-arg]
    shortcut = current * bench.spikes if projection is None else bn_conv(bench.spikes, projection, stride)
    expected = sn(residual(bench.spikes, convs, strides, IF) + shortcut, IF)
    np.testing.assert_array_equal(bench.run(name).tensors[name], expected)


MS = Neuron("lif", 0.5, 4 / 3, False, fire="gt")


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("shortcut", ["identity", "projection", "pool"])
def test_ms_blocks(bottleneck: bool, shortcut: str) -> None:
    bench = Bench(MS)
    outputs, stride = (C, 1) if shortcut == "identity" else (6, 2)
    projection = None if shortcut == "identity" else synapses(outputs, C, 1)
    if bottleneck:
        convs = [synapses(3, C, 1), synapses(3, 3, 3), synapses(outputs, 3, 1)]
        strides, make = [1, stride, 1], bench.builder.ms_bottleneck
    else:
        convs = [synapses(outputs, C, 3), synapses(outputs, outputs, 3)]
        strides, make = [stride, 1], bench.builder.ms_block
    flat = [part for pair in convs for part in pair]
    name = make(bench.x, *flat, stride=stride, projection=projection, pool_projection=shortcut == "pool")  # type: ignore[call-arg]
    x = bench.stream
    if projection is not None:
        n, steps, channels, height, width = x.shape
        pooled = x.reshape(n, steps, channels, height // 2, 2, width // 2, 2).mean(axis=(4, 6))
        x = bn_conv(pooled, projection) if shortcut == "pool" else bn_conv(x, projection, stride)
    y = residual(bench.spikes, convs, strides, MS) + x
    again = bench.builder.ms_block(name, *synapses(outputs, outputs, 3), *synapses(outputs, outputs, 3))
    got = bench.run(again)
    np.testing.assert_allclose(got.streams[name], y, atol=1e-12)
    np.testing.assert_array_equal(got.tensors[name], sn(y, MS))


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_ds_blocks(bottleneck: bool, down: bool) -> None:
    bench = Bench(MLF)
    outputs, stride = (6, 2) if down else (C, 1)
    projection = synapses(outputs, C, 1) if down else None
    if bottleneck:
        convs = [synapses(3, C, 1), synapses(3, 3, 3), synapses(outputs, 3, 1)]
        strides, make = [1, stride, 1], bench.builder.ds_bottleneck
    else:
        convs = [synapses(outputs, C, 3), synapses(outputs, outputs, 3)]
        strides, make = [stride, 1], bench.builder.ds_block
    flat = [part for pair in convs for part in pair]
    name = make(bench.x, *flat, stride=stride, projection=projection)  # type: ignore[call-arg]
    s = bench.spikes if projection is None else sn(bn_conv(bench.spikes, projection, stride), MLF)
    expected = sn(residual(bench.spikes, convs, strides, MLF), MLF) + s
    got = bench.run(name)
    np.testing.assert_array_equal(got.tensors[name], expected)
    assert got.tensors[name].max() > 3 and bench.builder.tensor(name).max_value == 6


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("which", ["all", "ma", "ia", "none"])
def test_syna_blocks(which: str, down: bool) -> None:
    bench = Bench()
    outputs, stride = (6, 2) if down else (C, 1)
    projection = synapses(outputs, C, 1) if down else None
    convs = [synapses(outputs, C, 3), synapses(outputs, outputs, 3)]
    ma1 = Attention("time", RNG.normal(0, 0.4, (2, T)), RNG.normal(0, 0.4, (T, 2)))
    ma2 = Attention("channel", RNG.normal(0, 0.4, (2, outputs)), RNG.normal(0, 0.4, (outputs, 2)))
    ia = Attention("channel", np.ones((1, outputs)), np.arange(outputs)[:, None] / outputs, Neuron("lif"))
    if which not in ("all", "ma"):
        ma1 = ma2 = None
    if which not in ("all", "ia"):
        ia = None
    name = bench.builder.syna_block(
        bench.x, *convs[0], *convs[1], attention1=ma1, attention2=ma2, inhibition=ia, stride=stride,
        projection=projection,
    )  # fmt: skip

    def through(x: Array, attention: Attention | None) -> Array:
        return x if attention is None else gated(x, gates(x, attention), attention.axis)

    middle = sn(through(bn_conv(bench.spikes, convs[0], stride), ma1), IF)
    a = sn(through(bn_conv(middle, convs[1]), ma2), IF)
    s = bench.spikes if projection is None else sn(bn_conv(bench.spikes, projection, stride), IF)
    expected = np.maximum(a, through(s, ia))
    result = bench.run(name)
    np.testing.assert_array_equal(result.tensors[name], expected)
    if ia is not None:
        assert 0 < result.gates["block1.inhibition"].mean() < 1
        assert (expected != np.maximum(a, s)).any()
    if ma1 is not None:
        assert (expected != np.maximum(sn(residual(bench.spikes, convs, [stride, 1], IF), IF), through(s, ia))).any()


def test_membrane_shortcut_block() -> None:
    bench = Bench(size=(1, 1))
    (w1, b1), (w2, b2) = synapses(C, C, 1), synapses(C, C, 1)
    name = bench.builder.membrane_shortcut_block(bench.x, w1[..., 0, 0], b1, w2[..., 0, 0], b2, current=0.4)
    expected = sn(residual(bench.spikes, [(w1, b1), (w2, b2)], [1, 1], IF) + 0.4 * bench.spikes, IF)
    np.testing.assert_array_equal(bench.run(name).tensors[name], expected)


def test_pools() -> None:
    bench = Bench(MLF)
    made = [make(bench.x, 2) for make in (bench.builder.maxpool, bench.builder.sumpool, bench.builder.avgpool)]
    padded = bench.builder.avgpool(bench.x, 2, 1, (1, 0))
    got = bench.run(bench.x)
    parts = bench.spikes.reshape(5, T, C, 2, 2, 3, 2)
    for name, expected in zip(made, (parts.max((4, 6)), parts.sum((4, 6)), parts.mean((4, 6))), strict=True):
        np.testing.assert_array_equal(got.tensors[name], expected)
    # the padding's zeros count in the mean
    np.testing.assert_array_equal(got.tensors[padded][..., 0, 0], bench.spikes[..., 0, :2].sum(-1) / 4)


def test_builder_options_reach_the_layers() -> None:
    builder = NetworkBuilder("n", 1, InputSpec((2, 3, 3), 2))
    name = builder.dense("input", np.ones((4, 18)), neurons=False, name="d")
    assert builder.keeps_stream(name)
    builder.stream(name, 7, name="s")
    x = builder.dense("s", np.ones((4, 4)), rectify=True, stream=name)
    builder.readout(x, np.ones((2, 4)))
    dense, stream, last, _ = builder.build().layers
    assert (dense.neuron, dense.keeps_stream) == (None, True)
    assert stream == StreamLayer("s", "d", 7)
    assert (last.rectify, last.stream, last.keeps_stream) == (True, "d", False)


def bench_with(count: bool) -> Bench:
    return Bench(MLF if count else IF)


W = (np.ones((C, C, 3, 3)), None)
ONE = (np.ones((C, C, 1, 1)), None)
REFUSALS = {
    "clamp of and": (lambda b: b.sew_block("stem", *W, *W, combine="and", clamp=True), False, "'block1': clamp limits"),
    "clamp of counts": (
        lambda b: b.sew_block(b.sew_block("stem", *W, *W), *W, *W, clamp=True), False, "'block1.conv2' counts up to 2"
    ),
    "clamp of levels": (lambda b: b.sew_block("input", *W, *W, clamp=True), True, "MLF units count"),
    "current of counts": (lambda b: b.spiking_resnet_block("stem", *W, *W), True, "current needs a binary shortcut"),
    "current of a projection": (
        lambda b: b.spiking_resnet_block("stem", *W, *W, projection=ONE, current=0.5), False, "no current"
    ),
    "no stream": (lambda b: b.ms_block(b.conv("stem", *W), *W, *W), False, "keeps no membrane stream"),
    "pool without projection": (lambda b: b.ms_block("stem", *W, *W, pool_projection=True), False, "needs a proj"),
    "large pool projection": (
        lambda b: b.ms_block("stem", *W, *W, stride=2, projection=W, pool_projection=True), False, "1x1"
    ),
    "shape": (lambda b: b.sew_block("stem", *W, *W, stride=2), False, "'block1.conv2': shortcut 'stem' has shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_refusals(case: str) -> None:
    make, count, message = REFUSALS[case]
    with pytest.raises(NetworkError, match=message):
        make(bench_with(count).builder)
