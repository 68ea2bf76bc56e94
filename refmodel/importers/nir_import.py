"""Importing networks from NIR, the Neuromorphic Intermediate Representation (nir 1.0; DOI 10.1038/s41467-024-52259-9).

A NIR graph is in continuous time and stores no step, no number of steps and no kind of input; each of these is an
option here, and what was assumed is said.  Residual sums are edges that meet; :mod:`.nir_terms` finds the blocks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ImportRefused, NetworkError
from ..layers import InputSpec
from ..network import Network
from . import nir_assumptions
from .imported import Imported
from .nir_blocks import find_blocks
from .nir_fold import fold, merge_twins
from .nir_graph import Flat, flat_graph
from .nir_hdf5 import read_tree
from .nir_layers import LayerMaker
from .nir_metadata import Kept, kept_network, kept_settings
from .nir_neurons import Cell, IfR, Timing, discretise
from .nir_nodes import Graph, Integrator, Node, Port, Spiking
from .nir_order import ordered, readout_node, refused
from .nir_parse import parse
from .nir_terms import signals

DEFAULT_DT = 1e-4
DEFAULT_STEPS = 4


@dataclass(frozen=True)
class Settings:
    """What NIR leaves open, with every choice made."""

    name: str
    steps: int
    timing: Timing
    spec: InputSpec
    li_sum: bool


def import_nir(
    source: str | os.PathLike[str] | Any,
    *,
    dt: float | None = None,
    steps: int | None = None,
    input_bits: int | None = None,
    input_scale: float | None = None,
    signed: bool | None = None,
    static: bool | None = None,
    if_r: IfR | None = None,
    fire: Literal["gt", "ge"] | None = None,
    reset: Literal["hard", "soft"] | None = None,
    li: Literal["refuse", "sum"] = "refuse",
    input_shape: tuple[int, ...] | None = None,
    name: str | None = None,
) -> Imported:
    """The float network of a .nir file, or of a ``nir.NIRGraph``.

    Parameters
    ----------
    source: path of a .nir file, or a ``nir.NIRGraph``.
    dt: length of a step in seconds; default: 1/r of IF neurons whose r is not 1, else 1e-4.
    steps: T; default 4.
    input_bits, input_scale, signed, static: the input's integers (:class:`refmodel.layers.InputSpec`); defaults: 8
        bits, unsigned, the same at every step, scale 1 / the largest integer, so that 255 is 1.0.
    if_r: ``unit``: IF's r means 1/dt, X = I; ``scaled``: X = r dt I.  Default ``unit``.
    fire: ``gt``: S = [H > threshold], as NIR says, the default; ``ge``: S = [H >= threshold], as SpikingJelly's.
    reset: ``hard``, to v_reset, as NIR says, the default; ``soft``: V = H - S * threshold.
    li: ``sum`` reads an LI node in front of the Output as the sum of its input; ``refuse`` refuses it.
    input_shape: (N,), (C, L) or (C, H, W) in place of the Input node's.
    name: of the network; default: the file's.

    A file that :func:`refmodel.importers.nir_export.export_nir` wrote holds these settings; without options the
    result is the network that was exported.  Raises ImportRefused, which names the node.
    """
    choices: dict[str, Any] = {
        "dt": dt, "steps": steps, "input_bits": input_bits, "input_scale": input_scale, "signed": signed,
        "static": static, "if_r": if_r, "fire": fire, "reset": reset, "input_shape": input_shape,
    }  # fmt: skip
    _check_choices(choices, li)
    graph, label = _graph(source)
    kept = kept_settings(graph)
    if kept is not None:
        try:
            _check_choices({**dict.fromkeys(choices), **kept.settings}, li)
        except ImportRefused:
            kept = None
    if kept is not None and li == "refuse" and all(value is None for value in choices.values()):
        network = kept_network(graph, kept)
        if network is not None:
            network = network if name is None else replace(network, name=name)
            return _imported(network, flat_graph(graph), (nir_assumptions.EXACT,))
    flat = flat_graph(graph, input_shape)
    settings, said = _settings(flat, choices, kept, name or label, li == "sum")
    return _import(flat, settings, said)


def _check_choices(choices: dict[str, Any], li: str) -> None:
    allowed = {"if_r": ("unit", "scaled"), "fire": ("gt", "ge"), "reset": ("hard", "soft")}
    for option, values in allowed.items():
        if choices[option] not in (None, *values):
            raise ImportRefused(f"{option} must be one of {', '.join(values)}, not {choices[option]!r}")
    if li not in ("refuse", "sum"):
        raise ImportRefused(f"li must be one of refuse, sum, not {li!r}")
    dt, steps = choices["dt"], choices["steps"]
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise ImportRefused(f"dt must be a positive number of seconds, not {dt!r}")
    if steps is not None and steps < 1:
        raise ImportRefused(f"steps must be at least 1, not {steps!r}")
    shape = choices["input_shape"]
    if shape is not None and (not shape or min(shape) < 1):
        raise ImportRefused(f"input_shape must be sizes of at least 1, not {shape!r}")


def _graph(source: Any) -> tuple[Graph, str]:
    """The parsed graph and a name for the network."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        tree = read_tree(path).get("node")
        if not isinstance(tree, dict):
            raise ImportRefused(f"{path}: holds no NIR graph (no group 'node')")
        try:
            return _outermost(parse(tree)), path.stem
        except ImportRefused as error:
            raise ImportRefused(f"{path}: {error}") from None
    if not hasattr(source, "to_dict"):
        raise ImportRefused(f"the source must be a path or a nir.NIRGraph, not {type(source).__name__}")
    return _outermost(parse(source.to_dict())), "nir"


