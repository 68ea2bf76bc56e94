"""Scan front: occupancy items to event lanes, and the barrier between the lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, Flag

from .layouts import bundle_layout, item_layout
from .scanner import EventScanner
from .spike_memory import slice_read


class ScanFront(wiring.Component):
    """Gives each item to the event lanes that have something in it, and releases the lanes together.

    Between walker and lanes are two registers: the item while its row of the occupancy memory is
    read, and the item with what is occupied.  They stand still (``advance`` low) only while a lane
    that wants the item in the second one has a full queue.  A lane takes an item if a word of it
    is occupied, if it has a flag, or if it is the shortcut's.

    At a boundary flag the lanes wait until the slowest lets its last event go; the bundle with
    that event carries SHIFT (next bit-plane) or DRAIN (next tile or chunk).  A drain also waits
    until the neuron stage has had its R clocks for the one before.  The lanes tell a clock ahead,
    so that the release is a register.

    Members
    -------
    valid, item: the walker's item; advance: it is taken.
    occupancy: row of the occupancy memory of the item taken last.
    shared_taps: from the descriptor.
    reads: the lanes' slices of the spike memory.
    shortcut_push: bit k: ``reads[k].data`` is a shortcut word's slice.
    bundle: for the array's stage 0, combinational.
    drained, drained_last: pulse at a drain barrier; at the slab's last.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "valid": In(1),
                "item": In(item_layout(config)),
                "advance": Out(1),
                "occupancy": In(config.scan_words * config.event_lanes),
                "shared_taps": In(1),
                "reads": Out(slice_read(config)).array(config.event_lanes),
                "shortcut_push": Out(config.event_lanes),
                "bundle": Out(bundle_layout(config)),
                "drained": Out(1),
                "drained_last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        layout = item_layout(cfg)

        # The item whose row is read, and the item with what is occupied.
        item, item_valid, forced = Signal(layout, reset_less=True), Signal(), Signal()  # by a flag or as a shortcut
        held_item = Signal(layout, reset_less=True)
        here = Signal(data.ArrayLayout(cfg.scan_words, cfg.event_lanes))
        occupied = Signal(data.ArrayLayout(cfg.scan_words, cfg.event_lanes))
        wants, full = Signal(cfg.event_lanes), Signal(cfg.event_lanes)
        m.d.comb += self.advance.eq((wants & full) == 0)
        for k in range(cfg.event_lanes):
            for word in range(cfg.scan_words):
                filled = self.occupancy[word * cfg.event_lanes + k] | item.shortcut
                m.d.comb += here[k][word].eq(item.words[word] & filled)
        with m.If(self.advance):
            m.d.sync += [
                item.eq(self.item),
                item_valid.eq(self.valid),
                forced.eq((self.item.flag != Flag.NONE) | self.item.shortcut),
                held_item.eq(item),
                occupied.eq(here),
            ]
            for k in range(cfg.event_lanes):
                m.d.sync += wants[k].eq(item_valid & (here[k].any() | forced))

        lanes = []
        for k in range(cfg.event_lanes):
            lane = EventScanner(config=cfg)
            m.submodules[f"lane{k}"] = lane
            lanes.append(lane)
            m.d.comb += [
                full[k].eq(lane.full),
                lane.push.eq(wants[k] & self.advance),
                lane.item.eq(held_item),
                lane.item.words.eq(occupied[k]),
                lane.shared_taps.eq(self.shared_taps),
                self.reads[k].en.eq(lane.read.en),
                self.reads[k].addr.eq(lane.read.addr),
                self.reads[k].move.eq(lane.read.move),
                lane.read.data.eq(self.reads[k].data),
                self.shortcut_push[k].eq(lane.shortcut_push),
            ]
            m.d.comb += self.bundle.events[k].eq(lane.event)

        # Barrier
        release, drains = Signal(), Signal()
        rested, rested_next = Signal(init=1), Signal()
        rest = Signal(range(cfg.slots_per_chunk))
        m.d.comb += [
            drains.eq(lanes[0].flag != Flag.SHIFT),
            self.drained.eq(release & drains),
            self.drained_last.eq(release & (lanes[0].flag == Flag.DRAIN_LAST)),
            rested_next.eq(~self.drained & (rested | (rest == 0))),
        ]
        m.d.comb += [lane.release.eq(release) for lane in lanes]
        m.d.sync += [
            release.eq(Cat(lane.ends for lane in lanes).all() & (lanes[0].shifts | rested_next)),
            rested.eq(rested_next),
        ]
        # The next drain may come R clocks after this one.
        with m.If(self.drained):
            m.d.sync += rest.eq(cfg.slots_per_chunk - 2)
        with m.Elif(~rested):
            m.d.sync += rest.eq(rest - 1)
        m.d.comb += self.bundle.op.eq(Mux(release, Mux(drains, ArrayOp.DRAIN, ArrayOp.SHIFT), ArrayOp.ADD))
        return m
