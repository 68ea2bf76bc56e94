"""Event scanner: one event lane's way from occupancy items to one event a clock."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import Flag

from .bits import at_least, choose_lowest, lowest, without_lowest
from .item_queue import ItemQueue
from .layouts import counts_words, event_layout, lane_item_layout
from .lut import one_lut
from .spike_memory import slice_read


class EventScanner(wiring.Component):
    """Reads the occupied words of queued items from its slice of the spike memory and emits their non-zero channels.

    Five places in a row, each filled while the next one works: the queue, the present item, the
    memory with the word read last, its output register, and the emitter.  Lowest word and channel
    first, one event a clock.  A word with a boundary flag (the last one of its item, or no word
    at all) stays in the emitter until ``release``, in the clock of its last event at the
    earliest: that is how the lanes wait for each other, and the next word follows at once.
    Shortcut words leave the output register for the shortcut queue without touching the emitter.

    Members
    -------
    push, item, full: queue input; a push while full is lost (the caller must not).  Items have an
        occupied word, a flag, or are a shortcut's one word.
    shared_taps: weight tags are 0.
    read: the lane's slice.
    shortcut_push: ``read.data`` is a shortcut word.
    event: the event of this clock (combinational, ``valid`` 0 when there is none).
    ends, shifts: in the next clock the emitter's word will have a flag, and at most one event left, which goes
        then; the flag will be SHIFT.
    flag: of the emitter's word.
    release: drop it at the end of the next clock (only with ``ends``).
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "push": In(1),
                "item": In(lane_item_layout(config)),
                "full": Out(1),
                "shared_taps": In(1),
                "read": Out(slice_read(config)),
                "shortcut_push": Out(1),
                "event": Out(event_layout(config)),
                "ends": Out(1),
                "shifts": Out(1),
                "flag": Out(2),
                "release": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        width, steps = cfg.channels_per_word, cfg.time_lanes
        layout = lane_item_layout(cfg)
        # A word is in the memory; one for the emitter waits behind it; the emitter's goes on after this clock.
        read_valid, shown_keep, emits = Signal(), Signal(), Signal()
        move, issue = Signal(), Signal()

        m.submodules.queue = queue = ItemQueue(shape=layout, depth=cfg.fifo_depth)
        m.d.comb += [queue.push.eq(self.push), queue.entry.eq(self.item), self.full.eq(queue.full)]

        # The present item: its words that have not been read; ``more``: beside its next word it has others.
        item, item_valid, more = Signal(layout, reset_less=True), Signal(), Signal()
        asks = one_lut(  # the next word is read, or there is no item
            m, platform, "asks", lambda read, shown, emits, item: (1 ^ (read & shown & emits)) | (1 ^ item),
            read_valid, shown_keep, emits, item_valid,
        )  # fmt: skip
        m.d.comb += [
            queue.pop.eq(asks & ~more),
            queue.vacant.eq(
                one_lut(
                    m, platform, "vacant", lambda asks, more, head: (asks & (1 ^ more)) | (1 ^ head),
                    asks, more, queue.valid,
                )
            ),
        ]  # fmt: skip
        with m.If(queue.pop):
            m.d.sync += [item.eq(queue.head), item_valid.eq(queue.valid)]
        with m.If(asks):
            m.d.sync += [
                item.words.eq(Mux(more, without_lowest(item.words), queue.head.words)),
                more.eq(Mux(more, at_least(item.words, 3), queue.valid & at_least(queue.head.words, 2))),
            ]

        # The word that the memory read last.
        read_shortcut, read_null = Signal(), Signal()
        read_tag, read_flag = Signal(cfg.tag_bits, reset_less=True), Signal(2, reset_less=True)
        m.d.comb += [
            issue.eq(~read_valid | move),
            self.read.en.eq(issue),
            self.read.addr.eq(Cat(lowest(item.words), item.row) if cfg.scan_words > 1 else item.row),
        ]
        with m.If(issue):
            m.d.sync += [
                read_valid.eq(item_valid),
                read_shortcut.eq(item.shortcut),
                read_null.eq(item.words == 0),
                read_tag.eq(Mux(self.shared_taps, 0, item.delta + self.read.addr)),
                read_flag.eq(Mux(more, Flag.NONE, item.flag)),
            ]

        # The word in its output register.
        shown_null = Signal(reset_less=True)
        shown_tag, shown_flag = Signal(cfg.tag_bits, reset_less=True), Signal(2, reset_less=True)
        m.d.comb += [move.eq(~(shown_keep & emits)), self.read.move.eq(move)]
        with m.If(move):
            m.d.sync += [
                shown_keep.eq(read_valid & ~read_shortcut),
                self.shortcut_push.eq(read_valid & read_shortcut),
                shown_null.eq(read_null),
                shown_tag.eq(read_tag),
                shown_flag.eq(read_flag),
            ]

        # The emitter.
        masks = Signal(data.ArrayLayout(steps, width), reset_less=True)
        remaining, busy = Signal(width), Signal(width)
        tag, flagged = Signal(cfg.tag_bits, reset_less=True), Signal()
        word, load = self.read.data, Signal()
        m.d.comb += [
            load.eq(shown_keep & ~emits),
            busy.eq(Cat(word.word_select(c, steps).any() for c in range(width))),
            self.event.valid.eq(remaining.any()),
            self.event.mask.eq(choose_lowest(remaining, [masks[c] for c in range(width)])),
            self.event.weight.eq(Cat(lowest(remaining), tag) if width > 1 else tag),
        ]
        with m.If(load):
            m.d.sync += [
                masks.eq(word),
                remaining.eq(Mux(shown_null, 0, busy)),
                tag.eq(shown_tag),
                self.flag.eq(shown_flag),
            ]
        with m.Else():
            m.d.sync += remaining.eq(without_lowest(remaining))
        # Whether the word will end with the next clock: by itself (or if there is none), or if it may.
        shown_flagged, one_shown, one_left = Signal(), Signal(), Signal()
        if counts_words(cfg):
            read_one, few = Signal(), Signal()
            with m.If(issue):
                several = choose_lowest(item.words, [item.several[i] for i in range(cfg.scan_words)])
                m.d.sync += read_one.eq((item.words == 0) | ~several)
            with m.If(move):
                m.d.sync += one_shown.eq(read_one)
            m.d.sync += few.eq(Mux(load, shown_null | ~at_least(busy, 3), ~at_least(remaining, 4)))
            m.d.comb += one_left.eq(few)
        else:
            m.d.comb += [one_shown.eq(shown_null | ~at_least(busy, 2)), one_left.eq(~at_least(remaining, 3))]
        m.d.comb += [
            shown_flagged.eq(shown_flag != Flag.NONE),
            self.ends.eq(Mux(load, shown_flagged & one_shown, flagged & emits & one_left)),
            self.shifts.eq(Mux(load, shown_flag == Flag.SHIFT, self.flag == Flag.SHIFT)),
        ]
        m.d.sync += [
            flagged.eq(Mux(load, shown_flagged, flagged & emits)),
            emits.eq(Mux(load, shown_flagged | ~one_shown, emits & (flagged | ~one_left)) & ~self.release),
        ]
        return m
