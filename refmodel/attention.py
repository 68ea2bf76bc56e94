"""SynA attention (SynA-ResNet): the gates of a layer's time steps or channels, in floats and in integers.

On the backbone (MA, between batch norm and neuron) X' = relu(gate * X), gate = sigmoid(score); on a
shortcut (IA) the score drives a LIF instead, whose spikes are the gates.  The scores are
MLP(mean X) + MLP(max X), MLP(v) = second @ relu(first @ v): along the time axis mean and maximum go
over C, H, W and the MLP works on the T steps, along the channel axis over T, H, W and on the C channels.

X is ``[N, T, C, H, W]`` throughout.  A is the number of steps or channels, R that of hidden values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .layers import FloatArray, Neuron
from .quantized import IntArray

Axis = Literal["time", "channel"]
Kind = Literal["sigmoid", "lif"]

#: A gate of 1: gates are 0 to 256, of 9 bits.
GATE_ONE = 256
GATE_BITS = 9

#: Bits of a weight, a pooled operand, a hidden value and a LIF's membrane, all signed.
OPERAND_BITS = 16
OPERAND_MAX = (1 << (OPERAND_BITS - 1)) - 1

#: A unit of the table's index is 1 / TABLE_STEPS of score; the table reaches TABLE_SIZE units from 0.
TABLE_STEPS = 64
TABLE_SIZE = 512

#: Largest shift of an integer attention.
MAX_SHIFT = 63


def _sigmoid_table() -> tuple[int, ...]:
    middles = (np.arange(TABLE_SIZE) + 0.5) / TABLE_STEPS
    return tuple(int(value) for value in np.round(GATE_ONE / (1.0 + np.exp(-middles))) - GATE_ONE // 2)


#: Entry i: 256 * sigmoid((i + 0.5) / 64) - 128, rounded: 8 bits.  The gate of a negative score is 256 minus
#: that of its mirror image.
SIGMOID_TABLE = _sigmoid_table()


@dataclass(frozen=True, eq=False)
class Attention:
    """A layer's attention in floats: first ``[R, A]``, second ``[A, R]``; without ``neuron`` a sigmoid.

    Along the time axis ``neuron`` steps from score to score; along the channel axis each channel's
    neuron takes one step from rest.  Raises NetworkError.
    """

    axis: Axis
    first: FloatArray
    second: FloatArray
    neuron: Neuron | None = None

    def __post_init__(self) -> None:
        if self.axis not in ("time", "channel"):
            raise NetworkError(f"attention: axis must be 'time' or 'channel', not {self.axis!r}")
        for option in ("first", "second"):
            object.__setattr__(self, option, np.array(getattr(self, option), dtype=np.float64))
        _check_shapes(self.first, self.second)
        if not (np.isfinite(self.first).all() and np.isfinite(self.second).all()):
            raise NetworkError("attention: weights have NaN or infinite values; was the training stable?")
        if self.neuron is not None and (self.neuron.reset != "hard" or self.neuron.levels):
            raise NetworkError("attention: its LIF has a hard reset and one threshold; use reset='hard', levels=()")

    @property
    def kind(self) -> Kind:
        return "sigmoid" if self.neuron is None else "lif"

    @property
    def size(self) -> int:
        """A."""
        return self.second.shape[0]


def _check_shapes(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.ndim != 2 or second.shape != first.shape[::-1] or not first.size:
        raise NetworkError(
            f"attention: weights must be first [R, A] and second [A, R], not {list(first.shape)}, {list(second.shape)}"
        )


def pool(x: NDArray[Any], axis: Axis) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum and maximum over the other axes, ``[N, A]`` each; of integers in int64, so exact."""
    others = (2, 3, 4) if axis == "time" else (1, 3, 4)
    total = x.sum(axis=others, dtype=np.int64 if x.dtype.kind in "iub" else np.float64)
    return total, x.max(axis=others).astype(total.dtype)


