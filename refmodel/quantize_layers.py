"""One layer to integers, given its scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .attention import IntegerAttention
from .errors import NetworkError
from .layers import ConvLayer, FloatArray, GateLayer, Neuron, ReadoutLayer
from .leaks import Leak
from .quantized import IntArray, QuantizedLayer, TensorInfo
from .scales import NEGLIGIBLE, Drive, ScaleOptions, rounded, whole_weights
from .ties import TIE, in_order, tied_channels


@dataclass(frozen=True, eq=False)
class Source:
    """A tensor as its readers see it: float value = factor * integer + offset, both per channel ``[C]``.

    The offset is what dropping a stream's lowest bits takes away on average.  mean, power ``[C]``: mean and mean
    square of its float values where they were measured (:mod:`refmodel.calibration`), else None.
    """

    info: TensorInfo
    factor: FloatArray
    offset: FloatArray
    mean: FloatArray | None = None
    power: FloatArray | None = None

    def importance(self, repeats: int) -> FloatArray:
        """Mean squares of the integers, each channel's ``repeats`` times; 1 where nobody measured them."""
        power = np.ones(len(self.factor)) if self.power is None else self.power / self.factor**2
        return np.repeat(power, repeats)

    def lost_mean(self, lost: FloatArray) -> FloatArray:
        """What weights ``lost`` to rounding, ``[Cout, C, KH, KW]`` in units of the integers, cost a sum on average
        ``[Cout]``; 0 where nobody measured."""
        if self.mean is None:
            return np.zeros(len(lost))
        return np.einsum("oikl,i->o", lost, (self.mean - self.offset) / self.factor)


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
    with np.errstate(over="ignore", invalid="ignore"):  # refused by name in conv_drive
        weight = layer.weight * source.factor[:, None, None]
    return ConvParts(weight, bias, 0.0 if layer.current is None else layer.current, thresholds, gain)


def conv_drive(layer: ConvLayer, source: Source, options: ScaleOptions) -> Drive:
    """Raises NetworkError for numbers that are not finite, and when ``scale='unit'`` finds no integers."""
    parts = conv_parts(layer, source)
    _demand_finite(layer.name, (parts.weight, parts.bias, parts.thresholds))
    if options.scale == "unit":
        _demand_integers(layer.name, (parts.weight, parts.bias, np.array([parts.current])), options)
    channels = len(parts.weight)
    together = np.stack([np.abs(parts.bias), np.full(channels, abs(parts.current)), np.abs(parts.bias + parts.current)])
    threshold = np.full(channels, parts.thresholds.max(initial=0.0))
    limited = together.max(axis=0)
    rows = parts.weight.reshape(channels, 1, -1)
    fixed = np.zeros(channels, np.bool_)
    if layer.neuron is not None and layer.stream is None and not layer.keeps_stream and layer.attention is None:
        fixed = _fixed(parts, source.info, options.steps)
        rows = np.where(_negligible(rows, source.info, options.steps, np.maximum(limited, threshold)), 0.0, rows)
    return Drive(
        layer.name,
        rows,
        source.info,
        options.largest_weight(layer.name),
        limited,
        threshold,
        source.importance(parts.weight.shape[2] * parts.weight.shape[3]),
        fixed,
    )


def _fixed(parts: ConvParts, source: TensorInfo, steps: int) -> NDArray[np.bool_]:
    """Channels ``[C]`` whose X of all steps together reaches no threshold, or whose lowest X reaches all."""
    weight = parts.weight.reshape(len(parts.weight), -1)
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.minimum(weight, 0).sum(axis=1)
    least, most = min(source.min_value, 0), max(source.max_value, 0)
    low = parts.bias + min(parts.current, 0.0) + positive * least + negative * most
    high = parts.bias + max(parts.current, 0.0) + positive * most + negative * least
    return (np.maximum(high, 0) * steps < parts.thresholds.min()) | (low > parts.thresholds.max())


def _negligible(rows: FloatArray, source: TensorInfo, steps: int, size: FloatArray) -> NDArray[np.bool_]:
    """Channels ``[C, 1, 1]`` whose synapses move the membrane over all steps by less than a channel without weights
    resolves of ``size`` ``[C]``, its threshold or bias."""
    reach = np.abs(rows).sum(axis=2, keepdims=True) * max(source.max_value, -source.min_value) * steps
    return reach < NEGLIGIBLE * size[:, None, None]


