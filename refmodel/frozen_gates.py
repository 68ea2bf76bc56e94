"""Frozen gates: an attention whose gates are constants is part of the convolution before it.

X' = relu(gate * X) with a constant gate is relu(X) of scaled weights and bias.  Gates of a step have
no place in weights that all steps share, so along the time axis the constant is one for all steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .attention import Axis
from .errors import NetworkError
from .layers import ConvLayer, FloatArray


def frozen_gate(gates: FloatArray, axis: Axis) -> FloatArray:
    """The mean of gates ``[N, A]`` seen on a calibration set: of each channel ``[C]``, or of all steps ``[1]``."""
    gates = np.asarray(gates, np.float64)
    return gates.mean(axis=0) if axis == "channel" else gates.mean(keepdims=True)[0]


def fold_gate(layer: ConvLayer, gate: ArrayLike) -> ConvLayer:
    """``layer`` with relu(gate * X) for what its attention makes of X; gate: a number, or one a channel, at least 0.

    Raises NetworkError where something other than weights is part of X that the gate cannot scale.
    """
    where = f"layer {layer.name!r}"
    channels = layer.weight.shape[0]
    try:
        factor = np.broadcast_to(np.asarray(gate, np.float64), (channels,))
    except ValueError:
        raise NetworkError(
            f"{where}: a frozen gate is one number or {channels}, not of shape {np.shape(gate)}"
        ) from None
    if not (np.isfinite(factor).all() and (factor >= 0).all()):
        raise NetworkError(f"{where}: a frozen gate must be at least 0 and finite, not {factor.min()!r}")
    if layer.neuron is None or layer.keeps_stream:
        raise NetworkError(f"{where}: its X is kept as a stream, which a gate on its neurons must not scale")
    if layer.stream is not None and (factor != 1).any():
        raise NetworkError(f"{where}: stream {layer.stream!r} is part of X, and a frozen gate cannot scale it")
    if layer.current is not None and (factor != factor[0]).any():
        raise NetworkError(f"{where}: its shortcut's current is one number; use one gate for all channels")
    return replace(
        layer,
        weight=layer.weight * factor[:, None, None, None],
        bias=None if layer.bias is None else layer.bias * factor,
        current=None if layer.current is None else layer.current * float(factor[0]),
        rectify=True,
        attention=None,
    )