def scores(x: NDArray[Any], attention: Attention) -> FloatArray:
    """MLP(mean X) + MLP(max X), ``[N, A]``."""
    total, largest = pool(np.asarray(x, np.float64), attention.axis)
    _demand_size(total.shape[1], attention.size, attention.axis)
    mean = total * (attention.size / x[0].size)
    hidden = sum(np.maximum(values @ attention.first.T, 0.0) for values in (mean, largest))
    return hidden @ attention.second.T


def gates(x: NDArray[Any], attention: Attention) -> FloatArray:
    """Gates ``[N, A]``: 0 to 1 of a sigmoid, 0 or 1 of a LIF."""
    values = scores(x, attention)
    if attention.neuron is None:
        return np.exp(-np.logaddexp(0.0, -values))
    return lif_gates(values, attention)[0]


def lif_gates(values: FloatArray, attention: Attention) -> tuple[FloatArray, FloatArray]:
    """Gates and H - threshold, the membranes' distance from firing, of the scores ``[N, A]`` of a LIF."""
    neuron = attention.neuron
    assert neuron is not None
    gain = 1.0 / neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    fired, margin = np.zeros_like(values), np.zeros_like(values)
    membrane = np.full(len(values), neuron.v_reset)
    for index in range(values.shape[1]):
        if attention.axis == "channel":
            membrane = np.full(len(values), neuron.v_reset)
        rest = 0.0 if neuron.kind == "step" else neuron.v_reset + neuron.leak * (membrane - neuron.v_reset)
        membrane = rest + gain * values[:, index]
        margin[:, index] = membrane - neuron.threshold
        spikes = membrane >= neuron.threshold if neuron.fire == "ge" else membrane > neuron.threshold
        fired[:, index] = spikes
        membrane = np.where(spikes, neuron.v_reset, membrane)
    return fired, margin


def gated(x: NDArray[Any], gate: FloatArray, axis: Axis) -> FloatArray:
    """X' = relu(gate * X); gate ``[N, A]``."""
    return np.maximum(x * _along(gate, axis), 0.0)


def _along(gate: NDArray[Any], axis: Axis) -> NDArray[Any]:
    """``[N, A]`` as ``[N, T, 1, 1, 1]`` or ``[N, 1, C, 1, 1]``."""
    return gate[:, :, None, None, None] if axis == "time" else gate[:, None, :, None, None]


def _demand_size(found: int, wanted: int, axis: Axis) -> None:
    if found != wanted:
        what = "steps" if axis == "time" else "channels"
        raise NetworkError(f"attention: made for {wanted} {what}, but X has {found}")


