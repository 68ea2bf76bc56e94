# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Fills the core's memories from bytes, and knows whether the resting store holds a whole program."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from rtl_gen.layouts import load_layout

from .crc import ONES, Crc32
from .protocol import ADDRESS_BYTES, byte_count, image_bytes, word_bytes


class Kind(enum.Enum, shape=2):
    """What the bytes to a loader are, least significant byte first."""

    DATA = 0  #: words, from the address on
    ADDRESS = 1  #: three bytes of the address
    CHECK = 2  #: four bytes of the CRC-32 that the image should have


class LoaderPort(wiring.Signature):
    """What drives a loader; the directions are those of the driver.

    kind, bytes: bytes of that kind; ``kind`` stays while a byte waits.
    space: 0 resting store, 1 spike memory; stays while words are sent.
    clear: pulse, before anything else: gives up what was not finished.
    begin: pulse, before words, after their address.
    commit: pulse, after the four bytes of the image's CRC-32 (CHECK): sets ``program_valid`` or clears it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "kind": Out(Kind),
                "bytes": Out(stream.Signature(8)),
                "space": Out(1),
                "clear": Out(1),
                "begin": Out(1),
                "commit": Out(1),
            }
        )


def address_bits(config: CoreConfig) -> int:
    """Bits of a loader's address: whole bytes, that number every word of both memories."""
    return 8 * byte_count(max(config.store_addr_bits, config.spike_addr_bits))


