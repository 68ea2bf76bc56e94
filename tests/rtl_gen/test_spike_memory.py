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
from rtl_gen.spike_memory import SpikeMemory, ice40_blocks, ice40_sections


class _Up5k(LatticeICE40Platform):
    device = "iCE40UP5K"
    package = "SG48"
    resources = ()
    connectors = ()
    default_clk = None


@pytest.mark.parametrize("depth", [100, 300, 512, 1024, 1280, 1536, 1792, 4096])
@pytest.mark.parametrize("platform", [None, _Up5k()], ids=["whole", "ice40"])
def test_reads_what_was_written(depth: int, platform: LatticeICE40Platform | None) -> None:
    config = dataclasses.replace(CoreConfig(), spike_depth=depth)
    rng = random.Random(depth)
    dut = SpikeMemory(config=config)
    m = Module()
    m.submodules.memory = Fragment.get(dut, platform)

    lanes = config.event_lanes
    width = config.spike_width // lanes

    async def bench(ctx):
        contents = [0] * depth
        # The slices that the memories read last, and those that the ports must show.
        read_last: list[int | None] = [None] * lanes
        shown: list[int | None] = [None] * lanes
        edges = [word for word in (1023, 1024, 1279, 1280, 1535, 1536) if word < depth]
        hot = [*rng.sample(range(depth), 6), 0, depth - 1, *edges]
        for _ in range(600):
            for k, port in enumerate(dut.reads):
                assert shown[k] is None or ctx.get(port.data) == shown[k]
            write, to, word = rng.random() < 0.5, rng.choice(hot), rng.getrandbits(config.spike_width)
            reads = [(rng.random() < 0.6, rng.choice(hot)) for _ in range(lanes)]
            moves = [rng.random() < 0.6 for _ in range(lanes)]
            write = write and all(at != to for _, at in reads)
            ctx.set(dut.write.en, write)
            ctx.set(dut.write.addr, to)
            ctx.set(dut.write.data, word)
            for port, (read, at), move in zip(dut.reads, reads, moves, strict=True):
                ctx.set(port.en, read)
                ctx.set(port.addr, at)
                ctx.set(port.move, move)
            await ctx.tick()
            for k, (read, at) in enumerate(reads):
                if moves[k]:
                    shown[k] = read_last[k]
                if read:
                    read_last[k] = contents[at] >> k * width & ((1 << width) - 1)
            if write:
                contents[to] = word

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(("depth", "blocks"), [(256, 1), (300, 2), (512, 2), (1024, 4), (2048, 8), (8192, 8)])
def test_ice40_slices_are_as_deep_as_the_memory(depth: int, blocks: int) -> None:
    """16 bits of a lane in block RAMs of 16, 8, 4 or 2 bits."""
    config = dataclasses.replace(CoreConfig(), spike_depth=depth)
    fragment = Fragment.get(SpikeMemory(config=config), _Up5k())
    text = rtlil.convert(fragment, ports=[], emit_src=False, name="memory")
    assert text.count("cell $memrd_v2") == blocks * config.event_lanes
    assert blocks == ice40_blocks(min(depth, 2048), config.spike_width // config.event_lanes)


def test_sections_save_block_rams() -> None:
    """A depth between two powers of two is not paid for as the larger one."""
    assert ice40_sections(1536, 32) == (1024, 512) and ice40_blocks(1536, 32) == 12
    assert ice40_sections(1280, 32) == (1024, 256) and ice40_blocks(1280, 32) == 10
    assert ice40_sections(1792, 32) == (1024, 512, 256) and ice40_blocks(1792, 32) == 14
    assert ice40_sections(300, 32) == (300,) and ice40_blocks(300, 32) == 4
