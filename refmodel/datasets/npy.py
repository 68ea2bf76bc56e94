"""NumPy's files, read without trust: .npy and .npz of integers, never unpickled.

numpy.load takes memory for whatever shape a header claims; here a claim is compared with the bytes that are there, and
with :data:`refmodel.datasets.idx.LIMIT`, before any memory is taken.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .idx import LIMIT, times

MAGIC = b"\x93NUMPY"
_CHUNK = 1 << 22
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
WAY_OUT = "write one with numpy.savez_compressed(path, x=x, y=y)"


def read_npy(path: Path, where: str) -> NDArray[np.integer[Any]]:
    """The integers in an .npy file.  Raises DataError, and OSError if it cannot be read."""
    with path.open("rb") as stream:
        return _array(stream, path.stat().st_size, where, "the array")


def read_npz(path: Path, where: str, keys: tuple[str, ...] = ("x", "y")) -> list[NDArray[np.integer[Any]]]:
    """The arrays of these names in an .npz file.  Raises DataError, OSError, or what :mod:`zipfile` raises."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        arrays = []
        for key in keys:
            if key not in members:
                found = ", ".join(members) or "none"
                raise DataError(f"{where}: no array {key!r} (arrays found: {found}); {WAY_OUT}")
            with archive.open(members[key]) as stream:
                arrays.append(_array(stream, members[key].file_size, where, f"array {key!r}"))
    return arrays


def read_frames(path: Path, where: str, key: str = "x") -> Iterator[NDArray[np.integer[Any]]]:
    """The frames ``[C, H, W]`` of an .npy file, or of array ``key`` of an .npz file, of shape ``[..., C, H, W]``.

    One after the other, so that a file may be larger than memory.  Raises as :func:`read_npz` does.
    """
    with ExitStack() as stack:
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if key not in found:
                raise DataError(f"{where}: no array {key!r} (arrays found: {', '.join(found) or 'none'}); {WAY_OUT}")
            stream, stored, what = archive.open(found[key]), found[key].file_size, f"array {key!r}"
        else:
            stream, stored, what = path.open("rb"), path.stat().st_size, "the array"
        stack.enter_context(stream)
        shape, by_column, kind, _ = _claim(stream, stored, where, what)
        if len(shape) < 3 or by_column:
            reason = "in Fortran's order" if by_column else f"of shape {times(shape)}"
            raise DataError(f"{where}: {what} is {reason}; frames are [F, C, H, W], in C's order")
        frame = math.prod(shape[-3:]) * kind.itemsize
        for number in range(math.prod(shape[:-3])):
            values = stream.read(frame)
            if len(values) != frame:
                raise DataError(f"{where}: {what} ends in frame {number}; is it damaged? write it again")
            yield np.frombuffer(values, kind).astype(kind.newbyteorder("="), copy=False).reshape(shape[-3:])


def _array(stream: IO[bytes], stored: int, where: str, what: str) -> NDArray[np.integer[Any]]:
    """One array from ``stream``, whose whole length is said to be ``stored`` bytes."""
    shape, by_column, kind, size = _claim(stream, stored, where, what, LIMIT)
    values = bytearray()
    while len(values) < size:
        part = stream.read(min(_CHUNK, size - len(values)))
        if not part:
            raise DataError(
                f"{where}: {what} ends after {len(values):,} of {size:,} bytes; is it damaged? write it again"
            )
        values += part
    flat = np.frombuffer(values, kind).astype(kind.newbyteorder("="), copy=False)
    return flat.reshape(shape, order="F" if by_column else "C")


def _claim(
    stream: IO[bytes], stored: int, where: str, what: str, limit: int | None = None
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What an array's header says, and that its file bears out: shape, whether columns come first, type, bytes."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, by_column, kind = _HEADERS[version](stream)
    except ValueError as error:
        if "magic" in str(error):
            raise DataError(f"{where}: {what} is not a NumPy array; {WAY_OUT}") from None
        raise DataError(f"{where}: {what} has a damaged header ({error}); write the file again") from None
    if kind.hasobject:
        raise DataError(f"{where}: {what} holds Python objects; store it with an integer dtype")
    if kind.kind not in "iu":
        raise DataError(f"{where}: {what} must be integers, not {kind}; convert it, e.g. to uint8")
    size = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or (limit is not None and size > limit):
        raise DataError(f"{where}: {what} claims {times(shape)} values, {size:,} bytes; at most {LIMIT:,} are read")
    if size != stored - stream.tell():
        raise DataError(
            f"{where}: {what} claims {times(shape)} values, {size:,} bytes, but the file has "
            f"{stored - stream.tell():,}; is it damaged? write it again"
        )
    return shape, by_column, kind, size
