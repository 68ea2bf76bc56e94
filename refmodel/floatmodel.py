"""The float model: evaluates a :class:`refmodel.network.Network` in float64, straight from the equations.

Written apart from the golden model on purpose: the two share no code, so that equal spikes on
integer-valued networks are evidence for both.  Arrays are [N, T, C, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .network import ConvLayer, FloatArray, MaxPoolLayer, Network, Neuron, ReadoutLayer
from .quantized import INPUT


@dataclass(frozen=True, eq=False)
class FloatResult:
    """logits ``[N, classes]``, predictions ``[N]`` (lowest index wins ties).

    With ``keep``: spikes, every spiking layer's own spikes A before the combiner (a pool's maxima),
    bool; tensors, every tensor's values; both ``[N, T, C, H, W]``.
    """

    logits: FloatArray
    predictions: NDArray[np.int64]
    spikes: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    tensors: dict[str, FloatArray] = field(default_factory=dict)


def run(net: Network, x: NDArray[Any], *, keep: bool = False, batch: int = 32) -> FloatResult:
    """Evaluate ``net`` on unsigned integers ``x`` (float input = scale * x), ``batch`` images at a time.

    ``x``: ``[N, C, H, W]`` when the input is static, else ``[N, T, C, H, W]``.  Raises DataError.
    """
    spec = net.input
    expected = spec.shape if spec.static else (net.steps, *spec.shape)
    if x.shape[1:] != expected:
        raise DataError(f"network {net.name!r}: input must be of shape (N, {expected}), not {x.shape}")
    frames = x * float(spec.scale)
    if spec.static:
        frames = np.broadcast_to(frames[:, None], (len(x), net.steps, *spec.shape))
    parts = [_evaluate(net, frames[i : i + batch], keep) for i in range(0, max(1, len(x)), batch)]
    logits = np.concatenate([part.logits for part in parts])
    return FloatResult(
        logits=logits,
        predictions=np.argmax(logits, axis=1).astype(np.int64),
        spikes={name: np.concatenate([part.spikes[name] for part in parts]) for name in parts[0].spikes},
        tensors={name: np.concatenate([part.tensors[name] for part in parts]) for name in parts[0].tensors},
    )


def _evaluate(net: Network, frames: FloatArray, keep: bool) -> FloatResult:
    tensors: dict[str, FloatArray] = {INPUT: frames}
    spikes: dict[str, NDArray[np.bool_]] = {}
    logits = np.zeros((len(frames), 0))
    for layer in net.layers:
        source = tensors[layer.source]
        if isinstance(layer, ReadoutLayer):
            logits = _logits(layer, source)
        elif isinstance(layer, MaxPoolLayer):
            tensors[layer.name] = _maximum(layer, source)
            spikes[layer.name] = tensors[layer.name] > 0
        else:
            x = _convolve(layer, source)
            if layer.current is not None and layer.shortcut is not None:
                x = x + layer.current * tensors[layer.shortcut]
            fired = fire(layer.neuron, x)
            spikes[layer.name] = fired
            tensors[layer.name] = _merge(layer, fired.astype(np.float64), tensors)
    if not keep:
        return FloatResult(logits, np.zeros(0, np.int64))
    return FloatResult(logits, np.zeros(0, np.int64), spikes, tensors)


def fire(neuron: Neuron, x: FloatArray) -> NDArray[np.bool_]:
    """Spikes of one neuron model on inputs X ``[N, T, ...]`` (SEW paper, eq. 1-5; semantics of :class:`Neuron`)."""
    v = np.full_like(x[:, 0], neuron.v_reset)
    spikes = np.zeros(x.shape, dtype=bool)
    for t in range(x.shape[1]):
        if neuron.kind == "if":
            h = v + x[:, t]
        elif neuron.decay_input:
            h = v + (x[:, t] - (v - neuron.v_reset)) / neuron.tau
        else:
            h = v - (v - neuron.v_reset) / neuron.tau + x[:, t]
        s = h >= neuron.threshold if neuron.fire == "ge" else h > neuron.threshold
        spikes[:, t] = s
        v = np.where(s, neuron.v_reset, h) if neuron.reset == "hard" else h - s * neuron.threshold
    return spikes


def _convolve(layer: ConvLayer, source: FloatArray) -> FloatArray:
    """Sum over kernel taps of W[:, :, ky, kx] @ shifted source."""
    (sh, sw), (ph, pw) = layer.stride, layer.padding
    cout, _, kh, kw = layer.weight.shape
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    out_h, out_w = (padded.shape[3] - kh) // sh + 1, (padded.shape[4] - kw) // sw + 1
    n, steps, channels = source.shape[:3]
    total = np.zeros((n, steps, cout, out_h * out_w))
    for ky in range(kh):
        for kx in range(kw):
            tap = padded[..., ky : ky + sh * out_h : sh, kx : kx + sw * out_w : sw][..., :out_h, :out_w]
            total += layer.weight[:, :, ky, kx] @ tap.reshape(n, steps, channels, out_h * out_w)
    if layer.bias is not None:
        total += layer.bias[:, None]
    return total.reshape(n, steps, cout, out_h, out_w)


def _maximum(layer: MaxPoolLayer, source: FloatArray) -> FloatArray:
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(3, 4))
    return windows[:, :, :, ::sh, ::sw].max(axis=(-2, -1))


def _merge(layer: ConvLayer, a: FloatArray, tensors: dict[str, FloatArray]) -> FloatArray:
    """g(A, S), SEW paper, table 1."""
    if layer.combine == "pass" or layer.shortcut is None:
        return a
    s = tensors[layer.shortcut]
    if layer.combine == "add":
        return a + s
    if layer.combine == "and":
        return a * s
    if layer.combine == "iand":
        return (1 - a) * s
    return a + s - a * s


def _logits(layer: ReadoutLayer, source: FloatArray) -> FloatArray:
    """Mean over T of FC(GAP(x_t)) or FC(flatten(x_t)), ``[N, classes]``."""
    features = source.mean(axis=(3, 4)) if layer.pool == "global_average" else source.reshape(*source.shape[:2], -1)
    out = features @ layer.weight.T
    if layer.bias is not None:
        out = out + layer.bias
    return out.mean(axis=1)
