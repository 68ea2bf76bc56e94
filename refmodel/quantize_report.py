"""What quantising cost each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import NetworkError
from .layers import ConvLayer, FloatArray, GateLayer, PoolLayer, ReadoutLayer, StreamLayer
from .leaks import Leak
from .network import Network
from .quantize_gates import attention_error
from .quantize_layers import fold_neuron
from .quantized import INPUT, QuantizedLayer, QuantizedNetwork
from .reach import channel_reach
from .ties import tied_channels
from .widths import layer_bits


@dataclass(frozen=True)
class LayerReport:
    """What quantising one layer cost, in the float network's units.

    bits: of the weights.  weight_error: largest |w - s * w_int|; weight_rms: root of the mean square of that
    over that of w.  bias_error: largest |b - s * b_int|, what calibration gave back included.
    threshold_error: largest distance between a float threshold and the value of the integer one (for ``gt``
    at most one unit above).  soft_reset_error: the same where a soft reset subtracts it at every spike, else 0.
    leak_error: |represented leak - (1 - 1/tau)|, before rounding to integers; 0 for neurons without leak.
    rescaled: channels enlarged by max_sum, max_threshold or max_stream.
    saturated: weights at the largest integer; clipped: those of them that are more than half a unit beyond it.
    dead: channels that never fire, by proof, and those without any weight: what they do depends on no input.
    ties: channels whose bias, current or both together equal a threshold (:mod:`refmodel.ties`).
    attention_error: what integer gates cost (:func:`refmodel.quantize_gates.attention_error`); None without.
    """

    name: str
    weight_error: float
    threshold_error: float
    soft_reset_error: float
    leak_error: float
    rescaled: int
    attention_error: float | None = None
    bits: int = 0
    weight_rms: float = 0.0
    bias_error: float = 0.0
    saturated: int = 0
    clipped: int = 0
    dead: tuple[int, ...] = ()
    ties: int = 0

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.bits} bits, weight error {self.weight_error:.3g} ({100 * self.weight_rms:.2g} % rms), "
            f"bias error {self.bias_error:.3g}, threshold error {self.threshold_error:.3g}, "
            f"soft reset error {self.soft_reset_error:.3g}, leak error {self.leak_error:.3g}, "
            f"{self.rescaled} rescaled, {self.clipped} clipped"
            + (f", dead channels {', '.join(map(str, self.dead))}" if self.dead else "")
            + ("" if self.attention_error is None else f", attention error {self.attention_error:.3g}")
        )


def report(net: Network, qnet: QuantizedNetwork) -> list[LayerReport]:
    """Errors of every layer of ``qnet = quantize(net)`` with weights or gates, in execution order.

    Raises NetworkError.
    """
    made = {layer.name: layer for layer in qnet.layers}
    factors = qnet.meta.get("rescaled")
    rescaled = factors if isinstance(factors, dict) else {}
    rows: list[LayerReport] = []
    shapes = qnet.tensors()
    bits = layer_bits(qnet)
    reach = channel_reach(qnet)
    for layer in net.layers:
        whole = made.get(layer.name)
        gates = None if whole is None or whole.attention is None else attention_error(whole.attention)
        if isinstance(layer, GateLayer) and gates is not None:
            rows.append(LayerReport(layer.name, 0.0, 0.0, 0.0, 0.0, 0, gates))
        if not isinstance(layer, ConvLayer | ReadoutLayer):
            continue
        if whole is None or whole.weight is None or whole.scale is None or whole.weight.size != layer.weight.size:
            raise NetworkError(f"layer {layer.name!r}: not in {qnet.name!r}; was it quantised from this network?")
        outputs = len(layer.weight)
        unit = whole.scale
        bias_unit = unit
        ties = 0
        threshold_error = leak_error = 0.0
        soft = False
        if isinstance(layer, ConvLayer):
            if layer.neuron is not None:
                thresholds, gain = fold_neuron(layer.neuron)
                unit = bias_unit = unit * gain
                threshold_error = _threshold_error(whole, thresholds / gain)
                soft = layer.neuron.reset == "soft"
                if layer.attention is None:
                    bias = np.zeros(outputs) if layer.bias is None else layer.bias
                    ties = int(tied_channels(bias, layer.current, thresholds).sum())
                if layer.neuron.kind == "lif":
                    leak_error = abs(Leak(whole.leak_shifts, whole.leak_factor).value - layer.neuron.leak)
        else:
            _, height, width = shapes[layer.name].shape
            unit = unit * (qnet.steps * height * width)
        factor, offset = _source_value(net, made, layer.source)
        restored = whole.weight.reshape(outputs, -1, *whole.kernel) * unit[:, None, None, None] / factor
        error = layer.weight.reshape(restored.shape) - restored
        bias = np.zeros(outputs) if layer.bias is None else layer.bias
        if isinstance(layer, ReadoutLayer) or layer.padding == (0, 0):
            bias = bias + (layer.weight.reshape(restored.shape) * offset).sum(axis=(1, 2, 3))
        largest = (1 << (bits[layer.name] - 1)) - 1
        silent = (whole.weight == 0).all(axis=(1, 2, 3))
        if whole.threshold is not None:
            silent |= reach[layer.name].fired == 0
        rows.append(
            LayerReport(
                name=layer.name,
                weight_error=float(np.abs(error).max()),
                threshold_error=threshold_error,
                soft_reset_error=threshold_error if soft else 0.0,
                leak_error=leak_error,
                rescaled=len(rescaled.get(layer.name, ())),
                attention_error=gates,
                bits=bits[layer.name],
                weight_rms=float(np.sqrt((error**2).sum() / max((layer.weight**2).sum(), 1e-300))),
                bias_error=float(np.abs(bias - (0 if whole.bias is None else whole.bias * bias_unit)).max()),
                saturated=int((np.abs(whole.weight) == largest).sum()),
                clipped=int((np.abs(error * factor) > unit[:, None, None, None] * 0.5000001).sum()),
                dead=tuple(int(channel) for channel in np.flatnonzero(silent)),
                ties=ties,
            )
        )
    return rows


def _threshold_error(made: QuantizedLayer, thresholds: FloatArray) -> float:
    assert made.threshold is not None and made.scale is not None
    whole = made.threshold[None] if made.levels is None else np.vstack([made.threshold[None], made.levels])
    return float(np.abs(whole * made.scale - thresholds[:, None]).max())


def _source_value(net: Network, made: dict[str, QuantizedLayer], name: str) -> tuple[FloatArray, FloatArray]:
    """Float value of one unit of a tensor's integers, and what dropped bits take away: ``[C or 1, 1, 1]`` each."""
    factor = np.full((1, 1, 1), net.input.scale if name == INPUT else 1.0)
    layer = next((layer for layer in net.layers if layer.name == name), None)
    if isinstance(layer, PoolLayer):
        below, _ = _source_value(net, made, layer.source)
        factor = below / math.prod(layer.kernel) if layer.kind == "average" else below
    if isinstance(layer, StreamLayer):
        kept = next(one for one in net.layers if one.name == layer.source)
        unit = made[layer.source].scale
        assert isinstance(kept, ConvLayer) and unit is not None
        gain = 1.0 if kept.neuron is None else fold_neuron(kept.neuron)[1]
        units = (unit * gain)[:, None, None]
        return units * (1 << made[name].shift), units * ((1 << made[name].shift) - 1) / 2
    return factor, np.zeros((1, 1, 1))
