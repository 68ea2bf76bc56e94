"""What a family of PyTorch models is: where its parameters are, and what its modules compute.

A family is a :class:`Family`, data alone.  Paths are those of a state_dict, relative to the part they
belong to; ``a|b`` means path a or, in other releases of the same code, path b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...layers import Neuron

#: How a block's shortcut joins its branch.
Join = Literal["sew", "spiking-resnet", "membrane", "ds", "plain"]


@dataclass(frozen=True)
class Norm:
    """Batch norm of a trained network: gamma * scale * (x - mean) / deviation + beta.

    deviation is sqrt(var + epsilon), or with ``outside_root`` sqrt(var) + epsilon.
    """

    epsilon: float = 1e-5
    scale: float = 1.0
    outside_root: bool = False


@dataclass(frozen=True)
class Unit:
    """A convolution, the batch norm behind it, and a neuron.

    The neuron's path matters only where it has parameters of its own (``w`` of a PLIF).  In blocks that join
    membranes it is the neuron in front of the convolution, in all others the one behind.
    """

    conv: str
    norm: str = ""
    neuron: str = ""


@dataclass(frozen=True)
class Pool:
    """A maximum over windows, all in pixels."""

    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class Stem:
    """What comes before the blocks: units (neurons only behind the last) and a pool.

    A first convolution with a kernel up to ``small`` is taken for the stem of small images: stride 1, no pool.
    """

    units: tuple[Unit, ...]
    stride: int = 2
    pool: Pool | None = Pool(3, 2, 1)
    small: int = 3


@dataclass(frozen=True)
class Block:
    """A residual block.

    branch: its convolutions, ``strided`` is the index of the one with the stage's stride.  projection: the
    shortcut's convolution, used where its parameters are.  ``average``: the projection averages windows of the
    stride and has stride 1 itself.  ``swapped``: IAND is A * (1 - S) instead of the SEW paper's (1 - A) * S.
    """

    join: Join
    branch: tuple[Unit, ...]
    projection: Unit | None = None
    average: bool = False
    strided: int = 0
    swapped: bool = False


@dataclass(frozen=True)
class Stages:
    """Blocks in stages: ``path`` has {stage} and {block}, counted from ``first`` and 0.

    The number of a stage's blocks is read from the names.  ``blocks``: the first whose last convolution is there is
    taken, so the longest comes first.  ``strides``: of each stage's first block.
    """

    path: str
    blocks: tuple[Block, ...]
    strides: tuple[int, ...]
    first: int = 1

    def at(self, stage: int, block: int) -> str:
        """Path of a block, both counted from 0."""
        return self.path.replace("{stage}", str(self.first + stage)).replace("{block}", str(block))


@dataclass(frozen=True)
class Chain:
    """Modules in a row: ``path`` has {index}.  Units, blocks, and for numbers without parameters ``pool``."""

    path: str
    unit: Unit
    blocks: tuple[Block, ...]
    pool: Pool = Pool(2, 2)

    def at(self, index: int) -> str:
        """Path of a module, counted from 0."""
        return self.path.replace("{index}", str(index))


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes
    ----------
    title, source: what it is, and whose code has these names.
    body: its blocks.  stem: None where the body starts with a unit of its own.
    readout: path of the last, dense layer; of the mean over pixels, or with ``flatten`` of all of them.
    head: path of the neuron behind the last of blocks that join membranes.
    input_norm: path of a batch norm of the input, used where its statistics are.
    neuron, norm, steps, size, events: what a state_dict does not say: the neuron, the batch norm, T, height and
    width of the input in pixels, and whether inputs are event frames, one a step.
    """

    name: str
    title: str
    source: str
    body: Stages | Chain
    stem: Stem | None = None
    readout: str = "fc"
    flatten: bool = False
    head: str = ""
    input_norm: str = ""
    neuron: Neuron = Neuron()  # noqa: RUF009
    norm: Norm = Norm()
    steps: int = 4
    size: int = 224
    events: bool = False
