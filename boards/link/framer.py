# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""From replies to bytes of the line: flags, escapes and the CRC."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .crc import Crc32
from .protocol import CRC_BYTES, ESCAPE, FLAG, INVERT

#: A byte of a frame's contents; ``last``: the CRC follows.
CONTENT = data.StructLayout({"byte": 8, "last": 1})


class Framer(wiring.Component):
    """Puts a flag, the contents, their CRC-32 and a flag on a byte stream, with escapes (RFC 1662).

    Members
    -------
    i: In(stream of :data:`CONTENT`), a byte is taken eight clocks after it was sent.
    tx: Out(stream of 8 bits).
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(CONTENT)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.crc = crc = Crc32()
        ending = Signal()  # the CRC is sent
        left = Signal(range(CRC_BYTES))
        escaped = Signal()
        byte = Signal(8)
        special = Signal()
        m.d.comb += [
            crc.byte.eq(self.i.p.byte),
            crc.rotate.eq(ending),
            byte.eq(Mux(ending, ~crc.value[:8], self.i.p.byte)),
            special.eq((byte == FLAG) | (byte == ESCAPE)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [crc.clear.eq(1), self.tx.valid.eq(self.i.valid), self.tx.payload.eq(FLAG)]
                m.d.sync += [left.eq(CRC_BYTES - 1), ending.eq(0)]
                with m.If(self.tx.valid & self.tx.ready):
                    m.next = "BYTE"
            with m.State("BYTE"):
                m.d.comb += [
                    self.tx.valid.eq(self.i.valid | ending),
                    self.tx.payload.eq(Mux(escaped, byte ^ INVERT, Mux(special, ESCAPE, byte))),
                ]
                with m.If(self.tx.valid & self.tx.ready):
                    m.d.sync += escaped.eq(special & ~escaped)
                    with m.If(escaped | ~special):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += crc.step.eq(1)
                with m.If(crc.last):
                    m.d.comb += self.i.ready.eq(~ending)
                    m.d.sync += ending.eq(ending | self.i.p.last)
                    m.next = "BYTE"
                    with m.If(ending):
                        m.d.sync += left.eq(left - 1)
                        with m.If(left == 0):
                            m.next = "FLAG"
            with m.State("FLAG"):
                m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(FLAG)]
                with m.If(self.tx.ready):
                    m.next = "IDLE"
        return m
