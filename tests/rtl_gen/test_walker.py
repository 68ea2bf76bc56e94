"""The window walker against nested loops, with random stalls."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import Flag
from rtl_gen.walker import WindowWalker

CONFIG = CoreConfig(spike_depth=4096, bank_depth=1024, chunk_bits=3, dim_bits=6)
SPACE = 1 << CONFIG.spike_addr_bits
Item = dict[str, int]


class Window:
    """A slab's geometry, and where each word lies."""

    def __init__(self, rng: random.Random, *, shared: bool = False, shortcut: bool = False, tall: bool = False):
        self.in_h, self.in_w = rng.randrange(1, 6), rng.randrange(1, 6)
        self.kernel = (rng.randrange(1, 4), rng.randrange(1, 4))
        self.stride = (rng.randrange(1, 4), rng.randrange(1, 4))
        self.pad = tuple(rng.randrange(k) for k in self.kernel)
        self.shared = shared
        self.words = 1 if shared else rng.randrange(1, 4)
        self.groups = self.words + rng.randrange(2) if shared else self.words
        self.planes, self.chunks = rng.randrange(1, 4), rng.randrange(1, 4)
        if tall:
            self.in_h, self.in_w, self.kernel, self.stride, self.pad = 1, 60, (3, 15), (15, 15), (2, 14)
        axes = zip((self.in_h, self.in_w), self.pad, self.kernel, self.stride, strict=True)
        self.out_h, self.out_w = (max(0, n + 2 * p - k) // s + 1 for n, p, k, s in axes)
        self.base = rng.randrange(SPACE)
        self.plane_step = rng.randrange(SPACE)
        self.chunk_step = rng.choice([0, rng.randrange(SPACE)])
        self.sc_planes = rng.randrange(1, 4) if shortcut else 0
        self.sc_base, self.sc_plane_step, self.sc_chunk_step, self.sc_groups = (rng.randrange(SPACE) for _ in range(4))

    def address(self, oy=0, ox=0, chunk=0, plane=0, ky=0, kx=0) -> int:
        """Of the first channel word of a tap; linear, so that it means something outside the input too."""
        y = oy * self.stride[0] - self.pad[0] + ky
        x = ox * self.stride[1] - self.pad[1] + kx
        return self.base + chunk * self.chunk_step + plane * self.plane_step + (y * self.in_w + x) * self.groups

    def sc_address(self, oy=0, ox=0, chunk=0, plane=0) -> int:
        pixel = oy * self.out_w + ox
        return self.sc_base + chunk * self.sc_chunk_step + plane * self.sc_plane_step + pixel * self.sc_groups

    def items(self) -> Iterator[Item]:
        for oy in range(self.out_h):
            for ox in range(self.out_w):
                for chunk in range(self.chunks):
                    yield from self.tile(oy, ox, chunk)

    def tile(self, oy: int, ox: int, chunk: int) -> Iterator[Item]:
        last_tile = (oy, ox, chunk) == (self.out_h - 1, self.out_w - 1, self.chunks - 1)
        for plane in reversed(range(self.planes)):
            for ky in range(self.kernel[0]):
                for kx in range(self.kernel[1]):
                    y, x = oy * self.stride[0] - self.pad[0] + ky, ox * self.stride[1] - self.pad[1] + kx
                    inside = 0 <= y < self.in_h and 0 <= x < self.in_w
                    last_tap = (ky, kx) == (self.kernel[0] - 1, self.kernel[1] - 1)
                    for word in range(self.words if inside else 1):
                        item = {"empty": int(not inside), "shortcut": 0, "flag": int(Flag.NONE)}
                        if inside:
                            tap = 0 if self.shared else ky * self.kernel[1] + kx
                            item["addr"] = (self.address(oy, ox, chunk, plane, ky, kx) + word) % SPACE
                            item["tag"] = tap * self.words + word
                        if last_tap and (word == self.words - 1 or not inside):
                            end = Flag.DRAIN_LAST if last_tile else Flag.DRAIN
                            item["flag"] = int(Flag.SHIFT if plane else end)
                        yield item
        for plane in range(self.sc_planes):
            yield {"empty": 0, "shortcut": 1, "flag": 0, "addr": self.sc_address(oy, ox, chunk, plane) % SPACE}

    def descriptor(self) -> dict[str, int]:
        """Each step is the difference of the address after it and the one before."""
        last = {"plane": 0, "ky": self.kernel[0] - 1, "kx": self.kernel[1] - 1}  # the end of a chunk
        end = {**last, "chunk": self.chunks - 1}
        top = self.planes - 1
        sc_end = {"chunk": self.chunks - 1, "plane": self.sc_planes - 1}
        steps = {
            "src": self.address(plane=top),
            "tap_step": self.address(kx=1) - self.address(),
            "row_step": self.address(ky=1) - self.address(kx=last["kx"]),
            "plane_step": self.address() - self.address(**{**last, "plane": 1}),
            "chunk_step": self.address(chunk=1, plane=top) - self.address(**last),
            "tile_x_step": self.address(ox=1, plane=top) - self.address(**end),
            "tile_y_step": self.address(oy=1, plane=top) - self.address(ox=self.out_w - 1, **end),
            "sc": self.sc_address(),
            "sc_plane_step": self.sc_address(plane=1) - self.sc_address(),
            "sc_chunk_step": self.sc_address(chunk=1) - self.sc_address(plane=self.sc_planes - 1),
            "sc_pixel_step": self.sc_address(ox=1) - self.sc_address(**sc_end),
        }
        return {name: step % SPACE for name, step in steps.items()} | {
            "words_last": self.words - 1,
            "kernel_x_last": self.kernel[1] - 1,
            "kernel_y_last": self.kernel[0] - 1,
            "origin_x": -self.pad[1],
            "origin_y": -self.pad[0],
            "stride_x": self.stride[1],
            "stride_y": self.stride[0],
            "in_x": self.in_w,
            "in_y": self.in_h,
            "out_x_last": self.out_w - 1,
            "out_y_last": self.out_h - 1,
            "planes_last": top,
            "chunks_last": self.chunks - 1,
            "shared_taps": int(self.shared),
            "sc_planes": self.sc_planes,
        }


def walk(windows: list[Window], advance: Callable[[], bool]) -> int:
    """Walk each slab in turn on one walker; returns how many items were compared."""
    dut = WindowWalker(config=CONFIG)
    count = 0

    async def bench(ctx):
        nonlocal count
        for window in windows:
            ctx.set(dut.descriptor, window.descriptor())
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for item in window.items():
                taken = False
                while not taken:
                    assert ctx.get(dut.valid)
                    assert {name: ctx.get(getattr(dut, name)) for name in item} == item
                    taken = advance()
                    ctx.set(dut.advance, taken)
                    await ctx.tick()
                count += 1
            for _ in range(3):
                assert not ctx.get(dut.valid)
                ctx.set(dut.advance, advance())
                await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return count


@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize("option", ["plain", "shared", "shortcut"])
def test_nested_loops(option: str, stalls: float) -> None:
    rng, options = random.Random(f"{option} {stalls}"), {} if option == "plain" else {option: True}
    windows: list[Window] = []
    while len(windows) < 25:
        window = Window(rng, **options)
        if sum(1 for _ in window.items()) < 500:
            windows.append(window)
    assert walk(windows, lambda: rng.random() >= stalls) > 500


def test_largest_kernel_stride_and_padding() -> None:
    walk([Window(random.Random(seed), tall=True) for seed in range(2)], lambda: True)


def test_the_smallest_slab_is_one_item() -> None:
    window = Window(random.Random(0))
    window.in_h = window.in_w = window.out_h = window.out_w = window.words = window.planes = window.chunks = 1
    window.kernel, window.pad, window.stride = (1, 1), (0, 0), (1, 1)
    assert walk([window, window], lambda: True) == 2
