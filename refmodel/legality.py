"""What makes an integer network legal, and how large its numbers can get.

The golden model, the quantiser and model files all demand the same; what a certain core can run
is the compiler's business.
"""

from __future__ import annotations

import numpy as np

from .errors import NetworkError
from .quantized import (
    COMBINES,
    INPUT,
    LEAK_SHIFTS,
    MAX_LEAK_TERMS,
    IntArray,
    QuantizedLayer,
    QuantizedNetwork,
    TensorInfo,
)


def sum_bound(layer: QuantizedLayer, largest: int) -> int:
    """Largest magnitude any partial synaptic sum can have."""
    if layer.weight is None or layer.weight.size == 0:
        return 0
    return int(np.abs(layer.weight.astype(object)).sum(axis=(1, 2, 3)).max()) * largest


def magnitude(vector: IntArray | None) -> int:
    return 0 if vector is None or vector.size == 0 else max(abs(int(vector.max())), abs(int(vector.min())))


def stream_reach(net: QuantizedNetwork) -> dict[str, int]:
    """Largest magnitude of every kept membrane stream, by layer; legal networks only."""
    reach: dict[str, int] = {}
    infos = net.tensors()
    for layer in net.layers:
        if layer.keeps_stream:
            own = sum_bound(layer, infos[layer.source].max_value) + magnitude(layer.bias) + magnitude(layer.current)
            reach[layer.name] = own + (reach[layer.stream] if layer.stream else 0)
    return reach


def membrane_bound(
    layer: QuantizedLayer, steps: int, infos: dict[str, TensorInfo], reach: dict[str, int]
) -> int:
    """Largest magnitude a membrane (or readout total) can have: no leak term makes it grow by more than 2."""
    step = sum_bound(layer, infos[layer.source].max_value) + magnitude(layer.current) + 2
    step += reach[layer.stream] if layer.stream else 0
    if layer.kind == "readout":
        _, height, width = infos[layer.name].shape
        return steps * height * width * step + magnitude(layer.bias)
    return steps * (step + magnitude(layer.bias) + magnitude(layer.threshold)) + magnitude(layer.threshold)


def validate(net: QuantizedNetwork) -> dict[str, TensorInfo]:
    """Check an integer network and return its tensors; raises NetworkError that names the bad layer."""
    where = f"network {net.name!r}"
    _demand(net.steps >= 1, f"{where}: steps must be at least 1, not {net.steps}")
    _demand(2 <= net.weight_bits <= 16, f"{where}: weight_bits must be 2 to 16, not {net.weight_bits}")
    shape = net.input.shape
    _demand(len(shape) == 3 and min(shape) >= 1, f"{where}: input shape must be (C, H, W), not {shape}")
    _demand(1 <= net.input.bits <= 16, f"{where}: input bits must be 1 to 16, not {net.input.bits}")
    kinds = [layer.kind for layer in net.layers]
    _demand(bool(kinds) and kinds[-1] == "readout", f"{where}: the last layer must be a readout; add one")
    known = {INPUT: TensorInfo(shape, (1 << net.input.bits) - 1)}
    streams: dict[str, TensorInfo] = {}
    for layer in net.layers:
        last = layer is net.layers[-1]
        known[layer.name] = _check_layer(layer, known, net.weight_bits, last)
        _check_stream(layer, known[layer.name], streams)
        if layer.keeps_stream:
            streams[layer.name] = known[layer.name]
    reach = stream_reach(net)
    for layer in net.layers:
        bound = membrane_bound(layer, net.steps, known, reach)
        _demand(bound < 1 << 62, f"layer {layer.name!r}: membrane may reach {bound}, more than 62 bits; use less bits")
    return known


def _demand(fine: bool, message: str) -> None:
    if not fine:
        raise NetworkError(message)


