"""Random slabs for the tests of the fetch: their geometry, descriptor and items, by nested loops."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from refmodel.config import CoreConfig
from refmodel.layout import Flag


@dataclass(frozen=True)
class Item:
    """Addresses of an item's words, lowest first, and the weight tag of the first."""

    words: tuple[int, ...]
    tag: int
    flag: int = Flag.NONE
    shortcut: bool = False


class Window:
    """A slab's geometry."""

    def __init__(
        self,
        rng: random.Random,
        config: CoreConfig,
        *,
        shared: bool = False,
        shortcut: bool = False,
        silent: bool = False,
        most: int = 5,
    ):
        self.config, self.shared, self.silent = config, shared, silent
        self.kernel = (rng.randrange(1, 4), rng.randrange(1, 4))
        self.stride = (rng.randrange(1, 4), rng.randrange(1, 4))
        self.pad = (rng.randrange(self.kernel[0]), rng.randrange(self.kernel[1]))
        sides = zip(self.kernel, self.pad, strict=True)
        self.size = tuple(max(rng.randrange(1, most + 1), k - 2 * p) for k, p in sides)
        self.groups = rng.randrange(1, 4)
        self.planes, self.chunks = rng.randrange(1, 4), rng.randrange(1, 3)
        axes = zip(self.size, self.pad, self.kernel, self.stride, strict=True)
        self.out = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in axes)
        if silent:
            self.size = self.stride = (0, 0)
        self.group = rng.randrange(self.groups) if shared else 0
        plane = self.size[0] * self.size[1] * self.groups
        self.plane_step = plane + rng.randrange(3)
        self.chunk_step = self.planes * self.plane_step + rng.randrange(3)
        self.base = rng.randrange(5)
        self.sc_planes = rng.randrange(1, 3) if shortcut else 0
        self.sc_base = self.base + self.chunks * self.chunk_step
        self.sc_groups = 2
        self.sc_plane_step = self.out[0] * self.out[1] * self.sc_groups
        self.sc_chunk_step = self.sc_planes * self.sc_plane_step
        self.top_tag = 0
        if config.signed_sources and not shared:
            self.top_tag = self.kernel[0] * self.kernel[1] * self.groups
        self.depth = self.sc_base + self.chunks * self.sc_chunk_step

    def descriptor(self) -> dict[str, int]:
        """The fields that the window walker reads."""
        (h, w), (kh, kw), (sh, sw), (ph, pw), g = self.size, self.kernel, self.stride, self.pad, self.groups
        sc_last = (self.sc_planes - 1) * self.sc_plane_step
        return {
            "src": self.base + (self.planes - 1) * self.plane_step + self.group,
            "line_words": w * g,
            "kernel_last": (kw - 1) * g if self.shared else kw * g - 1,
            "origin_x": -pw * g,
            "line_last": (w - 1) * g if self.shared else w * g - 1,
            "stride_x": sw * g,
            "tap_words": g if self.shared else 0,
            "kernel_y_last": kh - 1,
            "origin_y": -ph,
            "slack_y": h - kh + ph,
            "stride_y": sh,
            "first_row": -ph % sh * w * g if sh else 0,
            "row_step": sh * w * g,
            "tag_y": ph * kw * g,
            "tag_y_step": sh * kw * g,
            "plane_step": -self.plane_step,
            "chunk_step": self.chunk_step + (self.planes - 1) * self.plane_step,
            "out_x_last": self.out[1] - 1,
            "out_y_last": self.out[0] - 1,
            "planes_last": self.planes - 1,
            "chunks_last": self.chunks - 1,
            "shared_taps": int(self.shared),
            "sc": self.sc_base,
            "sc_plane_step": self.sc_plane_step,
            "sc_chunk_step": self.sc_chunk_step - sc_last,
            "sc_pixel_step": self.sc_groups - sc_last - (self.chunks - 1) * self.sc_chunk_step,
            "sc_planes": self.sc_planes,
        } | ({"top_tag": self.top_tag} if self.config.signed_sources else {})

    def items(self) -> Iterator[Item]:
        for oy in range(self.out[0]):
            for ox in range(self.out[1]):
                top = oy * self.stride[0] - self.pad[0]
                inside = sum(0 <= y < self.size[0] for y in range(top, top + self.kernel[0]))
                if max(1, inside) * self.planes * self.chunks == 1 and not self.sc_planes:
                    yield Item((), 0)
                for chunk in range(self.chunks):
                    for plane in range(self.sc_planes):
                        pixel = (oy * self.out[1] + ox) * self.sc_groups
                        address = self.sc_base + chunk * self.sc_chunk_step + plane * self.sc_plane_step + pixel
                        yield Item((address,), 0, shortcut=True)
                    for plane in reversed(range(self.planes)):
                        items = list(self._plane(oy, ox, chunk, plane))
                        flag = Flag.SHIFT if plane else Flag.DRAIN
                        if (oy, ox, chunk, plane) == (self.out[0] - 1, self.out[1] - 1, self.chunks - 1, 0):
                            flag = Flag.DRAIN_LAST
                        yield from items[:-1]
                        yield Item(items[-1].words, items[-1].tag, flag)

    def _plane(self, oy: int, ox: int, chunk: int, plane: int) -> Iterator[Item]:
        """At least one item; no flags yet."""
        y0, x0 = oy * self.stride[0] - self.pad[0], ox * self.stride[1] - self.pad[1]
        start = self.base + chunk * self.chunk_step + plane * self.plane_step + self.group
        top = self.top_tag if plane == self.planes - 1 else 0
        found = False
        for ky in range(self.kernel[0]):
            words: list[tuple[int, int]] = []  # address, tag
            for kx in range(self.kernel[1]):
                y, x = y0 + ky, x0 + kx
                if 0 <= y < self.size[0] and 0 <= x < self.size[1]:
                    pixel = start + (y * self.size[1] + x) * self.groups
                    tap = top + (ky * self.kernel[1] + kx) * self.groups
                    words += [(pixel + g, tap + g) for g in range(1 if self.shared else self.groups)]
            rows: dict[int, list[tuple[int, int]]] = {}
            for number, word in enumerate(words):
                rows.setdefault(number if self.shared else word[0] // self.config.scan_words, []).append(word)
            for part in rows.values():
                found = True
                yield Item(tuple(address for address, _ in part), 0 if self.shared else part[0][1])
        if not found:
            yield Item((), 0)


def random_windows(rng: random.Random, config: CoreConfig, count: int, most: int = 5) -> list[Window]:
    """Windows of all kinds that fit the spike memory and the weight banks."""
    found: list[Window] = []
    while len(found) < count:
        kind = len(found) % 4
        window = Window(
            rng, config, shared=kind == 1, shortcut=kind in (1, 2), silent=kind == 3 and rng.random() < 0.5, most=most
        )
        tags = window.kernel[0] * window.kernel[1] * window.groups + window.top_tag
        if window.depth <= config.spike_depth and tags <= 1 << config.tag_bits:
            found.append(window)
    return found
