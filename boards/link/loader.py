# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Fills the core's memories from bits, and knows whether the resting store holds a whole program."""

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
from .slots import PHASE, passing, slot_ends


class Kind(enum.Enum, shape=2):
    """What the bytes to a loader are, least significant byte first."""

    DATA = 0  #: words, from the address on
    ADDRESS = 1  #: three bytes of the address
    CHECK = 2  #: four bytes of the CRC-32 that the image should have


class LoaderPort(wiring.Signature):
    """What drives a loader with bytes; the directions are those of the driver.

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


class SerialPort(wiring.Signature):
    """A :class:`LoaderPort` by bits. go: a byte passes in this slot, as ``bit``; only while the loader is not
    ``turning``. It and ``kind`` stay for the second half of the slot."""

    def __init__(self) -> None:
        super().__init__(
            {
                "kind": Out(Kind),
                "go": Out(1),
                "bit": Out(1),
                "space": Out(1),
                "clear": Out(1),
                "begin": Out(1),
                "commit": Out(1),
            }
        )


class Serialiser(wiring.Component):
    """From bytes to bits for a loader. phase, turning: as the loader has them."""

    def __init__(self) -> None:
        super().__init__({"i": In(LoaderPort()), "o": Out(SerialPort()), "phase": In(PHASE), "turning": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        with m.If(~passing(self.phase)):
            m.d.sync += self.o.go.eq(self.i.bytes.valid & ~self.turning)
        m.d.comb += [
            self.o.bit.eq(self.i.bytes.payload.bit_select(self.phase[:3], 1)),
            self.i.bytes.ready.eq(self.o.go & slot_ends(self.phase)),
        ]
        for name in ("kind", "space", "clear", "begin", "commit"):
            m.d.comb += getattr(self.o, name).eq(getattr(self.i, name))
        return m


def address_bits(config: CoreConfig) -> int:
    """Bits of a loader's address: whole bytes, that number every word of both memories."""
    return 8 * byte_count(max(config.store_addr_bits, config.spike_addr_bits))


