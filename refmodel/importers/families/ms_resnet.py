"""MS-ResNet-18, -34 and -104 as their authors published them, for ImageNet."""

from dataclasses import replace

from ...layers import Neuron
from .description import Block, Family, Stages, Stem, Unit

_BRANCH = tuple(Unit(f"residual_function.{i}", f"residual_function.{i + 1}.bn") for i in (1, 4))

BASIC = Family(
    name="ms-resnet",
    title="MS-ResNet-18, -34",
    source="github.com/Ariande1/MS-ResNet, models/MS_ResNet.py",
    stem=Stem((Unit("conv1.0", "conv1.1.bn"),), pool=None),
    # Stages are called conv2_x to conv5_x.
    body=Stages(
        "conv{stage}_x.{block}",
        (Block("membrane", _BRANCH, Unit("shortcut.0", "shortcut.1.bn")),),
        strides=(2, 2, 2, 2),
        first=2,
    ),
    neuron=Neuron("lif", threshold=0.5, tau=4 / 3, decay_input=False, fire="gt"),
    steps=6,
)
DEEP = replace(
    BASIC,
    name="ms-resnet104",
    title="MS-ResNet-104",
    # Three convolutions with nothing between them; the first has stride 2 in spite of its small kernel.
    stem=Stem((Unit("conv1.0"), Unit("conv1.1"), Unit("conv1.2", "conv1.3.bn")), pool=None, small=1),
    body=Stages(
        "conv{stage}_x.{block}",
        (Block("membrane", _BRANCH, Unit("shortcut.1", "shortcut.2.bn"), average=True),),
        strides=(2, 2, 2, 2),
        first=2,
    ),
)
