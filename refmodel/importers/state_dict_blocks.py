"""Residual blocks of a state_dict's parameters, each way that a shortcut joins its branch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ImportRefused, NetworkError
from ..layers import Neuron
from ..quantized import Combine
from .families import Block, Join
from .imported import BlockKind, ImportedBlock, ShortcutKind
from .state_dict_layers import Folded, LayerMaker

_KINDS: dict[Join, BlockKind] = {
    "plain": "plain", "membrane": "membrane", "spiking-resnet": "spiking-resnet", "ds": "ds",
}  # fmt: skip
_SEW_KINDS: dict[str, BlockKind] = {"ADD": "sew-add", "AND": "sew-and", "IAND": "sew-iand", "OR": "sew-or"}
_COMBINES: dict[str, Combine] = {"ADD": "add", "AND": "and", "IAND": "iand", "OR": "or"}
#: Spikes where its input does, in the same step: the identity as a layer.
_COPY = Neuron("step", threshold=0.5)


@dataclass(frozen=True, eq=False)
class _Found:
    """A block that reads ``x``, with its parameters; ``neurons``: those behind its convolutions."""

    block: Block
    x: str
    prefix: str
    stride: int
    convs: list[Folded]
    neurons: list[Neuron]
    projection: Folded | None


class BlockMaker(LayerMaker):
    """Adds blocks; their layers are called block.conv1, block.projection and so on."""

    def block(self, block: Block, x: str, name: str, stride: int, after: str = "") -> str:
        """A block at path ``name`` that reads ``x``; ``after``: path of the neuron behind it, where membranes join."""
        first = len(self.names)
        found = self._find(block, x, f"{name}.", stride, after)
        joins = {"membrane": self._membrane, "spiking-resnet": self._spiking, "plain": self._branch}
        try:
            made = joins.get(block.join, self._sew)(found)
        except NetworkError as error:
            raise ImportRefused(f"block {name!r}: {error}") from error
        shortcut: ShortcutKind = "identity" if found.projection is None else "projection"
        if block.join == "plain":
            shortcut = "none"
        kind = _KINDS.get(block.join) or _SEW_KINDS[self.connect]
        self.blocks.append(ImportedBlock(name, kind, tuple(self.names[first:]), shortcut))
        return made

    def _find(self, block: Block, x: str, prefix: str, stride: int, after: str) -> _Found:
        inputs = channels = self.builder.tensor(x).shape[0]
        projects = block.projection is not None and (
            stride != 1 or f"{self.parameters.find(block.projection.conv, 'weight', prefix)}.weight" in self.parameters
        )
        convs: list[Folded] = []
        for index, unit in enumerate(block.branch, start=1):
            # an identity shortcut keeps the number of channels
            joins = index == len(block.branch) and not projects and block.join != "plain"
            convs.append(self.folded(unit, prefix, channels, inputs if joins else None))
            channels = len(convs[-1][0])
        projection = None
        if projects and block.projection is not None:
            projection = self.folded(block.projection, prefix, inputs, channels)
        if block.join == "membrane":  # neurons come before the convolutions
            neurons = [self.neuron_at(unit.neuron, prefix) for unit in block.branch[1:]] + [self.neuron_at(after)]
        else:
            neurons = [self.neuron_at(unit.neuron, prefix) for unit in block.branch]
        return _Found(block, x, prefix, stride, convs, neurons, projection)

    def _branch(self, found: _Found, last_name: str = "", **last: Any) -> str:
        """SN(BN(C(...))); ``last``: options of the last convolution."""
        x = found.x
        for index, (folded, neuron) in enumerate(zip(found.convs, found.neurons, strict=True)):
            closing = index == len(found.convs) - 1
            name = f"{found.prefix}{last_name if closing and last_name else f'conv{index + 1}'}"
            stride = found.stride if index == found.block.strided else 1
            x = self.conv(folded, x, name, stride, neuron=neuron, **(last if closing else {}))
        return x

    def _sew(self, found: _Found) -> str:
        """g(A, sc(S)), sc the identity or SN(BN(C1 stride))."""
        combine: Combine = "add" if found.block.join == "ds" else _COMBINES[self.connect]
        own = self.neuron
        if found.projection is not None and found.block.projection is not None:
            own = self.neuron_at(found.block.projection.neuron, found.prefix)
        if combine == "iand" and found.block.swapped:
            return self._swapped(found, own)
        shortcut = found.x
        if found.projection is not None:
            shortcut = self.conv(found.projection, found.x, f"{found.prefix}projection", found.stride, neuron=own)
        return self._branch(found, shortcut=shortcut, combine=combine)

    def _swapped(self, found: _Found, own: Neuron) -> str:
        """A * (1 - sc(S)): the branch is the shortcut of the layer that makes sc."""
        branch = self._branch(found, "branch")
        name = f"{found.prefix}conv{len(found.convs)}"
        if found.projection is not None:
            return self.conv(
                found.projection, found.x, name, found.stride, neuron=own, shortcut=branch, combine="iand"
            )  # fmt: skip
        identity = np.eye(self.builder.tensor(found.x).shape[0])[:, :, None, None]
        return self.conv((identity, None), found.x, name, neuron=_COPY, shortcut=branch, combine="iand")

    def _spiking(self, found: _Found) -> str:
        """SN(BN(C(...)) + sc(S)), sc the identity or BN(C1 stride), whose X is a stream."""
        if found.projection is None:
            return self._branch(found, shortcut=found.x, current=1.0)
        shortcut = self.conv(found.projection, found.x, f"{found.prefix}projection", found.stride, neurons=False)
        return self._branch(found, stream=shortcut)

    def _membrane(self, found: _Found) -> str:
        """BN(C(...SN x)) + sc(x), kept as stream, sc the identity, BN(C1 stride) or BN(C1(average))."""
        shortcut = found.x
        if found.projection is not None:
            source = self.stream(found.x, f"{found.prefix}stream")
            folded, padding = found.projection, None
            if found.block.average:
                weight, bias = folded
                if weight.shape[2:] != (1, 1):
                    raise ImportRefused(f"block {found.prefix[:-1]!r}: a projection of averages must be 1x1")
                window = (found.stride, found.stride)
                folded = np.broadcast_to(weight, (*weight.shape[:2], *window)) / found.stride**2, bias
                padding = 0
            shortcut = self.conv(
                folded, source, f"{found.prefix}projection", found.stride, padding=padding, neurons=False
            )  # fmt: skip
        return self._branch(found, stream=shortcut, keeps_stream=True)
