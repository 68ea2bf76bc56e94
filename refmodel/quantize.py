"""The quantiser: a float :class:`Network` to the :class:`QuantizedNetwork` that the hardware runs.

Per output channel c a scale s_c = max|w_c| / (2^(bits-1) - 1); weights, bias, current and threshold
are divided by it.  The neuron's coordinates are changed so that one leak form and a reset to zero
remain (docs of :func:`_fold_neuron`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .legality import validate
from .network import ConvLayer, FloatArray, MaxPoolLayer, Network, Neuron, ReadoutLayer
from .quantized import (
    INPUT,
    LEAK_SHIFTS,
    MAX_LEAK_TERMS,
    IntArray,
    QuantizedInput,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
)

#: Largest leak error, |represented - (1 - 1/tau)|, that is accepted without ``allow_leak_error``.
LEAK_TOLERANCE = 0.02

#: Thresholds this close to an integer (relatively) are that integer: float noise decides no spike.
TIE = 1e-9


@dataclass(frozen=True)
class _Options:
    weight_bits: int
    scale: Literal["max", "unit"]
    max_sum: int | None
    max_threshold: int

    @property
    def largest_weight(self) -> int:
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def largest_bias(self) -> float:
        """Bound of bias / s: 1 less than max_sum, since bias and current are rounded apart and added."""
        if self.max_sum is None:
            return 2.0**40
        return float(self.max_sum) if self.scale == "unit" else max(self.max_sum - 1, 0.5)


def quantize(
    net: Network,
    weight_bits: int = 8,
    *,
    scale: Literal["max", "unit"] = "max",
    max_sum: int | None = None,
    max_threshold: int = 1 << 20,
    allow_leak_error: bool = False,
) -> QuantizedNetwork:
    """Quantise ``net`` to signed weights of ``weight_bits`` bits (symmetric, 2 to 16).

    Parameters
    ----------
    scale: ``max``: each channel's largest weight becomes the largest integer; ``unit``: weights,
        biases and currents are integers already and stay as they are, else NetworkError.
    max_sum: largest magnitude a synaptic sum (without bias), a bias, a current or bias + current may
        have.  A channel whose provable worst case is more gets a larger scale: fewer effective bits.
    max_threshold: the same for thresholds: bounds the membrane of channels with tiny weights.
    allow_leak_error: accept leaks that shifts cannot represent to 0.02.

    ``meta`` gains ``leak_error`` {layer: error} and ``rescaled`` {layer: {channel: factor}}.
    Raises NetworkError.
    """
    if not 2 <= weight_bits <= 16:
        raise NetworkError(f"network {net.name!r}: weight_bits must be 2 to 16, not {weight_bits!r}")
    if scale not in ("max", "unit"):
        raise NetworkError(f"network {net.name!r}: scale must be 'max' or 'unit', not {scale!r}")
    if max_sum is not None and max_sum < 1:
        raise NetworkError(f"network {net.name!r}: max_sum must be at least 1, not {max_sum!r}")
    if max_threshold < 1:
        raise NetworkError(f"network {net.name!r}: max_threshold must be at least 1, not {max_threshold!r}")
    options = _Options(weight_bits, scale, max_sum, max_threshold)
    infos = net.tensors()
    leak_error: dict[str, object] = {}
    rescaled: dict[str, object] = {}
    layers: list[QuantizedLayer] = []
    for layer in net.layers:
        if isinstance(layer, MaxPoolLayer):
            layers.append(
                QuantizedLayer(layer.name, "maxpool", layer.source, None, layer.kernel, layer.stride, layer.padding)
            )
            continue
        source_scale = net.input.scale if layer.source == INPUT else 1.0
        if isinstance(layer, ReadoutLayer):
            made, factors = _readout(layer, infos[layer.source], source_scale, net.steps, options)
        else:
            shifts, error = leak_shifts(layer.neuron)
            if error > 0:
                leak_error[layer.name] = error
            if error > LEAK_TOLERANCE and not allow_leak_error:
                raise NetworkError(
                    f"layer {layer.name!r}: tau={layer.neuron.tau} needs a leak of {1 - 1 / layer.neuron.tau:.4f}, "
                    f"but shifts give {leak_factor(shifts):.4f}, {error:.4f} off (at most {LEAK_TOLERANCE}); "
                    "choose another tau or pass allow_leak_error=True"
                )
            made, factors = _conv(layer, infos[layer.source], source_scale, shifts, options)
        layers.append(made)
        if factors:
            rescaled[layer.name] = factors
    spec = net.input
    result = QuantizedNetwork(
        name=net.name,
        steps=net.steps,
        input=QuantizedInput(spec.shape, spec.bits, spec.static, spec.scale),
        layers=tuple(layers),
        weight_bits=weight_bits,
        family=net.family,
        meta={**net.meta, "leak_error": leak_error, "rescaled": rescaled},
    )
    validate(result)
    return result


def leak_factor(shifts: tuple[int, ...]) -> float:
    """1 - sum of 2^-a: what leak(V) = V - sum(V >> a) multiplies V by, before rounding."""
    return 1.0 - sum(2.0**-shift for shift in shifts)


def leak_shifts(neuron: Neuron) -> tuple[tuple[int, ...], float]:
    """The shifts nearest to the neuron's leak 1 - 1/tau (fewest terms first) and the error that remains."""
    if neuron.kind == "if":
        return (), 0.0
    choices = [
        shifts
        for terms in range(MAX_LEAK_TERMS + 1)
        for shifts in itertools.combinations_with_replacement(LEAK_SHIFTS, terms)
    ]
    wanted = 1.0 - 1.0 / neuron.tau
    errors = [round(abs(leak_factor(shifts) - wanted), 12) for shifts in choices]
    best = int(np.argmin(errors))
    return choices[best], errors[best]