def _outermost(node: Node) -> Graph:
    if not isinstance(node, Graph):
        raise ImportRefused(f"the outermost node must be a NIRGraph, not {type(node).__name__}")
    return node


def _settings(
    flat: Flat, choices: dict[str, Any], kept: Kept | None, name: str, li_sum: bool
) -> tuple[Settings, tuple[str, ...]]:
    """Options first, then what the file's metadata says, then defaults; and the sentences that say so."""
    known = {} if kept is None else kept.settings

    def choose(option: str, default: Any) -> Any:
        return choices[option] if choices[option] is not None else known.get(option, default)

    neurons = [node for node in flat.nodes.values() if isinstance(node, Spiking)]
    if_r: IfR = choose("if_r", "unit")
    common = _common_r(neurons) if if_r == "unit" else None
    dt = float(choose("dt", DEFAULT_DT if common in (None, 1.0) else 1.0 / common))
    timing = Timing(dt, if_r, choose("fire", "gt"), choose("reset", "hard"))
    port = next(node for node in flat.nodes.values() if isinstance(node, Port) and node.kind == "Input")
    bits, is_signed = int(choose("input_bits", 8)), bool(choose("signed", False))
    top = (1 << (bits - int(is_signed))) - 1 if 0 < bits <= 16 else 1
    try:
        spec = InputSpec(
            flat.layouts[port.name], bits, static=bool(choose("static", True)), signed=is_signed,
            scale=float(choose("input_scale", 1.0 / max(1, top))), fold=known.get("fold", 1),
            drop_bits=known.get("drop_bits", 0),
        )  # fmt: skip
    except NetworkError as error:
        raise ImportRefused(str(error)) from None
    settings = Settings(name, int(choose("steps", DEFAULT_STEPS)), timing, spec, li_sum)
    given = {option for option, value in choices.items() if value is not None}
    return settings, nir_assumptions.of_settings(flat, settings, common, given, set(known), kept is not None)


def _common_r(neurons: list[Spiking]) -> float | None:
    """The r that all IF neurons share, which if_r='unit' takes as 1/dt; None without IF neurons."""
    found: dict[float, str] = {}
    for node in neurons:
        if node.kind == "if" and node.r is not None:
            for r in (float(node.r.min()), float(node.r.max())):
                found.setdefault(r, node.name)
    if not found:
        return None
    low, high = min(found), max(found)
    if low <= 0:
        raise ImportRefused(f"node {found[low]!r}: r must be positive, not {low:g}; put the sign into the weights")
    if high - low > 1e-6 * abs(high):
        raise ImportRefused(
            f"node {found[high]!r}: r={high:g}, but r={low:g} in {found[low]!r}: it cannot mean 1/dt in both; "
            "use if_r='scaled' (--if-r scaled), with dt"
        )
    return high


def _import(flat: Flat, settings: Settings, said: tuple[str, ...]) -> Imported:
    cells: dict[str, Cell] = {}
    integrators = [name for name, node in flat.nodes.items() if isinstance(node, Integrator)]
    folded, twins = merge_twins(fold(flat, settings.li_sum))
    for name, node in folded.nodes.items():
        if isinstance(node, Spiking):
            cells[name] = discretise(node, settings.timing)
    readout = readout_node(folded)
    found = signals(folded, unsigned_input=not settings.spec.signed, into_readout=readout)
    made = LayerMaker(folded, found, cells, settings.spec, readout).make()
    try:
        network = Network(settings.name, settings.steps, settings.spec, ordered(made.layers), "NIR", {"source": "NIR"})
    except NetworkError as error:
        raise refused(error) from None
    said += nir_assumptions.of_layers(folded, readout, integrators, made.helpers, twins)
    return _imported(network, flat, said)


def _imported(network: Network, flat: Flat, said: tuple[str, ...]) -> Imported:
    blocks = find_blocks(network)
    statistics = {
        "nodes": len(flat.nodes), "edges": flat.edges, "largest_fan_in": max(map(len, flat.before.values())),
        "layers": len(network.layers), "blocks": len(blocks), "parameters": network.parameters,
    }  # fmt: skip
    return Imported(network, said, blocks, statistics)
