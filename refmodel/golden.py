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

from .errors import DataError
from .legality import membrane_bound, stream_reach, sum_bound, validate
from .quantized import (
    INPUT,
    IntArray,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
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
    unsigned type (the input too, the readout not); membranes, every layer's H, the membrane before
    reset, ``[N, T, C, H, W]`` int32 or int64.  The readout's H at (t, y, x) is its running total;
    pixels are the outer loop (row, then column), t the inner one, and the total starts at bias.

    streams: the kept membrane streams X, ``[N, T, C, H, W]``.

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
    """Run ``net`` on unsigned integers ``x``: ``[N, C, H, W]`` when its input is static, else ``[N, T, C, H, W]``.

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
    live = {INPUT: np.ascontiguousarray(np.moveaxis(frames, 2, -1), dtype=_smallest(infos[INPUT].max_value))}
    out = GoldenResult(np.zeros(0, np.int64), np.zeros(0, np.int64))
    if keep:
        out.tensors[INPUT] = _channels_first(np.repeat(live[INPUT], net.steps if net.input.static else 1, axis=1))
    streams: dict[str, Array] = {}
    reach = stream_reach(net)
    for index, layer in enumerate(net.layers):
        source = live[layer.source]
        bits = _smallest(infos[layer.name].max_value)
        if layer.kind == "maxpool":
            spikes = value = _maxpool(layer, source)
        else:
            total = _accumulate(layer, source, infos[layer.source].max_value)
            if layer.kind == "readout":
                results, membrane = _readout(layer, total, net.steps, keep)
                if keep:
                    out.membranes[layer.name] = _channels_first(membrane)
                return replace(out, results=results)
            shortcut = live[layer.shortcut] if layer.shortcut else None
            stream = streams[layer.stream] if layer.stream else None
            kind = _membrane_type(layer, net.steps, infos, reach)
            spikes, membrane, kept_stream = _neuron(layer, total, shortcut, stream, net.steps, kind, keep)
            if layer.keeps_stream:
                streams[layer.name] = kept_stream
                if keep:
                    out.streams[layer.name] = _channels_first(kept_stream)
            value = _combine(layer, spikes, shortcut, bits)
            if keep:
                out.membranes[layer.name] = _channels_first(membrane)
        live[layer.name] = value
        out.fired[layer.name] = np.count_nonzero(spikes) / max(1, spikes.size)
        out.active[layer.name] = np.count_nonzero(value) / max(1, value.size)
        if keep:
            out.tensors[layer.name] = _channels_first(
                np.repeat(value, net.steps, axis=1) if value.shape[1] != net.steps else value
            )
        for name in {layer.source, layer.shortcut} & set(live):
            if last_use[name] == index:
                del live[name]
    raise AssertionError("unreachable: validate() demands a readout")


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


def _neuron(
    layer: QuantizedLayer,
    total: Array,
    shortcut: Array | None,
    stream: Array | None,
    steps: int,
    kind: type,
    keep: bool,
) -> tuple[Array, Array, Array]:
    """Spikes (bool) and, when kept, H and X, ``[N, T, OH, OW, C]``: H = leak(V) + X, [H >= threshold], reset."""
    assert layer.threshold is not None
    n, source_steps, height, width, channels = total.shape
    threshold = layer.threshold.astype(kind)
    bias = np.zeros(channels, kind) if layer.bias is None else layer.bias.astype(kind)
    spikes = np.empty((n, steps, height, width, channels), dtype=bool)
    kept = np.empty((n, steps, height, width, channels) if keep else 0, dtype=kind)
    inputs = np.empty((n, steps, height, width, channels) if layer.keeps_stream else 0, dtype=kind)
    membrane = np.zeros((n, height, width, channels), dtype=kind)
    drive = np.empty_like(membrane)
    for t in range(steps):
        if t < source_steps:  # a static source drives every step alike
            drive = total[:, t].astype(kind) + bias
        charge = drive
        if layer.current is not None and shortcut is not None:
            gate = shortcut[:, min(t, shortcut.shape[1] - 1)]
            charge = drive + gate.astype(kind) * layer.current.astype(kind)
        if stream is not None:
            charge = charge + stream[:, t]
        if layer.keeps_stream:
            inputs[:, t] = charge
        leaked = membrane
        for shift in layer.leak_shifts:
            leaked = leaked - (membrane >> shift)
        membrane = leaked + charge
        if keep:
            kept[:, t] = membrane
        fired = np.greater_equal(membrane, threshold, out=spikes[:, t])
        membrane = membrane - fired * threshold if layer.reset == "soft" else membrane * ~fired
    return spikes, kept, inputs


def _combine(layer: QuantizedLayer, spikes: Array, shortcut: Array | None, kind: type) -> Array:
    """g(A, S), SEW paper, table 1."""
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


def _maxpool(layer: QuantizedLayer, source: Array) -> Array:
    """Maximum over the window, zero padding, ``[N, T, OH, OW, C]``."""
    _, _, height, width, _ = source.shape
    kh, kw = layer.kernel
    sh, sw = layer.stride
    ph, pw = layer.padding
    out_h, out_w = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
    padded = np.pad(source, ((0, 0), (0, 0), (ph, ph), (pw, pw), (0, 0)))
    taps = [
        padded[:, :, y : y + sh * (out_h - 1) + 1 : sh, x : x + sw * (out_w - 1) + 1 : sw]
        for y in range(kh)
        for x in range(kw)
    ]
    return np.maximum.reduce(taps)


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


def _smallest(largest: int) -> type:
    return np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32


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
    if x.dtype.kind not in "iub":
        raise DataError(f"network {net.name!r}: input must be unsigned integers, not {x.dtype}; quantise it first")
    if x.size and (int(x.min()) < 0 or int(x.max()) >= 1 << net.input.bits):
        raise DataError(
            f"network {net.name!r}: input must be 0 to {(1 << net.input.bits) - 1} ({net.input.bits} bits), "
            f"not {x.min()} to {x.max()}"
        )
