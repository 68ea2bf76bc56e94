"""One layer to integers, given its scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .attention import IntegerAttention
from .errors import NetworkError
from .layers import ConvLayer, FloatArray, GateLayer, Neuron, ReadoutLayer
from .leaks import Leak
from .quantized import IntArray, QuantizedLayer, TensorInfo
from .scales import TIE, Drive, ScaleOptions, rounded


@dataclass(frozen=True, eq=False)
class Source:
    """A tensor as its readers see it: float value = factor * integer + offset, both per channel ``[C]``.

    The offset is what dropping a stream's lowest bits takes away on average.
    """

    info: TensorInfo
    factor: FloatArray
    offset: FloatArray


def fold_neuron(neuron: Neuron) -> tuple[FloatArray, float]:
    """Thresholds ``[K]`` and gain of the membrane V' = gain * (V - v_reset) in float units.

    Shifting by v_reset makes reset and start 0; IF, and LIF's leak towards v_reset, keep their form.
    decay_input: H = V + (X - V)/tau becomes H' = V'(1 - 1/tau) + X with V' = tau * V.
    """
    gain = neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    return (np.array(neuron.thresholds) - neuron.v_reset) * gain, gain


def integer_threshold(ratio: FloatArray, fire: Literal["ge", "gt"]) -> IntArray:
    """Smallest integer H that fires: ceil(ratio) for H >= ratio, floor(ratio) + 1 for H > ratio."""
    nearest = np.round(ratio)
    ratio = np.where(np.abs(ratio - nearest) <= TIE * np.maximum(1.0, np.abs(ratio)), nearest, ratio)
    return (np.ceil(ratio) if fire == "ge" else np.floor(ratio) + 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ConvParts:
    """A convolution's numbers in the float units of its membrane: weight ``[Cout, Cin, KH, KW]``, bias ``[Cout]``."""

    weight: FloatArray
    bias: FloatArray
    current: float
    thresholds: FloatArray
    gain: float


def conv_parts(layer: ConvLayer, source: Source) -> ConvParts:
    """The source's factors folded into the weights, its offset into the bias where no padding is in its way."""
    bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    if layer.padding == (0, 0) and source.offset.any():
        bias = bias + np.einsum("oikl,i->o", layer.weight, source.offset)
    thresholds, gain = (np.zeros(0), 1.0) if layer.neuron is None else fold_neuron(layer.neuron)
    weight = layer.weight * source.factor[:, None, None]
    return ConvParts(weight, bias, 0.0 if layer.current is None else layer.current, thresholds, gain)


def conv_drive(layer: ConvLayer, source: Source, options: ScaleOptions) -> Drive:
    """Raises NetworkError when ``scale='unit'`` finds no integers."""
    parts = conv_parts(layer, source)
    if options.scale == "unit":
        _demand_integers(layer.name, (parts.weight, parts.bias, np.array([parts.current])), options)
    channels = len(parts.weight)
    together = np.stack([np.abs(parts.bias), np.full(channels, abs(parts.current)), np.abs(parts.bias + parts.current)])
    threshold = np.full(channels, parts.thresholds.max(initial=0.0))
    return Drive(layer.name, parts.weight.reshape(channels, 1, -1), source.info, together.max(axis=0), threshold)


def make_conv(layer: ConvLayer, source: Source, units: FloatArray, leak: Leak) -> QuantizedLayer:
    """The integer convolution whose channels have the scales ``units`` ``[Cout]``."""
    parts = conv_parts(layer, source)
    neuron = layer.neuron
    thresholds = None
    if neuron is not None:
        thresholds = integer_threshold(parts.thresholds[:, None] / units, neuron.fire)
    return QuantizedLayer(
        name=layer.name,
        kind="conv",
        source=layer.source,
        weight=rounded(parts.weight / units[:, None, None, None]),
        kernel=(parts.weight.shape[2], parts.weight.shape[3]),
        stride=layer.stride,
        padding=layer.padding,
        bias=rounded(parts.bias / units),
        threshold=None if thresholds is None else thresholds[0],
        levels=None if thresholds is None or len(thresholds) == 1 else thresholds[1:],
        leak_shifts=leak.shifts,
        leak_factor=leak.factor,
        reset="hard" if neuron is None else neuron.reset,
        stateless=neuron is not None and neuron.kind == "step",
        rectify=layer.rectify,
        shortcut=layer.shortcut,
        combine=layer.combine,
        current=None if layer.current is None else rounded(layer.current / units),
        stream=layer.stream,
        keeps_stream=layer.keeps_stream,
        scale=units / parts.gain,
    )


def make_gate(layer: GateLayer, info: TensorInfo, attention: IntegerAttention) -> QuantizedLayer:
    """The identity window of the spikes, whose tensor is ``info``, through integer gates."""
    threshold = np.ones(info.shape[0], np.int64)
    return QuantizedLayer(layer.name, "window", layer.source, None, (1, 1), threshold=threshold, attention=attention)


def readout_drive(
    layer: ReadoutLayer, source: Source, steps: int, options: ScaleOptions
) -> tuple[Drive, FloatArray, FloatArray, int]:
    """One scale for all classes, so that argmax is kept; the means over T and pixels become sums of so many terms.

    Returns the drive, weight ``[classes, features]``, bias ``[classes]`` of the sums, and the number of terms.
    """
    _, height, width = source.info.shape
    pooled = layer.pool == "global_average"
    terms = steps * height * width if pooled else steps
    classes = len(layer.weight)
    repeats = 1 if pooled else height * width
    weight = layer.weight * np.repeat(source.factor, repeats)
    bias = np.zeros(classes) if layer.bias is None else layer.bias
    bias = (bias + layer.weight @ np.repeat(source.offset, repeats)) * terms
    if options.scale == "unit":
        _demand_integers(layer.name, (weight, bias), options)
    limited = np.array([np.abs(bias).max()])
    return Drive(layer.name, weight[None], source.info, limited, np.zeros(1)), weight, bias, terms


def make_readout(
    layer: ReadoutLayer, source: Source, weight: FloatArray, bias: FloatArray, terms: int, unit: float
) -> QuantizedLayer:
    channels, height, width = source.info.shape
    kernel = (1, 1) if layer.pool == "global_average" else (height, width)
    return QuantizedLayer(
        name=layer.name,
        kind="readout",
        source=layer.source,
        weight=rounded(weight / unit).reshape(len(weight), channels, *kernel),
        kernel=kernel,
        bias=rounded(bias / unit),
        scale=np.full(len(weight), unit / terms),
    )


def _demand_integers(name: str, arrays: tuple[FloatArray, ...], options: ScaleOptions) -> None:
    if any(np.abs(array - np.round(array)).max(initial=0) > TIE for array in arrays):
        raise NetworkError(f"layer {name!r}: scale='unit' needs integer weights, bias and current; use scale='max'")
    if np.abs(arrays[0]).max() > options.largest_weight:
        raise NetworkError(
            f"layer {name!r}: weights reach {np.abs(arrays[0]).max():g}, more than {options.largest_weight} "
            f"({options.weight_bits} bits); use more weight_bits or scale='max'"
        )
