"""SEW-ResNet as its authors published it, for ImageNet."""

from .description import Block, Family, Stages, Stem, Unit

# SpikingJelly's SeqToANNContainer kept its modules under ``module`` at first.
_UNITS = tuple(Unit(f"conv{i}.module.0|conv{i}.0", f"conv{i}.module.1|conv{i}.1", f"sn{i}") for i in (1, 2, 3))
_PROJECTION = Unit("downsample.0.module.0|downsample.0.0", "downsample.0.module.1|downsample.0.1", "downsample.1")

FAMILY = Family(
    name="sew-resnet",
    title="SEW-ResNet",
    source="github.com/fangwei123456/Spike-Element-Wise-ResNet, imagenet/sew_resnet.py",
    stem=Stem((Unit("conv1", "bn1", "sn1"),)),
    body=Stages(
        "layer{stage}.{block}",
        (Block("sew", _UNITS, _PROJECTION, strided=1), Block("sew", _UNITS[:2], _PROJECTION)),
        strides=(1, 2, 2, 2),
    ),
)
