# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false
"""An SPI flash as its pins show it, for simulations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.flash_reader import FAST_READ, WAKE, WAKE_BITS, spi_signature

READ = 0x03


class _State(enum.Enum, shape=2):
    COMMAND = 0
    ADDRESS = 1
    DUMMY = 2
    DATA = 3


class FlashModel(wiring.Component):
    """SPI mode 0 with one data bit each way: read (0x03), fast read (0x0B), release from power-down (0xAB).

    It looks at its pins at every clock of the domain, which must be at least twice as fast as the SPI clock, and shows
    a data bit in the clock after the one in which it sees the SPI clock fall.  It wakes up powered down, as an iCE40
    leaves its flash, and answers only after the wake-up and ``wake`` clocks.  Bytes outside the memory read as 0xFF.

    Parameters
    ----------
    contents: bytes from ``base`` on.  size: of the memory, by default as many.
    wake: clocks from the end of the wake-up command to the first command that is heard; deselect: clocks for which
        ``cs`` must be low between two.

    Members
    -------
    spi: In, the FPGA's pins.
    write: In, a port into the memory behind the pins: ``en``, ``addr`` (from ``base``), ``data``: for tests.
    fault: Out(1), stays high: an unknown command, one while powered down or too soon, a read without wake-up.
    """

    def __init__(
        self, contents: Sequence[int], *, base: int = 0, size: int | None = None, wake: int = 72, deselect: int = 2
    ) -> None:
        self._size = max(2, len(contents) if size is None else size)
        self._contents, self._base = [*contents, *[0xFF] * (self._size - len(contents))], base
        self._wake, self._deselect = wake, deselect
        bits = (self._size - 1).bit_length()
        super().__init__(
            {
                "spi": In(spi_signature()),
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(bits), "data": Out(8)})),
                "fault": Out(1),
            }
        )

    @property
    def size(self) -> int:
        return self._size

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self._size, init=self._contents)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write.en),
            write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
        ]
        state = Signal(_State)
        before = Signal()  # the SPI clock of the clock before
        rises, falls = Signal(), Signal()
        shift = Signal(24)
        bit = Signal(6)
        fast, awake, waking = Signal(), Signal(), Signal()
        timer = Signal(range(self._wake + 1))
        resting = Signal(range(self._deselect + 1), init=self._deselect)
        address, inside = Signal(24), Signal()
        now = Signal(8)
        after = Signal(24)
        m.d.comb += [
            rises.eq(self.spi.sck & ~before),
            falls.eq(~self.spi.sck & before),
            after.eq(Cat(self.spi.copi, shift)),
            inside.eq((address >= self._base) & (address < self._base + self._size)),
            read.addr.eq(address - self._base),
        ]
        with m.If(inside):
            m.d.comb += now.eq(read.data)
        with m.Else():
            m.d.comb += now.eq(0xFF)
        m.d.sync += before.eq(self.spi.sck)
        with m.If(waking & (timer != 0)):
            m.d.sync += timer.eq(timer - 1)
        with m.If(waking & (timer == 0)):
            m.d.sync += [waking.eq(0), awake.eq(1)]
        with m.If(~self.spi.cs):
            m.d.sync += [state.eq(_State.COMMAND), bit.eq(0), self.spi.cipo.eq(0)]
            with m.If(resting != self._deselect):
                m.d.sync += resting.eq(resting + 1)
        with m.Else():
            with m.If(rises & (bit == 0) & (state == _State.COMMAND) & (resting != self._deselect)):
                m.d.sync += self.fault.eq(1)
            with m.If(rises):
                m.d.sync += [shift.eq(after), bit.eq(bit + 1), resting.eq(0)]
            with m.Switch(state):
                with m.Case(_State.COMMAND):
                    with m.If(rises & (bit == WAKE_BITS - 1)):
                        m.d.sync += [bit.eq(0), fast.eq(after[:8] == FAST_READ)]
                        with m.If(after[:8] == WAKE):
                            m.d.sync += [waking.eq(~awake), timer.eq(self._wake)]
                        with m.Elif(awake & ((after[:8] == FAST_READ) | (after[:8] == READ))):
                            m.d.sync += state.eq(_State.ADDRESS)
                        with m.Else():
                            m.d.sync += self.fault.eq(1)
                with m.Case(_State.ADDRESS):
                    with m.If(rises & (bit == 23)):
                        m.d.sync += [bit.eq(0), address.eq(after), state.eq(_State.DATA)]
                        with m.If(fast):
                            m.d.sync += state.eq(_State.DUMMY)
                with m.Case(_State.DUMMY):
                    with m.If(rises & (bit == 7)):
                        m.d.sync += [bit.eq(0), state.eq(_State.DATA)]
                with m.Case(_State.DATA):
                    m.d.sync += bit.eq(bit)
                    with m.If(falls):
                        m.d.sync += [self.spi.cipo.eq(now.bit_select(~bit[:3], 1)), bit[:3].eq(bit[:3] + 1)]
                        with m.If(bit[:3] == 7):
                            m.d.sync += address.eq(address + 1)
        return m
