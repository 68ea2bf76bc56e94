"""What makes an integer network legal, and how large its numbers can get.

The golden model, the quantiser and model files all demand the same; what a certain core can run
is the compiler's business.
"""

from __future__ import annotations

from dataclasses import MISSING, fields

import numpy as np

from .errors import NetworkError
from .quantized import (
    COMBINES,
    INPUT,
    LEAK_SHIFTS,
    MAX_LEAK_BITS,
    MAX_LEAK_TERMS,
    MAX_LEVELS,
    IntArray,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
    bits_range,
    made_tensor,
    preparation_problem,
)

#: Options (besides name, source and the window) that a kind may use; the others keep their defaults.
_ALLOWED = {
    "conv": {
        "weight", "bias", "threshold", "levels", "leak_shifts", "leak_factor", "reset", "stateless", "rectify",
        "shortcut", "combine", "current", "stream", "keeps_stream", "attention", "scale",
    },
    "maxpool": set(),
    "sumpool": set(),
    "window": {"threshold", "shortcut", "combine", "keeps_stream", "attention"},
    "apply": {
        "threshold", "levels", "leak_shifts", "leak_factor", "reset", "stateless", "shortcut", "combine", "attention",
        "scale",
    },
    "stream": {"bits", "shift"},
    "readout": {"weight", "bias", "scale"},
}  # fmt: skip


def sum_bound(layer: QuantizedLayer, largest: int) -> int:
    """Largest magnitude any partial synaptic sum can have, of source values up to ``largest``."""
    if layer.weight is None:
        return layer.kernel[0] * layer.kernel[1] * largest
    if layer.weight.size == 0:
        return 0
    in_words = magnitude(layer.weight) * layer.weight[0].size < 1 << 63  # sums of 64 bits are exact
    weight = layer.weight.astype(np.int64 if in_words else object, copy=False)
    return int(np.abs(weight).sum(axis=(1, 2, 3)).max()) * largest


def magnitude(vector: IntArray | None) -> int:
    return 0 if vector is None or vector.size == 0 else max(abs(int(vector.max())), abs(int(vector.min())))


def reach_of(info: TensorInfo) -> int:
    """Largest magnitude of a tensor's values."""
    return max(info.max_value, -info.min_value)


def stream_reach(net: QuantizedNetwork) -> dict[str, int]:
    """Largest magnitude of every kept membrane stream, by layer; legal networks only."""
    reach: dict[str, int] = {}
    infos = net.tensors()
    for layer in net.layers:
        if layer.keeps_stream:
            own = sum_bound(layer, reach_of(infos[layer.source])) + magnitude(layer.bias) + magnitude(layer.current)
            reach[layer.name] = own + (reach[layer.stream] if layer.stream else 0)
    return reach


def membrane_bound(
    layer: QuantizedLayer, steps: int, infos: dict[str, TensorInfo], reach: dict[str, int]
) -> int:
    """Largest magnitude a membrane (or readout total) can have: no leak term makes it grow by more than 2."""
    if layer.kind == "apply":
        step = reach[layer.source]
    else:
        step = sum_bound(layer, reach_of(infos[layer.source])) + magnitude(layer.current) + 2
    step += reach[layer.stream] if layer.stream else 0
    if layer.kind == "readout":
        _, height, width = infos[layer.name].shape
        return steps * height * width * step + magnitude(layer.bias)
    highest = max(magnitude(layer.threshold), magnitude(layer.levels))
    return steps * (step + magnitude(layer.bias) + highest) + highest


def validate(net: QuantizedNetwork) -> dict[str, TensorInfo]:
    """Check an integer network and return its tensors; raises NetworkError that names the bad layer."""
    where = f"network {net.name!r}"
    _demand(net.steps >= 1, f"{where}: steps must be at least 1, not {net.steps}")
    _demand(2 <= net.weight_bits <= 16, f"{where}: weight_bits must be 2 to 16, not {net.weight_bits}")
    shape = net.input.shape
    _demand(len(shape) == 3 and min(shape) >= 1, f"{where}: input shape must be (C, H, W), not {shape}")
    _demand(1 <= net.input.bits <= 16, f"{where}: input bits must be 1 to 16, not {net.input.bits}")
    problem = preparation_problem(shape, net.input.bits, net.input.fold, net.input.drop_bits)
    _demand(problem is None, f"{where}: input {problem}")
    kinds = [layer.kind for layer in net.layers]
    _demand(bool(kinds) and kinds[-1] == "readout", f"{where}: the last layer must be a readout; add one")
    low, high = bits_range(net.input.bits, net.input.signed)
    known = {INPUT: TensorInfo(shape, high, low)}
    streams: dict[str, TensorInfo] = {}
    for layer in net.layers:
        last = layer is net.layers[-1]
        made = _check_layer(layer, known, streams, net.weight_bits, last)
        _check_stream(layer, made, streams)
        known[layer.name] = made
        if layer.keeps_stream:
            streams[layer.name] = known[layer.name]
    reach = stream_reach(net)
    for layer in net.layers:
        if layer.attention is not None:
            wanted = net.steps if layer.attention.axis == "time" else known[layer.name].shape[0]
            fine = layer.attention.size == wanted
            _demand(fine, f"layer {layer.name!r}: its attention is for {layer.attention.size}, but there are {wanted}")
        bound = membrane_bound(layer, net.steps, known, reach)
        _demand(bound < 1 << 62, f"layer {layer.name!r}: membrane may reach {bound}, more than 62 bits; use less bits")
    return known


