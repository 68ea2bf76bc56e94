"""The sequence of items that the window walker makes for a slab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .buffers import Buffer
from .jit import compiled
from .layout import Flag
from .program import Op

Column = NDArray[np.int32]
_FLAG_BITS = 3


@dataclass(frozen=True)
class ScanItems:
    """One entry an item, in order; every array is ``[items]``.

    tile: output pixel in raster order.  row: chunk * planes + plane of the source (shortcut items: chunk * planes).
    first, count: the item's words, numbered from word 0 of pixel (0, 0); count is 0 for empty and shortcut items.
    tag: number of the slab's word that the first word is.  flag: a :class:`refmodel.layout.Flag`.
    """

    tile: Column
    row: Column
    first: Column
    count: Column
    tag: Column
    flag: Column
    shortcut: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tile)


def scan_items(
    op: Op, source: Buffer | None, chunks: int, scan_words: int, group: int = 0, engine: int = 0
) -> ScanItems:
    """Items of an engine in slab ``group`` of ``op``, whose source lies at ``source`` (None: at address 0, planes side
    by side).

    Tile, chunk; then the shortcut's planes; then plane (top first), window row, segment.  A tile of one window row or
    none, one plane, one chunk and no shortcut begins with an item without words and flag.  ``scan_words``: words of
    an occupancy row, which no segment leaves.
    """
    _, in_h, in_w = op.source.shape if op.scans else (0, 0, 0)
    words = op.words if source is None or not op.scans else source.groups
    planes = op.source.planes
    plane_step = in_h * in_w * words if source is None else source.plane_step
    chunk_step = planes * plane_step if source is None else source.chunk_step
    base = 0 if source is None else source.base
    starts = base + np.arange(chunks)[:, None] * chunk_step + np.arange(planes) * plane_step
    stride = op.layer.stride if op.scans else (0, 0)
    geometry = (
        in_h, in_w, words, *op.layer.kernel, *stride, *op.layer.padding, op.out.shape[2], op.sc_planes,
        group if op.pool else -1, op.top_tag, scan_words, *op.share(engine),
    )  # fmt: skip
    starts = np.ascontiguousarray(starts, np.int64)
    size = _walk(geometry, starts, np.zeros((0, 6), np.int32))
    columns = np.zeros((size, 6), np.int32)
    _walk(geometry, starts, columns)
    tile, row, first, count, tag, kind = np.ascontiguousarray(columns.T)
    return ScanItems(tile, row, first, count, tag, kind & _FLAG_BITS, kind > _FLAG_BITS)


@compiled
def _walk(geometry: tuple[int, ...], starts: NDArray[np.int64], out: NDArray[np.int32]) -> int:
    """Write the items into ``out`` ``[items, 6]`` (tile, row, first, count, tag, flag; 4: shortcut), if it has any
    rows; returns how many there are.  ``starts``: address of each chunk's and plane's word 0."""
    in_h, in_w, words, kh, kw, sh, sw, ph, pw, out_w, sc_planes, group, top_tag, scan_words, first_row, rows = geometry
    end_row = first_row + rows
    chunks, planes = starts.shape
    write = len(out) > 0
    at = 0
    for oy in range(first_row, end_row):
        top = oy * sh - ph
        y_first, y_end = max(top, 0), min(top + kh, in_h)
        for ox in range(out_w):
            left = ox * sw - pw
            x_first, x_end = max(left, 0), min(left + kw, in_w)
            tile = oy * out_w + ox
            if chunks == 1 and planes == 1 and sc_planes == 0 and y_end - y_first < 2:
                if write:
                    out[at, 0] = tile
                at += 1
            for chunk in range(chunks):
                for _ in range(sc_planes):
                    if write:
                        out[at, 0], out[at, 1], out[at, 5] = tile, chunk * planes, 4
                    at += 1
                for plane in range(planes - 1, -1, -1):
                    row, base_tag = chunk * planes + plane, top_tag if plane == planes - 1 else 0
                    for y in range(y_first, max(y_end, y_first + 1)):
                        word, left_over = 0, 0
                        if y < y_end and x_first < x_end:
                            word, left_over = (y * in_w + x_first) * words, (x_end - x_first) * words
                        tag = base_tag + ((y - top) * kw + x_first - left) * words
                        while True:
                            count, step = left_over, left_over
                            if group >= 0 and count > 0:
                                count, step = 1, words
                            elif count > 0:
                                count = min(count, scan_words - (starts[chunk, plane] + word) % scan_words)
                                step = count
                            if write:
                                out[at, 0], out[at, 1] = tile, row
                                out[at, 3] = count
                                if count > 0:
                                    out[at, 2] = word + max(group, 0)
                                    out[at, 4] = base_tag if group >= 0 else tag
                            at += 1
                            word += step
                            tag += step
                            left_over -= step
                            if left_over <= 0:
                                break
                    if write:  # boundary
                        flag = 1
                        if plane == 0:
                            last = chunk == chunks - 1 and tile == end_row * out_w - 1
                            flag = 3 if last else 2
                        out[at - 1, 5] = flag
    return at


assert (Flag.SHIFT, Flag.DRAIN, Flag.DRAIN_LAST) == (1, 2, 3)
