"""A family of one's own: the description as a TOML file, whose tables are the dataclasses of ``description.py``."""

from __future__ import annotations

import os
import tomllib
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ...errors import ImportRefused, NetworkError
from ...layers import Neuron
from .description import Block, Chain, Family, Norm, Pool, Stages, Stem, Unit

#: Largest description.
SIZE_LIMIT = 1 << 20
_Made = TypeVar("_Made")
#: What the annotations of these dataclasses are made of.
_NAMES = {
    "Literal": Literal, "Unit": Unit, "Pool": Pool, "Stem": Stem, "Block": Block, "Stages": Stages, "Chain": Chain,
    "Norm": Norm, "Neuron": Neuron,
}  # fmt: skip


def read_family(path: str | os.PathLike[str]) -> Family:
    """The family that a .toml file describes; its body is a table ``stages`` or ``chain``.  Raises ImportRefused."""
    path = Path(path)
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ImportRefused(f"{path}: larger than {SIZE_LIMIT} bytes; not a family's description")
        described = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImportRefused(f"{path}: not TOML: {error}") from error
    bodies = [key for key in ("stages", "chain") if key in described]
    if len(bodies) != 1 or "body" in described:
        raise ImportRefused(f"{path}: a family has one body, a table 'stages' or 'chain'")
    key = bodies[0]
    described.setdefault("source", path.name)
    try:
        described["body"] = _made(Stages if key == "stages" else Chain, described.pop(key), f"family.{key}")
        return _check(_made(Family, described, "family"))
    except (ImportRefused, NetworkError) as error:
        raise ImportRefused(f"{path}: {error}") from error


def _made(kind: type[_Made], table: Any, where: str) -> _Made:
    """A dataclass from a table; unknown and missing keys are refused."""
    if not isinstance(table, dict):
        raise ImportRefused(f"{where} must be a table, not {table!r}")
    known = {one.name: one for one in fields(kind)}  # pyright: ignore[reportArgumentType]
    for key in table:
        if key not in known:
            listed = ", ".join(known).replace("body", "stages or chain")
            raise ImportRefused(f"{where} has no {key!r}; it has {listed}")
    missing = [
        name for name, one in known.items()
        if name not in table and one.default is MISSING and one.default_factory is MISSING
    ]  # fmt: skip
    if missing:
        raise ImportRefused(f"{where} needs {', '.join(missing)}")
    hints = get_type_hints(kind, localns=_NAMES)
    return kind(**{key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value of a field's type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if type(None) in inner and value is False:  # TOML has no null
            return None
        options = [one for one in inner if one is not type(None)]
        return value if isinstance(value, tuple(options)) else _value(options[0], value, where)
    if origin is Literal:
        if value not in inner:
            raise ImportRefused(f"{where} must be one of {', '.join(map(str, inner))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise ImportRefused(f"{where} must be a list with something in it, not {value!r}")
        return tuple(_value(inner[0], one, f"{where}[{number}]") for number, one in enumerate(value))
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value, where)
    scalar: Any = hint
    if type(value) is not scalar and not (scalar is float and type(value) is int):
        raise ImportRefused(f"{where} must be {scalar.__name__}, not {value!r}")
    return scalar(value)


def _check(family: Family) -> Family:
    """What types do not say."""
    body = family.body
    if isinstance(body, Stages):
        if "{stage}" not in body.path or "{block}" not in body.path or family.stem is None:
            raise ImportRefused("blocks in stages need a stem, and a path with {stage} and {block}")
        if not all(1 <= stride <= 8 for stride in body.strides):
            raise ImportRefused(f"strides must be 1 to 8, not {body.strides}")
    elif "{index}" not in body.path:
        raise ImportRefused("a chain's path needs {index}")
    for block in body.blocks:
        if not 0 <= block.strided < len(block.branch):
            raise ImportRefused(f"strided must be the index of a convolution of the branch, not {block.strided}")
        if block.join == "membrane" and not isinstance(body, Stages):
            raise ImportRefused("blocks that join membranes are in stages")
    if len({block.join == "membrane" for block in body.blocks}) != 1:
        raise ImportRefused("either all blocks of a family join membranes or none")
    if family.steps < 1 or family.size < 1:
        raise ImportRefused(f"steps and size must be at least 1, not {family.steps} and {family.size}")
    return family
