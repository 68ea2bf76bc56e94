# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""CRC-32 of bytes, one bit a clock: the smallest form, and a byte of a UART lasts 40 clocks or more."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: IEEE 802.3, reflected.
POLYNOMIAL = 0xEDB88320
#: The register after any bytes followed by their own CRC, little-endian.
RESIDUE = 0xDEBB20E3
ONES = 0xFFFFFFFF


class Crc32(wiring.Component):
    """CRC-32 as ``zlib.crc32`` computes it: register init ones, result inverted.

    A byte takes eight clocks of ``step``; it must stay on ``byte`` until the clock of ``last``.

    Parameters
    ----------
    init: the register after reset: ones, or where an earlier computation stood (``zlib.crc32(...) ^ ONES``).

    Members
    -------
    clear: In(1), the register becomes ones; not together with ``step``.
    step: In(1), one bit of ``byte`` enters, bit 0 first.
    rotate: In(1), with ``step``: instead of that the register turns by one bit, to its low end.
    hold: In(1), with ``step``: the bit is counted only.
    byte: In(8).
    last: Out(1), the next step is the eighth of its byte.
    bit: Out(1), the bit of ``byte`` that the next step takes.
    value: Out(32), the register: the CRC, inverted.
    good: Out(1), the bytes so far end with their own CRC.
    """

    def __init__(self, *, init: int = ONES) -> None:
        self._init = init
        super().__init__(
            {
                "clear": In(1),
                "step": In(1),
                "rotate": In(1),
                "hold": In(1),
                "byte": In(8),
                "last": Out(1),
                "bit": Out(1),
                "value": Out(32, init=init),
                "good": Out(1),
            }
        )

    @property
    def init(self) -> int:
        return self._init

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(3)
        feedback = Signal()
        taps = Signal()
        m.d.comb += [
            self.last.eq(count.all()),
            self.bit.eq(self.byte.bit_select(count, 1)),
            feedback.eq(self.value[0] ^ (self.bit & ~self.rotate)),
            taps.eq(feedback & ~self.rotate),
            self.good.eq(self.value == RESIDUE),
        ]
        shifted = Cat(self.value[1:], feedback)
        with m.If(self.step):
            m.d.sync += count.eq(count + 1)
        with m.If(self.step & ~self.hold):
            for bit in range(32):
                tap = bit != 31 and POLYNOMIAL >> bit & 1
                m.d.sync += self.value[bit].eq(shifted[bit] ^ taps if tap else shifted[bit])
        with m.If(self.clear):
            m.d.sync += self.value.eq(ONES)
        return m
