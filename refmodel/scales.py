"""Scales: the float value of one integer unit, for each channel of a layer.

A scale suits a channel's largest weight, and is enlarged until every limit holds: that of synaptic
sums, of bias and current, of thresholds and of kept membrane streams.  It may be made smaller than
the largest weight needs, which is then clipped, so that all others are rounded more finely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .layers import FloatArray
from .quantized import IntArray, TensorInfo
from .ties import TIE

#: How a channel's largest weight decides its scale; see :func:`refmodel.quantize.quantize`.
Clip = Literal["none", "mse"]

#: What a scale is tried to be multiplied by, where weights may be clipped.
CLIPS = tuple(round(0.95 - 0.05 * step, 2) for step in range(11))

#: No scale is smaller, so that every division stays finite.
_SMALLEST = 1e-300
#: Channels without weights resolve bias and threshold to so many units.
_FREE_UNITS = 4095
#: Synapses count as none where over all steps they move a membrane by less than this part of its threshold or bias:
#: they round to 0 with the scale of a channel without weights.
NEGLIGIBLE = 1 / (2 * (_FREE_UNITS + 1))
#: Rounding can put a sum a little above its share: limits are approached in steps with this margin.
_MARGIN = 1.0005


@dataclass(frozen=True)
class ScaleOptions:
    """How large integers may get; see :func:`refmodel.quantize.quantize`.

    bits: of each layer with weights; steps: T.
    """

    bits: Mapping[str, int]
    scale: Literal["max", "unit"]
    max_sum: int | None
    max_threshold: int
    max_stream: int | None
    steps: int = 1
    clip: Clip = "none"

    def largest_weight(self, name: str) -> int:
        """The largest weight that layer ``name`` may have."""
        return (1 << (self.bits[name] - 1)) - 1

    @property
    def sum_limits(self) -> str:
        """The limits of sums that are set, for errors."""
        named = {"max_sum": self.max_sum, "max_stream": self.max_stream}
        return " or ".join(f"{name}={value}" for name, value in named.items() if value is not None)

    @property
    def largest_bias(self) -> float:
        """Bound of bias / s: 1 less than max_sum, since bias and current are rounded apart and added."""
        if self.max_sum is None:
            return 2.0**40
        return float(self.max_sum) if self.scale == "unit" else max(self.max_sum - 1, 0.5)


@dataclass(frozen=True, eq=False)
class Drive:
    """What a layer's scales must suit, in float units, for its C channels.

    rows ``[C, R, inputs]``: the weights of the R sums that share a channel's scale (a readout's
    classes are the rows of one channel); source: range of the integers they multiply; largest: the
    largest integer weight.  limited ``[C]``: magnitude that obeys max_sum (bias, current and their
    sum); threshold ``[C]``: the highest, 0 without neurons.  moments ``[inputs]``: mean squares of the
    integers that the weights multiply, 1 if nobody measured them.  fixed ``[C]``: channels that fire at
    no step or at every step, whatever their source does: their weights may be lost.
    """

    name: str
    rows: FloatArray
    source: TensorInfo
    largest: int
    limited: FloatArray
    threshold: FloatArray
    moments: FloatArray
    fixed: NDArray[np.bool_]

    def whole(self, units: FloatArray) -> IntArray:
        """The integers of all rows with the scales ``units`` ``[C]``."""
        return whole_weights(self.rows, units[:, None, None], self.largest)


def whole_weights(weight: FloatArray, units: FloatArray | float, largest: int) -> IntArray:
    """Weights in units, rounded to nearest even; those beyond the largest integer are held there."""
    return np.clip(rounded(weight / units), -largest, largest)


def rounded(values: FloatArray) -> IntArray:
    return np.round(values).astype(np.int64)


def fit_scales(
    drives: Sequence[Drive],
    options: ScaleOptions,
    reach: Callable[[FloatArray], IntArray] | None = None,
    *,
    uniform: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """The scales ``[C]`` that all ``drives`` share, and the factors ``[C]`` by which limits enlarged them.

    ``reach(scales)``: largest magnitude ``[C]`` of the streams that the layers keep, which obeys
    ``max_stream``.  uniform: one scale for all channels, the largest that one of them needs.  Raises
    NetworkError when a limit cannot be kept.
    """
    first = unlimited_scales(drives, options, uniform)
    units = first
    while True:
        enlarged = units
        for drive in drives:
            enlarged = _within_limits(drive, enlarged, options)
        if reach is not None and options.max_stream is not None:
            excess = reach(enlarged) / options.max_stream
            enlarged = np.where(excess > 1, enlarged * excess * _MARGIN, enlarged)
        if uniform:
            enlarged = np.full_like(enlarged, enlarged.max())
        if options.scale == "unit" and (enlarged > 1).any():
            _refuse_unit(drives, int(np.argmax(enlarged)), options)
        if (enlarged == units).all() or (len(drives) == 1 and reach is None and not uniform):
            break
        units = enlarged
    for drive in drives:
        _demand_kept(drive, first, enlarged, options)
    return enlarged, enlarged / first


def unlimited_scales(drives: Sequence[Drive], options: ScaleOptions, uniform: bool = False) -> FloatArray:
    """The largest scale that any drive's weights need; without any weights, one that resolves bias and threshold.

    With ``clip`` that of :func:`clipped_scales`.  uniform: the largest that any channel with weights needs, for all of
    them.
    """
    if options.scale == "unit":
        return np.ones(len(drives[0].rows))
    peaks = np.stack([np.abs(drive.rows).max(axis=(1, 2)) / drive.largest for drive in drives])
    free = np.stack([np.maximum(drive.limited, drive.threshold) for drive in drives])
    weighted, free = peaks.max(axis=0), free.max(axis=0)
    if uniform:
        weighted, free = np.full_like(weighted, weighted.max()), np.full_like(free, free.max())
    units = np.maximum(np.where(weighted > 0, weighted, free / _FREE_UNITS), _SMALLEST)
    return units if options.clip == "none" else clipped_scales(drives, units, uniform)


def clipped_scales(drives: Sequence[Drive], units: FloatArray, uniform: bool = False) -> FloatArray:
    """Scales ``[C]``, ``units`` times one of CLIPS, whose rounding of all weights has the least mean square error.

    Errors count by the mean square of what the weight multiplies (``moments``).  uniform: one factor for all channels.
    """

    def cost(scales: FloatArray) -> FloatArray:
        off = [drive.rows - drive.whole(scales) * scales[:, None, None] for drive in drives]
        errors = sum((part**2 @ drive.moments).sum(axis=1) for part, drive in zip(off, drives, strict=True))
        return np.full_like(scales, np.sum(errors)) if uniform else np.asarray(errors)

    power = sum((drive.rows**2 @ drive.moments).sum(axis=1) for drive in drives)
    best, least = units, cost(units)
    exact = least <= TIE**2 * (np.sum(power) if uniform else power)
    for factor in CLIPS:
        tried = cost(units * factor)
        better = (tried < least) & ~exact
        best, least = np.where(better, units * factor, best), np.where(better, tried, least)
    return best


def _within_limits(drive: Drive, units: FloatArray, options: ScaleOptions) -> FloatArray:
    needed = np.maximum(drive.threshold / options.max_threshold, drive.limited / options.largest_bias)
    units = np.maximum(units, needed)
    if options.max_sum is None:
        return units
    pairs = enumerate(units)
    return np.array([_fit_sum(drive, channel, float(unit), options.max_sum) for channel, unit in pairs])


def _fit_sum(drive: Drive, channel: int, unit: float, max_sum: int) -> float:
    """Enlarge a channel's ``unit`` until no row's worst-case sum exceeds ``max_sum``."""
    rows, source = drive.rows[channel], drive.source
    while True:
        whole = whole_weights(rows, unit, drive.largest)
        positive, negative = np.maximum(whole, 0).sum(axis=1), np.maximum(-whole, 0).sum(axis=1)
        highest = positive * source.max_value - negative * source.min_value
        lowest = negative * source.max_value - positive * source.min_value
        worst = int(max(highest.max(), lowest.max()))
        if worst <= max_sum:
            return unit
        unit *= max(worst / max_sum, 1.0) * _MARGIN


def _refuse_unit(drives: Sequence[Drive], channel: int, options: ScaleOptions) -> None:
    names = ", ".join(repr(drive.name) for drive in drives)
    limits = " or ".join(filter(None, (options.sum_limits, f"max_threshold={options.max_threshold}")))
    raise NetworkError(
        f"layer {names}: channel {channel} exceeds {limits} with scale='unit'; raise the limit or use scale='max'"
    )


def _demand_kept(drive: Drive, first: FloatArray, units: FloatArray, options: ScaleOptions) -> None:
    """Refuse limits so tight that a channel would lose all its weights to them."""

    def silent(scales: FloatArray) -> np.ndarray:
        return (drive.whole(scales) == 0).all(axis=(1, 2))

    if options.max_sum is None and options.max_stream is None:
        return
    lost = silent(units) & ~silent(first) & ~drive.fixed
    if lost.any():
        raise NetworkError(
            f"layer {drive.name!r}: {options.sum_limits} leaves channel {int(np.argmax(lost))} no weights; "
            "raise max_sum (a wider accumulator), or max_stream (wider streams)"
        )
