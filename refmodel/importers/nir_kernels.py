"""Convolutions with dilation, groups or uneven padding as plain ones: zeros are written into their kernels."""

from __future__ import annotations

import numpy as np

from ..errors import ImportRefused
from ..layers import FloatArray, Pair

#: Most weights that one node may have once groups and dilations are written out.
WEIGHTS_LIMIT = 1 << 26


def check_size(where: str, shape: tuple[int, ...]) -> None:
    size = 1
    for length in shape:
        size *= length
    if size > WEIGHTS_LIMIT:
        raise ImportRefused(
            f"{where}: its weights written out without groups and dilation are {shape}, more than {WEIGHTS_LIMIT}; "
            "use smaller groups or kernels"
        )


def dilated(where: str, weight: FloatArray, dilation: Pair) -> FloatArray:
    """Zeros between the taps: the same convolution without dilation."""
    if dilation == (1, 1):
        return weight
    kernel = tuple((size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True))
    check_size(where, (*weight.shape[:2], *kernel))
    out = np.zeros((*weight.shape[:2], *kernel))
    out[:, :, :: dilation[0], :: dilation[1]] = weight
    return out


def ungrouped(where: str, weight: FloatArray, groups: int) -> FloatArray:
    """Zeros for the channels of other groups: the same convolution without groups."""
    if groups == 1:
        return weight
    outputs, inputs = len(weight) // groups, weight.shape[1]
    check_size(where, (len(weight), inputs * groups, *weight.shape[2:]))
    out = np.zeros((len(weight), inputs * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        out[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return out


def symmetric(
    where: str, weight: FloatArray, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[FloatArray, Pair]:
    """Kernel and padding, the same on both sides and smaller than the kernel: rows and columns of zeros are added."""
    leading, trailing, padding = [], [], []
    for size, low, high in zip(weight.shape[2:], before, after, strict=True):
        wanted = max(low, high)
        more = max(0, wanted - (size + (wanted - low) + (wanted - high)) + 1)
        padding.append(wanted + more)
        leading.append(wanted - low + more)
        trailing.append(wanted - high + more)
    sizes = (sum(parts) for parts in zip(weight.shape[2:], leading, trailing, strict=True))
    check_size(where, (*weight.shape[:2], *sizes))
    widths = ((0, 0), (0, 0), *zip(leading, trailing, strict=True))
    return np.pad(weight, widths), (padding[0], padding[1])
