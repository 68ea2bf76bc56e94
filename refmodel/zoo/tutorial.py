"""The tutorial stacks: dense n x n layers, two a block, with the membrane or the SEW shortcut, any depth."""

from __future__ import annotations

from ..layers import InputSpec, Neuron
from ..network import Network
from .canvas import Canvas, placeholder
from .catalogue import Entry, Option, Options, number, whole


def _draw(name: str, options: Options) -> Network:
    features = whole(options, "n_features")
    neuron = Neuron("lif", tau=number(options, "tau"), decay_input=False)
    spec = InputSpec((features, 1, 1), 1, True)
    membrane = name == "tutorial-ms"
    family = "membrane shortcut" if membrane else "SEW-ADD"
    canvas = Canvas(name, whole(options, "steps"), spec, neuron, family=family)
    x = "input"
    for block in range(1, whole(options, "n_blocks") + 1):
        if membrane:
            square = placeholder(features, features), placeholder(features)
            x = canvas.builder.membrane_shortcut_block(x, *square, *square, name=f"block{block}")
        else:
            square = canvas.weights(features, features, 1)
            x = canvas.builder.sew_block(x, *square, *square, name=f"block{block}")
    return canvas.finish(x, whole(options, "classes"), "none")


def entries() -> list[Entry]:
    """All networks of this file."""
    defaults: dict[str, Option] = {
        "n_features": 64, "n_blocks": 20, "tau": 10.0, "classes": 10, "steps": 4, "seed": 0,
    }  # fmt: skip
    return [
        Entry("tutorial-ms", "membrane shortcut", "residual-block tutorial, block_type='ms'", defaults, _draw),
        Entry("tutorial-sew", "SEW-ResNet", "residual-block tutorial, block_type='sew'", defaults, _draw),
    ]
