"""Ties: a bias or a shortcut's current at the threshold, whose integers must not fall on its other side.

A shortcut's current is often exactly its threshold: 1.0 against 1.0 in Spiking ResNet, so that a lone
shortcut spike fires.  Rounded apart, the current to the nearest integer and the threshold up, it would
fire only in the channels where both happen to meet.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .layers import FloatArray
from .quantized import IntArray

#: Values this close (relatively) are the same: float noise decides no spike.
TIE = 1e-9


def ties(values: FloatArray, thresholds: FloatArray) -> NDArray[np.bool_]:
    """Which ``values`` ``[C]`` equal which of the ``thresholds`` ``[K]``: ``[K, C]``."""
    return np.abs(values - thresholds[:, None]) <= TIE * np.abs(thresholds[:, None])


def tied_channels(bias: FloatArray, current: float | None, thresholds: FloatArray) -> NDArray[np.bool_]:
    """Channels ``[C]`` whose bias, current or bias + current equals a threshold."""
    drives = [bias] if current is None else [bias, np.full_like(bias, current), bias + current]
    return np.any([ties(drive, thresholds).any(axis=0) for drive in drives], axis=0)


def order_kept(
    exact: FloatArray, whole: IntArray, thresholds: FloatArray, firing: IntArray, fire: Literal["ge", "gt"]
) -> IntArray:
    """``whole`` ``[C]`` moved to where it fires the levels that ``exact`` ``[C]`` fires, and no others.

    ``thresholds`` ``[K]``, ascending: of ``exact``; ``firing`` ``[K, C]``: the smallest integers that fire.  A value
    rounded to nearest moves by at most one unit.
    """
    same = ties(exact, thresholds)
    fires = (exact > thresholds[:, None]) & ~same if fire == "gt" else (exact > thresholds[:, None]) | same
    for level, fired in zip(firing[::-1], fires[::-1], strict=True):
        whole = np.where(fired, whole, np.minimum(whole, level - 1))
    for level, fired in zip(firing, fires, strict=True):
        whole = np.where(fired, np.maximum(whole, level), whole)
    return whole


def in_order(
    exact: tuple[FloatArray, float | None],
    whole: tuple[IntArray, IntArray | None],
    thresholds: FloatArray,
    firing: IntArray,
    fire: Literal["ge", "gt"],
) -> tuple[IntArray, IntArray | None]:
    """Rounded bias and current ``[C]``, ``whole``, moved by at most one unit to keep the order of ``exact``.

    A bias and a current that equal a threshold stand at its integer: the first that fires for ``ge``, the last that
    does not for ``gt``.  Bias + current, what a lone shortcut spike gives, fires alone exactly when it does in floats.
    ``thresholds``, ``firing``: as of :func:`order_kept`.
    """
    last = firing if fire == "ge" else firing - 1

    def at_ties(values: FloatArray, rounded: IntArray) -> IntArray:
        same = ties(values, thresholds)
        return np.where(same.any(axis=0), np.take_along_axis(last, same.argmax(axis=0)[None], axis=0)[0], rounded)

    bias = at_ties(exact[0], whole[0])
    if exact[1] is None or whole[1] is None:
        return bias, whole[1]
    current = at_ties(np.full_like(exact[0], exact[1]), whole[1])
    together = at_ties(exact[0] + exact[1], bias + current)
    return bias, order_kept(exact[0] + exact[1], together, thresholds, firing, fire) - bias
