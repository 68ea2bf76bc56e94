"""Spiking ResNet as the SEW-ResNet's authors published it, for ImageNet."""

from .description import Block, Family, Stages, Stem, Unit

_UNITS = tuple(Unit(f"conv{i}.module.0|conv{i}.0", f"conv{i}.module.1|conv{i}.1", f"sn{i}") for i in (1, 2, 3))
_PROJECTION = Unit("downsample.module.0|downsample.0", "downsample.module.1|downsample.1")

FAMILY = Family(
    name="sew-spiking-resnet",
    title="Spiking ResNet",
    source="github.com/fangwei123456/Spike-Element-Wise-ResNet, imagenet/spiking_resnet.py",
    stem=Stem((Unit("conv1", "bn1", "sn1"),)),
    body=Stages(
        "layer{stage}.{block}",
        (Block("spiking-resnet", _UNITS, _PROJECTION, strided=1), Block("spiking-resnet", _UNITS[:2], _PROJECTION)),
        strides=(1, 2, 2, 2),
    ),
)
