"""Files of torch.save: the zip is checked first, then torch reads it with ``weights_only``, which runs no code."""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused
from .state_dict_files import SIZE_LIMIT, WRAPPERS, Tensors, check_total

#: ``weights_only`` of older releases can be made to run code (CVE-2025-32434).
OLDEST = (2, 6)
#: Largest pickle (names, shapes and structure, no numbers) and most members of a file.
PICKLE_LIMIT = 1 << 26
MOST_MEMBERS = 200_000
#: Deepest nesting of dicts that is looked through for the parameters.
_DEEPEST = 4


def read_torch(path: Path) -> Tensors:
    """The tensors of a .pt or .pth file.  Raises ImportRefused."""
    check_archive(path)
    try:
        import torch
    except ImportError:
        raise ImportRefused(
            f"{path}: reading {path.suffix} needs PyTorch; pip install 'skipspike[pytorch]', "
            "or save the parameters with safetensors"
        ) from None
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise ImportRefused(
            f"{path}: PyTorch {torch.__version__} does not load files safely; install "
            f"{'.'.join(map(str, OLDEST))} or later, or save the parameters with safetensors"
        )
    try:
        # Training scripts save their arguments beside the parameters; a Namespace only holds them.
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ImportRefused(f"{path}: {_reason(error)}") from error
    state, notes = _parameters(path, loaded)
    values = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ImportRefused(f"{path}: {others[0]!r} is no tensor but {type(state[others[0]]).__name__}")
    check_total(path, [value.numel() * value.element_size() for value in values.values()])
    return Tensors({name: _array(path, name, value) for name, value in values.items()}, notes)


def check_archive(path: Path) -> None:
    """Refuse what is no whole zip of torch.save, or would be larger unpacked than the file is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ImportRefused(
            f"{path}: no whole zip as torch.save writes since PyTorch 1.6 ({error}); copy it again, or save it again "
            "with torch.save(net.state_dict(), ...)"
        ) from error
    if len(members) > MOST_MEMBERS:
        raise ImportRefused(f"{path}: a zip of {len(members)} members, more than the limit of {MOST_MEMBERS}")
    total = sum(member.file_size for member in members)
    if total > min(SIZE_LIMIT, path.stat().st_size):
        raise ImportRefused(
            f"{path}: a zip that unpacks to {total} bytes from {path.stat().st_size}; torch.save compresses nothing, "
            "so this file is none of its"
        )
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ImportRefused(
                f"{path}: member {member.filename!r} is compressed or encrypted; torch.save does neither"
            )
    names = [member.filename for member in members]
    pickles = [member for member in members if member.filename.endswith("/data.pkl")]
    if len(set(names)) != len(names) or len(pickles) != 1:
        raise ImportRefused(f"{path}: no file of torch.save: it must hold one data.pkl and no name twice")
    if any(name.endswith("constants.pkl") for name in names):
        raise ImportRefused(f"{path}: a TorchScript archive, which is code; save net.state_dict() instead")
    if pickles[0].file_size > PICKLE_LIMIT:
        raise ImportRefused(f"{path}: a data.pkl of {pickles[0].file_size} bytes, more than {PICKLE_LIMIT}")
    _check_sums(path)


def _check_sums(path: Path) -> None:
    """Refuse a member whose bytes are not those that were saved; torch itself does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        raise ImportRefused(f"{path}: damaged: {error}; copy it again") from error
    if damaged is not None:
        raise ImportRefused(f"{path}: damaged: the checksum of its member {damaged!r} does not match; copy it again")


def _reason(error: Exception) -> str:
    """One line of torch's error."""
    text = " ".join(str(error).split())
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if named is not None:
        return (
            f"refused: its pickle asks for {named[1]}, which is code and not a parameter; save "
            "net.state_dict() alone, in a place you trust"
        )
    return f"torch cannot load it safely: {text[:200] or type(error).__name__}"


def _parameters(path: Path, loaded: Any) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """The dict of tensors in what was loaded, and how it was found."""
    import torch

    notes: list[str] = []
    for _ in range(_DEEPEST):
        if not isinstance(loaded, Mapping):
            break
        if any(isinstance(value, torch.Tensor) for value in loaded.values()):
            return loaded, tuple(notes)
        inner = [key for key in WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if len(inner) != 1:
            found = ", ".join(sorted(map(repr, inner))) or "none"
            raise ImportRefused(
                f"{path}: a checkpoint's parameters are looked for under one of {', '.join(WRAPPERS)}, found: {found}; "
                "save net.state_dict() alone"
            )
        others = ", ".join(str(key) for key in loaded if key != inner[0]) or "nothing else"
        notes.append(f"{path.name}: the parameters are those of its entry {inner[0]!r}; not read: {others}.")
        loaded = loaded[inner[0]]
    raise ImportRefused(f"{path}: holds {type(loaded).__name__}, not a state_dict; save net.state_dict()")


def _array(path: Path, name: str, value: Any) -> NDArray[Any]:
    """A tensor as numpy's; bfloat16, which numpy lacks, as float32."""
    import torch

    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise ImportRefused(f"{path}: parameter {name!r} is {value.layout} {value.dtype}; save plain dense tensors")
    plain = value.detach()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    return np.array(plain.numpy())
