"""Scan front: fetched spike words to event lanes, and the barrier between the lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, Flag

from .layouts import bundle_layout, lane_word_layout
from .scanner import EventScanner


class ScanFront(wiring.Component):
    """Distributes each fetched word to the K event scanners and releases them together.

    The fetch pipeline is rigid: walker, memory, register; it stands still (``advance`` low)
    only while a lane that wants the word in the register has a full queue.  A lane that has
    nothing in a word does not take it, so empty words cost no event clock.

    At a boundary flag the lanes wait until the slowest lets its last event go; then the next
    bundle carries DOUBLE (next bit-plane) or NEW (next tile).  A drain also waits until the
    neuron stage has had its R clocks for the one before.

    Members
    -------
    valid, tag, flag, empty, shortcut: the walker's item; advance: it is taken.
    word: the spike memory's output for the item taken one clock before.
    restart: a slab starts: the next bundle clears the sums.
    shortcut_push, shortcut_word: shortcut words, in order.
    bundle: register of the array's stage 0.
    drained, drained_last: pulse at a drain barrier; at the slab's last.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "valid": In(1),
                "tag": In(config.tag_bits),
                "flag": In(2),
                "empty": In(1),
                "shortcut": In(1),
                "advance": Out(1),
                "word": In(config.spike_width),
                "restart": In(1),
                "shortcut_push": Out(1),
                "shortcut_word": Out(config.spike_width),
                "bundle": Out(bundle_layout(config)),
                "drained": Out(1),
                "drained_last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        per_word, steps = cfg.channels_per_word, cfg.time_lanes
        lane_bits = per_word * steps

        # Beside the memory's output register.
        read_valid, read_empty, read_shortcut = Signal(), Signal(), Signal()
        read_tag, read_flag = Signal(cfg.tag_bits), Signal(2)
        # The register before the lanes.
        held_shortcut = Signal()
        held_word = Signal(cfg.spike_width, reset_less=True)
        held_tag, held_flag = Signal(cfg.tag_bits), Signal(2)
        wants = Signal(cfg.event_lanes)
        busy_bits = Signal(cfg.output_lanes)
        full = Signal(cfg.event_lanes)

        m.d.comb += self.advance.eq((wants & full) == 0)
        with m.If(self.advance):
            m.d.sync += [
                read_valid.eq(self.valid),
                read_empty.eq(self.empty),
                read_shortcut.eq(self.shortcut),
                read_tag.eq(self.tag),
                read_flag.eq(self.flag),
                held_shortcut.eq(read_valid & read_shortcut),
                held_word.eq(self.word),
                held_tag.eq(read_tag),
                held_flag.eq(read_flag),
            ]
            for k in range(cfg.event_lanes):
                part = self.word.word_select(k, lane_bits)
                busy = Cat((part.word_select(c, steps) != 0) & ~read_empty for c in range(per_word))
                m.d.sync += [
                    busy_bits.word_select(k, per_word).eq(busy),
                    wants[k].eq(read_valid & ~read_shortcut & (busy.any() | (read_flag != Flag.NONE))),
                ]
        m.d.comb += [
            self.shortcut_push.eq(held_shortcut & self.advance),
            self.shortcut_word.eq(held_word),
        ]

        lanes = []
        for k in range(cfg.event_lanes):
            lane = EventScanner(config=cfg)
            m.submodules[f"lane{k}"] = lane
            lanes.append(lane)
            word = Signal(lane_word_layout(cfg), name=f"word{k}")
            m.d.comb += [
                word.masks.eq(held_word.word_select(k, lane_bits)),
                word.busy.eq(busy_bits.word_select(k, per_word)),
                word.tag.eq(held_tag),
                word.flag.eq(held_flag),
                lane.word.eq(word),
                lane.push.eq(wants[k] & self.advance),
                full[k].eq(lane.full),
            ]
            m.d.sync += self.bundle.events[k].eq(lane.event)

        # Barrier
        ready, release = Signal(), Signal()
        drains = Signal()
        rest = Signal(range(cfg.slots_per_chunk))
        m.d.comb += [
            ready.eq(Cat(lane.waiting for lane in lanes).all()),
            drains.eq(lanes[0].flag != Flag.SHIFT),
            release.eq(ready & (~drains | (rest == 0))),
            self.drained.eq(release & drains),
            self.drained_last.eq(release & (lanes[0].flag == Flag.DRAIN_LAST)),
        ]
        m.d.comb += [lane.release.eq(release) for lane in lanes]
        with m.If(self.drained):
            m.d.sync += rest.eq(cfg.slots_per_chunk - 1)
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)

        pending = Signal(2)
        m.d.sync += [
            pending.eq(Mux(release, Mux(drains, ArrayOp.NEW, ArrayOp.DOUBLE), ArrayOp.ADD)),
            self.bundle.op.eq(pending),
        ]
        with m.If(self.restart):
            m.d.sync += pending.eq(ArrayOp.CLEAR)
        return m
