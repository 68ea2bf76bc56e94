"""Clocks to expect of a network whose weights, and spikes where need be, come from an external memory.

The core's own store holds nothing then: a slab's weights stream in at a stated bandwidth while the slab before
computes, so that a slab starts when it is loaded and the one before has ended.  Spike buffers that no block RAM holds
lie in the same memory: a slab reads its source and its shortcut once and writes its result once, with the rows of a
kernel kept on the chip, and this traffic goes before the next slab's weights.  Latencies of the memory are left out:
all transfers are long and known in advance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .barrier import slab_bytes
from .buffers import chunk_count
from .config import CoreConfig
from .densities import tensor_values
from .errors import CompileError
from .layout import LOAD_OVERHEAD, descriptor_words
from .lowering import lower
from .needs import Limit, plan
from .outlook import _Clocks
from .program import Op
from .quantized import QuantizedNetwork, TensorInfo

#: A layer is bound by the memory if it waits longer than this part of its clocks.
_BOUND = 0.1
#: Settings that an external memory stands in for.
_STORE, _SPIKES = "store_depth", "spike_depth"


@dataclass(frozen=True)
class StreamedLayer:
    """A layer: as :class:`refmodel.outlook.LayerOutlook`, and what the memory has to do with it.

    bytes: its weights and its spikes, if they are not on the chip.  wait: clocks that its slabs wait for the memory.
    bound: whether that is more than a tenth of its clocks.
    """

    name: str
    clocks: float
    events: float
    lane_use: float
    density: float
    bytes: float
    wait: float
    bound: bool


@dataclass(frozen=True)
class Streamed:
    """What to expect of a run.  limits: what the core lacks beside memories.  spikes_outside: see the module."""

    limits: tuple[Limit, ...]
    config: CoreConfig
    memory: dict[str, int]
    clocks: float
    layers: tuple[StreamedLayer, ...]
    spikes_outside: bool


def streamed(
    net: QuantizedNetwork, config: CoreConfig, bytes_per_clock: float, rates: Mapping[str, float] | None = None
) -> Streamed:
    """Expected clocks of ``net`` on ``config`` with an external memory of so many bytes a clock.

    Spikes lie outside where ``config.spike_depth`` does not hold them.
    Raises NetworkError for bad rates, CompileError for a network that no core of this shape can run.
    """
    if bytes_per_clock <= 0:
        raise CompileError("an external memory must give more than 0 bytes a clock")
    if any(layer.attention is not None for layer in net.layers):
        raise CompileError(f"network '{net.name}' has attention (SynA), whose gates no density tells")
    lowered = lower(net)
    planned = plan(lowered, config)
    outside = any(limit.setting == _SPIKES for limit in planned.limits)
    limits = tuple(limit for limit in planned.limits if limit.setting not in (_STORE, _SPIKES))
    model = _Clocks(lowered, planned, tensor_values(net, rates))
    core = planned.config
    start = idle = before = busy = 0.0  # busy: when the memory has done all transfers asked for so far
    layers = []
    for op in model.ops:
        events = moved = waited = 0.0
        traffic = spike_bytes(op, core, model.chunks) if outside else 0.0
        for group in range(op.groups):
            slab = model._slab(op, group)
            for _ in range(op.out_planes if op.extracts else 1):
                weights = slab_bytes(core, op.weights)
                within = start + core.event_lanes * op.weights + core.output_lanes + LOAD_OVERHEAD
                loaded = max(within, max(busy, start) + weights / bytes_per_clock)
                ready = max(loaded, idle)
                waited += max(0.0, ready - max(idle, within))
                start = ready + descriptor_words(core) + 1
                busy = start + traffic / bytes_per_clock
                end = start + slab.length
                waited += max(0.0, busy - end)
                idle = max(end, busy) + 1
                events += slab.events
                moved += weights + traffic
        now = idle + (op.out.shape[0] + 2 if op is model.ops[-1] else -1)
        clocks = now - before
        density = 0.0 if op.extracts else model._source(op).density
        use = events / (core.engines * core.event_lanes * clocks)
        bound = waited > _BOUND * clocks
        layers.append(StreamedLayer(op.layer.name, clocks, events, use, density, moved, waited, bound))
        before = now
    return Streamed(limits, core, planned.memory, before, tuple(layers), outside)


def spike_bytes(op: Op, config: CoreConfig, chunks: int) -> float:
    """Bytes of a slab's source, shortcut and result, one group of channels of the last two."""
    steps = config.time_lanes * chunks
    source = 0.0 if op.extracts else _bits(op.source, op.source.shape[0], steps)
    if op.pool:
        source /= op.groups
    channels = min(config.output_lanes, op.out.shape[0])
    shortcut = replace(op.out, max_value=(1 << op.sc_planes) - 1, min_value=0) if op.sc_planes else None
    result = _bits(op.out, channels, steps) if op.writes else 0.0
    return (source + (_bits(shortcut, channels, steps) if shortcut else 0.0) + result) / 8


def _bits(tensor: TensorInfo, channels: int, steps: int) -> float:
    _, height, width = tensor.shape
    return channels * height * width * steps * tensor.planes


def line_words(net: QuantizedNetwork, config: CoreConfig) -> int:
    """Spike words of the widest kernel's rows and one more row, all planes and chunks: what stays on the chip."""
    infos = net.tensors()
    chunks = chunk_count(net, config)
    most = 0
    for layer in net.layers:
        if layer.kind in ("stream", "apply"):
            continue
        channels, _, width = infos[layer.source].shape
        groups = -(-channels // config.output_lanes)
        most = max(most, (layer.kernel[0] + 1) * width * groups * infos[layer.source].planes * chunks)
    return most
