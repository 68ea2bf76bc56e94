# amaranth: UnusedElaboratable=no
"""A program's words from a flash and from an SDRAM, pulled at random times: every word, at the predicted clock."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from amaranth.vendor import LatticeICE40Platform

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError
from refmodel.store_stream import PULL_TO_BEGIN, SDRAM_REFRESH, StreamTiming, stream_timing
from rtl_gen.flash_reader import FlashReader
from rtl_gen.flash_stream import FlashStream
from rtl_gen.sdram import SdramController
from rtl_gen.stream_store import StreamStore
from sim.flash_model import FlashModel
from sim.sdram_model import SdramModel, Times

WORDS = 300
OFFSET = 0x12345


def image(config: CoreConfig) -> list[int]:
    rng = random.Random(config.store_width)
    return [rng.getrandbits(config.store_width) for _ in range(WORDS)]


class Bench(wiring.Component):
    """A store, its source and a memory that holds :func:`image`."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({"begin": In(1), "en": In(1), "stall": Out(1), "data": Out(config.store_width),
                          "ready": Out(1), "fault": Out(5)})  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        m.submodules.store = store = StreamStore(config)
        m.d.comb += [
            store.begin.eq(self.begin),
            store.read.en.eq(self.en),
            self.stall.eq(store.stall),
            self.data.eq(store.read.data),
        ]
        size = config.store_width // 8
        content = b"".join(word.to_bytes(size, "little") for word in image(config))
        if config.store == "flash":
            m.submodules.reader = reader = FlashReader(addresses=(OFFSET,), wake=100)
            m.submodules.stream = stream = FlashStream(config)
            m.submodules.flash = flash = FlashModel(content, base=OFFSET)
            wiring.connect(m, reader.spi, flash.spi)
            wiring.connect(m, store.words, stream.words)
            m.d.comb += [
                reader.go.eq(stream.go),
                reader.want.eq(stream.want),
                stream.open.eq(reader.open),
                stream.valid.eq(reader.valid),
                stream.byte.eq(reader.byte),
                self.ready.eq(reader.awake),
                self.fault.eq(flash.fault),
            ]
            return m
        m.domains.part = part = ClockDomain("part")
        m.d.comb += [part.clk.eq(~ClockSignal()), part.rst.eq(ResetSignal())]
        step = 1 << (size // 2 - 1).bit_length()
        halves = []
        for at in range(0, len(content), size):
            word = content[at : at + size] + bytes(2 * step - size)
            halves += [int.from_bytes(word[i : i + 2], "little") for i in range(0, len(word), 2)]
        m.submodules.controller = controller = SdramController(config, pause=20)
        sdram = SdramModel(words=len(halves) + 64 * step, init=halves, times=Times(power_up_us=0.3))
        m.submodules.sdram = DomainRenamer("part")(sdram)
        wiring.connect(m, controller.pins, sdram.pins)
        wiring.connect(m, store.words, controller.words)
        m.d.comb += [self.ready.eq(controller.ready), self.fault.eq(sdram.rule)]
        return m


def predicted(timing: StreamTiming, gaps: list[int]) -> list[int]:
    """Clocks of the pulls, if one is wanted so many clocks after the one before (the first: after the start)."""
    pulls: list[int] = []
    now, ready, row, due = 0, timing.first, -1, timing.first
    for j, gap in enumerate(gaps):
        room = pulls[j - timing.depth] + PULL_TO_BEGIN if j >= timing.depth else 0
        while (timing.interval and due <= ready) or room > ready:
            if timing.interval and due <= ready:
                ready, due, row = ready + timing.refresh, due + timing.interval, -1
            else:
                ready = min(room, due) if timing.interval else room
        ready += timing.row_open if row < 0 else timing.row_change if row != j // timing.row_words else 0
        row = j // timing.row_words
        ready += timing.word
        now = max(now + gap, ready + timing.latency)
        pulls.append(now)
    return pulls


CONFIGS = {
    "flash": CoreConfig(store="flash", store_fifo=4),
    "flash2": CoreConfig(store="flash", store_fifo=2, output_lanes=4, neuron_units=1, weight_bits=4),
    "sdram": CoreConfig(store="sdram", store_fifo=16),
    "sdram2": CoreConfig(store="sdram", store_fifo=2, acc_width=20, membrane_width=30),  # 5 columns
    "sdram128": CoreConfig(store="sdram", store_fifo=8, event_lanes=4, output_lanes=16),
}


class _Ice40(LatticeICE40Platform):
    device, package, resources, connectors, default_clk = "iCE40HX8K", "CT256", (), (), None


@pytest.mark.parametrize("name", CONFIGS)
def test_every_word_at_its_clock(name: str) -> None:
    config, rng = CONFIGS[name], random.Random(name)
    timing = stream_timing(config)
    dut = Bench(config)
    words = image(config)
    seen: list[tuple[int, int]] = []

    async def bench(ctx: Any) -> None:
        await ctx.tick().until(dut.ready)
        await ctx.tick().repeat(rng.randrange(400))
        # The second run starts while the first one's words still come.
        for count in (40, 20 if config.store == "flash" else WORDS - 20):
            long = 2 * SDRAM_REFRESH if config.store == "sdram" else 12 * timing.word
            gaps = [rng.choice([1, 1, 1, 1, 1, 2, rng.randrange(1, 40)]) for _ in range(count)]
            for at in rng.sample(range(count), 3):
                gaps[at] = rng.randrange(1, long)
            expected = predicted(timing, gaps)
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            clock = 1
            for j, gap in enumerate(gaps):
                before = expected[j - 1] if j else 0
                while clock < before + gap:
                    await ctx.tick()
                    clock += 1
                ctx.set(dut.en, 1)
                while ctx.get(dut.stall):
                    await ctx.tick()
                    clock += 1
                    assert clock < 100_000
                await ctx.tick()
                ctx.set(dut.en, 0)
                seen.append((clock, ctx.get(dut.data)))
                assert seen[-1] == (expected[j], words[j]), f"word {j}"
                clock += 1
        assert not ctx.get(dut.fault)

    simulator = Simulator(dut)
    simulator.add_clock(16e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen


def test_queue_of_block_ram() -> None:
    """On iCE40 the queue's memory has a clocked read port: the same words in the same clocks."""
    config, rng = CoreConfig(store="flash", store_fifo=4), random.Random(3)
    for platform in (None, _Ice40()):
        dut = StreamStore(config)
        fragment = Module()
        fragment.submodules.dut = dut.elaborate(platform)
        sent = [rng.getrandbits(config.store_width) for _ in range(50)]
        got = []

        async def bench(ctx: Any, dut: Any = dut, sent: list[int] = sent, got: list[int] = got) -> None:
            queue, present = list(sent), False
            waiting = 0
            for _ in range(400):
                put = bool(queue) and waiting < 4 and rng.random() < 0.5
                ctx.set(dut.words.valid, put)
                ctx.set(dut.words.data, queue.pop(0) if put else 0)
                ctx.set(dut.read.en, rng.random() < 0.5)
                pulled = ctx.get(dut.read.en) and not ctx.get(dut.stall)
                assert ctx.get(dut.stall) == (ctx.get(dut.read.en) and waiting == 0)
                await ctx.tick()
                waiting += put - pulled
                if pulled:
                    got.append(ctx.get(dut.read.data))
                elif present:
                    assert ctx.get(dut.read.data) == got[-1]
                present = present or pulled
                assert ctx.get(dut.words.taken) == pulled

        simulator = Simulator(fragment)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        assert got == sent


def test_limits() -> None:
    with pytest.raises(ConfigError, match="inside the FPGA"):
        stream_timing(CoreConfig())
    with pytest.raises(ConfigError, match="store_fifo must be a power of two from 2 to 256, not 3"):
        CoreConfig(store="flash", store_fifo=3)
    with pytest.raises(ConfigError, match="32 MB holds 4194304 words of 64 bits, not 5000000"):
        SdramController(CoreConfig(store="sdram", store_depth=5_000_000))
    with pytest.raises(ConfigError, match="addresses"):
        FlashReader(addresses=(1 << 24,))
