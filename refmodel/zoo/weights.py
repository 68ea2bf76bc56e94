"""Random weights for a sketch, scaled layer by layer so that spikes neither die out nor saturate.

Weights are normal.  Where the float model can follow along in reasonable time, a few random inputs go with it:
each layer's sums get the spread its thresholds need, and one bias for the whole layer gives its neurons the rate
that :func:`refmodel.densities.default_rate` expects of them.  Larger networks get the spread that follows from
those rates and a small positive bias.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .. import floatmodel
from ..densities import AND_RATE, EVENT_DENSITY, RATE, random_inputs
from ..layers import ConvLayer, FloatArray, Layer, Neuron, PoolLayer, ReadoutLayer, StreamLayer
from ..network import Network
from ..quantized import INPUT

#: Most synaptic operations, of all steps and samples, that following along may take.
MOST_OPERATIONS = 1e9
#: Inputs that go along, at least and at most.
SAMPLES = (2, 16)
#: Operations up to which more inputs than the least go along.
_EASY = 1e8
#: Neurons of a layer that its bias is chosen by.
_SITES = 4096
#: Spread of a residual branch that only adds to a membrane stream, of the threshold.
_BRANCH = 0.5
#: Spread of a layer's sums and bias without following along, of the threshold.
_SPREAD, _BIAS = 1.0, 0.1
_HALVINGS = 14


def operations(net: Network) -> float:
    """Synaptic operations of one input over all steps, as if every value were not 0."""
    total = 0.0
    tensors = net.tensors()
    for layer in net.layers:
        if isinstance(layer, ConvLayer | ReadoutLayer):
            pixels = math.prod(tensors[layer.name].shape[1:]) if isinstance(layer, ConvLayer) else 1
            total += float(layer.weight.size) * pixels
    return total * net.steps


def filled(sketch: Network, seed: int) -> Network:
    """``sketch`` with weights; the same for the same sketch and seed."""
    rng = np.random.default_rng(seed)
    affordable = MOST_OPERATIONS / operations(sketch)
    if affordable < SAMPLES[0]:
        layers = _alone(sketch, rng)
    else:
        layers = _following(sketch, int(np.clip(_EASY / operations(sketch), *SAMPLES)), rng)
    return replace(sketch, layers=tuple(layers))


def _normal(layer: ConvLayer | ReadoutLayer, rng: np.random.Generator) -> FloatArray:
    """Weights of spread 1."""
    return rng.standard_normal(layer.weight.shape)


def _readout(layer: ReadoutLayer, rng: np.random.Generator) -> ReadoutLayer:
    weight = _normal(layer, rng) / math.sqrt(layer.weight.shape[1])
    return replace(layer, weight=weight, bias=None if layer.bias is None else np.zeros(len(weight)))


def _spread(layer: ConvLayer) -> float:
    """Spread that a layer's sums shall have: about its highest threshold, less where they add to a stream."""
    if layer.neuron is None:
        return 1.0
    gain = layer.neuron.tau if layer.neuron.kind == "lif" and layer.neuron.decay_input else 1.0
    spread = layer.neuron.threshold * gain if not layer.neuron.levels else 0.5 * layer.neuron.thresholds[-1]
    return spread * (_BRANCH if layer.stream is not None or layer.current is not None else 1.0)


def _rate(layer: ConvLayer) -> float:
    return AND_RATE if layer.combine == "and" else RATE


def _alone(sketch: Network, rng: np.random.Generator) -> list[Layer]:
    """Weights from fan-in and expected rates alone."""
    tensors = sketch.tensors()
    layers: list[Layer] = []
    for layer in sketch.layers:
        if isinstance(layer, ReadoutLayer):
            layer = _readout(layer, rng)
        elif isinstance(layer, ConvLayer):
            info = tensors[layer.source]
            if layer.source == INPUT:
                square = (sketch.input.scale * info.max_value) ** 2 / 3 if sketch.input.static else EVENT_DENSITY
            else:
                square = RATE * info.max_value if info.max_value else 1.0
            fan_in = math.prod(layer.weight.shape[1:])
            spread = _SPREAD * _spread(layer) / math.sqrt(fan_in * square)
            bias = _BIAS * (_spread(layer) if layer.neuron is not None else 0.0)
            layer = replace(
                layer,
                weight=_normal(layer, rng) * spread,
                bias=None if layer.bias is None else np.full(len(layer.weight), bias),
            )
        layers.append(layer)
    return layers


def _following(sketch: Network, samples: int, rng: np.random.Generator) -> list[Layer]:
    """Weights from the sums that random inputs give; the float model runs along."""
    frames: FloatArray = random_inputs(sketch.input, sketch.steps, samples, rng) * np.float64(sketch.input.scale)
    if sketch.input.static:
        frames = np.broadcast_to(frames[:, None], (samples, sketch.steps, *sketch.input.shape))
    tensors: dict[str, FloatArray] = {INPUT: frames}
    streams: dict[str, FloatArray] = {}
    layers: list[Layer] = []
    for layer in sketch.layers:
        if isinstance(layer, ReadoutLayer):
            layer = _readout(layer, rng)
        elif isinstance(layer, ConvLayer):
            layer = _calibrated(layer, tensors, streams, rng)
        layers.append(layer)
        _advance(layer, tensors, streams)
    return layers


def _advance(layer: Layer, tensors: dict[str, FloatArray], streams: dict[str, FloatArray]) -> None:
    """What a layer makes of ``tensors`` and ``streams`` is added to them."""
    if isinstance(layer, StreamLayer):
        tensors[layer.name] = streams[layer.source]
    elif isinstance(layer, PoolLayer):
        tensors[layer.name] = floatmodel._pool(layer, tensors[layer.source])
    elif isinstance(layer, ConvLayer):
        x = floatmodel._input(layer, tensors, streams)
        if layer.keeps_stream:
            streams[layer.name] = x
        if layer.neuron is not None:
            spikes = floatmodel.fire(layer.neuron, np.maximum(x, 0.0) if layer.rectify else x)
            tensors[layer.name] = floatmodel._merge(layer, spikes.astype(np.float64), tensors)


def _calibrated(
    layer: ConvLayer, tensors: dict[str, FloatArray], streams: dict[str, FloatArray], rng: np.random.Generator
) -> ConvLayer:
    """The layer with sums of the spread, and spikes of the rate, that it shall have."""
    zero = np.zeros(len(layer.weight))
    layer = replace(layer, weight=_normal(layer, rng), bias=zero)
    alone = replace(layer, shortcut=None, combine="pass", current=None, stream=None, neuron=None, keeps_stream=True)
    spread = float(floatmodel._input(alone, tensors, streams).std())
    factor = _spread(layer) / spread if spread > 0 else 1.0 / math.sqrt(math.prod(layer.weight.shape[1:]))
    layer = replace(layer, weight=layer.weight * factor)
    if layer.neuron is None:
        return layer
    x = floatmodel._input(layer, tensors, streams)
    x = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    x = x[:, rng.permutation(x.shape[1])[:_SITES]]
    return replace(layer, bias=zero + _bias(layer.neuron, x[None], _rate(layer)))


def _bias(neuron: Neuron, x: FloatArray, rate: float) -> float:
    """The bias at which neurons that take X ``[1, T, sites]`` fire at ``rate``, by halving an interval."""
    reach = float(np.abs(x).max(initial=0.0)) + 2 * neuron.threshold * (neuron.tau if neuron.kind == "lif" else 1.0)
    low, high = -reach, reach
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.mean(floatmodel.fire(neuron, x + middle) > 0) < rate:
            low = middle
        else:
            high = middle
    return high