class Loader(wiring.Component):
    """Writes words to the core's memories, and keeps the CRC-32 of the program image that they make.

    A write to the store makes the program invalid. At address 0 it begins a new image; elsewhere it must begin where
    the write before it, which must have been one to the store, ended. ``commit`` makes the program valid if all words
    came in that order and have the CRC-32 that was sent: a word more or less is another CRC. That changes nothing
    else: a later ``commit`` asks whether the store still holds this image.

    A word takes a slot for each byte, one for its memory, and one for the address (of more than 16 bits: two).

    Parameters
    ----------
    config: the core's.
    image: what the store holds after configuration; it is then valid from the start.

    Members
    -------
    phase: In, of the slot.
    port: In(SerialPort).
    shift: Out(1), a bit enters the word; word: In, the words' register (:class:`boards.link.words.WordRegister`).
    load: Out(stream of ``space``, ``addr``, ``data``); valid may fall without a transfer at ``clear`` only.
    addr: Out, where the next word goes; stands when ``turning`` is low. advance: In(1), pulse, adds one.
    beyond: Out(1), the address is larger than any of both memories.
    program_valid: Out(1); matches: Out(1), what ``commit`` makes of it.
    outside: Out(1), a word since ``begin`` had no place in its memory; such words are dropped.
    partial: Out(1), the last word is not whole. turning: Out(1), a word waits for its memory, or the address changes;
        from the next slot on after a word's last byte or ``advance``, to the end of a slot.
    """

    def __init__(self, config: CoreConfig, *, image: Sequence[int] = ()) -> None:
        self._config = config
        self._image = tuple(image)
        super().__init__(
            {
                "phase": In(PHASE),
                "port": In(SerialPort()),
                "shift": Out(1),
                "word": In(8 * max(word_bytes(config, space) for space in (0, 1))),
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
        config, port, addr, phase = self._config, self.port, self.addr, self.phase
        crc_init = zlib.crc32(image_bytes(config, self._image)) ^ ONES
        m.submodules.crc = crc = Crc32(init=crc_init)
        sizes = [word_bytes(config, space) for space in (0, 1)]
        depths = (config.store_depth, config.spike_depth)
        turns = len(addr) // 8  # bytes of the address
        position = Signal(range(max(*sizes, ADDRESS_BYTES)))  # of a byte in its word or address
        whole, due, counting = Signal(), Signal(), Signal()  # a word waits; the address will count, or does
        carry = Signal()
        in_order, differs = Signal(init=bool(self._image)), Signal()
        same, nonzero = Signal(init=1), Signal()  # the address so far: as it was; not 0
        is_data, is_address, is_check = (port.kind == kind for kind in Kind)
        step, there, ends = Signal(), Signal(), Signal()
        entering, turn = Signal(), Signal()
        here = [addr < depth if depth < 1 << len(addr) else 1 for depth in depths]
        m.d.comb += [
            step.eq(port.go & passing(phase)),
            ends.eq(slot_ends(phase)),
            there.eq(Mux(port.space, here[1], here[0]) & ~self.beyond),
            crc.bit.eq(port.bit),
            crc.step.eq(step & (is_check | (is_data & ~port.space))),
            crc.rotate.eq(is_check),
            self.shift.eq(step & is_data),
            self.load.valid.eq(whole & there),
            self.load.p.space.eq(port.space),
            self.load.p.addr.eq(addr),
            self.load.p.data.eq(self.word),
            self.matches.eq(in_order & ~differs),
            self.partial.eq(position.any()),
            self.turning.eq(whole | due | counting),
            entering.eq(step & is_address & (position < turns)),
        ]

        # To count, the address turns once, with a carry that starts as one: sixteen bits in a slot.
        if turns == 1:
            m.d.comb += turn.eq(counting & passing(phase))
        elif turns == 2:
            m.d.comb += turn.eq(counting)
        else:
            second = Signal()
            with m.If(counting & ends):
                m.d.sync += second.eq(~second)
            m.d.comb += turn.eq(counting & (~second | passing(phase)))
        with m.If(entering | turn):
            m.d.sync += addr.eq(Cat(addr[1:], Mux(counting, addr[0] ^ carry, port.bit)))
            m.d.sync += carry.eq(carry & addr[0])
        with m.If(ends):
            m.d.sync += [counting.eq(due), due.eq(0)]
            with m.If(counting & turn):
                m.d.sync += self.beyond.eq(self.beyond | (carry & addr[0]))
        if turns > 2:
            with m.If(ends & counting & ~second):
                m.d.sync += [counting.eq(1), self.beyond.eq(self.beyond)]

        with m.If(step & is_address):
            m.d.sync += nonzero.eq(nonzero | port.bit)
            with m.If(entering):
                m.d.sync += same.eq(same & (port.bit == addr[0]))
            with m.Else():
                m.d.sync += self.beyond.eq(self.beyond | port.bit)
        with m.If(step & is_check):
            m.d.sync += differs.eq(differs | (port.bit == crc.low))  # the register is the CRC inverted
        last = Signal(range(max(*sizes, ADDRESS_BYTES)))
        m.d.comb += last.eq(Mux(is_data, Mux(port.space, sizes[1] - 1, sizes[0] - 1), ADDRESS_BYTES - 1))
        with m.If(step & ends):
            m.d.sync += position.eq(position + 1)
            with m.If(position == last):
                m.d.sync += [position.eq(0), whole.eq(is_data)]
        taken = whole & (self.load.ready | ~there)
        with m.If(taken):
            m.d.sync += [whole.eq(0), self.outside.eq(self.outside | ~there)]
        with m.If(self.advance):
            m.d.sync += same.eq(0)
        with m.If(taken | self.advance):
            m.d.sync += [due.eq(1), carry.eq(1)]
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
