"""Synaptic sums of the golden model, exact, by matrix products that BLAS does.

All arrays are [N, C, H, W].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .quantized import QuantizedLayer

Array = NDArray[Any]

#: Outputs of fewer pixels than this share one matrix product with all images: BLAS wants long rows.
_FEW_PIXELS = 16


def exact_type(bound: int) -> type:
    """The fastest type whose mantissa holds every integer up to ``bound``."""
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


class Synapses:
    """conv(source) + bias of one layer, for sources of one shape and up to so many images; reused step by step.

    A float product whose mantissa holds ``bound`` never rounds, in whatever order BLAS adds.  The bias is the weight
    of one more source that is always 1.

    Parameters: shape, the source's ``(C, H, W)``; images, the most N; bound, the largest magnitude of any partial
    sum: sum |w| times the source's largest, + |bias|.
    """

    def __init__(self, layer: QuantizedLayer, shape: tuple[int, int, int], images: int, bound: int) -> None:
        assert layer.weight is not None
        _, height, width = shape
        (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
        self._layer, self._shape, self._images = layer, shape, images
        self._out_h, self._out_w = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
        self._kind = exact_type(bound)
        self._whole = self._out_h * self._out_w < _FEW_PIXELS
        if self._whole:
            self._matrix = self._rows(layer.weight.transpose(0, 2, 3, 1))
        else:
            self._prepare_rows()

    def __call__(self, source: Array) -> Array:
        """X of one step, ``[N, Cout, OH, OW]``; the array is written over by the next call."""
        return self._windows_at_once(source) if self._whole else self._kernel_rows(source)

    def _rows(self, weight: Array, bias: bool = True) -> Array:
        """``[Cout, fan-in]``, with the bias behind it."""
        flat = weight.reshape(len(weight), -1)
        if bias and self._layer.bias is not None:
            flat = np.concatenate([flat, self._layer.bias[:, None]], axis=1)
        return np.ascontiguousarray(flat, dtype=self._kind)

    def _windows_at_once(self, source: Array) -> Array:
        """One product of all weights and the windows of all pixels and images as columns."""
        n, channels, height, width = source.shape
        (kh, kw), (sh, sw), (ph, pw) = self._layer.kernel, self._layer.stride, self._layer.padding
        if ph or pw:
            padded = np.zeros((n, channels, height + 2 * ph, width + 2 * pw), source.dtype)
            padded[:, :, ph : ph + height, pw : pw + width] = source
            source = padded
        image, plane, row, item = source.strides
        shape = (kh, kw, channels, n, self._out_h, self._out_w)
        windows = as_strided(source, shape, (row, item, plane, image, row * sh, item * sw), writeable=False)
        columns = np.ones((self._matrix.shape[1], n * self._out_h * self._out_w), self._kind)
        columns[: kh * kw * channels].reshape(shape)[...] = windows
        sums = (self._matrix @ columns).reshape(len(self._matrix), n, self._out_h, self._out_w)
        return np.ascontiguousarray(sums.swapaxes(0, 1))

    def _prepare_rows(self) -> None:
        """Memory for :meth:`_kernel_rows`; what it never writes stays 0, and 1 for the bias."""
        layer = self._layer
        assert layer.weight is not None
        n, (channels, height, width) = self._images, self._shape
        (kh, kw), (sh, _), (ph, pw) = layer.kernel, layer.stride, layer.padding
        middle = kh // 2
        taps = [layer.weight[:, :, ky].transpose(0, 2, 1) for ky in range(kh)]
        self._taps = [self._rows(tap, ky == middle) for ky, tap in enumerate(taps)]
        self._gathered = np.zeros((n, kw * channels + 1, sh, -(-(height + 2 * ph) // sh), self._out_w), self._kind)
        self._gathered[:, -1] = 1
        # for each kernel column the source's columns that it moves to a place between 0 and W
        self._inside = np.zeros((kw, channels, height, width), np.uint8)
        for kx in range(kw):
            self._inside[kx, ..., max(0, kx - pw) : max(0, width + min(0, kx - pw))] = 1
        self._sums, self._part = (
            np.empty((n, len(layer.weight), self._out_h * self._out_w), self._kind) for _ in range(2)
        )

    def _kernel_rows(self, source: Array) -> Array:
        """One product for each row of the kernel, of its weights and the source shifted once for each of its columns.

        gathered[:, kx * C + c, r % SH, r // SH, x] is row r of the padded source of channel c at x * SW + kx: so the
        operand of kernel row ky is a part of it that is contiguous from pixel to pixel, and needs no copy.
        """
        n, channels, _, width = source.shape
        (_, kw), (sh, sw), (ph, pw) = self._layer.kernel, self._layer.stride, self._layer.padding
        for phase in range(sh):
            first = (phase - ph) % sh  # of the source's rows, one in sh is in this phase
            start = (first + ph) // sh
            rows = source[:, :, first::sh]
            places = [
                self._gathered[:n, kx * channels : (kx + 1) * channels, phase, start : start + rows.shape[2]]
                for kx in range(kw)
            ]
            for kx, place in enumerate(places):
                if sh == sw == 1 and self._out_w == width:
                    _shift(rows, kx - pw, place, self._inside[kx])
                else:
                    _pick(rows, kx - pw, sw, place)
        pixels = self._out_h * self._out_w
        sums, part = self._sums[:n], self._part[:n]
        operands = self._gathered[:n].reshape(n, kw * channels + 1, sh, -1)
        for ky, matrix in enumerate(self._taps):
            begin = ky // sh * self._out_w
            operand = operands[:, : matrix.shape[1], ky % sh, begin : begin + pixels]
            np.matmul(matrix, operand, out=part if ky else sums)
            if ky:
                sums += part
        return sums.reshape(n, len(self._taps[0]), self._out_h, self._out_w)


def _shift(rows: Array, by: int, place: Array, inside: Array) -> None:
    """place[..., x] = rows[..., x + by], 0 outside: whole planes at once, without the columns that would wrap around.

    ``inside`` ``[C, H, W]`` is 1 where a source pixel has a place, else 0.
    """
    if by == 0:
        place[...] = rows
        return
    n, channels, height, width = rows.shape
    flat = (rows * inside).reshape(n, channels, height * width)
    target = place.reshape(n, channels, height * width)
    if by > 0:
        target[..., :-by] = flat[..., by:]
    else:
        target[..., -by:] = flat[..., :by]


def _pick(rows: Array, by: int, stride: int, place: Array) -> None:
    """place[..., x] = rows[..., x * stride + by]; where that lies outside, ``place`` is left as it is."""
    width = rows.shape[-1]
    low = max(0, -(by // stride))
    high = min(place.shape[-1], (width - 1 - by) // stride + 1)
    if high > low:
        place[..., low:high] = rows[..., low * stride + by : (high - 1) * stride + by + 1 : stride]
