"""Spiking ResNet of SpikingJelly: spiking_resnet18 to -152 and spiking_wide_resnet."""

from .description import Block, Family, Stages, Stem, Unit

_PROJECTION = Unit("downsample.0", "downsample.1")
_BASIC = Block("spiking-resnet", tuple(Unit(f"conv{i}", f"bn{i}", f"sn{i}") for i in (1, 2)), _PROJECTION)
_BOTTLENECK = Block(
    "spiking-resnet", tuple(Unit(f"conv{i}", f"bn{i}", f"sn{i}") for i in (1, 2, 3)), _PROJECTION, strided=1
)

FAMILY = Family(
    name="spikingjelly-spiking-resnet",
    title="Spiking ResNet",
    source="spikingjelly.activation_based.model.spiking_resnet 0.0.0.0.14 to 2.0.0",
    stem=Stem((Unit("conv1", "bn1", "sn1"),)),
    body=Stages("layer{stage}.{block}", (_BOTTLENECK, _BASIC), strides=(1, 2, 2, 2)),
)
