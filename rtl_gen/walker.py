"""Window walker: the addresses of every spike word a slab reads."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import Flag

from .layouts import descriptor_layout


class WindowWalker(wiring.Component):
    """Walks output pixel -> chunk -> bit-plane (top first) -> kernel row -> tap -> channel word.

    After each tile's chunk come the shortcut words of the tile, plane 0 first.  All
    addresses are incremental: the descriptor has the step from the end of each loop to its next
    iteration, so one adder serves them all.  A tap outside the input costs one clock and scans
    as an empty word.

    Members
    -------
    descriptor: the slab's descriptor, stable from ``start`` until the slab is done.
    start: pulse; the first item is offered in the next clock.
    advance: the item of this clock is taken.
    valid, addr, tag, flag, empty, shortcut: the item: word address, weight tag, boundary
        flag, whether it lies outside the input, whether it is a shortcut word.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "descriptor": In(descriptor_layout(config)),
                "start": In(1),
                "advance": In(1),
                "valid": Out(1),
                "addr": Out(config.spike_addr_bits),
                "tag": Out(config.tag_bits),
                "flag": Out(2),
                "empty": Out(1),
                "shortcut": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, d = self._config, self.descriptor
        addr_bits, dim = cfg.spike_addr_bits, cfg.dim_bits

        # Iterations left of each loop, innermost first.
        word = Signal(cfg.tag_bits)
        kx, ky = Signal(cfg.kernel_bits), Signal(cfg.kernel_bits)
        plane = Signal(d.planes_last.shape())
        chunk, ox, oy = Signal(cfg.chunk_bits), Signal(dim), Signal(dim)
        in_shortcut = Signal()
        sc_plane = Signal(d.sc_planes.shape())
        # Input coordinates of the tap (two's complement), and of the tile's first tap.
        x, y = Signal(dim + 2), Signal(dim + 2)
        tile_x, tile_y = Signal(dim + 2), Signal(dim + 2)
        # Addresses of the word, of its tap's first word, and of the shortcut word.
        a_word, a_tap, a_shortcut = (Signal(addr_bits, name=f"a_{n}") for n in ("word", "tap", "shortcut"))
        tap_tag, tag_next = Signal(cfg.tag_bits), Signal(cfg.tag_bits)

        word_last, kx_last, ky_last, plane_last, chunk_last, x_last, y_last, sc_last = (
            Signal(name=f"{n}_last") for n in ("word", "kx", "ky", "plane", "chunk", "x", "y", "sc")
        )
        has_shortcut = Signal()
        m.d.comb += [
            self.empty.eq(~in_shortcut & ((x >= d.in_x) | (y >= d.in_y))),
            word_last.eq(self.empty | (word == 0)),
            kx_last.eq(kx == 0),
            ky_last.eq(ky == 0),
            plane_last.eq(plane == 0),
            chunk_last.eq(chunk == 0),
            x_last.eq(ox == 0),
            y_last.eq(oy == 0),
            has_shortcut.eq(d.sc_planes != 0),
            sc_last.eq(sc_plane == 1),
            self.addr.eq(Mux(in_shortcut, a_shortcut, a_word)),
            self.shortcut.eq(in_shortcut),
            tag_next.eq(Mux(d.shared_taps, 0, tap_tag + d.words_last + 1)),
        ]
        # The top bit-plane of a signed source counts negative: its events take negated weights.
        top_tag = d.top_tag if cfg.signed_sources else 0
        window_end, tile_end = Signal(), Signal()
        m.d.comb += [
            window_end.eq(word_last & kx_last & ky_last),
            tile_end.eq(chunk_last & x_last & y_last),
        ]
        with m.If(window_end & ~in_shortcut):
            with m.If(~plane_last):
                m.d.comb += self.flag.eq(Flag.SHIFT)
            with m.Elif(tile_end):
                m.d.comb += self.flag.eq(Flag.DRAIN_LAST)
            with m.Else():
                m.d.comb += self.flag.eq(Flag.DRAIN)

        # The step of the outermost loop that moves, should the tap end now.
        step, next_tap = Signal(addr_bits), Signal(addr_bits)
        sc_step = Signal(addr_bits)
        with m.If(~kx_last):
            m.d.comb += step.eq(d.tap_step)
        with m.Elif(~ky_last):
            m.d.comb += step.eq(d.row_step)
        with m.Elif(~plane_last):
            m.d.comb += step.eq(d.plane_step)
        with m.Elif(~chunk_last):
            m.d.comb += step.eq(d.chunk_step)
        with m.Elif(~x_last):
            m.d.comb += step.eq(d.tile_x_step)
        with m.Else():
            m.d.comb += step.eq(d.tile_y_step)
        with m.If(~sc_last):
            m.d.comb += sc_step.eq(d.sc_plane_step)
        with m.Elif(~chunk_last):
            m.d.comb += sc_step.eq(d.sc_chunk_step)
        with m.Else():
            m.d.comb += sc_step.eq(d.sc_pixel_step)
        m.d.comb += next_tap.eq(a_tap + step)

        with m.If(self.valid & self.advance):
            with m.If(in_shortcut):
                m.d.sync += [a_shortcut.eq(a_shortcut + sc_step), sc_plane.eq(sc_plane - 1)]
                with m.If(sc_last):
                    m.d.sync += [in_shortcut.eq(0), sc_plane.eq(d.sc_planes)]
            with m.Elif(~word_last):
                m.d.sync += [word.eq(word - 1), self.tag.eq(self.tag + 1), a_word.eq(a_word + 1)]
            with m.Else():
                m.d.sync += [a_word.eq(next_tap), a_tap.eq(next_tap), word.eq(d.words_last)]
                m.d.sync += [self.tag.eq(tag_next), tap_tag.eq(tag_next)]
                m.d.sync += [kx.eq(kx - 1), x.eq(x + 1)]
                with m.If(kx_last):
                    m.d.sync += [kx.eq(d.kernel_x_last), x.eq(tile_x), ky.eq(ky - 1), y.eq(y + 1)]
                with m.If(kx_last & ky_last):
                    m.d.sync += [ky.eq(d.kernel_y_last), y.eq(tile_y), plane.eq(plane - 1)]
                    m.d.sync += [self.tag.eq(0), tap_tag.eq(0)]
                    with m.If(plane_last):
                        m.d.sync += [self.tag.eq(top_tag), tap_tag.eq(top_tag)]
                        m.d.sync += [plane.eq(d.planes_last), in_shortcut.eq(has_shortcut)]
            # A tile's chunk ends with its last shortcut word, or with its window.
            with m.If(Mux(in_shortcut, sc_last, window_end & plane_last & ~has_shortcut)):
                m.d.sync += chunk.eq(chunk - 1)
                with m.If(chunk_last):
                    m.d.sync += [chunk.eq(d.chunks_last), ox.eq(ox - 1)]
                    with m.If(x_last):
                        m.d.sync += [ox.eq(d.out_x_last), oy.eq(oy - 1)]
                    with m.If(x_last & y_last):
                        m.d.sync += self.valid.eq(0)
            # The window's coordinates move on already when the window ends.
            with m.If(~in_shortcut & window_end & plane_last & chunk_last):
                with m.If(~x_last):
                    m.d.sync += [tile_x.eq(tile_x + d.stride_x), x.eq(tile_x + d.stride_x)]
                with m.Else():
                    m.d.sync += [tile_x.eq(d.origin_x), x.eq(d.origin_x)]
                    m.d.sync += [tile_y.eq(tile_y + d.stride_y), y.eq(tile_y + d.stride_y)]

        with m.If(self.start):
            m.d.sync += [self.valid.eq(1), in_shortcut.eq(0), self.tag.eq(top_tag), tap_tag.eq(top_tag)]
            m.d.sync += [word.eq(d.words_last), kx.eq(d.kernel_x_last), ky.eq(d.kernel_y_last)]
            m.d.sync += [plane.eq(d.planes_last), chunk.eq(d.chunks_last), sc_plane.eq(d.sc_planes)]
            m.d.sync += [ox.eq(d.out_x_last), oy.eq(d.out_y_last)]
            m.d.sync += [s.eq(d.origin_x) for s in (x, tile_x)] + [s.eq(d.origin_y) for s in (y, tile_y)]
            m.d.sync += [a_word.eq(d.src), a_tap.eq(d.src), a_shortcut.eq(d.sc)]
        return m
