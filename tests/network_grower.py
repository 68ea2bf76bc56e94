"""Grows a random integer network layer by layer, on a few calibration images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel import golden_layers, legality
from refmodel.attention import Attention, IntegerAttention
from refmodel.attention_quantize import quantize_attention
from refmodel.bounds import bits_needed, network_bounds
from refmodel.golden_neurons import fire
from refmodel.golden_synapses import Synapses
from refmodel.network import Neuron
from refmodel.quantized import (
    INPUT,
    Combine,
    QuantizedInput,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
    bits_range,
    made_tensor,
)

Pair = tuple[int, int]
KERNELS: tuple[Pair, ...] = ((1, 1), (2, 2), (3, 3), (3, 1), (1, 3), (2, 3), (5, 5))
_SAME: tuple[Pair, ...] = ((1, 1), (3, 3), (3, 1), (5, 5))


def draw_input(rng: np.random.Generator, spec: QuantizedInput, steps: int, n: int) -> NDArray[np.int64]:
    shape = (n, *spec.shape) if spec.static else (n, steps, *spec.shape)
    low, high = bits_range(spec.bits, spec.signed)
    values = rng.integers(low or 1, high + 1, shape)
    return values * (rng.random(shape) < rng.uniform(0.3, 0.8))


def _spikes(layer: QuantizedLayer, inputs: NDArray[Any]) -> NDArray[Any]:
    """How many levels of its neurons fire on X ``[T, N, C, H, W]``."""
    fired = np.empty(inputs.shape, bool if layer.levels is None else np.uint8)
    fire(layer, inputs, fired, np.int64)
    return fired


class Grower:
    """Layers so far, their tensors and the values of these on the calibration images, [T, N, C, H, W]."""

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
        self.kernels: Sequence[Pair] = KERNELS
        self.soft_reset = False
        self.input_as_spikes = False
        self.extras: frozenset[str] = frozenset()
        self.stream_bits = 8
        self.spec = spec
        self.streams: dict[str, NDArray[Any]] = {}
        self.rates = (0.05, 0.6)
        self.layers: list[QuantizedLayer] = []
        low, high = bits_range(spec.bits, spec.signed)
        self.infos = {INPUT: TensorInfo(spec.shape, high, low)}
        images = draw_input(rng, spec, steps, 4)
        frames = np.repeat(images[:, None], steps, axis=1) if spec.static else images
        self.values: dict[str, NDArray[Any]] = {INPUT: frames.swapaxes(0, 1)}

    @property
    def last(self) -> str:
        return next((layer.name for layer in reversed(self.layers) if layer.spikes), INPUT)

    def _shaping(self, source: str, outputs: int, size: Pair) -> tuple[Pair, Pair, Pair] | None:
        """Kernel, stride, padding that lead from a tensor to a size, drawn; None if there are none."""
        channels, height, width = self.infos[source].shape
        found = []
        for kernel in self.kernels:
            if channels * kernel[0] * kernel[1] > self.max_fan_in:
                continue
            for stride in (1, 2, 3):
                for py in range(kernel[0]):
                    for px in range(kernel[1]):
                        if height + 2 * py < kernel[0] or width + 2 * px < kernel[1]:
                            continue
                        made = ((height + 2 * py - kernel[0]) // stride + 1, (width + 2 * px - kernel[1]) // stride + 1)
                        if made == size:
                            found.append((kernel, (stride, stride), (py, px)))
        return found[int(self.rng.integers(len(found)))] if found else None

    def stream_layer(self) -> bool:
        """A convolution that keeps a stream, or one that reads an earlier one (and may keep its own)."""
        source = self._source()
        if self.streams and self.rng.random() < 0.75:
            stream = str(self.rng.choice(list(self.streams)))
            _, _, channels, height, width = self.streams[stream].shape
            shaping = self._shaping(source, channels, (height, width))
            if shaping is None:
                return False
            self._neurons(source, channels, *shaping, stream=stream, keeps=bool(self.rng.integers(2)))
            return True
        channels, height, width = self.infos[source].shape
        kernel = (3, 3) if 9 * channels <= self.max_fan_in else (1, 1)
        pads = (kernel[0] // 2, kernel[1] // 2)
        self._neurons(source, int(self.rng.choice(self.channels)), kernel, (1, 1), pads, keeps=True)
        return True

    def stream_projection(self) -> bool:
        """A stream as a tensor, its 1x1 convolution without neurons, and a layer that adds that stream."""
        if not self.streams:
            self.stream_layer()
        fitting = [name for name in self.streams if self.streams[name].shape[2] <= self.max_fan_in]
        if not fitting:
            return False
        kept = str(self.rng.choice(fitting))
        so_far = QuantizedNetwork("so far", self.steps, self.spec, tuple(self.layers))
        limits = network_bounds(so_far)[kept]
        bits = max(2, bits_needed(limits.input_low, limits.input_high))
        shift = max(0, bits - self.stream_bits)
        layer = QuantizedLayer(f"l{len(self.layers)}", "stream", kept, None, (1, 1), bits=bits - shift, shift=shift)
        tensor = self._append(layer, golden_layers.stream_tensor(layer, self.streams[kept]))
        stride = int(self.rng.integers(1, 3))
        outputs = int(self.rng.choice(self.channels))
        source = self.last if self.last != tensor else kept
        if source not in self.infos or not self.infos[source].max_value:
            source = INPUT
        _, height, width = self.infos[tensor].shape
        size = ((height - 1) // stride + 1, (width - 1) // stride + 1)
        shaping = self._shaping(source, outputs, size)
        projected = self._neurons(tensor, outputs, (1, 1), (stride, stride), (0, 0), keeps=True, spiking=False)
        if shaping is not None:
            self._neurons(source, outputs, *shaping, stream=projected, keeps=bool(self.rng.integers(2)))
        return True

    def _spikes(self) -> list[str]:
        """Tensors that may be shortcuts or be pooled."""
        names = [name for name in self.infos if name != INPUT or self.input_as_spikes]
        return [name for name in names if self.infos[name].max_value and not self.infos[name].signed]

    def _source(self) -> str:
        readable = [name for name in self.infos if self.infos[name].max_value]
        return self.last if self.rng.random() < 0.75 else str(self.rng.choice(readable))

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
        binary = self.infos[shortcut].max_value == 1
        allowed: list[Combine] = [c for c in combines if binary or c == "add"] or ["add"]
        combine = allowed[int(self.rng.integers(len(allowed)))]
        self._neurons(first, count, second, (1, 1), (second[0] // 2, second[1] // 2), shortcut, combine)

    def pool(self, kind: str) -> bool:
        """A max or sum pool of a tensor with small values."""
        most = 4 if "count_pools" in self.extras else 1
        found = [name for name in self._spikes() if self.infos[name].max_value <= most]
        found = [name for name in found if min(self.infos[name].shape[1:]) >= 2]
        if not found:
            return False
        source = found[-1] if self.rng.random() < 0.7 else str(self.rng.choice(found))
        size = int(self.rng.integers(2, 4))
        padding = int(self.rng.integers(0, 2)) if size == 3 else 0
        if min(self.infos[source].shape[1:]) + 2 * padding < size:
            return False
        stride = int(self.rng.integers(1, 4))
        if kind == "sumpool" and self.rng.random() < 0.5:
            stride = size
        layer = QuantizedLayer(
            f"l{len(self.layers)}", "maxpool" if kind == "maxpool" else "sumpool", source, None,
            (size, size), (stride, stride), (padding, padding),
        )  # fmt: skip
        if kind == "sumpool" and self.infos[source].max_value * size * size > 30:
            return False
        self._append(layer, golden_layers.pool(layer, self.values[source], np.int64))
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
        fan_in = source.shape[0] * kernel[0] * kernel[1] * legality.reach_of(source)
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
        stream: str | None = None,
        keeps: bool = False,
        spiking: bool = True,
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
        layer = dataclasses.replace(layer, stream=stream, keeps_stream=keeps)
        layer = dataclasses.replace(layer, **self._extras(layer, use_current))
        values = self.values[source]
        synapses = Synapses(layer, info.shape, values.shape[1], legality.sum_bound(layer, legality.reach_of(info)))
        total = golden_layers.stacked(map(synapses, values), np.int64)
        spread = np.maximum(1.0, total.std(axis=(0, 1, 3, 4)))
        lift = np.maximum(0.0, 0.3 * spread - total.mean(axis=(0, 1, 3, 4))) + rng.uniform(-0.1, 0.3, outputs) * spread
        limit = 1 << (self.acc_width - 3)
        if rng.random() < 0.9 or (lift > 0.3 * spread).any():
            layer = dataclasses.replace(layer, bias=np.clip(np.ceil(lift).astype(np.int64), -limit, limit))
        if use_current:
            current = np.round(spread * rng.uniform(-0.5, 2.0, outputs)).astype(np.int64)
            layer = dataclasses.replace(layer, current=np.clip(current, -limit, limit))
        gate = self.values[shortcut] if shortcut else None
        bound = legality.sum_bound(layer, legality.reach_of(info)) + legality.magnitude(layer.bias)
        synapses = Synapses(layer, info.shape, values.shape[1], bound)
        added = self.streams[stream] if stream else None
        x = golden_layers.inputs(layer, synapses, values, gate, added, self.steps, np.int64)
        inputs = golden_layers.stacked(x, np.int64)
        if keeps:
            self.streams[layer.name] = inputs
        if not spiking:
            plain = {"threshold": None, "leak_factor": None, "levels": None, "attention": None}
            bare = dataclasses.replace(layer, **plain, leak_shifts=(), reset="hard", stateless=False, rectify=False)
            self.layers.append(bare)
            _, _, channels, height, width = inputs.shape
            self.infos[layer.name] = TensorInfo((channels, height, width), 0)
            return layer.name
        if "attention" in self.extras and not keeps and rng.random() < 0.3:
            so_far = QuantizedNetwork("so far", self.steps, self.spec, (*self.layers, layer))
            limits = network_bounds(so_far)[layer.name]
            low, high = int(limits.input_low.min()), int(limits.input_high.max())
            layer = dataclasses.replace(layer, attention=self._attention(inputs, low, high))
        inputs = golden_layers.gated(layer, inputs, self.steps)
        targets = rng.uniform(*self.rates, outputs)
        # bisection per channel: rate falls as the threshold rises
        low = np.ones(outputs, np.int64)
        high = np.full(outputs, 1 << (self.membrane_width - 3), np.int64)
        for _ in range(self.membrane_width):
            middle = (low + high) // 2
            trial = dataclasses.replace(layer, threshold=middle, levels=None)
            fires = _spikes(trial, inputs).mean(axis=(0, 1, 3, 4)) >= targets
            low, high = np.where(fires, middle, low), np.where(fires, high, middle)
        layer = dataclasses.replace(layer, threshold=low)
        if layer.levels is not None:
            above = np.arange(1, len(layer.levels) + 1)[:, None] * np.maximum(1, low // 2)
            layer = dataclasses.replace(layer, levels=low + above)
        return self._append(layer, golden_layers.combine(layer, _spikes(layer, inputs), gate, np.int64))

    def _attention(self, inputs: NDArray[Any], low: int, high: int) -> IntegerAttention:
        """A random attention for X ``[T or 1, N, C, H, W]`` of ``low`` to ``high``, whose gates differ."""
        rng = self.rng
        _, _, channels, height, width = inputs.shape
        axis = "time" if rng.integers(2) else "channel"
        size, count = (
            (self.steps, channels * height * width) if axis == "time" else (channels, self.steps * height * width)
        )
        hidden = int(rng.integers(1, 5))
        neuron = None if rng.random() < 0.6 else Neuron("lif", float(rng.uniform(0.01, 0.5)), v_reset=-0.3)
        spread = max(1.0, float(np.abs(inputs).mean()))
        weights = rng.normal(0, 1.0 / size, (hidden, size)), rng.normal(0, 1.5, (size, hidden))
        return quantize_attention(Attention(axis, *weights, neuron), unit=1 / spread, low=low, high=high, count=count)

    def gated_shortcut(self) -> bool:
        """A spike tensor through gates of its own (SynA's IA)."""
        found = [name for name in self._spikes() if self.infos[name].max_value == 1]
        if not found:
            return False
        source = str(self.rng.choice(found))
        channels, _, _ = self.infos[source].shape
        layer = QuantizedLayer(
            f"l{len(self.layers)}", "window", source, None, (1, 1), threshold=np.ones(channels, np.int64)
        )
        total = golden_layers.pool(layer, self.values[source], np.int64)
        layer = dataclasses.replace(layer, attention=self._attention(total, 0, 1))
        self._append(layer, (golden_layers.gated(layer, total, self.steps) >= 1).astype(np.int64))
        return True

    def _extras(self, layer: QuantizedLayer, use_current: bool) -> dict[str, Any]:
        """Options drawn from the extras; MLF levels are placeholders until the thresholds are known."""
        rng, options = self.rng, {}
        if "leak_factor" in self.extras and rng.random() < 0.3:
            options |= {"leak_factor": (int(rng.integers(0, 257)), 8), "leak_shifts": ()}
        if "no_reset" in self.extras and rng.random() < 0.15:
            options["reset"] = "none"
        if "stateless" in self.extras and rng.random() < 0.15:
            options["stateless"] = True
        if "rectify" in self.extras and rng.random() < 0.2:
            options["rectify"] = True
        if "levels" in self.extras and rng.random() < 0.2 and layer.combine in ("pass", "add") and not use_current:
            count = int(rng.integers(1, 4))
            options["levels"] = np.ones((count, len(layer.weight if layer.weight is not None else ())), np.int64)
        return options

    def _append(self, layer: QuantizedLayer, value: NDArray[Any]) -> str:
        self.layers.append(layer)
        self.infos[layer.name] = made_tensor(layer, self.infos)
        self.values[layer.name] = value
        return layer.name
