# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""CRC-32 of bytes, one bit a clock."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: IEEE 802.3, reflected.
POLYNOMIAL = 0xEDB88320
ONES = 0xFFFFFFFF


class Crc32(wiring.Component):
    """CRC-32 as ``zlib.crc32`` computes it: register init ones, result inverted.

    Parameters
    ----------
    init: the register after reset: ones, or where an earlier computation stood (``zlib.crc32(...) ^ ONES``).

    Members
    -------
    clear: In(1), the register becomes ones.
    step: In(1), ``bit`` enters; bit 0 of a byte is first.
    rotate: In(1), with ``step``: instead of that the register turns by one bit, to its low end.
    bit: In(1).
    low: Out(1), lowest bit of the register: while it turns, the CRC's bits, inverted, as they travel.
    value: Out(32), the register: the CRC, inverted.
    """

    def __init__(self, *, init: int = ONES) -> None:
        self._init = init
        super().__init__(
            {
                "clear": In(1),
                "step": In(1),
                "rotate": In(1),
                "bit": In(1),
                "low": Out(1),
                "value": Out(32, init=init),
            }
        )

    @property
    def init(self) -> int:
        return self._init

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        feedback, taps = Signal(), Signal()
        m.d.comb += [
            self.low.eq(self.value[0]),
            feedback.eq(self.low ^ (self.bit & ~self.rotate)),
            taps.eq(feedback & ~self.rotate),
        ]
        shifted = Cat(self.value[1:], feedback)
        with m.If(self.step):
            for bit in range(32):
                tap = bit != 31 and POLYNOMIAL >> bit & 1
                m.d.sync += self.value[bit].eq(shifted[bit] ^ taps if tap else shifted[bit])
        with m.If(self.clear):
            m.d.sync += self.value.eq(ONES)
        return m
