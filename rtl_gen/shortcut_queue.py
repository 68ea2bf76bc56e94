"""Shortcut queue: shortcut words between the lanes that fetch them and the neurons that use them."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import barrier_to_slot, slot_to_writeback

from .block_ram import LUT_RAM, family_of
from .delay import delayed
from .layouts import COLLISION_FREE


def queue_depth(config: CoreConfig) -> int:
    """Words that can wait at once, as a power of two.

    A lane fetches the shortcut words of a tile's chunk while it still waits to drain the one
    before: two.  Others are between their drain and their last write, and drains come at least
    R clocks apart.
    """
    interval = config.slots_per_chunk
    turns = min(interval, config.engines * (config.max_planes + 1)) if config.engines > 1 else config.max_planes
    written = barrier_to_slot(config) + interval + slot_to_writeback(config) + turns
    return 1 << ((2 + -(-written // interval)) * config.max_planes - 1).bit_length()


class ShortcutQueue(wiring.Component):
    """First-in first-out memories, one a lane, without flow control: they are deep enough never to be full.

    Each lane pushes its slices when it comes to them; words are popped whole.  A word shows three clocks after its
    last slice's push at the latest, if it is the oldest; the words here wait longer, since a tile's sums pass the
    array and the neurons first.

    Members
    -------
    push: bit k: add slice k of ``push_word`` to lane k's memory.
    pop: drop the oldest word: the next one is ``word`` two clocks later.  clear: drop all.
    word: the oldest word.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "push": In(config.event_lanes),
                "push_word": In(config.spike_width),
                "pop": In(1),
                "word": Out(config.spike_width),
                "clear": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, depth = self._config.event_lanes, queue_depth(self._config)
        width = self._config.spike_width // lanes
        head, following = Signal(range(depth)), Signal(range(depth))
        m.d.comb += following.eq(head + self.pop)
        m.d.sync += head.eq(following)
        # A register before the memory, or behind it: ECP5's block RAM has one there and is slow without it.
        block = depth > LUT_RAM
        behind = block and family_of(platform) == "ecp5"
        attrs = COLLISION_FREE | ({"ram_style": "block"} if block else {})
        parts = []
        for k in range(lanes):
            m.submodules[f"words{k}"] = words = Memory(shape=width, depth=depth, init=[], attrs=attrs)
            write, read = words.write_port(), words.read_port()
            tail = Signal(range(depth), name=f"tail{k}")
            m.d.comb += [
                write.en.eq(self.push[k]),
                write.addr.eq(tail),
                write.data.eq(self.push_word.word_select(k, width)),
                read.en.eq(1),
                read.addr.eq(following if behind else head),
            ]
            m.d.sync += tail.eq(tail + self.push[k])
            with m.If(self.clear):
                m.d.sync += tail.eq(0)
            parts.append(delayed(m, read.data, 1, f"word{k}") if behind else read.data)
        m.d.comb += self.word.eq(Cat(parts))
        with m.If(self.clear):
            m.d.sync += head.eq(0)
        return m
