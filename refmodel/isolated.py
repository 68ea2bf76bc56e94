"""Each integer layer alone: fed with what the float network's layers made, so that nothing is inherited.

The spikes that still differ are the layer's own: what rounding its weights, bias, thresholds and leak, the stream it
adds and its gates costs.  A layer with many of them gains from more bits; one whose spikes differ only in the whole
network does not.
"""

from __future__ import annotations

import numpy as np

from .attention import apply_gates, integer_gates
from .floatmodel import FloatResult
from .golden import GoldenResult
from .layers import ConvLayer, GateLayer, StreamLayer
from .membranes import integer_drive, integer_history
from .network import Network
from .quantized import INPUT, QuantizedNetwork
from .rounding import tensor_units, units_of


def isolated_differences(net: Network, qnet: QuantizedNetwork, real: FloatResult) -> dict[str, float]:
    """Fraction of neuron steps that differ in each layer with neurons or gates of spikes, fed with floats.

    ``real``: the float network's result, kept; a few images are enough.  Raises NetworkError for a network without
    scales.
    """
    fed = _as_integers(net, qnet, real)
    made = {layer.name: layer for layer in qnet.layers}
    images = np.arange(len(real.logits))
    found: dict[str, float] = {}
    for layer in net.layers:
        whole = made[layer.name]
        if isinstance(layer, ConvLayer) and layer.neuron is not None:
            history = integer_history(whole, integer_drive(whole, fed, images).driven)
            mine = history.spikes.sum(axis=0)
        elif isinstance(layer, GateLayer) and whole.attention is not None:
            spikes = fed.tensors[layer.source]
            mine = apply_gates(spikes, integer_gates(spikes, whole.attention), whole.attention.axis) > 0
        else:
            continue
        found[layer.name] = float(np.mean(mine != real.spikes[layer.name]))
    return found


def _as_integers(net: Network, qnet: QuantizedNetwork, real: FloatResult) -> GoldenResult:
    """The float network's tensors and streams in the integers that the integer network would have for them."""
    made = {layer.name: layer for layer in qnet.layers}
    result = GoldenResult(np.zeros((0, 0), np.int64), np.zeros(0, np.int64))
    for layer in net.layers:
        if isinstance(layer, ConvLayer) and layer.keeps_stream:
            units = units_of(layer, made[layer.name])[:, None, None]
            result.streams[layer.name] = np.round(real.streams[layer.name] / units).astype(np.int64)
    streams = {layer.name: layer.source for layer in net.layers if isinstance(layer, StreamLayer)}
    units_by_name = tensor_units(net, qnet, [INPUT, *(name for name in real.tensors if name not in streams)])
    for name, units in units_by_name.items():
        result.tensors[name] = np.round(real.tensors[name] / units[:, None, None]).astype(np.int64)
    for name, source in streams.items():
        result.tensors[name] = result.streams[source] >> made[name].shift
    return result
