"""Labelled inputs: the digits that travel in the repository, or a user's own .npz file."""

from __future__ import annotations

import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

#: Data sets in refmodel/data, by the name `load_data` takes.
BUNDLED = {"digits": "digits_test.npz"}

_WAY_OUT = "write one with numpy.savez_compressed(path, x=x, y=y)"


def load_data(name_or_path: str | Path) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Inputs and labels of a data set.

    Parameters
    ----------
    name_or_path: ``"digits"``, the 360 test images of 8x8 pixels of 0..16 that travel here, or a path to
        an .npz file with arrays ``x`` and ``y``.

    Returns
    -------
    x: unsigned values of whatever integer type was stored, [N, C, H, W] (images) or [N, T, C, H, W] (event frames).
    y: class numbers, [N].

    Raises
    ------
    DataError: the file is missing, is not an .npz, needs pickle, lacks an array, or an array does not fit.
    """
    if str(name_or_path) in BUNDLED:
        with resources.as_file(resources.files("refmodel.data") / BUNDLED[str(name_or_path)]) as path:
            return _read(path)
    path = Path(name_or_path)
    if not path.is_file():
        raise DataError(
            f"data {str(name_or_path)!r}: no such file; use {', '.join(map(repr, BUNDLED))} or a path to an .npz file"
        )
    return _read(path)


def _read(path: Path) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    where = f"data {str(path)!r}"
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{where}: not an .npz file; {_WAY_OUT}")
        with np.load(path, allow_pickle=False) as stored:
            for key in ("x", "y"):
                if key not in stored.files:
                    found = ", ".join(stored.files) or "none"
                    raise DataError(f"{where}: no array {key!r} (arrays found: {found}); {_WAY_OUT}")
            x, y = (_array(where, stored, key) for key in ("x", "y"))
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{where}: cannot be read ({error}); is it damaged? copy or write it again") from None
    _check(where, x, y)
    return x, y.astype(np.int64)


def _array(where: str, stored: Any, key: str) -> NDArray[np.integer[Any]]:
    """One integer array of an open .npz; nothing is ever unpickled."""
    try:
        array = stored[key]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{where}: array {key!r} holds Python objects; store it with an integer dtype") from None
        raise DataError(f"{where}: array {key!r} cannot be read ({error}); write the file again") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{where}: {key!r} is not a NumPy array; {_WAY_OUT}")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where}: array {key!r} must be integers, not {array.dtype}; convert it, e.g. to uint8")
    return array


def _check(where: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.ndim not in (4, 5):
        raise DataError(f"{where}: x must be [N, C, H, W] or [N, T, C, H, W], not {x.ndim}-dimensional; reshape it")
    if y.ndim != 1:
        raise DataError(f"{where}: y must be [N] class numbers, not {y.ndim}-dimensional; use argmax of one-hot labels")
    if len(x) != len(y):
        raise DataError(f"{where}: x has {len(x)} inputs but y has {len(y)} labels; they must be equally many")
    if x.size == 0:
        raise DataError(f"{where}: x of shape {list(x.shape)} is empty; store at least one input")
    for key, array in (("x", x), ("y", y)):
        if array.min() < 0:
            raise DataError(f"{where}: {key} must not be negative, but holds {array.min()}; shift or clip it")
