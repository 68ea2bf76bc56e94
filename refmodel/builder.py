"""Builder: float networks layer by layer, and the residual blocks of the field."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .errors import NetworkError
from .network import (
    ConvLayer,
    InputSpec,
    Layer,
    MaxPoolLayer,
    Network,
    Neuron,
    Pair,
    ReadoutLayer,
    check_layer,
)
from .quantized import INPUT, Combine, TensorInfo


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


class NetworkBuilder:
    """Builds a Network layer by layer; every method returns the name of the tensor it made.

    ``neuron`` is used wherever a method is not given its own.  Weights are ``[Cout, Cin, KH, KW]``,
    biases ``[Cout]`` or None.  Each layer is checked when added (NetworkError).
    """

    def __init__(
        self,
        name: str,
        steps: int,
        input: InputSpec,
        *,
        neuron: Neuron | None = None,
        family: str = "",
        meta: dict[str, object] | None = None,
    ) -> None:
        self.name = name
        self.steps = steps
        self.input = input
        self.neuron = neuron or Neuron()
        self.family = family
        self.meta = dict(meta or {})
        self._layers: list[Layer] = []
        self._known = {INPUT: TensorInfo(input.shape, (1 << input.bits) - 1)}
        self._blocks = 0

    def tensor(self, name: str) -> TensorInfo:
        """Shape and largest value of a tensor made so far."""
        if name not in self._known:
            raise NetworkError(f"network {self.name!r}: no tensor {name!r}; there are {', '.join(self._known)}")
        return self._known[name]

    def _add(self, layer: Layer) -> str:
        self._known[layer.name] = check_layer(layer, self._known, self.input)
        self._layers.append(layer)
        return layer.name

    def _fresh(self, name: str | None, kind: str) -> str:
        return name or f"{kind}{len(self._layers) + 1}"

    def conv(
        self,
        x: str,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | None = None,
        neuron: Neuron | None = None,
        shortcut: str | None = None,
        combine: Combine = "pass",
        current: float | None = None,
        name: str | None = None,
    ) -> str:
        """SN(conv(x) + bias); ``padding`` None is half the kernel ("same" for odd kernels)."""
        w = np.asarray(weight, dtype=np.float64)
        pad = _pair(padding) if padding is not None else (w.shape[-2] // 2, w.shape[-1] // 2)
        b = None if bias is None else np.asarray(bias, dtype=np.float64)
        n = neuron or self.neuron
        layer = ConvLayer(self._fresh(name, "conv"), x, w, b, _pair(stride), pad, n, shortcut, combine, current)
        return self._add(layer)

    def dense(
        self,
        x: str,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        neuron: Neuron | None = None,
        shortcut: str | None = None,
        combine: Combine = "pass",
        current: float | None = None,
        name: str | None = None,
    ) -> str:
        """SN(W flatten(x) + bias), weight ``[Cout, C*H*W]``: a convolution whose kernel covers x."""
        name = self._fresh(name, "dense")
        w = np.asarray(weight, dtype=np.float64)
        shape = self.tensor(x).shape
        if w.ndim != 2 or w.shape[1] != math.prod(shape):
            raise NetworkError(f"layer {name!r}: weight must be [Cout, {math.prod(shape)}], not {list(w.shape)}")
        return self.conv(
            x, w.reshape(-1, *shape), bias, padding=0, neuron=neuron,
            shortcut=shortcut, combine=combine, current=current, name=name,
        )  # fmt: skip

    def maxpool(
        self,
        x: str,
        kernel: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        name: str | None = None,
    ) -> str:
        """Maximum over windows of a binary tensor; ``stride`` None is the kernel."""
        k = _pair(kernel)
        return self._add(
            MaxPoolLayer(self._fresh(name, "pool"), x, k, k if stride is None else _pair(stride), _pair(padding))
        )

    def plain_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        stride: int | Pair = 1,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(BN(C3(SN(BN(C3 S)))))."""
        name = self._block(name)
        y = self.conv(x, w1, b1, stride=stride, neuron=neuron, name=f"{name}.conv1")
        return self.conv(y, w2, b2, neuron=neuron, name=f"{name}.conv2")

    def sew_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        combine: Combine = "add",
        stride: int | Pair = 1,
        projection: tuple[ArrayLike, ArrayLike | None] | None = None,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = g(A, sc(S)), A = SN(BN(C3(SN(BN(C3 S))))) (SEW paper, eq. 8 and table 1).

        sc is the identity, or SN(BN(C1 stride)) when ``projection`` = (weight, bias) is given.
        """
        name = self._block(name)
        y = self.conv(x, w1, b1, stride=stride, neuron=neuron, name=f"{name}.conv1")
        shortcut = x
        if projection is not None:
            w, b = projection
            shortcut = self.conv(x, w, b, stride=stride, neuron=neuron, name=f"{name}.projection")
        return self.conv(y, w2, b2, neuron=neuron, shortcut=shortcut, combine=combine, name=f"{name}.conv2")

    def spiking_resnet_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        current: float = 1.0,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(BN(C3(SN(BN(C3 S)))) + current * S): identity shortcut as a current, S binary."""
        name = self._block(name)
        y = self.conv(x, w1, b1, neuron=neuron, name=f"{name}.conv1")
        return self.conv(y, w2, b2, neuron=neuron, shortcut=x, current=current, name=f"{name}.conv2")

    def _block(self, name: str | None) -> str:
        self._blocks += 1
        return name or f"block{self._blocks}"

    def readout(
        self,
        x: str,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        pool: Literal["global_average", "none"] = "global_average",
        name: str = "readout",
    ) -> str:
        """logits = mean over T of FC(GAP(x_t)), weight [classes, C]; or of FC(x_t), weight [classes, C*H*W]."""
        w = np.asarray(weight, dtype=np.float64)
        b = None if bias is None else np.asarray(bias, dtype=np.float64)
        return self._add(ReadoutLayer(name, x, w, b, pool))

    def build(self) -> Network:
        """The network; raises NetworkError when it has no readout."""
        return Network(self.name, self.steps, self.input, tuple(self._layers), self.family, dict(self.meta))
