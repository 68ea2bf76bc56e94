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


@dataclass(frozen=True)
class LayerReport:
    """What quantising one layer cost, in the float network's units.

    weight_error: largest |w - s * w_int|.  threshold_error: largest distance between a float
    threshold and the value of the integer one (for ``gt`` at most one unit above).
    soft_reset_error: the same where a soft reset subtracts it at every spike, else 0.
    leak_error: |represented leak - (1 - 1/tau)|, before rounding to integers; 0 for neurons without leak.
    rescaled: channels enlarged by max_sum, max_threshold or max_stream.
    attention_error: what integer gates cost (:func:`refmodel.quantize_gates.attention_error`); None without.
    """

    name: str
    weight_error: float
    threshold_error: float
    soft_reset_error: float
    leak_error: float
    rescaled: int
    attention_error: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.name}: weight error {self.weight_error:.3g}, threshold error {self.threshold_error:.3g}, "
            f"soft reset error {self.soft_reset_error:.3g}, leak error {self.leak_error:.3g}, "
            f"{self.rescaled} rescaled"
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
        threshold_error = leak_error = 0.0
        soft = False
        if isinstance(layer, ConvLayer):
            if layer.neuron is not None:
                thresholds, gain = fold_neuron(layer.neuron)
                unit = unit * gain
                threshold_error = _threshold_error(whole, thresholds / gain)
                soft = layer.neuron.reset == "soft"
                if layer.neuron.kind == "lif":
                    leak_error = abs(Leak(whole.leak_shifts, whole.leak_factor).value - layer.neuron.leak)
        else:
            _, height, width = shapes[layer.name].shape
            unit = unit * (qnet.steps * height * width)
        factor = _source_factor(net, made, layer.source)
        restored = whole.weight.reshape(outputs, -1, *whole.kernel) * unit[:, None, None, None] / factor
        rows.append(
            LayerReport(
                name=layer.name,
                weight_error=float(np.abs(layer.weight.reshape(restored.shape) - restored).max()),
                threshold_error=threshold_error,
                soft_reset_error=threshold_error if soft else 0.0,
                leak_error=leak_error,
                rescaled=len(rescaled.get(layer.name, ())),
                attention_error=gates,
            )
        )
    return rows


def _threshold_error(made: QuantizedLayer, thresholds: FloatArray) -> float:
    assert made.threshold is not None and made.scale is not None
    whole = made.threshold[None] if made.levels is None else np.vstack([made.threshold[None], made.levels])
    return float(np.abs(whole * made.scale - thresholds[:, None]).max())


def _source_factor(net: Network, made: dict[str, QuantizedLayer], name: str) -> FloatArray:
    """Float value of one unit of a tensor's integers, ``[C, 1, 1]`` or ``[1, 1, 1]``."""
    factor = np.full((1, 1, 1), net.input.scale if name == INPUT else 1.0)
    layer = next((layer for layer in net.layers if layer.name == name), None)
    if isinstance(layer, PoolLayer):
        below = _source_factor(net, made, layer.source)
        return below / math.prod(layer.kernel) if layer.kind == "average" else below
    if isinstance(layer, StreamLayer):
        kept = next(one for one in net.layers if one.name == layer.source)
        unit = made[layer.source].scale
        assert isinstance(kept, ConvLayer) and unit is not None
        gain = 1.0 if kept.neuron is None else fold_neuron(kept.neuron)[1]
        return (unit * gain * (1 << made[name].shift))[:, None, None]
    return factor
