"""The residual blocks: two 3x3 convolutions and a shortcut, which is the identity throughout.

A signal is what goes from block to block: spikes (or counts) [T, N, C, H, W] and, for MS-ResNet
only, the membrane stream that those spikes were fired from.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

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


class Block(nn.Module):
    """Two convolutions C3 with BN; subclasses say what becomes of the shortcut S, the block's input."""

    def __init__(self, channels: int, neuron: Neuron) -> None:
        super().__init__()
        self.conv1 = SpikingLayer(channels, channels, 3, 1, neuron)
        self.conv2 = SpikingLayer(channels, channels, 3, 1, neuron)
        self.neuron = neuron

    def branch(self, x: Signal, steps: int) -> Tensor:
        """BN(C3(SN(BN(C3 S)))), currents."""
        return self.conv2.currents(self.conv1(x.spikes, steps), steps)

    def forward(self, x: Signal, steps: int) -> Signal:
        raise NotImplementedError


class PlainBlock(Block):
    """O = SN(BN(C3(SN(BN(C3 S))))): no shortcut."""

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.branch(x, steps)
        return Signal(fire(currents, self.neuron), currents)


class SpikingBlock(Block):
    """Spiking ResNet: O = SN(BN(C3(SN(BN(C3 S)))) + S), the shortcut a current of 1 a spike."""

    @property
    def current(self) -> float:
        """Current of a shortcut's spike, on the grid of the weights."""
        return 1.0 if self.conv2.bits is None else MARGIN

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.branch(x, steps) + self.current * x.spikes
        return Signal(fire(currents, self.neuron), currents)


class SewBlock(Block):
    """O = g(A, S), A = SN(BN(C3(SN(BN(C3 S))))) (SEW paper, table 1); DS-ResNet is ADD with MLF units."""

    def __init__(self, channels: int, neuron: Neuron, combine: Combine) -> None:
        super().__init__(channels, neuron)
        self.combine: Combine = combine

    def forward(self, x: Signal, steps: int) -> Signal:
        currents = self.branch(x, steps)
        a, s = fire(currents, self.neuron), x.spikes
        if self.combine == "add":
            return Signal(a + s, currents)
        if self.combine == "and":
            return Signal(a * s, currents)
        return Signal((1.0 - a) * s if self.combine == "iand" else a + s - a * s, currents)


class MsBlock(Block):
    """MS-ResNet: y = BN(C3(SN(BN(C3(SN x))))) + x on the membrane stream; its spikes are SN y."""

    def forward(self, x: Signal, steps: int) -> Signal:
        stream = self.branch(x, steps) + x.stream
        return Signal(fire(stream, self.neuron), stream)
