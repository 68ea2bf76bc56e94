# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""What the device answers: the states of the executor that make a reply's bytes, and send them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal

from .buffer import IDENTITY_BITS
from .protocol import (
    ESCAPE,
    FLAG,
    HEADER_BYTES,
    IDENTITY_BYTES,
    INVERT,
    PROTOCOL,
    REPLY_HEADER_BYTES,
    STATUS_BYTES,
    Command,
    value_bytes,
)
from .slots import passing

#: Numbers of bytes in a reply: error, state, expected sequence, body, results.
_ERROR, _STATE, _EXPECTED, _BODY = range(HEADER_BYTES, REPLY_HEADER_BYTES + 1)
_VALUES = _BODY + STATUS_BYTES


@dataclass(frozen=True)
class Shared:
    """Signals that the states of a request and those of its reply have in common.

    crc: the unit of both.  byte: the register that turns; told: what enters it, its own bit or one of a reply; keep:
    it turns all the time.
    index: number of a byte, 255 before the first; step: to the next.  part: of a CRC's or a result's bytes.
    end: low bits of the last result's number.  command, error: of the request; readable: its CRC was right.
    numbers: session and expected sequence; turns: they do; number: what comes in; carry: a number is taken.
    busy: the core runs.  ends: the slot does.  counts: the address does, behind a result.  freed: the buffer is.
    """

    crc: Any
    told: Any
    byte: Any
    keep: Any
    index: Any
    step: Any
    part: Any
    end: Any
    command: Any
    error: Any
    readable: Any
    numbers: Any
    number: Any
    turns: Any
    carry: Any
    busy: Any
    ends: Any
    counts: Any
    freed: Any


def add_reply_states(m: Module, executor: Any, shared: Shared) -> None:
    """Adds the states MAKE and SEND to the open state machine of an executor; they begin after its state ANSWER."""
    crc, told, byte, index, part = shared.crc, shared.told, shared.byte, shared.index, shared.part
    numbers, number, turns, carry, error = shared.numbers, shared.number, shared.turns, shared.carry, shared.error
    phase = executor.phase
    passes = passing(phase)
    count = phase[:3]  # of the bit that passes
    tail = Signal()  # behind the contents: the CRC, and then the last flag
    flag = Signal()
    in_body, valued = Signal(), Signal()
    fine = ~error.any()
    hello, status = shared.command == Command.HELLO, shared.command == Command.STATUS
    tells = status | (shared.command == Command.RESULTS)
    size = value_bytes(executor.config)
    assert (_ERROR, _STATE, _EXPECTED, _BODY, _VALUES) == (4, 5, 6, 7, 13)
    last_of_hello = REPLY_HEADER_BYTES + IDENTITY_BYTES - 1
    assert last_of_hello == 28 and FLAG == ESCAPE ^ 3 == 0x7E
    # Again and again while the address turns; what is taken last, in the slot in which it passes, counts.
    takes_status, takes_value, moves, moving = Signal(), Signal(), Signal(), Signal()
    early = ~phase[2:].any()
    m.d.sync += [executor.take_status.eq(takes_status), executor.take_value.eq(takes_value)]
    told_all = Signal()  # the last result
    m.d.sync += told_all.eq(executor.target[:8] == shared.end)
    m.d.sync += moving.eq(Mux(passes, moving, moves))
    m.d.comb += executor.word_step.eq(moving & passes)
    m.d.comb += [
        flag.eq(Mux(tail, part[2], index[7])),
        in_body.eq(~index[7] & (index[3:5].any() | index[:3].all())),
        valued.eq(index[3] & index[2] & index[0] & ~hello),
    ]

    with m.State("MAKE"):
        state = Cat(shared.busy, executor.result, executor.program_valid, executor.fault, executor.drifted)
        m.d.comb += [crc.clear.eq(index[7]), crc.step.eq(passes & ~flag & ~executor.turning), crc.rotate.eq(tail)]
        # Some numbers must turn as a whole: twice eight bits.
        m.d.comb += turns.eq(~tail & ~in_body & index[2] & (index[1] ^ index[0]))
        with m.If(flag):
            m.d.comb += told.eq(count.any() & ~count.all())
        with m.Elif(tail):
            m.d.comb += told.eq(~crc.low)
        with m.Elif(in_body):
            with m.If(hello):
                m.d.comb += executor.addr.eq(index | IDENTITY_BITS)
            with m.Else():
                m.d.comb += told.eq(Mux(valued, executor.value_bit, executor.status))
        with m.Elif(index[2]):
            m.d.comb += number.eq(numbers[0] ^ (carry & index[1]))
            with m.If(index[1]):
                m.d.comb += told.eq(number)
                with m.If(passes):
                    m.d.sync += carry.eq(carry & numbers[0])
            with m.Elif(index[0]):
                m.d.comb += told.eq((state >> count)[0])
            with m.Else():
                m.d.comb += told.eq((error >> count)[0])
        with m.Elif(index[:2].any()):
            m.d.comb += told.eq(byte[0] & shared.readable)
        with m.Else():
            m.d.comb += told.eq(Const(PROTOCOL, 8).bit_select(count, 1))
        with m.If(in_body & ~tail & ~hello):
            m.d.comb += [
                takes_status.eq((index[:4] == _BODY) & early),
                takes_value.eq(valued & ~part.any() & early),
                moves.eq(1),
            ]
        with m.If(shared.ends & ~executor.turning):
            m.next = "SEND"

    with m.State("SEND"):
        escaped = Signal()
        special = Signal()
        m.d.comb += [
            shared.keep.eq(1),
            special.eq(((byte == FLAG) | (byte == ESCAPE)) & ~flag),
            executor.tx.valid.eq(phase == 0),
            # What is escaped differs from the escape in two bits only.
            executor.tx.payload.eq(byte ^ Mux(escaped, INVERT, 0)),
        ]
        with m.If(special & ~escaped):
            m.d.comb += executor.tx.payload[:2].eq(ESCAPE & 3)
        # Numbers 6, 12 and 28 among those that come in their place.
        last = Signal()
        with m.If(index[2] & ~index[7]):
            with m.If(index[3]):
                m.d.comb += last.eq(index[4] | (status & ~index[0]))
            with m.Else():
                m.d.comb += last.eq(~index[4] & index[1] & ~index[0] & ~(fine & (hello | tells)))
        with m.If(executor.tx.valid & executor.tx.ready):
            m.d.sync += escaped.eq(special & ~escaped)
            with m.If(escaped | ~special):
                m.next = "MAKE"
                with m.If(tail):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part[2]):
                        m.d.sync += tail.eq(0)
                        m.d.comb += shared.freed.eq(1)
                        m.next = "IDLE"
                with m.Elif(valued & in_body):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part == size - 1):
                        m.d.sync += part.eq(0)
                        m.d.comb += shared.counts.eq(1)
                        m.d.sync += tail.eq(told_all)
                with m.Else():
                    m.d.comb += shared.step.eq(1)
                    m.d.sync += tail.eq(last)
