"""MS-ResNet-18, -34 and -104: membrane streams as shortcuts (MS-ResNet paper and its released networks).

Every stage halves the image, the first too, and there is no pooling after the stem.  T = 6 steps;
u = 0.25 u (1 - s) + x, s = [u > 0.5].
"""

from __future__ import annotations

from ..layers import Neuron
from ..network import Network
from .canvas import Canvas
from .catalogue import Entry, Option, Options, number, whole
from .resnets import IMAGE_OPTIONS, STAGES, class_count, image, stem_style

LAYOUTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 104: (3, 8, 32, 8)}

#: 1 - 1/tau = 0.25.
NEURON = Neuron("lif", threshold=0.5, tau=4 / 3, decay_input=False, fire="gt")


def _draw(depth: int, name: str, options: Options) -> Network:
    canvas = Canvas(
        name, whole(options, "steps"), image(options), NEURON, family="MS-ResNet",
        width=number(options, "width"), stream_bits=whole(options, "stream_bits"),
    )  # fmt: skip
    pooled = depth == 104
    x = _stem(canvas, stem_style(name, options), pooled)
    for stage, blocks in enumerate(LAYOUTS[depth]):
        outputs = canvas.scaled(STAGES[stage])
        for block in range(blocks):
            halves = block == 0 and canvas.side(x) > 1  # nothing is left to halve in very small images
            stride = 2 if halves else 1
            projection = canvas.projection(x, outputs, stride)
            x = canvas.builder.ms_block(
                x, *canvas.basic(x, outputs), stride=stride, projection=projection,
                pool_projection=pooled and halves, name=f"stage{stage + 1}.block{block + 1}",
            )  # fmt: skip
    return canvas.finish(x, class_count(options))


def _stem(canvas: Canvas, style: str, triple: bool) -> str:
    """C7 stride 2, of MS-ResNet-104 three C3 with nothing between; for small images stride 1."""
    first, stride = canvas.scaled(STAGES[0]), 2 if style == "imagenet" else 1
    if not triple:
        return canvas.conv("input", first, 7 if stride == 2 else 3, stride=stride, keeps_stream=True, name="conv1")
    x = "input"
    for index in (1, 2):
        kept = canvas.conv(x, first, 3, stride=stride if index == 1 else 1, neurons=False, name=f"conv{index}")
        x = canvas.builder.stream(kept, name=f"conv{index}.stream")
    return canvas.conv(x, first, 3, keeps_stream=True, name="conv3")


def entries() -> list[Entry]:
    """All networks of this file."""
    defaults: dict[str, Option] = {**IMAGE_OPTIONS, "steps": 6, "stem": "auto", "stream_bits": 8}
    return [
        Entry(
            f"ms-resnet{depth}",
            "MS-ResNet",
            "MS-ResNet paper",
            defaults,
            lambda name, options, depth=depth: _draw(depth, name, options),
        )
        for depth in LAYOUTS
    ]