def _fold_neuron(neuron: Neuron) -> tuple[float, float]:
    """Threshold and gain of the membrane V' = gain * (V - v_reset) in float units.

    Shifting by v_reset makes reset and start 0; IF, and LIF's leak towards v_reset, keep their form.
    decay_input: H = V + (X - V)/tau becomes H' = V'(1 - 1/tau) + X with V' = tau * V.
    """
    gain = neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    return (neuron.threshold - neuron.v_reset) * gain, gain


def integer_threshold(ratio: FloatArray, fire: Literal["ge", "gt"]) -> IntArray:
    """Smallest integer H that fires: ceil(ratio) for H >= ratio, floor(ratio) + 1 for H > ratio."""
    nearest = np.round(ratio)
    ratio = np.where(np.abs(ratio - nearest) <= TIE * np.maximum(1.0, np.abs(ratio)), nearest, ratio)
    return (np.ceil(ratio) if fire == "ge" else np.floor(ratio) + 1).astype(np.int64)


def _round(values: FloatArray) -> IntArray:
    return np.round(values).astype(np.int64)


def _conv(
    layer: ConvLayer, source: TensorInfo, source_scale: float, shifts: tuple[int, ...], options: _Options
) -> tuple[QuantizedLayer, dict[str, float]]:
    weight = layer.weight * source_scale
    channels = weight.shape[0]
    flat = weight.reshape(channels, -1)
    bias = np.zeros(channels) if layer.bias is None else layer.bias
    current = 0.0 if layer.current is None else layer.current
    threshold, gain = _fold_neuron(layer.neuron)
    limited = np.stack([np.abs(bias), np.full(channels, abs(current)), np.abs(bias + current)])
    units, factors = _scales(layer.name, flat, limited, np.full(channels, threshold), source.max_value, options)
    if options.scale == "unit":
        _demand_integers(layer.name, (weight, bias, np.array([current])), options)
    made = QuantizedLayer(
        name=layer.name,
        kind="conv",
        source=layer.source,
        weight=_round(flat / units[:, None]).reshape(weight.shape),
        kernel=(weight.shape[2], weight.shape[3]),
        stride=layer.stride,
        padding=layer.padding,
        bias=_round(bias / units),
        threshold=integer_threshold(threshold / units, layer.neuron.fire),
        leak_shifts=shifts,
        reset=layer.neuron.reset,
        shortcut=layer.shortcut,
        combine=layer.combine,
        current=None if layer.current is None else _round(current / units),
        scale=units / gain,
    )
    return made, factors


