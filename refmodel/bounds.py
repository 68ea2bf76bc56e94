"""Proofs that no sum and no membrane overflows, from the integer weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .quantized import IntArray, QuantizedLayer, QuantizedNetwork


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
    layer: QuantizedLayer, max_value: int, steps: int, pixels: int, stream: LayerBounds | None = None
) -> LayerBounds:
    """Bounds of the synaptic sum and of the membrane before reset.

    ``stream``: bounds of the layer whose membrane stream is added.

    A sum is at least (negative weights) x (largest activation) and at most the positive
    ones.  A membrane starts at 0 and a leak never enlarges it (an arithmetic shift moves it
    towards 0, or by one unit past it), so after T steps it is at least T times the lowest
    input; a hard reset keeps it below the threshold between steps, which bounds it above.
    """
    assert layer.weight is not None
    flat = layer.weight.reshape(layer.weight.shape[0], -1).astype(np.int64)
    low = np.minimum(flat, 0).sum(axis=1) * max_value
    high = np.maximum(flat, 0).sum(axis=1) * max_value
    bias = layer.bias if layer.bias is not None else np.zeros(len(flat), np.int64)
    if layer.kind == "readout":
        total_low, total_high = bias + np.minimum(low * steps * pixels, 0), bias + high * steps * pixels
        return LayerBounds(low, high, total_low, total_high, low + bias, high + bias)
    current = layer.current if layer.current is not None else np.zeros(len(flat), np.int64)
    x_low = low + bias + np.minimum(current, 0)
    x_high = high + bias + np.maximum(current, 0)
    if stream is not None:
        x_low, x_high = x_low + stream.input_low, x_high + stream.input_high
    slack = 1 if len(layer.leak_shifts) > 1 else 0
    h_low = np.minimum(x_low, 0) * (steps - 1) + x_low - slack
    h_high = np.maximum(x_high, 0) * (steps - 1) + x_high + slack
    if layer.reset == "hard" and layer.threshold is not None:
        h_high = np.minimum(h_high, np.maximum(layer.threshold - 1, 0) + x_high + slack)
    elif layer.threshold is not None:
        # a soft reset of a channel with a negative threshold raises the membrane
        h_high = h_high + np.maximum(-layer.threshold, 0) * (steps - 1)
        # and one with a positive threshold never takes it below zero
    return LayerBounds(low, high, h_low, h_high, x_low, x_high)


def network_bounds(net: QuantizedNetwork) -> dict[str, LayerBounds]:
    """Bounds of every layer but the pools, by name."""
    infos = net.tensors()
    bounds: dict[str, LayerBounds] = {}
    for layer in net.layers:
        if layer.kind != "maxpool":
            pixels = infos[layer.name].shape[1] * infos[layer.name].shape[2]
            stream = bounds[layer.stream] if layer.stream else None
            bounds[layer.name] = layer_bounds(layer, infos[layer.source].max_value, net.steps, pixels, stream)
    return bounds


def fits(low: IntArray, high: IntArray, width: int) -> np.ndarray:
    """Which channels fit a signed number of ``width`` bits."""
    return (low >= -(1 << (width - 1))) & (high < (1 << (width - 1)))


def bits_needed(low: IntArray, high: IntArray) -> int:
    """Smallest signed width that holds all of them."""
    largest = max(int(high.max(initial=0)), -int(low.min(initial=0)) - 1, 0)
    return largest.bit_length() + 1
