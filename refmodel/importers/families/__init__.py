"""The families of PyTorch models whose state_dicts can be imported; a new one is a new file and a line here."""

from __future__ import annotations

from . import (
    ds_resnet,
    ms_resnet,
    seven_block,
    sew_resnet,
    sew_spiking_resnet,
    spikingjelly_ms_resnet,
    spikingjelly_sew_resnet,
    spikingjelly_spiking_resnet,
)
from .description import Block, Chain, Family, Join, Norm, Pool, Stages, Stem, Unit

__all__ = ["FAMILIES", "Block", "Chain", "Family", "Join", "Norm", "Pool", "Stages", "Stem", "Unit"]

_ALL = (
    spikingjelly_sew_resnet.FAMILY,
    spikingjelly_spiking_resnet.FAMILY,
    spikingjelly_ms_resnet.FAMILY,
    sew_resnet.FAMILY,
    sew_spiking_resnet.FAMILY,
    seven_block.SEW,
    seven_block.SPIKING,
    seven_block.PLAIN,
    ms_resnet.BASIC,
    ms_resnet.DEEP,
    ds_resnet.IMAGES,
    ds_resnet.EVENTS,
)

#: All families by name.
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
