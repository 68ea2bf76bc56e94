"""7B-Net and Wide-7B-Net of the SEW paper (DVS Gesture, CIFAR10-DVS), with SEW, Spiking ResNet and plain blocks."""

from dataclasses import replace

from ...layers import Neuron
from .description import Block, Chain, Family, Unit


def _unit(path: str) -> Unit:
    """A convolution with its neuron: container and neuron are numbers 0 and 1."""
    return Unit(f"{path}0.module.0|{path}0.0", f"{path}0.module.1|{path}0.1", f"{path}1")


_BRANCH = (_unit("conv.0."), _unit("conv.1."))
_SUMMED = (_BRANCH[0], Unit("conv.1.module.0|conv.1.0", "conv.1.module.1|conv.1.1", "sn"))

SEW = Family(
    name="sew-7b-net",
    title="7B-Net, Wide-7B-Net",
    source="github.com/fangwei123456/Spike-Element-Wise-ResNet, dvsgesture and cifar10dvs",
    body=Chain("conv.{index}", _unit(""), (Block("sew", _BRANCH),)),
    readout="out",
    flatten=True,
    neuron=Neuron("lif", tau=2.0),
    steps=16,
    size=128,
    events=True,
)
SPIKING = replace(
    SEW,
    name="spiking-7b-net",
    title="7B-Net of Spiking ResNet blocks",
    body=Chain("conv.{index}", _unit(""), (Block("spiking-resnet", _SUMMED),)),
)
PLAIN = replace(
    SEW,
    name="plain-7b-net",
    title="7B-Net without shortcuts",
    body=Chain("conv.{index}", _unit(""), (Block("plain", _BRANCH),)),
)
