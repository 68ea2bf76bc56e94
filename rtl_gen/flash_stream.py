# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false
"""Store words from a flash, in order, at every run from the first one on."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .stream_store import StreamRoom, words_signature


class FlashStream(wiring.Component):
    """Makes store words of a :class:`rtl_gen.flash_reader.FlashReader`'s bytes, least significant byte first.

    A word begins when there is room for it; see :func:`refmodel.store_stream.stream_timing` for the clocks.

    Members
    -------
    words: In, the core's (:func:`rtl_gen.stream_store.words_signature`).
    go: Out, pulse; open, valid, byte: In; want: Out: the reader's.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(
            {
                "words": In(words_signature(config)),
                "go": Out(1),
                "open": In(1),
                "want": Out(1),
                "valid": In(1),
                "byte": In(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        size = self._config.store_width // 8
        m.submodules.room = room = StreamRoom(self._config)
        begun = Signal(range(size))  # bytes of the present word that have begun
        there = Signal(range(size))  # and that are there
        word = Signal(8 * size, reset_less=True)
        begins = Signal()
        m.d.comb += [
            self.go.eq(self.words.rewind),
            room.rewind.eq(self.words.rewind),
            room.taken.eq(self.words.taken),
            room.begun.eq(begins & (begun == 0)),
            self.want.eq((begun != 0) | room.room),
            begins.eq(self.open & self.want),
            self.words.data.eq(word),
        ]
        m.d.sync += self.words.valid.eq(self.valid & (there == size - 1))
        with m.If(begins):
            m.d.sync += begun.eq(begun + 1)
            with m.If(begun == size - 1):
                m.d.sync += begun.eq(0)
        with m.If(self.valid):
            m.d.sync += [word.eq(Cat(word[8:], self.byte)), there.eq(there + 1)]
            with m.If(there == size - 1):
                m.d.sync += there.eq(0)
        with m.If(self.words.rewind):
            m.d.sync += [begun.eq(0), there.eq(0), self.words.valid.eq(0)]
        return m
