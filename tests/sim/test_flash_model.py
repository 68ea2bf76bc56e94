# amaranth: UnusedElaboratable=no
"""The simulated flash: it answers after its wake-up, and says when it is not used as it must be."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.sim import Simulator

from sim.flash_model import READ, FlashModel

CONTENT = bytes(range(100, 120))
BASE = 0x1000


def talk(*messages: tuple[bytes, int], pause: int = 200) -> tuple[list[bytes], bool]:
    """Sends each message, reads so many bytes after it, deselects; whether the model found fault."""
    dut = FlashModel(CONTENT, base=BASE, wake=72, deselect=4)
    answers: list[bytes] = []
    fault = False

    async def bench(ctx: Any) -> None:
        nonlocal fault
        spi = dut.spi
        for message, count in messages:
            ctx.set(spi.cs, 1)
            bits = "".join(f"{byte:08b}" for byte in message) + "0" * 8 * count
            seen = ""
            for bit in bits:
                ctx.set(spi.copi, int(bit))
                ctx.set(spi.sck, 0)
                await ctx.tick().repeat(2)
                seen += str(ctx.get(spi.cipo))
                ctx.set(spi.sck, 1)
                await ctx.tick().repeat(2)
            ctx.set(spi.sck, 0)
            await ctx.tick()
            ctx.set(spi.cs, 0)
            await ctx.tick().repeat(pause)
            raw = int(seen, 2).to_bytes(len(bits) // 8, "big")
            answers.append(raw[len(message) :])
        fault = bool(ctx.get(dut.fault))

    simulator = Simulator(dut)
    simulator.add_clock(1e-7)
    simulator.add_testbench(bench)
    simulator.run()
    return answers, fault


WAKE = (b"\xab", 0)


def at(address: int) -> bytes:
    return address.to_bytes(3, "big")


def test_reads() -> None:
    answers, fault = talk(
        WAKE, (bytes([READ]) + at(BASE + 3), 4), (b"\x0b" + at(BASE + 18) + b"\0", 3), (b"\x0b" + at(0) + b"\0", 1)
    )
    assert not fault
    assert answers[1:] == [CONTENT[3:7], CONTENT[18:] + b"\xff", b"\xff"]


@pytest.mark.parametrize(
    ("messages", "pause"),
    [
        ([(bytes([READ]) + at(BASE), 1)], 200),  # asleep
        ([WAKE, (bytes([READ]) + at(BASE), 1)], 20),  # not awake yet
        ([WAKE, (b"\x9f", 3)], 200),  # unknown
        ([WAKE, WAKE, (bytes([READ]) + at(BASE), 1), (bytes([READ]) + at(BASE), 1)], 1),  # not deselected for long
    ],
)
def test_finds_fault(messages: list[tuple[bytes, int]], pause: int) -> None:
    assert talk(*messages, pause=pause)[1]