def _readout(
    layer: ReadoutLayer, source: TensorInfo, source_scale: float, steps: int, options: _Options
) -> tuple[QuantizedLayer, dict[str, float]]:
    """One scale for all classes, so that argmax is kept; the means over T and pixels become sums."""
    _, height, width = source.shape
    pooled = layer.pool == "global_average"
    terms = steps * height * width if pooled else steps
    classes = layer.weight.shape[0]
    weight = layer.weight * source_scale
    bias = (np.zeros(classes) if layer.bias is None else layer.bias) * terms
    # the classes share one scale: one "channel" whose worst case is the worst class
    units, factors = _shared_scale(layer.name, weight, bias, source.max_value, options)
    if options.scale == "unit":
        _demand_integers(layer.name, (weight, bias), options)
    kernel = (1, 1) if pooled else (height, width)
    made = QuantizedLayer(
        name=layer.name,
        kind="readout",
        source=layer.source,
        weight=_round(weight / units).reshape(classes, source.shape[0], *kernel),
        kernel=kernel,
        bias=_round(bias / units),
        scale=np.full(classes, units / terms),
    )
    return made, factors


def _scales(
    name: str, flat: FloatArray, limited: FloatArray, threshold: FloatArray, largest: int, options: _Options
) -> tuple[FloatArray, dict[str, float]]:
    """Scale of each channel and the factors by which limits enlarged it.

    flat ``[Cout, inputs]`` float weights, limited ``[k, Cout]`` magnitudes that obey max_sum.
    """
    peak = np.abs(flat).max(axis=1)
    units = np.ones(len(flat))
    if options.scale == "max":
        # without weights the scale is free: bias and threshold to 12 bits
        free = np.maximum(limited.max(axis=0), threshold) / 4095
        units = np.where(peak > 0, peak / options.largest_weight, free)
        # max|w| may be subnormal: no scale below what keeps the division finite
        units = np.maximum(units, np.finfo(np.float64).tiny)
    first = units.copy()
    needed = np.maximum(threshold / options.max_threshold, limited.max(axis=0) / options.largest_bias)
    units = np.maximum(units, needed)
    if options.max_sum is not None:
        for channel, row in enumerate(flat):
            units[channel] = _fit_sum(row[None], units[channel], largest, options.max_sum)
    factors = units / first
    if options.scale == "unit" and (factors > 1).any():
        channel = int(np.argmax(factors))
        raise NetworkError(
            f"layer {name!r}: channel {channel} exceeds max_sum={options.max_sum} or max_threshold="
            f"{options.max_threshold} with scale='unit'; raise the limit or use scale='max'"
        )
    _demand_kept(name, flat, units, options)
    return units, {str(channel): float(factors[channel]) for channel in np.flatnonzero(factors > 1)}


def _shared_scale(
    name: str, weight: FloatArray, bias: FloatArray, largest: int, options: _Options
) -> tuple[float, dict[str, float]]:
    peak = float(np.abs(weight).max())
    unit = 1.0
    if options.scale == "max":
        unit = max(peak / options.largest_weight if peak > 0 else float(np.abs(bias).max()) / 4095, 1e-300)
    first = unit
    unit = max(unit, float(np.abs(bias).max()) / options.largest_bias)
    if options.max_sum is not None:
        unit = _fit_sum(weight, unit, largest, options.max_sum)
    if unit > first and options.scale == "unit":
        raise NetworkError(
            f"layer {name!r}: exceeds max_sum={options.max_sum} with scale='unit'; raise it or use scale='max'"
        )
    _demand_kept(name, weight.reshape(1, -1), np.array([unit]), options)
    return unit, {"all": unit / first} if unit > first else {}


def _fit_sum(rows: FloatArray, unit: float, largest: int, max_sum: int) -> float:
    """Enlarge ``unit`` until no row's worst-case sum exceeds ``max_sum``."""
    while True:
        whole = _round(rows / unit)
        worst = largest * int(max(np.maximum(whole, 0).sum(axis=1).max(), np.maximum(-whole, 0).sum(axis=1).max()))
        if worst <= max_sum:
            return unit
        # rounding can put the sum a little above its share, hence the margin
        unit *= max(worst / max_sum, 1.0) * 1.0005


