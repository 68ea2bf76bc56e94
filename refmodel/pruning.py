"""Natural pruning: an integer network without the layers, shortcuts and channels that cannot matter.

A shortcut that is always 0 (a closed gate of SynA, or weights that never reach the threshold), a
branch that never fires, a channel that is 0 or that nobody reads: none of them has a place in the
program.  What remains computes the same results from any input, by proof (:mod:`refmodel.reach`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .legality import validate
from .quantized import INPUT, QuantizedLayer, QuantizedNetwork
from .reach import ChannelReach, channel_reach

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PruneReport:
    """What :func:`prune` removed.

    layers: removed layers, those replaced by their shortcut (``bypassed``) among them.
    shortcuts: layers that lost their shortcut.
    channels: by layer that remains, how many of its channels went.
    parameters: weights and biases before and after.
    """

    layers: tuple[str, ...] = ()
    bypassed: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()
    channels: Mapping[str, int] = field(default_factory=dict)
    parameters: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        before, after = self.parameters
        return (
            f"{len(self.layers)} layers removed ({len(self.bypassed)} replaced by their shortcut), "
            f"{len(self.shortcuts)} shortcuts, {sum(self.channels.values())} channels of others; "
            f"{before - after} of {before} weights and biases"
        )


def prune(net: QuantizedNetwork) -> tuple[QuantizedNetwork, PruneReport]:
    """The network without what cannot change its results, and what that was.

    Every layer that remains has the same values in the channels that remain, and the readout all its
    classes.  A layer keeps at least one channel.  Raises NetworkError for a network that is not legal.
    """
    validate(net)
    layers = list(net.layers)
    bypassed: list[str] = []
    shortcuts: list[str] = []
    while True:
        current = replace(net, layers=tuple(layers))
        before = [id(layer) for layer in layers]
        reach = channel_reach(current)
        layers = _without_zero_shortcuts(layers, reach, shortcuts)
        layers = _bypass(layers, reach, bypassed)
        layers = _referenced(layers)
        layers = _without_channels(replace(net, layers=tuple(layers)), reach)
        if [id(layer) for layer in layers] == before:
            break
    pruned = replace(net, layers=tuple(layers))
    validate(pruned)
    return pruned, _report(net, pruned, bypassed, shortcuts)


def silence(net: QuantizedNetwork, names: Collection[str]) -> QuantizedNetwork:
    """The network with the tensors of these layers at 0, as where a shortcut's gates are frozen closed.

    Unlike :func:`prune` this changes what the network computes, unless they were 0 anyway.  Raises
    NetworkError for a name that is no layer with neurons, or keeps a stream.
    """
    known = {layer.name: layer for layer in net.layers}
    for name in names:
        layer = known.get(name)
        if layer is None:
            raise NetworkError(f"no layer {name!r} to silence; there are {', '.join(known)}")
        if layer.threshold is None or layer.keeps_stream:
            raise NetworkError(f"layer {name!r}: only a layer with neurons and without a kept stream can be silenced")
    infos = net.tensors()
    return replace(
        net,
        layers=tuple(
            _silent(layer, infos[layer.source].max_value) if layer.name in names else layer for layer in net.layers
        ),
    )


def closed_gates(gates: Mapping[str, NDArray[Any]]) -> list[str]:
    """Layers whose gates ``[N, A]`` are all 0 over a calibration set."""
    return [name for name, values in gates.items() if not np.any(values)]


def _silent(layer: QuantizedLayer, largest: int) -> QuantizedLayer:
    """The layer with a tensor of zeros and nothing to compute."""
    if layer.kind == "apply":
        raise NetworkError(f"layer {layer.name!r}: silence a network before it is lowered")
    shared = {"shortcut": None, "combine": "pass", "attention": None, "levels": None, "leak_shifts": ()}
    shared |= {"leak_factor": None, "reset": "hard", "stateless": False, "rectify": False}
    assert layer.threshold is not None
    if layer.kind == "window":
        taps = layer.kernel[0] * layer.kernel[1]
        return replace(layer, **shared, threshold=np.full_like(layer.threshold, largest * taps + 1))
    assert layer.weight is not None
    return replace(
        layer, **shared, weight=np.zeros_like(layer.weight), threshold=np.ones_like(layer.threshold),
        bias=None, current=None, stream=None,
    )  # fmt: skip


def _is_silent(layer: QuantizedLayer) -> bool:
    """Whether it is what :func:`_silent` makes of it."""
    none = (layer.shortcut, layer.attention, layer.levels, layer.bias, layer.current, layer.stream)
    return all(option is None for option in none) and (layer.weight is None or not layer.weight.any())


def _without_zero_shortcuts(
    layers: list[QuantizedLayer], reach: dict[str, ChannelReach], removed: list[str]
) -> list[QuantizedLayer]:
    """Shortcuts of zeros go, and what a layer computes whose tensor is always 0."""
    streams = {layer.stream for layer in layers} | {layer.source for layer in layers if layer.kind in _OF_STREAMS}
    result = []
    for layer in layers:
        if layer.threshold is None:
            result.append(layer)
            continue
        zero = layer.shortcut is not None and bool(reach[layer.shortcut].silent.all())
        if (
            layer.kind in ("conv", "window")
            and layer.name not in streams
            and reach[layer.name].silent.all()
            and not _is_silent(layer)
        ):
            removed += [layer.name] if layer.shortcut is not None else []
            layer = replace(_silent(layer, int(reach[layer.source].high.max())), keeps_stream=False)
        elif zero and layer.combine in ("pass", "add", "or"):
            removed.append(layer.name)
            layer = replace(layer, shortcut=None, combine="pass", current=None)
        result.append(layer)
    return result


#: Kinds whose source is a kept stream.
_OF_STREAMS = ("stream", "apply")


def _bypass(
    layers: list[QuantizedLayer], reach: dict[str, ChannelReach], bypassed: list[str]
) -> list[QuantizedLayer]:
    """Layers whose own neurons never fire are their shortcut: A = 0 in ADD, OR and IAND."""
    instead: dict[str, str] = {}
    result = []
    for layer in layers:
        source = layer.source if layer.kind in _OF_STREAMS else instead.get(layer.source, layer.source)
        shortcut = None if layer.shortcut is None else instead.get(layer.shortcut, layer.shortcut)
        if (source, shortcut) != (layer.source, layer.shortcut):
            layer = replace(layer, source=source, shortcut=shortcut)
        result.append(layer)
        if shortcut is not None and layer.combine in ("add", "or", "iand") and not reach[layer.name].fired.any():
            instead[layer.name] = shortcut
    bypassed += [name for name in instead if name not in bypassed]
    return result


def _referenced(layers: list[QuantizedLayer]) -> list[QuantizedLayer]:
    """Layers that the readout depends on; they keep a stream only for those that read it."""
    wanted: set[str | None] = set()
    streams: set[str | None] = set()
    result = []
    for layer in reversed(layers):
        if layer.kind == "readout" or layer.name in wanted:
            if layer.keeps_stream and layer.threshold is not None and layer.name not in streams:
                layer = replace(layer, keeps_stream=False)
            result.append(layer)
            wanted |= {layer.source, layer.shortcut, layer.stream}
            streams |= {layer.stream, layer.source if layer.kind in _OF_STREAMS else None}
    return result[::-1]


def _without_channels(net: QuantizedNetwork, reach: dict[str, ChannelReach]) -> list[QuantizedLayer]:
    """Layers with the channels that are needed, and their weights of channels that are there."""
    kept = _needed_channels(net, reach)
    result = []
    for layer in net.layers:
        outputs, inputs = kept[layer.name], kept[layer.source]
        if outputs.all() and (layer.weight is None or inputs.all()):
            result.append(layer)
            continue
        changes: dict[str, Any] = {}
        if layer.weight is not None:
            changes["weight"] = layer.weight[outputs][:, inputs]
        for name in ("bias", "threshold", "current", "scale"):
            vector = getattr(layer, name)
            changes[name] = None if vector is None else vector[outputs]
        changes["levels"] = None if layer.levels is None else layer.levels[:, outputs]
        result.append(replace(layer, **changes))
    return result


def _needed_channels(net: QuantizedNetwork, reach: dict[str, ChannelReach]) -> dict[str, Mask]:
    """Which channels of each tensor stay.

    Tensors whose channels correspond (shortcuts, streams, pools) keep the same ones: those that any
    of them needs.  A convolution needs a channel of its source if it is not always 0 and has a
    weight to a channel that stays; an attention needs all channels of its layer.
    """
    groups = _Groups(net)
    needed = {groups.of(name): np.zeros(len(reach[name].low), bool) for name in reach if name in groups}
    needed[groups.of(INPUT)][:] = True
    for layer in net.layers:
        if layer.kind == "readout" or layer.attention is not None:
            needed[groups.of(layer.name)][:] = True
    while True:
        before = {name: mask.copy() for name, mask in needed.items()}
        for layer in reversed(net.layers):
            own, source = needed[groups.of(layer.name)], needed[groups.of(layer.source)]
            if layer.weight is not None:
                own[0] |= not own.any()
                used = (layer.weight[own] != 0).any(axis=(0, 2, 3))
                source |= used & ~reach[layer.source].silent
            source[0] |= not source.any()
        if all((before[name] == mask).all() for name, mask in needed.items()):
            return {name: needed[groups.of(name)] for name in (INPUT, *(layer.name for layer in net.layers))}


class _Groups:
    """Tensors whose channels correspond one to one."""

    def __init__(self, net: QuantizedNetwork) -> None:
        self._parent = {name: name for name in (INPUT, *(layer.name for layer in net.layers))}
        for layer in net.layers:
            channelwise = layer.weight is None
            self._join(layer.name, (layer.source if channelwise else None, layer.shortcut, layer.stream))

    def _join(self, name: str, others: Iterable[str | None]) -> None:
        for other in others:
            if other is not None:
                self._parent[self.of(other)] = self.of(name)

    def __contains__(self, name: str) -> bool:
        return name in self._parent

    def of(self, name: str) -> str:
        """The group's name."""
        while self._parent[name] != name:
            name = self._parent[name]
        return name


def _report(
    before: QuantizedNetwork, after: QuantizedNetwork, bypassed: list[str], shortcuts: list[str]
) -> PruneReport:
    first, last = before.tensors(), after.tensors()
    names = {layer.name for layer in after.layers}
    lost = {name: first[name].shape[0] - last[name].shape[0] for name in last if name != INPUT}
    return PruneReport(
        layers=tuple(layer.name for layer in before.layers if layer.name not in names),
        bypassed=tuple(name for name in bypassed if name not in names),
        shortcuts=tuple(dict.fromkeys(name for name in shortcuts if name in names)),
        channels={name: count for name, count in lost.items() if count},
        parameters=(before.parameters, after.parameters),
    )
