"""What an importer hands over: the network, and what the user must know about how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..network import Network

#: Kinds of residual block: how the shortcut joins the residual branch.
BlockKind = Literal["plain", "sew-add", "sew-and", "sew-iand", "sew-or", "membrane", "current", "spiking-resnet", "ds"]
ShortcutKind = Literal["identity", "projection", "none"]


@dataclass(frozen=True)
class ImportedBlock:
    """A residual block that was found.

    ``layers``: names of its layers in execution order, the projection's included.  ``kind``: ``sew-add``
    (and -and, -iand, -or): spikes combine after the neuron; ``membrane``: a membrane stream goes from block
    to block (MS-ResNet); ``spiking-resnet``: the shortcut is a current of the block's last neuron;
    ``current``: the same in a dense layer (membrane shortcut); ``ds``: sums of MLF units; ``plain``: none.
    """

    name: str
    kind: BlockKind
    layers: tuple[str, ...]
    shortcut: ShortcutKind


@dataclass(frozen=True, eq=False)
class Imported:
    """A float network from another program's file.

    Attributes
    ----------
    network: the network; its name is the file's unless the importer was given another.
    assumptions: one sentence each on what the file leaves open and how it was read; to be printed.
    blocks: the residual structure found, in execution order.
    statistics: counts of what was read and made: nodes, edges, ...
    """

    network: Network
    assumptions: tuple[str, ...] = ()
    blocks: tuple[ImportedBlock, ...] = ()
    statistics: dict[str, int] = field(default_factory=dict)
