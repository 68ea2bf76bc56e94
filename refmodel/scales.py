"""Scales: the float value of one integer unit, for each channel of a layer.

A scale suits a channel's largest weight, and is enlarged until every limit holds: that of synaptic
sums, of bias and current, of thresholds and of kept membrane streams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import NetworkError
from .layers import FloatArray
from .quantized import IntArray, TensorInfo

#: Values this close to an integer (relatively) are that integer: float noise decides no spike.
TIE = 1e-9

#: No scale is smaller, so that every division stays finite.
_SMALLEST = 1e-300
#: Channels without weights resolve bias and threshold to so many units.
_FREE_UNITS = 4095
#: Rounding can put a sum a little above its share: limits are approached in steps with this margin.
_MARGIN = 1.0005


@dataclass(frozen=True)
class ScaleOptions:
    """How large integers may get; see :func:`refmodel.quantize.quantize`."""

    weight_bits: int
    scale: Literal["max", "unit"]
    max_sum: int | None
    max_threshold: int
    max_stream: int | None

    @property
    def largest_weight(self) -> int:
        return (1 << (self.weight_bits - 1)) - 1

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
    classes are the rows of one channel); source: range of the integers they multiply.
    limited ``[C]``: magnitude that obeys max_sum (bias, current and their sum); threshold ``[C]``:
    the highest, 0 without neurons.
    """

    name: str
    rows: FloatArray
    source: TensorInfo
    limited: FloatArray
    threshold: FloatArray


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

    uniform: the largest that any channel with weights needs, for all of them.
    """
    if options.scale == "unit":
        return np.ones(len(drives[0].rows))
    peaks = np.stack([np.abs(drive.rows).max(axis=(1, 2)) for drive in drives])
    free = np.stack([np.maximum(drive.limited, drive.threshold) for drive in drives])
    weighted, free = peaks.max(axis=0), free.max(axis=0)
    if uniform:
        weighted, free = np.full_like(weighted, weighted.max()), np.full_like(free, free.max())
    units = np.where(weighted > 0, weighted / options.largest_weight, free / _FREE_UNITS)
    return np.maximum(units, _SMALLEST)


def _within_limits(drive: Drive, units: FloatArray, options: ScaleOptions) -> FloatArray:
    needed = np.maximum(drive.threshold / options.max_threshold, drive.limited / options.largest_bias)
    units = np.maximum(units, needed)
    if options.max_sum is None:
        return units
    pairs = zip(drive.rows, units, strict=True)
    return np.array([_fit_sum(rows, float(unit), drive.source, options.max_sum) for rows, unit in pairs])


def _fit_sum(rows: FloatArray, unit: float, source: TensorInfo, max_sum: int) -> float:
    """Enlarge ``unit`` until no row's worst-case sum exceeds ``max_sum``."""
    while True:
        whole = rounded(rows / unit)
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
        return (rounded(drive.rows / scales[:, None, None]) == 0).all(axis=(1, 2))

    if options.max_sum is None and options.max_stream is None:
        return
    lost = silent(units) & ~silent(first)
    if lost.any():
        raise NetworkError(
            f"layer {drive.name!r}: {options.sum_limits} leaves channel {int(np.argmax(lost))} no weights; "
            "raise max_sum (a wider accumulator), or max_stream (wider streams)"
        )