def _demand_kept(name: str, flat: FloatArray, units: FloatArray, options: _Options) -> None:
    """Refuse limits so tight that a channel would lose all its weights to max_sum."""
    if options.max_sum is None:
        return
    lost = (np.abs(flat).max(axis=1) > 0) & (_round(flat / units[:, None]) == 0).all(axis=1)
    if lost.any():
        raise NetworkError(
            f"layer {name!r}: max_sum={options.max_sum} leaves channel {int(np.argmax(lost))} no weights; "
            "raise max_sum (a wider accumulator)"
        )


def _demand_integers(name: str, arrays: tuple[FloatArray, ...], options: _Options) -> None:
    if any(np.abs(array - np.round(array)).max(initial=0) > TIE for array in arrays):
        raise NetworkError(f"layer {name!r}: scale='unit' needs integer weights, bias and current; use scale='max'")
    if np.abs(arrays[0]).max() > options.largest_weight:
        raise NetworkError(
            f"layer {name!r}: weights reach {np.abs(arrays[0]).max():g}, more than {options.largest_weight} "
            f"({options.weight_bits} bits); use more weight_bits or scale='max'"
        )


@dataclass(frozen=True)
class LayerReport:
    """What quantising one layer cost, in the float network's units.

    weight_error: largest |w - s * w_int|.  threshold_error: largest distance between the float
    threshold and the value of the integer one (for ``gt`` at most one unit above).
    soft_reset_error: the same where a soft reset subtracts it at every spike, else 0.
    leak_error: |represented leak - (1 - 1/tau)|.  rescaled: channels enlarged by max_sum/max_threshold.
    """

    name: str
    weight_error: float
    threshold_error: float
    soft_reset_error: float
    leak_error: float
    rescaled: int

    def __str__(self) -> str:
        return (
            f"{self.name}: weight error {self.weight_error:.3g}, threshold error {self.threshold_error:.3g}, "
            f"soft reset error {self.soft_reset_error:.3g}, leak error {self.leak_error:.3g}, "
            f"{self.rescaled} rescaled"
        )


def report(net: Network, qnet: QuantizedNetwork) -> list[LayerReport]:
    """Errors of every weighted layer of ``qnet = quantize(net)``, in execution order.  Raises NetworkError."""
    whole = {layer.name: layer for layer in qnet.layers}
    factors = qnet.meta.get("rescaled")
    rescaled = factors if isinstance(factors, dict) else {}
    rows: list[LayerReport] = []
    for layer in net.layers:
        if isinstance(layer, MaxPoolLayer):
            continue
        made = whole.get(layer.name)
        if made is None or made.weight is None or made.scale is None or made.weight.size != layer.weight.size:
            raise NetworkError(f"layer {layer.name!r}: not in {qnet.name!r}; was it quantised from this network?")
        source_scale = net.input.scale if layer.source == INPUT else 1.0
        shape = layer.weight.shape
        weight_unit = made.scale / source_scale
        threshold_error = leak_error = 0.0
        soft = False
        if isinstance(layer, ConvLayer):
            threshold, gain = _fold_neuron(layer.neuron)
            weight_unit = weight_unit * gain
            threshold_error = _threshold_error(made, threshold / gain)
            leak_error = abs(leak_factor(made.leak_shifts) - _leak(layer.neuron))
            soft = layer.neuron.reset == "soft"
        else:
            _, height, width = qnet.tensors()[layer.name].shape
            weight_unit = weight_unit * (qnet.steps * height * width)
        restored = made.weight.reshape(shape[0], -1) * weight_unit[:, None]
        rows.append(
            LayerReport(
                name=layer.name,
                weight_error=float(np.abs(layer.weight.reshape(shape[0], -1) - restored).max()),
                threshold_error=threshold_error,
                soft_reset_error=threshold_error if soft else 0.0,
                leak_error=leak_error,
                rescaled=len(rescaled.get(layer.name, ())),
            )
        )
    return rows


def _leak(neuron: Neuron) -> float:
    return 1.0 if neuron.kind == "if" else 1.0 - 1.0 / neuron.tau


def _threshold_error(made: QuantizedLayer, threshold: float) -> float:
    assert made.threshold is not None and made.scale is not None
    values: NDArray[np.float64] = made.threshold * made.scale
    return float(np.abs(values - threshold).max())
