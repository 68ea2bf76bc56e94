"""Spike memory: the buffers of all tensors, one write and one read port."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE

#: Bits of an iCE40 block RAM, and its widths.
_ICE40_BITS, _ICE40_WIDTHS = 4096, (16, 8, 4, 2)


class SpikeMemory(wiring.Component):
    """``spike_depth`` words of P x Tp bits; ``read.data`` comes one clock after ``read.addr``.

    A word that is read in the clock in which it is written is undefined.  No core does that:
    a shortcut word is read long before its pixel is written, and no other tensor is read while
    it is written.

    On iCE40 it is built of slices whose depth is the memory's, so that no multiplexer joins
    block RAMs.

    Members
    -------
    write: ``en``, ``addr``, ``data``.  read: ``en``, ``addr``, ``data``; holds its word while ``en`` is low.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        addr, width = config.spike_addr_bits, config.spike_width
        super().__init__(
            {
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "read": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": In(width)})),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depth, width = self._config.spike_depth, self._config.spike_width
        part = width
        if isinstance(platform, SiliconBluePlatform):
            part = next((w for w in _ICE40_WIDTHS if w * depth <= _ICE40_BITS), _ICE40_WIDTHS[-1])
        for low in range(0, width, part):
            bits = slice(low, min(low + part, width))
            memory = Memory(shape=bits.stop - bits.start, depth=depth, init=[], attrs=COLLISION_FREE)
            m.submodules[f"bits{low}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(self.write.en),
                write.addr.eq(self.write.addr),
                write.data.eq(self.write.data[bits]),
                read.en.eq(self.read.en),
                read.addr.eq(self.read.addr),
                self.read.data[bits].eq(read.data),
            ]
        return m
