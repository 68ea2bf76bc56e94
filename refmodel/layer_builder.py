"""Float networks layer by layer; :class:`refmodel.builder.NetworkBuilder` adds the residual blocks."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .attention import Attention
from .errors import NetworkError
from .layer_checks import LayerChecker
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
from .network import Network
from .quantized import Combine, TensorInfo


def pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def floats(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


class LayerBuilder:
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
        self._checker = LayerChecker(input, steps)

    def tensor(self, name: str) -> TensorInfo:
        """Shape and largest value of a tensor made so far."""
        known = self._checker.tensors
        if name not in known:
            raise NetworkError(f"network {self.name!r}: no tensor {name!r}; there are {', '.join(known)}")
        return known[name]

    def keeps_stream(self, name: str) -> bool:
        """Whether layer ``name`` keeps its membrane stream."""
        return name in self._checker.streams

    def add(self, layer: Layer) -> str:
        """Check and append a layer that was made elsewhere."""
        self._checker.add(layer)
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
        stream: str | None = None,
        keeps_stream: bool = False,
        rectify: bool = False,
        attention: Attention | None = None,
        neurons: bool = True,
        name: str | None = None,
    ) -> str:
        """SN(conv(x) + bias), with ``attention`` SN(MA(conv(x) + bias)).

        ``padding`` None is half the kernel ("same" for odd kernels).

        ``neurons=False`` makes a layer without any, which only keeps its stream (``keeps_stream`` is implied).
        """
        w = floats(weight)
        layer = ConvLayer(
            name=self._fresh(name, "conv"),
            source=x,
            weight=w,
            bias=None if bias is None else floats(bias),
            stride=pair(stride),
            padding=pair(padding) if padding is not None else (w.shape[-2] // 2, w.shape[-1] // 2),
            neuron=(neuron or self.neuron) if neurons else None,
            shortcut=shortcut,
            combine=combine,
            current=current,
            stream=stream,
            keeps_stream=keeps_stream or not neurons,
            rectify=rectify,
            attention=attention,
        )
        return self.add(layer)

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
        stream: str | None = None,
        keeps_stream: bool = False,
        rectify: bool = False,
        attention: Attention | None = None,
        neurons: bool = True,
        name: str | None = None,
    ) -> str:
        """SN(W flatten(x) + bias), weight ``[Cout, C*H*W]``: a convolution whose kernel covers x."""
        name = self._fresh(name, "dense")
        w = floats(weight)
        shape = self.tensor(x).shape
        if w.ndim != 2 or w.shape[1] != math.prod(shape):
            raise NetworkError(f"layer {name!r}: weight must be [Cout, {math.prod(shape)}], not {list(w.shape)}")
        return self.conv(
            x, w.reshape(-1, *shape), bias, padding=0, neuron=neuron, shortcut=shortcut, combine=combine,
            current=current, stream=stream, keeps_stream=keeps_stream, rectify=rectify, attention=attention,
            neurons=neurons, name=name,
        )  # fmt: skip

    def gate(self, x: str, attention: Attention, *, name: str | None = None) -> str:
        """The spikes ``x`` through gates of 0 and 1, which the attention's neuron makes of them (SynA's IA)."""
        return self.add(GateLayer(self._fresh(name, "gate"), x, attention))

    def stream(self, x: str, max_bits: int | None = None, *, name: str | None = None) -> str:
        """The membrane stream that layer ``x`` keeps, as a tensor of real values for convolutions and readouts."""
        return self.add(StreamLayer(self._fresh(name, "stream"), x, max_bits))

    def maxpool(
        self,
        x: str,
        kernel: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        name: str | None = None,
    ) -> str:
        """Maximum over windows of spikes or counts; ``stride`` None is the kernel."""
        return self._pool("max", x, kernel, stride, padding, name)

    def sumpool(
        self,
        x: str,
        kernel: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        name: str | None = None,
    ) -> str:
        """Sum over windows of spikes or counts, which is a count; ``stride`` None is the kernel."""
        return self._pool("sum", x, kernel, stride, padding, name)

    def avgpool(
        self,
        x: str,
        kernel: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        name: str | None = None,
    ) -> str:
        """Mean over windows (padding included), real-valued: for convolutions and readouts; ``stride`` None: kernel."""
        return self._pool("average", x, kernel, stride, padding, name)

    def _pool(
        self,
        kind: PoolKind,
        x: str,
        kernel: int | Pair,
        stride: int | Pair | None,
        padding: int | Pair,
        name: str | None,
    ) -> str:
        step = kernel if stride is None else stride
        return self.add(PoolLayer(self._fresh(name, "pool"), x, pair(kernel), pair(step), pair(padding), kind))

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
        return self.add(ReadoutLayer(name, x, floats(weight), None if bias is None else floats(bias), pool))

    def build(self) -> Network:
        """The network; raises NetworkError when it has no readout."""
        return Network(self.name, self.steps, self.input, tuple(self._layers), self.family, dict(self.meta))