def _demand(fine: bool, message: str) -> None:
    if not fine:
        raise NetworkError(message)


def _check_layer(
    layer: QuantizedLayer,
    known: dict[str, TensorInfo],
    streams: dict[str, TensorInfo],
    weight_bits: int,
    last: bool,
) -> TensorInfo:
    where = f"layer {layer.name!r}"
    _demand(bool(layer.name) and layer.name not in known, f"{where}: the name is empty or taken; give each its own")
    _demand(layer.kind in _ALLOWED, f"{where}: unknown kind {layer.kind!r}")
    _demand((layer.kind == "readout") == last, f"{where}: a readout must be the last layer, and only it")
    for option in fields(QuantizedLayer):
        if option.default is not MISSING or option.name == "weight":
            value = getattr(layer, option.name)
            used = isinstance(value, np.ndarray) or value != (None if option.name == "weight" else option.default)
            fine = option.name in _ALLOWED[layer.kind] or option.name in ("stride", "padding") or not used
            _demand(fine, f"{where}: a {layer.kind} has no {option.name}; remove it")
    if layer.kind in ("stream", "apply"):
        _demand(layer.source in streams, f"{where}: unknown stream {layer.source!r}; no earlier layer keeps its stream")
    if layer.kind == "stream":
        return _check_stream_tensor(layer, streams)
    if layer.kind == "apply":
        return _check_apply(layer, known)
    for option in ("source", "shortcut"):
        tensor = getattr(layer, option)
        fine = tensor in known or (option == "shortcut" and tensor is None)
        _demand(fine, f"{where}: unknown {option} {tensor!r}; it must be one of {', '.join(known)}")
        fine = tensor is None or known[tensor].max_value > 0
        _demand(fine, f"{where}: {option} {tensor!r} only keeps a stream; read it through a layer of kind 'stream'")
    kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    fine = min(kernel) >= 1 and min(stride) >= 1 and min(padding) >= 0
    fine = fine and padding[0] < kernel[0] and padding[1] < kernel[1]
    _demand(fine, f"{where}: kernel={kernel}, stride={stride}, padding={padding} must satisfy 0 <= padding < kernel")
    source = known[layer.source]
    out_h, out_w = ((source.shape[i + 1] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1))
    _demand(out_h >= 1 and out_w >= 1, f"{where}: kernel {kernel} is larger than its source {source.shape[1:]}")
    if layer.kind in ("maxpool", "sumpool", "window"):
        _demand(not source.signed, f"{where}: pooling takes unsigned values; {layer.source!r} is signed")
    else:
        _check_weight(layer, source.shape[0], weight_bits)
    made = made_tensor(layer, known)
    if layer.kind in ("conv", "window"):
        _check_neurons(layer, made.shape[0])
        _check_shortcut(layer, made.shape, known)
    if layer.attention is not None:
        fine = layer.spikes != layer.keeps_stream and (layer.kind == "conv" or layer.kernel == (1, 1))
        _demand(fine, f"{where}: a layer with attention has neurons or keeps X for them; a window of one pixel")
    return made


def _check_apply(layer: QuantizedLayer, known: dict[str, TensorInfo]) -> TensorInfo:
    where = f"layer {layer.name!r}"
    _demand(layer.attention is not None, f"{where}: applies no attention; give it the attention of its source")
    _demand(layer.threshold is not None, f"{where}: an apply needs a threshold; use [Cout] integers")
    _demand(layer.shortcut is None or layer.shortcut in known, f"{where}: unknown shortcut {layer.shortcut!r}")
    fine = layer.kernel == layer.stride == (1, 1) and layer.padding == (0, 0)
    _demand(fine, f"{where}: a stream has no window; use kernel=(1, 1)")
    made = made_tensor(layer, known)
    _check_neurons(layer, made.shape[0])
    _check_shortcut(layer, made.shape, known)
    return made


