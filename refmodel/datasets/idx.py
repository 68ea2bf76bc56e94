"""IDX files, the format of MNIST: a magic number, big-endian sizes, big-endian values; plain or compressed by gzip.

bytes 0, 1: zero; byte 2: the type of the values; byte 3: how many axes; then a 32-bit size for each axis, then the
values.  A reader must trust none of it: what is read never exceeds what the header says and ``limit``.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

#: Most bytes of values that are read from a file.
LIMIT = 1 << 30
#: Values that are this many times larger than their gzip file, and larger than `_UNSUSPICIOUS`, are not read.
_RATIO, _UNSUSPICIOUS = 200, 1 << 26
_CHUNK = 1 << 22
_MOST_AXES = 5
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}
_REALS = {0x0D: "32-bit reals", 0x0E: "64-bit reals"}
GZIP = b"\x1f\x8b"


def read_idx(content: bytes | Path, where: str, limit: int = LIMIT) -> NDArray[np.integer[Any]]:
    """The array in an IDX file, from its path or bytes.

    ``where`` names the file in errors.  Raises DataError for a file that cannot be read, is cut off, too long, not
    IDX, holds reals or claims more than ``limit`` bytes.
    """
    try:
        if isinstance(content, bytes):
            return _read(io.BytesIO(content), len(content), where, limit)
        with content.open("rb") as stream:
            return _read(stream, content.stat().st_size, where, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where}: cannot be read ({error}); is it damaged? copy it again") from None


def _read(stream: BinaryIO, stored: int, where: str, limit: int) -> NDArray[np.integer[Any]]:
    packed = stream.read(2) == GZIP
    stream.seek(0)
    if packed:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return _parse(unpacked, stored, True, where, limit)
    return _parse(stream, stored, False, where, limit)


def _parse(stream: Any, stored: int, packed: bool, where: str, limit: int) -> NDArray[np.integer[Any]]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in (_TYPES | _REALS) or not 1 <= head[3] <= _MOST_AXES:
        raise DataError(f"{where}: not an IDX file of 1 to {_MOST_AXES} axes (it starts with {head.hex(' ')!r})")
    if head[2] in _REALS:
        raise DataError(f"{where}: holds {_REALS[head[2]]}; store integers, e.g. unsigned bytes")
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise DataError(f"{where}: ends within its header; is it cut off? copy it again")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    kind = np.dtype(_TYPES[head[2]])
    size = math.prod(shape) * kind.itemsize
    if size > limit:
        raise DataError(f"{where}: claims {times(shape)} values, {size:,} bytes; at most {limit:,} are read")
    if packed and size > max(_UNSUSPICIOUS, _RATIO * stored):
        raise DataError(f"{where}: {stored:,} bytes claim to hold {size:,}; decompress it first if that is so")
    held = len(head) + len(sizes) + size
    if not packed and stored != held:
        raise DataError(
            f"{where}: {times(shape)} values make {held:,} bytes, but the file has {stored:,}; copy it again"
        )
    values = bytearray()
    while len(values) <= size:
        part = stream.read(min(_CHUNK, size + 1 - len(values)))
        if not part:
            break
        values += part
    if len(values) != size:
        more = "more" if len(values) > size else f"only {len(values):,}"
        raise DataError(f"{where}: {times(shape)} values make {size:,} bytes, but it holds {more}; copy it again")
    return np.frombuffer(values, kind).astype(kind.newbyteorder("="), copy=False).reshape(shape)


def looks_like_idx(start: bytes) -> bool:
    """Whether a file that begins so may be an IDX file, plain or compressed."""
    return start.startswith((GZIP, b"\0\0"))


def times(shape: tuple[int, ...]) -> str:
    """Sizes as words say them."""
    return " x ".join(map(str, shape))
