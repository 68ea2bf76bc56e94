# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Carries out the commands of checked frames, one after the other, and answers each."""

from __future__ import annotations

from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from refmodel.config import CoreConfig

from .buffer import FIRST, IDENTITY
from .framer import CONTENT
from .loader import Kind, LoaderPort, address_bits
from .protocol import (
    HEADER_BYTES,
    PROTOCOL,
    REPLY_HEADER_BYTES,
    STATUS_BYTES,
    Command,
    Error,
    keeps_state,
    value_bytes,
)

#: Ticks that a command waits for the core or a memory.
WAIT_TICKS = 4
#: Addresses in the frame buffer: behind the header; of WRITE's space or RESULTS' last number; behind that.
_ARGUMENTS = FIRST + HEADER_BYTES
_BYTE = _ARGUMENTS + 3
_BEHIND = _BYTE + 1
#: Numbers of a reply's bytes, counted from FIRST.
_BODY = FIRST + REPLY_HEADER_BYTES
_VALUES = _BODY + STATUS_BYTES


class Executor(wiring.Component):
    """The commands of protocol 2 between a frame buffer, a framer, a loader and the core.

    Every frame gets one reply. A command that needs the core idle (WRITE, RUN, RESULTS) waits for it, for
    :data:`WAIT_TICKS` ticks at most. A command that fails takes no sequence number, so that whatever was sent behind it
    is refused too.

    Parameters
    ----------
    config: the core's.

    Members
    -------
    valid, addr, byte, release: a :class:`boards.link.buffer.FrameBuffer`.
    o: Out(stream of contents of replies).
    port: Out(LoaderPort); target (``addr``), advance, beyond, outside, partial, turning, matches, program_valid: of
        the loader.
    tick: In(1).
    fault: In(1), state bit 3.  drifted: In(1), state bit 4, of cores with a state memory.
    start: Out(1), pulse, with resume: Out(1), the flag of RUN; core_reset: Out(1), pulse.
    busy, done, argmax, clocks, result_data: In, as the core has them; result_addr: Out.
    result: Out(1), the last run has ended. failed: Out(1), the last command failed.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._resumes = keeps_state(config)
        result_bits = max(1, ceil_log2(config.result_depth))
        super().__init__(
            {
                "valid": In(1),
                "addr": Out(8),
                "byte": In(8),
                "release": Out(1),
                "o": Out(stream.Signature(CONTENT)),
                "port": Out(LoaderPort()),
                "target": In(address_bits(config)),
                "advance": Out(1),
                "beyond": In(1),
                "outside": In(1),
                "partial": In(1),
                "turning": In(1),
                "matches": In(1),
                "program_valid": In(1),
                "tick": In(1),
                "fault": In(1),
                "drifted": In(1),
                "start": Out(1),
                "resume": Out(1),
                "core_reset": Out(1),
                "busy": In(1),
                "done": In(1),
                "result_addr": Out(result_bits),
                "result_data": In(signed(config.membrane_width)),
                "argmax": In(result_bits),
                "clocks": In(32),
                "result": Out(1),
                "failed": Out(1),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        index = Signal(8)  # in the frame buffer; of a reply's byte, from FIRST on
        settled = Signal()  # the byte at ``index`` is there
        step = Signal()
        turned = Signal()  # an address has changed: of results or of a byte
        end = Signal(8)  # behind the last argument; then the low bits of the last result's number
        command = Signal(4)
        error = Signal(4)
        readable = Signal()
        session, expected = Signal(8), Signal(8)
        running = Signal()
        was_busy, had_result, had_drifted = Signal(), Signal(), Signal()
        waited = Signal(range(WAIT_TICKS + 1))
        port, byte = self.port, self.byte
        space = Signal()
        fits = Signal()
        ordered = command[2:].any()
        busy = self.busy | running
        assert Command.WRITE == 4

        m.d.comb += [
            self.addr.eq(index),
            self.result_addr.eq(self.target[: len(self.result_addr)]),
            port.space.eq(space),
            port.bytes.payload.eq(byte),
            port.kind.eq(Kind.DATA),
        ]
        # A result and a byte come two clocks after their address.
        m.d.sync += [turned.eq(self.turning | step), settled.eq(~step & ~self.turning & ~turned)]
        with m.If(step):
            m.d.sync += index.eq(index + 1)
        with m.If(self.tick & ~waited[-1]):
            m.d.sync += waited.eq(waited + 1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), self.result.eq(running)]

        def fail(code: Error) -> None:
            m.d.sync += error.eq(code)
            m.next = "ANSWER"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), error.eq(0), readable.eq(0), settled.eq(0), turned.eq(1), waited.eq(0)]
                m.d.comb += port.clear.eq(1)
                with m.If(self.valid):
                    m.next = "END"

            with m.State("END"):
                m.d.sync += end.eq(byte)
                with m.If(settled):
                    m.d.sync += [index.eq(FIRST), settled.eq(0), turned.eq(1)]
                    m.next = "HEAD"
                    with m.If(~byte[3:].any()):
                        m.d.sync += error.eq(byte)
                        m.next = "ANSWER"

            with m.State("HEAD"), m.If(settled):
                m.d.comb += step.eq(1)
                with m.Switch(index[:2]):
                    with m.Case(0):
                        m.d.sync += readable.eq(1)
                        with m.If(byte != PROTOCOL):
                            fail(Error.VERSION)
                    with m.Case(1):
                        m.d.sync += command.eq(byte)
                        with m.If(byte[4:].any()):
                            fail(Error.COMMAND)
                    with m.Case(2):
                        with m.If(command == Command.OPEN):
                            m.d.sync += session.eq(byte)
                        with m.If(ordered & (byte != session)):
                            fail(Error.SESSION)
                    with m.Case(3):
                        with m.If(command == Command.OPEN):
                            m.d.sync += expected.eq(byte)
                        m.next = "DISPATCH"
                        with m.If(ordered & (byte != expected)):
                            fail(Error.SEQUENCE)

            with m.State("DISPATCH"):
                m.d.comb += fits.eq(end == _ARGUMENTS)
                m.next = "ANSWER"
                with m.Switch(command):
                    with m.Case(Command.HELLO, Command.STATUS, Command.OPEN):
                        pass
                    with m.Case(Command.RESET):
                        m.d.comb += self.core_reset.eq(fits)
                    with m.Case(Command.RUN):
                        m.d.comb += fits.eq(end == _ARGUMENTS + 1)
                        m.next = "WAIT"
                    with m.Case(Command.COMMIT, Command.RESULTS):
                        m.d.comb += fits.eq(end == _BEHIND)
                        m.next = "ARGUMENTS"
                    with m.Case(Command.WRITE):
                        m.d.comb += fits.eq(end[2] | end[4:].any())
                        m.next = "ARGUMENTS"
                    with m.Default():
                        m.d.comb += fits.eq(1)
                        fail(Error.COMMAND)
                with m.If(~fits):
                    fail(Error.LENGTH)

            with m.State("ARGUMENTS"):  # an address, or the CRC of an image
                checks = command == Command.COMMIT
                m.d.comb += [port.kind.eq(Mux(checks, Kind.CHECK, Kind.ADDRESS)), port.bytes.valid.eq(settled)]
                with m.If(port.bytes.valid & port.bytes.ready):
                    m.d.comb += step.eq(1)
                    with m.If(index[:2] == Mux(checks, 3, 2)):
                        m.next = "WAIT"
                        with m.If(checks):
                            m.next = "COMMIT"

            with m.State("COMMIT"):
                m.d.comb += port.commit.eq(1)
                m.next = "ANSWER"
                with m.If(~self.matches):
                    fail(Error.PROGRAM)

            with m.State("WAIT"):  # for the core, and for the byte behind the address
                with m.If(busy):
                    with m.If(waited[-1]):
                        fail(Error.BUSY)
                with m.Elif(settled):
                    m.d.comb += step.eq(1)
                    m.next = "ANSWER"
                    with m.Switch(command):
                        with m.Case(Command.WRITE):
                            m.d.sync += space.eq(byte[0])
                            m.next = "BEGIN"
                            # A core that streams its program from a flash cannot write that.
                            with m.If(byte[1:].any() | (~byte[0] if self._config.store == "flash" else 0)):
                                fail(Error.RANGE)
                        with m.Case(Command.RESULTS):
                            m.d.sync += end.eq(byte)
                            with m.If(~self.result):
                                fail(Error.RESULT)
                            with m.If(self.beyond | self.target[len(self.result_addr) :].any()):
                                fail(Error.RANGE)
                        with m.Default():  # RUN
                            flags = Signal()
                            m.d.comb += [
                                flags.eq((byte[1:] if self._resumes else byte).any()),
                                self.start.eq(self.program_valid & ~flags),
                                self.resume.eq(byte[0]),
                            ]
                            with m.If(~self.program_valid):
                                fail(Error.PROGRAM)
                            with m.If(flags):
                                fail(Error.RANGE)

            with m.State("BEGIN"):
                m.d.comb += port.begin.eq(1)
                m.next = "WORDS"

            with m.State("WORDS"):
                with m.If(index != end):
                    m.d.comb += port.bytes.valid.eq(settled)
                    with m.If(port.bytes.valid & port.bytes.ready):
                        m.d.comb += step.eq(1)
                        m.d.sync += waited.eq(0)
                with m.Elif(~self.turning & settled):  # the last word has been taken
                    m.next = "ANSWER"
                    with m.If(self.outside):
                        fail(Error.RANGE)
                    with m.If(self.partial):
                        fail(Error.LENGTH)
                with m.If(waited[-1]):
                    fail(Error.BUSY)

            with m.State("ANSWER"):
                m.d.sync += [index.eq(FIRST), settled.eq(0), turned.eq(1), self.failed.eq(error.any())]
                # The framer needs bytes that stay: what may change while the reply goes out is caught here.
                m.d.sync += [was_busy.eq(busy), had_result.eq(self.result)]
                if self._resumes:
                    m.d.sync += had_drifted.eq(self.drifted)
                with m.If(~error.any() & (ordered | (command == Command.OPEN))):
                    m.d.sync += expected.eq(expected + 1)
                m.next = "REPLY"

            with m.State("REPLY"):
                state = Cat(was_busy, had_result, self.program_valid, self.fault, had_drifted)
                head = Cat(self.argmax, Const(0, 16 - len(self.argmax)), self.clocks)
                # Bytes of the header and of the body by the low bits of their number.
                low: list[Any] = [Mux(readable, byte, 0)] * 8
                low[(_BODY - 3) % 8], low[(_BODY - 2) % 8], low[(_BODY - 1) % 8] = error, state, expected
                high: list[Any] = [Const(0, 8)] * 8
                for number in range(STATUS_BYTES):
                    high[(_BODY + number) % 8] = head.word_select(number, 8)
                size = value_bytes(self._config)
                value = Signal(signed(8 * size))
                lane = Signal(range(size))
                fine = ~error.any()
                hello, status = command == Command.HELLO, command == Command.STATUS
                tells = status | (command == Command.RESULTS)
                valued = Signal()
                in_body, constant = Signal(), Signal()
                m.d.comb += [
                    value.eq(self.result_data),
                    constant.eq(index[7]),
                    in_body.eq(index >= _BODY),
                    valued.eq(index == _VALUES),
                    self.o.valid.eq(settled & ~(valued & (self.turning | turned))),
                    step.eq(self.o.valid & self.o.ready & ~valued),
                    self.o.p.byte.eq(Array(low)[index[:3]]),
                    self.o.p.last.eq(
                        ((index == _BODY - 1) & ~(fine & (hello | tells)))
                        | ((index == _VALUES - 1) & status)
                        | index.all()
                    ),
                ]
                with m.If(index == FIRST):
                    m.d.comb += self.o.p.byte.eq(PROTOCOL)
                with m.If(in_body):
                    m.d.comb += self.o.p.byte.eq(Mux(was_busy, 0, Array(high)[index[:3]]))
                with m.If(constant):
                    m.d.comb += self.o.p.byte.eq(byte)
                with m.If(valued):
                    m.d.comb += self.o.p.byte.eq(value.as_unsigned().word_select(lane, 8))
                    with m.If(lane == size - 1):
                        m.d.comb += [
                            self.o.p.last.eq(self.target[:8] == end),
                            self.advance.eq(self.o.valid & self.o.ready),
                        ]
                    with m.If(self.o.valid & self.o.ready):
                        m.d.sync += lane.eq(Mux(lane == size - 1, 0, lane + 1))
                with m.If(step & (index == _BODY - 1) & hello):
                    m.d.sync += index.eq(IDENTITY)
                with m.If(self.o.valid & self.o.ready & self.o.p.last):
                    m.d.comb += self.release.eq(1)
                    m.next = "IDLE"

        with m.If(self.start):
            m.d.sync += [running.eq(1), self.result.eq(0)]
        with m.If(self.core_reset):
            m.d.sync += [running.eq(0), self.result.eq(0)]
        return m
