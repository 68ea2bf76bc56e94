# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Checks frames, carries out their commands, one after the other, and answers each."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from refmodel.config import CoreConfig

from .crc import Crc32
from .loader import Kind, SerialPort, address_bits
from .protocol import CRC_BYTES, HEADER_BYTES, PROTOCOL, Command, Error, keeps_state
from .reply import Shared, add_reply_states
from .slots import PHASE, passing, slot_ends

#: Ticks that a command waits for the core or a memory.
WAIT_TICKS = 4
#: Numbers of bytes in a request: WRITE's space or RESULTS' last number; behind that.
_BYTE = HEADER_BYTES + 3
_BEHIND = _BYTE + 1


class Executor(wiring.Component):
    """The commands of protocol 2 between a frame buffer, a byte stream, a loader and the core.

    It works in slots (:mod:`boards.link.slots`), bit by bit: one register of a byte turns while its bits go to
    the CRC, the loader, or are compared; another byte's bits come in their place from what a reply tells. A frame is
    read twice: first for its CRC, then it is carried out.

    Every frame gets one reply. A command that needs the core idle (WRITE, RUN, RESULTS) waits for it, for
    :data:`WAIT_TICKS` ticks at most. A command that fails takes no sequence number, so that whatever was sent behind it
    is refused too.

    Parameters
    ----------
    config: the core's.

    Members
    -------
    phase: In, of the slot.
    valid, addr, byte, release: a :class:`boards.link.buffer.FrameBuffer`.
    tx: Out(stream of 8 bits); valid in the first clock of a slot alone.
    port: Out(SerialPort); target (``addr``), advance, beyond, outside, partial, turning, matches, program_valid: of
        the loader.
    word_step, take_status, take_value, status, value_bit: of the :class:`boards.link.words.WordRegister`, for replies.
    tick: In(1).
    fault: In(1), state bit 3.  drifted: In(1), state bit 4, of cores with a state memory.
    start: Out(1), pulse, with resume: Out(1), the flag of RUN; core_reset: Out(1), pulse.
    busy, done: In, as the core has them; result_addr: Out.
    result: Out(1), the last run has ended. failed: Out(1), the last command failed.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._resumes = keeps_state(config)
        result_bits = max(1, ceil_log2(config.result_depth))
        super().__init__(
            {
                "phase": In(PHASE),
                "valid": In(1),
                "addr": Out(8),
                "byte": In(8),
                "release": Out(1),
                "tx": Out(stream.Signature(8)),
                "port": Out(SerialPort()),
                "target": In(address_bits(config)),
                "advance": Out(1),
                "beyond": In(1),
                "outside": In(1),
                "partial": In(1),
                "turning": In(1),
                "matches": In(1),
                "program_valid": In(1),
                "word_step": Out(1),
                "take_status": Out(1),
                "take_value": Out(1),
                "status": In(1),
                "value_bit": In(1),
                "tick": In(1),
                "fault": In(1),
                "drifted": In(1),
                "start": Out(1),
                "resume": Out(1),
                "core_reset": Out(1),
                "busy": In(1),
                "done": In(1),
                "result_addr": Out(result_bits),
                "result": Out(1),
                "failed": Out(1),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.crc = crc = Crc32()
        port, phase = self.port, self.phase
        passes, ends = passing(phase), Signal()
        index = Signal(8, init=255)  # of a byte in the request, or in the reply; 255: before it
        restart, step = Signal(), Signal()
        byte = Signal(8)
        bit = byte[0]  # that passes
        told = Signal()  # by a reply, in place of it
        keep = Signal()  # the byte turns all the time
        value = Cat(byte[1:], bit)  # the byte of a request, in a slot's last clock
        part = Signal(3)  # of a CRC, or of a result's bytes
        end = Signal(8)  # number of the first byte of the request's CRC; then the low bits of the last result's number
        command, error = Signal(4), Signal(4)
        readable = Signal()
        numbers = Signal(16)  # session and expected sequence; they turn
        carry = Signal()  # a number is taken
        running, busy = Signal(), Signal()
        waited = Signal(range(WAIT_TICKS + 1))
        space, ordered = Signal(), Signal()
        asks, restarts, counts, freed = Signal(), Signal(), Signal(), Signal()
        assert Command.WRITE == 4

        m.d.comb += [
            ends.eq(slot_ends(phase)),
            self.addr.eq(index),
            self.result_addr.eq(self.target[: len(self.result_addr)]),
            ordered.eq(command[2:].any()),
            told.eq(bit),
            crc.bit.eq(told),
            port.bit.eq(bit),
            port.space.eq(space),
        ]
        with m.If(passes | keep):
            m.d.sync += byte.eq(Cat(byte[1:], told))
        with m.Else():
            m.d.sync += byte.eq(self.byte)
        with m.If(restart):
            m.d.sync += index.eq(255)
        with m.Elif(step):
            m.d.sync += index.eq(index + 1)
        with m.If(self.tick & ~waited[-1]):
            m.d.sync += waited.eq(waited + 1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), self.result.eq(running)]

        # A state has its error beside it, whether that comes or not: the register takes it where it does. What a slot
        # decides has its effects a clock later, and a byte's way is chosen before it passes: the link must not be
        # slower than the core (docs/performance.md).
        code, fails = Signal(4), Signal()
        late_code, failed = Signal(4), Signal()
        m.d.sync += [late_code.eq(code), failed.eq(fails)]
        with m.If(failed):
            m.d.sync += error.eq(late_code)
        go, kind = Signal(), Signal(Kind, init=Kind.DATA)
        with m.If(~passes):
            m.d.sync += [port.go.eq(go), port.kind.eq(kind)]
        m.d.sync += [
            busy.eq(self.busy | running),
            self.start.eq(asks),
            self.resume.eq(value[0]),
            self.core_reset.eq(restarts),
            self.advance.eq(counts),
            self.release.eq(freed),
        ]

        # Nothing of these changes but at a slot's ends.
        at_end, far = Signal(), Signal()
        m.d.sync += [at_end.eq(index == end), far.eq(self.beyond | self.target[len(self.result_addr) :].any())]

        #: What the session and the sequence number become as they turn.
        number = Signal()
        turns = Signal()
        m.d.comb += number.eq(numbers[0])
        with m.If(turns & passes):
            m.d.sync += numbers.eq(Cat(numbers[1:], number))

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [error.eq(0), readable.eq(0), waited.eq(0), carry.eq(0), part.eq(0)]
                m.d.comb += [port.clear.eq(1), restart.eq(1)]
                with m.If(self.valid & ends):
                    m.next = "LENGTH"

            with m.State("LENGTH"):
                m.d.comb += [crc.clear.eq(1), code.eq(value[:3])]
                # Four less, bit by bit.
                borrow = Signal()
                m.d.sync += borrow.eq(~phase[1:3].any() | (borrow & ~bit))
                with m.If(passes):
                    m.d.sync += end.eq(Cat(end[1:], bit ^ (borrow & phase[1:3].any())))
                with m.If(ends):
                    m.d.comb += step.eq(1)
                    m.next = "CHECK"
                    with m.If(~value[3:].any()):
                        m.d.comb += fails.eq(1)
                        m.next = "ANSWER"

            with m.State("CHECK"):
                tail = Signal()
                m.d.comb += [tail.eq(at_end | part.any()), crc.rotate.eq(tail), crc.step.eq(passes)]
                m.d.comb += [code.eq(Error.CRC), fails.eq(passes & tail & (bit == crc.low))]
                with m.If(ends):
                    m.d.comb += step.eq(1)
                    m.d.sync += part.eq(part + tail)
                    with m.If(part == CRC_BYTES - 1):
                        m.d.comb += restart.eq(1)
                        m.next = "AGAIN"

            with m.State("AGAIN"), m.If(ends):
                m.d.comb += step.eq(1)
                m.d.sync += readable.eq(~error.any())
                m.next = "HEAD"
                with m.If(error.any()):
                    m.next = "ANSWER"

            with m.State("HEAD"):
                m.d.comb += turns.eq(index[1])
                with m.If(command == Command.OPEN):
                    m.d.comb += number.eq(byte[0])
                with m.If(index[1] & passes & ordered & (bit != numbers[0]) & ~error.any()):
                    m.d.comb += fails.eq(1)
                with m.Switch(index[:2]):
                    with m.Case(0):
                        m.d.comb += code.eq(Error.VERSION)
                    with m.Case(1):
                        m.d.comb += code.eq(Error.COMMAND)
                    with m.Case(2):
                        m.d.comb += code.eq(Error.SESSION)
                    with m.Case(3):
                        m.d.comb += code.eq(Error.SEQUENCE)
                with m.If(ends):
                    m.d.comb += step.eq(1)
                    with m.If(~index[1]):
                        wrong = Signal()
                        with m.If(index[0]):
                            # 1 to 8 are known.
                            m.d.sync += command.eq(value)
                            m.d.comb += wrong.eq(value[4:].any() | (value[3] == value[:3].any()))
                        with m.Else():
                            m.d.comb += wrong.eq(value != PROTOCOL)
                        with m.If(wrong):
                            m.d.comb += fails.eq(1)
                            m.next = "ANSWER"
                    with m.Elif(index[0]):
                        m.next = "DISPATCH"

            with m.State("DISPATCH"):
                fits = Signal()
                m.d.sync += fits.eq(end == HEADER_BYTES)
                with m.If(command == Command.RUN):
                    m.d.sync += fits.eq(end == HEADER_BYTES + 1)
                with m.If((command == Command.COMMIT) | (command == Command.RESULTS)):
                    m.d.sync += fits.eq(end == _BEHIND)
                with m.If(command == Command.WRITE):
                    m.d.sync += fits.eq(end[3:].any())
                m.d.comb += code.eq(Error.LENGTH)
                with m.If(ends):
                    m.next = "ANSWER"
                    with m.If(~error.any()):
                        m.d.comb += fails.eq(~fits)
                        with m.If(fits):
                            m.d.comb += restarts.eq(command == Command.RESET)
                            with m.If(command == Command.RUN):
                                m.next = "WAIT"
                            with m.Elif(command[2]):
                                m.next = "ARGUMENTS"

            with m.State("ARGUMENTS"):  # an address, or the CRC of an image
                checks = command == Command.COMMIT
                m.d.comb += [kind.eq(Mux(checks, Kind.CHECK, Kind.ADDRESS)), go.eq(1)]
                with m.If(ends):
                    m.d.comb += step.eq(1)
                    with m.If(index[:2] == Mux(checks, 3, 2)):
                        m.next = "WAIT"
                        with m.If(checks):
                            m.next = "COMMIT"

            with m.State("COMMIT"):
                m.d.comb += code.eq(Error.PROGRAM)
                with m.If(ends):
                    m.d.comb += [port.commit.eq(1), fails.eq(~self.matches)]
                    m.next = "ANSWER"

            with m.State("WAIT"):  # for the core; the byte behind the address passes
                with m.If(passes & (command == Command.RESULTS)):
                    m.d.sync += end.eq(Cat(end[1:], bit))
                writes, results = command == Command.WRITE, command == Command.RESULTS
                flags = Signal()
                m.d.comb += [flags.eq((value[1:] if self._resumes else value).any()), code.eq(Error.RANGE)]
                with m.If(busy):
                    m.d.comb += code.eq(Error.BUSY)
                with m.Elif(results):
                    with m.If(~self.result):
                        m.d.comb += code.eq(Error.RESULT)
                with m.Elif(command[1] & ~flags):
                    m.d.comb += code.eq(Error.PROGRAM)
                with m.If(ends):
                    with m.If(busy):
                        with m.If(waited[-1]):
                            m.d.comb += fails.eq(1)
                            m.next = "ANSWER"
                    with m.Else():
                        m.d.comb += step.eq(1)
                        m.next = "ANSWER"
                        with m.If(writes):
                            m.d.sync += space.eq(value[0])
                            m.next = "BEGIN"
                            # A core that streams its program from a flash cannot write that.
                            with m.If(value[1:].any() | (~value[0] if self._config.store == "flash" else 0)):
                                m.d.comb += fails.eq(1)
                                m.next = "ANSWER"
                        with m.Elif(results):
                            m.d.comb += fails.eq(~self.result | far)
                        with m.Else():  # RUN
                            m.d.comb += [
                                fails.eq(~self.program_valid | flags),
                                asks.eq(self.program_valid & ~flags),
                            ]

            with m.State("BEGIN"), m.If(ends):
                m.d.comb += port.begin.eq(1)
                m.next = "WORDS"

            with m.State("WORDS"):
                m.d.comb += go.eq(~self.turning & ~at_end)
                m.d.comb += code.eq(Mux(self.turning, Error.BUSY, Mux(self.outside, Error.RANGE, Error.LENGTH)))
                with m.If(ends):
                    with m.If(self.turning):
                        with m.If(waited[-1]):
                            m.d.comb += fails.eq(1)
                            m.next = "ANSWER"
                    with m.Elif(~at_end):
                        m.d.comb += step.eq(1)
                        m.d.sync += waited.eq(0)
                    with m.Else():  # the last word has been taken
                        m.d.comb += fails.eq(self.outside | self.partial)
                        m.next = "ANSWER"

            with m.State("ANSWER"):
                m.d.comb += [port.clear.eq(1), restart.eq(1)]  # a word that waits in vain is given up
                m.d.sync += [self.failed.eq(error.any()), part.eq(0)]
                m.d.sync += carry.eq(~error.any() & (ordered | (command == Command.OPEN)))
                with m.If(ends):
                    m.next = "MAKE"

            shared = Shared(
                crc=crc,
                told=told,
                byte=byte,
                keep=keep,
                index=index,
                step=step,
                part=part,
                end=end,
                command=command,
                error=error,
                readable=readable,
                numbers=numbers,
                number=number,
                turns=turns,
                carry=carry,
                busy=busy,
                ends=ends,
                counts=counts,
                freed=freed,
            )
            add_reply_states(m, self, shared)

        with m.If(self.start):
            m.d.sync += [running.eq(1), self.result.eq(0)]
        with m.If(self.core_reset):
            m.d.sync += [running.eq(0), self.result.eq(0)]
        return m
