"""The networks that can be trained: a stem, blocks of one family, average pool, a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from refmodel.errors import NetworkError

from .blocks import Block, MsBlock, Part, PlainBlock, Pool, SewBlock, Signal, SpikingBlock, Stem
from .layers import SpikingLayer
from .neurons import NEURONS
from .rounding import quantised_readout


@dataclass(frozen=True)
class Family:
    """A family of residual networks: its block, and the neuron (a name of NEURONS) it takes by default."""

    block: Callable[..., Block]
    neuron: str = "if"


FAMILIES = {
    "plain": Family(PlainBlock),
    "spiking": Family(SpikingBlock),
    "sew-add": Family(partial(SewBlock, combine="add")),
    "sew-and": Family(partial(SewBlock, combine="and")),
    "sew-iand": Family(partial(SewBlock, combine="iand")),
    "sew-or": Family(partial(SewBlock, combine="or")),
    "ms": Family(MsBlock, "lif"),
    "ds": Family(partial(SewBlock, combine="add"), "mlf"),
}


class SpikingNetwork(nn.Module):
    """Spiking layers and blocks, average pool over space, FC, mean over the T steps.

    Input [N, C, H, W], the same image at each step; output [N, classes].
    """

    def __init__(self, body: list[Part], features: int, classes: int, steps: int) -> None:
        super().__init__()
        self.body = nn.ModuleList(body)
        self.readout = nn.Linear(features, classes)
        self.steps = steps
        self.bits: int | None = None

    def forward(self, image: Tensor) -> Tensor:
        x = Signal(image.unsqueeze(0), image.unsqueeze(0))
        for part in self.body:
            x = part(x, self.steps)
        features = x.spikes.mean(dim=(0, 3, 4))
        if self.bits is None:
            return self.readout(features)
        return F.linear(features, *quantised_readout(self.readout, self.bits))

    def quantise(self, bits: int) -> None:
        """Fold BN for good and train on with weights of ``bits`` bits (straight-through estimator)."""
        self.bits = bits
        blocks = [part for part in self.body if isinstance(part, MsBlock)]
        if any(block.projection is not None for block in blocks):
            raise NetworkError("MS-ResNet with projections cannot be fine-tuned; train one stage, or another family")
        for block in (part for part in self.body if isinstance(part, SpikingBlock)):
            if block.projection is not None:
                block.projection.sharers = block.conv2.sharers = (block.projection, block.conv2)
        streaming = [block.conv2 for block in blocks]
        if streaming:
            stem = self.spiking_layers()[0]
            for layer in (stem, *streaming):
                layer.sharers = (stem, *streaming)
        for layer in self.spiking_layers():
            layer.fold()
            layer.bits = bits

    def spiking_layers(self) -> list[SpikingLayer]:
        """All convolutions, in execution order."""
        return [module for module in self.modules() if isinstance(module, SpikingLayer)]


#: Channels and number of blocks of each stage.
Stages = tuple[tuple[int, int], ...]


def residual_network(
    *, family: str, stages: Stages, inputs: int, steps: int, classes: int, input_scale: float,
    neuron: str | None = None, norm: bool = True, pool: bool = False,
) -> SpikingNetwork:  # fmt: skip
    """Stem conv3x3 on ``inputs`` planes, blocks, GAP, FC; each stage after the first begins with stride 2.

    ``norm`` False leaves every BN out, which shows what it is good for.  ``pool``: the stem's spikes go through a
    maximum pool of 2x2 first.
    """
    unit = NEURONS[neuron or FAMILIES[family].neuron]
    channels = stages[0][0]
    body: list[Part] = [Stem(inputs, channels, 3, 1, unit, input_scale)]
    if pool:
        body.append(Pool())
    for stage, (outputs, blocks) in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            body.append(FAMILIES[family].block(channels, outputs, stride, unit))
            channels = outputs
    model = SpikingNetwork(body, channels, classes, steps)
    for layer in [] if norm else model.spiking_layers():
        layer.drop_norm()
    return model


def dense_network(
    *, size: int, width: int, layers: int, steps: int, classes: int, input_scale: float, neuron: str = "if"
) -> SpikingNetwork:
    """``layers`` dense layers of ``width`` neurons on a ``size`` x ``size`` image."""
    body: list[Part] = [Stem(1, width, size, 0, NEURONS[neuron], input_scale)]
    body += [Stem(width, width, 1, 0, NEURONS[neuron]) for _ in range(layers - 1)]
    return SpikingNetwork(body, width, classes, steps)
