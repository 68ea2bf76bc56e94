"""The integer golden model: what the hardware must compute, bit for bit.

The equations are those stated in :mod:`refmodel.quantized`, vectorised over images and space: only time is a
loop.  Images are independent, so a few at a time go through all layers (:mod:`refmodel.golden_run`), small enough
for a processor's cache, and as many of such parts at a time as there are processors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .golden_run import Bounds, Part, Walker
from .legality import validate
from .quantized import IntArray, QuantizedNetwork, TensorInfo, bits_range
from .state import State, check_state, fresh_state, join_states

Array = NDArray[Any]

#: Bytes of one step of a layer's work, for the images computed together: what a processor's own cache holds.
_CACHE_BYTES = 3 << 19
#: Most and least images computed together.
_MOST_IMAGES, _LEAST_IMAGES = 64, 4


@dataclass(frozen=True, eq=False)
class GoldenResult:
    """What :func:`run` computed.

    results ``[N, classes]`` int64: the readout's sums; predictions ``[N]``: their argmax, lowest
    index first.  With ``keep``: tensors, every tensor's values ``[N, T, C, H, W]`` in the smallest
    integer type (the input too, the readout not); membranes, every layer's H, the membrane before
    reset, ``[N, T, C, H, W]`` int32 or int64.  The readout's H at (t, y, x) is its running total;
    pixels are the outer loop (row, then column), t the inner one, and the total starts at bias.

    streams: the kept membrane streams X, ``[N, T, C, H, W]``.  An MLF unit's membranes are those of
    its last level.

    fired: fraction of neuron steps that fired (before the combiner; a pool's ones), per layer.
    active: fraction of output values that are not zero, per layer.

    state: with ``keep_state``, the membranes that the next call begins with.
    """

    results: IntArray
    predictions: IntArray
    tensors: dict[str, Array] = field(default_factory=dict)
    membranes: dict[str, Array] = field(default_factory=dict)
    streams: dict[str, Array] = field(default_factory=dict)
    fired: dict[str, float] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)
    state: State | None = None


def firing_rates(result: GoldenResult, of: Literal["neurons", "outputs"] = "neurons") -> dict[str, float]:
    """Firing rate of every layer but the readout, 0..1.

    ``neurons``: own spikes A, before the combiner; ``outputs``: values of g(A, S) that are not zero.
    """
    return dict(result.fired if of == "neurons" else result.active)


def run(
    net: QuantizedNetwork,
    x: Array,
    *,
    keep: bool = False,
    threads: int | None = None,
    state: State | None = None,
    keep_state: bool = False,
) -> GoldenResult:
    """Run ``net`` on integers ``x``: ``[N, C, H, W]`` when its input is static, else ``[N, T, C, H, W]``.

    ``threads``: how many may work at a time, by default as many as there are processors; they change no result.

    ``state``: the membranes of the N inputs begin as an earlier call with ``keep_state`` left them, None for empty
    ones; so T steps in several calls make the spikes of one call with all of them.  Results are of this call alone.

    Raises NetworkError for a network that is not legal, DataError for an input or a state that does not fit it.
    """
    infos = validate(net)
    _check_input(net, x)
    if state is not None:
        check_state(net, state, len(x))
    elif keep_state:
        state = fresh_state(net, len(x))
    size = _images_at_once(net, infos)
    firsts = range(0, max(1, len(x)), size)
    workers = min(len(firsts), usable_processors() if threads is None else max(1, threads))
    bounds = Bounds.of(net, infos, state)
    idle: SimpleQueue[Walker] = SimpleQueue()
    for _ in range(workers):
        idle.put(Walker(net, bounds, min(size, len(x)), keep))

    def work(first: int) -> Part:
        walker, images = idle.get(), slice(first, first + size)
        try:
            return walker.run(x[images], None if state is None else state.of(images))
        finally:
            idle.put(walker)

    if workers == 1:
        parts = [work(first) for first in firsts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(work, firsts))
    results = np.concatenate([part.results for part in parts])
    weights = np.array([len(part.results) for part in parts]) / max(1, len(x))

    def by_layer(kind: str, join: Callable[[list[Any]], Any]) -> dict[str, Any]:
        return {name: join([getattr(part, kind)[name] for part in parts]) for name in getattr(parts[0], kind)}

    def mean(rates: list[float]) -> float:
        return float(weights @ rates)

    return GoldenResult(
        results=results,
        predictions=np.argmax(results, axis=1).astype(np.int64),
        tensors=by_layer("tensors", np.concatenate),
        membranes=by_layer("membranes", np.concatenate),
        streams=by_layer("streams", np.concatenate),
        fired=by_layer("fired", mean),
        active=by_layer("active", mean),
        state=join_states([part.state for part in parts if part.state is not None]) if keep_state else None,
    )


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _images_at_once(net: QuantizedNetwork, infos: dict[str, TensorInfo]) -> int:
    """As many as let one step of the largest layer, its gathered source and its sums, stay in the cache."""
    largest = 1
    for layer in net.layers:
        columns = layer.kernel[1] if layer.weight is not None else 1
        gathered = columns * math.prod(infos[layer.source].shape) // layer.stride[1]
        largest = max(largest, 4 * (gathered + 2 * math.prod(infos[layer.name].shape)))
    return max(_LEAST_IMAGES, min(_MOST_IMAGES, _CACHE_BYTES // largest))


def _check_input(net: QuantizedNetwork, x: Array) -> None:
    shape = net.input.shape if net.input.static else (net.steps, *net.input.shape)
    axes = "[N, C, H, W]" if net.input.static else "[N, T, C, H, W]"
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        raise DataError(
            f"network {net.name!r}: input must be {axes} = (N, {', '.join(map(str, shape))}), not {x.shape}"
        )
    low, high = bits_range(net.input.bits, net.input.signed)
    if x.dtype.kind not in "iub":
        raise DataError(f"network {net.name!r}: input must be integers, not {x.dtype}; quantise it first")
    if x.size and (int(x.min()) < low or int(x.max()) > high):
        raise DataError(
            f"network {net.name!r}: input must be {low} to {high} ({net.input.bits} bits), not {x.min()} to {x.max()}"
        )
