"""Labelled inputs by file: NumPy's .npz and .npy, and IDX, the format of MNIST."""

from __future__ import annotations

import struct
import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import npy
from .idx import looks_like_idx, read_idx
from .registry import NAMES

Data = tuple[NDArray[np.integer[Any]], NDArray[np.int64]]

#: The label of an input that has none.
NO_LABEL = -1
_MOST_CLASSES = 65_535
_KINDS = "an .npz file, an IDX or .npy file, or two of these, IMAGES,LABELS"
_DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def load_bundled(name: str) -> Data:
    """A file of refmodel/data."""
    with resources.as_file(resources.files("refmodel.data") / name) as path:
        return load_file(str(path))


def load_file(name: str) -> Data:
    """Inputs and labels by file; what a file is, its first bytes say, not its name.

    ``FILE.npz``: arrays ``x``, ``[N, C, H, W]`` or ``[N, T, C, H, W]``, and ``y``, ``[N]``.
    ``IMAGES,LABELS``: two files, each IDX (plain or .gz) or .npy; IDX images ``[N, H, W]`` get one channel.
    ``IMAGES``: IDX images whose labels lie beside them, named as MNIST's are: "images" is "labels", "idx3" is "idx1".
    ``FILE.npy``: inputs without labels, which are then -1.

    Raises DataError, whatever is wrong: nothing is unpickled, and no memory is taken for what is not there.
    """
    path = Path(name)
    if not path.is_file():
        parts = name.split(",")
        if len(parts) == 2 and all(Path(part).is_file() for part in parts):
            return _pair(f"data {name!r}", Path(parts[0]), Path(parts[1]))
        missing = next((part for part in parts if not Path(part).is_file()), name) if len(parts) == 2 else name
        shown = f"data {name!r}" + ("" if missing == name else f", {missing!r}")
        raise DataError(f"{shown}: no such file; use {', '.join(map(repr, NAMES))} or a path to {_KINDS}")
    where = f"data {name!r}"
    start = _start(path, where)
    if start.startswith(b"PK"):
        try:
            x, y = npy.read_npz(path, where)
        except DataError:
            raise
        except _DAMAGE as error:
            raise DataError(f"{where}: cannot be read ({error}); is it damaged? copy or write it again") from None
        return _checked(where, x, y)
    if start.startswith(npy.MAGIC):
        x = _array(path, where)
        return _checked(where, x, np.full(len(x) if x.ndim else 0, NO_LABEL))
    if looks_like_idx(start):
        return _pair(where, path, _labels_beside(path, where))
    raise DataError(f"{where}: not an .npz file, nor IDX or .npy; {npy.WAY_OUT}")


def _pair(where: str, images: Path, labels: Path) -> Data:
    x = _array(images, f"{where}, {images.name}")
    y = _array(labels, f"{where}, {labels.name}")
    return _checked(where, x[:, None] if x.ndim == 3 else x, y)


def _labels_beside(images: Path, where: str) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    bare = name.removesuffix(".gz")
    if name != images.name:
        for found in (images.with_name(bare), images.with_name(f"{bare}.gz")):
            if found.is_file():
                return found
        raise DataError(f"{where}: its labels, {bare} or {bare}.gz, are not beside it; give IMAGES,LABELS")
    raise DataError(f"{where}: an IDX file holds images or labels, not both; give IMAGES,LABELS")


def _array(path: Path, where: str) -> NDArray[np.integer[Any]]:
    """One array: .npy or IDX."""
    if not _start(path, where).startswith(npy.MAGIC):
        return read_idx(path, where)
    try:
        return npy.read_npy(path, where)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error}); is it damaged? copy or write it again") from None


def _start(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from None


def _checked(where: str, x: NDArray[Any], y: NDArray[Any]) -> Data:
    if x.ndim not in (4, 5):
        raise DataError(f"{where}: x must be [N, C, H, W] or [N, T, C, H, W], not {x.ndim}-dimensional; reshape it")
    if y.ndim != 1:
        raise DataError(f"{where}: y must be [N] class numbers, not {y.ndim}-dimensional; use argmax of one-hot labels")
    if len(x) != len(y):
        raise DataError(f"{where}: x has {len(x)} inputs but y has {len(y)} labels; they must be equally many")
    if x.size == 0:
        raise DataError(f"{where}: x of shape {list(x.shape)} is empty; store at least one input")
    for key, array, least in (("x", x, 0), ("y", y, 0)):
        if array.min() < least and not (key == "y" and (array == NO_LABEL).all()):
            raise DataError(f"{where}: {key} must not be negative, but holds {array.min()}; shift or clip it")
    if int(y.max()) > _MOST_CLASSES:
        raise DataError(f"{where}: y must be class numbers up to {_MOST_CLASSES}, but holds {y.max()}")
    return x, y.astype(np.int64)
