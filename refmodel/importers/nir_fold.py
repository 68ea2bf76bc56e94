"""Nodes that become part of their neighbours: Scale nodes beside weights, and an LI node read as a sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import ImportRefused
from ..layers import FloatArray
from .nir_graph import Flat
from .nir_nodes import Convolution, Dense, Integrator, Node, Pass, Port, Scaling, Spiking


def fold(flat: Flat, li_sum: bool) -> Flat:
    """``flat`` with Scale nodes multiplied into weights where that changes nothing else.

    ``li_sum``: an LI node in front of the Output hands on its input times r; without it LI is refused.
    """
    nodes = dict(flat.nodes)
    for name, node in flat.nodes.items():
        if isinstance(node, Integrator):
            nodes[name] = node = _summed(flat, node, li_sum)
        if isinstance(node, Scaling):
            _fold_scaling(flat, nodes, node)
    return replace(flat, nodes=nodes)


def _fold_scaling(flat: Flat, nodes: dict[str, Node], node: Scaling) -> None:
    name = node.name
    if (node.scale == 1).all():
        nodes[name] = Pass(name)
        return
    channels = channel_scale(node)
    source = _only_source(flat, nodes, name)
    if source is not None and channels is not None:
        weights = nodes[source]
        assert isinstance(weights, Dense | Convolution)
        scale = channels.reshape(-1, *[1] * (weights.weight.ndim - 1))
        bias = None if weights.bias is None else weights.bias * channels
        nodes[source] = replace(weights, weight=weights.weight * scale, bias=bias)
        nodes[name] = Pass(name)
        return
    readers = [nodes[reader] for reader in flat.after[name]]
    if not all(
        flat.before[reader.name] == (name,)
        and (isinstance(reader, Dense) or (isinstance(reader, Convolution) and channels is not None))
        for reader in readers
    ):
        return
    for reader in readers:
        if isinstance(reader, Dense):
            nodes[reader.name] = replace(reader, weight=reader.weight * node.scale.reshape(-1))
        else:
            assert isinstance(reader, Convolution) and channels is not None
            nodes[reader.name] = replace(reader, weight=reader.weight * channels[:, None, None])
    nodes[name] = Pass(name)


def merge_twins(flat: Flat) -> tuple[Flat, dict[str, str]]:
    """``flat`` with neurons of equal parameters on equal sources made one, and which stands for which."""
    firsts: dict[tuple[object, ...], str] = {}
    stands_for: dict[str, str] = {}
    for name, node in flat.nodes.items():
        if isinstance(node, Spiking):
            arrays = [getattr(node, key) for key in ("threshold", "r", "reset", "tau", "leak")]
            # one value stands for arrays that are constant; others are told apart by all of theirs
            digest = tuple(None if array is None else _digest(array) for array in arrays)
            first = firsts.setdefault((node.kind, flat.before[name], digest), name)
            if first != name:
                stands_for[name] = first
    if not stands_for:
        return flat, stands_for
    order = {name: rank for rank, name in enumerate(flat.nodes)}
    before: dict[str, tuple[str, ...]] = {}
    after: dict[str, list[str]] = {name: [] for name in flat.nodes if name not in stands_for}
    for name in after:
        sources = [stands_for.get(source, source) for source in flat.before[name]]
        if len(set(sources)) < len(sources):
            twice = next(source for source in sources if sources.count(source) > 1)
            raise ImportRefused(
                f"node {name!r}: adds the equal spikes of {twice!r} and its twin; use a Scale node if they count twice"
            )
        before[name] = tuple(sorted(sources, key=order.__getitem__))
        for source in sources:
            after[source].append(name)
    kept = {name: node for name, node in flat.nodes.items() if name not in stands_for}
    return replace(flat, nodes=kept, before=before, after={k: tuple(v) for k, v in after.items()}), stands_for


def _digest(array: FloatArray) -> object:
    return float(array.flat[0]) if (array == array.flat[0]).all() else array.tobytes()


def channel_scale(node: Scaling) -> FloatArray | None:
    """The factor of each channel, None where it differs between a channel's pixels."""
    rows = node.scale.reshape(len(node.scale), -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None


def _only_source(flat: Flat, nodes: dict[str, Node], name: str) -> str | None:
    """The weights whose result goes to ``name`` alone, perhaps through nodes folded before."""
    while len(flat.before[name]) == 1:
        name = flat.before[name][0]
        if len(flat.after[name]) != 1:
            return None
        if isinstance(nodes[name], Dense | Convolution):
            return name
        if not isinstance(nodes[name], Pass):
            return None
    return None


def _summed(flat: Flat, node: Integrator, li_sum: bool) -> Node:
    where = f"node {node.name!r}"
    readers = [flat.nodes[name] for name in flat.after[node.name]]
    if not (len(readers) == 1 and isinstance(readers[0], Port)):
        raise ImportRefused(f"{where}: an LI node has no spikes, so it can only lead to the Output, alone")
    if not li_sum:
        raise ImportRefused(
            f"{where}: the result here is a mean over the steps, which a leaky integrator (LI) is not; "
            "use li='sum' (--li sum) to take the sum of its input instead"
        )
    if node.leak.any():
        raise ImportRefused(f"{where}: an LI node read as a sum must have v_leak 0, not {np.abs(node.leak).max():g}")
    for key, values in (("tau", node.tau), ("r", node.r)):
        if values.min() <= 0:
            raise ImportRefused(f"{where}: {key} must be positive, not {values.min():g}")
    factor = node.r / node.tau
    return Scaling(node.name, factor / factor.flat[0])
