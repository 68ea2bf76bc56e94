"""The nodes of a NIR graph from the dictionaries that a file or ``nir`` gives.

Every parameter is checked here: present, of the right rank, finite.  Errors are ImportRefused and name the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused
from ..layers import FloatArray, Pair
from .nir_kernels import dilated, symmetric, ungrouped
from .nir_nodes import (
    Convolution,
    Dense,
    Graph,
    Integrator,
    Node,
    Pooling,
    Port,
    Reshape,
    Scaling,
    Shape,
    Spiking,
)

#: Most pixels of a pool's window.
WINDOW_LIMIT = 1 << 16
#: Most subgraphs in one another.
NESTING_LIMIT = 8


def parse(tree: dict[str, Any], name: str = "", depth: int = 0) -> Node:
    """The node that ``tree`` describes; ``name`` is its full one, of the outermost graph ""."""
    where = f"node {name!r}" if name else "the graph"
    kind = tree.get("type")
    if not isinstance(kind, str):
        raise ImportRefused(f"{where}: has no type; not a NIR file, or damaged")
    if kind == "NIRGraph":
        return _graph(tree, name, where, depth)
    if kind not in _KINDS:
        raise ImportRefused(
            f"{where}: {kind[:40]} nodes are not supported{_WHY.get(kind, '')}; there are {', '.join(_KINDS)}, NIRGraph"
        )
    return _KINDS[kind](name, _Fields(where, kind, tree))


def _graph(tree: dict[str, Any], name: str, where: str, depth: int) -> Graph:
    if depth > NESTING_LIMIT:
        raise ImportRefused(f"{where}: graphs are nested more than {NESTING_LIMIT} deep")
    nodes, edges = tree.get("nodes"), tree.get("edges")
    if not isinstance(nodes, dict) or edges is None:
        raise ImportRefused(f"{where}: a NIRGraph needs nodes and edges")
    pairs: list[tuple[str, str]] = []
    for edge in edges:
        if not isinstance(edge, list | tuple) or len(edge) != 2:
            raise ImportRefused(f"{where}: an edge must be two names, not {str(edge)[:40]}")
        first, second = (end.decode() if isinstance(end, bytes) else end for end in edge)
        if not isinstance(first, str) or not isinstance(second, str):
            raise ImportRefused(f"{where}: an edge must be two names, not {str(edge)[:40]}")
        pairs.append((first, second))
    parsed: dict[str, Node] = {}
    for key, value in nodes.items():
        inner = f"{name}.{key}" if name else key
        if not isinstance(value, dict):
            raise ImportRefused(f"node {inner!r}: is not a node")
        parsed[key] = parse(value, inner, depth + 1)
    metadata = tree.get("metadata")
    return Graph(name, parsed, tuple(pairs), metadata if isinstance(metadata, dict) else {})


class _Fields:
    """The parameters of one node, checked as they are taken."""

    def __init__(self, where: str, kind: str, tree: dict[str, Any]) -> None:
        self.where, self.kind, self.tree = where, kind, tree

    def raw(self, key: str) -> Any:
        if self.tree.get(key) is None:
            raise ImportRefused(f"{self.where}: {self.kind} without its parameter {key!r}")
        return self.tree[key]

    def array(self, key: str, ndim: int | None = None) -> FloatArray:
        try:
            values = np.asarray(self.raw(key))
            if values.dtype.kind not in "fiub":
                raise ValueError
            values = np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ImportRefused(f"{self.where}: {key} must be an array of numbers") from None
        if ndim is not None and values.ndim != ndim:
            raise ImportRefused(f"{self.where}: {key} must have {ndim} axes, not shape {values.shape}")
        if not np.isfinite(values).all():
            raise ImportRefused(f"{self.where}: {key} has NaN or infinite values; was the training stable?")
        if values.size == 0:
            raise ImportRefused(f"{self.where}: {key} is empty")
        return values

    def integers(self, key: str) -> Shape:
        values = self.array(key).reshape(-1)
        if not (values == np.round(values)).all() or np.abs(values).max() >= 1 << 31:
            raise ImportRefused(f"{self.where}: {key} must be integers, not {values.tolist()[:4]}")
        return tuple(int(value) for value in values)

    def sizes(self, key: str, axes: int, low: int) -> Pair:
        """One integer an axis, or one for all, at least ``low``; for one axis the first of the pair is neutral."""
        values = self.integers(key)
        values = values * axes if len(values) == 1 else values
        if len(values) != axes or min(values) < low:
            raise ImportRefused(f"{self.where}: {key} must be {axes} integers of at least {low}, not {list(values)}")
        return (values[0], values[1]) if axes == 2 else (low, values[0])

    def shape(self, key: str) -> Shape | None:
        """A shape that may be missing."""
        value = self.tree.get(key)
        if isinstance(value, dict):
            value = next(iter(value.values()), None)
        if value is None:
            return None
        sizes = _Fields(self.where, self.kind, {key: value}).integers(key)
        if min(sizes) < 1:
            raise ImportRefused(f"{self.where}: {key} must be sizes of at least 1, not {list(sizes)}")
        return sizes


def _port(name: str, fields: _Fields) -> Port:
    shape = fields.shape("shape")
    if shape is None:
        raise ImportRefused(f"{fields.where}: {fields.kind} without its parameter 'shape'")
    return Port(name, "Input" if fields.kind == "Input" else "Output", shape)


def _dense(name: str, fields: _Fields) -> Dense:
    weight = fields.array("weight", 2)
    bias = fields.array("bias").reshape(-1) if fields.kind == "Affine" else None
    _check_bias(fields, weight, bias)
    return Dense(name, weight, bias)


def _check_bias(fields: _Fields, weight: FloatArray, bias: FloatArray | None) -> None:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ImportRefused(f"{fields.where}: bias must be of shape ({len(weight)},), not {bias.shape}: shape mismatch")


def _convolution(name: str, fields: _Fields) -> Convolution:
    axes: Literal[1, 2] = 2 if fields.kind == "Conv2d" else 1
    weight = fields.array("weight", axes + 2)
    bias = fields.array("bias").reshape(-1) if fields.tree.get("bias") is not None else None
    _check_bias(fields, weight, bias)
    if axes == 1:
        weight = weight[:, :, None, :]
    stride = fields.sizes("stride", axes, 1)
    dilation = fields.sizes("dilation", axes, 1)
    groups = fields.integers("groups")
    if len(groups) != 1 or groups[0] < 1 or len(weight) % groups[0]:
        raise ImportRefused(
            f"{fields.where}: groups must divide the {len(weight)} output channels, not {list(groups)}: shape mismatch"
        )
    weight = ungrouped(fields.where, dilated(fields.where, weight, dilation), groups[0])
    padding = fields.raw("padding")
    padding = padding.decode() if isinstance(padding, bytes) else padding
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ImportRefused(f"{fields.where}: padding must be 'same', 'valid' or integers, not {padding[:20]!r}")
        if padding == "same" and stride != (1, 1):
            raise ImportRefused(f"{fields.where}: padding='same' needs stride 1, not {stride}")
        total = tuple(size - 1 if padding == "same" else 0 for size in weight.shape[2:])
        pads = tuple(size // 2 for size in total)
        pads_after = tuple(size - size // 2 for size in total)
    else:
        pads = pads_after = fields.sizes("padding", axes, 0)
    weight, pair = symmetric(fields.where, weight, pads, pads_after)
    known = fields.tree.get("input_shape") is not None
    return Convolution(name, weight, bias, stride, pair, axes, fields.integers("input_shape") if known else None)


def _pooling(name: str, fields: _Fields) -> Pooling:
    kernel, stride = fields.sizes("kernel_size", 2, 1), fields.sizes("stride", 2, 1)
    if kernel[0] * kernel[1] > WINDOW_LIMIT:
        raise ImportRefused(f"{fields.where}: kernel_size {kernel} is more than {WINDOW_LIMIT} pixels")
    kind = "sum" if fields.kind == "SumPool2d" else "average"
    return Pooling(name, kind, kernel, stride, fields.sizes("padding", 2, 0))


def _scaling(name: str, fields: _Fields) -> Scaling:
    return Scaling(name, fields.array("scale"))


def _reshape(name: str, fields: _Fields) -> Reshape:
    (start,), (end,) = fields.integers("start_dim")[:1], fields.integers("end_dim")[:1]
    return Reshape(name, start, end, fields.shape("input_type"))


def _neuron_arrays(fields: _Fields, *keys: str) -> list[FloatArray]:
    arrays = [fields.array(key) for key in keys]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in zip(keys, arrays, strict=True))
        raise ImportRefused(f"{fields.where}: its parameters must have one shape, not {shapes}: shape mismatch")
    return arrays


def _spiking(name: str, fields: _Fields) -> Spiking:
    if fields.kind == "Threshold":
        return Spiking(name, "step", *_neuron_arrays(fields, "threshold"))
    if fields.tree.get("v_reset") is None:
        fields.tree = {**fields.tree, "v_reset": np.zeros_like(fields.array("v_threshold"))}
    if fields.kind == "IF":
        return Spiking(name, "if", *_neuron_arrays(fields, "v_threshold", "r", "v_reset"))
    threshold, r, reset, tau, leak = _neuron_arrays(fields, "v_threshold", "r", "v_reset", "tau", "v_leak")
    _positive(fields, "tau", tau)
    return Spiking(name, "lif", threshold, r, reset, tau, leak)


def _positive(fields: _Fields, key: str, values: NDArray[Any]) -> None:
    if values.min() <= 0:
        raise ImportRefused(f"{fields.where}: {key} must be positive, not {values.min()!r}")


def _integrator(name: str, fields: _Fields) -> Integrator:
    tau, r, leak = _neuron_arrays(fields, "tau", "r", "v_leak")
    _positive(fields, "tau", tau)
    return Integrator(name, tau, r, leak)


_KINDS: dict[str, Callable[[str, _Fields], Node]] = {
    "Input": _port, "Output": _port, "Affine": _dense, "Linear": _dense, "Conv1d": _convolution,
    "Conv2d": _convolution, "Flatten": _reshape, "SumPool2d": _pooling, "AvgPool2d": _pooling, "Scale": _scaling,
    "Threshold": _spiking, "IF": _spiking, "LIF": _spiking, "LI": _integrator,
}  # fmt: skip
_CUBA = ": the core's neurons have one state, the membrane, and no synaptic current; train with LIF"
_WHY = {
    "CubaLIF": _CUBA, "CubaLI": _CUBA, "Delay": ": the core has no delay lines",
    "I": ": an integrator without threshold makes no spikes; use IF or LIF",
}  # fmt: skip
