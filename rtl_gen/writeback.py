"""Write-back: a tile's spikes, combined with its shortcut, into the spike memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .combiner import SpikeCombiner
from .layouts import descriptor_layout


class WriteBack(wiring.Component):
    """Takes a spike word and writes its ``out_planes`` planes, one a clock, from the next clock on.

    Neither provides nor respects back pressure: words come at least R clocks apart and the
    configuration guarantees ``max_planes + 2 <= R``.

    Members
    -------
    restart: a slab starts; addresses begin at the descriptor's.
    word_valid, word: the neuron stage's spikes (bit p*Tp + t).
    shortcut_pop, shortcut_word: the shortcut's planes, lowest first.
    write_en, write_addr, write_data: to the spike memory.
    finished: pulse in the clock of a tile's last write (where nothing is written: as its word arrives).
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "descriptor": In(descriptor_layout(config)),
                "restart": In(1),
                "word_valid": In(1),
                "word": In(config.spike_width),
                "shortcut_pop": Out(1),
                "shortcut_word": In(config.spike_width),
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

        active = Signal()
        plane = Signal(d.sc_planes.shape())
        carry = Signal(cfg.spike_width, reset_less=True)
        chunk = Signal(cfg.chunk_bits)
        address, step = Signal(cfg.spike_addr_bits), Signal(cfg.spike_addr_bits)
        has_plane = Signal()
        m.d.comb += [
            has_plane.eq((plane < d.sc_planes) & ~d.use_current),
            combiner.op.eq(d.combine),
            combiner.carry.eq(carry),
            combiner.shortcut.eq(Mux(has_plane, self.shortcut_word, 0)),
            self.shortcut_pop.eq(active & has_plane),
            self.write_en.eq(active),
            self.write_addr.eq(address),
            self.write_data.eq(combiner.out),
        ]
        last = Signal()
        m.d.comb += last.eq(plane == d.out_planes_last)
        m.d.comb += self.finished.eq(Mux(d.readout | d.discard, self.word_valid, active & last))

        with m.If(~last):
            m.d.comb += step.eq(d.dst_plane_step)
        with m.Elif(chunk == d.chunks_last):
            m.d.comb += step.eq(d.dst_pixel_step)
        with m.Else():
            m.d.comb += step.eq(d.dst_chunk_step)
        with m.If(active):
            m.d.sync += [carry.eq(combiner.carry_out), plane.eq(plane + 1), address.eq(address + step)]
            with m.If(last):
                m.d.sync += [active.eq(0), chunk.eq(chunk + 1)]
                with m.If(chunk == d.chunks_last):
                    m.d.sync += chunk.eq(0)
        with m.If(self.word_valid & ~d.readout & ~d.discard):
            m.d.sync += [active.eq(1), plane.eq(0), carry.eq(self.word)]
        with m.If(self.restart):
            m.d.sync += [active.eq(0), chunk.eq(0), address.eq(d.dst)]
        return m
