"""Outlook: the clocks to expect of a network on a core, and all that the core lacks, without weights or spikes.

The exact model (:mod:`refmodel.cycles`) walks every word of every tile with real spikes.  Here each layer's values
have the distributions of :mod:`refmodel.densities`; the same model runs on one tile of each kind (interior, edge,
corner) with a few dozen random draws, and a layer takes that many clocks for each of its tiles.  So lanes that wait
at barriers, words fetched and found empty, taps outside the image, bit-planes and the clocks of the neurons are in;
slabs load while others compute by the sequencer's own rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .buffers import Buffer, chunk_count
from .config import CoreConfig
from .cycles import Events, op_timing
from .densities import Values, tensor_values
from .errors import CompileError
from .layout import LOAD_OVERHEAD, Flag, descriptor_words, engine_start, readout_clocks
from .lowering import lower
from .needs import Limit, Plan, plan
from .occupancy import events_type
from .program import Op
from .quantized import QuantizedNetwork, TensorInfo
from .scan_items import scan_items
from .store_stream import streamed_starts

#: Visits of a tile in a row, of which all but the first count; one less where a visit has many words.
_VISITS, _MANY_WORDS = 3, 256
#: Draws of a tile, at least and at most, and words drawn for a tile.
_DRAWS = (8, 64)
_DRAWN_WORDS = 40_000
#: Probabilities are rounded to this many digits, so that layers that differ by less share a result.
_DIGITS = 4


@dataclass(frozen=True)
class LayerOutlook:
    """Expected clocks and events of a layer as the core runs it (pools of counts and MLF units: of each pass)."""

    name: str
    clocks: float
    events: float
    lane_use: float
    density: float  # of its source: part of the values that are not 0


@dataclass(frozen=True)
class Outlook:
    """What to expect: ``clocks`` of a run on ``config``, which is the core itself if ``limits`` is empty, else one
    that has what the limits name and is the same in all other respects."""

    limits: tuple[Limit, ...]
    config: CoreConfig
    memory: dict[str, int]
    clocks: float
    layers: tuple[LayerOutlook, ...]


def outlook(net: QuantizedNetwork, config: CoreConfig, rates: Mapping[str, float] | None = None) -> Outlook:
    """Expected clocks of ``net`` on ``config``; rates as in :func:`refmodel.densities.tensor_values`.

    Raises NetworkError for bad rates, CompileError for a network that no core of this shape can run.
    """
    attentive = next((layer.name for layer in net.layers if layer.attention is not None), None)
    if attentive is not None:
        raise CompileError(
            f"layer '{attentive}': has attention (SynA), whose gates no density tells; estimate with data or samples"
        )
    values = tensor_values(net, rates)
    lowered = lower(net)
    planned = plan(lowered, config)
    clocks = _Clocks(lowered, planned, values)
    layers = clocks.run()
    return Outlook(planned.limits, planned.config, planned.memory, clocks.now, layers)


def walked_words(ops: tuple[Op, ...], chunks: int) -> int:
    """Words that the exact cycle model walks for these layers; an item without words counts as one."""
    total = 0
    for op in ops:
        for rows, columns, tiles in tile_kinds(op):
            words = rows * columns * op.words
            walks = op.groups if op.pool else 1  # the groups of other layers take the same time
            total += tiles * chunks * walks * (op.source.planes * words + op.sc_planes)
    return total


def operations(net: QuantizedNetwork) -> int:
    """Synaptic operations of an input over all steps, as if every value were not 0."""
    tensors = net.tensors()
    sizes = [
        layer.weight.size * tensors[layer.name].shape[1] * tensors[layer.name].shape[2]
        for layer in net.layers
        if layer.weight is not None
    ]
    return net.steps * sum(sizes)


@dataclass(frozen=True)
class _Slab:
    """Expected length of a slab from its start to its last write, and events of all lanes."""

    length: float
    events: float


class _Clocks:
    """Expected clocks of the slabs, one after the other."""

    def __init__(self, net: QuantizedNetwork, planned: Plan, values: dict[str, Values]) -> None:
        self.net, self.config, self.ops, self.values = net, planned.config, planned.ops, values
        self.chunks = chunk_count(net, self.config)
        self.now = 0.0
        self._layers = {layer.name: layer for layer in net.layers}
        self._visits: dict[object, tuple[float, float, float]] = {}

    def run(self) -> tuple[LayerOutlook, ...]:
        config = self.config
        if config.streams_store:
            return self._run_streamed()
        start = idle = before = 0.0
        overhead, lanes = LOAD_OVERHEAD + config.output_lanes, config.engines * config.event_lanes
        result = []
        for op in self.ops:
            events = 0.0
            for group in range(op.groups):
                slab = self._slab(op, group)
                for _ in range(op.out_planes if op.extracts else 1):
                    loaded = start + overhead + config.event_lanes * op.weights
                    start = max(loaded, idle) + descriptor_words(config) + 1
                    idle = start + slab.length + 1
                    events += slab.events
            last = op is self.ops[-1]
            self.now = max(start + LOAD_OVERHEAD, idle) + readout_clocks(op.out.shape[0]) if last else idle - 1
            clocks = self.now - before
            density = 0.0 if op.extracts else self._source(op).density
            result.append(LayerOutlook(op.layer.name, clocks, events, events / (lanes * clocks), density))
            before = self.now
        return tuple(result)

    def _run_streamed(self) -> tuple[LayerOutlook, ...]:
        """With a program that lies outside the FPGA; the slabs' lengths in whole clocks."""
        config = self.config
        slabs = [
            (op, self._slab(op, group))
            for op in self.ops
            for group in range(op.groups)
            for _ in range(op.out_planes if op.extracts else 1)
        ]
        lengths = np.array([[round(slab.length) + 1] for _, slab in slabs], np.int64)
        loads = [config.event_lanes * op.weights + config.output_lanes for op, _ in slabs]
        found = streamed_starts(config, loads, lengths)
        idle = found.start[:, 0] + lengths[:, 0]
        result, before, number = [], 0.0, -1
        for op in self.ops:
            mine = [slab for other, slab in slabs if other is op]
            number += len(mine)
            self.now = float(idle[number]) - 1
            if op is self.ops[-1]:
                closed = max(found.closing[0] + LOAD_OVERHEAD - 1, idle[number])
                self.now = float(closed + readout_clocks(op.out.shape[0]))
            clocks, events = self.now - before, sum(slab.events for slab in mine)
            density = 0.0 if op.extracts else self._source(op).density
            result.append(LayerOutlook(op.layer.name, clocks, events, events / (config.event_lanes * clocks), density))
            before = self.now
        return tuple(result)

    def _source(self, op: Op) -> Values:
        """Distribution of what an op reads; what only lowering made is [x >= k] of a pooled tensor x."""
        name = op.layer.source
        if name in self.values:
            return self.values[name]
        mask = self._layers[name]
        assert mask.kind == "window" and mask.threshold is not None
        source = self.values[mask.source]
        one = source.at_least(int(mask.threshold.max(initial=1)))
        return Values(np.array([1.0 - one, one]), source.static)

    def _slab(self, op: Op, group: int) -> _Slab:
        """The longest engine's time, and the events of all."""
        engines = [self._engine(op, group, engine) for engine in range(op.engines)]
        starts = [engine_start(self.config, engine) for engine in range(op.engines)]
        length = max(part.length + start for part, start in zip(engines, starts, strict=True))
        return _Slab(length, sum(part.events for part in engines))

    def _engine(self, op: Op, group: int, engine: int) -> _Slab:
        """Sum over the kinds of an engine's tiles, and over full chunks and a shorter last one."""
        config, source = self.config, None if op.extracts else self._source(op)
        rest = self.net.steps % config.time_lanes
        spans = [(config.time_lanes, self.chunks - (1 if rest else 0))] + ([(rest, 1)] if rest else [])
        length = events = 0.0
        startup = tail = None
        for rows, columns, tiles in tile_kinds(op, op.share(engine)):
            for steps, count in spans:
                if not count:
                    continue
                chances = () if source is None else _chances(source, op.source.planes, steps)
                steady, first, last = self._visit(op, group, rows, columns, chances)
                if startup is None or tail is None:
                    startup, tail = first - steady, last
                length += tiles * count * steady
                channels = _lane_channels(config, op, group).sum()
                events += tiles * count * rows * columns * channels * sum(chances)
        assert startup is not None and tail is not None
        return _Slab(startup + length + tail, events)

    def _visit(
        self, op: Op, group: int, rows: int, columns: int, chances: tuple[float, ...]
    ) -> tuple[float, float, float]:
        """Clocks of one more visit of a tile, of the first one, and from the last barrier to the slab's end."""
        config = self.config
        channels = _lane_channels(config, op, group)
        shape = (op.layer.kind, op.layer.kernel, op.words, op.sc_planes, op.writes, op.source.planes)
        places = _places(op, rows, columns, config.scan_words)
        key = (shape, channels.tobytes(), rows, columns, chances, op.source.shape[2], tuple(places.items()))
        if key not in self._visits:
            tile = tile_op(op, rows, columns)
            words = rows * columns * op.words * len(chances)
            visits = _VISITS - (words > _MANY_WORDS)
            draws = int(np.clip(_DRAWN_WORDS // max(1, words), *_DRAWS))
            events = _drawn_events(config, tile, channels, chances, (-(-draws // len(places)), visits, rows, columns))
            found = np.zeros(3)
            for place, weight in places.items():
                source = _source_at(op, place, visits, config.scan_words)
                timing = op_timing(config, tile, scan_items(tile, source, visits, config.scan_words), events, keep=True)
                assert timing.barriers is not None
                drains = timing.barriers[_drains(timing.items.flag)].astype(float)
                steady = (drains[-1] - drains[0]).mean() / (visits - 1)
                found += weight * np.array([steady, drains[0].mean(), (timing.end - drains[-1]).mean()])
            self._visits[key] = (float(found[0]), float(found[1]), float(found[2]))
        return self._visits[key]


def _source_at(op: Op, place: int, visits: int, scan_words: int) -> Buffer:
    """A source whose chunks all begin ``place`` words behind an occupancy row's first."""
    _, height, width = op.source.shape
    size, planes = height * width * op.words, op.source.planes
    step = -(-planes * size // scan_words) * scan_words
    return Buffer(place, op.words, size, step, planes, visits, 0)


def _places(op: Op, rows: int, columns: int, scan_words: int) -> dict[int, float]:
    """Where the windows with so many rows and columns inside begin in an occupancy row, and how often.

    The image is taken to begin with a row's first word.
    """
    if not op.scans:
        return {0: 1.0}
    firsts = []
    for axis, wanted in ((0, rows), (1, columns)):
        first, inside = _windows(op, axis)
        firsts.append(np.maximum(first[inside == wanted], 0))
    words = (firsts[0][:, None] * op.source.shape[2] + firsts[1]) * op.words % scan_words
    places, counts = np.unique(words, return_counts=True)
    return dict(zip(places.tolist(), (counts / counts.sum()).tolist(), strict=True))


def _windows(op: Op, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row or column of each window, and how many lie inside the source."""
    size, out = op.source.shape[1 + axis], op.out.shape[1 + axis]
    first = np.arange(out) * op.layer.stride[axis] - op.layer.padding[axis]
    return first, np.minimum(first + op.layer.kernel[axis], size) - np.maximum(first, 0)


def _drawn_events(
    config: CoreConfig,
    tile: Op,
    channels: NDArray[np.int64],
    chances: tuple[float, ...],
    sizes: tuple[int, int, int, int],
) -> Events:
    """Random events ``[visits * planes, words, K, draws]``; ``sizes``: draws, visits to the tile, rows, columns."""
    draws, visits, rows, columns = sizes
    _, height, width = tile.source.shape
    events = np.zeros((visits, tile.source.planes, height, width, *channels.shape, draws), events_type(config))
    rng = np.random.default_rng(1)
    for plane, chance in enumerate(chances):
        drawn = rng.binomial(np.broadcast_to(channels, (*sizes, *channels.shape)), chance)
        events[:, plane, :rows, :columns] = np.moveaxis(drawn, 0, -1)
    return events.reshape(visits * tile.source.planes, -1, config.event_lanes, draws)


def _drains(flags: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which barriers end a tile's chunk."""
    flagged = flags[flags != Flag.NONE]
    return flagged != Flag.SHIFT


def _chances(source: Values, planes: int, steps: int) -> tuple[float, ...]:
    """Probability of an event of a channel in each plane."""
    return tuple(round(source.event(plane, steps), _DIGITS) for plane in range(planes))


def _lane_channels(config: CoreConfig, op: Op, group: int) -> NDArray[np.int64]:
    """Channels ``[words, K]`` that each lane has in the words of a tap."""
    if op.extracts:
        return np.zeros((1, config.event_lanes), np.int64)
    first = (group if op.pool else np.arange(op.words)[:, None]) * config.output_lanes
    lanes = first + np.arange(config.event_lanes) * config.channels_per_word
    return np.clip(op.source.shape[0] - lanes, 0, config.channels_per_word).reshape(-1, config.event_lanes)


def tile_kinds(op: Op, share: tuple[int, int] | None = None) -> list[tuple[int, int, int]]:
    """Rows and columns of the kernel that lie inside the source, and how many output pixels have so many.

    share: of the output pixels in so many rows from a first one on; None: of all.
    """
    first, count = share or (0, op.out.shape[1])
    if op.extracts:
        return [(1, 1, count * op.out.shape[2])]
    axes = []
    for axis, part in ((0, slice(first, first + count)), (1, slice(None))):
        axes.append(np.unique(_windows(op, axis)[1][part], return_counts=True))
    return [
        (int(rows), int(columns), int(high * wide))
        for rows, high in zip(*axes[0], strict=True)
        for columns, wide in zip(*axes[1], strict=True)
    ]


def tile_op(op: Op, rows: int, columns: int) -> Op:
    """``op`` with a single output pixel, whose kernel has so many rows and columns inside the source.

    Image rows stay as long as they are.
    """
    height, width = op.layer.kernel
    layer = replace(op.layer, stride=(1, 1), padding=(height - rows, width - columns))
    source = TensorInfo((op.source.shape[0], rows, op.source.shape[2]), op.source.max_value, op.source.min_value)
    out = TensorInfo((op.out.shape[0], 1, 1), op.out.max_value, op.out.min_value)
    return replace(op, layer=layer, source=source, out=out, rows=0)
