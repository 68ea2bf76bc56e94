"""The quantiser: a float :class:`Network` to the :class:`QuantizedNetwork` that the hardware runs.

Per output channel c a scale s_c = max|w_c| / (2^(bits-1) - 1); weights, bias, current and thresholds
are divided by it.  Layers that a membrane stream connects share their scales.  The neuron's
coordinates are changed so that one leak form and a reset to zero remain
(:func:`refmodel.quantize_layers.fold_neuron`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .calibration import Calibration
from .converter import Converter
from .errors import NetworkError
from .layers import ConvLayer
from .leaks import LEAK_TOLERANCE, Leak, LeakForm, choose_leak, leak_factor, leak_shifts
from .legality import validate
from .network import Network
from .quantize_gates import attention_error
from .quantize_layers import integer_threshold
from .quantize_report import LayerReport, report
from .quantized import MAX_LEAK_BITS, QuantizedInput, QuantizedLayer, QuantizedNetwork
from .scales import Clip, ScaleOptions
from .widths import bits_by_layer

__all__ = [
    "LEAK_TOLERANCE", "LayerReport", "integer_threshold", "leak_factor", "leak_shifts", "quantize", "report",
]  # fmt: skip


def quantize(
    net: Network,
    weight_bits: int = 8,
    *,
    layer_bits: Mapping[str, int] | None = None,
    scale: Literal["max", "unit"] = "max",
    clip: Clip = "none",
    calibration: Calibration | None = None,
    max_sum: int | None = None,
    max_threshold: int = 1 << 20,
    max_stream: int | None = None,
    leak: LeakForm = "auto",
    leak_bits: int = 8,
    allow_leak_error: bool = False,
) -> QuantizedNetwork:
    """Quantise ``net`` to signed weights of ``weight_bits`` bits (symmetric, 2 to 16).

    Parameters
    ----------
    layer_bits: bits of certain layers instead, 2 to 16, by name or glob (``block*.conv2``); the last match counts.
    scale: ``max``: each channel's largest weight becomes the largest integer; ``unit``: weights,
        biases and currents are integers already and stay as they are, else NetworkError.
    clip: ``mse``: each channel's scale is the largest one times 1, 0.95, ... 0.45, whichever rounds its weights
        with the least mean square error; weights beyond the largest integer are held there.
    calibration: what :func:`refmodel.calibration.calibrate` measured.  Biases then give back what rounding the
        weights costs sums on average, streams drop bits for their measured size, and ``clip`` weighs errors by the
        mean square of what each weight multiplies.  No width is taken from it.
    max_sum: largest magnitude a synaptic sum (without bias), a bias, a current or bias + current may
        have.  A channel whose provable worst case is more gets a larger scale: fewer effective bits.
    max_threshold: the same for thresholds: bounds the membrane of channels with tiny weights.
    max_stream: the same for kept membrane streams, whose worst case is the sum over their chain, and
        for X of layers with attention, which waits as a stream for its gates.
    leak: ``shifts``: the nearest of V - (V >> a) - (V >> b); ``multiply``: (V * m) >> ``leak_bits``
        with m = round((1 - 1/tau) 2^leak_bits); ``auto``: shifts within LEAK_TOLERANCE, else the nearer.
    allow_leak_error: accept a leak that is further than LEAK_TOLERANCE from 1 - 1/tau.

    Rules
    -----
    - A weight, bias or current is divided by its channel's scale and rounded to nearest even.
    - A threshold (each level of an MLF unit) is the smallest integer H that fires.
    - A current, a bias, or both together that equal a threshold keep their side of it (:mod:`refmodel.ties`).
    - Synapses that over all steps move a membrane by less than 1/8192 of its threshold or bias become 0.
    - Convolutions connected by a membrane stream, one keeping and one adding it, share a scale per
      channel: the largest that one of them needs.  So one with few bits makes the others coarse, too.
    - A layer with attention, and those that share its scales, have one scale for all their channels: the
      largest that one of them needs.  Its gates are made for the proven range of X
      (:func:`refmodel.attention_quantize.quantize_attention`).
    - A stream's tensor has the bits of its proven worst case, of which the lowest may be dropped: all
      beyond ``max_bits``, or without it what costs its readers least (:mod:`refmodel.stream_shift`; none
      with scale ``unit``).  What that takes away on average is given back by the readers' biases, where
      no padding is in the way.  The readers' weights are multiplied by the stream's scale, per input
      channel, before they get their own.
    - Sum and average pools are sums; the average's 1/n and the input's scale go into the readers' weights.
    - The readout's classes share one scale; means over T and pixels become sums.

    ``meta`` gains ``leak_error`` {layer: error}, ``rescaled`` {layer: {channel: factor}}, the factor
    by which limits enlarged a scale, ``layer_bits`` {layer: bits} where they differ, and for networks with
    attention ``attention_error`` {layer: error} (:func:`refmodel.quantize_gates.attention_error`).
    Raises NetworkError.
    """
    where = f"network {net.name!r}"
    bits = bits_by_layer(net, weight_bits, layer_bits)
    if clip not in ("none", "mse"):
        raise NetworkError(f"{where}: clip must be 'none' or 'mse', not {clip!r}")
    if scale not in ("max", "unit"):
        raise NetworkError(f"{where}: scale must be 'max' or 'unit', not {scale!r}")
    for option, value in (("max_sum", max_sum), ("max_threshold", max_threshold), ("max_stream", max_stream)):
        if value is not None and value < 1:
            raise NetworkError(f"{where}: {option} must be at least 1, not {value!r}")
    if leak not in ("auto", "shifts", "multiply"):
        raise NetworkError(f"{where}: leak must be 'auto', 'shifts' or 'multiply', not {leak!r}")
    if not 1 <= leak_bits <= MAX_LEAK_BITS:
        raise NetworkError(f"{where}: leak_bits must be 1 to {MAX_LEAK_BITS}, not {leak_bits!r}")
    leaks: dict[str, Leak] = {}
    leak_error: dict[str, object] = {}
    for layer in net.layers:
        if isinstance(layer, ConvLayer) and layer.neuron is not None:
            leaks[layer.name], error = choose_leak(layer.name, layer.neuron, leak, leak_bits, allow_leak_error)
            if error > 0:
                leak_error[layer.name] = error
    if calibration is not None:
        calibration.demand_for(net)
    options = ScaleOptions(bits, scale, max_sum, max_threshold, max_stream, net.steps, clip)
    converter = Converter(net, options, leaks, calibration)
    layers = tuple(converter.convert(layer.name) for layer in net.layers)
    spec = net.input
    result = QuantizedNetwork(
        name=net.name,
        steps=net.steps,
        input=QuantizedInput(**vars(spec)),
        layers=layers,
        weight_bits=max(bits.values()),
        family=net.family,
        meta={
            **net.meta,
            "leak_error": leak_error,
            "rescaled": converter.rescaled,
            **_attention_errors(layers),
            **({"layer_bits": bits} if len(set(bits.values())) > 1 else {}),
        },
    )
    validate(result)
    return result


def _attention_errors(layers: tuple[QuantizedLayer, ...]) -> dict[str, object]:
    errors = {layer.name: attention_error(layer.attention) for layer in layers if layer.attention is not None}
    return {"attention_error": errors} if errors else {}
