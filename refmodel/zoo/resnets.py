"""Residual networks for images after ResNet-18 to -152: SEW-ResNet, Spiking ResNet and OR-Spiking ResNet.

SEW paper, sections 3 and 4.1; the stem acts on the image at each step alike.  OR-Spiking ResNet: the
layout of the released networks, without its attention modules.
"""

from __future__ import annotations

from ..layers import InputSpec, Neuron
from ..network import Network
from .canvas import COMBINE_NAMES, Canvas, combiner
from .catalogue import Entry, Option, Options, number, whole, word

#: Depth: whether its blocks are bottlenecks, and the blocks of the four stages.
LAYOUTS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
STAGES = (64, 128, 256, 512)
#: What a bottleneck's last convolution has more channels than its others.
EXPANSION = 4

#: Inputs at least this large get the ImageNet stem.
IMAGENET_SIZE = 64
STEMS = ("auto", "imagenet", "cifar")

#: classes 0: as many as ImageNet has, or CIFAR-10 for smaller inputs.
IMAGE_OPTIONS: dict[str, Option] = {
    "width": 1.0, "size": 224, "channels": 3, "bits": 8, "classes": 0, "steps": 4, "seed": 0,
}  # fmt: skip


def image(options: Options) -> InputSpec:
    """A static image, unsigned integers that stand for 0 to 1."""
    bits, size = whole(options, "bits"), whole(options, "size")
    return InputSpec((whole(options, "channels"), size, size), bits, True, 1 / ((1 << bits) - 1))


def stem_style(name: str, options: Options) -> str:
    """``imagenet`` or ``cifar``."""
    style = word(name, options, "stem", STEMS)
    if style != "auto":
        return style
    return "imagenet" if whole(options, "size") >= IMAGENET_SIZE else "cifar"


def class_count(options: Options) -> int:
    """Classes, 0 resolved."""
    return whole(options, "classes") or (1000 if whole(options, "size") >= IMAGENET_SIZE else 10)


def stem(canvas: Canvas, style: str) -> str:
    """C7 stride 2 and maxpool 3 stride 2, or for small images C3."""
    first = canvas.scaled(STAGES[0])
    if style == "cifar":
        return canvas.conv("input", first, 3, name="conv1")
    x = canvas.conv("input", first, 7, stride=2, name="conv1")
    return canvas.builder.maxpool(x, 3, 2, 1, name="maxpool")


def _canvas(name: str, options: Options, family: str, neuron: Neuron) -> Canvas:
    return Canvas(
        name, whole(options, "steps"), image(options), neuron, family=family, width=number(options, "width")
    )


def _sew(depth: int, name: str, options: Options) -> Network:
    combine = combiner(name, str(options["combine"]))
    canvas = _canvas(name, options, f"SEW-{combine.upper()}", Neuron())
    x = stem(canvas, stem_style(name, options))
    bottleneck, stages = LAYOUTS[depth]
    for stage, blocks in enumerate(stages):
        inner = canvas.scaled(STAGES[stage])
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            outputs = inner * EXPANSION if bottleneck else inner
            shape = {"stride": stride, "projection": canvas.projection(x, outputs, stride), "combine": combine}
            shape["name"] = f"stage{stage + 1}.block{block + 1}"
            if bottleneck:
                x = canvas.builder.sew_bottleneck(x, *canvas.bottleneck(x, inner, outputs), **shape)
            else:
                x = canvas.builder.sew_block(x, *canvas.basic(x, outputs), **shape)
    return canvas.finish(x, class_count(options))


def _spiking(depth: int, name: str, options: Options) -> Network:
    canvas = _canvas(name, options, "Spiking ResNet", Neuron())
    x = stem(canvas, stem_style(name, options))
    bottleneck, stages = LAYOUTS[depth]
    for stage, blocks in enumerate(stages):
        inner = canvas.scaled(STAGES[stage])
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            outputs = inner * EXPANSION if bottleneck else inner
            shape = {"stride": stride, "projection": canvas.projection(x, outputs, stride)}
            shape["name"] = f"stage{stage + 1}.block{block + 1}"
            if bottleneck:
                x = canvas.builder.spiking_resnet_bottleneck(x, *canvas.bottleneck(x, inner, outputs), **shape)
            else:
                x = canvas.builder.spiking_resnet_block(x, *canvas.basic(x, outputs), **shape)
    return canvas.finish(x, class_count(options))


def _or(name: str, options: Options) -> Network:
    """Blocks without shortcut, and OR with a projection where a stage begins: the merges of the released networks."""
    neuron = Neuron("lif", tau=2.0, decay_input=True)
    frames = "gesture" in name
    if frames:
        size = whole(options, "size")
        spec = InputSpec((whole(options, "channels"), size, size), whole(options, "bits"), False)
        canvas = Canvas(
            name, whole(options, "steps"), spec, neuron, family="OR-Spiking ResNet", width=number(options, "width")
        )
    else:
        canvas = _canvas(name, options, "OR-Spiking ResNet", neuron)
    x = stem(canvas, stem_style(name, options))
    for stage, blocks in enumerate(LAYOUTS[18][1]):
        outputs = canvas.scaled(STAGES[stage])
        for block in range(blocks):
            label = f"stage{stage + 1}.block{block + 1}"
            if stage and not block:
                projection = canvas.projection(x, outputs, 2)
                x = canvas.builder.sew_block(
                    x, *canvas.basic(x, outputs), combine="or", stride=2, projection=projection, name=label
                )
            else:
                x = canvas.builder.plain_block(x, *canvas.basic(x, outputs), name=label)
    return canvas.finish(x, class_count(options))


def entries() -> list[Entry]:
    """All networks of this file."""
    found = []
    for depth in LAYOUTS:
        found.append(
            Entry(
                f"sew-resnet{depth}",
                "SEW-ResNet",
                f"SEW paper, 4.1; combine: {', '.join(COMBINE_NAMES)}",
                {**IMAGE_OPTIONS, "stem": "auto", "combine": "add"},
                lambda name, options, depth=depth: _sew(depth, name, options),
            )
        )
    for depth in LAYOUTS:
        found.append(
            Entry(
                f"spiking-resnet{depth}",
                "Spiking ResNet",
                "SEW paper, 3.2 and 4.1",
                {**IMAGE_OPTIONS, "stem": "auto"},
                lambda name, options, depth=depth: _spiking(depth, name, options),
            )
        )
    cifar: dict[str, Option] = {**IMAGE_OPTIONS, "stem": "auto", "size": 32, "classes": 10, "steps": 16}
    gesture: dict[str, Option] = {**cifar, "size": 128, "channels": 2, "bits": 4, "classes": 11, "steps": 32}
    family, paper = "OR-Spiking ResNet", "ORRC paper, without SynA"
    found.append(Entry("or-resnet18", family, f"{paper}, CIFAR-10", cifar, _or))
    found.append(Entry("or-resnet18-gesture", family, f"{paper}, DVS Gesture", gesture, _or))
    return found
