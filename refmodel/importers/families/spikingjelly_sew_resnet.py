"""SEW-ResNet of SpikingJelly: sew_resnet18 to -152 and sew_wide_resnet."""

from .description import Block, Family, Stages, Stem, Unit

_PROJECTION = Unit("downsample.0", "downsample.1", "downsample_sn")
_BASIC = Block("sew", tuple(Unit(f"conv{i}", f"bn{i}", f"sn{i}") for i in (1, 2)), _PROJECTION)
# Its forward calls the connect function with the branch first, so IAND is A * (1 - S).
_BOTTLENECK = Block(
    "sew", tuple(Unit(f"conv{i}", f"bn{i}", f"sn{i}") for i in (1, 2, 3)), _PROJECTION, strided=1, swapped=True
)

FAMILY = Family(
    name="spikingjelly-sew-resnet",
    title="SEW-ResNet",
    source="spikingjelly.activation_based.model.sew_resnet 0.0.0.0.14 to 2.0.0",
    stem=Stem((Unit("conv1", "bn1", "sn1"),)),
    body=Stages("layer{stage}.{block}", (_BOTTLENECK, _BASIC), strides=(1, 2, 2, 2)),
)
