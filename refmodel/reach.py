"""Reach: the least and greatest value every channel of an integer network can have, by proof.

Channel by channel, where :mod:`refmodel.bounds` takes one range for a whole tensor: a channel that
can never spike counts as 0 in the layers that read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .quantized import INPUT, LEAK_SHIFTS, IntArray, QuantizedLayer, QuantizedNetwork, bits_range

_LEAK_UNITS = 1 << LEAK_SHIFTS[-1]


@dataclass(frozen=True)
class ChannelReach:
    """Ranges of one layer's channels ``[C]``: its tensor, how many of its levels can fire, and X before the neurons."""

    low: IntArray
    high: IntArray
    fired: IntArray
    input_low: IntArray
    input_high: IntArray

    @property
    def silent(self) -> NDArray[np.bool_]:
        """Channels of the tensor that are 0 at all times."""
        return (self.low == 0) & (self.high == 0)


def channel_reach(net: QuantizedNetwork) -> dict[str, ChannelReach]:
    """Reach of the input and of every layer of a legal network, by name."""
    low, high = bits_range(net.input.bits, net.input.signed)
    zero = np.zeros(net.input.shape[0], np.int64)
    known = {INPUT: ChannelReach(zero + low, zero + high, zero, zero, zero)}
    for layer in net.layers:
        known[layer.name] = _layer_reach(layer, known, net.steps)
    return known


def _layer_reach(layer: QuantizedLayer, known: dict[str, ChannelReach], steps: int) -> ChannelReach:
    source = known[layer.source]
    zero = np.zeros_like(source.low)
    if layer.kind == "stream":
        low, high = source.input_low >> layer.shift, source.input_high >> layer.shift
        return ChannelReach(low, high, zero, low, high)
    taps = layer.kernel[0] * layer.kernel[1]
    if layer.kind in ("maxpool", "sumpool"):
        high = source.high * (taps if layer.kind == "sumpool" else 1)
        return ChannelReach(zero, high, zero, zero, high)
    if layer.kind == "apply":
        low, high = source.input_low, source.input_high
    elif layer.kind == "window":
        low, high = zero, source.high * taps
    else:
        low, high = _inputs(layer, known)
    if layer.kind == "readout" or not layer.spikes:
        return ChannelReach(low * 0, low * 0, low * 0, low, high)
    driven = np.maximum(high, 0) if layer.rectify or layer.attention is not None else high
    assert layer.threshold is not None
    thresholds = layer.threshold[None] if layer.levels is None else np.vstack([layer.threshold[None], layer.levels])
    fired = (_highest_membrane(layer, driven, steps) >= thresholds).sum(axis=0)
    value = fired
    if layer.combine != "pass" and layer.shortcut is not None:
        value = _combined(layer.combine, fired, known[layer.shortcut].high)
    return ChannelReach(value * 0, value, fired, low, high)


def _inputs(layer: QuantizedLayer, known: dict[str, ChannelReach]) -> tuple[IntArray, IntArray]:
    """Range of X = conv(source) + bias + current where the shortcut spikes + stream; padding reads 0."""
    assert layer.weight is not None
    weight = layer.weight.astype(np.int64)
    positive, negative = np.maximum(weight, 0).sum(axis=(2, 3)), np.minimum(weight, 0).sum(axis=(2, 3))
    least, most = np.minimum(known[layer.source].low, 0), np.maximum(known[layer.source].high, 0)
    low, high = positive @ least + negative @ most, positive @ most + negative @ least
    if layer.bias is not None:
        low, high = low + layer.bias, high + layer.bias
    if layer.current is not None and layer.shortcut is not None:
        driven = layer.current * known[layer.shortcut].high
        low, high = low + np.minimum(driven, 0), high + np.maximum(driven, 0)
    if layer.stream is not None:
        low, high = low + known[layer.stream].input_low, high + known[layer.stream].input_high
    return low, high


def _highest_membrane(layer: QuantizedLayer, driven: IntArray, steps: int) -> IntArray:
    """Greatest H of neurons that have not fired yet: a neuron fires at all only if this reaches its threshold."""
    highest = membrane = driven
    if not layer.stateless and layer.kind != "window":
        for _ in range(steps - 1):
            membrane = _leaked(layer, membrane) + driven
            highest = np.maximum(highest, membrane)
    return highest


def _leaked(layer: QuantizedLayer, membrane: IntArray) -> IntArray:
    """Greatest leak(V) of any V up to ``membrane``: V >> a is at least (V - 2^a + 1) / 2^a."""
    if layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        return (membrane * factor) >> bits
    kept, rounding = _LEAK_UNITS, 0
    for shift in layer.leak_shifts:
        kept -= _LEAK_UNITS >> shift
        rounding += _LEAK_UNITS - (_LEAK_UNITS >> shift)
    return (membrane * kept + rounding) // _LEAK_UNITS


def _combined(combine: str, fired: IntArray, shortcut: IntArray) -> IntArray:
    """Greatest g(A, S)."""
    if combine == "add":
        return fired + shortcut
    return {"and": np.minimum(fired, shortcut), "or": np.maximum(fired, shortcut), "iand": shortcut}[combine]