def _check_layer(layer: QuantizedLayer, known: dict[str, TensorInfo], weight_bits: int, last: bool) -> TensorInfo:
    where = f"layer {layer.name!r}"
    _demand(bool(layer.name) and layer.name not in known, f"{where}: the name is empty or taken; give each its own")
    for option in ("source", "shortcut"):
        tensor = getattr(layer, option)
        fine = tensor in known or (option == "shortcut" and tensor is None)
        _demand(fine, f"{where}: unknown {option} {tensor!r}; it must be one of {', '.join(known)}")
    _demand(layer.kind in ("conv", "maxpool", "readout"), f"{where}: unknown kind {layer.kind!r}")
    _demand((layer.kind == "readout") == last, f"{where}: a readout must be the last layer, and only it")
    kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    fine = min(kernel) >= 1 and min(stride) >= 1 and min(padding) >= 0
    fine = fine and padding[0] < kernel[0] and padding[1] < kernel[1]
    _demand(fine, f"{where}: kernel={kernel}, stride={stride}, padding={padding} must satisfy 0 <= padding < kernel")
    source = known[layer.source]
    out_h, out_w = ((source.shape[i + 1] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1))
    _demand(out_h >= 1 and out_w >= 1, f"{where}: kernel {kernel} is larger than its source {source.shape[1:]}")
    unused: tuple[str, ...] = ()
    outputs = source.shape[0]
    if layer.kind == "maxpool":
        _demand(source.max_value == 1, f"{where}: max pooling needs a binary source, not counts to {source.max_value}")
        unused = ("weight", "bias", "threshold", "shortcut", "current", "scale")
    else:
        outputs = _check_weight(layer, source.shape[0], weight_bits)
        if layer.kind == "readout":
            unused = ("threshold", "shortcut", "current")
    for option in unused:
        _demand(getattr(layer, option) is None, f"{where}: a {layer.kind} has no {option}; remove it")
    if unused:
        _demand(layer.combine == "pass" and not layer.leak_shifts, f"{where}: a {layer.kind} has no combine or leak")
        return TensorInfo((outputs, out_h, out_w), 1)
    for option in ("threshold", "current"):
        _check_vector(layer, option, outputs)
    _demand(layer.threshold is not None, f"{where}: a conv needs a threshold; use [Cout] integers")
    fine = len(layer.leak_shifts) <= MAX_LEAK_TERMS and all(shift in LEAK_SHIFTS for shift in layer.leak_shifts)
    _demand(fine, f"{where}: leak_shifts must be at most two of 1 to 4, not {layer.leak_shifts}")
    _demand(layer.reset in ("hard", "soft"), f"{where}: reset must be 'hard' or 'soft', not {layer.reset!r}")
    return TensorInfo((outputs, out_h, out_w), _check_shortcut(layer, (outputs, out_h, out_w), known))


def _check_stream(layer: QuantizedLayer, made: TensorInfo, streams: dict[str, TensorInfo]) -> None:
    where = f"layer {layer.name!r}"
    if layer.stream is None and not layer.keeps_stream:
        return
    _demand(layer.kind == "conv", f"{where}: a {layer.kind} has no membrane stream; remove it")
    if layer.stream is not None:
        fine = layer.stream in streams
        _demand(fine, f"{where}: unknown stream {layer.stream!r}; no earlier layer of that name keeps its stream")
        shape = streams[layer.stream].shape
        _demand(shape == made.shape, f"{where}: stream {layer.stream!r} has shape {shape}, the layer {made.shape}")


def _check_weight(layer: QuantizedLayer, channels: int, weight_bits: int) -> int:
    """Check weight and bias; returns the number of output channels."""
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
    return int(weight.shape[0])


def _check_vector(layer: QuantizedLayer, option: str, outputs: int) -> None:
    vector = getattr(layer, option)
    if vector is not None and (vector.shape != (outputs,) or vector.dtype.kind not in "iu"):
        raise NetworkError(
            f"layer {layer.name!r}: {option} must be {outputs} integers, not {vector.dtype}{vector.shape}"
        )


def _check_shortcut(layer: QuantizedLayer, shape: tuple[int, int, int], known: dict[str, TensorInfo]) -> int:
    """Check the shortcut and return the layer's largest output value."""
    where = f"layer {layer.name!r}"
    _demand(layer.combine in COMBINES, f"{where}: combine must be one of {', '.join(COMBINES)}, not {layer.combine!r}")
    use = "current" if layer.current is not None else layer.combine
    if layer.shortcut is None:
        _demand(use == "pass", f"{where}: {use} needs a shortcut")
        return 1
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
    return 1 + shortcut.max_value if use == "add" else 1
