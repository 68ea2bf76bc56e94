"""Reading parameters from files without running anything: .safetensors, and .pt or .pth through torch's safe loader."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused

#: Largest file, and largest total of the tensors in it.
SIZE_LIMIT = 1 << 30
#: Most tensors; the largest networks known have a few thousand.
MOST_TENSORS = 100_000
#: Where checkpoints keep the parameters, besides the optimiser's state and the like.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module")
#: What torch's wrappers of modules put before every name.
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True, eq=False)
class Tensors:
    """Tensors by name, and ``notes``: a sentence on each thing that was unwrapped."""

    arrays: dict[str, NDArray[Any]]
    notes: tuple[str, ...] = ()


def read_tensors(path: str | os.PathLike[str]) -> Tensors:
    """The tensors of a .safetensors, .pt or .pth file, wrappers and prefixes removed.

    Raises ImportRefused, one line, for anything that is wrong with the file.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], Tensors]] = {
        ".safetensors": _from_safetensors, ".pt": _from_torch, ".pth": _from_torch,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ImportRefused(f"{path}: a state_dict's file ends in {', '.join(readers)}, not {path.suffix!r}")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    if path.is_dir():
        raise ImportRefused(f"{path}: a folder, not a file of parameters")
    if size > SIZE_LIMIT:
        raise ImportRefused(f"{path}: {size} bytes, more than the limit of {SIZE_LIMIT}")
    if size == 0:
        raise ImportRefused(f"{path}: an empty file")
    return _without_prefixes(path, reader(path))


def check_total(path: Path, sizes: list[int]) -> None:
    """Refuse too many tensors, or tensors of too many bytes, before memory is taken."""
    if not sizes:
        raise ImportRefused(f"{path}: holds no tensors")
    if len(sizes) > MOST_TENSORS:
        raise ImportRefused(f"{path}: {len(sizes)} tensors, more than the limit of {MOST_TENSORS}")
    if sum(sizes) > SIZE_LIMIT:
        raise ImportRefused(f"{path}: tensors of {sum(sizes)} bytes, more than the limit of {SIZE_LIMIT}")


def _from_torch(path: Path) -> Tensors:
    from .state_dict_torch import read_torch

    return read_torch(path)


def _from_safetensors(path: Path) -> Tensors:
    """A .safetensors file; the package checks header, offsets and sizes against the file."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportRefused(
            f"{path}: reading .safetensors needs the package safetensors; pip install 'skipspike[import]'"
        ) from None
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            check_total(path, [_bytes(path, name, part.get_dtype(), part.get_shape()) for name, part in slices.items()])
            for name in names:
                arrays[name] = np.asarray(file.get_tensor(name))
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise ImportRefused(f"{path}: not a sound safetensors file: {error}") from error
    return Tensors(arrays)


#: Bytes of the types that parameters and counters have; numpy has no bfloat16.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def _bytes(path: Path, name: str, dtype: str, shape: list[int]) -> int:
    if dtype not in _BYTES:
        raise ImportRefused(
            f"{path}: parameter {name!r} has type {dtype}; save it as F32 (in torch: tensor.float()) and try again"
        )
    count = _BYTES[dtype]
    for size in shape:
        count *= size
    return count


def _without_prefixes(path: Path, read: Tensors) -> Tensors:
    arrays, notes = read.arrays, list(read.notes)
    while True:
        prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in arrays)), None)
        if prefix is None or any(name == prefix for name in arrays):
            return Tensors(arrays, tuple(notes))
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
        notes.append(f"{path.name}: every name began with {prefix!r}, which was taken off.")