def _check_neurons(layer: QuantizedLayer, outputs: int) -> None:
    where = f"layer {layer.name!r}"
    for option in ("threshold", "current"):
        _check_vector(layer, option, outputs)
    if layer.threshold is None:
        _demand(layer.keeps_stream, f"{where}: a {layer.kind} needs a threshold ([Cout] integers) or keeps_stream")
        fine = layer.levels is None and layer.combine == "pass" and not layer.leak_shifts and layer.leak_factor is None
        _demand(fine, f"{where}: a {layer.kind} without threshold has no neurons: no levels, combine or leak")
        return
    if layer.levels is not None:
        fine = layer.levels.ndim == 2 and layer.levels.shape[1] == outputs and layer.levels.dtype.kind in "iu"
        fine = fine and 1 <= len(layer.levels) <= MAX_LEVELS - 1
        _demand(fine, f"{where}: levels must be [1 to {MAX_LEVELS - 1}, {outputs}] integers")
        _demand(layer.combine in ("pass", "add"), f"{where}: MLF units count; they combine by add, not {layer.combine}")
    fine = len(layer.leak_shifts) <= MAX_LEAK_TERMS and all(shift in LEAK_SHIFTS for shift in layer.leak_shifts)
    _demand(fine, f"{where}: leak_shifts must be at most two of 1 to 4, not {layer.leak_shifts}")
    if layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        fine = 1 <= bits <= MAX_LEAK_BITS and 0 <= factor <= 1 << bits and not layer.leak_shifts
        _demand(
            fine,
            f"{where}: leak_factor must be (m, f) with f 1 to {MAX_LEAK_BITS}, m 0 to 2**f and no leak_shifts, "
            f"not {layer.leak_factor}",
        )
    fine = layer.reset in ("hard", "soft", "none")
    _demand(fine, f"{where}: reset must be 'hard', 'soft' or 'none', not {layer.reset!r}")


def _check_stream(layer: QuantizedLayer, made: TensorInfo, streams: dict[str, TensorInfo]) -> None:
    where = f"layer {layer.name!r}"
    if layer.stream is not None:
        fine = layer.stream in streams
        _demand(fine, f"{where}: unknown stream {layer.stream!r}; no earlier layer of that name keeps its stream")
        shape = streams[layer.stream].shape
        _demand(shape == made.shape, f"{where}: stream {layer.stream!r} has shape {shape}, the layer {made.shape}")


def _check_stream_tensor(layer: QuantizedLayer, streams: dict[str, TensorInfo]) -> TensorInfo:
    where = f"layer {layer.name!r}"
    _demand(1 < layer.bits <= 32, f"{where}: a stream's tensor has 2 to 32 bits, not {layer.bits}")
    _demand(0 <= layer.shift < 32, f"{where}: shift must be 0 to 31, not {layer.shift}")
    fine = layer.kernel == layer.stride == (1, 1) and layer.padding == (0, 0)
    _demand(fine, f"{where}: a stream's tensor has no window; use kernel=(1, 1)")
    low, high = bits_range(layer.bits, True)
    return TensorInfo(streams[layer.source].shape, high, low)


def _check_weight(layer: QuantizedLayer, channels: int, weight_bits: int) -> None:
    where = f"layer {layer.name!r}"
    weight = layer.weight
    if weight is None or weight.ndim != 4 or weight.dtype.kind not in "iu" or weight.shape[0] < 1:
        raise NetworkError(f"{where}: weight must be integers [Cout, {channels}, KH, KW]")
    expected = (weight.shape[0], channels, *layer.kernel)
    _demand(weight.shape == expected, f"{where}: weight must be of shape {expected}, not {weight.shape}")
    low, high = -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1
    fine = low <= int(weight.min()) and int(weight.max()) <= high
    _demand(fine, f"{where}: weights must be {low} to {high} ({weight_bits} bits); they reach {magnitude(weight)}")
    _check_vector(layer, "bias", weight.shape[0])
    fine = layer.scale is None or (layer.scale.shape == (weight.shape[0],) and bool(np.isfinite(layer.scale).all()))
    _demand(fine, f"{where}: scale must be None or {weight.shape[0]} finite numbers")


def _check_vector(layer: QuantizedLayer, option: str, outputs: int) -> None:
    vector = getattr(layer, option)
    if vector is not None and (vector.shape != (outputs,) or vector.dtype.kind not in "iu"):
        raise NetworkError(
            f"layer {layer.name!r}: {option} must be {outputs} integers, not {vector.dtype}{vector.shape}"
        )


def _check_shortcut(layer: QuantizedLayer, shape: tuple[int, int, int], known: dict[str, TensorInfo]) -> None:
    where = f"layer {layer.name!r}"
    _demand(layer.combine in COMBINES, f"{where}: combine must be one of {', '.join(COMBINES)}, not {layer.combine!r}")
    use = "current" if layer.current is not None else layer.combine
    if layer.shortcut is None:
        _demand(use == "pass", f"{where}: {use} needs a shortcut")
        return
    fine = (layer.combine == "pass") != (layer.current is None)
    _demand(fine, f"{where}: a shortcut needs either a combine or a current, not both or neither")
    shortcut = known[layer.shortcut]
    _demand(
        shortcut.shape == shape,
        f"{where}: shortcut {layer.shortcut!r} has shape {shortcut.shape}, but the layer makes {shape}; project it",
    )
    _demand(
        use == "add" or shortcut.max_value == 1,
        f"{where}: {use} needs a binary shortcut, but {layer.shortcut!r} counts up to {shortcut.max_value}; use add",
    )
    _demand(not shortcut.signed, f"{where}: shortcut {layer.shortcut!r} is signed; shortcuts are spikes or counts")
