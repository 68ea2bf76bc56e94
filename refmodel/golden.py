"""The integer golden model: what the hardware must compute, bit for bit.

The equations are those stated in :mod:`refmodel.quantized`.  Vectorised over images, time and
space; only the membrane recurrence loops, over t.  Arrays inside are [N, T, H, W, C].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .attention import apply_gates, integer_gates
from .errors import DataError, NetworkError
from .legality import membrane_bound, reach_of, stream_reach, sum_bound, validate
from .quantized import (
    INPUT,
    IntArray,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
    bits_range,
)

Array = NDArray[Any]

_CHUNK_IMAGES = 64
_CHUNK_BYTES = 1 << 28
_IM2COL_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class GoldenResult:
    """What :func:`run` computed.

    results ``[N, classes]`` int64: the readout's sums; predictions ``[N]``: their argmax, lowest
    index first.  With ``keep``: tensors, every tensor's values ``[N, T, C, H, W]`` in the smallest
    integer type (the input too, the readout not); membranes, every layer's H, the membrane before
    reset, ``[N, T, C, H, W]`` int32 or int64.  The readout's H at (t, y, x) is its running total;
    pixels are the outer loop (row, then column), t the inner one, and the total starts at bias.

    streams: the kept membrane streams X, ``[N, T, C, H, W]``.  An MLF unit's membranes are those of
    its last level.

    fired: fraction of neuron steps that fired (before the combiner; a pool's ones), per layer.
    active: fraction of output values that are not zero, per layer.
    """

    results: IntArray
    predictions: IntArray
    tensors: dict[str, Array] = field(default_factory=dict)
    membranes: dict[str, Array] = field(default_factory=dict)
    streams: dict[str, Array] = field(default_factory=dict)
    fired: dict[str, float] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)


def firing_rates(result: GoldenResult, of: Literal["neurons", "outputs"] = "neurons") -> dict[str, float]:
    """Firing rate of every layer but the readout, 0..1.

    ``neurons``: own spikes A, before the combiner; ``outputs``: values of g(A, S) that are not zero.
    """
    return dict(result.fired if of == "neurons" else result.active)


def run(net: QuantizedNetwork, x: Array, *, keep: bool = False) -> GoldenResult:
    """Run ``net`` on integers ``x``: ``[N, C, H, W]`` when its input is static, else ``[N, T, C, H, W]``.

    Raises NetworkError for a network that is not legal, DataError for an input that does not fit it.
    """
    infos = validate(net)
    _check_input(net, x)
    widest = max(net.steps * int(np.prod(info.shape)) for info in infos.values())
    chunk = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // (16 * widest)))
    parts = [_run_chunk(net, infos, x[i : i + chunk], keep) for i in range(0, max(1, len(x)), chunk)]
    results = np.concatenate([part.results for part in parts])
    weights = np.array([len(part.results) for part in parts]) / max(1, len(x))
    return GoldenResult(
        results=results,
        predictions=np.argmax(results, axis=1).astype(np.int64),
        tensors={name: np.concatenate([part.tensors[name] for part in parts]) for name in parts[0].tensors},
        membranes={name: np.concatenate([part.membranes[name] for part in parts]) for name in parts[0].membranes},
        streams={name: np.concatenate([part.streams[name] for part in parts]) for name in parts[0].streams},
        fired={name: float(weights @ [part.fired[name] for part in parts]) for name in parts[0].fired},
        active={name: float(weights @ [part.active[name] for part in parts]) for name in parts[0].active},
    )


def _run_chunk(net: QuantizedNetwork, infos: dict[str, TensorInfo], x: Array, keep: bool) -> GoldenResult:
    """Run a few images through every layer; a tensor is freed after its last reader unless kept."""
    last_use = {name: i for i, layer in enumerate(net.layers) for name in (layer.source, layer.shortcut) if name}
    frames = x[:, None] if net.input.static else x  # T = 1 stands for every step until the first membrane
    live = {INPUT: np.ascontiguousarray(np.moveaxis(frames, 2, -1), dtype=_smallest(infos[INPUT]))}
    out = GoldenResult(np.zeros(0, np.int64), np.zeros(0, np.int64))
    if keep:
        out.tensors[INPUT] = _channels_first(np.repeat(live[INPUT], net.steps if net.input.static else 1, axis=1))
    streams: dict[str, Array] = {}
    reach = stream_reach(net)
    for index, layer in enumerate(net.layers):
        value, fired = None, None
        bits = _smallest(infos[layer.name])
        shortcut = live[layer.shortcut] if layer.shortcut else None
        if layer.kind == "stream":
            value = _stream_tensor(layer, streams[layer.source])
        elif layer.kind in ("maxpool", "sumpool"):
            value = _pool(layer, live[layer.source], bits)
        elif layer.kind == "window":
            membrane = total = _pool(layer, live[layer.source], np.int64)
            if layer.keeps_stream:
                streams[layer.name] = _repeat(total, net.steps)
                if keep:
                    out.streams[layer.name] = _channels_first(streams[layer.name])
            if layer.threshold is not None:
                membrane = _gated(layer, total, net.steps)
                fired = membrane >= layer.threshold
                value = _combine(layer, fired, shortcut, bits)
            if keep:
                out.membranes[layer.name] = _channels_first(_repeat(membrane, net.steps))
        elif layer.kind == "apply":
            kind = _membrane_type(layer, net.steps, infos, reach)
            driven = _gated(layer, streams[layer.source], net.steps).astype(kind)
            fired, membrane = _neurons(layer, driven, net.steps, keep)
            value = _combine(layer, fired, shortcut, bits)
            if keep:
                out.membranes[layer.name] = _channels_first(membrane)
        else:
            total = _accumulate(layer, live[layer.source], reach_of(infos[layer.source]))
            if layer.kind == "readout":
                results, membrane = _readout(layer, total, net.steps, keep)
                if keep:
                    out.membranes[layer.name] = _channels_first(membrane)
                return replace(out, results=results)
            kind = _membrane_type(layer, net.steps, infos, reach)
            inputs = _inputs(layer, total, shortcut, streams[layer.stream] if layer.stream else None, kind)
            if layer.keeps_stream:
                streams[layer.name] = np.ascontiguousarray(_repeat(inputs, net.steps))
                if keep:
                    out.streams[layer.name] = _channels_first(streams[layer.name])
            if layer.spikes:
                fired, membrane = _neurons(layer, _gated(layer, inputs, net.steps), net.steps, keep)
                value = _combine(layer, fired, shortcut, bits)
            else:
                membrane = _repeat(inputs, net.steps)
            if keep:
                out.membranes[layer.name] = _channels_first(membrane)
        if value is not None:
            live[layer.name] = value
            fired = value if fired is None else fired
            out.fired[layer.name] = np.count_nonzero(fired) / max(1, fired.size)
            out.active[layer.name] = np.count_nonzero(value) / max(1, value.size)
            if keep:
                out.tensors[layer.name] = _channels_first(_repeat(value, net.steps))
        for name in {layer.source, layer.shortcut} & set(live):
            if last_use[name] == index:
                del live[name]
    raise AssertionError("unreachable: validate() demands a readout")


def _repeat(value: Array, steps: int) -> Array:
    """``value`` at every step: one that is the same at all of them is held once."""
    return np.repeat(value, steps, axis=1) if value.shape[1] != steps else value


def _accumulate(layer: QuantizedLayer, source: Array, largest: int) -> Array:
    """conv(source) without bias, ``[N, T, OH, OW, Cout]``, exact, in the fastest type proven exact.

    Every partial sum is bounded by sum |w| * largest, so a float matmul whose mantissa holds that
    bound never rounds, in whatever order BLAS adds.
    """
    assert layer.weight is not None
    weight = layer.weight.transpose(2, 3, 1, 0).reshape(-1, layer.weight.shape[0])
    kind = _exact_type(sum_bound(layer, largest))
    n, steps, height, width, channels = source.shape
    kh, kw = layer.kernel
    sh, sw = layer.stride
    ph, pw = layer.padding
    out_h, out_w = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
    padded = np.zeros((n * steps, height + 2 * ph, width + 2 * pw, channels), dtype=kind)
    padded[:, ph : ph + height, pw : pw + width] = source.reshape(-1, height, width, channels)
    frame, row, column, item = padded.strides
    # A kernel row is contiguous in memory: kw * channels values.
    windows = as_strided(
        padded,
        (n * steps, out_h, out_w, kh, kw * channels),
        (frame, row * sh, column * sw, row, item),
        writeable=False,
    )
    matrix = weight.astype(kind)
    out = np.empty((n * steps, out_h, out_w, weight.shape[1]), dtype=kind)
    frame_bytes = out_h * out_w * weight.shape[0] * padded.itemsize
    group = max(1, _IM2COL_BYTES // frame_bytes)
    for i in range(0, n * steps, group):
        part = windows[i : i + group]
        out[i : i + group] = (part.reshape(-1, weight.shape[0]) @ matrix).reshape(-1, out_h, out_w, weight.shape[1])
    return out.reshape(n, steps, out_h, out_w, weight.shape[1])


def _inputs(
    layer: QuantizedLayer, total: Array, shortcut: Array | None, stream: Array | None, kind: type
) -> Array:
    """X = conv + bias + current where the shortcut spikes + stream, ``[N, T or 1, OH, OW, C]``."""
    inputs = total.astype(kind)
    if layer.bias is not None:
        inputs = inputs + layer.bias.astype(kind)
    if layer.current is not None and shortcut is not None:
        inputs = inputs + shortcut.astype(kind) * layer.current.astype(kind)
    if stream is not None:
        inputs = inputs + stream.astype(kind)
    return inputs


def _gated(layer: QuantizedLayer, inputs: Array, steps: int) -> Array:
    """X' = relu((X * gate) >> 8), ``[N, T, OH, OW, C]``, or X itself without attention."""
    if layer.attention is None:
        return inputs
    x = np.moveaxis(_repeat(inputs, steps), -1, 2)
    driven = apply_gates(x, integer_gates(x, layer.attention), layer.attention.axis)
    return np.moveaxis(driven, 2, -1).astype(inputs.dtype)


def _neurons(layer: QuantizedLayer, inputs: Array, steps: int, keep: bool) -> tuple[Array, Array]:
    """How many of a unit's levels fire, ``[N, T, OH, OW, C]`` (bool if it has one), and H of the last when kept."""
    assert layer.threshold is not None
    driven = np.maximum(inputs, 0) if layer.rectify else inputs
    fired, membrane = _spike(layer, driven, layer.threshold, steps, keep)
    if layer.levels is None:
        return fired, membrane
    count = fired.astype(np.uint8)
    for threshold in layer.levels:
        fired, membrane = _spike(layer, driven, threshold, steps, keep)
        count += fired
    return count, membrane


def _spike(
    layer: QuantizedLayer, driven: Array, thresholds: IntArray, steps: int, keep: bool
) -> tuple[Array, Array]:
    """Spikes (bool) and, when kept, H: H = leak(V) + X, [H >= threshold], reset."""
    n, source_steps, height, width, channels = driven.shape
    threshold = thresholds.astype(driven.dtype)
    spikes = np.empty((n, steps, height, width, channels), dtype=bool)
    kept = np.empty((n, steps, height, width, channels) if keep else 0, dtype=driven.dtype)
    membrane = np.zeros((n, height, width, channels), dtype=driven.dtype)
    for t in range(steps):
        membrane = _leak(layer, membrane) + driven[:, min(t, source_steps - 1)]
        if keep:
            kept[:, t] = membrane
        fired = np.greater_equal(membrane, threshold, out=spikes[:, t])
        if layer.reset == "hard":
            membrane = membrane * ~fired
        elif layer.reset == "soft":
            membrane = membrane - fired * threshold
    return spikes, kept


def _leak(layer: QuantizedLayer, membrane: Array) -> Array:
    """leak(V) before the next input."""
    if layer.stateless:
        return np.zeros_like(membrane)
    if layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        return ((membrane.astype(np.int64) * factor) >> bits).astype(membrane.dtype)
    leaked = membrane
    for shift in layer.leak_shifts:
        leaked = leaked - (membrane >> shift)
    return leaked


def _stream_tensor(layer: QuantizedLayer, stream: Array) -> Array:
    """stream >> shift, in ``bits`` bits; raises NetworkError where it does not fit."""
    values = stream >> layer.shift
    limit = 1 << (layer.bits - 1)
    if values.size and not -limit <= int(values.min()) <= int(values.max()) < limit:
        raise NetworkError(
            f"layer {layer.name!r}: the stream of {layer.source!r} leaves {layer.bits} bits "
            f"({values.min()} to {values.max()}); use more bits or a larger shift"
        )
    return values.astype(np.int16 if layer.bits <= 16 else np.int32)


def _combine(layer: QuantizedLayer, spikes: Array, shortcut: Array | None, kind: type) -> Array:
    """g(A, S), SEW paper, table 1; A may count (MLF units)."""
    if layer.combine == "pass" or shortcut is None:
        return spikes.astype(kind)
    if layer.combine == "add":
        return spikes.astype(kind) + shortcut.astype(kind)
    set_bits = shortcut.astype(bool)
    if layer.combine == "and":
        return (spikes & set_bits).astype(kind)
    if layer.combine == "iand":
        return (~spikes & set_bits).astype(kind)
    return (spikes | set_bits).astype(kind)


def _pool(layer: QuantizedLayer, source: Array, kind: type) -> Array:
    """Maximum (maxpool) or sum over the window of each channel, zero padding, ``[N, T, OH, OW, C]``."""
    _, _, height, width, _ = source.shape
    kh, kw = layer.kernel
    sh, sw = layer.stride
    ph, pw = layer.padding
    out_h, out_w = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
    padded = np.pad(source.astype(kind), ((0, 0), (0, 0), (ph, ph), (pw, pw), (0, 0)))
    taps = [
        padded[:, :, y : y + sh * (out_h - 1) + 1 : sh, x : x + sw * (out_w - 1) + 1 : sw]
        for y in range(kh)
        for x in range(kw)
    ]
    return (np.maximum if layer.kind == "maxpool" else np.add).reduce(taps)


def _readout(layer: QuantizedLayer, total: Array, steps: int, keep: bool) -> tuple[IntArray, Array]:
    """Sums ``[N, classes]`` and, when kept, the running total ``[N, T, OH, OW, classes]``."""
    values = total.astype(np.int64)
    n, source_steps, height, width, classes = values.shape
    bias = np.zeros(classes, np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    repeats = steps if source_steps == 1 else 1
    if not keep:
        return bias + repeats * values.sum(axis=(1, 2, 3)), values
    stepped = np.repeat(values, repeats, axis=1)
    in_order = np.moveaxis(stepped, 1, 3).reshape(n, -1, classes)  # pixels outer, t inner
    running = bias + np.cumsum(in_order, axis=1)
    return running[:, -1], np.moveaxis(running.reshape(n, height, width, steps, classes), 3, 1)


def _channels_first(array: Array) -> Array:
    """[N, T, H, W, C] to [N, T, C, H, W]."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 2))


def _smallest(info: TensorInfo) -> type:
    """Smallest integer type of a tensor's values."""
    if info.signed:
        return np.int8 if info.planes <= 8 else np.int16 if info.planes <= 16 else np.int32
    return np.uint8 if info.max_value < 1 << 8 else np.uint16 if info.max_value < 1 << 16 else np.uint32


def _exact_type(bound: int) -> type:
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def _membrane_type(layer: QuantizedLayer, steps: int, infos: dict[str, TensorInfo], reach: dict[str, int]) -> type:
    return np.int32 if membrane_bound(layer, steps, infos, reach) < 1 << 31 else np.int64


def _check_input(net: QuantizedNetwork, x: Array) -> None:
    shape = net.input.shape if net.input.static else (net.steps, *net.input.shape)
    axes = "[N, C, H, W]" if net.input.static else "[N, T, C, H, W]"
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        raise DataError(
            f"network {net.name!r}: input must be {axes} = (N, {', '.join(map(str, shape))}), not {x.shape}"
        )
    low, high = bits_range(net.input.bits, net.input.signed)
    if x.dtype.kind not in "iub":
        raise DataError(f"network {net.name!r}: input must be integers, not {x.dtype}; quantise it first")
    if x.size and (int(x.min()) < low or int(x.max()) > high):
        raise DataError(
            f"network {net.name!r}: input must be {low} to {high} ({net.input.bits} bits), not {x.min()} to {x.max()}"
        )
