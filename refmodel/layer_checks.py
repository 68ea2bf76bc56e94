"""What the layers of a float network must satisfy, and the tensors they make.

Every refusal is a NetworkError that names the layer, the limit and the way out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .attention import Attention
from .errors import NetworkError
from .layers import ConvLayer, GateLayer, InputSpec, Layer, Pair, PoolLayer, ReadoutLayer, StreamLayer
from .quantized import COMBINES, INPUT, TensorInfo

Shape = tuple[int, int, int]

#: Most bits of a stream's tensor.
MAX_STREAM_BITS = 32


@dataclass(frozen=True)
class RealTensor(TensorInfo):
    """A tensor of real values, which only convolutions and readouts may read.

    An average's values are the integers ``min_value`` to ``max_value``, the window's sums, times a
    factor; those of a stream depend on the weights, and its range here stands only for its sign.
    """


class LayerChecker:
    """Checks layers of T = ``steps`` in execution order; ``tensors`` and ``streams``: those made so far, by layer."""

    def __init__(self, spec: InputSpec, steps: int) -> None:
        self.spec, self.steps = spec, steps
        self.tensors: dict[str, TensorInfo] = {INPUT: spec.tensor}
        self.streams: dict[str, Shape] = {}

    def add(self, layer: Layer) -> TensorInfo:
        """Check ``layer`` and return the tensor it makes.  Raises NetworkError."""
        where = f"layer {layer.name!r}"
        if not layer.name or layer.name in self.tensors:
            raise NetworkError(f"{where}: the name is empty or already taken; give each layer its own")
        if isinstance(layer, StreamLayer):
            made = self._stream(layer)
        else:
            self._find(where, "source", layer.source)
            if isinstance(layer, PoolLayer):
                made = self._pool(layer)
            elif isinstance(layer, ReadoutLayer):
                made = self._readout(layer)
            elif isinstance(layer, GateLayer):
                made = self._gate(layer)
            else:
                made = self._conv(layer)
                if layer.keeps_stream:
                    self.streams[layer.name] = made.shape
        self.tensors[layer.name] = made
        return made

    def _find(self, where: str, option: str, name: str) -> None:
        if name not in self.tensors:
            raise NetworkError(f"{where}: unknown {option} {name!r}; it must be one of {', '.join(self.tensors)}")
        if self.tensors[name].max_value == 0:
            raise NetworkError(
                f"{where}: {option} {name!r} has no neurons and makes no spikes; read its stream through a StreamLayer"
            )

    def _kept(self, where: str, name: str) -> Shape:
        if name not in self.streams:
            kept = ", ".join(self.streams) or "none"
            raise NetworkError(
                f"{where}: no earlier layer {name!r} keeps its stream (those that do: {kept}); "
                "give it keeps_stream=True"
            )
        return self.streams[name]

    def _stream(self, layer: StreamLayer) -> TensorInfo:
        where = f"layer {layer.name!r}"
        if layer.max_bits is not None and not 2 <= layer.max_bits <= MAX_STREAM_BITS:
            raise NetworkError(
                f"{where}: max_bits must be 2 to {MAX_STREAM_BITS} or None for all of them, not {layer.max_bits!r}"
            )
        return RealTensor(self._kept(where, layer.source), 1, -1)

    def _pool(self, layer: PoolLayer) -> TensorInfo:
        where = f"layer {layer.name!r}"
        source = self.tensors[layer.source]
        if layer.kind not in ("max", "sum", "average"):
            raise NetworkError(f"{where}: kind must be 'max', 'sum' or 'average', not {layer.kind!r}")
        if isinstance(source, RealTensor):
            raise NetworkError(
                f"{where}: pooling needs spikes or counts, but {layer.source!r} is real-valued; "
                "fold the pool into the convolution that reads it"
            )
        if source.signed:
            raise NetworkError(f"{where}: pooling needs unsigned values, but {layer.source!r} is signed; convolve it")
        channels, height, width = source.shape
        shape = (channels, *window_shape(layer.name, (height, width), layer.kernel, layer.stride, layer.padding))
        largest = source.max_value * (1 if layer.kind == "max" else math.prod(layer.kernel))
        scaled = layer.source == INPUT and self.spec.scale != 1.0
        return (RealTensor if layer.kind == "average" or scaled else TensorInfo)(shape, largest)

    def _readout(self, layer: ReadoutLayer) -> TensorInfo:
        where = f"layer {layer.name!r}"
        source = self.tensors[layer.source]
        channels, height, width = source.shape
        outputs = _check_arrays(layer)
        if layer.pool not in ("global_average", "none"):
            raise NetworkError(f"{where}: pool must be 'global_average' or 'none', not {layer.pool!r}")
        features = channels if layer.pool == "global_average" else channels * height * width
        if layer.weight.shape != (outputs, features):
            raise NetworkError(
                f"{where}: weight must be [classes, {features}] for pool={layer.pool!r} on {source.shape}, "
                f"not {list(layer.weight.shape)}"
            )
        return TensorInfo((outputs, height, width) if layer.pool == "global_average" else (outputs, 1, 1), 1)

    def _conv(self, layer: ConvLayer) -> TensorInfo:
        where = f"layer {layer.name!r}"
        channels, height, width = self.tensors[layer.source].shape
        outputs = _check_arrays(layer)
        if layer.weight.ndim != 4 or layer.weight.shape[1] != channels:
            raise NetworkError(
                f"{where}: weight must be [Cout, {channels}, KH, KW] for source {layer.source!r}, "
                f"not {list(layer.weight.shape)}; grouped convolutions are not supported"
            )
        kernel = (layer.weight.shape[2], layer.weight.shape[3])
        shape = (outputs, *window_shape(layer.name, (height, width), kernel, layer.stride, layer.padding))
        if layer.stream is not None and self._kept(where, layer.stream) != shape:
            found = self.streams[layer.stream]
            raise NetworkError(
                f"{where}: stream {layer.stream!r} has shape {found}, but the layer makes {shape}; project the stream"
            )
        _check_neuron(layer)
        if layer.attention is not None:
            self._check_attention(where, layer.attention, shape)
        return TensorInfo(shape, self._largest(layer, shape))

    def _gate(self, layer: GateLayer) -> TensorInfo:
        where = f"layer {layer.name!r}"
        source = self.tensors[layer.source]
        real = isinstance(source, RealTensor) or (layer.source == INPUT and self.spec.scale != 1.0)
        if real or source.signed or source.max_value > 1:
            found = "is real-valued or signed" if real or source.signed else f"counts up to {source.max_value}"
            raise NetworkError(
                f"{where}: gates are for binary spikes, but {layer.source!r} {found}; gate it before it counts, "
                "or use a convolution with attention"
            )
        self._check_attention(where, layer.attention, source.shape)
        if layer.attention.neuron is None:
            raise NetworkError(
                f"{where}: gated spikes stay spikes only with gates of 0 and 1; give the attention a neuron"
            )
        return TensorInfo(source.shape, 1)

    def _check_attention(self, where: str, attention: Attention, shape: Shape) -> None:
        if not isinstance(attention, Attention):
            raise NetworkError(f"{where}: attention must be an Attention, not {attention!r}")
        wanted, what = (self.steps, "time steps") if attention.axis == "time" else (shape[0], "channels")
        if attention.size != wanted:
            raise NetworkError(
                f"{where}: its attention is for {attention.size} {what}, but there are {wanted}; "
                f"use first [R, {wanted}] and second [{wanted}, R]"
            )

    def _largest(self, layer: ConvLayer, shape: Shape) -> int:
        """Check the shortcut of a convolution and return the layer's largest output value."""
        where = f"layer {layer.name!r}"
        own = 0 if layer.neuron is None else len(layer.neuron.thresholds)
        if layer.combine not in COMBINES:
            raise NetworkError(f"{where}: combine must be one of {', '.join(COMBINES)}, not {layer.combine!r}")
        if layer.current is not None and not math.isfinite(layer.current):
            raise NetworkError(f"{where}: current must be a finite number, not {layer.current!r}")
        if layer.shortcut is None:
            if layer.combine != "pass" or layer.current is not None:
                raise NetworkError(f"{where}: combine={layer.combine!r}, current={layer.current} need a shortcut")
            return own
        self._find(where, "shortcut", layer.shortcut)
        if (layer.combine == "pass") == (layer.current is None):
            raise NetworkError(
                f"{where}: a shortcut needs either a combine or a current, "
                f"not combine={layer.combine!r} with current={layer.current}"
            )
        use = "current" if layer.combine == "pass" else layer.combine.upper()
        if layer.neuron is None and use != "current":
            raise NetworkError(f"{where}: {use} combines spikes, but the layer has no neurons; use a current")
        if own > 1 and use not in ("ADD", "current"):
            raise NetworkError(f"{where}: {use} needs binary spikes, but its MLF units count to {own}; use add")
        shortcut = self.tensors[layer.shortcut]
        if isinstance(shortcut, RealTensor) or shortcut.signed:
            raise NetworkError(
                f"{where}: shortcut {layer.shortcut!r} is real-valued or signed, but a shortcut carries spikes or "
                "counts; use a projection or a membrane stream"
            )
        if layer.shortcut == INPUT and self.spec.scale != 1.0:
            raise NetworkError(f"{where}: the input as shortcut needs input scale 1, not {self.spec.scale}")
        if shortcut.shape != shape:
            raise NetworkError(
                f"{where}: shortcut {layer.shortcut!r} has shape {shortcut.shape}, but the layer makes {shape}; "
                "use a projection on the shortcut"
            )
        if use != "ADD" and shortcut.max_value > 1:
            raise NetworkError(
                f"{where}: {use} needs a binary shortcut, but {layer.shortcut!r} counts up to {shortcut.max_value}; "
                "use combine='add' or a projection"
            )
        return own + shortcut.max_value if use == "ADD" else own