class Loader(wiring.Component):
    """Assembles words from bytes, and keeps the CRC-32 of the program image that they make.

    A write to the store makes the program invalid. At address 0 it begins a new image; elsewhere it must begin where
    the write before it, which must have been one to the store, ended. ``commit`` makes the program valid if all words
    came in that order and have the CRC-32 that was sent: a word more or less is another CRC. That changes nothing
    else: a later ``commit`` asks whether the store still holds this image.

    It works bit by bit, the address included, and so takes ten clocks for a byte, and between words
    those of the address besides.

    Parameters
    ----------
    config: the core's.
    image: what the store holds after configuration; it is then valid from the start.

    Members
    -------
    port: In(LoaderPort).
    load: Out(stream of ``space``, ``addr``, ``data``); valid may fall without a transfer at ``clear`` only.
    addr: Out, where the next word goes; stands when ``turning`` is low. advance: In(1), pulse, adds one.
    beyond: Out(1), the address is larger than any of both memories.
    program_valid: Out(1); matches: Out(1), what ``commit`` makes of it.
    outside: Out(1), a word since ``begin`` had no place in its memory; such words are dropped.
    partial: Out(1), the last word is not whole. turning: Out(1), a word waits for its memory, or the address changes.
    """

    def __init__(self, config: CoreConfig, *, image: Sequence[int] = ()) -> None:
        self._config = config
        self._image = tuple(image)
        super().__init__(
            {
                "port": In(LoaderPort()),
                "load": Out(stream.Signature(load_layout(config))),
                "addr": Out(address_bits(config)),
                "beyond": Out(1),
                "advance": In(1),
                "program_valid": Out(1, init=bool(image)),
                "matches": Out(1),
                "outside": Out(1),
                "partial": Out(1),
                "turning": Out(1),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, port, addr = self._config, self.port, self.addr
        crc_init = zlib.crc32(image_bytes(config, self._image)) ^ ONES
        m.submodules.crc = crc = Crc32(init=crc_init)
        sizes = [word_bytes(config, space) for space in (0, 1)]
        depths = (config.store_depth, config.spike_depth)
        turns = len(addr) // 8  # bytes of the address
        word = Signal(8 * max(sizes), reset_less=True)
        position = Signal(range(max(*sizes, ADDRESS_BYTES)))  # of a byte in its word or address
        whole, counting = Signal(), Signal()
        carry = Signal()
        in_order, differs = Signal(init=bool(self._image)), Signal()
        same, nonzero = Signal(init=1), Signal()  # the address so far: as it was; not 0
        is_data = (port.kind == Kind.DATA) & ~counting
        is_address = (port.kind == Kind.ADDRESS) & ~counting
        is_check = (port.kind == Kind.CHECK) & ~counting
        there = Signal()
        turn = Signal()
        here = [addr < depth if depth < 1 << len(addr) else 1 for depth in depths]
        m.d.comb += [
            there.eq(Mux(port.space, here[1], here[0]) & ~self.beyond),
            crc.byte.eq(port.bytes.payload),
            crc.step.eq((port.bytes.valid & ~whole) | counting),
            crc.rotate.eq(is_check),
            crc.hold.eq(is_address | (is_data & port.space) | counting),
            port.bytes.ready.eq(crc.last & ~whole & ~counting),
            self.load.valid.eq(whole & there),
            self.load.p.space.eq(port.space),
            self.load.p.addr.eq(addr),
            self.load.p.data.eq(word),
            self.matches.eq(in_order & ~differs),
            self.partial.eq(position != 0),
            self.turning.eq(whole | counting),
            turn.eq(counting | (is_address & (position < turns))),
        ]
        with m.If(crc.step & turn):
            # The address turns; to count, with a carry that starts as one.
            m.d.sync += addr.eq(Cat(addr[1:], Mux(counting, addr[0] ^ carry, crc.bit)))
            m.d.sync += carry.eq(carry & addr[0])
        with m.If(crc.step & is_address):
            m.d.sync += nonzero.eq(nonzero | crc.bit)
            with m.If(turn):
                m.d.sync += same.eq(same & (crc.bit == addr[0]))
            with m.Else():
                m.d.sync += self.beyond.eq(self.beyond | crc.bit)
        with m.If(crc.step & is_check):
            m.d.sync += differs.eq(differs | (crc.bit == crc.value[0]))  # the register is the CRC inverted
        with m.If(crc.step & is_data):
            m.d.sync += word.eq(Cat(word[1:], crc.bit))
            for space, size in enumerate(sizes):
                if size < max(sizes):
                    with m.If(port.space == space):
                        m.d.sync += word[8 * size - 1].eq(crc.bit)
        last = Signal(range(max(*sizes, ADDRESS_BYTES)))
        m.d.comb += last.eq(Mux(is_data, Mux(port.space, sizes[1] - 1, sizes[0] - 1), ADDRESS_BYTES - 1))
        with m.If(crc.step & crc.last):
            m.d.sync += position.eq(position + 1)
            with m.If(position == last):
                m.d.sync += [position.eq(0), whole.eq(is_data), counting.eq(0)]
            with m.If(counting & (position == turns - 1)):
                m.d.sync += [position.eq(0), counting.eq(0), self.beyond.eq(self.beyond | (carry & addr[0]))]
        taken = whole & (self.load.ready | ~there)
        with m.If(taken):
            m.d.sync += [whole.eq(0), self.outside.eq(self.outside | ~there)]
        with m.If(self.advance):
            m.d.sync += same.eq(0)
        with m.If(taken | self.advance):
            m.d.sync += [counting.eq(1), carry.eq(1)]
        with m.If((taken & ~there) | (port.clear & whole)):
            m.d.sync += in_order.eq(0)
        with m.If(port.clear):
            m.d.sync += [
                whole.eq(0),
                position.eq(0),
                nonzero.eq(0),
                differs.eq(0),
                self.outside.eq(0),
                self.beyond.eq(0),
            ]
        with m.If(port.begin):
            m.d.sync += same.eq(~port.space)
            with m.If(~port.space):
                m.d.sync += [self.program_valid.eq(0), in_order.eq(~nonzero | (in_order & same))]
                m.d.comb += crc.clear.eq(~nonzero)
        with m.If(port.commit):
            m.d.sync += self.program_valid.eq(self.matches)
        return m
