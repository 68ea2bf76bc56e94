# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Where frames wait until they are checked and carried out: two of them, in one block RAM."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.layouts import COLLISION_FREE

from .deframer import PIECE
from .protocol import CRC_BYTES, FRAME_BYTES, HEADER_BYTES, IDENTITY_BYTES, REPLY_HEADER_BYTES, Error

#: Bytes of a half of the memory. A frame starts at address 0, its CRC included.
HALF = 256
#: Address of the number of its bytes; less than 8, it is the error that made the frame unreadable.
LENGTH = HALF - 1
#: What an address of the identity has set beside the number of the byte in its reply.
IDENTITY_BITS = 0xE0
IDENTITY = IDENTITY_BITS + REPLY_HEADER_BYTES


class FrameBuffer(wiring.Component):
    """Keeps up to two frames, and a constant. A frame that begins while both halves are taken is lost.

    Parameters
    ----------
    identity: what both halves hold from address IDENTITY on.

    Members
    -------
    i: In(stream of pieces of frames), always taken.
    valid: Out(1), there is a whole frame.
    addr: In(8), of that frame.
    byte: Out(8), one clock after ``addr``: from a block RAM, so it is late, and belongs into a register.
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
        assert FRAME_BYTES < IDENTITY and IDENTITY + IDENTITY_BYTES <= LENGTH and HEADER_BYTES + CRC_BYTES == 8
        half_init = ([0] * IDENTITY + list(self._identity) + [0] * HALF)[:HALF]
        m.submodules.memory = memory = Memory(
            shape=8, depth=2 * HALF, init=2 * half_init, attrs={**COLLISION_FREE, "ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port()
        full = Signal(2)
        half, oldest = Signal(), Signal()  # that is written, that is read
        index = Signal(8)
        long, lost = Signal(), Signal()
        gone = Signal()
        error = self.i.p.byte[:3]
        most = FRAME_BYTES + 1
        m.d.comb += [
            gone.eq(lost | Mux(half, full[1], full[0])),
            # The first number with all of these bits is the one that is meant.
            long.eq(Cat(index[bit] for bit in range(8) if most >> bit & 1).all()),
            self.i.ready.eq(1),
            write.en.eq(self.i.valid & ~gone),
            write.addr.eq(Cat(index | self.i.p.end.replicate(8), half)),
            write.data.eq(self.i.p.byte),
            read.addr.eq(Cat(self.addr, oldest)),
            read.en.eq(1),
            self.byte.eq(read.data),
            self.valid.eq(Mux(oldest, full[1], full[0])),
        ]
        with m.If(self.i.p.end & ~error.any()):
            m.d.comb += write.data.eq(Mux(long | ~index[3:].any(), Error.LENGTH, index))
        with m.If(self.release):
            m.d.sync += oldest.eq(~oldest)
            for which in (0, 1):
                with m.If(oldest == which):
                    m.d.sync += full[which].eq(0)
        with m.If(self.i.valid):
            with m.If(self.i.p.end):
                m.d.sync += [index.eq(0), lost.eq(0), half.eq(half ^ ~gone)]
                for which in (0, 1):
                    with m.If((half == which) & ~gone):
                        m.d.sync += full[which].eq(1)
            with m.Else():
                m.d.sync += lost.eq(gone)
                with m.If(~long):
                    m.d.sync += index.eq(index + 1)
        return m
