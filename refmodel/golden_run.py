"""The golden model's walk through a network's layers, with a few images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .golden_layers import combine, gated, inputs, pool, readout, repeat, stacked, stream_tensor
from .golden_neurons import fire
from .golden_synapses import Synapses, exact_type
from .legality import magnitude, membrane_bound, reach_of, stream_reach, sum_bound
from .quantized import INPUT, IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo
from .state import State, keeps_membrane, level_names, state_reach

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Tensors of a network and the largest magnitudes that its numbers can have, by layer.

    sums: of partial synaptic sums, bias included (of a readout without it, over all steps); membranes: of H.
    """

    infos: dict[str, TensorInfo]
    sums: dict[str, int]
    membranes: dict[str, int]

    @classmethod
    def of(cls, net: QuantizedNetwork, infos: dict[str, TensorInfo], state: State | None = None) -> Bounds:
        """Bounds of a run that begins with ``state``."""
        reach = stream_reach(net)
        sums = {}
        for layer in net.layers:
            if layer.weight is not None:
                most = sum_bound(layer, reach_of(infos[layer.source]))
                sums[layer.name] = most * net.steps if layer.kind == "readout" else most + magnitude(layer.bias)
        membranes = {
            layer.name: membrane_bound(layer, net.steps, infos, reach) + state_reach(state, layer)
            for layer in net.layers
        }
        return cls(infos, sums, membranes)


@dataclass(eq=False)
class Part:
    """What :class:`refmodel.golden.GoldenResult` holds, of a few images; results ``[N, classes]``."""

    results: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    tensors: dict[str, Array] = field(default_factory=dict)
    membranes: dict[str, Array] = field(default_factory=dict)
    streams: dict[str, Array] = field(default_factory=dict)
    fired: dict[str, float] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)
    state: State | None = None


