"""How many low bits of a stream's tensor to drop, so that the layers which read it lose least.

A projection reads a stream in units u of its layer and adds to one in units v, so its integer
weights are w u 2^shift / v: with shift 0 hardly more than w itself, since u and v are alike.  Each
bit that is dropped from the stream is one more for these weights.  Per output, the variance of
what rounding costs is (1/12) (4^shift sum (w u)^2 + 4^-shift v^2 sum (x / u)^2) for streams of
spread x, least where both parts are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layers import FloatArray


@dataclass(frozen=True, eq=False)
class SharedReader:
    """A convolution of a stream's tensor, weight ``[Cout, Cin, KH, KW]``, whose ``scales`` ``[Cout]`` others decide.

    largest: the largest integer weight it may have.
    """

    weight: FloatArray
    scales: FloatArray
    largest: int


def best_shift(readers: Sequence[SharedReader], units: FloatArray, spread: FloatArray, bits: int) -> int:
    """The shift for a stream of ``bits`` bits in ``units`` ``[Cin]`` whose values spread by ``spread`` ``[Cin]``.

    0 without readers whose scales others decide; never so much that half of a reader's channels would
    need a larger scale, or less than 2 bits remained.
    """
    stream_cost = weight_cost = 0.0
    room: list[FloatArray] = []
    for reader in readers:
        scaled = reader.weight * units[:, None, None]
        taps = reader.weight.shape[2] * reader.weight.shape[3]
        stream_cost += float((scaled**2).sum())
        weight_cost += float((reader.scales**2).sum() * taps * ((spread / units) ** 2).sum())
        peak = np.abs(scaled).max(axis=(1, 2, 3))
        room.append(reader.largest * reader.scales[peak > 0] / peak[peak > 0])
    if stream_cost == 0 or weight_cost == 0:
        return 0
    wanted = round(np.log2(weight_cost / stream_cost) / 4)
    highest = int(np.floor(np.log2(np.median(np.concatenate(room)))))
    return max(0, min(wanted, highest, bits - 2))


def stream_spread(weight: FloatArray, source: FloatArray, before: FloatArray | None) -> FloatArray:
    """Standard deviation ``[Cout]`` of X for independent sources that spread by ``source`` ``[Cin]``.

    ``before``: that of the stream which is added.
    """
    variance = (weight**2).sum(axis=(2, 3)) @ source**2
    return np.sqrt(variance if before is None else variance + before**2)
