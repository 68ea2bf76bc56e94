"""What a slab computes, from the golden model: its neurons' membranes and spikes, idle steps and lanes included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .golden import GoldenResult
from .occupancy import pad_tensor
from .program import Op, Program
from .quantized import QuantizedNetwork


@dataclass(frozen=True)
class SlabValues:
    """What one slab computes for one image, padded to whole groups and chunks.

    membrane, spike, stream (the kept input X): ``[tiles, chunks, Tp, P]``; written: bits
    ``[tiles, chunks, planes, P, Tp]``.
    """

    membrane: NDArray[np.int64]
    spike: NDArray[np.bool_]
    written: NDArray[np.uint8] | None
    stream: NDArray[np.int64] | None


def slab_values(
    config: CoreConfig,
    golden: GoldenResult,
    op: Op,
    program: Program,
    image: int,
    idle_input: NDArray[np.int64],
    plane: int = 0,
) -> list[SlabValues]:
    """What each group of an op computes for one image; ``plane``: which plane a stream's extraction writes."""
    layer, chunks, steps = op.layer, program.chunks, program.network.steps
    if op.extracts:
        membrane = golden.streams[layer.source][image].astype(np.int64)
        fired = (membrane >> (layer.shift + plane)) & 1 != 0
    else:
        membrane = golden.membranes[layer.name][image].astype(np.int64)  # [T, C, H, W]
        threshold = np.inf if layer.threshold is None else layer.threshold[None, :, None, None]
        fired = membrane >= threshold
    extended = _extend_membrane(op, membrane, fired, chunks * config.time_lanes, idle_input)
    wide_fired = np.zeros(extended.shape, bool)
    wide_fired[:steps] = fired
    grouped = _by_tile(pad_tensor(extended[None], config, chunks)[0])  # [G, tiles, chunks, Tp, P]
    spikes = _by_tile(pad_tensor(wide_fired[None].astype(np.uint8), config, chunks)[0]) != 0
    written = None
    if op.extracts:
        written = spikes[:, :, :, None].astype(np.uint8).transpose(0, 1, 2, 3, 5, 4)
    elif op.writes:
        out = _by_tile(pad_tensor(golden.tensors[layer.name][image][None].astype(np.int64), config, chunks)[0])
        bits = np.stack([(out >> bit) & 1 for bit in range(op.out_planes)], axis=3)
        written = bits.astype(np.uint8).transpose(0, 1, 2, 3, 5, 4)  # [G, tiles, chunks, planes, P, Tp]
    stream = None
    if layer.keeps_stream:
        kept = golden.streams[layer.name][image].astype(np.int64)
        idle = np.broadcast_to(idle_input[:, None, None], (chunks * config.time_lanes - steps, *kept.shape[1:]))
        stream = _by_tile(pad_tensor(np.concatenate([kept, idle])[None], config, chunks)[0])
    return [
        SlabValues(
            grouped[g],
            spikes[g],
            None if written is None else written[g],
            None if stream is None else stream[g],
        )
        for g in range(op.groups)
    ]


def idle_inputs(net: QuantizedNetwork) -> dict[str, NDArray[np.int64]]:
    """Input X of every layer in an idle step, ``[C]``: its bias, and that of the stream it reads."""
    inputs: dict[str, NDArray[np.int64]] = {}
    for name, info in net.tensors().items():
        inputs[name] = np.zeros(info.shape[0], np.int64)
    for layer in net.layers:
        if layer.kind == "stream":
            inputs[layer.name] = inputs[layer.source]
        elif layer.kind == "conv":
            own = inputs[layer.name] if layer.bias is None else layer.bias
            inputs[layer.name] = own + (inputs[layer.stream] if layer.stream else 0)
    return inputs


def _by_tile(padded: NDArray) -> NDArray:
    """``[chunks, Tp, G, P, H, W]`` to ``[G, tiles, chunks, Tp, P]``."""
    chunks, steps, groups, lanes, height, width = padded.shape
    return padded.transpose(2, 4, 5, 0, 1, 3).reshape(groups, height * width, chunks, steps, lanes)


def _extend_membrane(
    op: Op, membrane: NDArray[np.int64], fired: NDArray[np.bool_], steps: int, idle_input: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Membranes of the idle steps that fill up the last chunk: no input but ``idle_input``, no firing."""
    layer = op.layer
    missing = steps - len(membrane)
    if missing == 0:
        return membrane
    rows = list(membrane)
    if layer.kind == "readout":
        # A readout's running total does not move in idle steps.
        return np.concatenate([membrane, np.repeat(membrane[-1:], missing, axis=0)])
    h, spike = membrane[-1], fired[-1]
    driven = (np.maximum(idle_input, 0) if layer.rectify else idle_input)[:, None, None]
    threshold = layer.threshold[:, None, None] if layer.threshold is not None else 0
    for _ in range(missing):
        if layer.kind not in ("conv", "apply") or layer.stateless or layer.threshold is None:
            v = np.zeros_like(h)
        else:
            reset = {"hard": np.zeros_like(h), "soft": h - threshold, "none": h}[layer.reset]
            after = np.where(spike, reset, h)
            v = after - sum((after >> shift for shift in layer.leak_shifts), np.zeros_like(after))
            if layer.leak_factor is not None:
                v = (after * layer.leak_factor[0]) >> layer.leak_factor[1]
        h = v + driven
        spike = np.zeros_like(spike)
        rows.append(h)
    return np.stack(rows)
