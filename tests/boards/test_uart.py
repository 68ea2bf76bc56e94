# amaranth: UnusedElaboratable=no
"""UART: loopback over divisors and clock errors, framing, glitches, overruns."""

from __future__ import annotations

import random

import pytest
from amaranth import Module
from amaranth.sim import Simulator

from boards.uart import UartRx, UartTx, baud_divisor
from refmodel.errors import BoardError


@pytest.mark.parametrize("divisor", [4, 5, 24, 63])
def test_loopback(divisor):
    m = Module()
    m.submodules.tx = tx = UartTx(divisor=divisor)
    m.submodules.rx = rx = UartRx(divisor=divisor)
    m.d.comb += rx.rx.eq(tx.tx)
    rng = random.Random(divisor)
    sent = [0x00, 0xFF, 0x55, 0xAA, *(rng.randrange(256) for _ in range(12))]
    got = []

    async def send(ctx):
        for byte in sent:
            ctx.set(tx.i.payload, byte)
            ctx.set(tx.i.valid, 1)
            await ctx.tick().until(tx.i.ready)
            ctx.set(tx.i.valid, 0)
            if rng.random() < 0.5:
                await ctx.tick().repeat(rng.randrange(1, 3 * divisor))

    async def receive(ctx):
        ctx.set(rx.o.ready, 1)
        while len(got) < len(sent):
            _, _, valid, byte, framing, overrun = await ctx.tick().sample(
                rx.o.valid, rx.o.payload, rx.framing, rx.overrun
            )
            assert not framing and not overrun
            if valid:
                got.append(byte)

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(send)
    sim.add_testbench(receive)
    sim.run_until(len(sent) * divisor * 15 * 1e-6)
    assert got == sent


def _drive(divisor, levels, *, ready=True):
    """Drives the line with (level, clocks) pairs; returns bytes, framing errors, overruns."""
    rx = UartRx(divisor=divisor)
    got, framings, overruns = [], 0, 0

    async def line(ctx):
        for level, clocks in levels:
            ctx.set(rx.rx, level)
            await ctx.tick().repeat(clocks)

    async def receive(ctx):
        nonlocal framings, overruns
        ctx.set(rx.o.ready, ready)
        async for _, _, valid, byte, framing, overrun in ctx.tick().sample(
            rx.o.valid, rx.o.payload, rx.framing, rx.overrun
        ):
            if valid and ready:
                got.append(byte)
            framings += framing
            overruns += overrun

    sim = Simulator(rx)
    sim.add_clock(1e-6)
    sim.add_testbench(line)
    sim.add_testbench(receive, background=True)
    sim.run()
    return got, framings, overruns


def _frame(byte, clocks):
    bits = [0, *((byte >> i) & 1 for i in range(8)), 1]
    return [(bit, clocks) for bit in bits]


@pytest.mark.parametrize("clocks", [39, 40, 41])
def test_sender_2_percent_off(clocks):
    sent = [0x00, 0xA5, 0xFF]
    levels = [step for byte in sent for step in _frame(byte, clocks)]
    assert _drive(40, [(1, 50), *levels, (1, 80)]) == (sent, 0, 0)


def test_framing_error_drops_the_byte_and_recovers():
    broken = [*_frame(0x12, 16)[:-1], (0, 16)]
    levels = [(1, 40), *broken, (0, 100), (1, 40), *_frame(0x34, 16), (1, 40)]
    assert _drive(16, levels) == ([0x34], 1, 0)


def test_glitch_is_no_start_bit():
    assert _drive(16, [(1, 40), (0, 4), (1, 300), *_frame(0x7E, 16), (1, 40)]) == ([0x7E], 0, 0)


def test_overrun_is_reported():
    levels = [(1, 40), *_frame(1, 16), *_frame(2, 16), (1, 40)]
    assert _drive(16, levels, ready=False) == ([], 0, 1)


def test_baud_divisor():
    assert baud_divisor(24e6, 1_000_000) == 24
    assert baud_divisor(62.5e6, 1_000_000) in (62, 63)
    with pytest.raises(BoardError, match="at most"):
        baud_divisor(24e6, 12_000_000)
    with pytest.raises(BoardError, match="off"):
        baud_divisor(24e6, 5_000_000)
    with pytest.raises(BoardError, match="divisor"):
        UartRx(divisor=3)
