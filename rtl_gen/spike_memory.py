"""Spike memory: the buffers of all tensors, one write and one read port."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE

#: Bits of an iCE40 block RAM, and its widths.
_ICE40_BITS, _ICE40_WIDTHS = 4096, (16, 8, 4, 2)


def _ice40_part(depth: int) -> int:
    """Bits of a word that one iCE40 block RAM holds ``depth`` times, or the fewest it can be read in."""
    return next((bits for bits in _ICE40_WIDTHS if bits * depth <= _ICE40_BITS), _ICE40_WIDTHS[-1])


def _ice40_blocks(depth: int, width: int) -> int:
    deepest = _ICE40_BITS // _ICE40_WIDTHS[-1]
    return -(-width // _ice40_part(depth)) * max(1, -(-depth // deepest))


def ice40_sections(depth: int, width: int) -> tuple[int, ...]:
    """Words of the sections that a memory has on iCE40: one, or powers of two where that saves block RAMs."""
    sections = tuple(1 << bit for bit in reversed(range(depth.bit_length())) if depth >> bit & 1)
    if sum(_ice40_blocks(section, width) for section in sections) < _ice40_blocks(depth, width):
        return sections
    return (depth,)


def ice40_blocks(depth: int, width: int) -> int:
    """Block RAMs of a memory of ``depth`` words on iCE40."""
    return sum(_ice40_blocks(section, width) for section in ice40_sections(depth, width))


def slice_read(config: CoreConfig) -> wiring.Signature:
    """Read port of a slice, as who reads it has it.

    en, addr: the memory reads.  move: its output register takes what was read last.  data: that register.
    """
    bits = config.spike_width // config.event_lanes
    return wiring.Signature({"en": Out(1), "addr": Out(config.spike_addr_bits), "move": Out(1), "data": In(bits)})


class SpikeMemory(wiring.Component):
    """``spike_depth`` words of P x Tp bits in K slices, each with a read address of its own.

    Slice k has the bits of event lane k's channels.  A word that is read in the clock in which it
    is written is undefined.  No core does that: a shortcut word is read long before its pixel is
    written, and no other tensor is read while it is written.

    On iCE40 a slice is built of memories whose depth is the spike memory's, so that no multiplexer
    joins block RAMs, or of sections of such memories where that takes fewer (1536 words: 1024 and 512).

    Members
    -------
    write: ``en``, ``addr``, ``data``: a whole word.
    reads: for each slice, see :func:`slice_read`; a word read in one clock may move in the next.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        addr, width, lanes = config.spike_addr_bits, config.spike_width, config.event_lanes
        super().__init__(
            {
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "reads": In(slice_read(config)).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self._config.event_lanes
        width = self._config.spike_width // lanes
        on_ice40 = isinstance(platform, SiliconBluePlatform)
        for k in range(lanes):
            m.submodules[f"slice{k}"] = part = SpikeSlice(
                depth=self._config.spike_depth, width=width, on_ice40=on_ice40
            )
            m.d.comb += [
                part.write.en.eq(self.write.en),
                part.write.addr.eq(self.write.addr),
                part.write.data.eq(self.write.data.word_select(k, width)),
                part.read.en.eq(self.reads[k].en),
                part.read.addr.eq(self.reads[k].addr),
            ]
            shown = Signal(width, name=f"shown{k}", reset_less=True)
            with m.If(self.reads[k].move):
                m.d.sync += shown.eq(part.read.data)
            m.d.comb += self.reads[k].data.eq(shown)
        return m


class SpikeSlice(wiring.Component):
    """``depth`` words of ``width`` bits, one write and one read port; ``on_ice40``: in that family's block RAMs.

    Members
    -------
    write: ``en``, ``addr``, ``data``.  read: ``en``, ``addr``, ``data``; holds its word while ``en`` is low.
    """

    def __init__(self, *, depth: int, width: int, on_ice40: bool = False):
        self._depth, self._width, self._on_ice40 = depth, width, on_ice40
        addr = (depth - 1).bit_length()
        super().__init__(
            {
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "read": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": In(width)})),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depth, width = self._depth, self._width
        sections = ice40_sections(depth, width) if self._on_ice40 else (depth,)
        if len(sections) == 1:
            self._section(m, "", depth, self.write.en, self.read.data)
            return m
        found, start = self.read.data, 0
        for words in sections:
            # Sections are powers of two, the largest first: the upper bits of an address tell its own.
            bits = (words - 1).bit_length()
            data = Signal(width, name=f"data{start}")
            write_here = self.write.en & (self.write.addr[bits:] == start >> bits)
            self._section(m, f"words{start}_", words, write_here, data)
            if start + words == depth:
                m.d.comb += found.eq(data)
            else:
                read_here, others = Signal(name=f"read_here{start}"), Signal(width, name=f"beyond{start}")
                with m.If(self.read.en):
                    m.d.sync += read_here.eq(self.read.addr[bits:] == start >> bits)
                m.d.comb += found.eq(Mux(read_here, data, others))
                found = others
            start += words
        return m

    def _section(self, m: Module, prefix: str, depth: int, write_en: Value, data: Signal) -> None:
        """A section of ``depth`` words, side by side in block RAMs of its depth; ``data`` is what is read."""
        part = _ice40_part(depth) if self._on_ice40 else self._width
        for low in range(0, self._width, part):
            bits = slice(low, min(low + part, self._width))
            memory = Memory(shape=bits.stop - bits.start, depth=depth, init=[], attrs=COLLISION_FREE)
            m.submodules[f"{prefix}bits{low}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(write_en),
                write.addr.eq(self.write.addr),
                write.data.eq(self.write.data[bits]),
                read.en.eq(self.read.en),
                read.addr.eq(self.read.addr),
                data[bits].eq(read.data),
            ]
