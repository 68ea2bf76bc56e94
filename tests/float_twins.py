"""Float networks that must spike as an integer network does."""

from __future__ import annotations

import numpy as np

from refmodel.network import ConvLayer, InputSpec, Network, Neuron, PoolLayer, ReadoutLayer
from refmodel.quantize import leak_factor
from refmodel.quantized import QuantizedLayer, QuantizedNetwork


def as_float(rng: np.random.Generator, net: QuantizedNetwork) -> Network:
    """A float network that must spike exactly as ``net`` does, with neurons of randomly drawn conventions.

    Needs equal thresholds and currents in all channels of a layer (:func:`uniform`).  Where the float
    leak is not exact the threshold lies half a unit below the integer one, so that no tie depends on noise.
    """
    layers: list[ConvLayer | PoolLayer | ReadoutLayer] = []
    infos = net.tensors()
    for layer in net.layers:
        if layer.weight is None:
            layers.append(PoolLayer(layer.name, layer.source, layer.kernel, layer.stride, layer.padding))
            continue
        weight = layer.weight.astype(np.float64)
        bias = None if layer.bias is None else layer.bias.astype(np.float64)
        if layer.kind == "readout":
            _, height, width = infos[layer.name].shape
            pool = "none" if layer.kernel == infos[layer.source].shape[1:] else "global_average"
            bias = None if bias is None else bias / (net.steps * height * width)
            layers.append(ReadoutLayer(layer.name, layer.source, weight.reshape(len(weight), -1), bias, pool))
            continue
        assert layer.threshold is not None
        current = None if layer.current is None else float(layer.current[0])
        neuron = _float_neuron(rng, int(layer.threshold[0]), layer)
        layers.append(
            ConvLayer(
                layer.name, layer.source, weight, bias, layer.stride, layer.padding, neuron,
                layer.shortcut, layer.combine, current,
            )
        )  # fmt: skip
    spec = InputSpec(net.input.shape, net.input.bits, net.input.static)
    return Network(net.name, net.steps, spec, tuple(layers), net.family)


def _float_neuron(rng: np.random.Generator, threshold: int, layer: QuantizedLayer) -> Neuron:
    decay = 1.0 - leak_factor(layer.leak_shifts)
    exact = len(layer.leak_shifts) <= 1
    fire = "ge" if layer.reset == "soft" or rng.random() < 0.6 else "gt"
    edge = float(threshold) if exact and fire == "ge" else threshold - 1.0 if exact else threshold - 0.5
    v_reset = 0.0 if layer.reset == "soft" else float(rng.choice([-8.0, 0.0, 2.0]))
    if not layer.leak_shifts:
        return Neuron("if", edge + v_reset, reset=layer.reset, v_reset=v_reset, fire=fire)
    decay_input = bool(rng.integers(2))
    edge = edge * decay if decay_input else edge
    return Neuron("lif", edge + v_reset, 1.0 / decay, decay_input, layer.reset, v_reset, fire)
