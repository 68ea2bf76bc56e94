"""MS-ResNet of SpikingJelly: ms_resnet18, ms_resnet34, MSResNet."""

from ...layers import Neuron
from .description import Block, Family, Stages, Stem, Unit

_BLOCK = Block(
    "membrane",
    (Unit("conv1", "bn1", "spike1"), Unit("conv2", "bn2", "spike2")),
    Unit("downsample.0", "downsample.1"),
)

FAMILY = Family(
    name="spikingjelly-ms-resnet",
    title="MS-ResNet",
    source="spikingjelly.activation_based.model.ms_resnet 2.0.0",
    stem=Stem((Unit("stem.0", "stem.1"),), pool=None),
    body=Stages("layer{stage}.{block}", (_BLOCK,), strides=(2, 2, 2, 2)),
    readout="head",
    head="head_lif",
    neuron=Neuron("lif", threshold=0.5, tau=4 / 3, decay_input=False),
    steps=6,
)
