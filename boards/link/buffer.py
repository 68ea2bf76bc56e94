# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Where frames wait until they are checked and carried out: two of them, in one block RAM."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.layouts import COLLISION_FREE

from .deframer import PIECE
from .protocol import CRC_BYTES, FRAME_BYTES, HEADER_BYTES, IDENTITY_BYTES, Error

#: Bytes of a half of the memory.
HALF = 256
#: Address of the first byte of a frame's contents. At address 0 stands the address behind its last one, without the
#: CRC; less than 8, it is the error that made the frame unreadable.
FIRST = 4
#: Address of the identity, which ends with the half.
IDENTITY = HALF - IDENTITY_BYTES


class FrameBuffer(wiring.Component):
    """Keeps up to two frames, and a constant. A frame that begins while both halves are taken is lost.

    Parameters
    ----------
    identity: what the last bytes of both halves hold.

    Members
    -------
    i: In(stream of pieces of frames), always taken.
    valid: Out(1), there is a whole frame.
    addr: In(8), of that frame.
    byte: Out(8), two clocks after ``addr``: from a register, since block RAMs are slow.
    release: In(1), pulse: the frame is done with.
    """

    def __init__(self, *, identity: bytes = bytes(IDENTITY_BYTES)) -> None:
        self._identity = identity
        super().__init__(
            {
                "i": In(stream.Signature(PIECE)),
                "valid": Out(1),
                "addr": In(8),
                "byte": Out(8),
                "release": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        assert FIRST + HEADER_BYTES == 8 and FIRST + FRAME_BYTES <= IDENTITY
        half_init = [0] * IDENTITY + list(self._identity)
        m.submodules.memory = memory = Memory(
            shape=8, depth=2 * HALF, init=2 * half_init, attrs={**COLLISION_FREE, "ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port()
        full = Signal(2)
        half, oldest = Signal(), Signal()  # that is written, that is read
        index = Signal(8, init=FIRST)
        long, lost = Signal(), Signal()
        behind = Signal(8)
        gone = Signal()
        good = self.i.p.byte == 0
        m.d.sync += self.byte.eq(read.data)
        m.d.comb += [
            behind.eq(index - CRC_BYTES),
            gone.eq(lost | Mux(half, full[1], full[0])),
            long.eq(index == FIRST + FRAME_BYTES + 1),
            self.i.ready.eq(1),
            write.en.eq(self.i.valid & ~gone),
            write.addr.eq(Cat(Mux(self.i.p.end, Const(0, 8), index), half)),
            write.data.eq(self.i.p.byte),
            read.addr.eq(Cat(self.addr, oldest)),
            read.en.eq(1),
            self.valid.eq(Mux(oldest, full[1], full[0])),
        ]
        with m.If(self.i.p.end & (long | good)):
            # A good frame that is too short leaves a small number there: one of the errors.
            m.d.comb += write.data.eq(Mux(long | (behind < FIRST + HEADER_BYTES), Error.LENGTH, behind))
        with m.If(self.release):
            m.d.sync += oldest.eq(~oldest)
            for which in (0, 1):
                with m.If(oldest == which):
                    m.d.sync += full[which].eq(0)
        with m.If(self.i.valid):
            with m.If(self.i.p.end):
                m.d.sync += [index.eq(FIRST), lost.eq(0), half.eq(half ^ ~gone)]
                for which in (0, 1):
                    with m.If((half == which) & ~gone):
                        m.d.sync += full[which].eq(1)
            with m.Else():
                m.d.sync += lost.eq(gone)
                with m.If(~long):
                    m.d.sync += index.eq(index + 1)
        return m
