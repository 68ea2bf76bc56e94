"""The nodes of a NIR graph as plain dataclasses; :mod:`.nir_parse` makes and checks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..layers import FloatArray, Pair

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
class Pass(Node):
    """A node that hands on the sum of its sources: Input and Output of a subgraph, and nodes folded into others."""


@dataclass(frozen=True, eq=False)
class Graph(Node):
    nodes: dict[str, Node]
    edges: Edges
    metadata: dict[str, Any]
