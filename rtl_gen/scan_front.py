"""Scan front: occupancy items to event lanes, and the barrier between the lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, Flag

from .layouts import bundle_layout, item_layout
from .scanner import EventScanner


class ScanFront(wiring.Component):
    """Gives each item to the event lanes that have something in it, and releases the lanes together.

    Between walker and lanes is a register; it stands still (``advance`` low) only while a lane
    that wants the item in it has a full queue.  A lane takes an
    item if a word of it is occupied, if it has a flag, or if it is the shortcut's.

    At a boundary flag the lanes wait until the slowest lets its last event go; the bundle with
    that event carries SHIFT (next bit-plane) or DRAIN (next tile or chunk).  A drain also waits
    until the neuron stage has had its R clocks for the one before.

    Members
    -------
    valid, item: the walker's item; advance: it is taken.
    occupancy: the item's row of the occupancy memory.
    shared_taps: from the descriptor.
    reads: the lanes' slices of the spike memory.
    shortcut_push: bit k: ``reads[k].data`` is a shortcut word's slice.
    bundle: for the array's stage 0, combinational.
    drained, drained_last: pulse at a drain barrier; at the slab's last.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        lane_bits = config.spike_width // config.event_lanes
        read = {"en": Out(1), "addr": Out(config.spike_addr_bits), "data": In(lane_bits)}
        super().__init__(
            {
                "valid": In(1),
                "item": In(item_layout(config)),
                "advance": Out(1),
                "occupancy": In(config.scan_words * config.event_lanes),
                "shared_taps": In(1),
                "reads": Out(wiring.Signature(read)).array(config.event_lanes),
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

        # The item with what is occupied.
        held_item = Signal(layout, reset_less=True)
        held_forced = Signal()  # by a flag or as a shortcut
        occupied = Signal(data.ArrayLayout(cfg.scan_words, cfg.event_lanes))
        wants, full = Signal(cfg.event_lanes), Signal(cfg.event_lanes)
        m.d.comb += [
            self.advance.eq((wants & full) == 0),
        ]
        with m.If(self.advance):
            m.d.sync += [
                held_item.eq(self.item),
                held_forced.eq(self.valid & ((self.item.flag != Flag.NONE) | self.item.shortcut)),
            ]
            for k in range(cfg.event_lanes):
                for word in range(cfg.scan_words):
                    here = self.occupancy[word * cfg.event_lanes + k] | self.item.shortcut
                    m.d.sync += occupied[k][word].eq(self.valid & self.item.words[word] & here)

        lanes = []
        for k in range(cfg.event_lanes):
            lane = EventScanner(config=cfg)
            m.submodules[f"lane{k}"] = lane
            lanes.append(lane)
            m.d.comb += [
                wants[k].eq(occupied[k].any() | held_forced),
                full[k].eq(lane.full),
                lane.push.eq(wants[k] & self.advance),
                lane.item.eq(held_item),
                lane.item.words.eq(occupied[k]),
                lane.shared_taps.eq(self.shared_taps),
                self.reads[k].en.eq(lane.read.en),
                self.reads[k].addr.eq(lane.read.addr),
                lane.read.data.eq(self.reads[k].data),
                self.shortcut_push[k].eq(lane.shortcut_push),
            ]
            m.d.comb += self.bundle.events[k].eq(lane.event)

        # Barrier
        release, shifts = Signal(), Signal()
        rested = Signal(init=1)
        rest = Signal(range(cfg.slots_per_chunk))
        m.d.comb += [
            shifts.eq(lanes[0].flag == Flag.SHIFT),
            release.eq(Cat(lane.final for lane in lanes).all() & (shifts | rested)),
            self.drained.eq(release & ~shifts),
            self.drained_last.eq(release & (lanes[0].flag == Flag.DRAIN_LAST)),
        ]
        m.d.comb += [lane.release.eq(release) for lane in lanes]
        # The next drain may come R clocks after this one.
        with m.If(self.drained):
            m.d.sync += [rested.eq(0), rest.eq(cfg.slots_per_chunk - 2)]
        with m.Else():
            m.d.sync += rested.eq(rested | (rest == 0))
            with m.If(~rested):
                m.d.sync += rest.eq(rest - 1)
        m.d.comb += self.bundle.op.eq(Mux(release, Mux(shifts, ArrayOp.SHIFT, ArrayOp.DRAIN), ArrayOp.ADD))
        return m
