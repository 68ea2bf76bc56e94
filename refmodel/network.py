"""Float networks: what training makes, the float model evaluates and the quantiser reads.

A :class:`Network` is a list of layers in execution order; each reads one named tensor and makes
one tensor of its own name, [T, C, H, W].  Batch norm is already folded into weight and bias.
Make one with :class:`refmodel.builder.NetworkBuilder`, or write the dataclasses directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import NetworkError
from .layer_checks import LayerChecker, RealTensor, window_shape
from .layers import (
    ConvLayer,
    FloatArray,
    GateLayer,
    InputSpec,
    Layer,
    Neuron,
    Pair,
    PoolKind,
    PoolLayer,
    ReadoutLayer,
    StreamLayer,
)
from .quantized import TensorInfo

__all__ = [
    "ConvLayer", "FloatArray", "GateLayer", "InputSpec", "Layer", "LayerChecker", "Network", "Neuron", "Pair",
    "PoolKind", "PoolLayer", "ReadoutLayer", "RealTensor", "StreamLayer", "window_shape",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Network:
    """A float network: input, layers in execution order, T = ``steps``.  Validated when made.

    ``meta`` holds anything JSON can carry.  Raises NetworkError.
    """

    name: str
    steps: int
    input: InputSpec
    layers: tuple[Layer, ...]
    family: str = ""
    meta: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        self.validate()

    def validate(self) -> None:
        """Check every layer; raises NetworkError that names the first bad one."""
        if self.steps < 1:
            raise NetworkError(f"network {self.name!r}: steps must be at least 1, not {self.steps!r}")
        if not self.layers or not isinstance(self.layers[-1], ReadoutLayer):
            raise NetworkError(f"network {self.name!r}: the last layer must be a readout; add one")
        self.tensors()

    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and largest value of every tensor, by name, in execution order; real-valued ones are RealTensor.

        The readout's entry is that of the quantised network: its running total, before pooling.  A
        layer that makes no spikes has largest value 0.
        """
        checker = LayerChecker(self.input, self.steps)
        for index, layer in enumerate(self.layers):
            if isinstance(layer, ReadoutLayer) and index != len(self.layers) - 1:
                raise NetworkError(f"layer {layer.name!r}: a readout must be the last layer, not number {index + 1}")
            checker.add(layer)
        return checker.tensors

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            layer.weight.size + (0 if layer.bias is None else layer.bias.size)
            for layer in self.layers
            if isinstance(layer, ConvLayer | ReadoutLayer)
        )
