"""State: the membranes that neurons keep from one call to the next, for input that never ends.

Only neurons have a memory.  Readouts, membrane streams, attention and stateless neurons are of each call alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .quantized import IntArray, QuantizedLayer, QuantizedNetwork


@dataclass(frozen=True, eq=False)
class State:
    """Membranes between two calls.

    membranes: V after the last step's reset, ``[N, C, H, W]`` int64, by the names of :func:`kept_membranes`.
    steps: time steps since the membranes began.
    """

    membranes: Mapping[str, IntArray]
    steps: int

    def of(self, inputs: slice) -> State:
        """The state of some of the N inputs."""
        return State({name: v[inputs] for name, v in self.membranes.items()}, self.steps)


def keeps_membrane(layer: QuantizedLayer) -> bool:
    """Whether the layer has neurons with a memory."""
    return layer.kind in ("conv", "apply") and layer.threshold is not None and not layer.stateless


def level_names(layer: QuantizedLayer) -> list[str]:
    """Names of a layer's membranes: its own; of an MLF unit one a level, as :mod:`refmodel.lowering` calls them."""
    count = 1 if layer.levels is None else 1 + len(layer.levels)
    return [*(f"{layer.name}/{number}" for number in range(1, count)), layer.name]


def kept_membranes(net: QuantizedNetwork) -> dict[str, tuple[int, int, int]]:
    """Shape ``(C, H, W)`` of every membrane that a network keeps, by name: the same for it and for it lowered."""
    infos = net.tensors()
    return {
        name: infos[layer.name].shape for layer in net.layers if keeps_membrane(layer) for name in level_names(layer)
    }


def fresh_state(net: QuantizedNetwork, n: int) -> State:
    """What a run begins with unless it is given a state: empty membranes of ``n`` inputs."""
    return State({name: np.zeros((n, *shape), np.int64) for name, shape in kept_membranes(net).items()}, 0)


def check_state(net: QuantizedNetwork, state: State, n: int) -> None:
    """Raise DataError unless ``state`` is one of ``n`` inputs of ``net``."""
    shapes = kept_membranes(net)
    if set(state.membranes) != set(shapes):
        strange = sorted(set(state.membranes) ^ set(shapes))
        raise DataError(
            f"network {net.name!r}: the state is of another network: {', '.join(map(repr, strange[:3]))} "
            "is in one of them only; begin anew with state=None"
        )
    for name, shape in shapes.items():
        v = state.membranes[name]
        if v.shape != (n, *shape) or v.dtype.kind not in "iu":
            raise DataError(
                f"network {net.name!r}: the state of {name!r} must be integers of shape {(n, *shape)}, "
                f"not {v.dtype}{v.shape}; begin anew with state=None"
            )


def state_reach(state: State | None, layer: QuantizedLayer) -> int:
    """Largest magnitude of a layer's membranes in ``state``."""
    if state is None or not keeps_membrane(layer):
        return 0
    return max(int(np.abs(state.membranes[name]).max(initial=0)) for name in level_names(layer))


def join_states(parts: list[State]) -> State:
    """States of several inputs as one."""
    first = parts[0]
    return State({name: np.concatenate([p.membranes[name] for p in parts]) for name in first.membranes}, first.steps)


def neurons_kept(net: QuantizedNetwork) -> int:
    """How many membranes a network keeps for one input."""
    return sum(math.prod(shape) for shape in kept_membranes(net).values())
