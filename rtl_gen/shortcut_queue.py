"""Shortcut queue: shortcut words between the scanner that fetches them and the neurons that use them."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE


def queue_depth(config: CoreConfig) -> int:
    """Words that can wait at once, as a power of two.

    A tile's shortcut words wait from its walk to its write-back.  At most one tile's end can
    stand in each place of a lane's queue, and four more between there and the write-back.
    """
    tiles = config.fifo_depth + 6 + max(0, config.tree_levels - 4)  # a deep tree holds tiles, too
    return 1 << (tiles * config.max_planes - 1).bit_length()


class ShortcutQueue(wiring.Component):
    """A first-in first-out memory without flow control: it is deep enough never to be full.

    A word may be popped from the second clock after its push on; the words here wait longer,
    since a tile's sums pass the array and the neurons first.

    Members
    -------
    push, push_word: add a word.  pop: drop ``word``, the oldest one.  clear: drop all.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "push": In(1),
                "push_word": In(config.spike_width),
                "pop": In(1),
                "word": Out(config.spike_width),
                "clear": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = queue_depth(self._config)
        m.submodules.words = words = Memory(shape=self._config.spike_width, depth=depth, init=[], attrs=COLLISION_FREE)
        write, read = words.write_port(), words.read_port()
        head, tail, following = Signal(range(depth)), Signal(range(depth)), Signal(range(depth))
        m.d.comb += [
            following.eq(head + self.pop),
            write.en.eq(self.push),
            write.addr.eq(tail),
            write.data.eq(self.push_word),
            read.en.eq(1),
            read.addr.eq(following),
            self.word.eq(read.data),
        ]
        m.d.sync += [head.eq(following), tail.eq(tail + self.push)]
        with m.If(self.clear):
            m.d.sync += [head.eq(0), tail.eq(0)]
            m.d.comb += read.addr.eq(0)
        return m