class Walker:
    """Runs up to ``images`` images at a time through a legal network; one thread's, which reuses its memory.

    Tensors and streams are ``[T, N, C, H, W]``; T is 1 for what is the same at every step.
    """

    def __init__(self, net: QuantizedNetwork, bounds: Bounds, images: int, keep: bool) -> None:
        self._net, self._bounds, self._keep = net, bounds, keep
        self._infos = bounds.infos
        self._synapses = {
            layer.name: Synapses(
                replace(layer, bias=None) if layer.kind == "readout" else layer,
                self._infos[layer.source].shape,
                images,
                bounds.sums[layer.name],
            )
            for layer in net.layers
            if layer.weight is not None
        }

    def run(self, x: Array, state: State | None = None) -> Part:
        """Results of the images ``x``; a tensor is freed after its last reader.

        state: where their membranes begin; the part then has the state after the run.
        """
        net = self._net
        frames = x[None] if net.input.static else x.swapaxes(0, 1)
        self._out, self._images = Part(), len(x)
        self._start, left = state, {}
        self._left: dict[str, Array] = left
        self._streams: dict[str, Array] = {}
        self._tensors = {INPUT: np.ascontiguousarray(frames, dtype=_smallest(self._infos[INPUT]))}
        if self._keep:
            self._out.tensors[INPUT] = self._images_first(self._tensors[INPUT])
        last_use = {name: i for i, layer in enumerate(net.layers) for name in (layer.source, layer.shortcut)}
        kinds = {
            "conv": self._conv,
            "apply": self._apply,
            "window": self._window,
            "stream": self._stream,
            "maxpool": self._pool,
            "sumpool": self._pool,
            "readout": self._readout,
        }
        for index, layer in enumerate(net.layers):
            kinds[layer.kind](layer)
            for name in {layer.source, layer.shortcut} & set(self._tensors):
                if last_use[name] == index:
                    del self._tensors[name]
        if state is not None:
            self._out.state = State(left, state.steps + net.steps)
        return self._out

    def _conv(self, layer: QuantizedLayer) -> None:
        kind = exact_type(self._bounds.membranes[layer.name])
        source, stream = self._tensors[layer.source], self._streams[layer.stream] if layer.stream else None
        x = inputs(layer, self._synapses[layer.name], source, self._shortcut(layer), stream, self._net.steps, kind)
        if not (layer.keeps_stream or layer.attention):
            self._neurons(layer, x)
            return
        whole = stacked(x, kind)
        if layer.keeps_stream:
            self._keep_stream(layer, whole)
        if layer.spikes:
            self._neurons(layer, gated(layer, whole, self._net.steps))
        elif self._keep:
            self._keep_membrane(layer, whole)

    def _apply(self, layer: QuantizedLayer) -> None:
        self._neurons(layer, gated(layer, self._streams[layer.source], self._net.steps))

    def _neurons(self, layer: QuantizedLayer, x: Iterable[Array]) -> None:
        shape = (self._net.steps, self._images, *self._infos[layer.name].shape)
        fired = np.empty(shape, bool if layer.levels is None else np.uint8)
        bound = self._bounds.membranes[layer.name]
        kept = np.empty(shape, _integer(bound)) if self._keep else None
        names = level_names(layer) if self._start is not None and keeps_membrane(layer) else []
        start = [self._start.membranes[name] for name in names] if self._start is not None and names else None
        after = fire(layer, x, fired, exact_type(bound), kept, start)
        self._left |= {name: v.astype(np.int64) for name, v in zip(names, after, strict=False)}
        if kept is not None:
            self._keep_membrane(layer, kept)
        self._made(layer, combine(layer, fired, self._shortcut(layer), _smallest(self._infos[layer.name])), fired)

    def _window(self, layer: QuantizedLayer) -> None:
        total = pool(layer, self._tensors[layer.source], np.int64)
        if layer.keeps_stream:
            self._keep_stream(layer, total)
        if layer.threshold is not None:
            total = gated(layer, total, self._net.steps)
            fired = total >= layer.threshold[:, None, None]
            self._made(layer, combine(layer, fired, self._shortcut(layer), _smallest(self._infos[layer.name])), fired)
        if self._keep:
            self._keep_membrane(layer, total)

    def _stream(self, layer: QuantizedLayer) -> None:
        value = stream_tensor(layer, self._streams[layer.source])
        self._made(layer, value, value)

    def _pool(self, layer: QuantizedLayer) -> None:
        value = pool(layer, self._tensors[layer.source], _smallest(self._infos[layer.name]))
        self._made(layer, value, value)

    def _readout(self, layer: QuantizedLayer) -> None:
        bias = np.zeros((), np.int64) if layer.bias is None else layer.bias.astype(np.int64)
        source = self._tensors[layer.source]
        self._out.results, running = readout(self._synapses[layer.name], bias, source, self._net.steps, self._keep)
        if running is not None:
            self._out.membranes[layer.name] = self._images_first(running)

    def _made(self, layer: QuantizedLayer, value: Array, fired: Array) -> None:
        """Note the tensor of a layer, and its rates."""
        self._tensors[layer.name] = value
        self._out.fired[layer.name] = rate = np.count_nonzero(fired) / max(1, fired.size)
        same = np.may_share_memory(value, fired)
        self._out.active[layer.name] = rate if same else np.count_nonzero(value) / max(1, value.size)
        if self._keep:
            self._out.tensors[layer.name] = self._images_first(value)

    def _keep_stream(self, layer: QuantizedLayer, x: Array) -> None:
        self._streams[layer.name] = repeat(x, self._net.steps)
        if self._keep:
            kind = np.int64 if layer.kind == "window" else _integer(self._bounds.membranes[layer.name])
            self._out.streams[layer.name] = self._images_first(x).astype(kind, copy=False)

    def _keep_membrane(self, layer: QuantizedLayer, membrane: Array) -> None:
        kind = np.int64 if layer.kind == "window" else _integer(self._bounds.membranes[layer.name])
        self._out.membranes[layer.name] = self._images_first(membrane).astype(kind, copy=False)

    def _shortcut(self, layer: QuantizedLayer) -> Array | None:
        return self._tensors[layer.shortcut] if layer.shortcut else None

    def _images_first(self, tensor: Array) -> Array:
        """``[T or 1, N, ...]`` to ``[N, T, ...]``."""
        return np.ascontiguousarray(repeat(tensor, self._net.steps).swapaxes(0, 1))


def _smallest(info: TensorInfo) -> type:
    """Smallest integer type of a tensor's values."""
    if info.signed:
        return np.int8 if info.planes <= 8 else np.int16 if info.planes <= 16 else np.int32
    return np.uint8 if info.max_value < 1 << 8 else np.uint16 if info.max_value < 1 << 16 else np.uint32


def _integer(bound: int) -> type:
    return np.int32 if bound < 1 << 31 else np.int64