@dataclass(frozen=True, eq=False)
class IntegerAttention:
    """A layer's attention in integers; all channels of X share one unit.

    With S and M the sum and the maximum of X over the pooled axes (shifts are arithmetic)::

        hidden[r] = (relu(sum_a first_average[r, a] * (S[a] >> average_shift)) >> hidden_average_shift)
                  + (relu(sum_a first_max[r, a] * (M[a] >> max_shift)) >> hidden_max_shift)
        H[a] = (leak * V + sum_r second[a, r] * hidden[r]) >> score_shift

    sigmoid: the gate is that of :data:`SIGMOID_TABLE` at H, limited to its ends.  lif: the gate is 256
    where H >= threshold, else 0; V is 0 before the first H and after one that fired, else the H before.
    ``leak`` is 0 where each step or channel starts from rest.

    unit: float value of one unit of H; score_error: bound of |H * unit - its float value| for any X the
    attention was made for, of a LIF as long as its gates so far are the float ones.  A LIF with decaying
    input counts H times tau, and all count it from v_reset.  Both are for reports only.
    """

    axis: Axis
    kind: Kind
    first_average: IntArray
    first_max: IntArray
    second: IntArray
    average_shift: int = 0
    max_shift: int = 0
    hidden_average_shift: int = 0
    hidden_max_shift: int = 0
    score_shift: int = 0
    leak: int = 0
    threshold: int = 0
    unit: float = 0.0
    score_error: float = 0.0

    def __post_init__(self) -> None:
        if self.axis not in ("time", "channel") or self.kind not in ("sigmoid", "lif"):
            raise NetworkError(f"attention: unknown axis {self.axis!r} or kind {self.kind!r}")
        for option in ("first_average", "first_max", "second"):
            values = np.asarray(getattr(self, option))
            if values.dtype.kind not in "iu" or np.abs(values).max(initial=0) > OPERAND_MAX:
                raise NetworkError(f"attention: {option} must be integers of -{OPERAND_MAX} to {OPERAND_MAX}")
            object.__setattr__(self, option, values.astype(np.int64))
        _check_shapes(self.first_average, self.second)
        _check_shapes(self.first_max, self.second)
        for name, shift in zip(SHIFTS, self.shifts, strict=True):
            if not 0 <= shift <= MAX_SHIFT:
                raise NetworkError(f"attention: {name} must be 0 to {MAX_SHIFT}, not {shift}")
        for name in ("leak", "threshold"):
            if abs(getattr(self, name)) > OPERAND_MAX:
                raise NetworkError(f"attention: {name} must be -{OPERAND_MAX} to {OPERAND_MAX}")
        if self.leak < 0 or (self.kind == "sigmoid" and self.leak):
            raise NetworkError(f"attention: a leak is positive, and a sigmoid has none; use leak=0, not {self.leak}")

    @property
    def size(self) -> int:
        """A."""
        return self.second.shape[0]

    @property
    def hidden(self) -> int:
        """R."""
        return self.second.shape[1]

    @property
    def shifts(self) -> tuple[int, ...]:
        """The five shifts in the order in which they are used."""
        return tuple(getattr(self, name) for name in SHIFTS)

    @property
    def gate_error(self) -> float:
        """Bound of |gate / 256 - float gate| of a sigmoid: the score's error, its step in the table, rounding."""
        return self.score_error / 4 + 1 / (8 * TABLE_STEPS) + 1 / (2 * GATE_ONE)

    @property
    def margin(self) -> float:
        """A LIF's gate is the float one where the float H (see above) is further than this from the threshold."""
        return self.score_error + self.unit


#: The shifts of an :class:`IntegerAttention` in the order in which they are used.
SHIFTS = ("average_shift", "max_shift", "hidden_average_shift", "hidden_max_shift", "score_shift")


def integer_gates(x: NDArray[np.integer[Any]], attention: IntegerAttention) -> IntArray:
    """Gates ``[N, A]``, 0 to 256, of integers X ``[N, T, C, H, W]``."""
    return gates_of_pools(*pool(x, attention.axis), attention)


def gates_of_pools(total: IntArray, largest: IntArray, attention: IntegerAttention) -> IntArray:
    """Gates ``[N, A]`` of the sums and maxima ``[N, A]`` of X."""
    _demand_size(total.shape[1], attention.size, attention.axis)
    at = attention
    average = np.maximum((total >> at.average_shift) @ at.first_average.T, 0) >> at.hidden_average_shift
    peak = np.maximum((largest >> at.max_shift) @ at.first_max.T, 0) >> at.hidden_max_shift
    sums = (average + peak) @ at.second.T
    if at.kind == "sigmoid":
        return sigmoid_gates(sums >> at.score_shift)
    result = np.zeros_like(sums)
    membrane = np.zeros(len(sums), np.int64)
    for index in range(at.size):
        membrane = (at.leak * membrane + sums[:, index]) >> at.score_shift
        fires = membrane >= at.threshold
        result[:, index] = fires * GATE_ONE
        membrane = membrane * ~fires
    return result


def sigmoid_gates(index: IntArray) -> IntArray:
    """Gates of scores in units of 1 / TABLE_STEPS."""
    magnitude = np.minimum(index ^ (index >> 63), TABLE_SIZE - 1)
    value = np.array(SIGMOID_TABLE, np.int64)[magnitude]
    return np.where(index < 0, -value, value) + GATE_ONE // 2


def apply_gates(x: NDArray[np.integer[Any]], gate: IntArray, axis: Axis) -> IntArray:
    """X' = relu((X * gate) >> 8), ``[N, T, C, H, W]`` int64; gate ``[N, A]``, 0 to 256."""
    return np.maximum((x.astype(np.int64) * _along(gate, axis)) >> (GATE_BITS - 1), 0)
