"""Lowering: an integer network in terms of what the core runs, with the same results.

MLF units become K layers that add up: level k fires on its own threshold and adds its spike to
the count of the levels before.  Pools become ``window`` layers, which compare a window's sum with a
threshold: a maximum of spikes is [sum >= 1], a maximum of counts is sum over k of the pooled
[x >= k], a sum is sum over k of [sum >= k].  A sum pool that only feeds convolutions disappears
into their kernels.  A layer with attention becomes one that keeps its X as a stream, for the gates, and
an ``apply`` that reads it back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import CompileError
from .quantized import IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo

#: Largest count that is pooled: a level costs a pass over the tensor.
MAX_POOLED = 64


def lower(net: QuantizedNetwork) -> QuantizedNetwork:
    """``net`` without MLF units, maxpool and sumpool layers; tensors keep their names.

    Raises CompileError for a pool of counts beyond ``MAX_POOLED``.
    """
    infos = net.tensors()
    layers: list[QuantizedLayer] = []
    folded: dict[str, QuantizedLayer] = {}
    for layer in net.layers:
        if layer.source in folded:
            layer = _through_pool(layer, folded[layer.source])
        if layer.kind == "sumpool" and _can_fold(layer, net, infos):
            folded[layer.name] = layer
        elif layer.kind == "maxpool":
            layers += _maxpool(layer, infos[layer.source])
        elif layer.kind == "sumpool":
            layers += _sumpool(layer, infos[layer.source])
        elif layer.kind in ("conv", "window") and layer.attention is not None:
            score, gated = _attention(layer)
            layers += [score, *(_levels(gated) if gated.levels is not None else [gated])]
        elif layer.levels is not None:
            layers += _levels(layer)
        else:
            layers.append(layer)
    return replace(net, layers=tuple(layers))


def _attention(layer: QuantizedLayer) -> tuple[QuantizedLayer, QuantizedLayer]:
    """What keeps X (with its ``attention``: that is what it is kept for), and the neurons on the gated X."""
    combines = layer.combine != "pass"
    score = replace(
        layer, name=f"{layer.name}/score", threshold=None, levels=None, leak_shifts=(), leak_factor=None, reset="hard",
        stateless=False, rectify=False, combine="pass", shortcut=None if combines else layer.shortcut,
        keeps_stream=True,
    )  # fmt: skip
    gated = QuantizedLayer(
        layer.name, "apply", score.name, None, (1, 1), threshold=layer.threshold, levels=layer.levels,
        leak_shifts=layer.leak_shifts, leak_factor=layer.leak_factor, reset=layer.reset,
        stateless=layer.stateless or layer.kind == "window", shortcut=layer.shortcut if combines else None,
        combine=layer.combine, attention=layer.attention, scale=layer.scale,
    )  # fmt: skip
    return score, gated


def _levels(layer: QuantizedLayer) -> list[QuantizedLayer]:
    """out_1 = g(A_1, S), out_k = A_k + out_(k-1); only the last keeps the stream."""
    assert layer.threshold is not None and layer.levels is not None
    thresholds = [layer.threshold, *layer.levels]
    made: list[QuantizedLayer] = []
    for number, threshold in enumerate(thresholds, 1):
        last = number == len(thresholds)
        one = replace(
            layer,
            name=layer.name if last else f"{layer.name}/{number}",
            threshold=threshold,
            levels=None,
            keeps_stream=layer.keeps_stream and last,
        )
        if made and layer.current is None:
            one = replace(one, shortcut=made[-1].name, combine="add")
        made.append(one)
    if layer.current is not None:
        raise CompileError(
            f"layer '{layer.name}': an MLF unit with a membrane shortcut does not map: its levels would need two "
            "shortcuts; make the shortcut a projection into its sum"
        )
    return made


def _window(layer: QuantizedLayer, name: str, least: int, channels: int, below: str | None) -> QuantizedLayer:
    """[window sum >= least], added to the tensor ``below``."""
    return QuantizedLayer(
        name, "window", layer.source, None, layer.kernel, layer.stride, layer.padding,
        threshold=np.full(channels, least, np.int64), shortcut=below, combine="pass" if below is None else "add",
    )  # fmt: skip


def _maxpool(layer: QuantizedLayer, source: TensorInfo) -> list[QuantizedLayer]:
    _demand_small(layer, source.max_value)
    made: list[QuantizedLayer] = []
    below: str | None = None
    for least in range(1, source.max_value + 1):
        name = layer.name if least == source.max_value else f"{layer.name}/{least}"
        pooled = layer
        if least > 1:  # [x >= least] first; [sum >= 1] says itself whether any x >= 1
            mask = replace(layer, kernel=(1, 1), stride=(1, 1), padding=(0, 0))
            made.append(_window(mask, f"{layer.name}/over{least - 1}", least, source.shape[0], None))
            pooled = replace(layer, source=made[-1].name)
        made.append(_window(pooled, name, 1, source.shape[0], below))
        below = name
    return made


def _sumpool(layer: QuantizedLayer, source: TensorInfo) -> list[QuantizedLayer]:
    most = source.max_value * layer.kernel[0] * layer.kernel[1]
    _demand_small(layer, most)
    made: list[QuantizedLayer] = []
    below: str | None = None
    for least in range(1, most + 1):
        name = layer.name if least == most else f"{layer.name}/{least}"
        made.append(_window(layer, name, least, source.shape[0], below))
        below = name
    return made


def _demand_small(layer: QuantizedLayer, most: int) -> None:
    if most > MAX_POOLED:
        raise CompileError(
            f"layer '{layer.name}': pools counts up to {most}, at most {MAX_POOLED} are mapped; "
            "pool before counts add up, use fewer input bits, or a strided convolution"
        )


def _can_fold(pool: QuantizedLayer, net: QuantizedNetwork, infos: dict[str, TensorInfo]) -> bool:
    """Whether every reader of a sum pool is a convolution that can take the pool into its kernel.

    Where windows overlap the weights would add up, beyond their bits.  A reader with padding reads
    zeros where the pool's output ends, and the larger kernel must read zeros there, too: the pool's
    windows must tile its source exactly.
    """
    _, height, width = infos[pool.source].shape
    tiles = all(
        kernel == stride and (size + 2 * pad) % stride == 0 and pad == 0
        for kernel, stride, size, pad in zip(pool.kernel, pool.stride, (height, width), pool.padding, strict=True)
    )
    if any(kernel > stride for kernel, stride in zip(pool.kernel, pool.stride, strict=True)):
        return False
    for layer in net.layers:
        if layer.shortcut == pool.name:
            return False
        if layer.source == pool.name and layer.kind != "stream":
            if layer.kind not in ("conv", "readout"):
                return False
            if not tiles and layer.padding != (0, 0):
                return False
    return True


def _through_pool(layer: QuantizedLayer, pool: QuantizedLayer) -> QuantizedLayer:
    """``layer`` reading the pool's source: each weight repeated over the pool's window."""
    assert layer.weight is not None
    (kh, kw), (sh, sw), (ph, pw) = pool.kernel, pool.stride, pool.padding
    cout, cin, rows, columns = layer.weight.shape
    weight: IntArray = np.zeros((cout, cin, (rows - 1) * sh + kh, (columns - 1) * sw + kw), np.int64)
    for y in range(rows):
        for x in range(columns):
            weight[:, :, y * sh : y * sh + kh, x * sw : x * sw + kw] += layer.weight[:, :, y, x, None, None]
    return replace(
        layer,
        source=pool.source,
        weight=weight,
        kernel=(weight.shape[2], weight.shape[3]),
        stride=(layer.stride[0] * sh, layer.stride[1] * sw),
        padding=(layer.padding[0] * sh + ph, layer.padding[1] * sw + pw),
    )
