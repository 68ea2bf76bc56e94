"""Model files: one .skn file holds one network, float or quantised.

A .skn is an .npz that ``numpy.load`` also opens: an uncompressed zip of .npy members, first
``header.npy`` (the description, JSON as bytes), then the arrays that it names.  The zip's comment
is the SHA-256 of everything before it, so any damage is found.  The same network always gives the
same bytes: fixed order and time stamps, sorted JSON.  Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .description import RECORDS, Arrays
from .errors import ModelFileError, NetworkError
from .legality import validate
from .network import Network
from .quantized import QuantizedNetwork

FORMAT = "skipspike-model"
VERSION = 1
SUFFIX = ".skn"

#: Largest total size of a file's members; checked against the directory before anything is read.
SIZE_LIMIT = 1 << 30
#: Largest description.
HEADER_LIMIT = 1 << 24

_HEADER = "header"
_DIGEST_BYTES = 64
_MAGIC = b"\x93NUMPY\x01\x00"
_NPY = re.compile(rb"\{'descr': '([<|][fiu][1248])', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n")
_DTYPES = ("<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1")
_DAMAGE = (
    zipfile.BadZipFile, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    NotImplementedError, RuntimeError, EOFError, MemoryError, struct.error, NetworkError,
)  # fmt: skip


def save(net: Network | QuantizedNetwork, path: str | os.PathLike[str]) -> None:
    """Write ``net`` to ``path`` (.skn): to a temporary name first, which is then renamed.

    Raises NetworkError for a network that is not legal, ModelFileError when the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ModelFileError(f"{path}: a model file must end in {SUFFIX}; use {path.with_suffix(SUFFIX).name}")
    data = dumps(net)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be written: {error.strerror or error}") from error


def load(path: str | os.PathLike[str]) -> Network | QuantizedNetwork:
    """Read and validate the network in ``path``; raises ModelFileError, one line, for anything that is wrong."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise ModelFileError(f"{path}: {size} bytes, more than the limit of {SIZE_LIMIT}; not a model file")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return loads(data, str(path))


def dumps(net: Network | QuantizedNetwork) -> bytes:
    """The bytes of a model file; raises NetworkError when the network is not legal or ``meta`` not JSON."""
    if isinstance(net, QuantizedNetwork):
        validate(net)
    arrays: Arrays = {}
    codec = RECORDS["quantized" if isinstance(net, QuantizedNetwork) else "float"]
    description = {"network": codec.encode(net, arrays, "")}
    try:
        header = json.dumps(
            {"format": FORMAT, "version": VERSION, **description}, sort_keys=True, allow_nan=False, indent=1
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NetworkError(f"network {net.name!r}: meta must be what JSON can carry: {error}") from error
    members = {_HEADER: np.frombuffer(header, dtype=np.uint8), **arrays}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, _npy(array))
        archive.comment = bytes(_DIGEST_BYTES)
    body = buffer.getvalue()[:-_DIGEST_BYTES]
    return body + _digest(body)


def loads(data: bytes, name: str = "model file") -> Network | QuantizedNetwork:
    """The network in the bytes of a model file; raises ModelFileError that starts with ``name``."""
    if not data.startswith(b"PK"):
        raise ModelFileError(f"{name}: not a model file: it does not start like a zip")
    if data[-_DIGEST_BYTES:] != _digest(data[:-_DIGEST_BYTES]):
        raise ModelFileError(f"{name}: damaged or cut short: its checksum does not match; copy or make it again")
    try:
        return _parse(data)
    except RecursionError:
        raise ModelFileError(f"{name}: the description is nested too deeply") from None
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from error
    except _DAMAGE as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelFileError(f"{name}: {text}") from error


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _parse(data: bytes) -> Network | QuantizedNetwork:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if total > SIZE_LIMIT:
            raise ModelFileError(f"members of {total} bytes, more than the limit of {SIZE_LIMIT}")
        if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
            raise ModelFileError("compressed or encrypted members; a model file has neither")
        names = [member.filename for member in members]
        if len(set(names)) != len(names) or not all(member.endswith(".npy") for member in names):
            raise ModelFileError("members that are no arrays, or two of one name")
        if f"{_HEADER}.npy" not in names:
            raise ModelFileError("no header; not a model file")
        if archive.getinfo(f"{_HEADER}.npy").file_size > HEADER_LIMIT:
            raise ModelFileError(f"header larger than {HEADER_LIMIT} bytes")
        # reading a member to its end checks its CRC
        arrays = {member.removesuffix(".npy"): _from_npy(member, archive.read(member)) for member in names}
    header: Any = json.loads(arrays.pop(_HEADER).tobytes().decode(), parse_constant=_no_constant)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"header does not say format {FORMAT!r}; not a model file")
    if header.get("version") != VERSION:
        raise ModelFileError(
            f"format version {header.get('version')!r}, but this program reads version {VERSION}; convert it or upgrade"
        )
    description = header.get("network")
    kind = description.get("type") if isinstance(description, dict) else None
    if len(header) != 3 or kind not in ("float", "quantized"):
        raise ModelFileError("header describes no float or quantized network")
    net: Network | QuantizedNetwork = RECORDS[kind].decode(description, arrays, "network")
    if arrays:
        raise ModelFileError(f"arrays that the description does not use: {', '.join(sorted(arrays))}")
    if isinstance(net, QuantizedNetwork):
        validate(net)
    return net


def _no_constant(text: str) -> float:
    raise ModelFileError(f"number {text} in the header")


def _npy(array: NDArray[Any]) -> bytes:
    """A version 1.0 .npy, laid out by us because NumPy's padding differs between its versions."""
    shape = ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "")
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': ({shape}), }}"
    text += " " * (-(len(_MAGIC) + 2 + len(text) + 1) % 64) + "\n"
    return _MAGIC + struct.pack("<H", len(text)) + text.encode() + np.ascontiguousarray(array).tobytes()


def _from_npy(member: str, data: bytes) -> NDArray[Any]:
    """The array of a .npy; its size is compared with the data before any memory is taken."""
    start = len(_MAGIC) + 2
    found = None
    if data[: len(_MAGIC)] == _MAGIC and len(data) >= start:
        length = int.from_bytes(data[len(_MAGIC) : start], "little")
        found = _NPY.fullmatch(data[start : start + length])
        start += length
    if found is None:
        raise ModelFileError(f"member {member!r} is no .npy array as this program writes them")
    dtype = found[1].decode()
    shape = tuple(int(size) for size in found[2].decode().split(",") if size.strip())
    if dtype not in _DTYPES or len(shape) > 4:
        raise ModelFileError(f"member {member!r} has dtype {dtype} and {len(shape)} axes, which no model has")
    expected = np.dtype(dtype).itemsize * math.prod(shape)
    if len(data) - start != expected:
        raise ModelFileError(f"member {member!r} holds {len(data) - start} bytes, but its shape needs {expected}")
    return np.frombuffer(data, dtype=np.dtype(dtype), offset=start).reshape(shape).copy()
