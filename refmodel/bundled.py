"""The trained networks that travel in the repository (refmodel/networks)."""

from __future__ import annotations

import json
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from . import modelfile
from .errors import NetworkError
from .network import Network

#: Accuracies on the 360 test digits, written by ``python -m examples.training.table``.
TABLE = "accuracies.json"


def _directory() -> Traversable:
    return resources.files("refmodel.networks")


def names() -> list[str]:
    """Names of the bundled networks, sorted."""
    files = (entry.name for entry in _directory().iterdir())
    return sorted(name.removesuffix(modelfile.SUFFIX) for name in files if name.endswith(modelfile.SUFFIX))


def load_network(name: str) -> Network:
    """A bundled network by name; raises NetworkError that lists the names there are."""
    if name not in names():
        raise NetworkError(f"no bundled network {name!r}; there are {', '.join(names())}")
    with resources.as_file(_directory() / f"{name}{modelfile.SUFFIX}") as path:
        network = modelfile.load(path)
    if not isinstance(network, Network):
        raise NetworkError(f"bundled network {name!r} is quantised already; bundle the float network")
    return network


def accuracies() -> dict[str, dict[str, Any]]:
    """The checked-in table: ``accuracy_float`` and ``accuracy_int`` (percent), ``weight_bits``, by network."""
    return json.loads((_directory() / TABLE).read_text(encoding="utf-8"))


def list_networks() -> list[dict[str, Any]]:
    """One entry a network, sorted by name.

    Keys: name, family, data, steps, parameters, weight_bits, and the accuracies in percent on the test
    images of its data: accuracy_float, and accuracy_int of the integer network at weight_bits.
    """
    table = accuracies()
    entries: list[dict[str, Any]] = []
    for name in names():
        network = load_network(name)
        row = table.get(name, {})
        entries.append(
            {
                "name": name,
                "family": network.family,
                "data": network.meta.get("data"),
                "steps": network.steps,
                "parameters": network.parameters,
                "accuracy_float": row.get("accuracy_float", network.meta.get("accuracy_float")),
                "accuracy_int": row.get("accuracy_int"),
                "weight_bits": network.meta.get("weight_bits", 8),
            }
        )
    return entries
