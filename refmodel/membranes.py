"""Membranes of one layer, in floats and in integers, recomputed from what the models kept.

The models keep spikes, tensors and streams; here X and H of a layer are made again for the few images in which
one wants to know why a neuron fired.  Arrays are [N, T, C, H, W]; K is the number of levels of an MLF unit, else 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import apply_gates, gated, integer_gates
from .floatmodel import FloatResult
from .golden import GoldenResult
from .layers import ConvLayer, FloatArray, Neuron
from .quantized import IntArray, QuantizedLayer

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Drive:
    """What the neurons of a layer integrate, ``[N, T, C, H, W]``, and its terms of the same shape.

    terms: ``weights`` (the convolution), ``bias``, ``current`` and ``stream``, those that the layer has.
    total: their sum X.  driven: X after gates and rectification.
    """

    terms: dict[str, Array]
    total: Array
    driven: Array


@dataclass(frozen=True, eq=False)
class History:
    """Membranes H before reset and spikes of each level, ``[K, N, T, C, H, W]``."""

    membranes: Array
    spikes: NDArray[np.bool_]


def float_drive(layer: ConvLayer, result: FloatResult, images: NDArray[np.intp]) -> Drive:
    """X of ``layer`` in the images of those numbers; ``result`` is one that was kept."""
    source = result.tensors[layer.source][images]
    terms = {"weights": convolve(layer.weight, source, layer.stride, layer.padding)}
    total = terms["weights"]
    if layer.bias is not None:
        terms["bias"] = _spread(layer.bias, total)
        total = total + terms["bias"]
    if layer.current is not None and layer.shortcut is not None:
        terms["current"] = layer.current * result.tensors[layer.shortcut][images]
        total = total + terms["current"]
    if layer.stream is not None:
        terms["stream"] = result.streams[layer.stream][images]
        total = total + terms["stream"]
    driven = total
    if layer.attention is not None:
        driven = gated(total, result.gates[layer.name][images], layer.attention.axis)
    return Drive(terms, total, np.maximum(driven, 0.0) if layer.rectify else driven)


def integer_drive(layer: QuantizedLayer, result: GoldenResult, images: NDArray[np.intp]) -> Drive:
    """X of a convolution ``layer`` in the images of those numbers, int64; ``result`` is one that was kept."""
    assert layer.weight is not None
    source = result.tensors[layer.source][images]
    # Proven bounds keep every sum far below 2^53, where float64 is exact.
    summed = convolve(layer.weight.astype(np.float64), source.astype(np.float64), layer.stride, layer.padding)
    terms: dict[str, Array] = {"weights": np.round(summed).astype(np.int64)}
    if layer.bias is not None:
        terms["bias"] = _spread(layer.bias, summed)
    if layer.current is not None and layer.shortcut is not None:
        terms["current"] = layer.current[:, None, None] * result.tensors[layer.shortcut][images].astype(np.int64)
    if layer.stream is not None:
        terms["stream"] = result.streams[layer.stream][images].astype(np.int64)
    total = sum(terms.values(), np.zeros(1, np.int64))
    driven = total
    if layer.attention is not None:
        driven = apply_gates(total, integer_gates(total, layer.attention), layer.attention.axis)
    return Drive(terms, total, np.maximum(driven, 0) if layer.rectify else driven)


def convolve(weight: FloatArray, source: FloatArray, stride: tuple[int, int], padding: tuple[int, int]) -> FloatArray:
    """conv(source) without bias, ``[N, T, Cout, OH, OW]``; weight ``[Cout, Cin, KH, KW]``."""
    (sh, sw), (ph, pw) = stride, padding
    outputs, channels, kh, kw = weight.shape
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    out_h, out_w = (padded.shape[3] - kh) // sh + 1, (padded.shape[4] - kw) // sw + 1
    n, steps = source.shape[:2]
    total = np.zeros((n, steps, outputs, out_h * out_w))
    for ky in range(kh):
        for kx in range(kw):
            tap = padded[..., ky : ky + sh * out_h : sh, kx : kx + sw * out_w : sw][..., :out_h, :out_w]
            total += weight[:, :, ky, kx] @ tap.reshape(n, steps, channels, out_h * out_w)
    return total.reshape(n, steps, outputs, out_h, out_w)


def float_history(neuron: Neuron, driven: FloatArray) -> History:
    """H and spikes of every level of a float neuron."""
    shape = (len(neuron.thresholds), *driven.shape)
    membranes, spikes = np.empty(shape), np.empty(shape, bool)
    for level, threshold in enumerate(neuron.thresholds):
        v = np.full_like(driven[:, 0], neuron.v_reset)
        for t in range(driven.shape[1]):
            x = driven[:, t]
            if neuron.kind == "step":
                h = x
            elif neuron.kind == "if":
                h = v + x
            elif neuron.decay_input:
                h = v + (x - (v - neuron.v_reset)) / neuron.tau
            else:
                h = v - (v - neuron.v_reset) / neuron.tau + x
            fired = h >= threshold if neuron.fire == "ge" else h > threshold
            membranes[level, :, t], spikes[level, :, t] = h, fired
            if neuron.reset == "hard":
                v = np.where(fired, neuron.v_reset, h)
            else:
                v = h - fired * threshold if neuron.reset == "soft" else h
    return History(membranes, spikes)


def integer_history(layer: QuantizedLayer, driven: IntArray) -> History:
    """H and spikes of every level of an integer layer's neurons."""
    thresholds = integer_thresholds(layer)
    shape = (len(thresholds), *driven.shape)
    membranes, spikes = np.empty(shape, np.int64), np.empty(shape, bool)
    for level, threshold in enumerate(thresholds[:, :, None, None]):
        v = np.zeros_like(driven[:, 0])
        for t in range(driven.shape[1]):
            h = integer_leak(layer, v) + driven[:, t]
            fired = h >= threshold
            membranes[level, :, t], spikes[level, :, t] = h, fired
            v = h * ~fired if layer.reset == "hard" else h
            if layer.reset == "soft":
                v = h - fired * threshold
    return History(membranes, spikes)


def integer_thresholds(layer: QuantizedLayer) -> IntArray:
    """Thresholds of all levels, ``[K, C]``."""
    assert layer.threshold is not None
    return layer.threshold[None] if layer.levels is None else np.vstack([layer.threshold[None], layer.levels])


def integer_leak(layer: QuantizedLayer, v: IntArray) -> IntArray:
    """leak(V) of an integer layer."""
    if layer.stateless:
        return np.zeros_like(v)
    if layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        return (v * factor) >> bits
    leaked = v
    for shift in layer.leak_shifts:
        leaked = leaked - (v >> shift)
    return leaked


def _spread(values: Array, like: Array) -> Array:
    """A value per channel in the shape of ``like``."""
    return np.broadcast_to(values[:, None, None], like.shape)
