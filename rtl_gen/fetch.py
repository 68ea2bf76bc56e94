"""Fetch: from a slab's descriptor to a bundle of events a clock."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .layouts import bundle_layout, counts_words, descriptor_layout
from .occupancy import OccupancyMemory
from .scan_front import ScanFront
from .spike_memory import slice_read
from .walker import WindowWalker


class Fetch(wiring.Component):
    """Window walker, occupancy memory, event lanes and their barrier.

    Members
    -------
    descriptor, start: the slab's, stable until it is done; pulse.
    write: what is written to the spike memory, for the occupancy memory.
    reads, shortcut_push: the lanes' slices of the spike memory; which of them show a shortcut word.
    bundle, drained, drained_last: see :class:`ScanFront`.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        addr, width, lanes = config.spike_addr_bits, config.spike_width, config.event_lanes
        super().__init__(
            {
                "descriptor": In(descriptor_layout(config)),
                "start": In(1),
                "write": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": Out(width)})),
                "reads": Out(slice_read(config)).array(lanes),
                "shortcut_push": Out(lanes),
                "bundle": Out(bundle_layout(config)),
                "drained": Out(1),
                "drained_last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        m.submodules.walker = walker = WindowWalker(config=cfg)
        m.submodules.occupancy = occupancy = OccupancyMemory(config=cfg)
        m.submodules.front = front = ScanFront(config=cfg)
        wiring.connect(m, occupancy.write, wiring.flipped(self.write))
        for k in range(cfg.event_lanes):
            wiring.connect(m, wiring.flipped(self.reads[k]), front.reads[k])
        m.d.comb += [
            walker.descriptor.eq(self.descriptor),
            walker.start.eq(self.start),
            walker.advance.eq(front.advance),
            occupancy.read.en.eq(front.advance),
            occupancy.read.row.eq(walker.row),
            front.occupancy.eq(occupancy.read.data),
            *([front.several.eq(occupancy.read.several)] if counts_words(cfg) else []),
            front.valid.eq(walker.valid),
            front.item.eq(walker.item),
            front.shared_taps.eq(self.descriptor.shared_taps),
            self.shortcut_push.eq(front.shortcut_push),
            self.bundle.eq(front.bundle),
            self.drained.eq(front.drained),
            self.drained_last.eq(front.drained_last),
        ]
        return m
