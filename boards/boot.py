# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Start from flash: the program goes from the flash into the resting store, and runs only if its CRC is right."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .flash_image import CRC_BYTES, FIXED_BYTES, HEADER_BYTES, fixed_header
from .link import Kind, LoaderPort
from .link.protocol import ADDRESS_BYTES


class _State(enum.Enum, shape=4):
    WAKE = 0
    HEADER = 1
    CLEAR = 2
    ADDRESS = 3
    BEGIN = 4
    DATA = 5
    CHECK = 6
    COMMIT = 7
    JUDGE = 8
    DONE = 9


class BootLoader(wiring.Component):
    """Reads the program part of a flash (:mod:`boards.flash_image`) once after a reset and hands it to a loader.

    A header that is not this core's, or one with more words than the store has, ends it at once; else the image's
    bytes and its CRC go to the loader, whose judgement is the result. With a program that stays in the flash the
    loader's words go nowhere and the judgement is all.

    Parameters
    ----------
    config: the core's.

    Members
    -------
    awake, open, valid, byte: In; go, want: Out: of a :class:`rtl_gen.flash_reader.FlashReader`.
    port: Out(LoaderPort).  program_valid: In(1), the loader's.
    booting: Out(1), high from reset until all is over.  fault: Out(1), then: there is no valid program.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(
            {
                "awake": In(1),
                "go": Out(1),
                "open": In(1),
                "want": Out(1),
                "valid": In(1),
                "byte": In(8),
                "port": Out(LoaderPort()),
                "program_valid": In(1),
                "booting": Out(1, init=1),
                "fault": Out(1),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, port = self._config, self.port
        size = config.store_width // 8
        state = Signal(_State)
        # A byte at a time: the next one begins when this one has been taken.
        byte, full, under_way = Signal(8), Signal(), Signal()
        takes, wanted = Signal(), Signal()
        m.d.comb += [
            wanted.eq((state == _State.HEADER) | (state == _State.DATA) | (state == _State.CHECK)),
            self.want.eq(wanted & ~full & ~under_way),
            port.bytes.payload.eq(byte),
        ]
        with m.If(self.want & self.open):
            m.d.sync += under_way.eq(1)
        with m.If(self.valid & under_way):
            m.d.sync += [byte.eq(self.byte), full.eq(1), under_way.eq(0)]
        with m.If(takes):
            m.d.sync += full.eq(0)

        # The number of words shifts in behind the header's known bytes; its top byte must be 0, as those not known are.
        expected = Const(int.from_bytes(fixed_header(config), "little"), 8 * FIXED_BYTES)
        known = Signal(8)
        place = Signal(range(max(size, HEADER_BYTES)))
        with m.Switch(place):
            for index in range(FIXED_BYTES):
                with m.Case(index):
                    m.d.comb += known.eq(expected.word_select(index, 8))
        words = Signal(24)

        def end(fault: Any) -> None:
            m.d.sync += [self.fault.eq(fault), self.booting.eq(0), state.eq(_State.DONE)]

        with m.Switch(state):
            with m.Case(_State.WAKE):
                with m.If(self.awake):
                    m.d.comb += self.go.eq(1)
                    m.d.sync += state.eq(_State.HEADER)
            with m.Case(_State.HEADER):
                m.d.comb += takes.eq(full)
                with m.If(full):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == HEADER_BYTES - 1):
                        m.d.sync += [place.eq(0), state.eq(_State.CLEAR)]
                        with m.If((words == 0) | (words > config.store_depth)):
                            end(1)
                    with m.If((place < FIXED_BYTES) | (place == HEADER_BYTES - 1)):
                        with m.If(byte != known):
                            end(1)
                    with m.Else():
                        m.d.sync += words.eq(Cat(words[8:], byte))
            with m.Case(_State.CLEAR):
                m.d.comb += port.clear.eq(1)
                m.d.sync += [byte.eq(0), state.eq(_State.ADDRESS)]
            with m.Case(_State.ADDRESS):
                m.d.comb += [port.kind.eq(Kind.ADDRESS), port.bytes.valid.eq(1)]
                with m.If(port.bytes.ready):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == ADDRESS_BYTES - 1):
                        m.d.sync += [place.eq(0), state.eq(_State.BEGIN)]
            with m.Case(_State.BEGIN):
                m.d.comb += port.begin.eq(1)
                m.d.sync += state.eq(_State.DATA)
            with m.Case(_State.DATA):
                m.d.comb += [port.kind.eq(Kind.DATA), port.bytes.valid.eq(full), takes.eq(full & port.bytes.ready)]
                with m.If(takes):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == size - 1):
                        m.d.sync += [place.eq(0), words.eq(words - 1)]
                        with m.If(words == 1):
                            m.d.sync += state.eq(_State.CHECK)
            with m.Case(_State.CHECK):
                m.d.comb += [port.kind.eq(Kind.CHECK), port.bytes.valid.eq(full), takes.eq(full & port.bytes.ready)]
                with m.If(takes):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == CRC_BYTES - 1):
                        m.d.sync += state.eq(_State.COMMIT)
            with m.Case(_State.COMMIT):
                m.d.comb += port.commit.eq(1)
                m.d.sync += state.eq(_State.JUDGE)
            with m.Case(_State.JUDGE):
                end(~self.program_valid)
        return m
