"""Neurons of the golden model, step by step: H = leak(V) + X, spike = [H >= threshold], reset.

X and H are [N, C, H, W] at each step, of integers; they are computed in the fastest type that holds them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .quantized import QuantizedLayer

Array = NDArray[Any]


def fire(
    layer: QuantizedLayer,
    inputs: Iterable[Array],
    fired: Array,
    kind: type,
    kept: Array | None = None,
    start: list[Array] | None = None,
) -> list[Array]:
    """Integrate X of T steps; ``fired`` ``[T, N, C, H, W]`` gets the spikes (bool), of MLF units their count (uint8).

    kind: the type of the membranes.  ``kept``, of the same shape, gets H, of an MLF unit that of its last level.
    start: membranes V ``[N, C, H, W]`` of each level before the first step, None for empty ones.
    Returns V of each level: with ``start`` those after the last step's reset, else without that reset.
    """
    assert layer.threshold is not None
    _, *shape = fired.shape
    levels = [layer.threshold, *([] if layer.levels is None else layer.levels)]
    # of the shape of an image: NumPy is much faster when it need not repeat a number along rows
    thresholds = [np.broadcast_to(level[:, None, None], shape[1:]).astype(kind) for level in levels]
    membranes = [np.zeros(shape, kind) for _ in levels] if start is None else [v.astype(kind) for v in start]
    counts = len(levels) > 1
    quiet, factor = np.empty(shape, bool), np.empty(shape, kind)
    for t, x in enumerate(inputs):
        driven = x.astype(kind, copy=False)
        if layer.rectify:
            driven = np.maximum(driven, 0)
        for level, (membrane, threshold) in enumerate(zip(membranes, thresholds, strict=True)):
            _leak(layer, membrane)
            membrane += driven
            if kept is not None:
                kept[t] = membrane
            np.less(membrane, threshold, out=quiet)
            if counts:
                fired[t] = ~quiet if level == 0 else fired[t] + ~quiet
            else:
                np.logical_not(quiet, out=fired[t])
            if t == len(fired) - 1 and start is None:
                continue  # nobody reads the membrane after the last step
            if layer.reset == "hard":
                factor[...] = quiet  # NumPy multiplies numbers of one type much faster
                membrane *= factor
            elif layer.reset == "soft":
                membrane -= ~quiet * threshold
    return membranes


def _leak(layer: QuantizedLayer, membrane: Array) -> None:
    """V becomes leak(V), before the next input."""
    if layer.stateless:
        membrane[...] = 0
    elif layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        membrane[...] = (membrane.astype(np.int64) * factor) >> bits
    elif layer.leak_shifts:
        leaked = [_shifted(membrane, shift) for shift in layer.leak_shifts]
        for part in leaked:
            membrane -= part


def _shifted(values: Array, shift: int) -> Array:
    """values >> shift, arithmetic, also of integers in a float type: dividing by a power of 2 does not round."""
    return values >> shift if values.dtype.kind == "i" else np.floor(values * values.dtype.type(2.0**-shift))
