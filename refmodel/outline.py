"""Outline: a float network as an integer network without numbers, to be planned and not to be run.

Layers, tensors, streams, neurons and leaks are those that :func:`refmodel.quantize.quantize` makes; every weight is
a view of one zero, so that a network of any size takes no memory.  Proven widths are therefore the smallest there
are, but those of membrane streams: a layer that keeps one has a bias of ``STREAM_REACH``.
"""

from __future__ import annotations

import numpy as np

from .errors import NetworkError
from .layers import ConvLayer, GateLayer, Layer, ReadoutLayer, StreamLayer
from .leaks import Leak, choose_leak
from .network import Network
from .quantized import IntArray, QuantizedInput, QuantizedLayer, QuantizedNetwork

#: Bits of a membrane stream's tensor that says nothing of its own; the quantiser goes by its proven worst case.
STREAM_BITS = 16
#: What a layer adds to a membrane stream, at most.
STREAM_REACH = 1 << 11
#: A shift after which any stream fits its tensor.
_SHIFT = 31
#: Fraction bits of leaks by multiplication, as the quantiser has them.
LEAK_BITS = 8


def outline(net: Network, weight_bits: int = 8) -> QuantizedNetwork:
    """The shape of the integer network that ``net`` becomes.  Raises NetworkError as the quantiser would for a leak."""
    infos = net.tensors()
    spec = net.input
    return QuantizedNetwork(
        name=net.name,
        steps=net.steps,
        input=QuantizedInput(**vars(spec)),
        layers=tuple(_layer(layer, infos[layer.source].shape) for layer in net.layers),
        weight_bits=weight_bits,
        family=net.family,
        meta=dict(net.meta),
    )


def _zeros(*shape: int) -> IntArray:
    return _constant(0, *shape)


def _constant(value: int, *shape: int) -> IntArray:
    return np.broadcast_to(np.asarray(value, np.int64), shape)


def _layer(layer: Layer, source: tuple[int, int, int]) -> QuantizedLayer:
    if isinstance(layer, GateLayer) or (isinstance(layer, ConvLayer) and layer.attention is not None):
        raise NetworkError(
            f"layer {layer.name!r}: has attention (SynA), whose gates no density tells; estimate with data or samples"
        )
    if isinstance(layer, ConvLayer):
        return _conv(layer)
    if isinstance(layer, StreamLayer):
        bits = layer.max_bits or STREAM_BITS
        return QuantizedLayer(layer.name, "stream", layer.source, None, (1, 1), bits=bits, shift=_SHIFT)
    if isinstance(layer, ReadoutLayer):
        kernel = (1, 1) if layer.pool == "global_average" else source[1:]
        classes = len(layer.weight)
        weight = _zeros(classes, source[0], *kernel)
        return QuantizedLayer(layer.name, "readout", layer.source, weight, kernel, bias=_zeros(classes))
    kind = "maxpool" if layer.kind == "max" else "sumpool"
    return QuantizedLayer(layer.name, kind, layer.source, None, layer.kernel, layer.stride, layer.padding)


def _conv(layer: ConvLayer) -> QuantizedLayer:
    neuron, outputs = layer.neuron, len(layer.weight)
    leak = Leak() if neuron is None else choose_leak(layer.name, neuron, "auto", LEAK_BITS, False)[0]
    levels = 0 if neuron is None else len(neuron.levels)
    return QuantizedLayer(
        name=layer.name,
        kind="conv",
        source=layer.source,
        weight=_zeros(*layer.weight.shape),
        kernel=(layer.weight.shape[2], layer.weight.shape[3]),
        stride=layer.stride,
        padding=layer.padding,
        bias=_constant(STREAM_REACH if layer.keeps_stream else 0, outputs),
        threshold=None if neuron is None else _zeros(outputs),
        levels=_zeros(levels, outputs) if levels else None,
        leak_shifts=leak.shifts,
        leak_factor=leak.factor,
        reset="hard" if neuron is None else neuron.reset,
        stateless=neuron is not None and neuron.kind == "step",
        rectify=layer.rectify,
        shortcut=layer.shortcut,
        combine=layer.combine,
        current=None if layer.current is None else _zeros(outputs),
        stream=layer.stream,
        keeps_stream=layer.keeps_stream,
    )
