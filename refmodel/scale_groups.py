"""Which convolutions share their scales, since a membrane stream connects them, and what that has to suit."""

from __future__ import annotations

from .layers import ConvLayer
from .network import Network


def scale_groups(net: Network) -> dict[str, tuple[ConvLayer, ...]]:
    """For each convolution those that share its scales, itself included, in execution order."""
    members: dict[str, list[ConvLayer]] = {}
    for layer in net.layers:
        if isinstance(layer, ConvLayer):
            group = members[layer.stream] if layer.stream else []
            group.append(layer)
            members[layer.name] = group
    return {name: tuple(group) for name, group in members.items()}


def keeps_input(layer: ConvLayer) -> bool:
    """Whether X is kept, for later layers or until its gates are known."""
    return layer.keeps_stream or layer.attention is not None


def pools_channels(group: tuple[ConvLayer, ...]) -> bool:
    """Whether all channels need one scale, since an attention pools over them."""
    return any(member.attention is not None for member in group)
