"""Random integer networks for tests: legal, of every layer kind, and neither silent nor saturated.

A network is grown layer by layer on a few calibration images; each channel's threshold is searched
until it fires at a rate drawn from ``rates``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel import golden, legality
from refmodel.network import ConvLayer, InputSpec, MaxPoolLayer, Network, Neuron, ReadoutLayer
from refmodel.quantize import leak_factor
from refmodel.quantized import (
    INPUT,
    Combine,
    QuantizedInput,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
)

Pair = tuple[int, int]
_LEAKS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (3,), (4,), (1, 1), (1, 2), (2, 3), (3, 4), (4, 4))
_KERNELS: tuple[Pair, ...] = ((1, 1), (2, 2), (3, 3), (3, 1), (1, 3), (2, 3), (5, 5))
_SAME: tuple[Pair, ...] = ((1, 1), (3, 3), (3, 1), (5, 5))


def random_input(rng: np.random.Generator, net: QuantizedNetwork, n: int) -> NDArray[np.int64]:
    """``n`` inputs of ``net``: ``[N, C, H, W]`` when static, else ``[N, T, C, H, W]``; about half zeros."""
    return _random_input(rng, net.input, net.steps, n)


def _random_input(rng: np.random.Generator, spec: QuantizedInput, steps: int, n: int) -> NDArray[np.int64]:
    shape = (n, *spec.shape) if spec.static else (n, steps, *spec.shape)
    values = rng.integers(1, 1 << spec.bits, shape)
    return values * (rng.random(shape) < rng.uniform(0.3, 0.8))


def random_quantized_network(
    rng: np.random.Generator,
    *,
    steps: int,
    channels_choices: Sequence[int] = (1, 3, 5, 8, 11, 16),
    max_layers: int = 6,
    min_layers: int = 1,
    sizes: Pair = (3, 10),
    input_bits: Sequence[int] = (1, 2, 4, 8),
    static: bool | None = None,
    weight_bits: int = 8,
    acc_width: int = 18,
    membrane_width: int = 24,
    max_fan_in: int = 400,
    classes: Pair = (2, 10),
    kernels: Sequence[Pair] = _KERNELS,
    strides: Sequence[int] = (1, 1, 2, 3),
    leaks: Sequence[tuple[int, ...]] = _LEAKS,
    combines: Sequence[Combine] = ("add", "and", "iand", "or"),
    soft_reset: bool = True,
    maxpool: bool = True,
    current: bool = True,
    dense: bool = True,
    input_as_spikes: bool = False,
    rates: tuple[float, float] = (0.05, 0.6),
    name: str = "random",
) -> QuantizedNetwork:
    """A random legal network with ``min_layers`` to ``max_layers`` layers before its readout.

    Parameters
    ----------
    sizes: smallest and largest input height and width (drawn apart: not square).
    static: None draws it.
    acc_width, membrane_width: weights are small enough that no sum or membrane overflows them.
    max_fan_in: largest Cin * KH * KW, which also limits dense layers and full-kernel readouts.
    leaks, combines, ...: what to choose from; an empty ``combines`` makes no SEW blocks.
    input_as_spikes: let the input be a shortcut, and pooled when it is binary.
    """
    channels = int(rng.choice([c for c in channels_choices if c <= max_fan_in]))
    shape = (channels, int(rng.integers(sizes[0], sizes[1] + 1)), int(rng.integers(sizes[0], sizes[1] + 1)))
    is_static = bool(rng.integers(2)) if static is None else static
    spec = QuantizedInput(shape, int(rng.choice(list(input_bits))), is_static)
    grower = _Grower(rng, spec, steps, channels_choices, max_fan_in, weight_bits, acc_width, membrane_width)
    grower.leaks, grower.soft_reset, grower.rates, grower.kernels = leaks, soft_reset, rates, kernels
    grower.input_as_spikes = input_as_spikes
    wanted = int(rng.integers(min_layers, max_layers + 1))
    actions = (
        ["conv"] + ["combine", "combine", "block"] * bool(combines) + ["current"] * current + ["maxpool"] * maxpool
    )
    while len(grower.layers) < wanted:
        action = str(rng.choice(actions)) if grower.layers or input_as_spikes else "conv"
        room = wanted - len(grower.layers)
        if action == "combine" and grower.shortcut_layer(combines=combines):
            continue
        if action == "block" and room >= 3:
            grower.projection_block(combines, int(rng.choice(list(strides))))
            continue
        if action == "current" and grower.shortcut_layer(combines=()):
            continue
        if action == "maxpool" and grower.maxpool():
            continue
        if dense and room == 1 and rng.random() < 0.4 and grower.dense():
            continue
        grower.conv(int(rng.choice(list(strides))))
    grower.readout(int(rng.integers(classes[0], classes[1] + 1)), full=dense and rng.random() < 0.5)
    net = QuantizedNetwork(name, steps, spec, tuple(grower.layers), weight_bits, "random")
    legality.validate(net)
    return net


def scaled(net: QuantizedNetwork, factor: int) -> QuantizedNetwork:
    """``net`` with all its integers times ``factor`` (and 16-bit weights): the same spikes where no shift rounds."""

    def times(array: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return None if array is None else array * factor

    layers = [
        dataclasses.replace(
            layer, weight=times(layer.weight), bias=times(layer.bias),
            threshold=times(layer.threshold), current=times(layer.current),
        )
        for layer in net.layers
    ]  # fmt: skip
    return dataclasses.replace(net, layers=tuple(layers), weight_bits=16)


def as_float(rng: np.random.Generator, net: QuantizedNetwork) -> Network:
    """A float network that must spike exactly as ``net`` does, with neurons of randomly drawn conventions.

    Needs equal thresholds and currents in all channels of a layer (:func:`uniform`).  Where the float
    leak is not exact the threshold lies half a unit below the integer one, so that no tie depends on noise.
    """
    layers: list[ConvLayer | MaxPoolLayer | ReadoutLayer] = []
    infos = net.tensors()
    for layer in net.layers:
        if layer.weight is None:
            layers.append(MaxPoolLayer(layer.name, layer.source, layer.kernel, layer.stride, layer.padding))
            continue
        weight = layer.weight.astype(np.float64)
        bias = None if layer.bias is None else layer.bias.astype(np.float64)
        if layer.kind == "readout":
            _, height, width = infos[layer.name].shape
            pool = "none" if layer.kernel == infos[layer.source].shape[1:] else "global_average"
            bias = None if bias is None else bias / (net.steps * height * width)
            layers.append(ReadoutLayer(layer.name, layer.source, weight.reshape(len(weight), -1), bias, pool))
            continue
        assert layer.threshold is not None
        current = None if layer.current is None else float(layer.current[0])
        neuron = _float_neuron(rng, int(layer.threshold[0]), layer)
        layers.append(
            ConvLayer(
                layer.name, layer.source, weight, bias, layer.stride, layer.padding, neuron,
                layer.shortcut, layer.combine, current,
            )
        )  # fmt: skip
    spec = InputSpec(net.input.shape, net.input.bits, net.input.static)
    return Network(net.name, net.steps, spec, tuple(layers), net.family)


def _float_neuron(rng: np.random.Generator, threshold: int, layer: QuantizedLayer) -> Neuron:
    decay = 1.0 - leak_factor(layer.leak_shifts)
    exact = len(layer.leak_shifts) <= 1
    fire = "ge" if layer.reset == "soft" or rng.random() < 0.6 else "gt"
    edge = float(threshold) if exact and fire == "ge" else threshold - 1.0 if exact else threshold - 0.5
    v_reset = 0.0 if layer.reset == "soft" else float(rng.choice([-8.0, 0.0, 2.0]))
    if not layer.leak_shifts:
        return Neuron("if", edge + v_reset, reset=layer.reset, v_reset=v_reset, fire=fire)
    decay_input = bool(rng.integers(2))
    edge = edge * decay if decay_input else edge
    return Neuron("lif", edge + v_reset, 1.0 / decay, decay_input, layer.reset, v_reset, fire)


def uniform(net: QuantizedNetwork) -> QuantizedNetwork:
    """``net`` with one threshold and one current a layer (their medians), as float networks have them."""

    def level(array: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return None if array is None else np.full_like(array, int(np.median(array)))

    layers = [
        dataclasses.replace(layer, threshold=level(layer.threshold), current=level(layer.current))
        for layer in net.layers
    ]
    return dataclasses.replace(net, layers=tuple(layers))


def with_streams(rng: np.random.Generator, net: QuantizedNetwork) -> QuantizedNetwork:
    """``net`` with membrane streams between some of its convolutions of equal shape."""
    shapes = net.tensors()
    layers = list(net.layers)
    for index, layer in enumerate(layers):
        earlier = [
            i
            for i in range(index)
            if layer.kind == layers[i].kind == "conv" and shapes[layers[i].name].shape == shapes[layer.name].shape
        ]
        if earlier and rng.random() < 0.7:
            chosen = int(rng.choice(earlier))
            layers[chosen] = dataclasses.replace(layers[chosen], keeps_stream=True)
            layers[index] = dataclasses.replace(layer, stream=layers[chosen].name, keeps_stream=bool(rng.integers(2)))
    return dataclasses.replace(net, layers=tuple(layers))


class _Grower:
    """Layers so far, their tensors and the values of these on the calibration images, [N, T, H, W, C]."""

    def __init__(
        self,
        rng: np.random.Generator,
        spec: QuantizedInput,
        steps: int,
        channels: Sequence[int],
        max_fan_in: int,
        weight_bits: int,
        acc_width: int,
        membrane_width: int,
    ) -> None:
        self.rng, self.steps, self.channels = rng, steps, list(channels)
        self.max_fan_in, self.weight_bits = max_fan_in, weight_bits
        self.acc_width, self.membrane_width = acc_width, membrane_width
        self.leaks: Sequence[tuple[int, ...]] = ((),)
        self.kernels: Sequence[Pair] = _KERNELS
        self.soft_reset = False
        self.input_as_spikes = False
        self.rates = (0.05, 0.6)
        self.layers: list[QuantizedLayer] = []
        self.infos = {INPUT: TensorInfo(spec.shape, (1 << spec.bits) - 1)}
        images = _random_input(rng, spec, steps, 4)
        frames = np.repeat(images[:, None], steps, axis=1) if spec.static else images
        self.values: dict[str, NDArray[Any]] = {INPUT: np.moveaxis(frames, 2, -1)}

    @property
    def last(self) -> str:
        return self.layers[-1].name if self.layers else INPUT

    def _spikes(self) -> list[str]:
        """Tensors that may be shortcuts or be pooled."""
        return [name for name in self.infos if name != INPUT or self.input_as_spikes]

    def _source(self) -> str:
        return self.last if self.rng.random() < 0.75 else str(self.rng.choice(list(self.infos)))

    def conv(self, stride: int, source: str | None = None, outputs: int | None = None) -> str:
        """A convolution with any kernel, stride and padding that fit."""
        source = source or self._source()
        channels, height, width = self.infos[source].shape
        fitting = [
            kernel
            for kernel in self.kernels
            if channels * kernel[0] * kernel[1] <= self.max_fan_in
            and kernel[0] <= height + 1
            and kernel[1] <= width + 1
        ]
        kernel = fitting[int(self.rng.integers(len(fitting)))] if fitting else (1, 1)
        padding = [int(self.rng.integers(0, size)) for size in kernel]
        for axis, size in enumerate((height, width)):
            while size + 2 * padding[axis] < kernel[axis]:
                padding[axis] += 1
        step = (stride, stride if self.rng.random() < 0.8 else 1)
        count = outputs or int(self.rng.choice(self.channels))
        return self._neurons(source, count, kernel, step, (padding[0], padding[1]))

    def dense(self) -> bool:
        source = self.last
        channels, height, width = self.infos[source].shape
        if channels * height * width > self.max_fan_in:
            return False
        self._neurons(source, int(self.rng.choice(self.channels)), (height, width), (1, 1), (0, 0))
        return True

    def shortcut_layer(self, combines: Sequence[Combine]) -> bool:
        """A shape-keeping convolution with a shortcut in its combiner, or in its membrane if no combines."""
        source = self._source()
        shape = self.infos[source].shape
        found = [name for name in self._spikes() if self.infos[name].shape[1:] == shape[1:]]
        if not combines:
            found = [name for name in found if self.infos[name].max_value == 1]
        fitting = [k for k in _SAME if k[0] * k[1] * shape[0] <= self.max_fan_in]
        if not found or not fitting:
            return False
        shortcut = str(self.rng.choice(found))
        combine: Combine = "pass"
        if combines:
            binary = self.infos[shortcut].max_value == 1
            allowed: list[Combine] = [c for c in combines if binary or c == "add"]
            if not allowed:
                return False
            combine = allowed[int(self.rng.integers(len(allowed)))]
        kernel = fitting[int(self.rng.integers(len(fitting)))]
        padding = (kernel[0] // 2, kernel[1] // 2)
        self._neurons(source, self.infos[shortcut].shape[0], kernel, (1, 1), padding, shortcut, combine, not combines)
        return True

    def projection_block(self, combines: Sequence[Combine], stride: int) -> None:
        """A downsampling SEW block: conv1 with a stride, 1x1 projection with the same, conv2 combines both."""
        source = self.last
        channels = self.infos[source].shape[0]
        kernel = (3, 3) if 9 * channels <= self.max_fan_in else (1, 1)
        count = int(self.rng.choice([c for c in self.channels if 9 * c <= self.max_fan_in] or [min(self.channels)]))
        pads = (kernel[0] // 2, kernel[1] // 2)
        first = self._neurons(source, count, kernel, (stride, stride), pads)
        shortcut = self._neurons(source, count, (1, 1), (stride, stride), (0, 0))
        second = (3, 3) if 9 * count <= self.max_fan_in else (1, 1)
        combine = combines[int(self.rng.integers(len(combines)))]
        self._neurons(first, count, second, (1, 1), (second[0] // 2, second[1] // 2), shortcut, combine)

    def maxpool(self) -> bool:
        found = [name for name in self._spikes() if self.infos[name].max_value == 1]
        found = [name for name in found if min(self.infos[name].shape[1:]) >= 2]
        if not found:
            return False
        source = found[-1] if self.rng.random() < 0.7 else str(self.rng.choice(found))
        size = int(self.rng.integers(2, 4))
        padding = int(self.rng.integers(0, 2)) if size == 3 else 0
        if min(self.infos[source].shape[1:]) + 2 * padding < size:
            return False
        stride = int(self.rng.integers(1, 4))
        layer = QuantizedLayer(
            f"l{len(self.layers)}", "maxpool", source, None, (size, size), (stride, stride), (padding, padding)
        )
        self._append(layer, golden._maxpool(layer, self.values[source]))
        return True

    def readout(self, classes: int, full: bool) -> None:
        source = self.last
        info = self.infos[source]
        _, height, width = info.shape
        full = full and int(np.prod(info.shape)) <= self.max_fan_in
        kernel = (height, width) if full else (1, 1)
        pixels = 1 if full else height * width
        weight = self._weights(classes, info, kernel, self.steps * pixels)
        bias = self.rng.integers(-999, 1000, classes)
        self.layers.append(QuantizedLayer(f"l{len(self.layers)}", "readout", source, weight, kernel, bias=bias))

    def _weights(self, outputs: int, source: TensorInfo, kernel: Pair, sums: int) -> NDArray[np.int64]:
        """Weights whose ``sums`` worst-case sums in a row still fit the membrane, and one the accumulator."""
        fan_in = source.shape[0] * kernel[0] * kernel[1] * source.max_value
        room = min((1 << (self.acc_width - 1)) - 1, (1 << (self.membrane_width - 3)) // sums)
        top = max(1, min((1 << (self.weight_bits - 1)) - 1, room // fan_in))
        weight = self.rng.integers(-top, top + 1, (outputs, source.shape[0], *kernel))
        return np.where(self.rng.random(weight.shape) < 0.1, 0, weight)

    def _neurons(
        self,
        source: str,
        outputs: int,
        kernel: Pair,
        stride: Pair,
        padding: Pair,
        shortcut: str | None = None,
        combine: Combine = "pass",
        use_current: bool = False,
    ) -> str:
        """Add a spiking layer; its bias lifts weak channels, its thresholds give rates within ``rates``."""
        rng, info = self.rng, self.infos[source]
        weight = self._weights(outputs, info, kernel, self.steps)
        layer = QuantizedLayer(
            f"l{len(self.layers)}", "conv", source, weight, kernel, stride, padding,
            threshold=np.ones(outputs, np.int64),
            leak_shifts=tuple(self.leaks[int(rng.integers(len(self.leaks)))]),
            reset="soft" if self.soft_reset and rng.random() < 0.3 else "hard",
            shortcut=shortcut, combine=combine,
        )  # fmt: skip
        total = golden._accumulate(layer, self.values[source], info.max_value).astype(np.int64)
        spread = np.maximum(1.0, total.std(axis=(0, 1, 2, 3)))
        lift = np.maximum(0.0, 0.3 * spread - total.mean(axis=(0, 1, 2, 3))) + rng.uniform(-0.1, 0.3, outputs) * spread
        limit = 1 << (self.acc_width - 3)
        if rng.random() < 0.9 or (lift > 0.3 * spread).any():
            layer = dataclasses.replace(layer, bias=np.clip(np.ceil(lift).astype(np.int64), -limit, limit))
        if use_current:
            current = np.round(spread * rng.uniform(-0.5, 2.0, outputs)).astype(np.int64)
            layer = dataclasses.replace(layer, current=np.clip(current, -limit, limit))
        gate = self.values[shortcut] if shortcut else None
        targets = rng.uniform(*self.rates, outputs)
        # bisection per channel: rate falls as the threshold rises
        low = np.ones(outputs, np.int64)
        high = np.full(outputs, 1 << (self.membrane_width - 3), np.int64)
        for _ in range(self.membrane_width):
            middle = (low + high) // 2
            trial = dataclasses.replace(layer, threshold=middle)
            spikes, *_ = golden._neuron(trial, total, gate, None, self.steps, np.int64, False)
            fires = spikes.mean(axis=(0, 1, 2, 3)) >= targets
            low, high = np.where(fires, middle, low), np.where(fires, high, middle)
        layer = dataclasses.replace(layer, threshold=low)
        spikes, *_ = golden._neuron(layer, total, gate, None, self.steps, np.int64, False)
        return self._append(layer, golden._combine(layer, spikes, gate, np.int64))

    def _append(self, layer: QuantizedLayer, value: NDArray[Any]) -> str:
        self.layers.append(layer)
        largest = 1 + self.infos[layer.shortcut].max_value if layer.combine == "add" and layer.shortcut else 1
        _, _, height, width, channels = value.shape
        self.infos[layer.name] = TensorInfo((channels, height, width), largest)
        self.values[layer.name] = value
        return layer.name
