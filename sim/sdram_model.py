# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false
"""An SDRAM as its pins show it, for simulations: it keeps the time of every command and says which rule was broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.sdram import BANK_BITS, COLUMN_BITS, INIT_REFRESHES, ROW_BITS, Command, sdram_signature


class Rule(enum.Enum, shape=5):
    """What went wrong."""

    NONE = 0
    POWER_UP = 1  #: a command before the part had been powered for long enough
    INIT = 2  #: a row opened before rows were closed, refreshed and the mode was set
    MODE = 3  #: a mode that the model does not know, or rows open
    MRD = 4
    RCD = 5
    RP = 6
    RAS = 7
    RC = 8
    RRD = 9
    RFC = 10
    WR = 11
    REFRESH = 12  #: too long without one
    OPEN = 13  #: a row opened over an open one, or rows open at a refresh
    CLOSED = 14  #: a column of no open row
    CONTENTION = 15  #: both drive the data pins
    ADDRESS = 16  #: beyond the simulated memory
    CKE = 17
    AUTO = 18  #: a read or write with A10, which closes the row: not known to the model


@dataclass(frozen=True)
class Times:
    """Rules in ns, refresh in us for a row each.  The slowest of the parts that the ULX3S was made with:
    IS42S16160G-7, MT48LC16M16A2-75, AS4C32M16SB-7."""

    rcd: float = 21
    rp: float = 21
    ras: float = 44
    rc: float = 66
    rrd: float = 15
    rfc: float = 66
    wr: float = 15
    refresh_us: float = 7.8125
    mrd_clocks: int = 2
    power_up_us: float = 200


class SdramModel(wiring.Component):
    """CAS latency 2, bursts of one word; its clock is the domain's.

    Data of a read are shown from the clock edge after the one that took the command to the next one, and 0xDEAD at
    all other times.

    Parameters
    ----------
    clock_hz: of the domain, which makes clocks of the times.
    words: 16-bit words that are simulated, from address 0 (columns, then banks, then rows).
    init: first words.

    Members
    -------
    pins: In.  write: In, a port into the memory behind the pins: ``en``, ``addr``, ``data``.
    drives: Out(1), the data pins are the part's.
    fault: Out(1), stays high; rule: Out, the first rule that was broken.
    """

    def __init__(
        self, *, clock_hz: float = 62.5e6, words: int = 4096, init: Sequence[int] = (), times: Times | None = None
    ) -> None:
        self._clock_hz, self._words, self._init = clock_hz, words, list(init)
        self._times = times or Times()
        bits = (words - 1).bit_length()
        super().__init__(
            {
                "pins": In(sdram_signature()),
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(bits), "data": Out(16)})),
                "drives": Out(1),
                "fault": Out(1),
                "rule": Out(Rule),
            }
        )

    def _clocks(self, ns: float) -> int:
        return ceil(ns * 1e-9 * self._clock_hz - 1e-6)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        times, pins = self._times, self.pins
        memory = Memory(shape=16, depth=self._words, init=self._init)
        m.submodules.memory = memory
        write, read, behind = memory.write_port(), memory.read_port(), self.write
        banks = 1 << BANK_BITS
        command = Signal(Command)
        m.d.comb += command.eq(Mux(pins.cs, Cat(pins.ras, pins.cas, pins.we), 0))

        def check(fine: Value, rule: Rule) -> None:
            with m.If(~fine & ~self.fault):
                m.d.sync += [self.fault.eq(1), self.rule.eq(rule)]

        since = _Since(m)
        opened, rows = Signal(banks), [Signal(ROW_BITS, name=f"row{bank}") for bank in range(banks)]
        act = [since(f"active{bank}", (command == Command.ACTIVE) & (pins.ba == bank), 63) for bank in range(banks)]
        anywhere = since("active", command == Command.ACTIVE, 63)
        pre = [
            since(f"precharge{bank}", (command == Command.PRECHARGE) & (pins.a[10] | (pins.ba == bank)), 63)
            for bank in range(banks)
        ]
        written = [since(f"write{bank}", (command == Command.WRITE) & (pins.ba == bank), 63) for bank in range(banks)]
        refreshed = since("refresh", command == Command.REFRESH, 63)
        set_up = since("mode", command == Command.MODE, 63)
        interval = self._clocks(1000 * times.refresh_us)
        without = since("without", command == Command.REFRESH, 2 * interval)
        power_up = self._clocks(1000 * times.power_up_us)
        powered = since("powered", Signal(), power_up + 1, start=0)
        refreshes = Signal(range(INIT_REFRESHES + 1))
        closed_once, ready = Signal(), Signal()
        place = Signal(ROW_BITS + BANK_BITS + COLUMN_BITS)
        row = Signal(ROW_BITS)
        here_open = Signal()
        m.d.comb += here_open.eq(opened.bit_select(pins.ba, 1))
        with m.Switch(pins.ba):
            for bank in range(banks):
                with m.Case(bank):
                    m.d.comb += row.eq(rows[bank])
        m.d.comb += place.eq(Cat(pins.a[:COLUMN_BITS], pins.ba, row))

        def of_bank(counters: list[Signal], least: int) -> Value:
            """Whether ``least`` clocks have passed in the addressed bank."""
            late = Signal()
            with m.Switch(pins.ba):
                for bank in range(banks):
                    with m.Case(bank):
                        m.d.comb += late.eq(counters[bank] >= least)
            return late

        def of_open(counters: list[Signal], least: int) -> Value:
            """Whether ``least`` clocks have passed in all open banks that a precharge closes."""
            fine = Signal(banks)
            for bank in range(banks):
                closes = opened[bank] & (pins.a[10] | (pins.ba == bank))
                m.d.comb += fine[bank].eq(~closes | (counters[bank] >= least))
            return fine.all()

        def of_all(counters: list[Signal], least: int) -> Value:
            return Cat(counter >= least for counter in counters).all()

        rp, rfc = self._clocks(times.rp), self._clocks(times.rfc)
        check(pins.cke | (powered == 0), Rule.CKE)
        with m.If(command != Command.NOP):
            check(powered >= power_up, Rule.POWER_UP)
            check(refreshed >= rfc, Rule.RFC)
            check(set_up >= times.mrd_clocks, Rule.MRD)
        with m.If(ready):
            check(without <= interval, Rule.REFRESH)
        with m.Switch(command):
            with m.Case(Command.ACTIVE):
                check(ready, Rule.INIT)
                check(~here_open, Rule.OPEN)
                check(of_bank(pre, rp), Rule.RP)
                check(of_bank(act, self._clocks(times.rc)), Rule.RC)
                check(anywhere >= self._clocks(times.rrd), Rule.RRD)
                m.d.sync += opened.bit_select(pins.ba, 1).eq(1)
                with m.Switch(pins.ba):
                    for bank in range(banks):
                        with m.Case(bank):
                            m.d.sync += rows[bank].eq(pins.a)
            with m.Case(Command.READ, Command.WRITE):
                check(here_open, Rule.CLOSED)
                check(of_bank(act, self._clocks(times.rcd)), Rule.RCD)
                check(~pins.a[10], Rule.AUTO)
                check(place < self._words, Rule.ADDRESS)
            with m.Case(Command.PRECHARGE):
                check(of_open(act, self._clocks(times.ras)), Rule.RAS)
                check(of_open(written, self._clocks(times.wr)), Rule.WR)
                m.d.sync += closed_once.eq(1)
                with m.If(pins.a[10]):
                    m.d.sync += opened.eq(0)
                with m.Else():
                    m.d.sync += opened.bit_select(pins.ba, 1).eq(0)
            with m.Case(Command.REFRESH):
                check(opened == 0, Rule.OPEN)
                check(closed_once, Rule.INIT)
                check(of_all(pre, rp), Rule.RP)
                with m.If(refreshes != INIT_REFRESHES):
                    m.d.sync += refreshes.eq(refreshes + 1)
            with m.Case(Command.MODE):
                check((opened == 0) & (pins.ba == 0) & (pins.a == 2 << 4), Rule.MODE)
                check(of_all(pre, rp), Rule.RP)
                check(refreshes == INIT_REFRESHES, Rule.INIT)
                m.d.sync += ready.eq(1)

        reads = Signal()
        shows = Signal(2)
        m.d.comb += [
            reads.eq(command == Command.READ),
            read.en.eq(1),
            read.addr.eq(place),
            write.en.eq(((command == Command.WRITE) & ~pins.dqm.any() & pins.dq_oe) | behind.en),
            write.addr.eq(Mux(behind.en, behind.addr, place)),
            write.data.eq(Mux(behind.en, behind.data, pins.dq_o)),
        ]
        m.d.comb += self.drives.eq(shows[1])
        m.d.sync += [shows.eq(Cat(reads, shows)), pins.dq_i.eq(Mux(shows[0], read.data, 0xDEAD))]
        check(~(pins.dq_oe & (shows.any() | reads)), Rule.CONTENTION)
        return m


class _Since:
    """Counters of clocks since something, which stop at a most."""

    def __init__(self, m: Module) -> None:
        self._m = m

    def __call__(self, name: str, now: Value, most: int, *, start: int | None = None) -> Signal:
        """Clocks since ``now`` was last high; ``start``: after a reset, by default as if it had long been."""
        counter = Signal(range(most + 1), init=most if start is None else start, name=f"since_{name}")
        with self._m.If(now):
            self._m.d.sync += counter.eq(1)
        with self._m.Elif(counter != most):
            self._m.d.sync += counter.eq(counter + 1)
        return counter
