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
    addresses are incremental: one base register a loop, one adder.  A tap outside the
    input costs one clock and scans as an empty word.

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

        # Loop counters, innermost first.
        word = Signal(cfg.tag_bits)
        kx, ky = Signal(cfg.kernel_bits), Signal(cfg.kernel_bits)
        plane = Signal(d.planes_last.shape())
        chunk, ox, oy = Signal(cfg.chunk_bits), Signal(dim), Signal(dim)
        in_shortcut = Signal()
        sc_plane = Signal(d.sc_planes.shape())
        # Input coordinates of the tap (two's complement), and of the tile's first tap.
        x, y = Signal(dim + 2), Signal(dim + 2)
        tile_x, tile_y = Signal(dim + 2), Signal(dim + 2)
        # Base address of each loop's present iteration.
        a_word, a_tap, a_row, a_plane, a_chunk, a_x, a_y = (
            Signal(addr_bits, name=f"a_{n}") for n in ("word", "tap", "row", "plane", "chunk", "x", "y")
        )
        s_addr, s_chunk, s_pixel = (Signal(addr_bits, name=f"s_{n}") for n in ("addr", "chunk", "pixel"))
        tag, tag_next = Signal(cfg.tag_bits), Signal(cfg.tag_bits)

        word_last, kx_last, ky_last, plane_last, chunk_last, x_last, y_last, sc_last = (
            Signal(name=f"{n}_last") for n in ("word", "kx", "ky", "plane", "chunk", "x", "y", "sc")
        )
        has_shortcut = Signal()
        m.d.comb += [
            self.empty.eq(~in_shortcut & ((x >= d.in_x) | (y >= d.in_y))),
            word_last.eq(self.empty | (word == d.words_last)),
            kx_last.eq(kx == d.kernel_x_last),
            ky_last.eq(ky == d.kernel_y_last),
            plane_last.eq(plane == d.planes_last),
            chunk_last.eq(chunk == d.chunks_last),
            x_last.eq(ox == d.out_x_last),
            y_last.eq(oy == d.out_y_last),
            has_shortcut.eq(d.sc_planes != 0),
            sc_last.eq(sc_plane + 1 == d.sc_planes),
            self.addr.eq(Mux(in_shortcut, s_addr, a_word)),
            self.tag.eq(tag),
            self.shortcut.eq(in_shortcut),
        ]
        window_end = Signal()
        slab_end = Signal()
        m.d.comb += [
            window_end.eq(word_last & kx_last & ky_last),
            slab_end.eq(chunk_last & x_last & y_last),
        ]
        with m.If(window_end & ~in_shortcut):
            with m.If(~plane_last):
                m.d.comb += self.flag.eq(Flag.SHIFT)
            with m.Elif(slab_end):
                m.d.comb += self.flag.eq(Flag.DRAIN_LAST)
            with m.Else():
                m.d.comb += self.flag.eq(Flag.DRAIN)

        # One adder makes the next address of whichever loop moves.
        base, step, total = Signal(addr_bits), Signal(addr_bits), Signal(addr_bits)
        m.d.comb += total.eq(base + step)
        next_chunk = Signal()
        # The tag counts taps and words; a skipped tap skips its words.
        tap_tag = Signal(cfg.tag_bits)
        m.d.comb += tag_next.eq(Mux(d.shared_taps, 0, tap_tag + d.words_last + 1))
        s_base, s_step, s_total = Signal(addr_bits), Signal(addr_bits), Signal(addr_bits)
        m.d.comb += s_total.eq(s_base + s_step)

        def load(*registers: Signal) -> None:
            m.d.sync += [register.eq(total) for register in registers]

        with m.If(self.valid & self.advance):
            with m.If(in_shortcut):
                m.d.sync += [s_addr.eq(s_total), sc_plane.eq(sc_plane + 1)]
                m.d.comb += [s_base.eq(s_addr), s_step.eq(d.sc_plane_step)]
                m.d.comb += next_chunk.eq(sc_last)
            with m.Elif(~word_last):
                m.d.comb += [base.eq(a_word), step.eq(1)]
                m.d.sync += [word.eq(word + 1), tag.eq(tag + 1)]
                load(a_word)
            with m.Elif(~kx_last):
                m.d.comb += [base.eq(a_tap), step.eq(d.tap_step)]
                m.d.sync += [kx.eq(kx + 1), x.eq(x + 1), word.eq(0), tag.eq(tag_next), tap_tag.eq(tag_next)]
                load(a_word, a_tap)
            with m.Elif(~ky_last):
                m.d.comb += [base.eq(a_row), step.eq(d.row_step)]
                m.d.sync += [ky.eq(ky + 1), y.eq(y + 1), kx.eq(0), x.eq(tile_x), word.eq(0)]
                m.d.sync += [tag.eq(tag_next), tap_tag.eq(tag_next)]
                load(a_word, a_tap, a_row)
            with m.Elif(~plane_last):
                m.d.comb += [base.eq(a_plane), step.eq(d.plane_step)]
                m.d.sync += [plane.eq(plane + 1), ky.eq(0), y.eq(tile_y), kx.eq(0), x.eq(tile_x), word.eq(0)]
                m.d.sync += [tag.eq(0), tap_tag.eq(0)]
                load(a_word, a_tap, a_row, a_plane)
            with m.Elif(has_shortcut):
                m.d.sync += in_shortcut.eq(1)
            with m.Else():
                m.d.comb += next_chunk.eq(1)

        with m.If(next_chunk):
            m.d.sync += [in_shortcut.eq(0), sc_plane.eq(0), plane.eq(0), ky.eq(0), kx.eq(0), word.eq(0)]
            m.d.sync += [tag.eq(0), tap_tag.eq(0), x.eq(tile_x), y.eq(tile_y)]
            load(a_word, a_tap, a_row, a_plane, a_chunk)
            with m.If(~chunk_last):
                m.d.comb += [base.eq(a_chunk), step.eq(d.chunk_step)]
                m.d.comb += [s_base.eq(s_chunk), s_step.eq(d.sc_chunk_step)]
                m.d.sync += [chunk.eq(chunk + 1), s_chunk.eq(s_total), s_addr.eq(s_total)]
            with m.Else():
                m.d.comb += [s_base.eq(s_pixel), s_step.eq(d.pixel_step)]
                m.d.sync += [chunk.eq(0), s_pixel.eq(s_total), s_chunk.eq(s_total), s_addr.eq(s_total)]
                load(a_x)
                with m.If(~x_last):
                    m.d.comb += [base.eq(a_x), step.eq(d.tile_x_step)]
                    m.d.sync += [ox.eq(ox + 1), tile_x.eq(tile_x + d.stride_x), x.eq(tile_x + d.stride_x)]
                with m.Else():
                    m.d.comb += [base.eq(a_y), step.eq(d.tile_y_step)]
                    m.d.sync += [ox.eq(0), tile_x.eq(d.origin_x), x.eq(d.origin_x)]
                    m.d.sync += [oy.eq(oy + 1), tile_y.eq(tile_y + d.stride_y), y.eq(tile_y + d.stride_y)]
                    load(a_y)
                    with m.If(y_last):
                        m.d.sync += self.valid.eq(0)

        with m.If(self.start):
            m.d.sync += [self.valid.eq(1), in_shortcut.eq(0), sc_plane.eq(0)]
            m.d.sync += [counter.eq(0) for counter in (word, kx, ky, plane, chunk, ox, oy, tag, tap_tag)]
            m.d.sync += [s.eq(d.origin_x) for s in (x, tile_x)] + [s.eq(d.origin_y) for s in (y, tile_y)]
            m.d.sync += [a.eq(d.src) for a in (a_word, a_tap, a_row, a_plane, a_chunk, a_x, a_y)]
            m.d.sync += [a.eq(d.sc) for a in (s_addr, s_chunk, s_pixel)]
        return m
