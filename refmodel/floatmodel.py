"""The float model: evaluates a :class:`refmodel.network.Network` in float64, straight from the equations.

Written apart from the golden model on purpose: the two share no code but the pools of an attention, so
that equal spikes on integer-valued networks are evidence for both.  Arrays are [N, T, C, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import Attention, gated, gates
from .errors import DataError
from .network import ConvLayer, FloatArray, GateLayer, Layer, Network, Neuron, PoolLayer, ReadoutLayer, StreamLayer
from .quantized import INPUT


@dataclass(frozen=True, eq=False)
class FloatResult:
    """logits ``[N, classes]``, predictions ``[N]`` (lowest index wins ties).

    With ``keep``: spikes, every spiking layer's own spikes A before the combiner, bool, of MLF
    units the number of levels that fired, uint8, of a pool where it is not 0; tensors, every
    tensor's values; streams, every kept membrane stream; all ``[N, T, C, H, W]``.  Then gates, too,
    ``[N, A]`` of every layer with attention, one for each of the steps or channels.
    """

    logits: FloatArray
    predictions: NDArray[np.int64]
    spikes: dict[str, NDArray[Any]] = field(default_factory=dict)
    tensors: dict[str, FloatArray] = field(default_factory=dict)
    streams: dict[str, FloatArray] = field(default_factory=dict)
    gates: dict[str, FloatArray] = field(default_factory=dict)


def run(net: Network, x: NDArray[Any], *, keep: bool = False, batch: int = 32) -> FloatResult:
    """Evaluate ``net`` on integers ``x`` (float input = scale * x), ``batch`` images at a time.

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
        streams={name: np.concatenate([part.streams[name] for part in parts]) for name in parts[0].streams},
        gates={name: np.concatenate([part.gates[name] for part in parts]) for name in parts[0].gates},
    )


def _evaluate(net: Network, frames: FloatArray, keep: bool) -> FloatResult:
    tensors: dict[str, FloatArray] = {INPUT: frames}
    streams: dict[str, FloatArray] = {}
    spikes: dict[str, NDArray[Any]] = {}
    open_gates: dict[str, FloatArray] = {}
    logits = np.zeros((len(frames), 0))
    last_use = {name: index for index, layer in enumerate(net.layers) for name in _read(layer)}
    for index, layer in enumerate(net.layers):
        if isinstance(layer, ReadoutLayer):
            logits = _logits(layer, tensors[layer.source])
        elif isinstance(layer, StreamLayer):
            tensors[layer.name] = streams[layer.source]
        elif isinstance(layer, PoolLayer):
            tensors[layer.name] = _pool(layer, tensors[layer.source])
            spikes[layer.name] = tensors[layer.name] > 0
        elif isinstance(layer, GateLayer):
            tensors[layer.name], open_gates[layer.name] = _gated(layer.attention, tensors[layer.source])
            spikes[layer.name] = tensors[layer.name] > 0
        else:
            x = _input(layer, tensors, streams)
            if layer.keeps_stream:
                streams[layer.name] = x
            if layer.neuron is not None:
                driven = x
                if layer.attention is not None:
                    driven, open_gates[layer.name] = _gated(layer.attention, x)
                spikes[layer.name] = fire(layer.neuron, np.maximum(driven, 0.0) if layer.rectify else driven)
                tensors[layer.name] = _merge(layer, spikes[layer.name].astype(np.float64), tensors)
        if not keep:
            for name in [*_read(layer), layer.name]:
                if last_use.get(name, index) == index:
                    for made in (tensors, streams, spikes):
                        made.pop(name, None)
    if not keep:
        return FloatResult(logits, np.zeros(0, np.int64))
    return FloatResult(logits, np.zeros(0, np.int64), spikes, tensors, streams, open_gates)


def _read(layer: Layer) -> list[str]:
    """The tensors and streams that a layer reads."""
    names = [layer.source] + ([layer.shortcut, layer.stream] if isinstance(layer, ConvLayer) else [])
    return [name for name in names if name is not None]


def _gated(attention: Attention, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """X' = relu(gate * X), and the gates ``[N, A]``."""
    gate = gates(x, attention)
    return gated(x, gate, attention.axis), gate


def fire(neuron: Neuron, x: FloatArray) -> NDArray[Any]:
    """Spikes of one neuron model on inputs X ``[N, T, ...]`` (SEW paper, eq. 1-5; semantics of :class:`Neuron`).

    bool; of an MLF unit uint8, the number of its levels that fired (MLF paper: u_k = leak(u_k) + x, one
    membrane for each threshold, and the union of their spikes).
    """
    fired = _fire_level(neuron, neuron.threshold, x)
    if not neuron.levels:
        return fired
    return fired + sum(_fire_level(neuron, level, x).astype(np.uint8) for level in neuron.levels)


def _fire_level(neuron: Neuron, threshold: float, x: FloatArray) -> NDArray[np.bool_]:
    v = np.full_like(x[:, 0], neuron.v_reset)
    spikes = np.zeros(x.shape, dtype=bool)
    for t in range(x.shape[1]):
        if neuron.kind == "step":
            h = x[:, t]
        elif neuron.kind == "if":
            h = v + x[:, t]
        elif neuron.decay_input:
            h = v + (x[:, t] - (v - neuron.v_reset)) / neuron.tau
        else:
            h = v - (v - neuron.v_reset) / neuron.tau + x[:, t]
        s = h >= threshold if neuron.fire == "ge" else h > threshold
        spikes[:, t] = s
        if neuron.reset == "hard":
            v = np.where(s, neuron.v_reset, h)
        else:
            v = h - s * threshold if neuron.reset == "soft" else h
    return spikes


def _input(layer: ConvLayer, tensors: dict[str, FloatArray], streams: dict[str, FloatArray]) -> FloatArray:
    """X: synapses and bias, the shortcut as a current, the membrane stream."""
    x = _convolve(layer, tensors[layer.source])
    if layer.current is not None and layer.shortcut is not None:
        x = x + layer.current * tensors[layer.shortcut]
    return x if layer.stream is None else x + streams[layer.stream]


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


def _pool(layer: PoolLayer, source: FloatArray) -> FloatArray:
    """Maximum, sum or mean of each window; the padding's zeros belong to it."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(3, 4))[:, :, :, ::sh, ::sw]
    if layer.kind == "max":
        return windows.max(axis=(-2, -1))
    return windows.sum(axis=(-2, -1)) if layer.kind == "sum" else windows.mean(axis=(-2, -1))


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
