"""Catalogue of the zoo: every network by name, with its options and their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import NetworkError
from ..network import Network

Option = int | float | str
Options = Mapping[str, Option]


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    family: what its ``Network.family`` says; source: where the layout is from.
    defaults: its options with their values unless told otherwise; nothing else may be set.
    draw: makes the sketch from the name and all options.
    """

    name: str
    family: str
    source: str
    defaults: Options
    draw: Callable[[str, Options], Network]


def merged(entry: Entry, options: Options) -> dict[str, Option]:
    """All options of a network; raises NetworkError for an unknown one or one of another type."""
    values = dict(entry.defaults)
    for key, value in options.items():
        if key not in values:
            raise NetworkError(
                f"network {entry.name!r}: no option {key!r}; it takes {', '.join(sorted(entry.defaults))}"
            )
        wanted = type(entry.defaults[key])
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise NetworkError(f"network {entry.name!r}: {key} must be {_A[wanted]}, not {value!r}")
        if isinstance(value, int | float) and value < _LEAST.get(key, 1):
            raise NetworkError(f"network {entry.name!r}: {key} must be at least {_LEAST.get(key, 1)}, not {value!r}")
        values[key] = value
    return values


def parsed(entry: Entry, texts: Mapping[str, str]) -> dict[str, Option]:
    """Options from text, each of the type of its default; a factor may be a fraction such as 1/8."""
    values: dict[str, Option] = {}
    for key, text in texts.items():
        default = entry.defaults.get(key, "")
        try:
            if isinstance(default, float):
                above, _, below = text.partition("/")
                values[key] = float(above) / float(below or 1)
            else:
                values[key] = type(default)(text)
        except (ValueError, ZeroDivisionError):
            kind = _A[type(default)]
            raise NetworkError(f"network {entry.name!r}: {key} must be {kind}, not {text!r}") from None
    return values


_A = {int: "a whole number", float: "a number", str: "a word"}
_LEAST = {"seed": 0, "classes": 0, "width": 1e-6, "plif_w": -50.0}


def whole(options: Options, key: str) -> int:
    """An option that is a whole number."""
    value = options[key]
    assert isinstance(value, int)
    return value


def number(options: Options, key: str) -> float:
    """An option that is a number."""
    value = options[key]
    assert isinstance(value, int | float)
    return float(value)


def word(name: str, options: Options, key: str, allowed: tuple[str, ...]) -> str:
    """An option that is one of a few words; raises NetworkError."""
    value = str(options[key])
    if value not in allowed:
        raise NetworkError(f"network {name!r}: {key} must be one of {', '.join(allowed)}, not {value!r}")
    return value
