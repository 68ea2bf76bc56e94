"""Spiking DS-ResNet with multi-level firing (MLF paper and its released networks)."""

from __future__ import annotations

from ..errors import NetworkError
from ..layers import InputSpec, Neuron
from ..network import Network
from .canvas import Canvas
from .catalogue import Entry, Option, Options, number, whole
from .resnets import IMAGE_OPTIONS, image

#: Blocks a stage, by depth: 6 n + 2 layers.
LAYOUTS = {14: 2, 20: 3, 32: 5, 44: 7, 68: 11}
STAGES = (64, 128, 256)
GESTURE_STAGES = (16, 32, 64)

#: u = 0.25 u (1 - s) + x; an MLF unit of K levels takes the first K.
THRESHOLDS = (0.6, 1.6, 2.6)


def unit(name: str, levels: int) -> Neuron:
    """An MLF unit; raises NetworkError for more levels than the paper has."""
    if not 1 <= levels <= len(THRESHOLDS):
        raise NetworkError(f"network {name!r}: levels must be 1 to {len(THRESHOLDS)}, not {levels}")
    return Neuron(
        "lif", threshold=THRESHOLDS[0], tau=4 / 3, decay_input=False, fire="gt", levels=THRESHOLDS[1:levels]
    )


def _draw(blocks: int, stages: tuple[int, ...], spec: InputSpec, name: str, options: Options) -> Network:
    neuron = unit(name, whole(options, "levels"))
    canvas = Canvas(
        name, whole(options, "steps"), spec, neuron, family="DS-ResNet", width=number(options, "width")
    )
    x = canvas.conv("input", canvas.scaled(stages[0]), 3, name="conv1")
    for stage, channels in enumerate(stages):
        outputs = canvas.scaled(channels)
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            x = canvas.builder.ds_block(
                x, *canvas.basic(x, outputs), stride=stride, projection=canvas.projection(x, outputs, stride),
                name=f"stage{stage + 1}.block{block + 1}",
            )  # fmt: skip
    return canvas.finish(x, whole(options, "classes"))


def _cifar(blocks: int, name: str, options: Options) -> Network:
    return _draw(blocks, STAGES, image(options), name, options)


def _gesture(name: str, options: Options) -> Network:
    size = whole(options, "size")
    spec = InputSpec((whole(options, "channels"), size, size), whole(options, "bits"), False)
    return _draw(LAYOUTS[20], GESTURE_STAGES, spec, name, options)


def entries() -> list[Entry]:
    """All networks of this file."""
    cifar: dict[str, Option] = {**IMAGE_OPTIONS, "size": 32, "classes": 10, "levels": 3}
    gesture: dict[str, Option] = {**cifar, "channels": 2, "bits": 4, "classes": 11, "steps": 40}
    found = [
        Entry(
            f"ds-resnet{depth}",
            "DS-ResNet",
            "MLF paper, CIFAR-10",
            cifar,
            lambda name, options, blocks=blocks: _cifar(blocks, name, options),
        )
        for depth, blocks in LAYOUTS.items()
    ]
    return [*found, Entry("ds-resnet20-gesture", "DS-ResNet", "MLF paper, DVS Gesture at 32x32", gesture, _gesture)]
