"""Write-back: a tile's spikes, combined with its shortcut, into the spike memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import CombineOp

from .carry import add_choice
from .combiner import CombinerPlane, SpikeCombiner
from .layouts import descriptor_layout


class WriteBack(wiring.Component):
    """Takes a spike word and writes its ``out_planes`` planes, one a clock, from the next clock on; with several
    engines, one in each clock that is its own.

    Neither provides nor respects back pressure: words come at least R clocks apart and the
    configuration guarantees ``max_planes + 2 <= R``, times the engines that take turns.

    Members
    -------
    descriptor: of the slab, from the clock of ``restart`` on.
    restart: a slab starts; addresses begin at the descriptor's.  Its first word comes three clocks later, or more.
    word_soon: a word comes in the next clock.
    word_valid, word: the neuron stage's spikes (bit p*Tp + t); for IAND each is inverted.
    shortcut_pop, shortcut_word: the shortcut's planes, lowest first; popped two clocks before the next one is needed.
    turn: with several engines: the next clock is its own.
    write_en, write_addr, write_data: to the spike memory.
    finished: pulse in the clock of a tile's last write (where nothing is written: as its word arrives).
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "descriptor": In(descriptor_layout(config)),
                "restart": In(1),
                "word_soon": In(1),
                "word_valid": In(1),
                "word": In(config.spike_width),
                "shortcut_pop": Out(1),
                "shortcut_word": In(config.spike_width),
                **({"turn": In(1)} if config.engines > 1 else {}),
                "write_en": Out(1),
                "write_addr": Out(config.spike_addr_bits),
                "write_data": Out(config.spike_width),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, d = self._config, self.descriptor
        m.submodules.combiner = combiner = SpikeCombiner(width=cfg.spike_width)

        # A plane's number is known two clocks before it is written, its shortcut is popped one clock before, when the
        # facts about it are known.  Between words those of plane 0 stand.
        ahead, ahead_last, has_plane = Signal(), Signal(), Signal()
        plane, following = Signal(d.sc_planes.shape()), Signal(d.sc_planes.shape())
        active, last, writes = Signal(), Signal(), Signal()
        function = Signal(2, reset_less=True)
        goes = ahead & self.turn if cfg.engines > 1 else ahead  # a plane is written in the next clock
        m.d.comb += following.eq(Mux(goes & ~ahead_last, plane + 1, 0))
        if cfg.engines > 1:
            with m.If(ahead & ~self.turn):
                m.d.comb += following.eq(plane)
        m.d.sync += [
            writes.eq(~d.readout & ~d.discard),
            plane.eq(following),
            ahead.eq(
                (self.word_soon & writes) | (ahead & (~ahead_last | ~self.turn if cfg.engines > 1 else ~ahead_last))
            ),
            ahead_last.eq(following == d.out_planes_last),
            has_plane.eq((following < d.sc_planes) & ~d.use_current),
            active.eq(goes),
            last.eq(ahead_last),
            function.eq(Mux(d.combine == CombineOp.IAND, CombinerPlane.AND, d.combine)),
        ]
        with m.If(~has_plane):
            m.d.sync += function.eq(CombinerPlane.PASS)

        carry = Signal(cfg.spike_width, reset_less=True)
        with m.If(self.word_valid | active):
            m.d.sync += carry.eq(Mux(self.word_valid, self.word, combiner.carry_out))
        m.d.comb += [
            combiner.plane.eq(function),
            combiner.carry.eq(carry),
            combiner.shortcut.eq(self.shortcut_word),
            self.shortcut_pop.eq(goes & has_plane),
            self.write_en.eq(active),
            self.write_data.eq(combiner.out),
            self.finished.eq(Mux(writes, active & last, self.word_valid)),
        ]

        # The address counts from 0. A tile's last step is known in time: at first it leads to the first word.
        chunk = Signal(cfg.chunk_bits)
        chunk_last, begins = Signal(), Signal()
        address, tile_step = Signal(cfg.spike_addr_bits), Signal(cfg.spike_addr_bits, reset_less=True)
        m.d.comb += self.write_addr.eq(address)
        m.d.sync += [
            chunk_last.eq(chunk == d.chunks_last),
            begins.eq(self.restart),
            tile_step.eq(Mux(self.restart, d.dst, Mux(chunk_last, d.dst_pixel_step, d.dst_chunk_step))),
        ]
        moved = add_choice(
            m, platform, "moved", address, tile_step, d.dst_plane_step, last | begins, cfg.spike_addr_bits
        )
        with m.If(active | begins):
            m.d.sync += address.eq(moved)
        with m.If(active & last):
            m.d.sync += chunk.eq(Mux(chunk_last, 0, chunk + 1))
        with m.If(self.restart):
            m.d.sync += [ahead.eq(0), active.eq(0), chunk.eq(0), address.eq(0)]
        return m
