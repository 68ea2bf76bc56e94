"""Proofs that no sum and no membrane overflows, from the integer weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .quantized import IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo


@dataclass(frozen=True)
class LayerBounds:
    """Worst cases of a layer, per output channel ``[Cout]``; input: X, what a membrane stream keeps."""

    sum_low: IntArray
    sum_high: IntArray
    membrane_low: IntArray
    membrane_high: IntArray
    input_low: IntArray
    input_high: IntArray


def layer_bounds(
    layer: QuantizedLayer, source: TensorInfo, steps: int, pixels: int, stream: LayerBounds | None = None
) -> LayerBounds:
    """Bounds of the synaptic sum and of the membrane before reset.

    ``stream``: bounds of the layer whose membrane stream is added.

    A sum is at least what negative weights make of the largest activation and positive ones of
    the smallest, and so on.  A membrane starts at 0 and a leak never enlarges it (an arithmetic
    shift moves it towards 0, or by one unit past it), so after T steps it is at least T times the
    lowest input; a hard reset keeps it below the threshold between steps, which bounds it above.
    """
    if layer.kind == "apply":
        return _apply_bounds(layer, steps, stream)
    if layer.weight is None:
        return _window_bounds(layer, source)
    flat = layer.weight.reshape(layer.weight.shape[0], -1).astype(np.int64)
    negative, positive = np.minimum(flat, 0).sum(axis=1), np.maximum(flat, 0).sum(axis=1)
    low = negative * source.max_value + positive * source.min_value
    high = positive * source.max_value + negative * source.min_value
    bias = layer.bias if layer.bias is not None else np.zeros(len(flat), np.int64)
    if layer.kind == "readout":
        total_low = bias + np.minimum(low * steps * pixels, 0)
        total_high = bias + np.maximum(high * steps * pixels, 0)
        return LayerBounds(low, high, total_low, total_high, low + bias, high + bias)
    current = layer.current if layer.current is not None else np.zeros(len(flat), np.int64)
    x_low = low + bias + np.minimum(current, 0)
    x_high = high + bias + np.maximum(current, 0)
    if stream is not None:
        x_low, x_high = x_low + stream.input_low, x_high + stream.input_high
    gated = layer.rectify or layer.attention is not None
    driven_low, driven_high = (np.maximum(x, 0) if gated else x for x in (x_low, x_high))
    if layer.stateless or layer.threshold is None:
        return LayerBounds(low, high, driven_low, driven_high, x_low, x_high)
    h_low, h_high = membrane_bounds(layer, driven_low, driven_high, steps)
    return LayerBounds(low, high, h_low, h_high, x_low, x_high)


def membrane_bounds(layer: QuantizedLayer, x_low: IntArray, x_high: IntArray, steps: int) -> tuple[IntArray, IntArray]:
    """Lowest and highest H of a neuron with memory: of an MLF unit's highest level, which bounds the others."""
    assert layer.threshold is not None
    thresholds = layer.threshold[None] if layer.levels is None else np.vstack([layer.threshold[None], layer.levels])
    slack = 1 if len(layer.leak_shifts) > 1 else 0
    h_low = np.minimum(x_low, 0) * (steps - 1) + x_low - slack
    h_high = np.maximum(x_high, 0) * (steps - 1) + x_high + slack
    if layer.reset == "hard":
        h_high = np.minimum(h_high, np.maximum(thresholds.max(axis=0) - 1, 0) + x_high + slack)
    elif layer.reset == "soft":
        # a soft reset of a channel with a negative threshold raises the membrane
        h_high = h_high + np.maximum(-thresholds.min(axis=0), 0) * (steps - 1)
        # and one with a positive threshold never takes it below zero
    return h_low, h_high


def _apply_bounds(layer: QuantizedLayer, steps: int, stream: LayerBounds | None) -> LayerBounds:
    """A gate takes X at most where it is, and never below 0."""
    assert stream is not None
    zero = np.zeros_like(stream.input_low)
    high = np.maximum(stream.input_high, 0)
    if layer.stateless:
        return LayerBounds(zero, zero, zero, high, stream.input_low, stream.input_high)
    h_low, h_high = membrane_bounds(layer, zero, high, steps)
    return LayerBounds(zero, zero, h_low, h_high, stream.input_low, stream.input_high)


def _window_bounds(layer: QuantizedLayer, source: TensorInfo) -> LayerBounds:
    channels = source.shape[0]
    zero = np.zeros(channels, np.int64)
    high = zero + source.max_value * layer.kernel[0] * layer.kernel[1]
    return LayerBounds(zero, high, zero, high, zero, high)


def network_bounds(net: QuantizedNetwork) -> dict[str, LayerBounds]:
    """Bounds of every layer, by name; a pool's are those of its window's sum, a stream tensor's those of the stream."""
    infos = net.tensors()
    bounds: dict[str, LayerBounds] = {}
    for layer in net.layers:
        if layer.kind == "stream":
            kept = bounds[layer.source]
            low, high = kept.input_low, kept.input_high
            bounds[layer.name] = LayerBounds(low, high, low, high, low, high)
            continue
        pixels = infos[layer.name].shape[1] * infos[layer.name].shape[2]
        kept = layer.source if layer.kind == "apply" else layer.stream
        stream = bounds[kept] if kept else None
        bounds[layer.name] = layer_bounds(layer, infos[layer.source], net.steps, pixels, stream)
    return bounds


def fits(low: IntArray, high: IntArray, width: int) -> np.ndarray:
    """Which channels fit a signed number of ``width`` bits."""
    return (low >= -(1 << (width - 1))) & (high < (1 << (width - 1)))


def bits_needed(low: IntArray, high: IntArray) -> int:
    """Smallest signed width that holds all of them."""
    largest = max(int(high.max(initial=0)), -int(low.min(initial=0)) - 1, 0)
    return largest.bit_length() + 1
