"""Lane use: how much of the event lanes a layer keeps busy, and how close it comes to what its barriers allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .cycles import Events, Times, op_items, op_timing
from .jit import compiled
from .occupancy import events_type, word_events
from .program import Op, Program
from .quantized import QuantizedLayer, TensorInfo
from .scan_items import ScanItems, scan_items

#: The core of :func:`layer_benchmark`: K = 4, words of 8 channels a lane, R = 4.
BENCHMARK_CORE = CoreConfig(
    event_lanes=4, output_lanes=32, time_lanes=1, neuron_units=8, bank_lanes=8, fifo_depth=2, scan_words=4,
    max_planes=2, bank_depth=1024, spike_depth=4096, store_depth=4096,
)  # fmt: skip


@dataclass(frozen=True)
class LaneUse:
    """Of one slab, for N inputs; every array is ``[N]``.

    clocks: from the slab's start to its last write, edges, drains and pipeline included.
    bound: clocks that its barriers need at least: the sum over tiles (chunks and bit-planes are tiles of their own) of
    the events of the slowest lane.  events: of all ``lanes``.
    """

    lanes: int
    clocks: Times
    bound: Times
    events: Times

    @property
    def use(self) -> float:
        """Events / (lanes * clocks), over all inputs."""
        return float(self.events.sum() / (self.lanes * self.clocks.sum()))

    @property
    def bound_use(self) -> float:
        """The lane use that the barriers allow."""
        return float(self.events.sum() / max(1, self.lanes * int(self.bound.sum())))

    @property
    def of_bound(self) -> float:
        """Lane use as a part of the bound's."""
        return float(self.bound.sum() / self.clocks.sum())


def lane_use(config: CoreConfig, op: Op, items: ScanItems, events: Events) -> LaneUse:
    """Lane use of one slab; ``items`` as :func:`refmodel.cycles.op_items` and ``events`` as
    :func:`refmodel.occupancy.word_events` give them."""
    timing = op_timing(config, op, items, events)
    return LaneUse(config.event_lanes, timing.end, _bound(items, events), timing.events)


def barrier_clocks(program: Program, tensors: Mapping[str, NDArray[np.integer]]) -> Times:
    """Clocks that the barriers of each layer need at least on given spikes, ``[layer, N]``.

    The sum over all tiles, chunks and bit-planes of all slabs (with several engines: over the tiles of the one that
    needs most) of the events of the slowest lane: what a core of this K, P, Tp and E would take if fetch, neurons,
    loads and the pipeline took no time.  ``tensors`` as of :func:`refmodel.cycles.run_timing`.
    """
    config = program.config
    result = np.zeros((len(program.ops), next(iter(tensors.values())).shape[0]), np.int64)
    for op in program.ops:
        if not op.scans:
            continue
        events = word_events(tensors[op.layer.source], config, program.chunks, op.source.planes)
        if op.pool:
            result[op.index] = sum(_slab_bound(program, op, group, events) for group in range(op.groups))
        else:
            result[op.index] = op.groups * _slab_bound(program, op, 0, events)
    return result


def _slab_bound(program: Program, op: Op, group: int, events: Events) -> Times:
    """Of the engine that needs most, ``[N]``."""
    bounds = [_bound(op_items(program, op, group, engine), events) for engine in range(op.engines)]
    return np.max(bounds, axis=0)


def _bound(items: ScanItems, events: Events) -> Times:
    """Events of the slowest lanes, ``[N]``."""
    bound = np.zeros(events.shape[-1], np.int64)
    sums = np.zeros((events.shape[2] + 1, len(bound)), np.int64)
    _slowest(items.row, items.first, items.count, items.flag, events, sums, bound)
    return bound


def layer_benchmark(
    channels: int,
    density: float,
    config: CoreConfig = BENCHMARK_CORE,
    *,
    size: tuple[int, int] = (16, 16),
    images: int = 4,
    seed: int = 0,
) -> LaneUse:
    """Lane use of a 3 x 3 layer (padding 1, stride 1) of binary tensors with one chunk of time.

    Each channel's time word is not zero with probability ``density``, independent of all others; one slab of the
    layer, its source at address 0.
    """
    groups = -(-channels // config.output_lanes)
    layer = QuantizedLayer(
        "layer", "conv", "input", np.zeros((config.output_lanes, channels, 3, 3), np.int64), (3, 3), padding=(1, 1)
    )
    op = Op(
        index=0, layer=layer, source=TensorInfo((channels, *size), 1), out=TensorInfo((config.output_lanes, *size), 1),
        groups=1, words=groups, shared_taps=False, sc_planes=0, out_planes=1, discard=False, top_tag=0,
        weights=9 * groups * config.channels_per_word,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    first = (np.arange(groups)[:, None] * config.event_lanes + np.arange(config.event_lanes)) * config.channels_per_word
    present = np.clip(channels - first, 0, config.channels_per_word)  # channels of each lane in a word of each group
    shape = (1, size[0] * size[1] * groups, config.event_lanes, images)
    channels_of = np.tile(present, (size[0] * size[1], 1))[None, :, :, None]
    events = rng.binomial(np.broadcast_to(channels_of, shape), density).astype(events_type(config))
    items = scan_items(op, None, 1, config.scan_words)
    return lane_use(config, op, items, events)


@compiled
def _slowest(
    row: NDArray[np.int32],
    first: NDArray[np.int32],
    count: NDArray[np.int32],
    flag: NDArray[np.int32],
    events: Events,
    sums: Times,
    bound: Times,
) -> None:
    """Add up the events of the slowest lane between boundaries; ``sums`` ``[K + 1, N]``: zeros to work in."""
    images, lanes = len(bound), len(sums) - 1
    slowest = sums[lanes]
    for j in range(len(row)):
        for lane in range(lanes):
            mine = sums[lane]
            for at in range(first[j], first[j] + count[j]):
                n = events[row[j], at, lane]
                for image in range(images):
                    mine[image] += n[image]
            if flag[j] != 0:
                for image in range(images):
                    slowest[image] = max(slowest[image], mine[image])
                    mine[image] = 0
        if flag[j] != 0:
            for image in range(images):
                bound[image] += slowest[image]
                slowest[image] = 0
