"""A NIR graph without subgraphs: names joined by dots, edges checked, nodes in order, shapes worked out.

All of it takes time linear in nodes and edges.  Errors are ImportRefused and name a node.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ImportRefused
from ..layer_checks import Shape as Layout
from .nir_nodes import Edges, Graph, Node, Pass, Port, Shape
from .nir_shapes import shaped


@dataclass(frozen=True, eq=False)
class Flat:
    """``nodes`` in topological order; ``before`` and ``after``: the other ends of each node's edges.

    ``shapes``: the NIR shape of what each node makes; ``layouts``: the same as (C, H, W), equal when flattened.
    """

    nodes: dict[str, Node]
    before: dict[str, tuple[str, ...]]
    after: dict[str, tuple[str, ...]]
    shapes: dict[str, Shape]
    layouts: dict[str, Layout]

    @property
    def edges(self) -> int:
        return sum(map(len, self.before.values()))


def flat_graph(graph: Graph, input_shape: Shape | None = None) -> Flat:
    """``graph`` without subgraphs, checked; ``input_shape`` stands in for that of the Input node."""
    nodes, edges = _expanded(graph)
    _check_edges(nodes, edges)
    for kind in ("Input", "Output"):
        found = [name for name, node in nodes.items() if isinstance(node, Port) and node.kind == kind]
        if len(found) != 1:
            names = f" ({', '.join(map(repr, sorted(found)[:4]))})" if found else ""
            raise ImportRefused(f"the graph has {len(found) or 'no'} {kind} nodes{names}; a network here has one")
        if kind == "Input" and input_shape is not None:
            nodes[found[0]] = Port(found[0], "Input", input_shape)
    before: dict[str, list[str]] = {name: [] for name in nodes}
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for first, second in edges:
        before[second].append(first)
        after[first].append(second)
    _check_ends(nodes, before, after)
    order = _ordered(before, after)
    ranks = {name: rank for rank, name in enumerate(order)}
    flat = Flat(
        {name: nodes[name] for name in order},
        {name: tuple(sorted(before[name], key=ranks.__getitem__)) for name in order},
        {name: tuple(sorted(after[name], key=ranks.__getitem__)) for name in order},
        {},
        {},
    )
    for name, node in flat.nodes.items():
        sources = [(before, flat.shapes[before], flat.layouts[before]) for before in flat.before[name]]
        flat.nodes[name], flat.shapes[name], flat.layouts[name] = shaped(node, sources)
    return flat


def _expanded(graph: Graph) -> tuple[dict[str, Node], Edges]:
    """All nodes by full name, with subgraphs' ports as passes; all edges."""
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []

    def ports(inner: Graph, kind: str) -> str:
        found = [node.name for node in inner.nodes.values() if isinstance(node, Port) and node.kind == kind]
        if len(found) != 1:
            raise ImportRefused(f"node {inner.name!r}: a subgraph needs one {kind} node, not {len(found)}; give it one")
        return found[0]

    def walk(level: Graph) -> None:
        ends: dict[str, tuple[str, str]] = {}
        for key, node in level.nodes.items():
            if isinstance(node, Graph):
                walk(node)
                ends[key] = (ports(node, "Input"), ports(node, "Output"))
                continue
            if node.name in nodes:
                raise ImportRefused(f"node {node.name!r}: two nodes have this full name; rename one")
            nodes[node.name] = Pass(node.name) if isinstance(node, Port) and level.name else node
            ends[key] = (node.name, node.name)
        for first, second in level.edges:
            for end in (first, second):
                if end not in ends:
                    raise ImportRefused(f"edge {first!r} -> {second!r}: there is no node {end!r}")
            edges.append((ends[first][1], ends[second][0]))

    walk(graph)
    return nodes, tuple(edges)


def _check_edges(nodes: Mapping[str, Node], edges: Edges) -> None:
    seen: set[tuple[str, str]] = set()
    for edge in edges:
        if edge in seen:
            raise ImportRefused(
                f"node {edge[1]!r}: duplicate edge from {edge[0]!r}; use a Scale node if the signal is to count twice"
            )
        seen.add(edge)
        first, second = nodes[edge[0]], nodes[edge[1]]
        if isinstance(first, Port) and first.kind == "Output":
            raise ImportRefused(f"node {first.name!r}: an Output has no edge to {second.name!r}")
        if isinstance(second, Port) and second.kind == "Input":
            raise ImportRefused(f"node {second.name!r}: an Input has no edge from {first.name!r}")


def _check_ends(nodes: Mapping[str, Node], before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> None:
    for name, node in nodes.items():
        kind = node.kind if isinstance(node, Port) else ""
        if not before[name] and kind != "Input":
            raise ImportRefused(f"node {name!r}: nothing leads into it; connect it, or remove it")
        if not after[name] and kind != "Output":
            raise ImportRefused(f"node {name!r}: nothing reads it, and nothing is dropped silently; remove it")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key: conv2 before conv10."""
    parts = re.split(r"(\d{1,18})", name)
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)]


def _ordered(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[str]:
    """Sources first; among those that could come next the first by name."""
    names = sorted(before, key=natural)
    ranks = {name: rank for rank, name in enumerate(names)}
    missing = {name: len(sources) for name, sources in before.items()}
    ready = [ranks[name] for name, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for reader in after[name]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, ranks[reader])
    if len(order) < len(names):
        cycle = _cycle({name for name, count in missing.items() if count}, before)
        raise ImportRefused(
            f"node {cycle[0]!r}: recurrent ({' -> '.join([*cycle, cycle[0]][:8])}); only feed-forward networks run here"
        )
    return order


def _cycle(stuck: set[str], before: Mapping[str, list[str]]) -> list[str]:
    """Some cycle among nodes that all have a source among them, in the direction of the edges."""
    name, path, places = min(stuck, key=natural), [], {}
    while name not in places:
        places[name] = len(path)
        path.append(name)
        name = min((source for source in before[name] if source in stuck), key=natural)
    return path[places[name] :][::-1]
