"""What an exported NIR file says beside its graph: settings that NIR has no place for, and the whole description.

It is one JSON text in the graph's metadata, ``skipspike``.  The description's arrays are parameters of the graph's
nodes.  It counts only while the graph is still the one that this network would be exported as.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..description import RECORDS
from ..errors import SkipspikeError
from ..network import Network
from .nir_nodes import Graph, Node
from .nir_parse import parse

KEY = "skipspike"
FORMAT = "skipspike-nir"
VERSION = 1

#: Type of each setting, and what it may be.
_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "dt": (int, float), "steps": int, "input_bits": int, "input_scale": (int, float), "signed": bool, "static": bool,
    "fold": int, "drop_bits": int, "if_r": str, "fire": str, "reset": str,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Kept:
    """``settings``: options of the importer; ``description`` of the network; ``arrays``: node, parameter, shape."""

    settings: dict[str, Any]
    description: dict[str, Any]
    arrays: dict[str, Any]


def dumped(kept: Kept) -> str:
    """The metadata's text."""
    return json.dumps({"format": FORMAT, "version": VERSION, **vars(kept)}, sort_keys=True, allow_nan=False)


def kept_settings(graph: Graph) -> Kept | None:
    """What the metadata says, None if there is none or it makes no sense: it is only a help."""
    text = graph.metadata.get(KEY)
    if not isinstance(text, str):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        return None
    parts = [found.get(key) for key in ("settings", "description", "arrays")]
    if not all(isinstance(part, dict) for part in parts):
        return None
    settings, description, arrays = parts
    assert isinstance(settings, dict) and isinstance(description, dict) and isinstance(arrays, dict)
    if not all(key in _SETTINGS and _fits(value, _SETTINGS[key]) for key, value in settings.items()):
        return None
    return Kept(settings, description, arrays)


def _fits(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def kept_network(graph: Graph, kept: Kept) -> Network | None:
    """The described network with the graph's arrays; None unless it would be exported as just this graph."""
    from .nir_export import nir_tree

    try:
        arrays = {key: _array(graph, *place) for key, place in kept.arrays.items()}
        network = RECORDS["float"].decode(kept.description, arrays, "network")
        again = parse(nir_tree(network, float(kept.settings["dt"])).tree)
    except (SkipspikeError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        return None
    return network if isinstance(again, Graph) and _same_graph(again, graph) else None


def _array(graph: Graph, node: str, parameter: str, shape: list[int]) -> Any:
    values = getattr(graph.nodes[node], parameter)
    return np.array(values, dtype=np.float64).reshape(shape)


def _same_graph(first: Graph, second: Graph) -> bool:
    return (
        first.nodes.keys() == second.nodes.keys()
        and len(first.edges) == len(second.edges)
        and set(first.edges) == set(second.edges)
        and all(_same_node(first.nodes[name], second.nodes[name]) for name in first.nodes)
    )


def _same_node(first: Node, second: Node) -> bool:
    return type(first) is type(second) and all(
        np.array_equal(getattr(first, entry.name), getattr(second, entry.name))
        if isinstance(getattr(first, entry.name), np.ndarray)
        else getattr(first, entry.name) == getattr(second, entry.name)
        for entry in fields(first)
        if entry.name != "input_shape"
    )
