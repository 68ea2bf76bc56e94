# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false, reportReturnType=false
"""Controller of an SDRAM that holds the program: a stream of store words, and host writes while none runs."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, ClockDomain, ClockSignal, Const, Module, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from refmodel import store_stream as clocks
from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .layouts import store_write_layout
from .stream_store import StreamRoom, words_signature

#: 4 banks of 8192 rows of 512 columns of 16 bits: 32 MB. Larger parts have the same in their first columns.
ROW_BITS, BANK_BITS, COLUMN_BITS = 13, 2, 9
#: Refreshes before the mode is set.
INIT_REFRESHES = 8
#: Bursts of one word, in order, and the read latency.
MODE = clocks.SDRAM_CAS_LATENCY << 4


class Command(enum.Enum, shape=3):
    """``we``, ``cas``, ``ras`` from the top, active high."""

    NOP = 0b000
    ACTIVE = 0b001
    READ = 0b010
    WRITE = 0b110
    PRECHARGE = 0b101
    REFRESH = 0b011
    MODE = 0b111


def sdram_signature() -> wiring.Signature:
    """The part's pins from the FPGA's side, but for its clock; control pins are active high here.

    dq_i: what the pins show, not yet taken into a register.
    """
    return wiring.Signature(
        {
            "cke": Out(1),
            "cs": Out(1),
            "ras": Out(1),
            "cas": Out(1),
            "we": Out(1),
            "ba": Out(BANK_BITS),
            "a": Out(ROW_BITS),
            "dqm": Out(2),
            "dq_o": Out(16),
            "dq_oe": Out(1),
            "dq_i": In(16),
        }
    )


class _State(enum.Enum, shape=4):
    INIT = 0
    READY = 1
    CHANGE = 2  # rows close, then one opens
    OPEN = 3  # a row opens, then its first word is read
    READ = 4  # columns of a word, but for the first
    REFRESH = 5  # rows close, then a refresh
    WRITE_CHANGE = 6
    WRITE_OPEN = 7
    WRITE = 8
    WRITTEN = 9  # the last column, then rows close
    CLOSE = 10  # what lasts, then ready


class SdramController(wiring.Component):
    """Streams store words from an SDRAM, a column of 16 bits a clock, and writes them.

    The part's clock is the inverse of this domain's (50 to 90 MHz): commands change half a clock before it takes
    them; what it shows is taken at this clock's falling edge and once more at the next rising one. A row stays open
    while words of it are read. Refreshes fall due every ``SDRAM_REFRESH`` clocks and are done between two words; so
    that every clock of a run is known, a run begins with a pause in which all that goes on ends, and a refresh
    (:func:`refmodel.store_stream.stream_timing`). Word j lies at column ``j * step`` and the following ones, counted
    through rows, then banks, with ``step`` its number of columns rounded up to a power of two.

    Parameters
    ----------
    config: the core's, ``store`` "sdram".
    pause: clocks to wait after a reset; parts ask for 100 to 200 us.

    Members
    -------
    words: In, the core's (:func:`rtl_gen.stream_store.words_signature`).
    write: In, stream of ``addr`` and ``data``: a store word.
    ready: Out(1), the part is set up; before, nothing is taken.
    pins: Out, see :func:`sdram_signature`.

    Raises ConfigError for a store that 32 MB do not hold, or words of one column.
    """

    def __init__(self, config: CoreConfig, *, pause: int = 12500) -> None:
        columns, step = clocks.sdram_word_columns(config)
        most = (1 << ROW_BITS + BANK_BITS + COLUMN_BITS) // step
        if config.store_depth > most:
            raise ConfigError(
                f"an SDRAM of 32 MB holds {most} words of {config.store_width} bits, not {config.store_depth}; "
                "use a smaller store_depth"
            )
        if columns < 2 or step > 1 << COLUMN_BITS:
            raise ConfigError(f"a word in an SDRAM must have 2 to 512 columns of 16 bits, not {columns}")
        if pause < 1:
            raise ConfigError(f"pause must be at least 1 clock, not {pause!r}")
        self._config, self._pause = config, pause
        super().__init__(
            {
                "words": In(words_signature(config)),
                "write": In(stream.Signature(store_write_layout(config))),
                "ready": Out(1),
                "pins": Out(sdram_signature()),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def pause(self) -> int:
        return self._pause

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        columns, step = clocks.sdram_word_columns(config)
        settle_clocks = clocks.sdram_settle(config)
        step_bits = step.bit_length() - 1
        row_word_bits = COLUMN_BITS - step_bits
        m.submodules.room = room = StreamRoom(config)

        state = Signal(_State)
        timer = Signal(range(max(self._pause, 16)), init=self._pause - 1)
        act = Signal()  # the state's time is over
        step_of_init = Signal(range(INIT_REFRESHES + 3))
        word = Signal(config.store_addr_bits)  # to be read
        column = Signal(range(columns))  # of the word being read or written
        row_open, active = Signal(), Signal()
        settle = Signal(range(settle_clocks + 1))
        settling, unwanted = Signal(), Signal()
        until_due = Signal(range(clocks.SDRAM_REFRESH), init=clocks.SDRAM_REFRESH - 1)
        due = Signal()
        m.d.comb += [act.eq(timer == 0), settling.eq(settle != 0), unwanted.eq(self.words.rewind | settling)]

        # Refreshes fall due at fixed clocks of a run.
        m.d.sync += until_due.eq(until_due - 1)
        with m.If((until_due == 0) | (settle == 1)):
            m.d.sync += [until_due.eq(clocks.SDRAM_REFRESH - 1), due.eq(1)]

        issue = Signal(Command)
        first = Signal()  # a word's first column is read
        reads, last = Signal(), Signal()
        m.d.comb += [reads.eq(issue == Command.READ), last.eq(reads & (column == columns - 1))]
        read_place, write_place = _place(word, step_bits), _place(self.write.payload.addr, step_bits)

        def go(next_state: _State, after: int) -> None:
            """``next_state`` acts ``after`` clocks from now."""
            m.d.sync += [state.eq(next_state), timer.eq(after - 1)]

        def send(command: Command, place: Value | None = None) -> None:
            m.d.comb += issue.eq(command)
            if place is None:  # all rows; A10 says so
                m.d.sync += self.pins.a.eq(1 << 10)
                return
            m.d.sync += self.pins.ba.eq(place[COLUMN_BITS : COLUMN_BITS + BANK_BITS])
            if command is Command.ACTIVE:
                m.d.sync += self.pins.a.eq(place[COLUMN_BITS + BANK_BITS :])
            else:
                m.d.sync += self.pins.a.eq(Cat((place[:COLUMN_BITS] | column)[:COLUMN_BITS], Const(0, 4)))

        def read_first() -> None:
            send(Command.READ, read_place)
            m.d.comb += first.eq(1)
            m.d.sync += state.eq(_State.READ)

        with m.If(~act):
            m.d.sync += timer.eq(timer - 1)
        m.d.sync += self.pins.dq_oe.eq(0)
        with m.Switch(state):
            with m.Case(_State.INIT):
                with m.If(act):
                    m.d.sync += step_of_init.eq(step_of_init + 1)
                    with m.Switch(step_of_init):
                        with m.Case(0):
                            send(Command.PRECHARGE)
                            go(_State.INIT, clocks.SDRAM_RP)
                        with m.Case(*range(1, INIT_REFRESHES + 1)):
                            send(Command.REFRESH)
                            go(_State.INIT, clocks.SDRAM_RFC)
                        with m.Default():
                            m.d.comb += issue.eq(Command.MODE)
                            m.d.sync += [self.pins.a.eq(MODE), self.pins.ba.eq(0), self.ready.eq(1), due.eq(1)]
                            go(_State.CLOSE, clocks.SDRAM_MRD)
            with m.Case(_State.READY):
                with m.If(settling):
                    pass
                with m.Elif(due):
                    send(Command.PRECHARGE)
                    m.d.sync += [due.eq(0), row_open.eq(0)]
                    go(_State.REFRESH, clocks.SDRAM_RP)
                with m.Elif(self.write.valid):
                    send(Command.PRECHARGE)
                    m.d.sync += row_open.eq(0)
                    go(_State.WRITE_CHANGE, clocks.SDRAM_RP)
                with m.Elif(active & room.room & ~self.words.rewind):
                    with m.If(~row_open):
                        send(Command.ACTIVE, read_place)
                        m.d.sync += row_open.eq(1)
                        go(_State.OPEN, clocks.SDRAM_RCD)
                    with m.Elif(word[:row_word_bits] == 0):
                        send(Command.PRECHARGE)
                        go(_State.CHANGE, clocks.SDRAM_RP)
                    with m.Else():
                        read_first()
            with m.Case(_State.CHANGE):
                with m.If(act):
                    send(Command.ACTIVE, read_place)
                    go(_State.OPEN, clocks.SDRAM_RCD)
            with m.Case(_State.OPEN):
                with m.If(act):
                    read_first()
            with m.Case(_State.READ):
                send(Command.READ, read_place)
                with m.If(last):
                    m.d.sync += state.eq(_State.READY)
            with m.Case(_State.REFRESH):
                with m.If(act):
                    send(Command.REFRESH)
                    go(_State.CLOSE, clocks.SDRAM_RFC - 1)
            with m.Case(_State.WRITE_CHANGE):
                with m.If(act):
                    send(Command.ACTIVE, write_place)
                    go(_State.WRITE_OPEN, clocks.SDRAM_RCD - 1)
            with m.Case(_State.WRITE_OPEN):
                with m.If(act):
                    m.d.sync += state.eq(_State.WRITE)
            with m.Case(_State.WRITE):
                send(Command.WRITE, write_place)
                m.d.sync += [self.pins.dq_oe.eq(1), column.eq(column + 1)]
                with m.If(column == columns - 1):
                    m.d.comb += self.write.ready.eq(1)
                    m.d.sync += column.eq(0)
                    go(_State.WRITTEN, clocks.SDRAM_WR)
            with m.Case(_State.WRITTEN):
                with m.If(act):
                    send(Command.PRECHARGE)
                    go(_State.CLOSE, clocks.SDRAM_RP)
            with m.Case(_State.CLOSE):
                with m.If(act):
                    m.d.sync += state.eq(_State.READY)
        with m.If(reads):
            m.d.sync += column.eq(column + 1)
        with m.If(last):
            m.d.sync += [column.eq(0), word.eq(word + 1)]
        with m.If(settling):
            m.d.sync += settle.eq(settle - 1)
        with m.If(unwanted):
            m.d.sync += word.eq(0)
        with m.If(self.words.rewind):
            m.d.sync += [settle.eq(settle_clocks), active.eq(1)]

        m.d.comb += [
            room.rewind.eq(unwanted),
            room.taken.eq(self.words.taken),
            room.begun.eq(first),
            self.pins.cke.eq(1),
            self.pins.cs.eq(1),
            self.pins.dqm.eq(0),
        ]
        m.d.sync += [
            Cat(self.pins.ras, self.pins.cas, self.pins.we).eq(issue),
            self.pins.dq_o.eq(self.write.payload.data.word_select(column, 16)),
        ]
        self._take(m, reads & ~unwanted, last & ~unwanted)
        return m

    def _take(self, m: Module, reads: Value, last: Value) -> None:
        """Words of what the part shows ``SDRAM_CAS_LATENCY`` of its clocks after a read."""
        m.domains.fall = fall = ClockDomain("fall", clk_edge="neg", reset_less=True, local=True)
        m.d.comb += fall.clk.eq(ClockSignal())
        shown, taken = Signal(16), Signal(16)
        m.d.fall += shown.eq(self.pins.dq_i)
        m.d.sync += taken.eq(shown)
        under_way, ends = Signal(2 + clocks.SDRAM_CAS_LATENCY), Signal(2 + clocks.SDRAM_CAS_LATENCY)
        m.d.sync += [under_way.eq(Cat(reads, under_way)), ends.eq(Cat(last, ends))]
        with m.If(self.words.rewind):
            m.d.sync += [under_way.eq(0), ends.eq(0)]
        before = Signal(self._config.store_width - 16, reset_less=True)
        with m.If(under_way[-1]):
            m.d.sync += before.eq(Cat(before, taken)[16:])
        m.d.comb += [self.words.valid.eq(ends[-1]), self.words.data.eq(Cat(before, taken))]


def _place(word: Value, step_bits: int) -> Value:
    """A word's first column, bank and row, as one number."""
    bits = ROW_BITS + BANK_BITS + COLUMN_BITS
    return Cat(Const(0, step_bits), word, Const(0, bits))[:bits]
