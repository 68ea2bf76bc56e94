# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""From bytes of the line to pieces of frames: flags, escapes, line errors and the time-out."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol import ESCAPE, FLAG, INVERT, Error

#: Ticks without a byte that end a frame.
QUIET_TICKS = 4

#: What a deframer says: a byte of a frame, or its end, with the error (0: none yet) as the byte.
PIECE = data.StructLayout({"byte": 8, "end": 1})


class Deframer(wiring.Component):
    """Takes frames from a byte stream (RFC 1662: flags, escapes); their CRC is not looked at.

    A frame ends at a flag, or when nothing came for :data:`QUIET_TICKS` ticks; nothing between two flags is no frame.
    Its end says whether the frame can be good: error LINE if a byte was lost or broken in it, TIMEOUT if no flag came,
    CRC if the flag came after an escape. Whatever came before, the frame after a flag is read.

    Members
    -------
    rx: In(stream of 8 bits), always taken.
    rx_error: In(1), pulse: a byte was lost or broken.
    tick: In(1), pulse, from time to time.
    o: Out(stream of :data:`PIECE`); what is valid must be taken at once.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "rx_error": In(1),
                "tick": In(1),
                "o": Out(stream.Signature(PIECE)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        some, escaped, broken = Signal(), Signal(), Signal()  # of the frame so far
        quiet = Signal(range(QUIET_TICKS + 1))
        late, end, plain = Signal(), Signal(), Signal()
        error = Signal(3)
        flag = self.rx.payload == FLAG
        escape = self.rx.payload == ESCAPE
        m.d.comb += [
            plain.eq(self.rx.valid & ~flag & ~escape),
            self.rx.ready.eq(1),
            late.eq(some & quiet[-1] & ~self.rx.valid),
            end.eq((self.rx.valid & flag & some) | late),
            error.eq(Mux(broken, Error.LINE, Mux(late, Error.TIMEOUT, Mux(escaped, Error.CRC, 0)))),
            self.o.valid.eq(plain | end),
            self.o.p.end.eq(end),
            self.o.p.byte.eq(Mux(end, Cat(error), self.rx.payload ^ Mux(escaped, INVERT, 0))),
        ]
        with m.If(self.rx.valid):
            m.d.sync += quiet.eq(0)
        with m.Elif(self.tick & ~quiet[-1]):
            m.d.sync += quiet.eq(quiet + 1)
        with m.If(self.rx.valid & ~flag):
            m.d.sync += [some.eq(1), escaped.eq(escape)]
        with m.If(end):
            m.d.sync += [some.eq(0), escaped.eq(0), broken.eq(0)]
        with m.If(self.rx_error):
            m.d.sync += [some.eq(1), broken.eq(1)]
        return m
