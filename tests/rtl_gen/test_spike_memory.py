"""The spike memory against an array, whole and in the slices that iCE40 gets."""

from __future__ import annotations

import dataclasses
import random

import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from amaranth.vendor import LatticeICE40Platform

from refmodel.config import CoreConfig
from rtl_gen.spike_memory import SpikeMemory


class _Up5k(LatticeICE40Platform):
    device = "iCE40UP5K"
    package = "SG48"
    resources = ()
    connectors = ()
    default_clk = None


@pytest.mark.parametrize("depth", [100, 300, 512, 1024, 4096])
@pytest.mark.parametrize("platform", [None, _Up5k()], ids=["whole", "ice40"])
def test_reads_what_was_written(depth: int, platform: LatticeICE40Platform | None) -> None:
    config = dataclasses.replace(CoreConfig(), spike_depth=depth)
    rng = random.Random(depth)
    dut = SpikeMemory(config=config)
    m = Module()
    m.submodules.memory = Fragment.get(dut, platform)

    async def bench(ctx):
        contents = [0] * depth
        shown = None  # the word that the read port must hold
        hot = [*rng.sample(range(depth), 6), 0, depth - 1]
        for _ in range(600):
            assert shown is None or ctx.get(dut.read.data) == shown
            write, read = rng.random() < 0.5, rng.random() < 0.6
            to, at, word = rng.choice(hot), rng.choice(hot), rng.getrandbits(config.spike_width)
            if to == at:
                write = False
            ctx.set(dut.write.en, write)
            ctx.set(dut.write.addr, to)
            ctx.set(dut.write.data, word)
            ctx.set(dut.read.en, read)
            ctx.set(dut.read.addr, at)
            await ctx.tick()
            if read:
                shown = contents[at]
            if write:
                contents[to] = word

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(("depth", "slices"), [(256, 2), (512, 4), (1024, 8), (2048, 16), (8192, 16)])
def test_ice40_slices_are_as_deep_as_the_memory(depth: int, slices: int) -> None:
    """32 bits in block RAMs of 16, 8, 4 or 2 bits."""
    config = dataclasses.replace(CoreConfig(), spike_depth=depth)
    fragment = Fragment.get(SpikeMemory(config=config), _Up5k())
    text = rtlil.convert(fragment, ports=[], emit_src=False, name="memory")
    assert text.count("cell $memrd_v2") == slices
