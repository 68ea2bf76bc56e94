"""State plan: where each layer's membranes live in the state memory.

A word holds the NU membranes of one neuron slot.  A slab's words follow each other in the order in which its tiles
run: address = base + (group * pixels + pixel) * P/NU + slot, slot being one of a step's P/NU.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import CoreConfig
from .errors import CompileError
from .quantized import QuantizedNetwork
from .state import keeps_membrane


@dataclass(frozen=True)
class StatePlace:
    """A layer's words; ``group_words``: of one group of P channels."""

    base: int
    group_words: int
    groups: int

    @property
    def words(self) -> int:
        return self.group_words * self.groups


def plan_state(net: QuantizedNetwork, config: CoreConfig) -> dict[str, StatePlace]:
    """A place for every layer of a lowered network whose neurons have a memory.

    Raises CompileError when the core has no state memory, or too small a one.
    """
    places = _places(net, config)
    needed = _end(places)
    if config.state_depth == 0:
        raise CompileError(
            f"network '{net.name}' is to keep its membranes, which takes {needed} words of state memory, and this core "
            "has none; use a core with state_depth, or keep_state=False"
        )
    if needed > config.state_depth:
        raise CompileError(
            f"network '{net.name}' needs {needed} words of state memory to keep its membranes, this core has "
            f"{config.state_depth}; use fewer channels or pixels, a core with a larger state_depth, or keep_state=False"
        )
    return places


def state_words(net: QuantizedNetwork, config: CoreConfig) -> int:
    """Words of state memory that a lowered network needs on a core of this shape."""
    return _end(_places(net, config))


def _end(places: dict[str, StatePlace]) -> int:
    return sum(place.words for place in places.values())


def _places(net: QuantizedNetwork, config: CoreConfig) -> dict[str, StatePlace]:
    """One after the other, in the order of the layers: every membrane lives for ever."""
    infos = net.tensors()
    places: dict[str, StatePlace] = {}
    base = 0
    for layer in net.layers:
        if keeps_membrane(layer):
            channels, height, width = infos[layer.name].shape
            groups = -(-channels // config.output_lanes)
            places[layer.name] = StatePlace(base, height * width * config.slots_per_step, groups)
            base += places[layer.name].words
    return places
