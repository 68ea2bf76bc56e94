"""Stored data made into a network's input: pixels folded into channels, low bits dropped.

A spike memory's word holds several channels of one pixel, so a picture of one channel leaves most of it empty.  With
``fold`` f, a block of f x f pixels becomes f * f channels of one pixel, in the order of PyTorch's ``pixel_unshuffle``:
pixel (dy, dx) of channel c is channel c*f*f + dy*f + dx.  With ``drop_bits`` d, a value v becomes v >> d.

Data sets are kept raw.  Whatever takes the name of a data set or a data file prepares what it holds once;
:func:`refmodel.golden.run`, :func:`refmodel.floatmodel.run` and :meth:`refmodel.program.Program.input_words` take
prepared inputs alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .layers import InputSpec
from .quantized import QuantizedInput

Spec = InputSpec | QuantizedInput


def raw_shape(spec: Spec) -> tuple[int, int, int]:
    """Shape ``(C, H, W)`` of a sample (of a frame, where the input is not static) before folding."""
    channels, height, width = spec.shape
    return channels // spec.fold**2, height * spec.fold, width * spec.fold


def raw_bits(spec: Spec) -> int:
    """Bits of a value before any are dropped."""
    return spec.bits + spec.drop_bits


def fold(x: NDArray[Any], size: int) -> NDArray[Any]:
    """``[..., C, H, W]`` to ``[..., C*size*size, H/size, W/size]``; DataError if the sizes do not divide."""
    *front, channels, height, width = x.shape
    if height % size or width % size:
        raise DataError(f"{height}x{width} pixels do not fold into blocks of {size}x{size}; crop or pad them")
    blocks = x.reshape(*front, channels, height // size, size, width // size, size)
    ahead = len(front)
    order = (*range(ahead), *(ahead + axis for axis in (0, 2, 4, 1, 3)))  # C, dy, dx, H, W
    return blocks.transpose(order).reshape(*front, channels * size * size, height // size, width // size)


def prepare(spec: Spec, x: NDArray[np.integer[Any]], steps: int | None = None) -> NDArray[np.integer[Any]]:
    """Inputs of a network, made from stored data.

    Parameters
    ----------
    spec: the network's input.
    x: raw integers, ``[N, C, H, W]`` for a static input, else ``[N, T, C, H, W]``, with C, H and W of
        :func:`raw_shape`.  If ``spec`` folds, inputs that have the network's own shape are prepared already and come
        back as they are.  If it drops bits alone, nothing tells the two apart and ``x`` counts as raw: what is
        prepared already needs no call.
    steps: T that frames must have; any by default.

    Returns
    -------
    The inputs, of the same integer type.  Their range is not looked at.

    Raises
    ------
    DataError: neither shape fits, or the values are no integers.
    """
    if not np.issubdtype(x.dtype, np.integer):
        raise DataError(f"inputs must be integers, not {x.dtype}; scale them to 0..{(1 << raw_bits(spec)) - 1}")
    own, raw = spec.shape, raw_shape(spec)
    frames = () if spec.static else (x.shape[1:2] if steps is None else (steps,))
    if x.ndim == 4 + (not spec.static) and x.shape[1:-3] == frames:
        if spec.fold > 1 and x.shape[-3:] == own:
            return x
        if x.shape[-3:] == raw:
            folded = fold(x, spec.fold) if spec.fold > 1 else x
            return folded >> spec.drop_bits if spec.drop_bits else folded
    axes = "(C, H, W)" if spec.static else "(T, C, H, W)"
    head: tuple[int | str, ...] = () if spec.static else ("T" if steps is None else steps,)
    shown = _shape((*head, *raw))
    if spec.fold > 1:
        shown += f", or folded {spec.fold}x{spec.fold} {_shape((*head, *own))}"
    raise DataError(f"samples have the shape {_shape(x.shape[1:])}, but the network takes {axes} = {shown}")


def _shape(sizes: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, sizes))})"