def make_conv(layer: ConvLayer, source: Source, units: FloatArray, leak: Leak, options: ScaleOptions) -> QuantizedLayer:
    """The integer convolution whose channels have the scales ``units`` ``[Cout]``."""
    parts = conv_parts(layer, source)
    neuron = layer.neuron
    thresholds = None
    weight = whole_weights(parts.weight, units[:, None, None, None], options.largest_weight(layer.name))
    exact = parts.bias + _bias_correction(layer, parts, weight, units, source, options)
    bias, current = rounded(exact / units), None if layer.current is None else rounded(layer.current / units)
    if neuron is not None:
        thresholds = integer_threshold(parts.thresholds[:, None] / units, neuron.fire)
        if layer.attention is None:
            drive = exact, layer.current
            bias, current = in_order(drive, (bias, current), parts.thresholds, thresholds, neuron.fire)
    return QuantizedLayer(
        name=layer.name,
        kind="conv",
        source=layer.source,
        weight=weight,
        kernel=(parts.weight.shape[2], parts.weight.shape[3]),
        stride=layer.stride,
        padding=layer.padding,
        bias=bias,
        threshold=None if thresholds is None else thresholds[0],
        levels=None if thresholds is None or len(thresholds) == 1 else thresholds[1:],
        leak_shifts=leak.shifts,
        leak_factor=leak.factor,
        reset="hard" if neuron is None else neuron.reset,
        stateless=neuron is not None and neuron.kind == "step",
        rectify=layer.rectify,
        shortcut=layer.shortcut,
        combine=layer.combine,
        current=current,
        stream=layer.stream,
        keeps_stream=layer.keeps_stream,
        scale=units / parts.gain,
    )


def _bias_correction(
    layer: ConvLayer, parts: ConvParts, weight: IntArray, units: FloatArray, source: Source, options: ScaleOptions
) -> FloatArray:
    """What rounding the weights takes from X on average ``[Cout]``, 0 without samples.

    Channels with ties get none, since a lone shortcut spike has no synapses to lose from, nor do those whose bias
    would leave its limit.
    """
    lost = source.lost_mean(parts.weight - weight * units[:, None, None, None])
    if layer.neuron is not None:
        lost = np.where(tied_channels(parts.bias, layer.current, parts.thresholds), 0.0, lost)
    size = np.maximum(np.abs(parts.bias), np.abs(parts.bias + parts.current)) + np.abs(lost)
    return np.where(size / units <= options.largest_bias, lost, 0.0)


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
    _demand_finite(layer.name, (weight, bias))
    if options.scale == "unit":
        _demand_integers(layer.name, (weight, bias), options)
    limited = np.array([np.abs(bias).max()])
    moments = source.importance(repeats)
    drive = Drive(
        layer.name,
        weight[None],
        source.info,
        options.largest_weight(layer.name),
        limited,
        np.zeros(1),
        moments,
        np.zeros(1, np.bool_),
    )
    return drive, weight, bias, terms


def make_readout(
    layer: ReadoutLayer,
    source: Source,
    weight: FloatArray,
    bias: FloatArray,
    terms: int,
    unit: float,
    options: ScaleOptions,
) -> QuantizedLayer:
    channels, height, width = source.info.shape
    kernel = (1, 1) if layer.pool == "global_average" else (height, width)
    whole = whole_weights(weight, unit, options.largest_weight(layer.name))
    lost = source.lost_mean((weight - whole * unit).reshape(len(weight), channels, *kernel)) * terms
    exact = bias + np.where((np.abs(bias) + np.abs(lost)) / unit <= options.largest_bias, lost, 0.0)
    return QuantizedLayer(
        name=layer.name,
        kind="readout",
        source=layer.source,
        weight=whole.reshape(len(weight), channels, *kernel),
        kernel=kernel,
        bias=rounded(exact / unit),
        scale=np.full(len(weight), unit / terms),
    )


def _demand_finite(name: str, arrays: tuple[FloatArray, ...]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NetworkError(
            f"layer {name!r}: weights, bias or thresholds have NaN or infinite values once the scale of what it "
            "reads is folded in; was the training stable?"
        )


def _demand_integers(name: str, arrays: tuple[FloatArray, ...], options: ScaleOptions) -> None:
    if any(np.abs(array - np.round(array)).max(initial=0) > TIE for array in arrays):
        raise NetworkError(f"layer {name!r}: scale='unit' needs integer weights, bias and current; use scale='max'")
    largest = options.largest_weight(name)
    if np.abs(arrays[0]).max() > largest:
        raise NetworkError(
            f"layer {name!r}: weights reach {np.abs(arrays[0]).max():g}, more than {largest} "
            f"({options.bits[name]} bits); use more weight_bits or scale='max'"
        )
