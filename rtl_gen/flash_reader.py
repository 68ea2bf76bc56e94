# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false
"""Bytes of an SPI flash, one after the other from a fixed address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from refmodel.errors import ConfigError
from refmodel.store_stream import FLASH_COMMAND_BITS, FLASH_DESELECT

#: Release from power-down, in which an iCE40 leaves the flash that it was configured from; and fast read.
WAKE, FAST_READ = 0xAB, 0x0B
WAKE_BITS = 8


def spi_signature() -> wiring.Signature:
    """The flash's pins from the FPGA's side, one data bit each way; ``cs`` is active high here."""
    return wiring.Signature({"cs": Out(1), "sck": Out(1), "copi": Out(1), "cipo": In(1)})


class _State(enum.Enum, shape=3):
    DESELECT = 0
    COMMAND = 1
    DATA = 2
    WAKE = 3
    IDLE = 4


class FlashReader(wiring.Component):
    """Wakes the flash after a reset, then reads from one of some fixed addresses for as long as bytes are wanted.

    SPI mode 0, the SPI clock is half the core's; it stands, low, while no byte is wanted, and the flash waits with it.
    A bit is taken at the SPI clock's falling edge, a whole SPI clock after the flash was told to show it.
    From ``go`` to the clock in which the first byte may begin are ``FLASH_DESELECT`` + 1 clocks and two for each bit of
    command, address and dummy byte; a byte begins in a clock with ``open`` and ``want`` and is there 17 clocks later,
    while the next one may begin after 16.

    Parameters
    ----------
    addresses: where reads may start, byte addresses of 24 bits.
    wake: clocks to leave the flash after its wake-up; chips ask for 3 to 30 us.

    Members
    -------
    awake: Out(1), the flash has been woken; ``go`` is ignored before.
    go: In(1), pulse: read from ``addresses[which]``; a read under way ends.  which: In.
    open: Out(1), a byte may begin.  want: In(1), another byte is wanted.
    valid: Out(1), pulse.  byte: Out(8), as of ``valid`` and the clock after it.
    spi: Out, see :func:`spi_signature`.
    """

    def __init__(self, *, addresses: Sequence[int], wake: int = 1024) -> None:
        if not addresses or any(not 0 <= address < 1 << 24 for address in addresses):
            raise ConfigError(f"flash addresses must be 0 to {(1 << 24) - 1}, not {list(addresses)!r}")
        if wake < 1:
            raise ConfigError(f"wake must be at least 1 clock, not {wake!r}")
        self._addresses, self._wake = tuple(addresses), wake
        super().__init__(
            {
                "awake": Out(1),
                "go": In(1),
                "which": In(max(1, ceil_log2(len(addresses)))),
                "open": Out(1),
                "want": In(1),
                "valid": Out(1),
                "byte": Out(8),
                "spi": Out(spi_signature()),
            }
        )

    @property
    def addresses(self) -> tuple[int, ...]:
        return self._addresses

    @property
    def wake(self) -> int:
        return self._wake

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # What is sent, first bit lowest: the wake-up after a reset, then read commands.
        sent = [_backwards(WAKE, 8)]
        sent += [_backwards(FAST_READ, 8) | _backwards(address, 24) << 8 for address in self._addresses]
        bit = Signal(range(FLASH_COMMAND_BITS))
        second = Signal()  # of the two clocks of a bit
        sample = Signal()  # the bit is at the pin
        message = Signal(range(len(sent)))
        timer = Signal(range(max(self._wake, FLASH_DESELECT)), init=FLASH_DESELECT - 1)
        state = Signal(_State)
        row, last = Signal(1 << len(bit)), Signal(len(bit))
        with m.Switch(message):
            for number, word in enumerate(sent):
                with m.Case(number):
                    m.d.comb += [row.eq(word), last.eq((FLASH_COMMAND_BITS if number else WAKE_BITS) - 1)]
        m.d.sync += [
            self.spi.cs.eq((state == _State.COMMAND) | (state == _State.DATA)),
            self.spi.sck.eq(second),
            self.spi.copi.eq(row.bit_select(bit, 1)),
            second.eq(0),
            sample.eq((state == _State.DATA) & second),
            self.valid.eq(sample & (bit[:3] == 0)),
        ]
        with m.If(sample):
            m.d.sync += self.byte.eq(Cat(self.spi.cipo, self.byte))
        with m.If((timer != 0) & ((state == _State.DESELECT) | (state == _State.WAKE))):
            m.d.sync += timer.eq(timer - 1)

        with m.Switch(state):
            with m.Case(_State.DESELECT):
                m.d.sync += bit.eq(0)
                with m.If(timer == 0):
                    m.d.sync += state.eq(_State.COMMAND)
            with m.Case(_State.COMMAND):
                m.d.sync += second.eq(~second)
                with m.If(second):
                    m.d.sync += bit.eq(bit + 1)
                with m.If(second & (bit == last)):
                    m.d.sync += [bit.eq(0), state.eq(_State.DATA)]
                    with m.If(message == 0):
                        m.d.sync += [timer.eq(self._wake - 1), state.eq(_State.WAKE)]
            with m.Case(_State.DATA):
                m.d.comb += self.open.eq((bit[:3] == 0) & ~second)
                m.d.sync += second.eq(~second & (~self.open | self.want))
                with m.If(second):
                    m.d.sync += bit[:3].eq(bit[:3] + 1)
            with m.Case(_State.WAKE):
                with m.If(timer == 0):
                    m.d.sync += [self.awake.eq(1), state.eq(_State.IDLE)]
        with m.If(self.go & self.awake):
            m.d.sync += [
                message.eq(self.which + 1),
                timer.eq(FLASH_DESELECT - 1),
                state.eq(_State.DESELECT),
                second.eq(0),
                sample.eq(0),
                self.valid.eq(0),
            ]
        return m


def _backwards(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)
