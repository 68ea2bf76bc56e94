"""Stream plan: where each membrane stream lives in the stream memory, by liveness.

A stream keeps the input X of every neuron slot: a word holds the NU values of one slot, and the
words of a tile lie in slot order, so the neuron stage reads and writes them one after the other:
address = base + ((pixel * G + group) * chunks + chunk) * R + slot, R = P / NU * Tp.
Each of several engines has a stream memory of its own for the pixels of its rows, all alike.
A layer that reads a stream for the last time and keeps its own writes it in the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

from .buffers import chunk_count
from .config import CoreConfig
from .engines import engine_rows
from .errors import CompileError
from .quantized import QuantizedNetwork


@dataclass(frozen=True)
class StreamBuffer:
    """A stream's place; ``group_words``: words of one pixel's group (all chunks); ``groups``: G."""

    base: int
    group_words: int
    groups: int
    words: int

    @property
    def tile_step(self) -> int:
        """From the address of a tile's last slot to that of the next tile's first."""
        return (self.groups - 1) * self.group_words + 1


def plan_streams(net: QuantizedNetwork, config: CoreConfig) -> dict[str, StreamBuffer]:
    """Give every kept stream a place.

    Raises CompileError when the core has no stream memory, or too small a one.
    """
    keeping = [layer.name for layer in net.layers if layer.keeps_stream]
    if not keeping:
        return {}
    if config.stream_width == 0:
        raise CompileError(
            f"layer '{keeping[0]}': membrane streams need a core with a stream memory; use one with stream_width > 0"
        )
    plan = _places(net, config)
    needed = _end(plan)
    if needed > config.stream_depth:
        raise CompileError(
            f"network '{net.name}' needs {needed} words of stream memory, this core has {config.stream_depth}; "
            "use fewer channels or pixels, or a core with a larger stream_depth"
        )
    return plan


def stream_words(net: QuantizedNetwork, config: CoreConfig) -> int:
    """Words of stream memory that a network's streams need on a core of this shape."""
    return _end(_places(net, config))


def _end(plan: dict[str, StreamBuffer]) -> int:
    return max((buffer.base + buffer.words for buffer in plan.values()), default=0)


def _places(net: QuantizedNetwork, config: CoreConfig) -> dict[str, StreamBuffer]:
    """First fit, in the order of the layers."""
    last = {layer.name: index for index, layer in enumerate(net.layers)}
    for index, layer in enumerate(net.layers):
        for name in (layer.stream, layer.source if layer.kind in ("stream", "apply") else None):
            if name is not None:
                last[name] = index
    infos, rows = net.tensors(), engine_rows(net, config)
    group_words = chunk_count(net, config) * config.slots_per_chunk
    plan: dict[str, StreamBuffer] = {}
    for index, layer in enumerate(net.layers):
        if not layer.keeps_stream:
            continue
        if layer.stream is not None and last[layer.stream] == index:
            plan[layer.name] = plan[layer.stream]
            continue
        channels, _, width = infos[layer.name].shape
        groups = -(-channels // config.output_lanes)
        words = rows[layer.name] * width * groups * group_words
        # A stream that this very layer still reads is in use.
        busy = sorted(
            (buffer.base, buffer.base + buffer.words) for name, buffer in plan.items() if last[name] >= index
        )
        base = 0
        for start, end in busy:
            if base + words <= start:
                break
            base = max(base, end)
        plan[layer.name] = StreamBuffer(base, group_words, groups, words)
    return plan
