"""Spiking DS-ResNet with MLF units as its authors published it (CIFAR-10, CIFAR10-DVS, DVS Gesture)."""

from dataclasses import replace

from ...layers import Neuron
from .description import Block, Family, Norm, Stages, Stem, Unit

_BLOCK = Block(
    "ds",
    (Unit("conv1", "bn1.bn"), Unit("conv2", "bn2.bn")),
    Unit("shortcut.0", "shortcut.1.bn"),
)

IMAGES = Family(
    name="ds-resnet",
    title="Spiking DS-ResNet, images",
    source="github.com/langfengQ/MLF-DSResNet, parallel_nets",
    stem=Stem((Unit("conv1", "bn1.bn"),), pool=None),
    body=Stages("layer{stage}.execute.{block}", (_BLOCK,), strides=(1, 2, 2)),
    readout="voting",
    neuron=Neuron("lif", threshold=0.6, tau=4 / 3, decay_input=False, fire="gt", levels=(1.6, 2.6)),
    # tdBN with alpha = 1 and Vth = 0.6.
    norm=Norm(scale=0.6, outside_root=True),
    size=32,
)
EVENTS = replace(
    IMAGES,
    name="ds-resnet-events",
    title="Spiking DS-ResNet, event frames",
    input_norm="bn0.bn",
    steps=40,
    events=True,
)
