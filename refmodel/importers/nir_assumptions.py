"""The sentences that tell the user what a NIR file left open and how it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nir_graph import Flat
from .nir_nodes import Port, Scaling, Spiking

if TYPE_CHECKING:
    from .nir_import import Settings

EXACT = (
    "The file was exported by skipspike and holds the whole description: the network is the exported one, "
    "with its own steps, neurons and input."
)


def of_settings(
    flat: Flat, settings: Settings, common_r: float | None, given: set[str], known: set[str], edited: bool
) -> tuple[str, ...]:
    """``given``: options of the caller; ``known``: options from the file; ``edited``: the file has a description."""

    def origin(option: str) -> str:
        return "as asked" if option in given else "as the file's metadata says" if option in known else "the default"

    timing, spec = settings.timing, settings.spec
    kinds = {node.kind for node in flat.nodes.values() if isinstance(node, Spiking)}
    said: list[str] = []
    if edited:
        said.append("The file's own description was not used as it is: options were given, or its graph was changed.")
    said.append(f"T = {settings.steps} steps ({origin('steps')}; NIR stores none).")
    timed = "lif" in kinds or (timing.if_r == "scaled" and "if" in kinds)
    if timed:
        inferred = "dt" not in given | known and common_r not in (None, 1.0)
        reason = f"from the IF neurons' r = {common_r:g} = 1/dt" if inferred else origin("dt")
        said.append(f"dt = {timing.dt:g} s a step ({reason}); LIF: V += dt/tau (v_leak - V + r I), explicit Euler.")
    if "if" in kinds and timing.if_r == "unit":
        meaning = "1, so" if common_r == 1 else f"{common_r:g}, taken as 1/dt, so"
        said.append(f"IF neurons' r is {meaning} V += I at each step ({origin('if_r')}).")
    elif "if" in kinds:
        said.append(f"IF neurons: V += r dt I at each step ({origin('if_r')}).")
    compare = ">" if timing.fire == "gt" else ">="
    note = "; SpikingJelly fires at >=, which differs only where a membrane equals its threshold" * (
        timing.fire == "gt" and "fire" not in given | known
    )
    said.append(f"A neuron fires where H {compare} threshold ({origin('fire')}{note}).")
    if kinds & {"if", "lif"}:
        kind = "hard, to v_reset" if timing.reset == "hard" else "soft: the threshold is subtracted"
        said.append(f"Reset is {kind} ({origin('reset')}).")
    if any(node.reset is not None and node.reset.any() for node in flat.nodes.values() if isinstance(node, Spiking)):
        said.append("Membranes start at v_reset (NIR does not say).")
    frames = "the same image at each step" if spec.static else f"{settings.steps} frames, one a step"
    sign = "signed" if spec.signed else "unsigned"
    said.append(
        f"The input is {frames} ({origin('static')}), {sign} integers of {spec.bits} bits ({origin('input_bits')}) "
        f"times {spec.scale:.9g} ({origin('input_scale')}): {spec.tensor.min_value} to {spec.tensor.max_value} stand "
        f"for {spec.tensor.min_value * spec.scale:g} to {spec.tensor.max_value * spec.scale:g}."
    )
    said.append("Batch norm is part of the weights already (NIR has no node for it); weights and biases are as stored.")
    return tuple(said)


def of_layers(
    flat: Flat, readout: str | None, integrators: list[str], helpers: tuple[str, ...], twins: dict[str, str]
) -> tuple[str, ...]:
    """``readout``: the weights that became the readout's; ``helpers``: layers that only pass values on.

    ``twins``: neurons that others stand for.
    """
    said: list[str] = []
    output = next(name for name, node in flat.nodes.items() if isinstance(node, Port) and node.kind == "Output")
    where = repr(output) if readout is None else repr(readout)
    what = "" if readout is None else ", which is linear,"
    said.append(f"The result is the mean over the T steps of what reaches {where}{what} at each step.")
    for name in integrators:
        scaled = " times r / tau" if isinstance(flat.nodes[name], Scaling) else ""
        said.append(f"LI node {name!r} is read as the sum of its input{scaled}, without its leak (li='sum').")
    if twins:
        pairs = ", ".join(f"{name!r} is {other!r}" for name, other in twins.items())
        said.append(f"Neurons with the same sources and parameters are one: {pairs}.")
    if helpers:
        said.append(
            f"Layers that pass values on unchanged were added for signals that meet a sum or a neuron without "
            f"weights of their own: {', '.join(helpers)}."
        )
    return tuple(said)
