"""The sequence of words that the window walker fetches for a slab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import Flag
from .program import Op


@dataclass(frozen=True)
class ScanItems:
    """One entry a fetched item, in order; every array is ``[items]``.

    ``tile`` counts output pixels in raster order; ``y``, ``x``, ``word`` say where in the
    source the word lies (0 where ``inside`` is False); ``tag`` numbers the slab's words.
    """

    tile: NDArray[np.int64]
    chunk: NDArray[np.int64]
    plane: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    word: NDArray[np.int64]
    tag: NDArray[np.int64]
    inside: NDArray[np.bool_]
    shortcut: NDArray[np.bool_]
    flag: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tile)


def scan_items(op: Op, chunks: int) -> ScanItems:
    """Items of one slab of ``op``: tile, chunk, plane (top first), row, tap, word; then shortcut planes."""
    (kh, kw), (sh, sw), (ph, pw) = op.layer.kernel, op.layer.stride, op.layer.padding
    _, in_h, in_w = op.source.shape
    _, out_h, out_w = op.out.shape
    oy, ox = np.divmod(np.arange(out_h * out_w), out_w)
    ky, kx = np.divmod(np.arange(kh * kw), kw)
    y = oy[:, None] * sh - ph + ky  # [tiles, taps]
    x = ox[:, None] * sw - pw + kx
    inside = (y >= 0) & (y < in_h) & (x >= 0) & (x < in_w) & op.scans
    count = np.where(inside, op.words, 1)
    planes = op.source.planes
    columns: list[list[NDArray[Any]]] = [[] for _ in range(10)]
    taps = np.arange(kh * kw)
    for tile in range(out_h * out_w):
        tap = np.repeat(taps, count[tile])
        word = np.arange(len(tap)) - np.repeat(np.cumsum(count[tile]) - count[tile], count[tile])
        is_in = inside[tile][tap]
        size = len(tap)
        flag = np.zeros((chunks, planes, size), np.int64)
        flag[:, :-1, -1] = Flag.SHIFT
        flag[:, -1, -1] = Flag.DRAIN
        if tile == out_h * out_w - 1:
            flag[-1, -1, -1] = Flag.DRAIN_LAST
        shape = (chunks, planes, size)
        chunk_axis = np.broadcast_to(np.arange(chunks)[:, None, None], shape)
        plane_axis = np.broadcast_to(np.arange(planes - 1, -1, -1)[None, :, None], shape)
        tag = (0 if op.shared_taps else tap * op.words) + word
        tag = tag + np.where(plane_axis == planes - 1, op.top_tag, 0)
        row = [
            np.full(shape, tile),
            chunk_axis,
            plane_axis,
            np.broadcast_to(np.where(is_in, y[tile][tap], 0), shape),
            np.broadcast_to(np.where(is_in, x[tile][tap], 0), shape),
            np.broadcast_to(np.where(is_in, word, 0), shape),
            np.broadcast_to(tag, shape),
            np.broadcast_to(is_in, shape),
            np.zeros(shape, bool),
            flag,
        ]
        # The shortcut's planes follow each chunk of the tile.
        tails = {0: tile, 1: np.arange(chunks)[:, None], 2: np.arange(op.sc_planes), 8: True}
        for number, part in enumerate(row):
            tail = np.zeros((chunks, op.sc_planes), part.dtype)
            tail[:] = tails.get(number, 0)
            columns[number].append(np.concatenate([part.reshape(chunks, -1), tail], axis=1).reshape(-1))
    tile_, chunk_, plane_, y_, x_, word_, tag_, inside_, shortcut_, flag_ = (np.concatenate(c) for c in columns)
    return ScanItems(tile_, chunk_, plane_, y_, x_, word_, tag_, inside_.astype(bool), shortcut_.astype(bool), flag_)
