"""Neurons of NIR, in continuous time, as neurons in steps of dt (explicit Euler).

IF:  v' = r I, so V += r dt I.  LIF: tau v' = (v_leak - v) + r I, so V += (v_leak - V + r I) / k, k = tau / dt.
Threshold: S = [I > threshold].  A membrane may be measured in any unit, and each channel in its own: V' = a V takes
a r I where V takes r I, and fires at a threshold.  Here a is chosen so that a layer has one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import ImportRefused, NetworkError
from ..layers import FloatArray, Neuron
from .nir_nodes import Spiking

#: Relative difference below which parameters count as equal: float32 files differ by 1e-7.
SAME = 1e-6

IfR = Literal["unit", "scaled"]


@dataclass(frozen=True)
class Timing:
    """How continuous time is read: step ``dt`` in seconds, what IF's r means, and the neuron's conventions."""

    dt: float
    if_r: IfR
    fire: Literal["gt", "ge"]
    reset: Literal["hard", "soft"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A layer's neuron; its input is ``gain`` * I + ``bias``, both ``[C]``, None for 1 and 0."""

    neuron: Neuron
    gain: FloatArray | None
    bias: FloatArray | None


def discretise(node: Spiking, timing: Timing) -> Cell:
    """The neuron that ``node`` is in steps; raises ImportRefused, which names it."""
    where = f"node {node.name!r}"
    threshold = _by_channel(where, "v_threshold" if node.kind != "step" else "threshold", node.threshold)
    if threshold.min() <= 0:
        raise ImportRefused(f"{where}: its threshold must be positive, not {threshold.min()!r}")
    ones = np.ones_like(threshold)
    reset = ones * 0 if node.reset is None else _by_channel(where, "v_reset", node.reset)
    r = ones if node.r is None else _by_channel(where, "r", node.r)
    if r.min() <= 0:
        raise ImportRefused(f"{where}: r must be positive, not {r.min()!r}; put the sign into the weights")
    if node.kind != "lif":
        charge = r * timing.dt if node.kind == "if" and timing.if_r == "scaled" else ones
        return _cell(where, node.kind, threshold, _snapped(charge), reset, None, timing)
    assert node.tau is not None and node.leak is not None
    k = _snapped(_by_channel(where, "tau", node.tau) / timing.dt)
    if k.min() < 1 - SAME:
        raise ImportRefused(
            f"{where}: tau={node.tau.min():g} is shorter than the step dt={timing.dt:g}; use a smaller dt"
        )
    if np.ptp(k) > 0:
        raise ImportRefused(f"{where}: tau differs between its channels ({k.min():g} to {k.max():g} steps); use one")
    steps, leak = float(k[0]), _by_channel(where, "v_leak", node.leak)
    if steps <= 1:
        # V = v_leak + r I: nothing of the membrane is left after a step
        return _cell(where, "step", threshold, r, ones * 0, leak if leak.any() else None, timing)
    decaying = not np.allclose(r, steps, rtol=SAME, atol=0)
    offset = leak - reset if decaying else (leak - reset) / steps
    return _cell(
        where, "lif", threshold, r if decaying else ones, reset, offset if offset.any() else None, timing,
        tau=steps, decay_input=decaying,
    )  # fmt: skip


def _cell(
    where: str,
    kind: Literal["if", "lif", "step"],
    threshold: FloatArray,
    charge: FloatArray,
    reset: FloatArray,
    offset: FloatArray | None,
    timing: Timing,
    **options: Any,
) -> Cell:
    """V' = a V with one threshold for all channels; ``charge`` * I + ``offset`` is what V integrates."""
    ratio = threshold / charge
    if np.ptp(ratio) <= SAME * ratio.max():
        # the threshold takes the charge, the synapses stay as they are
        unit, gain = 1 / charge, None
        level = float(ratio[0])
    else:
        unit, level = threshold[0] / threshold, float(threshold[0])
        gain = charge * unit
    base = reset * unit
    if np.ptp(base) > SAME * max(1.0, float(np.abs(base).max())):
        raise ImportRefused(f"{where}: v_reset differs between its channels; use one for the layer")
    if timing.reset == "soft" and base[0] != 0 and kind != "step":
        raise ImportRefused(f"{where}: a soft reset has no v_reset, but the node's is {reset[0]:g}; use reset hard")
    try:
        neuron = Neuron(
            kind, threshold=level, v_reset=float(base[0]), fire=timing.fire,
            reset="hard" if kind == "step" else timing.reset, **options,
        )  # fmt: skip
    except NetworkError as error:
        raise ImportRefused(f"{where}: {str(error).removeprefix('neuron: ')}") from None
    return Cell(neuron, gain, None if offset is None else offset * unit)


def _by_channel(where: str, key: str, values: FloatArray) -> FloatArray:
    """``[C]`` from ``[C, H, W]``; refuses what differs between the pixels of a channel."""
    rows = values.reshape(len(values), -1)
    if (np.ptp(rows, axis=1) > SAME * np.abs(rows).max(axis=1)).any():
        raise ImportRefused(f"{where}: {key} differs between the pixels of a channel; use one value for each channel")
    return _one(rows[:, 0])


def _one(values: FloatArray) -> FloatArray:
    """Values within rounding of each other, made equal."""
    return np.full_like(values, values[0]) if np.ptp(values) <= SAME * np.abs(values).max() else values


def _snapped(values: FloatArray) -> FloatArray:
    """Quotients and products of times that are integers but for rounding, made integers."""
    near = np.round(values)
    return np.where((near != 0) & (np.abs(values - near) <= SAME * np.abs(near)), near, values)
