"""The residual blocks: two 3x3 convolutions and a shortcut, the identity or a 1x1 convolution with BN.

A signal is what goes from block to block: spikes (or counts) [T, N, C, H, W] and, for MS-ResNet
only, the membrane stream that those spikes were fired from.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from refmodel.network import Neuron

from .layers import SpikingLayer
from .neurons import fire
from .rounding import MARGIN

Combine = Literal["add", "and", "iand", "or"]


class Signal(NamedTuple):
    spikes: Tensor
    stream: Tensor


class Stem(SpikingLayer):
    """SN(BN(conv(image))), or any layer in front of the blocks; its currents start the membrane stream."""

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.currents(x.spikes, steps)
        return Signal(fire(currents, self.neuron), currents)


class Pool(nn.Module):
    """Maximum of each 2x2 pixels' spikes."""

    def forward(self, x: Signal, steps: int) -> Signal:
        spikes = F.max_pool2d(x.spikes.flatten(0, 1), 2).unflatten(0, x.spikes.shape[:2])
        return Signal(spikes, x.stream)


class Block(nn.Module):
    """Two convolutions C3 with BN; subclasses say what becomes of the shortcut S, the block's input.

    Where channels or the stride change, ``projection`` is the shortcut's C1 with BN.  The modules are made in
    the order in which refmodel's builder names the layers of the family.
    """

    #: Whether the builder puts the projection in front of the branch: where it makes a membrane stream.
    projects_first = False

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: Neuron) -> None:
        super().__init__()
        projected = stride != 1 or inputs != outputs
        self.projection: SpikingLayer | None = None
        if projected and self.projects_first:
            self.projection = SpikingLayer(inputs, outputs, 1, 0, neuron, stride=stride)
        self.conv1 = SpikingLayer(inputs, outputs, 3, 1, neuron, stride=stride)
        if projected and not self.projects_first:
            self.projection = SpikingLayer(inputs, outputs, 1, 0, neuron, stride=stride)
        self.conv2 = SpikingLayer(outputs, outputs, 3, 1, neuron)
        self.neuron = neuron

    def branch(self, x: Signal, steps: int) -> Tensor:
        """BN(C3(SN(BN(C3 S)))), currents."""
        return self.conv2.currents(self.conv1(x.spikes, steps), steps)

    def forward(self, x: Signal, steps: int) -> Signal:
        raise NotImplementedError


class PlainBlock(Block):
    """O = SN(BN(C3(SN(BN(C3 S))))): no shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: Neuron) -> None:
        super().__init__(inputs, outputs, stride, neuron)
        self.projection = None

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.branch(x, steps)
        return Signal(fire(currents, self.neuron), currents)


class SpikingBlock(Block):
    """Spiking ResNet: O = SN(BN(C3(SN(BN(C3 S)))) + sc(S)): a current of 1 a spike, or BN(C1 S)."""

    projects_first = True

    @property
    def current(self) -> float:
        """Current of a shortcut's spike, on the grid of the weights."""
        return 1.0 if self.conv2.bits is None else MARGIN

    def forward(self, x: Signal, steps: int) -> Signal:
        shortcut = self.current * x.spikes if self.projection is None else self.projection.currents(x.spikes, steps)
        currents = self.branch(x, steps) + shortcut
        return Signal(fire(currents, self.neuron), currents)


class SewBlock(Block):
    """O = g(A, sc(S)), A = SN(BN(C3(SN(BN(C3 S))))), sc the identity or SN(BN(C1 S)) (SEW paper, table 1).

    DS-ResNet is ADD with MLF units.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: Neuron, combine: Combine) -> None:
        super().__init__(inputs, outputs, stride, neuron)
        self.combine: Combine = combine

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.branch(x, steps)
        a = fire(currents, self.neuron)
        s = x.spikes if self.projection is None else self.projection(x.spikes, steps)
        if self.combine == "add":
            return Signal(a + s, currents)
        if self.combine == "and":
            return Signal(a * s, currents)
        return Signal((1.0 - a) * s if self.combine == "iand" else a + s - a * s, currents)


class MsBlock(Block):
    """MS-ResNet: y = BN(C3(SN(BN(C3(SN x))))) + sc(x) on the membrane stream, sc the identity or BN(C1 x).

    Its spikes are SN y.
    """

    projects_first = True

    def forward(self, x: Signal, steps: int) -> Signal:
        shortcut = x.stream if self.projection is None else self.projection.currents(x.stream, steps)
        stream = self.branch(x, steps) + shortcut
        return Signal(fire(stream, self.neuron), stream)


#: What a network's body is made of.
Part = Stem | Pool | Block
