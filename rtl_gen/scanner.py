"""Event scanner: one event lane's way from occupancy items to one event a clock."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig
from refmodel.layout import Flag

from .item_queue import ItemQueue
from .layouts import event_layout, item_layout


def _without_lowest(bits: Value) -> Value:
    """``bits`` without its lowest set bit."""
    return Value.cast(Cat(bits[i] & bits[:i].any() if i else 0 for i in range(len(bits))))


def _several(bits: Value) -> Value:
    """Whether more than one bit is set."""
    return _without_lowest(bits).any()


def _lowest(bits: Value) -> Value:
    """Number of the lowest set bit."""
    width = (len(bits) - 1).bit_length()
    chosen = [bits[i] & ~bits[:i].any() for i in range(len(bits))]
    return Value.cast(Cat(Cat(chosen[i] for i in range(len(bits)) if i >> bit & 1).any() for bit in range(width)))


class EventScanner(wiring.Component):
    """Reads the occupied words of queued items from its slice of the spike memory and emits their non-zero channels.

    Four places in a row, each filled while the next one works: the queue, the present item, the
    memory's output register with the word read last, and the emitter.  Lowest word and channel
    first, one event a clock.  A word with a boundary flag (the last one of its item, or no word
    at all) stays in the emitter until ``release``, in the clock of its last event at the
    earliest: that is how the lanes wait for each other, and the next word follows at once.
    Shortcut words leave for the shortcut queue without touching the emitter.

    Members
    -------
    push, item, full: queue input; a push while full is lost (the caller must not).  Items have an
        occupied word, a flag, or are a shortcut's one word.
    shared_taps: weight tags are 0.
    read: the lane's slice; ``data`` comes a clock after ``addr`` and stays while ``en`` is low.
    shortcut_push: ``read.data`` is a shortcut word.
    event: the event of this clock (combinational, ``valid`` 0 when there is none).
    final, flag: the emitter's word has a flag, and at most one event left, which goes now.
    release: drop it at the end of this clock (only while ``final``).
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        lane_bits = config.channels_per_word * config.time_lanes
        super().__init__(
            {
                "push": In(1),
                "item": In(item_layout(config)),
                "full": Out(1),
                "shared_taps": In(1),
                "read": Out(
                    wiring.Signature({"en": Out(1), "addr": Out(config.spike_addr_bits), "data": In(lane_bits)})
                ),
                "shortcut_push": Out(1),
                "event": Out(event_layout(config)),
                "final": Out(1),
                "flag": Out(2),
                "release": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        width, steps = cfg.channels_per_word, cfg.time_lanes
        layout = item_layout(cfg)

        m.submodules.queue = queue = ItemQueue(shape=layout, depth=cfg.fifo_depth)
        m.d.comb += [queue.push.eq(self.push), queue.entry.eq(self.item), self.full.eq(queue.full)]

        # The present item: its words that have not been read.
        item, item_valid = Signal(layout, reset_less=True), Signal()
        issue, item_last = Signal(), Signal()
        rest = Signal(cfg.scan_words)
        m.d.comb += [
            rest.eq(_without_lowest(item.words)),
            item_last.eq(rest == 0),
            self.read.en.eq(issue),
            self.read.addr.eq(Cat(_lowest(item.words), item.row)),
            queue.pop.eq(queue.valid & (~item_valid | (issue & item_last))),
        ]
        with m.If(queue.pop):
            m.d.sync += [item.eq(queue.head), item_valid.eq(1)]
        with m.Elif(issue):
            m.d.sync += item.words.eq(rest)
            with m.If(item_last):
                m.d.sync += item_valid.eq(0)

        # The word in the memory's output register.
        read_valid, read_shortcut, read_null = Signal(), Signal(), Signal()
        read_tag, read_flag = Signal(cfg.tag_bits, reset_less=True), Signal(2, reset_less=True)
        free, leave, load = Signal(), Signal(), Signal()
        m.d.comb += [
            issue.eq(item_valid & (~read_valid | leave)),
            leave.eq(read_shortcut | free),
            load.eq(read_valid & ~read_shortcut & free),
            self.shortcut_push.eq(read_valid & read_shortcut),
        ]
        with m.If(issue):
            m.d.sync += [
                read_valid.eq(1),
                read_shortcut.eq(item.shortcut),
                read_null.eq(item.words == 0),
                read_tag.eq(Mux(self.shared_taps, 0, item.delta + self.read.addr)),
                read_flag.eq(Mux(item_last, item.flag, Flag.NONE)),
            ]
        with m.Elif(leave):
            m.d.sync += read_valid.eq(0)

        # The emitter.
        valid = Signal()
        masks = Signal(data.ArrayLayout(steps, width), reset_less=True)
        remaining, after, busy = Signal(width), Signal(width), Signal(width)
        tag, flag = Signal(cfg.tag_bits, reset_less=True), Signal(2, reset_less=True)
        flagged, done = Signal(), Signal(init=1)
        word = self.read.data
        m.d.comb += [
            busy.eq(Cat(word.word_select(c, steps).any() & ~read_null for c in range(width))),
            after.eq(_without_lowest(remaining)),
            flagged.eq(flag != Flag.NONE),
            self.flag.eq(flag),
            free.eq(done | self.release),
            self.event.valid.eq(remaining.any()),
            self.event.weight.eq(Cat(_lowest(remaining), tag)),
        ]
        selected = masks[width - 1]
        for channel in reversed(range(width - 1)):
            selected = Mux(remaining[channel], masks[channel], selected)
        m.d.comb += self.event.mask.eq(selected)
        with m.If(load):
            m.d.sync += [valid.eq(1), masks.eq(word), remaining.eq(busy), tag.eq(read_tag), flag.eq(read_flag)]
        with m.Else():
            m.d.sync += remaining.eq(after)
            with m.If(free):
                m.d.sync += valid.eq(0)
        # Whether the word ends with this clock: unflagged (``done``, also if there is none), or if it may (``final``).
        if isinstance(platform, SiliconBluePlatform):
            # Known a clock before: iCE40's block RAM leaves time to count a new word's events.
            read_flagged = read_flag != Flag.NONE
            with m.If(load):
                m.d.sync += [
                    done.eq(~read_flagged & ~_several(busy)),
                    self.final.eq(read_flagged & ~_several(busy)),
                ]
            with m.Else():
                m.d.sync += [
                    done.eq(done | self.release | (~flagged & ~_several(after))),
                    self.final.eq(valid & flagged & ~self.release & ~_several(after)),
                ]
        else:
            last = ~after.any()
            m.d.comb += [done.eq(~valid | (last & ~flagged)), self.final.eq(valid & flagged & last)]
        return m
