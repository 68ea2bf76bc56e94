# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""UART: a receiver and a transmitter of 8N1 bytes as streams."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from refmodel.errors import BoardError

#: Fewest clocks a bit may have: below that the sample point is too coarse.
MIN_DIVISOR = 4


def baud_divisor(clock_hz: float, baud: int) -> int:
    """Clocks a bit, rounded; BoardError if too few or more than 2 % off (10 bits must stay within half a bit)."""
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR:
        raise BoardError(f"baud must be at most {int(clock_hz / MIN_DIVISOR)} at {clock_hz / 1e6:g} MHz, not {baud}")
    error = abs(clock_hz / divisor / baud - 1)
    if error > 0.02:
        raise BoardError(f"baud {baud} is {error:.1%} off at {clock_hz / 1e6:g} MHz; use a divisor of the clock")
    return divisor


def _check_divisor(divisor: int) -> None:
    if divisor < MIN_DIVISOR:
        raise BoardError(f"divisor must be at least {MIN_DIVISOR}, not {divisor!r}")


class UartRx(wiring.Component):
    """Receives 8N1 bytes, sampling each bit in its middle.

    A start bit must still be low in its middle, else it was a glitch. The line cannot be held up: a byte that is
    not taken before the next one begins is lost and ``overrun`` pulses.

    Parameters
    ----------
    divisor: clocks a bit, at least 4.

    Members
    -------
    rx: In(1), the line, asynchronous, idle high.
    o: Out(stream of 8 bits).
    framing: Out(1), one-clock pulse: the stop bit was low and the byte was dropped.
    overrun: Out(1), one-clock pulse: a byte was lost because the last one was not taken.
    """

    def __init__(self, *, divisor: int) -> None:
        _check_divisor(divisor)
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8)), "framing": Out(1), "overrun": Out(1)})

    @property
    def divisor(self) -> int:
        return self._divisor

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.line_sync = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self._divisor))
        shift = self.o.payload  # a one before the first bit tells the last one
        tick = Signal()
        m.d.comb += tick.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(tick):
            m.d.sync += timer.eq(self._divisor - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self._divisor // 2 - 1)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(tick):
                with m.If(line):
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.overrun.eq(self.o.valid & ~self.o.ready)
                    m.d.sync += [shift.eq(0x80), self.o.valid.eq(0)]
                    m.next = "DATA"
            with m.State("DATA"), m.If(tick):
                m.d.sync += shift.eq(Cat(shift[1:], line))
                with m.If(shift[0]):
                    m.next = "STOP"
            with m.State("STOP"), m.If(tick):
                with m.If(~line):
                    m.d.comb += self.framing.eq(1)
                    m.next = "BREAK"
                with m.Else():
                    m.d.sync += self.o.valid.eq(1)
                    m.next = "IDLE"
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
        return m


class UartTx(wiring.Component):
    """Sends 8N1 bytes; ``i.ready`` is high while no byte is under way.

    Parameters
    ----------
    divisor: clocks a bit, at least 4.

    Members
    -------
    i: In(stream of 8 bits); never stalls for more than ten bits.
    tx: Out(1), the line, idle high, from a register.
    """

    def __init__(self, *, divisor: int) -> None:
        _check_divisor(divisor)
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    @property
    def divisor(self) -> int:
        return self._divisor

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        timer = Signal(range(self._divisor))
        shift = Signal(9)  # what is left to send: with the stop bit, which is never 0
        m.d.comb += self.i.ready.eq((timer == 0) & ~shift.any())
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(shift.any()):
            m.d.sync += [self.tx.eq(shift[0]), shift.eq(shift[1:]), timer.eq(self._divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [self.tx.eq(0), shift.eq(Cat(self.i.payload, 1)), timer.eq(self._divisor - 1)]
        return m
