# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false
"""Words of a program that lies outside the FPGA, as the sequencer reads them."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE


def words_signature(config: CoreConfig) -> wiring.Signature:
    """A memory's words in order, seen from who wants them.

    rewind: pulse, begin again with word 0: what is under way is not wanted any more, and no word may come later than
    in the pulse's own clock until the source has begun anew.  taken: pulse, a word was pulled.  valid, data: a word.
    No back pressure: the source never has more than ``store_fifo`` words under way and not taken.
    """
    return wiring.Signature(
        {"rewind": Out(1), "taken": Out(1), "valid": In(1), "data": In(config.store_width)},
    )


class StreamStore(wiring.Component):
    """Takes the place of a :class:`rtl_gen.store.ResidentStore` where the words come from outside, in order.

    A queue of ``store_fifo`` words behind which the present word stands in a register: ``read.data`` is word j from the
    clock after the j-th one with ``read.en`` and without ``stall``, which says that the queue is empty and the reader
    must stand still, in all its registers.  ``read.addr`` is not looked at.  Clocks: :mod:`refmodel.store_stream`.

    Members
    -------
    begin: In, pulse: a run starts.
    read: In, ``en`` (1), ``addr`` (store_addr_bits), ``data`` (store_width) back.
    stall: Out(1).  words: Out, see :func:`words_signature`; rewind and taken come a clock late.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        addr, data = config.store_addr_bits, config.store_width
        super().__init__(
            {
                "begin": In(1),
                "read": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": In(data)})),
                "stall": Out(1),
                "words": Out(words_signature(config)),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        depth, width = self._config.store_fifo, self._config.store_width
        # Words stand in distributed RAM of ECP5, whose reads are not clocked, and in block RAM of iCE40.
        clocked = isinstance(platform, SiliconBluePlatform)
        m.submodules.queue = queue = Memory(shape=width, depth=depth, init=[], attrs=COLLISION_FREE)
        write, read = queue.write_port(), queue.read_port(domain="sync" if clocked else "comb")
        head, tail = Signal(range(depth)), Signal(range(depth))
        level = Signal(range(depth + 1))
        empty = Signal(init=1)  # level == 0
        pull, put, flush = Signal(), Signal(), Signal()
        after = Signal.like(level)
        m.d.comb += [
            self.stall.eq(self.read.en & empty),
            pull.eq(self.read.en & ~empty),
            flush.eq(self.begin | self.words.rewind),
            put.eq(self.words.valid & ~flush),
            write.en.eq(put),
            write.addr.eq(tail),
            write.data.eq(self.words.data),
            read.addr.eq(head),
            after.eq(level + put - pull),
        ]
        m.d.sync += [
            level.eq(after),
            empty.eq(after == 0),
            head.eq(head + pull),
            tail.eq(tail + put),
            self.words.rewind.eq(self.begin),
            self.words.taken.eq(pull),
        ]
        with m.If(flush):
            m.d.sync += [level.eq(0), empty.eq(1), head.eq(0), tail.eq(0)]
        if clocked:
            m.d.comb += [read.en.eq(pull), self.read.data.eq(read.data)]
        else:
            present = Signal(width, reset_less=True)
            with m.If(pull):
                m.d.sync += present.eq(read.data)
            m.d.comb += self.read.data.eq(present)
        return m


class StreamRoom(wiring.Component):
    """Counts the words that a source has under way or waiting, and says whether another may begin.

    Members
    -------
    rewind, taken: In, of the stream.  begun: In, pulse: the source begins a word.  room: Out(1).
    """

    def __init__(self, config: CoreConfig) -> None:
        self._depth = config.store_fifo
        super().__init__({"rewind": In(1), "taken": In(1), "begun": In(1), "room": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        out = Signal(range(self._depth + 1))  # a power of two: full is the top bit
        m.d.comb += self.room.eq(~out[-1])
        m.d.sync += out.eq(out + self.begun - self.taken)
        with m.If(self.rewind):
            m.d.sync += out.eq(0)
        return m
