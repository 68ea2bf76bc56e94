"""What a layer of the golden model does around its synapses and neurons: inputs, gates, combiner, pools, readout.

Tensors are [T, N, C, H, W], streams too; T is 1 for what is the same at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import apply_gates, integer_gates
from .errors import NetworkError
from .golden_synapses import Synapses
from .quantized import IntArray, QuantizedLayer

Array = NDArray[Any]


def at_step(tensor: Array, t: int) -> Array:
    """Values at step t, ``[N, C, H, W]``."""
    return tensor[min(t, len(tensor) - 1)]


def repeat(tensor: Array, steps: int) -> Array:
    """``tensor`` at every step: one that is the same at all of them is held once."""
    return np.repeat(tensor, steps, axis=0) if len(tensor) != steps else tensor


def inputs(
    layer: QuantizedLayer,
    synapses: Synapses,
    source: Array,
    shortcut: Array | None,
    stream: Array | None,
    steps: int,
    kind: type,
) -> Iterator[Array]:
    """X = conv + bias + current where the shortcut spikes + stream, ``[N, Cout, OH, OW]``, for each of T steps.

    ``kind``: a type that holds X.  Each X is valid until the next.
    """
    current = None if layer.current is None else layer.current[:, None, None].astype(kind)
    conv = np.zeros(0)
    for t in range(steps):
        if t < len(source):
            conv = synapses(source[t])
        x = conv
        if current is not None and shortcut is not None:
            x = x.astype(kind, copy=False) + at_step(shortcut, t).astype(kind) * current
        if stream is not None:
            x = x.astype(kind, copy=False) + at_step(stream, t).astype(kind, copy=False)
        yield x


def stacked(parts: Iterable[Array], kind: type) -> Array:
    """All steps as one array ``[T, ...]``, of parts that are valid one at a time."""
    return np.stack([part.astype(kind) for part in parts])


def gated(layer: QuantizedLayer, x: Array, steps: int) -> Array:
    """X' = relu((X * gate) >> 8), ``[T, N, C, OH, OW]``, or X itself without attention."""
    if layer.attention is None:
        return x
    whole = repeat(x, steps).swapaxes(0, 1).astype(np.int64)
    return apply_gates(whole, integer_gates(whole, layer.attention), layer.attention.axis).swapaxes(0, 1)


def stream_tensor(layer: QuantizedLayer, stream: Array) -> Array:
    """stream >> shift, in ``bits`` bits; raises NetworkError where it does not fit."""
    values = stream.astype(np.int64) >> layer.shift
    limit = 1 << (layer.bits - 1)
    if values.size and not -limit <= int(values.min()) <= int(values.max()) < limit:
        raise NetworkError(
            f"layer {layer.name!r}: the stream of {layer.source!r} leaves {layer.bits} bits "
            f"({values.min()} to {values.max()}); use more bits or a larger shift"
        )
    return values.astype(np.int16 if layer.bits <= 16 else np.int32)


def combine(layer: QuantizedLayer, spikes: Array, shortcut: Array | None, kind: type) -> Array:
    """g(A, S), SEW paper, table 1; A may count (MLF units)."""
    if layer.combine == "pass" or shortcut is None:
        return spikes.astype(kind, copy=False) if kind is not np.uint8 else spikes.view(np.uint8)
    if layer.combine == "add":
        return np.add(spikes.view(np.uint8), shortcut, dtype=kind)
    set_bits = shortcut.astype(bool)
    if layer.combine == "and":
        return (spikes & set_bits).astype(kind)
    if layer.combine == "iand":
        return (~spikes & set_bits).astype(kind)
    return (spikes | set_bits).astype(kind)


def pool(layer: QuantizedLayer, source: Array, kind: type) -> Array:
    """Maximum (maxpool) or sum over the window of each channel, zero padding, ``[T, N, C, OH, OW]``."""
    ph, pw = layer.padding
    values = source.astype(kind, copy=False)
    if ph or pw:
        values = np.pad(values, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    join = np.maximum if layer.kind == "maxpool" else np.add
    for axis in (0, 1):  # first down, then across: two short windows instead of one large
        size, stride = layer.kernel[axis], layer.stride[axis]
        count = (values.shape[3 + axis] - size) // stride + 1
        parts = [slice(tap, tap + stride * (count - 1) + 1, stride) for tap in range(size)]
        values = functools.reduce(join, [values[..., part] if axis else values[..., part, :] for part in parts])
    return np.ascontiguousarray(values)


def readout(synapses: Synapses, bias: IntArray, source: Array, steps: int, keep: bool) -> tuple[IntArray, Array | None]:
    """Sums ``[N, classes]`` and, when kept, the running total ``[T, N, classes, OH, OW]``.

    ``synapses`` are without bias, since that counts once; they take the source's sum over T.
    """
    if not keep:
        total = source.sum(axis=0, dtype=np.int64) * (steps // len(source))
        return bias + synapses(total).astype(np.int64).sum(axis=(2, 3)), None
    stepped = repeat(stacked((synapses(frames) for frames in source), np.int64), steps)
    _, n, classes, height, width = stepped.shape
    in_order = stepped.transpose(1, 3, 4, 0, 2).reshape(n, -1, classes)  # pixels outer, t inner
    running = bias + np.cumsum(in_order, axis=1)
    return running[:, -1], running.reshape(n, height, width, steps, classes).transpose(3, 0, 4, 1, 2)
