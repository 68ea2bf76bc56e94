"""Reading .nir files (HDF5) without trusting them: plain values, or one ImportRefused.

Everything is judged by what the file declares before anything is read: links, storage, filters, element types
and sizes.  Compressed chunks are expanded here, never beyond their declared size.  Nothing is unpickled, no
filter plugin is loaded, and no other file is opened.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused

#: Largest file, and largest total of what it declares, in bytes.
FILE_LIMIT = 1 << 29
BYTES_LIMIT = 1 << 29
#: Largest total of all texts (types, edges, metadata), in bytes.
TEXT_LIMIT = 1 << 26
#: Most groups and datasets, and how deep they may nest.
OBJECTS_LIMIT = 500_000
DEPTH_LIMIT = 32

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DEFLATE, _SHUFFLE = 1, 2
_VLEN_REFERENCE = 16
_MISSING = "reading and writing NIR files needs h5py and nir; install them with: pip install 'skipspike[nir]'"

#: A file's groups as dictionaries; values are arrays, text, or lists of text.
Tree = dict[str, Any]


def read_tree(path: str | os.PathLike[str], *, bytes_limit: int = BYTES_LIMIT) -> Tree:
    """All groups and datasets of ``path``; raises ImportRefused, one line, for anything that is wrong."""
    path = Path(path)
    try:
        import h5py
    except ImportError:
        raise ImportRefused(f"{path}: {_MISSING}") from None
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(_SIGNATURE))
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    if size > FILE_LIMIT:
        raise ImportRefused(f"{path}: {size} bytes, more than the limit of {FILE_LIMIT}")
    if start != _SIGNATURE:
        raise ImportRefused(f"{path}: not an HDF5 file, so no NIR file")
    try:
        with h5py.File(path, "r") as file:
            return _Reader(h5py, bytes_limit).group(file, "", 0)
    except ImportRefused as error:
        raise ImportRefused(f"{path}: {error}") from None
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError, zlib.error) as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImportRefused(f"{path}: damaged or cut short: {text}") from error


class _Reader:
    def __init__(self, h5py: Any, bytes_limit: int) -> None:
        self.h5py, self.bytes_limit = h5py, bytes_limit
        self.bytes = self.text = 0
        self.seen: set[Any] = set()

    def group(self, group: Any, where: str, depth: int) -> Tree:
        if depth > DEPTH_LIMIT:
            raise ImportRefused(f"group {where!r} is nested more than {DEPTH_LIMIT} deep")
        self._once(group, where)
        tree: Tree = {}
        for name in group:
            place = f"{where}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, self.h5py.HardLink):
                raise ImportRefused(
                    f"{place!r} is a link to elsewhere ({type(link).__name__}), which is never followed"
                )
            item = group[name]
            if isinstance(item, self.h5py.Group):
                tree[name] = self.group(item, place, depth + 1)
            elif isinstance(item, self.h5py.Dataset):
                self._once(item, place)
                tree[name] = self._dataset(item, place)
            else:
                raise ImportRefused(f"{place!r} is neither a group nor a dataset")
        return tree

    def _once(self, item: Any, where: str) -> None:
        """Objects with several names could form cycles, or make little data look like much."""
        info = self.h5py.h5o.get_info(item.id)
        if info.addr in self.seen:
            raise ImportRefused(f"{where!r} is another name of an object read before")
        self.seen.add(info.addr)
        if len(self.seen) > OBJECTS_LIMIT:
            raise ImportRefused(f"more than {OBJECTS_LIMIT} groups and datasets")

    def _dataset(self, item: Any, where: str) -> Any:
        if item.is_virtual or item.external:
            raise ImportRefused(f"dataset {where!r} is stored in other files, which are never opened")
        if item.shape is None:
            raise ImportRefused(f"dataset {where!r} is empty")
        text = self.h5py.check_string_dtype(item.dtype)
        if text is not None and text.length is None:
            return self._strings(item, where)
        kind = item.dtype.kind
        if kind not in "fiuSb" or (kind == "b" and item.dtype != np.dtype(bool)):
            raise ImportRefused(f"dataset {where!r} has elements of type {item.dtype}; only numbers and text are read")
        self._count(item, math.prod(item.shape) * item.dtype.itemsize, where)
        values = self._numbers(item, where)
        if kind == "S":
            return _decoded(values.reshape(-1).tolist(), item.shape, where)
        return values

    def _count(self, item: Any, size: int, where: str) -> None:
        self.bytes += size
        if self.bytes > self.bytes_limit:
            raise ImportRefused(
                f"dataset {where!r} declares {item.shape} values of {item.dtype.itemsize} bytes: more than "
                f"{self.bytes_limit} bytes in all"
            )

    def _numbers(self, item: Any, where: str) -> NDArray[Any]:
        size = math.prod(item.shape) * item.dtype.itemsize
        filters = _filters(item)
        if item.chunks is None:
            if filters or item.id.get_storage_size() < size:
                raise ImportRefused(f"dataset {where!r} stores less than it declares")
            return np.asarray(item[()])
        if (
            item.ndim == 0
            or any(kind not in (_DEFLATE, _SHUFFLE) for kind in filters)
            or len(set(filters)) < len(filters)
        ):
            raise ImportRefused(f"dataset {where!r} is filtered by more than gzip and shuffle; write it with gzip")
        return self._chunks(item, filters, where)

    def _chunks(self, item: Any, filters: list[int], where: str) -> NDArray[Any]:
        """The chunks of a dataset, expanded here because the library's own gzip filter knows no limit."""
        shape, chunk, dtype = item.shape, item.chunks, item.dtype
        expected = math.prod(chunk) * dtype.itemsize
        if expected > self.bytes_limit:
            raise ImportRefused(f"dataset {where!r} has chunks of {expected} bytes")
        needed = math.prod(-(-size // part) for size, part in zip(shape, chunk, strict=True))
        if item.id.get_num_chunks() != needed:
            raise ImportRefused(f"dataset {where!r} stores {item.id.get_num_chunks()} of its {needed} chunks")
        out = np.zeros(shape, dtype)
        for index in range(needed):
            offset = item.id.get_chunk_info(index).chunk_offset
            mask, raw = item.id.read_direct_chunk(offset)
            data = bytes(raw)
            for position, kind in reversed(list(enumerate(filters))):
                if not mask >> position & 1:
                    undo: Callable[[bytes], bytes] = _inflater(expected) if kind == _DEFLATE else _unshuffler(dtype)
                    data = undo(data)
            if len(data) != expected:
                raise ImportRefused(f"dataset {where!r} has a chunk that is not of its declared {expected} bytes")
            window = tuple(slice(at, at + part) for at, part in zip(offset, chunk, strict=True))
            kept = out[window]
            kept[...] = np.frombuffer(data, dtype).reshape(chunk)[tuple(slice(0, n) for n in kept.shape)]
        return out

    def _strings(self, item: Any, where: str) -> Any:
        """Text of any length; what it refers to is added up before it is read."""
        count = math.prod(item.shape)
        self._count(item, count * _VLEN_REFERENCE, where)
        if item.chunks is not None or item.id.get_storage_size() < count * _VLEN_REFERENCE or _filters(item):
            raise ImportRefused(f"text {where!r} is stored in chunks or not at all")
        self.text += self._text_size(item, count, where)
        if self.text > TEXT_LIMIT:
            raise ImportRefused(f"text {where!r} takes the file's text beyond {TEXT_LIMIT} bytes")
        values = item[()]
        return _decoded(values.reshape(-1).tolist() if item.shape else [values], item.shape, where)

    def _text_size(self, item: Any, count: int, where: str) -> int:
        """Sum of the lengths in the references: (length, heap address, index) of 4, 8 and 4 bytes."""
        offset = item.id.get_offset()
        if count == 0:
            return 0
        if offset is None:
            raise ImportRefused(f"text {where!r} has no place of its own in the file")
        if item.file.id.get_create_plist().get_sizes() != (8, 8):
            raise ImportRefused("addresses that are not of 8 bytes; write the file again")
        with open(item.file.filename, "rb") as file:
            file.seek(offset)
            data = file.read(count * _VLEN_REFERENCE)
        if len(data) != count * _VLEN_REFERENCE:
            raise ImportRefused(f"text {where!r} lies beyond the end of the file")
        return int(np.frombuffer(data, "<u4")[::4].sum(dtype=np.int64))


def _filters(item: Any) -> list[int]:
    plist = item.id.get_create_plist()
    return [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]


def _inflater(limit: int) -> Callable[[bytes], bytes]:
    def inflate(data: bytes) -> bytes:
        engine = zlib.decompressobj()
        out = engine.decompress(data, limit + 1)
        if len(out) > limit:
            raise ImportRefused(f"a compressed chunk expands beyond its declared {limit} bytes")
        return out

    return inflate


def _unshuffler(dtype: np.dtype[Any]) -> Callable[[bytes], bytes]:
    def unshuffle(data: bytes) -> bytes:
        if dtype.itemsize == 1 or len(data) % dtype.itemsize:
            return data
        return np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()

    return unshuffle


def _decoded(values: list[Any], shape: tuple[int, ...], where: str) -> Any:
    try:
        texts = [value if isinstance(value, str) else bytes(value).decode("utf-8") for value in values]
    except (UnicodeDecodeError, TypeError):
        raise ImportRefused(f"text {where!r} is not UTF-8") from None
    if not shape:
        return texts[0]
    return np.array(texts, dtype=object).reshape(shape).tolist()
