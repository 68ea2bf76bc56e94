"""Buffer plan: where each tensor lives in the spike memory, by liveness.

A tensor of C channels, H x W pixels, A bit-planes and N chunks of Tp steps takes
``N * A * H * W * G`` words, G = ceil(C / P): word address = base + chunk * chunk_step +
plane * plane_step + pixel * G + group.  A layer whose shortcut is read for the last time
writes its result over it, in place: the shortcut word of a pixel is read before the result
of the same pixel is written.  Planes that only the later of such tensors need are free for others
until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .config import CoreConfig
from .errors import CompileError
from .quantized import INPUT, QuantizedLayer, QuantizedNetwork, TensorInfo


@dataclass(frozen=True)
class Buffer:
    """A tensor's place: ``base`` and the word steps of its axes."""

    base: int
    groups: int
    plane_step: int
    chunk_step: int
    planes: int
    chunks: int
    region: int

    @property
    def words(self) -> int:
        return self.chunks * self.planes * self.plane_step


class _Part(NamedTuple):
    """Words of a region from ``start`` up to ``end``, and the layer that first writes them."""

    start: int
    end: int
    first: int


@dataclass
class _Region:
    """Tensors that share one place, one after the other.

    ``firsts``: for each plane, the layer that first writes it; ``last``: the last that reads any.
    """

    firsts: list[int]
    last: int
    pixels: int
    groups: int
    chunks: int
    base: int = 0

    @property
    def planes(self) -> int:
        return len(self.firsts)

    @property
    def words(self) -> int:
        return self.chunks * self.planes * self.pixels * self.groups

    def parts(self) -> list[_Part]:
        """What lies in it, from its base on: neighbours that live equally long are one."""
        size = self.pixels * self.groups
        parts: list[_Part] = []
        for number, first in enumerate(self.firsts * self.chunks):
            start = number * size
            if parts and parts[-1].first == first:
                parts[-1] = _Part(parts[-1].start, start + size, first)
            else:
                parts.append(_Part(start, start + size, first))
        return parts


def tensors_read(layer: QuantizedLayer) -> list[str]:
    """Tensors that a layer reads; membrane streams are none."""
    source = [] if layer.kind in ("stream", "apply") else [layer.source]
    return source if layer.shortcut is None else [*source, layer.shortcut]


def stored_tensors(net: QuantizedNetwork) -> set[str]:
    """Tensors that lie in the spike memory: those that some layer reads."""
    return {name for layer in net.layers for name in tensors_read(layer)}


def last_uses(net: QuantizedNetwork) -> dict[str, int]:
    """Index of the last layer that reads each tensor (its own index if none does)."""
    last = {layer.name: index for index, layer in enumerate(net.layers)}
    last[INPUT] = 0
    for index, layer in enumerate(net.layers):
        for name in tensors_read(layer):
            last[name] = max(last[name], index)
    return last


def chunk_count(net: QuantizedNetwork, config: CoreConfig) -> int:
    """Chunks of Tp steps that T steps need."""
    return -(-net.steps // config.time_lanes)


def input_is_shared(net: QuantizedNetwork, config: CoreConfig) -> bool:
    """Whether one stored chunk serves every chunk: a static image and only whole chunks."""
    return net.input.static and net.steps % config.time_lanes == 0


def plan_buffers(net: QuantizedNetwork, config: CoreConfig) -> dict[str, Buffer]:
    """Give every tensor that is read a place.

    Raises
    ------
    CompileError: when the tensors that live at the same time do not fit the spike memory.
    """
    infos = net.tensors()
    last = last_uses(net)
    chunks = chunk_count(net, config)
    regions: list[_Region] = []
    region_of: dict[str, int] = {}

    def new_region(name: str, info: TensorInfo, index: int, count: int) -> None:
        channels, height, width = info.shape
        groups = -(-channels // config.output_lanes)
        region_of[name] = len(regions)
        regions.append(_Region([index] * info.planes, last[name], height * width, groups, count))

    new_region(INPUT, infos[INPUT], -1, 1 if input_is_shared(net, config) else chunks)
    stored = stored_tensors(net)
    for index, layer in enumerate(net.layers):
        if layer.name not in stored:
            continue
        shortcut = layer.shortcut
        if (
            shortcut is not None
            and shortcut != INPUT
            and last[shortcut] == index
            and infos[shortcut].shape == infos[layer.name].shape
            and region_of[shortcut] != region_of.get(layer.source if layer.kind != "apply" else "")
        ):
            region = regions[region_of[shortcut]]
            region_of[layer.name] = region_of[shortcut]
            region.last = max(region.last, last[layer.name])
            region.firsts += [index] * (infos[layer.name].planes - region.planes)
        else:
            new_region(layer.name, infos[layer.name], index, chunks)
    _place(regions, config, net)
    buffers = {}
    for name, number in region_of.items():
        region = regions[number]
        plane_step = region.pixels * region.groups
        shared = name == INPUT and region.chunks < chunks
        buffers[name] = Buffer(
            base=region.base,
            groups=region.groups,
            plane_step=plane_step,
            chunk_step=0 if shared else region.planes * plane_step,
            planes=region.planes,
            chunks=region.chunks,
            region=number,
        )
    return buffers


def _place(regions: list[_Region], config: CoreConfig, net: QuantizedNetwork) -> None:
    """First fit, largest first, or regions that grow before the others where that takes fewer words."""
    orders = (
        sorted(regions, key=lambda r: (-r.words, r.firsts[0])),
        sorted(regions, key=lambda r: (r.firsts[0] == r.firsts[-1], -r.words, r.firsts[0])),
    )
    needed, best = min((_fit(order), number) for number, order in enumerate(orders))
    _fit(orders[best])
    if needed > config.spike_depth:
        raise CompileError(
            f"network '{net.name}' needs {needed} words of spike memory, this core has {config.spike_depth}; "
            "use a larger board, fewer channels or pixels, or a core with a larger spike_depth"
        )


def _fit(order: list[_Region]) -> int:
    """Put each region where none of its parts meets one that is alive at the same time; words needed in all."""
    placed: list[_Region] = []
    for region in order:
        parts = region.parts()
        rivals = [
            (other.base + theirs.start - ours.end, other.base + theirs.end - ours.start)
            for other in placed
            for ours in parts
            if ours.first <= other.last
            for theirs in other.parts()
            if theirs.first <= region.last
        ]
        region.base = _first_free(rivals)
        placed.append(region)
    return max(region.base + region.words for region in order)


def _first_free(taken: list[tuple[int, int]]) -> int:
    """The smallest base from 0 on that lies strictly inside none of the intervals ``taken``."""
    base = 0
    for low, high in sorted(taken):
        if low < base < high:
            base = high
    return base
