"""What a network asks of a core, and how long the core takes: operations, clocks, lane use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refmodel import golden
from refmodel.buffers import chunk_count
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.densities import tensor_values
from refmodel.errors import CompileError, ConfigError
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.outlook import operations, outlook, walked_words
from refmodel.quantized import QuantizedLayer, QuantizedNetwork, TensorInfo

#: The exact model is affordable up to so many words that it walks, and synaptic operations, of one input.
MOST_WORDS = 2_000_000
MOST_OPERATIONS = 1_000_000_000
#: Inputs whose spikes are kept at the same time.
_BATCH = 2

Array = NDArray[np.integer]


@dataclass(frozen=True)
class Workload:
    """A network on a core, means over the inputs.

    exact: by the cycle model on real inputs, or expected from densities.
    clocks, events: of one input; events: what entered the array, over all event lanes.
    lane_use: events / (K x clocks), of all engines.
    operations: synaptic operations as if every value were not 0 (dense-equivalent), all steps.
    spike_operations: additions that the spikes ask for: set bits of the sources, each times the weights that it meets.
    weights: weights read, P an event.
    """

    exact: bool
    clocks: float
    events: float
    lane_use: float
    operations: int
    spike_operations: float
    weights: float

    @property
    def operations_a_weight(self) -> float:
        """Spike operations for each weight that is read: 0 to Tp."""
        return self.spike_operations / self.weights if self.weights else 0.0


def is_affordable(net: QuantizedNetwork, config: CoreConfig) -> bool:
    """Whether the exact model takes seconds, not minutes; so for a network that the core cannot run."""
    if operations(net) > MOST_OPERATIONS:
        return False
    lowered = lower(net)
    try:
        planned = plan(lowered, config)
    except (CompileError, ConfigError):
        return True
    return walked_words(planned.ops, chunk_count(lowered, config)) <= MOST_WORDS


def exact_workload(net: QuantizedNetwork, config: CoreConfig, x: Array) -> Workload:
    """By the cycle model on inputs ``x``, ``[N, C, H, W]`` or ``[N, T, C, H, W]``.

    Raises CompileError or ConfigError for a network that the core cannot run.
    """
    program = compile_network(net, config)
    clocks, events, spikes = [], [], []
    for start in range(0, len(x), _BATCH):
        part = x[start : start + _BATCH]
        kept = golden.run(program.network, part, keep=True).tensors
        timing = run_timing(program, kept)
        clocks.append(timing.clocks)
        events.append(timing.layer_events().sum(axis=0))
        missing = any(layer.source not in kept for layer in net.layers if layer.weight is not None)
        own = golden.run(net, part, keep=True).tensors if missing else kept
        spikes.append(_spike_operations(net, own))
    mean = float(np.concatenate(clocks).mean())
    entered = float(np.concatenate(events).mean())
    return _workload(True, net, config, mean, entered, sum(spikes) / len(x))


def expected_workload(
    net: QuantizedNetwork, config: CoreConfig, rates: Mapping[str, float] | None = None
) -> tuple[Workload, str | None]:
    """From densities (:mod:`refmodel.outlook`), and why the core itself cannot run the network, or None.

    What is expected of a network that does not fit is of a core that has what this one lacks.
    Raises CompileError where no core of the shape will do, NetworkError for bad rates.
    """
    found = outlook(net, config, rates)
    values, infos = tensor_values(net, rates), net.tensors()
    spikes = 0.0
    for layer in net.layers:
        if layer.weight is not None:
            source = infos[layer.source]
            bits = sum(values[layer.source].bit(plane) for plane in range(source.planes))
            spikes += net.steps * bits * source.shape[0] * _meetings(layer, source).sum() * layer.weight.shape[0]
    events = float(sum(layer.events for layer in found.layers))
    why = "; ".join(str(limit) for limit in found.limits) or None
    return _workload(False, net, found.config, found.clocks, events, float(spikes)), why


def _workload(
    exact: bool, net: QuantizedNetwork, config: CoreConfig, clocks: float, events: float, spikes: float
) -> Workload:
    use = events / (config.engines * config.event_lanes * clocks)
    return Workload(exact, clocks, events, use, operations(net), spikes, events * config.output_lanes)


def _spike_operations(net: QuantizedNetwork, tensors: Mapping[str, Array]) -> float:
    """Additions that the spikes of all inputs ask for."""
    infos = net.tensors()
    total = 0.0
    for layer in net.layers:
        if layer.weight is None:
            continue
        source = infos[layer.source]
        values = tensors[layer.source].astype(np.int64)
        bits = sum(((values >> plane) & 1).sum(axis=(1, 2)) for plane in range(source.planes))
        total += float((bits * _meetings(layer, source)).sum()) * layer.weight.shape[0]
    return total


def _meetings(layer: QuantizedLayer, source: TensorInfo) -> Array:
    """How many windows of a layer each pixel of its source lies in, ``[H, W]``."""
    axes = []
    for axis in (0, 1):
        size, kernel = source.shape[1 + axis], layer.kernel[axis]
        stride, padding = layer.stride[axis], layer.padding[axis]
        first = np.arange((size + 2 * padding - kernel) // stride + 1)[:, None] * stride - padding
        place = np.arange(size)
        axes.append(((place >= first) & (place < first + kernel)).sum(axis=0))
    return np.outer(*axes)
