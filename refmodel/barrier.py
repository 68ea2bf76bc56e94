"""The barrier bound: the fewest clocks in which a shape of core can run a network, quickly, from spikes or densities.

A tile's bit-plane takes as long as its slowest event lane has events (at least one clock), a tile's chunk as long as
the planes together or the neurons' R clocks, a slab as long as its tiles and the pipeline behind them, and slabs load
while others compute, by the sequencer's rule.  What the fetch adds (:mod:`refmodel.cycles`) is left out: this ranks
shapes, it does not say what they take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .densities import Values
from .engines import engine_rows
from .layout import barrier_to_slot, descriptor_words, slot_to_writeback
from .quantized import QuantizedLayer, QuantizedNetwork, TensorInfo

#: Expected largest of K standard normal values: how far the slowest of K equal lanes is behind, in deviations.
_LARGEST = {1: 0.0, 2: 0.564, 4: 1.029, 8: 1.424, 16: 1.766, 32: 2.070}
#: Clocks that a slab takes beside its tiles, weights and the pipeline: header, start, last word.
_SLAB = 8


@dataclass(frozen=True)
class _Tiles:
    """Clocks of the tiles' chunks by their events alone, how often each occurs, and slabs of the layer.

    events: ``[N, chunks, groups, rows, columns]``, or those to expect of any tile.
    """

    events: NDArray[np.float64]
    count: NDArray[np.float64]
    slabs: int
    weights: int
    writes: int


class BarrierBound:
    """Bounds of one lowered network for many shapes of core.

    tensors: integers ``[N, T, C, H, W]`` of every tensor that a layer reads; or values: their distributions.
    What a shape shares with others looked at before is kept.
    """

    def __init__(
        self,
        net: QuantizedNetwork,
        *,
        tensors: Mapping[str, NDArray[np.integer]] | None = None,
        values: Mapping[str, Values] | None = None,
    ) -> None:
        self._net, self._tensors, self._values = net, tensors, values or {}
        self._infos = net.tensors()
        self._bits: dict[tuple[str, int], NDArray[np.bool_]] = {}
        self._tiles: dict[tuple[str, int, int, int], _Tiles] = {}
        self._rows: dict[tuple[int, int], dict[str, int]] = {}
        self._lines: dict[tuple[str, int, int, int, int], tuple[NDArray[np.float64], float]] = {}

    def clocks(self, config: CoreConfig, bytes_per_clock: float | None = None) -> float:
        """Mean clocks of an inference at least; with weights that come so many bytes a clock, if told."""
        rest = config.slots_per_chunk
        tail = barrier_to_slot(config) + rest + slot_to_writeback(config)
        words = descriptor_words(config)
        start = idle = 0.0
        rows = self._rows_of(config)
        for layer in self._net.layers:
            tiles = self._of(layer, config)
            lines, mean = self._by_line(layer, config, rest)
            height = self._infos[layer.name].shape[1]
            taken = _longest(lines, height, rows.get(layer.name, height))
            length = taken / tiles.slabs + tail + tiles.writes
            length -= max(0.0, rest - mean)  # the neurons do not hold up a slab's first drain
            load = config.event_lanes * tiles.weights + config.output_lanes
            if bytes_per_clock is not None:
                load = max(load, slab_bytes(config, tiles.weights) / bytes_per_clock)
            for _ in range(tiles.slabs):
                start = max(start + load, idle) + words + _SLAB
                idle = start + length
        return idle

    def _of(self, layer: QuantizedLayer, config: CoreConfig) -> _Tiles:
        key = (layer.name, config.event_lanes, config.output_lanes, config.time_lanes)
        if key not in self._tiles:
            self._tiles[key] = self._make(layer, config)
        return self._tiles[key]

    def _rows_of(self, config: CoreConfig) -> dict[str, int]:
        """Output rows of an engine, of each layer; empty for a single one."""
        if config.engines == 1:
            return {}
        key = (config.engines, config.slots_per_chunk)
        if key not in self._rows:
            self._rows[key] = engine_rows(self._net, config)
        return self._rows[key]

    def _by_line(self, layer: QuantizedLayer, config: CoreConfig, rest: int) -> tuple[NDArray[np.float64], float]:
        """Clocks of each row's tiles of a layer, where the neurons of one take ``rest``: ``[N, groups, rows]``, or
        those of all rows together; and the mean tile's by its events alone."""
        key = (layer.name, config.event_lanes, config.output_lanes, config.time_lanes, rest)
        if key not in self._lines:
            tiles = self._of(layer, config)
            clocks = np.maximum(tiles.events, rest) * tiles.count
            lines = clocks if clocks.ndim == 1 else clocks.sum(axis=(1, 4))
            self._lines[key] = lines, float(tiles.events.mean())
        return self._lines[key]

    def _make(self, layer: QuantizedLayer, config: CoreConfig) -> _Tiles:
        source, out = self._infos[layer.source], self._infos[layer.name]
        lanes, chunks = config.output_lanes, -(-self._net.steps // config.time_lanes)
        groups = -(-out.shape[0] // lanes)
        if layer.kind in ("stream", "apply"):
            tiles = out.shape[1] * out.shape[2] * chunks
            slabs = groups * (out.planes if layer.kind == "stream" else 1)
            return _Tiles(np.zeros(1), np.array([float(tiles * slabs)]), slabs, 1, 1)
        pool = layer.kind == "window"
        words = 1 if pool else -(-source.shape[0] // lanes) * layer.kernel[0] * layer.kernel[1]
        weights = words * config.channels_per_word * (2 if source.signed and not pool else 1)
        writes = 0 if layer.kind == "readout" else out.planes
        if self._tensors is None:
            events, count = self._expected(layer, source, out, config, chunks)
        else:
            events = self._counted(layer, source, out, config, chunks)
            count = np.full(events.shape, 1.0 / len(self._tensors[layer.source]))
        # A pool's groups have words of their own; the slabs of other layers all take the same time.
        return _Tiles(events, count * (1 if pool and self._tensors is not None else groups), groups, weights, writes)

    def _events(self, name: str, steps: int, planes: int) -> NDArray[np.bool_]:
        """Whether each channel has an event: ``[N, chunks, planes, C, H, W]``."""
        key = (name, steps)
        if key not in self._bits:
            assert self._tensors is not None
            values = self._tensors[name]
            n, total, c, h, w = values.shape
            chunks = -(-total // steps)
            padded = np.zeros((n, chunks * steps, c, h, w), values.dtype)
            padded[:, :total] = values
            split = padded.reshape(n, chunks, steps, c, h, w)
            joined = np.bitwise_or.reduce(split, axis=2)
            self._bits[key] = np.stack([(joined >> plane) & 1 == 1 for plane in range(planes)], axis=2)
        return self._bits[key]

    def _counted(
        self, layer: QuantizedLayer, source: TensorInfo, out: TensorInfo, config: CoreConfig, chunks: int
    ) -> NDArray[np.float64]:
        """Clocks of each tile's chunk: ``[N, chunks, groups, rows, columns]``, of a pool for each group."""
        bits = self._events(layer.source, config.time_lanes, source.planes)
        n, chunks, planes, c, h, w = bits.shape
        size = config.channels_per_word
        groups = -(-c // config.output_lanes)
        padded = np.zeros((n, chunks, planes, groups * config.output_lanes, h, w), bool)
        padded[:, :, :, :c] = bits
        words = padded.reshape(n, chunks, planes, groups, config.event_lanes, size, h, w).sum(axis=5, dtype=np.int32)
        found = words if layer.kind == "window" else words.sum(axis=3, keepdims=True)
        sums = window_sums(found, layer.kernel, layer.stride, layer.padding, out.shape[1:])
        slowest = np.maximum(sums.max(axis=4), 1)  # over the lanes
        return slowest.sum(axis=2).astype(float)  # over the planes

    def _expected(
        self, layer: QuantizedLayer, source: TensorInfo, out: TensorInfo, config: CoreConfig, chunks: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clocks to expect of tiles inside the image, and how many there are."""
        channels = config.output_lanes if layer.kind == "window" else source.shape[0]
        first = np.arange(-(-channels // config.output_lanes))[:, None] * config.output_lanes
        first = first + np.arange(config.event_lanes) * config.channels_per_word
        lane = np.clip(min(channels, source.shape[0]) - first, 0, config.channels_per_word).sum(axis=0)
        taps = _inside(layer, source, out)
        values = self._value(layer.source)
        steps = min(config.time_lanes, self._net.steps)
        most = lane.max() * taps
        spread = _LARGEST[1 << (int((lane == lane.max()).sum()).bit_length() - 1)]
        clocks = 0.0
        for plane in range(source.planes):
            chance = values.event(plane, steps)
            mean = most * chance
            clocks += max(1.0, min(most, mean + spread * np.sqrt(mean * (1 - chance))))
        return np.array([clocks]), np.array([float(chunks * out.shape[1] * out.shape[2])])

    def _value(self, name: str) -> Values:
        """Distribution of a tensor; what only lowering made is [x >= k] of a pooled tensor x."""
        if name in self._values:
            return self._values[name]
        mask = next(layer for layer in self._net.layers if layer.name == name)
        assert mask.threshold is not None
        source = self._value(mask.source)
        one = source.at_least(int(mask.threshold.max(initial=1)))
        return Values(np.array([1.0 - one, one]), source.static)


def _longest(lines: NDArray[np.float64], height: int, rows: int) -> float:
    """Clocks of a layer, of the slowest of its engines, of which each has so many of all rows of the output.

    lines: clocks of each row, ``[N, groups, rows]``, or of all rows together.
    """
    if rows == height:
        return float(lines.sum())
    if lines.ndim == 1:
        return float(lines.sum()) * rows / height
    return float(np.add.reduceat(lines, np.arange(0, height, rows), axis=2).max(axis=2).sum())


def slab_bytes(config: CoreConfig, weights: int) -> float:
    """Bytes of a slab in an external memory, weights, parameters and descriptor packed, header left out."""
    bits = config.event_lanes * weights * config.output_lanes * config.weight_bits
    return (bits + config.output_lanes * config.param_width + descriptor_words(config) * config.store_width) / 8


def window_sums(
    values: NDArray[np.integer],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    out: tuple[int, ...],
) -> NDArray[np.int64]:
    """Sum of every kernel window of ``[..., H, W]``: ``[..., Ho, Wo]``."""
    height, width = values.shape[-2:]
    total = np.zeros((*values.shape[:-2], height + 1, width + 1), np.int64)
    np.cumsum(values, axis=-2, dtype=np.int64, out=total[..., 1:, 1:])
    np.cumsum(total, axis=-1, out=total)
    y = np.arange(out[0]) * stride[0] - padding[0]
    x = np.arange(out[1]) * stride[1] - padding[1]
    top, bottom = np.clip(y, 0, height), np.clip(y + kernel[0], 0, height)
    left, right = np.clip(x, 0, width), np.clip(x + kernel[1], 0, width)
    rows = total[..., bottom, :] - total[..., top, :]
    return rows[..., right] - rows[..., left]


def _inside(layer: QuantizedLayer, source: TensorInfo, out: TensorInfo) -> float:
    """Mean number of a kernel's taps inside the source."""
    count = 1.0
    for axis in (0, 1):
        first = np.arange(out.shape[1 + axis]) * layer.stride[axis] - layer.padding[axis]
        last = np.minimum(first + layer.kernel[axis], source.shape[1 + axis])
        count *= float(np.maximum(last - np.maximum(first, 0), 0).mean())
    return count
