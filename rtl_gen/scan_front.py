"""Scan front: occupancy items to event lanes, and the barrier between the lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, Flag

from .layouts import bundle_layout, counts_words, item_layout
from .scanner import EventScanner
from .spike_memory import slice_read


class ScanFront(wiring.Component):
    """Gives each item to the event lanes that have something in it, and releases the lanes together.

    Between walker and lanes are two registers: the item while its row of the occupancy memory is
    read, and the item with what is occupied.  The second one stands still only while a lane that
    wants its item has a full queue.  The walker and the first one learn of it a clock later
    (``advance`` is a register); what they still send waits in a spare place.  A lane takes an item
    if a word of it is occupied, if it has a flag, or if it is the shortcut's.

    At a boundary flag the lanes wait until the slowest lets its last event go; the bundle with
    that event carries SHIFT (next bit-plane) or DRAIN (next tile or chunk).  A drain also waits
    until the neuron stage has had its R clocks for the one before.  The lanes tell a clock ahead,
    so that the release is a register.

    Members
    -------
    valid, item: the walker's item; advance: it is taken.
    occupancy, several: row of the occupancy memory of the item taken last.
    shared_taps: from the descriptor.
    reads: the lanes' slices of the spike memory.
    shortcut_push: bit k: ``reads[k].data`` is a shortcut word's slice.
    bundle: for the array's stage 0, combinational.
    drained, drained_last: pulse at a drain barrier; at the slab's last.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        words = config.scan_words * config.event_lanes
        super().__init__(
            {
                "valid": In(1),
                "item": In(item_layout(config)),
                "advance": Out(1),
                "occupancy": In(words),
                **({"several": In(words)} if counts_words(config) else {}),
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
        layout, lane_count = item_layout(cfg), cfg.event_lanes

        # The item whose row is read, and the item with what is occupied, which waits for the lanes.
        item, item_valid, forced = Signal(layout, reset_less=True), Signal(), Signal()  # by a flag or as a shortcut
        wanted = data.StructLayout(
            {
                "item": layout,
                "occupied": data.ArrayLayout(cfg.scan_words, lane_count),
                "several": cfg.scan_words * lane_count if counts_words(cfg) else 0,
                "wants": lane_count,
            }
        )
        found, spare, held = Signal(wanted), Signal(wanted, reset_less=True), Signal(wanted)
        full, going = Signal(lane_count), Signal(init=1)
        m.d.comb += [self.advance.eq(going), found.item.eq(item)]
        if counts_words(cfg):
            m.d.comb += found.several.eq(self.several)
        for k in range(lane_count):
            for word in range(cfg.scan_words):
                filled = self.occupancy[word * lane_count + k] | item.shortcut
                m.d.comb += found.occupied[k][word].eq(item.words[word] & filled)
            m.d.comb += found.wants[k].eq(item_valid & (found.occupied[k].any() | forced))
        with m.If(going):
            m.d.sync += [
                item.eq(self.item),
                item_valid.eq(self.valid),
                forced.eq((self.item.flag != Flag.NONE) | self.item.shortcut),
                spare.eq(found),
            ]
        # What comes before ``going`` falls waits in the spare place.
        passes = Signal()
        m.d.comb += passes.eq((held.wants & full) == 0)
        m.d.sync += going.eq(passes)
        with m.If(passes):
            m.d.sync += held.eq(Mux(going, found, spare))

        lanes = []
        for k in range(cfg.event_lanes):
            lane = EventScanner(config=cfg)
            m.submodules[f"lane{k}"] = lane
            lanes.append(lane)
            m.d.comb += [
                full[k].eq(lane.full),
                lane.push.eq(held.wants[k] & passes),
                *(lane.item[name].eq(held.item[name]) for name, _ in layout if name != "words"),
                lane.item.words.eq(held.occupied[k]),
                *([lane.item.several.eq(held.several[k::lane_count])] if counts_words(cfg) else []),
                lane.shared_taps.eq(self.shared_taps),
                self.reads[k].en.eq(lane.read.en),
                self.reads[k].addr.eq(lane.read.addr),
                self.reads[k].move.eq(lane.read.move),
                lane.read.data.eq(self.reads[k].data),
                self.shortcut_push[k].eq(lane.shortcut_push),
            ]
            m.d.comb += self.bundle.events[k].eq(lane.event)

        # Barrier
        releases, release, drains = Signal(), Signal(), Signal()  # in the next clock, in this one
        rested, rested_next = Signal(init=1), Signal()
        rest = Signal(range(cfg.slots_per_chunk))
        m.d.comb += [
            drains.eq(lanes[0].flag != Flag.SHIFT),
            self.drained.eq(release & drains),
            self.drained_last.eq(release & (lanes[0].flag == Flag.DRAIN_LAST)),
            rested_next.eq(~self.drained & (rested | (rest == 0))),
        ]
        m.d.comb += releases.eq(Cat(lane.ends for lane in lanes).all() & (lanes[0].shifts | rested_next))
        m.d.comb += [lane.release.eq(releases) for lane in lanes]
        m.d.sync += [release.eq(releases), rested.eq(rested_next)]
        # The next drain may come R clocks after this one.
        with m.If(self.drained):
            m.d.sync += rest.eq(cfg.slots_per_chunk - 2)
        with m.Elif(~rested):
            m.d.sync += rest.eq(rest - 1)
        m.d.comb += self.bundle.op.eq(Mux(release, Mux(drains, ArrayOp.DRAIN, ArrayOp.SHIFT), ArrayOp.ADD))
        return m
