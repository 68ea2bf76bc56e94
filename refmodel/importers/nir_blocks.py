"""The residual blocks of a float network, found by following each shortcut back to where its branch began."""

from __future__ import annotations

import itertools

from ..layers import ConvLayer, Layer, StreamLayer
from ..network import Network
from .imported import BlockKind, ImportedBlock, ShortcutKind


def find_blocks(network: Network) -> tuple[ImportedBlock, ...]:
    """Residual blocks in execution order, in time linear in the layers; each layer belongs to one block at most."""
    layers = {layer.name: layer for layer in network.layers}
    ranks = {name: rank for rank, name in enumerate(layers)}
    taken: set[str] = set()
    blocks: list[ImportedBlock] = []
    for layer in network.layers:
        found = _shortcut(layer, layers)
        if found is None or layer.name in taken:
            continue
        kind, shortcut, start, beside = found
        branch = [layer.name]
        source = _origin(layers, layer.source)
        while source != start and source in layers and source not in taken and ranks[source] > ranks.get(start, -1):
            branch.append(source)
            source = _origin(layers, layers[source].source)
        if source != start:
            branch = [layer.name]
        members = sorted({*branch, *beside} - taken, key=ranks.__getitem__)
        taken.update(members)
        blocks.append(ImportedBlock(_name(members, len(blocks) + 1), kind, tuple(members), shortcut))
    return tuple(blocks)


def _origin(layers: dict[str, Layer], name: str) -> str:
    """The layer whose values ``name`` has: itself, or that whose stream it is."""
    layer = layers.get(name)
    return layer.source if isinstance(layer, StreamLayer) else name


def _shortcut(layer: Layer, layers: dict[str, Layer]) -> tuple[BlockKind, ShortcutKind, str, list[str]] | None:
    """Kind, kind of shortcut, the tensor where the block begins, and the layers of its projection."""
    if not isinstance(layer, ConvLayer):
        return None
    if layer.stream is not None:
        side = layers[layer.stream]
        assert isinstance(side, ConvLayer)
        if side.neuron is not None or layer.neuron is None:
            return "membrane", "identity", side.name, []
        streamed = isinstance(layers.get(side.source), StreamLayer)
        beside = [side.name, side.source] if streamed else [side.name]
        return ("membrane" if streamed else "spiking-resnet"), "projection", _origin(layers, side.source), beside
    if layer.shortcut is None:
        return None
    if layer.current is not None:
        dense = layer.weight.shape[2:] == (1, 1) and not layer.keeps_stream and layer.name.endswith("dense2")
        return ("current" if dense else "spiking-resnet"), "identity", layer.shortcut, []
    kind: BlockKind = "ds" if layer.neuron is not None and layer.neuron.levels else f"sew-{layer.combine}"  # type: ignore[assignment]
    side = layers.get(layer.shortcut)
    if isinstance(side, ConvLayer) and side.shortcut is None and side.source != layer.source:
        # a projection begins where the branch does; an identity is where the branch begins
        start = _origin(layers, layer.source)
        for _ in range(8):
            if start == side.name:
                return kind, "identity", side.name, []
            if start == side.source:
                return kind, "projection", side.source, [side.name]
            before = layers.get(start)
            if before is None:
                break
            start = _origin(layers, before.source)
    return kind, "identity", layer.shortcut, []


def _name(members: list[str], number: int) -> str:
    """What the names of the members have in common, up to a dot or underscore; else block and its number."""
    columns = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*members, strict=False))
    start = "".join(letters[0] for letters in columns) if len(members) > 1 else ""
    return start[: max(start.rfind("."), start.rfind("_"), 0)] or f"block{number}"
