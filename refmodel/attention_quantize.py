"""Quantising an attention: weights, shifts and thresholds of 16 bits, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import MAX_SHIFT, OPERAND_MAX, TABLE_STEPS, Attention, IntegerAttention
from .errors import NetworkError
from .layers import FloatArray
from .quantize_layers import integer_threshold
from .quantized import IntArray

#: Least and most fraction bits of a LIF's leak.
LEAK_BITS = (8, 14)

#: What the first choice of a unit leaves for rounding, in integer units.
_SPARE = 8


def quantize_attention(attention: Attention, *, unit: float, low: int, high: int, count: int) -> IntegerAttention:
    """The attention on integers X of ``low`` to ``high``, float X = ``unit`` * X in all channels.

    count: values that a sum goes over: C * H * W along the time axis, T * H * W along the channel axis;
    the mean's 1 / ``count`` is part of the weights.  Raises NetworkError.
    """
    if not (math.isfinite(unit) and unit > 0 and low <= high and count >= 1):
        raise NetworkError(
            f"attention: needs unit > 0, low <= high and count >= 1, not unit={unit!r}, {low} to {high}, count={count}"
        )
    pools = [_pool(attention.first, unit / count, low * count, high * count), _pool(attention.first, unit, low, high)]
    layer = _hidden_layer(pools)
    options = _sigmoid(attention, layer) if attention.neuron is None else _lif(attention, layer)
    made = IntegerAttention(
        axis=attention.axis,
        kind=attention.kind,
        first_average=layer.weights[0],
        first_max=layer.weights[1],
        average_shift=pools[0].shift,
        max_shift=pools[1].shift,
        hidden_average_shift=layer.shifts[0],
        hidden_max_shift=layer.shifts[1],
        **options,
    )
    demand_ranges(made, low, high, count)
    return made


def demand_ranges(attention: IntegerAttention, low: int, high: int, count: int) -> None:
    """Prove that no operand leaves 16 bits for any X of ``low`` to ``high``; raises NetworkError.

    Sums of their products, at most 256, then fit 39 bits.
    """
    at = attention
    sums = (low * count) >> at.average_shift, (high * count) >> at.average_shift
    peaks = low >> at.max_shift, high >> at.max_shift
    _demand(*sums, "the shifted sum of X")
    _demand(*peaks, "the shifted maximum of X")
    hidden = (_reach(at.first_average, *sums) >> at.hidden_average_shift) + (
        _reach(at.first_max, *peaks) >> at.hidden_max_shift
    )
    _demand(0, int(hidden.max()), "a hidden value")
    if at.kind == "lif":
        _demand(*_membrane_range(at.second, hidden, at.leak, at.score_shift, at.threshold), "a membrane")


def _membrane_range(second: IntArray, hidden: IntArray, leak: int, shift: int, threshold: int) -> tuple[int, int]:
    """Least and largest H of a LIF, for hidden values up to ``hidden`` ``[R]``."""
    below, above = int((np.minimum(second, 0) @ hidden).min()), int((np.maximum(second, 0) @ hidden).max())
    lowest = highest = least = most = 0
    for _ in range(len(second) if leak else 1):
        least, most = (leak * least + below) >> shift, (leak * most + above) >> shift
        lowest, highest = min(lowest, least), max(highest, most)
        least, most = min(least, 0), max(0, min(most, threshold - 1))
    return lowest, highest


def _demand(least: int, most: int, what: str) -> None:
    if not -OPERAND_MAX - 1 <= least <= most <= OPERAND_MAX:
        raise NetworkError(
            f"attention: {what} may be {least} to {most}, more than 16 bits; use larger shifts or smaller weights"
        )


def _reach(weight: Any, low: int, high: int) -> Any:
    """Largest relu(weight @ v) of each row for values v of ``low`` to ``high``."""
    return np.maximum(np.maximum(weight * low, weight * high).sum(axis=1), 0)


@dataclass(frozen=True)
class _Pooled:
    """Sums or maxima, shifted to ``low`` to ``high``, and what the first layer's weights are for these."""

    shift: int
    low: int
    high: int
    weight: FloatArray

    @property
    def peak(self) -> float:
        return float(np.abs(self.weight).max())

    def error(self, used: NDArray[Any]) -> FloatArray:
        """Bound of each row's error where weights ``used`` take the place of the exact ones."""
        largest = max(abs(self.low), abs(self.high))
        dropped = np.abs(self.weight).sum(axis=1) if self.shift else 0.0
        return np.abs(used - self.weight).sum(axis=1) * largest + dropped


def _pool(first: FloatArray, unit: float, low: int, high: int) -> _Pooled:
    shift = 0
    while low >> shift < -OPERAND_MAX - 1 or high >> shift > OPERAND_MAX:
        shift += 1
    return _Pooled(shift, low >> shift, high >> shift, first * (unit * 2.0**shift))


