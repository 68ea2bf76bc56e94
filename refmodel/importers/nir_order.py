"""The end of a network from NIR: which weights are the readout's, and the order of its layers."""

from __future__ import annotations

import heapq

from ..errors import ImportRefused, NetworkError
from ..layers import Layer
from .nir_graph import Flat
from .nir_nodes import Convolution, Dense, Pooling, Port, Scaling, Spiking


def readout_node(flat: Flat) -> str | None:
    """The weights that lead to the Output alone and read whole planes: the readout's own."""
    output = next(name for name, node in flat.nodes.items() if isinstance(node, Port) and node.kind == "Output")
    name = output
    while len(flat.before[name]) == 1:
        name = flat.before[name][0]
        node = flat.nodes[name]
        if len(flat.after[name]) != 1:
            return None
        if isinstance(node, Dense):
            return name
        if isinstance(node, Convolution):
            plane = flat.layouts[flat.before[name][0]][1:]
            return name if (node.weight.shape[2:], node.padding) == (plane, (0, 0)) else None
        if isinstance(node, Spiking | Pooling | Scaling | Port):
            return None
    return None


def ordered(layers: list[Layer]) -> tuple[Layer, ...]:
    """Layers in execution order, the earlier made first; raises ImportRefused for a circle of shortcuts."""
    ranks = {layer.name: rank for rank, layer in enumerate(layers)}
    waiting: dict[str, int] = {}
    readers: dict[str, list[str]] = {}
    for layer in layers:
        options = {layer.source, getattr(layer, "shortcut", None), getattr(layer, "stream", None)}
        needs = sorted(name for name in options if name in ranks)
        waiting[layer.name] = len(needs)
        for need in needs:
            readers.setdefault(need, []).append(layer.name)
    ready = [ranks[name] for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    out: list[Layer] = []
    while ready:
        layer = layers[heapq.heappop(ready)]
        out.append(layer)
        for reader in readers.get(layer.name, []):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, ranks[reader])
    if len(out) < len(layers):
        stuck = next(name for name, count in waiting.items() if count)
        raise ImportRefused(f"node {stuck!r}: its sums would have to be added up in a circle; give it sums of its own")
    return tuple(out)


def refused(error: NetworkError) -> ImportRefused:
    """A layer's refusal as that of its node, whose name it has."""
    return ImportRefused(str(error).replace("layer '", "node '", 1))
