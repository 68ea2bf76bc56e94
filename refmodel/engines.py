"""Engines: which output rows each of them computes, and when it may write.

Engine e has rows e*n .. e*n + n-1 of a layer's output, n = ceil(rows / engines).  All engines write to all copies of
the spike memory, in turns: each of m running engines in every m-th clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .buffers import stored_tensors
from .config import CoreConfig
from .layout import start_words
from .quantized import QuantizedLayer, QuantizedNetwork


def engine_rows(net: QuantizedNetwork, config: CoreConfig) -> dict[str, int]:
    """Output rows of an engine, for each layer.

    The m engines of a layer that writes A bit-planes take turns: m*A clocks of a tile's R, of which two must be left.
    Readouts run on engine 0.  A row's part of a membrane stream stays in its engine, so layers that keep or read
    streams of equally many rows divide them alike.
    """
    infos, stored = net.tensors(), stored_tensors(net)
    most: dict[str, int] = {}
    alike: dict[int, int] = {}  # engines of the layers with streams, by rows
    for layer in net.layers:
        info = infos[layer.name]
        planes = 1 if layer.kind == "stream" else info.planes if layer.name in stored else 0
        engines = (
            1
            if layer.kind == "readout"
            else max(1, min(config.engines, (config.slots_per_chunk - 2) // max(1, planes)))
        )
        most[layer.name] = engines
        if _streams(layer):
            alike[info.shape[1]] = min(engines, alike.get(info.shape[1], engines))
    rows = {}
    for layer in net.layers:
        height = infos[layer.name].shape[1]
        engines = alike[height] if _streams(layer) else most[layer.name]
        rows[layer.name] = -(-height // engines)
    return rows


def _streams(layer: QuantizedLayer) -> bool:
    """Whether a layer keeps or reads a membrane stream."""
    return layer.keeps_stream or layer.stream is not None or layer.kind in ("stream", "apply")


def first_write(config: CoreConfig, turns: int, engine: int, taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clock of a word's first write, plane 0, from the one in which the write-back takes it; both since the engine's
    start.  The other planes follow every ``turns`` clocks.

    Turn 0 is in the clock after engine 0's start, and engine e starts e * ``start_words`` clocks later.
    """
    phase = 1 + engine * (1 - start_words(config))
    return taken + 1 + (phase - taken - 1) % turns
