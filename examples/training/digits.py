"""The digits split used everywhere in this project: 1437 training and 360 test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

#: Largest pixel value of the data set; the networks see pixel / MAX_PIXEL.
MAX_PIXEL = 16
CLASSES = 10


@dataclass(frozen=True)
class Split:
    """Images ``x`` [N, 1, 8, 8], uint8 0..16, and labels ``y`` [N], uint8 0..9."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]


def digits_split() -> tuple[Split, Split]:
    """Training (1437) and test (360) part, stratified, always the same."""
    x, y = load_digits(return_X_y=True)
    everything = Split(np.asarray(x).reshape(-1, 1, 8, 8).astype(np.uint8), np.asarray(y).astype(np.uint8))
    return _divide(everything, 0.2, 0)


def hold_out(train: Split, fraction: float, seed: int = 0) -> tuple[Split, Split]:
    """Split the *training* part again: (to fit, to choose by). ``fraction`` 0 holds nothing out."""
    if fraction == 0:
        return train, Split(train.x[:0], train.y[:0])
    return _divide(train, fraction, seed)


def _divide(whole: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    first, second = train_test_split(np.arange(len(whole.y)), test_size=fraction, random_state=seed, stratify=whole.y)
    first, second = np.asarray(first), np.asarray(second)
    return Split(whole.x[first], whole.y[first]), Split(whole.x[second], whole.y[second])
