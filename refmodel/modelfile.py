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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelFileError, NetworkError
from .legality import validate
from .network import ConvLayer, InputSpec, MaxPoolLayer, Network, Neuron, ReadoutLayer
from .quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork

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
_DTYPES = ("<f8", "|i1", "<i2", "<i4", "<i8", "|u1")
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
    codec = _RECORDS["quantized" if isinstance(net, QuantizedNetwork) else "float"]
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
    net: Network | QuantizedNetwork = _RECORDS[kind].decode(description, arrays, "network")
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


# The description: every dataclass is {"type": ..., its fields}, every array {"array": member name}.

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Codec:
    """encode(value, arrays, path) and decode(json, arrays, path); ``path`` names the place in errors and members."""

    encode: Callable[[Any, Arrays, str], Any]
    decode: Callable[[Any, Arrays, str], Any]


def _plain(convert: Callable[[Any], Any], what: str, fine: Callable[[Any], bool]) -> _Codec:
    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        if not fine(value):
            raise ModelFileError(f"{path} must be {what}, not {str(value)[:40]!r}")
        return convert(value)

    return _Codec(lambda value, arrays, path: convert(value), decode)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


_INTEGER = _plain(int, "an integer", lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) < 1 << 31)
_NUMBER = _plain(float, "a finite number", _is_number)
_FLAG = _plain(bool, "true or false", lambda v: isinstance(v, bool))
_TEXT = _plain(str, "a string", lambda v: isinstance(v, str))
_META = _plain(dict, "an object", lambda v: isinstance(v, dict))


def _tuple(item: _Codec, length: int | None = None) -> _Codec:
    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise ModelFileError(f"{path} must be a list{'' if length is None else f' of {length}'}")
        return tuple(item.decode(entry, arrays, f"{path}.{index}") for index, entry in enumerate(value))

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        return [item.encode(entry, arrays, f"{path}.{index}") for index, entry in enumerate(value)]

    return _Codec(encode, decode)


def _optional(item: _Codec) -> _Codec:
    return _Codec(
        lambda value, arrays, path: None if value is None else item.encode(value, arrays, path),
        lambda value, arrays, path: None if value is None else item.decode(value, arrays, path),
    )


def _array(kind: type) -> _Codec:
    """Floats as float64; integers in the smallest type that holds them, int64 again when loaded."""

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        stored = "<f8"
        if kind is np.int64:
            low, high = int(value.min()), int(value.max())
            stored = next(t for t in ("|i1", "<i2", "<i4", "<i8") if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
        member = path.lstrip(".")
        arrays[member] = np.asarray(value, dtype=stored)
        return {"array": member}

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        member = value.get("array") if isinstance(value, dict) and len(value) == 1 else None
        if not isinstance(member, str) or member not in arrays:
            raise ModelFileError(f"{path} names array {str(member)[:40]!r}, which is missing from the file")
        array = arrays.pop(member)
        if array.dtype.kind != ("i" if kind is np.int64 else "f"):
            raise ModelFileError(f"array {member!r} has dtype {array.dtype}, but {path} needs {np.dtype(kind).name}")
        return array.astype(kind)

    return _Codec(encode, decode)


def _record(kind: type, name: str, /, **fields: _Codec) -> _Codec:
    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        out = {key: codec.encode(getattr(value, key), arrays, f"{path}.{key}") for key, codec in fields.items()}
        return {"type": name, **out}

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        if not isinstance(value, dict) or set(value) != {"type", *fields} or value["type"] != name:
            raise ModelFileError(f"{path} must be a {name} with fields {', '.join(fields)}")
        return kind(**{key: codec.decode(value[key], arrays, f"{path}.{key}") for key, codec in fields.items()})

    return _Codec(encode, decode)


def _union(**kinds: _Codec) -> _Codec:
    """A record of several types, told apart by "type"."""
    types = {"conv": ConvLayer, "maxpool": MaxPoolLayer, "readout": ReadoutLayer}

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        return next(kinds[name] for name, kind in types.items() if isinstance(value, kind)).encode(value, arrays, path)

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in kinds:
            raise ModelFileError(f"{path} must be one of {', '.join(kinds)}, not {str(name)[:40]!r}")
        return kinds[name].decode(value, arrays, path)

    return _Codec(encode, decode)


_PAIR = _tuple(_INTEGER, 2)
_FLOATS, _INTEGERS = _array(np.float64), _array(np.int64)
_INPUT = {"shape": _tuple(_INTEGER, 3), "bits": _INTEGER, "static": _FLAG, "scale": _NUMBER}
_NETWORK = {"name": _TEXT, "steps": _INTEGER, "family": _TEXT, "meta": _META}
_NEURON = _record(
    Neuron, "neuron", kind=_TEXT, threshold=_NUMBER, tau=_NUMBER, decay_input=_FLAG, reset=_TEXT,
    v_reset=_NUMBER, fire=_TEXT,
)  # fmt: skip
_CONV = _record(
    ConvLayer, "conv", name=_TEXT, source=_TEXT, weight=_FLOATS, bias=_optional(_FLOATS), stride=_PAIR, padding=_PAIR,
    neuron=_NEURON, shortcut=_optional(_TEXT), combine=_TEXT, current=_optional(_NUMBER),
)  # fmt: skip
_MAXPOOL = _record(MaxPoolLayer, "maxpool", name=_TEXT, source=_TEXT, kernel=_PAIR, stride=_PAIR, padding=_PAIR)
_READOUT = _record(
    ReadoutLayer, "readout", name=_TEXT, source=_TEXT, weight=_FLOATS, bias=_optional(_FLOATS), pool=_TEXT
)
_QUANTIZED_LAYER = _record(
    QuantizedLayer, "layer", name=_TEXT, kind=_TEXT, source=_TEXT, weight=_optional(_INTEGERS), kernel=_PAIR,
    stride=_PAIR, padding=_PAIR, bias=_optional(_INTEGERS), threshold=_optional(_INTEGERS),
    leak_shifts=_tuple(_INTEGER), reset=_TEXT, shortcut=_optional(_TEXT), combine=_TEXT,
    current=_optional(_INTEGERS), stream=_optional(_TEXT), keeps_stream=_FLAG, scale=_optional(_FLOATS),
)  # fmt: skip
_RECORDS = {
    "float": _record(
        Network, "float", **_NETWORK, input=_record(InputSpec, "input", **_INPUT),
        layers=_tuple(_union(conv=_CONV, maxpool=_MAXPOOL, readout=_READOUT)),
    ),
    "quantized": _record(
        QuantizedNetwork, "quantized", **_NETWORK, weight_bits=_INTEGER,
        input=_record(QuantizedInput, "input", **_INPUT), layers=_tuple(_QUANTIZED_LAYER),
    ),
}  # fmt: skip
