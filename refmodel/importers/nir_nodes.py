"""The nodes of a NIR graph as plain dataclasses, from the dictionaries that a file or ``nir`` gives.

Every parameter is checked here: present, of the right rank, finite.  Errors are ImportRefused and name the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused
from ..layers import FloatArray, Pair

#: Most weights that one node may have once groups and dilations are written out.
WEIGHTS_LIMIT = 1 << 26
#: Most subgraphs in one another.
NESTING_LIMIT = 8

Edges = tuple[tuple[str, str], ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    name: str


@dataclass(frozen=True, eq=False)
class Port(Node):
    """Input or Output; ``shape`` without batch and time."""

    kind: Literal["Input", "Output"]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """y = W x + b, weight ``[out, in]``: Affine, Linear."""

    weight: FloatArray
    bias: FloatArray | None


@dataclass(frozen=True, eq=False)
class Convolution(Node):
    """weight ``[Cout, Cin, KH, KW]``, groups and dilation written out; Conv1d (``axes`` 1) has KH = 1."""

    weight: FloatArray
    bias: FloatArray | None
    stride: Pair
    padding: Pair
    axes: Literal[1, 2]
    input_shape: Shape | None


@dataclass(frozen=True, eq=False)
class Pooling(Node):
    kind: Literal["sum", "average"]
    kernel: Pair
    stride: Pair
    padding: Pair


@dataclass(frozen=True, eq=False)
class Scaling(Node):
    """y = scale * x, element by element."""

    scale: FloatArray


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """Flatten of the axes ``start`` to ``end``, both included."""

    start: int
    end: int
    input_shape: Shape | None


@dataclass(frozen=True, eq=False)
class Spiking(Node):
    """IF, LIF, or Threshold (``step``); parameters are arrays of the full shape, those a kind lacks None."""

    kind: Literal["if", "lif", "step"]
    threshold: FloatArray
    r: FloatArray | None = None
    reset: FloatArray | None = None
    tau: FloatArray | None = None
    leak: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Integrator(Node):
    """LI: tau v' = v_leak - v + r I, without spikes."""

    tau: FloatArray
    r: FloatArray
    leak: FloatArray


@dataclass(frozen=True, eq=False)
class Graph(Node):
    nodes: dict[str, Node]
    edges: Edges
    metadata: dict[str, Any]


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
    weight = _ungrouped(fields.where, _dilated(fields.where, weight, dilation), groups[0])
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
    weight, pair = _symmetric(fields.where, weight, pads, pads_after)
    known = fields.tree.get("input_shape") is not None
    return Convolution(name, weight, bias, stride, pair, axes, fields.integers("input_shape") if known else None)


def _limit(where: str, shape: tuple[int, ...]) -> None:
    size = 1
    for length in shape:
        size *= length
    if size > WEIGHTS_LIMIT:
        raise ImportRefused(
            f"{where}: its weights written out without groups and dilation are {shape}, more than {WEIGHTS_LIMIT}; "
            "use smaller groups or kernels"
        )


def _dilated(where: str, weight: FloatArray, dilation: Pair) -> FloatArray:
    """Zeros between the taps: the same convolution without dilation."""
    if dilation == (1, 1):
        return weight
    kernel = tuple((size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True))
    _limit(where, (*weight.shape[:2], *kernel))
    out = np.zeros((*weight.shape[:2], *kernel))
    out[:, :, :: dilation[0], :: dilation[1]] = weight
    return out


def _ungrouped(where: str, weight: FloatArray, groups: int) -> FloatArray:
    """Zeros for the channels of other groups: the same convolution without groups."""
    if groups == 1:
        return weight
    outputs, inputs = len(weight) // groups, weight.shape[1]
    _limit(where, (len(weight), inputs * groups, *weight.shape[2:]))
    out = np.zeros((len(weight), inputs * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        out[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return out


def _symmetric(
    where: str, weight: FloatArray, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[FloatArray, Pair]:
    """Kernel and padding, the same on both sides and smaller than the kernel: rows and columns of zeros are added."""
    leading, trailing, padding = [], [], []
    for size, low, high in zip(weight.shape[2:], before, after, strict=True):
        wanted = max(low, high)
        more = max(0, wanted - (size + (wanted - low) + (wanted - high)) + 1)
        padding.append(wanted + more)
        leading.append(wanted - low + more)
        trailing.append(wanted - high + more)
    sizes = (sum(parts) for parts in zip(weight.shape[2:], leading, trailing, strict=True))
    _limit(where, (*weight.shape[:2], *sizes))
    widths = ((0, 0), (0, 0), *zip(leading, trailing, strict=True))
    return np.pad(weight, widths), (padding[0], padding[1])


def _pooling(name: str, fields: _Fields) -> Pooling:
    kernel, stride = fields.sizes("kernel_size", 2, 1), fields.sizes("stride", 2, 1)
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