def _check_arrays(layer: ConvLayer | ReadoutLayer) -> int:
    """Weight and bias are finite and fit each other; returns the number of outputs."""
    where = f"layer {layer.name!r}"
    if not np.isfinite(layer.weight).all() or (layer.bias is not None and not np.isfinite(layer.bias).all()):
        raise NetworkError(f"{where}: weight or bias has NaN or infinite values; was the training stable?")
    outputs = layer.weight.shape[0] if layer.weight.ndim else 0
    if outputs < 1 or (layer.bias is not None and layer.bias.shape != (outputs,)):
        found = None if layer.bias is None else layer.bias.shape
        raise NetworkError(f"{where}: bias must be None or of shape ({outputs},), not {found}")
    return outputs


def _check_neuron(layer: ConvLayer) -> None:
    where = f"layer {layer.name!r}"
    if layer.neuron is None and not layer.keeps_stream:
        raise NetworkError(
            f"{where}: without neurons it must keep its stream; give it a neuron or keeps_stream=True"
        )
    if layer.neuron is None and layer.rectify:
        raise NetworkError(f"{where}: rectify acts on what neurons integrate, but the layer has none; remove it")
    if layer.attention is not None and layer.neuron is None:
        raise NetworkError(f"{where}: attention gates what neurons integrate, but the layer has none; remove it")
    if layer.attention is not None and layer.keeps_stream:
        raise NetworkError(
            f"{where}: a layer has either attention or a membrane stream for later layers; remove attention, "
            "or keeps_stream=True"
        )


def window_shape(name: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Output (H, W) of a window that slides over a padded (H, W); raises NetworkError."""
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise NetworkError(
            f"layer {name!r}: kernel and stride must be at least 1 and padding at least 0, "
            f"not kernel={kernel}, stride={stride}, padding={padding}"
        )
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise NetworkError(f"layer {name!r}: padding must be smaller than the kernel {kernel}, not {padding}")
    out_h = (size[0] + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (size[1] + 2 * padding[1] - kernel[1]) // stride[1] + 1
    if out_h < 1 or out_w < 1:
        raise NetworkError(
            f"layer {name!r}: kernel {kernel} is larger than its source {size} with padding {padding}; "
            "use a smaller kernel or more padding"
        )
    return out_h, out_w
