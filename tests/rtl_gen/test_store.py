# amaranth: UnusedElaboratable=no
"""The resting store: behaviour, and the SPRAM lowering."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from amaranth.vendor import LatticeICE40Platform, LatticePlatform

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError
from rtl_gen.store import ResidentStore, store_latency

SMALL = CoreConfig(store_depth=50)


class _Up5k(LatticeICE40Platform):
    device = "iCE40UP5K"
    package = "SG48"
    resources = ()
    connectors = ()
    default_clk = None


class _Hx8k(_Up5k):
    device = "iCE40HX8K"


class _Ecp5(LatticePlatform):
    device, package, speed = "LFE5U-25F", "CABGA381", "6"
    resources, connectors, default_clk = (), (), None


@pytest.mark.parametrize(
    ("kind", "platform", "depth"),
    [
        ("bram", None, 50),
        ("spram", None, 50),
        ("bram", _Hx8k(), 50),
        ("bram", _Hx8k(), 1536),  # two sections
        ("bram", _Ecp5(), 2548),
        ("bram", _Ecp5(), 2100),
    ],
)
def test_reads_what_was_written(kind, platform, depth):
    config = replace(SMALL, store=kind, store_depth=depth)
    rng = random.Random(1)
    init = [rng.randrange(1 << config.store_width) for _ in range(depth - 30)]
    expected = init + [0] * 30
    store = ResidentStore(config, init=init)
    latency = store_latency(config, platform)
    assert latency == (1 if isinstance(platform, _Hx8k) else 2)
    places = [*range(20), *range(500, 530), *range(1014, 1034), *range(2038, 2058), *range(depth - 20, depth)]
    places = [place for place in places if place < depth]

    async def bench(ctx):
        pipe = [None] * latency  # the words under way, the last one is seen; None: undefined
        for _ in range(700):
            addr, we, en = rng.choice(places), rng.random() < 0.2, rng.random() < 0.7
            word = rng.randrange(1 << config.store_width)
            ctx.set(store.write.we, we)
            ctx.set(store.write.addr, addr)
            ctx.set(store.write.data, word)
            ctx.set(store.read.en, en)
            ctx.set(store.read.addr, read := rng.choice(places))
            if en:
                pipe = [None if we else expected[read], *pipe[:-1]]
            elif we:
                pipe[0] = None
            if we:
                expected[addr] = word
            await ctx.tick()
            assert pipe[-1] is None or ctx.get(store.read.data) == pipe[-1]

    sim = Simulator(Fragment.get(store, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(
    ("depth", "width", "blocks"),
    [(16384, 64, 4), (4096, 64, 4), (16384, 32, 2), (32768, 32, 4), (32768, 64, 8), (65536, 32, 8), (16384, 128, 8)],
)
def test_spram_count(depth, width, blocks):
    config = replace(SMALL, store="spram", store_depth=depth)
    if width == 32:
        config = replace(config, weight_bits=4, acc_width=10, membrane_width=12)
    if width == 128:
        config = replace(config, output_lanes=16)
    assert config.store_width == width
    if blocks > 4:
        with pytest.raises(ConfigError, match=f"needs {blocks} SPRAM blocks, an UP5K has 4"):
            ResidentStore(config)
        return
    text = rtlil.convert(Fragment.get(ResidentStore(config), _Up5k()), ports=[], emit_src=False, name="store")
    assert text.count("cell \\SB_SPRAM256KA") == blocks


def test_spram_cannot_be_initialised_on_hardware():
    store = ResidentStore(replace(SMALL, store="spram"), init=[1])
    with pytest.raises(ConfigError, match="load the program over the host link"):
        Fragment.get(store, _Up5k())


def test_spram_needs_ultraplus():
    store = ResidentStore(replace(SMALL, store="spram"))
    with pytest.raises(ConfigError, match="iCE40HX8K has no SPRAM"):
        Fragment.get(store, _Hx8k())


def test_init_is_checked():
    with pytest.raises(ConfigError, match="51 words, the store 50"):
        ResidentStore(SMALL, init=[0] * 51)
    with pytest.raises(ConfigError, match="word 1 of the program image must fit 64 bits"):
        ResidentStore(SMALL, init=[0, 1 << 64])
