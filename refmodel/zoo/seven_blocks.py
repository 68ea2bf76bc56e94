"""The small SEW networks: 7B-Net, Wide-7B-Net (event frames) and the CIFAR-10 network (SEW paper, 4.2, 4.3, A.5)."""

from __future__ import annotations

from ..layers import InputSpec, Neuron
from ..network import Network
from .canvas import Canvas, combiner
from .catalogue import Entry, Option, Options, number, whole
from .resnets import image

#: (channels of the stage, blocks before each pool, how often).
Stage = tuple[int, int, int]
SEVEN: tuple[Stage, ...] = ((32, 1, 7),)
WIDE: tuple[Stage, ...] = ((64, 1, 4), (128, 1, 3))
CIFAR: tuple[Stage, ...] = ((32, 2, 5),)


def _draw(stages: tuple[Stage, ...], spec: InputSpec, neuron: Neuron, name: str, options: Options) -> Network:
    """{c, {SEW blocks, maxpool 2}}, FC on the mean over T; a pool that would leave nothing is left out."""
    combine = combiner(name, str(options["combine"]))
    canvas = Canvas(
        name, whole(options, "steps"), spec, neuron, family=f"SEW-{combine.upper()}", width=number(options, "width")
    )
    x, count = "input", 0
    for stage, (channels, blocks, repeats) in enumerate(stages):
        kernel = whole(options, "stem_kernel") if "stem_kernel" in options else 3
        x = canvas.conv(x, canvas.scaled(channels), kernel, name=f"conv{stage + 1}")
        for _ in range(repeats):
            for _ in range(blocks):
                count += 1
                weights = canvas.basic(x, canvas.channels(x))
                x = canvas.builder.sew_block(x, *weights, combine=combine, name=f"block{count}")
            if canvas.side(x) > 1:
                x = canvas.builder.maxpool(x, 2, name=f"pool{count}")
    return canvas.finish(x, whole(options, "classes"), "none")


def _events(stages: tuple[Stage, ...], name: str, options: Options) -> Network:
    size = whole(options, "size")
    spec = InputSpec((whole(options, "channels"), size, size), whole(options, "bits"), False)
    # 1/tau = sigmoid(w): the released networks begin their training at tau = 2, w = 0.
    return _draw(stages, spec, Neuron.plif(number(options, "plif_w")), name, options)


def entries() -> list[Entry]:
    """All networks of this file."""
    events: dict[str, Option] = {
        "width": 1.0, "size": 128, "channels": 2, "bits": 4, "classes": 11, "steps": 16, "seed": 0,
        "combine": "add", "stem_kernel": 3, "plif_w": 0.0,
    }  # fmt: skip
    cifar: dict[str, Option] = {
        "width": 1.0, "size": 32, "channels": 3, "bits": 8, "classes": 10, "steps": 4, "seed": 0, "combine": "add",
    }  # fmt: skip
    return [
        Entry("7b-net", "SEW-ResNet", "SEW paper, 4.2, DVS Gesture", events,
              lambda name, options: _events(SEVEN, name, options)),
        Entry("wide-7b-net", "SEW-ResNet", "SEW paper, 4.3, CIFAR10-DVS", {**events, "classes": 10},
              lambda name, options: _events(WIDE, name, options)),
        Entry("sew-cifar10", "SEW-ResNet", "SEW paper, A.5, CIFAR-10", cifar,
              lambda name, options: _draw(CIFAR, image(options), Neuron(), name, options)),
    ]  # fmt: skip