@dataclass(frozen=True)
class _Hidden:
    """The first layer: weights and shifts of both pools; unit, largest value and error (a float) of hidden values."""

    weights: list[IntArray]
    shifts: list[int]
    unit: float
    largest: IntArray
    error: FloatArray


def _hidden_layer(pools: list[_Pooled]) -> _Hidden:
    exact = sum(_reach(pool.weight, pool.low, pool.high) for pool in pools)
    unit = max(float(np.max(exact)) / (OPERAND_MAX - _SPARE), *(pool.peak / OPERAND_MAX for pool in pools))
    unit = unit or 1.0  # no weights at all
    while True:
        shifts = [_scale_bits(OPERAND_MAX * unit, pool.peak) for pool in pools]
        weights = [_round(pool.weight * (2.0**s / unit)) for pool, s in zip(pools, shifts, strict=True)]
        largest = sum(
            _reach(weight, pool.low, pool.high) >> s for pool, weight, s in zip(pools, weights, shifts, strict=True)
        )
        if int(np.max(largest)) <= OPERAND_MAX:
            break
        unit *= 1.0005
    error = sum(
        pool.error(weight * (unit / 2.0**s)) + (unit if s else 0.0)
        for pool, weight, s in zip(pools, weights, shifts, strict=True)
    )
    return _Hidden(weights, shifts, unit, np.asarray(largest), np.asarray(error))


def _second_layer(second: FloatArray, layer: _Hidden, scale: float) -> tuple[IntArray, FloatArray]:
    """Weights of ``scale`` units to 1, and the error of each score in floats."""
    weight = _round(second * scale)
    return weight, np.abs(weight / scale - second) @ (layer.largest * layer.unit) + np.abs(second) @ layer.error


def _sigmoid(attention: Attention, layer: _Hidden) -> dict[str, Any]:
    """The score in the table's unit, so that one table serves all layers."""
    peak = float(np.abs(attention.second).max())
    steepest = peak * layer.unit * TABLE_STEPS  # table units that one unit of a hidden value is worth
    if steepest > OPERAND_MAX:
        raise NetworkError(
            f"attention: second-layer weights reach {peak:g}, so that one unit of a hidden value moves a score by "
            f"{steepest / TABLE_STEPS:g}: its gate would have no precision; scale the weights down"
        )
    shift = _scale_bits(OPERAND_MAX, steepest)
    weight, error = _second_layer(attention.second, layer, 2.0**shift * layer.unit * TABLE_STEPS)
    return {"second": weight, "score_shift": shift, "unit": 1 / TABLE_STEPS, "score_error": float(error.max())}


def _lif(attention: Attention, layer: _Hidden) -> dict[str, Any]:
    """Threshold and membrane in a unit that holds the worst case in 16 bits.

    H' = leak * V' + score with V' = tau * (V - v_reset), or V - v_reset where the input does not decay.
    """
    neuron = attention.neuron
    assert neuron is not None
    leak = neuron.leak if attention.axis == "time" else 0.0
    threshold = (neuron.threshold - neuron.v_reset) * (neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1)
    largest = layer.largest * layer.unit
    growth = sum(leak**step for step in range(attention.size if leak else 1))
    highest = leak * threshold + float((np.maximum(attention.second, 0) @ largest).max())
    lowest = float((np.minimum(attention.second, 0) @ largest).min()) * growth
    reach = max(highest, -lowest)
    steepest = float(np.abs(attention.second).max()) * layer.unit
    unit = reach / (OPERAND_MAX - _SPARE)
    unit = max(unit, steepest * 2.0 ** (LEAK_BITS[0] if leak else 0) / OPERAND_MAX) or 1.0
    while True:
        shift = _scale_bits(OPERAND_MAX * unit, steepest)
        shift = min(shift, LEAK_BITS[1]) if leak else shift
        weight, error = _second_layer(attention.second, layer, 2.0**shift / unit * layer.unit)
        factor = round(leak * 2.0**shift)
        # one that no membrane reaches may lie at the top, since that is above every membrane
        whole = int(min(integer_threshold(np.array([threshold / unit]), neuron.fire)[0], OPERAND_MAX))
        least, most = _membrane_range(weight, layer.largest, factor, shift, whole)
        if least >= -OPERAND_MAX and most < OPERAND_MAX:
            break
        unit *= 1.0005
    drift = abs(factor / 2.0**shift - leak) * reach + (unit if shift else 0.0)
    return {
        "second": weight, "score_shift": shift, "leak": factor, "threshold": whole,
        "unit": unit, "score_error": (float(error.max()) + drift) * growth,
    }  # fmt: skip


def _scale_bits(room: float, peak: float) -> int:
    """Largest s, from 0 to MAX_SHIFT, with peak * 2**s <= room; 0 where nothing is to be scaled."""
    return 0 if peak == 0 else max(0, min(MAX_SHIFT, math.floor(math.log2(room / peak))))


def _round(values: FloatArray) -> IntArray:
    return np.round(values).astype(np.int64)
