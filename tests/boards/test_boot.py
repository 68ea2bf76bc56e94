# amaranth: UnusedElaboratable=no
"""Start from flash: a good program becomes valid, anything else does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from boards.boot import BootLoader
from boards.flash_image import HEADER_BYTES, program_part
from refmodel.config import CoreConfig
from rtl_gen.flash_reader import FlashReader
from rtl_gen.layouts import load_layout
from sim.flash_model import FlashModel
from tests.byte_loader import ByteLoader

CONFIG = CoreConfig(store_depth=32, output_lanes=4, neuron_units=1, weight_bits=4)  # words of 8 bytes
OFFSET = 0x100000


def image(words: int) -> list[int]:
    rng = random.Random(words)
    return [rng.getrandbits(CONFIG.store_width) for _ in range(words)]


class Bench(wiring.Component):
    """Flash, reader, boot and loader; the store takes a word now and then."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        super().__init__({"booting": Out(1), "fault": Out(1), "valid": Out(1), "flash_fault": Out(1)})
        self.loader = ByteLoader(CONFIG)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.reader = reader = FlashReader(addresses=(OFFSET,), wake=100)
        m.submodules.boot = boot = BootLoader(CONFIG)
        m.submodules.loader = loader = self.loader
        m.submodules.flash = flash = FlashModel(self.content, base=OFFSET)
        wiring.connect(m, reader.spi, flash.spi)
        wiring.connect(m, boot.port, loader.port)
        m.d.comb += [
            reader.go.eq(boot.go),
            reader.want.eq(boot.want),
            boot.awake.eq(reader.awake),
            boot.open.eq(reader.open),
            boot.valid.eq(reader.valid),
            boot.byte.eq(reader.byte),
            boot.program_valid.eq(loader.program_valid),
            self.booting.eq(boot.booting),
            self.fault.eq(boot.fault),
            self.valid.eq(loader.program_valid),
            self.flash_fault.eq(flash.fault),
        ]
        return m


def start(content: bytes) -> tuple[bool, dict[int, int]]:
    """Whether the program is valid after the start, and the store's words."""
    dut = Bench(content)
    stored: dict[int, int] = {}
    rng = random.Random(7)
    valid = False
    assert set(load_layout(CONFIG).members) == {"space", "addr", "data"}

    async def bench(ctx: Any) -> None:
        nonlocal valid
        load = dut.loader.load
        clocks = 0
        while ctx.get(dut.booting):
            ready = rng.random() < 0.1
            ctx.set(load.ready, ready)
            if ready and ctx.get(load.valid):
                assert ctx.get(load.payload.space) == 0
                stored[ctx.get(load.payload.addr)] = ctx.get(load.payload.data)
            await ctx.tick()
            clocks += 1
            assert clocks < 40_000, "the start does not end"
        assert ctx.get(dut.fault) == (not ctx.get(dut.valid))
        assert not ctx.get(dut.flash_fault)
        valid = bool(ctx.get(dut.valid))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return valid, stored


@pytest.mark.parametrize("words", [1, 5, 32])
def test_good_program(words: int) -> None:
    valid, stored = start(program_part(CONFIG, image(words)))
    assert valid
    assert stored == dict(enumerate(image(words)))


def changed(at: int, bit: int = 0) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed(0),  # the mark
        changed(4),  # the format
        changed(6),  # the width of a word
        changed(8, 7),  # the core's digest
        changed(12),  # the number of words
        changed(14),  # a very large one
        changed(15, 7),  # a larger one
        changed(HEADER_BYTES),  # the first word
        changed(HEADER_BYTES + 5 * 8 - 1, 7),  # the last one
        changed(HEADER_BYTES + 5 * 8),  # its CRC
        changed(HEADER_BYTES + 5 * 8 + 3, 7),
        lambda content: b"\xff" * len(content),  # an erased flash
        lambda content: content[: HEADER_BYTES + 20],  # cut short
        lambda content: b"",
    ],
)
def test_bad_program(change: Callable[[bytes], bytes]) -> None:
    assert not start(change(program_part(CONFIG, image(5))))[0]


def test_program_of_another_core() -> None:
    other = CoreConfig(store_depth=64, output_lanes=4, neuron_units=1, weight_bits=4)
    assert not start(program_part(other, image(5)))[0]
