"""The write-back against counts and a direct formula for every address."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from refmodel.config import CoreConfig
from refmodel.layout import CombineOp
from rtl_gen import carry
from rtl_gen.writeback import WriteBack
from tests.rtl_gen.lattice_cells import Cell

CONFIG = CoreConfig(spike_depth=1024)
WIDTH = CONFIG.spike_width
SPACE = 1 << CONFIG.spike_addr_bits
FUNCTIONS: dict[str, tuple[CombineOp, Callable[[int, int], int]]] = {
    "add": (CombineOp.ADD, lambda a, s: a + s),
    "and": (CombineOp.AND, lambda a, s: a * s),
    "iand": (CombineOp.IAND, lambda a, s: (1 - a) * s),
    "or": (CombineOp.OR, lambda a, s: a + s - a * s),
}


@dataclasses.dataclass
class Slab:
    """A slab's results: ``pixels`` x ``chunks`` words, each into ``out_planes`` planes."""

    rng: random.Random
    combine: str
    sc_planes: int
    use_current: bool = False
    readout: bool = False

    def __post_init__(self) -> None:
        rng = self.rng
        self.pixels, self.chunks = rng.randrange(1, 6), rng.randrange(1, 4)
        self.out_planes = 1
        if self.combine == "add" and not self.use_current:
            self.out_planes = self.sc_planes + 1 if self.sc_planes else 1
        self.base, self.plane_step, self.chunk_step, self.groups = (rng.randrange(SPACE) for _ in range(4))

    def address(self, pixel=0, chunk=0, plane=0) -> int:
        return self.base + pixel * self.groups + chunk * self.chunk_step + plane * self.plane_step

    def descriptor(self) -> dict[str, int]:
        top, end = self.out_planes - 1, self.chunks - 1
        steps = {
            "dst": self.address(),
            "dst_plane_step": self.address(plane=1) - self.address(),
            "dst_chunk_step": self.address(chunk=1) - self.address(plane=top),
            "dst_pixel_step": self.address(pixel=1) - self.address(plane=top, chunk=end),
        }
        return {name: step % SPACE for name, step in steps.items()} | {
            "out_planes_last": top,
            "chunks_last": end,
            "combine": int(FUNCTIONS[self.combine][0]),
            "sc_planes": self.sc_planes,
            "use_current": int(self.use_current),
            "readout": int(self.readout),
        }


def run(slabs: list[Slab], rng: random.Random, platform: Any = None) -> None:
    """Words at random distances, as close as the configuration allows, on one write-back."""
    dut = WriteBack(config=CONFIG)
    shortcuts: deque[int] = deque()
    popped = False

    async def tick(ctx) -> None:
        """The oldest shortcut word shows, and the next one two clocks after a pop."""
        nonlocal popped
        pops = ctx.get(dut.shortcut_pop)
        await ctx.tick()
        if popped:
            shortcuts.popleft()
        popped = pops
        ctx.set(dut.shortcut_word, shortcuts[0] if shortcuts else rng.getrandbits(WIDTH))

    async def bench(ctx):
        for slab in slabs:
            ctx.set(dut.descriptor, slab.descriptor())
            ctx.set(dut.restart, 1)
            await tick(ctx)
            ctx.set(dut.restart, 0)
            await tick(ctx)
            for pixel in range(slab.pixels):
                for chunk in range(slab.chunks):
                    await one_word(ctx, slab, pixel, chunk)
            await tick(ctx)
            assert not shortcuts

    async def one_word(ctx, slab: Slab, pixel: int, chunk: int) -> None:
        own = [rng.randrange(2) for _ in range(WIDTH)]
        top = (1 << slab.sc_planes) - 1
        counts = [rng.choice([0, top, rng.randrange(top + 1)]) for _ in range(WIDTH)]
        combines = slab.sc_planes and not slab.use_current and not slab.readout
        if combines:
            shortcuts.extend(sum((s >> p & 1) << i for i, s in enumerate(counts)) for p in range(slab.sc_planes))
        function = FUNCTIONS[slab.combine][1] if combines else lambda a, s: a
        results = [function(a, s) for a, s in zip(own, counts, strict=True)]
        planes = 0 if slab.readout else slab.out_planes
        ctx.set(dut.word_soon, 1)
        assert not ctx.get(dut.write_en) and not ctx.get(dut.shortcut_pop) and not ctx.get(dut.finished)
        await tick(ctx)
        ctx.set(dut.word_soon, 0)
        ctx.set(dut.word_valid, 1)
        inverted = slab.combine == "iand"
        ctx.set(dut.word, sum((bit ^ inverted) << i for i, bit in enumerate(own)))
        assert ctx.get(dut.finished) == slab.readout
        assert not ctx.get(dut.write_en)
        await tick(ctx)
        ctx.set(dut.word_valid, 0)
        ctx.set(dut.word, rng.getrandbits(WIDTH))
        for plane in range(planes):
            assert ctx.get(dut.write_en)
            assert ctx.get(dut.write_addr) == slab.address(pixel, chunk, plane) % SPACE
            assert ctx.get(dut.write_data) == sum((r >> plane & 1) << i for i, r in enumerate(results))
            assert ctx.get(dut.finished) == (plane == planes - 1)
            await tick(ctx)
        closest = CoreConfig.NEURON_LOOP  # clocks between words of the smallest core
        for _ in range(max(0, closest - 2 - planes) + rng.choice([0, 0, 1, 5])):
            assert not ctx.get(dut.write_en) and not ctx.get(dut.shortcut_pop) and not ctx.get(dut.finished)
            await tick(ctx)

    sim = Simulator(Fragment.get(dut, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("combine", FUNCTIONS)
def test_addresses_and_numbers(combine: str) -> None:
    rng = random.Random(combine)
    run([Slab(rng, combine, rng.randrange(1, 7) if combine == "add" else 1) for _ in range(8)], rng)


@pytest.mark.parametrize("board", [None, "ulx3s_85f"])
def test_slabs_of_every_kind_in_turn(board: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "Instance", Cell)
    rng = random.Random(1)
    kinds = [("add", 0), ("add", 7), ("and", 1), ("add", 1), ("or", 1), ("iand", 1)]
    slabs = [Slab(rng, combine, planes) for combine, planes in kinds]
    slabs.insert(2, Slab(rng, "add", 1, use_current=True))  # the queue belongs to the neurons
    slabs.insert(4, Slab(rng, "add", 0, readout=True))
    run(slabs + slabs[::-1], rng, None if board is None else get_board(board).platform())
