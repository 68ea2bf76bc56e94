"""The zoo: networks of the literature by name, with deterministic random weights."""

from __future__ import annotations

from ..errors import NetworkError
from ..network import Network
from . import ds, ms, resnets, seven_blocks, tutorial
from .catalogue import Entry, Option, merged, parsed
from .weights import filled

__all__ = ["PREFIX", "build", "entry", "names", "read", "sketch"]

#: What a network's name begins with where files and bundled networks can be named, too.
PREFIX = "zoo:"

_ENTRIES = {
    found.name: found
    for family in (tutorial, resnets, ms, seven_blocks, ds)
    for found in family.entries()
}


def names() -> list[str]:
    """Every network's name, family by family."""
    return list(_ENTRIES)


def entry(name: str) -> Entry:
    """What is known of a network; raises NetworkError that lists the names there are."""
    if name not in _ENTRIES:
        raise NetworkError(f"no network {name!r} in the zoo; there are {', '.join(_ENTRIES)}")
    return _ENTRIES[name]


def sketch(name: str, **options: Option) -> Network:
    """The network with zeros for weights that take no memory: shapes, sizes and limits of networks of any size.

    Raises NetworkError for an unknown name or option.
    """
    found = entry(name)
    values = merged(found, options)
    drawn = found.draw(name, values)
    drawn.meta.update({"data": "random", "zoo": values})
    return drawn


def build(name: str, **options: Option) -> Network:
    """The network with random weights, the same for the same name and options.

    Options and their defaults: ``entry(name).defaults``.  ``width``: factor of all channel counts (rounded, at
    least 4); ``size``: height and width of the input; ``seed``: of the weights.  Weights and biases are set layer
    by layer so that spikes neither die out nor saturate (:mod:`refmodel.zoo.weights`).
    Raises NetworkError for an unknown name or option.
    """
    drawn = sketch(name, **options)
    values = merged(entry(name), options)
    seed = values["seed"]
    assert isinstance(seed, int)
    return filled(drawn, seed)


def read(text: str) -> tuple[str, dict[str, Option]]:
    """Name and options of ``NAME,option=value,...`` (with or without the prefix); raises NetworkError."""
    name, *pairs = text.removeprefix(PREFIX).split(",")
    found = entry(name)
    texts: dict[str, str] = {}
    for item in pairs:
        key, equals, value = item.partition("=")
        if not equals or key in texts:
            raise NetworkError(
                f"network {text!r}: {item!r} is not an option; write {PREFIX}{name},option=value,... with each once"
            )
        texts[key] = value
    return name, merged(found, parsed(found, texts))
