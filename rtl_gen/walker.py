"""Window walker: the items of a slab, each some words of an occupancy row."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import Flag

from .layouts import descriptor_layout, item_layout, row_bits


class WindowWalker(wiring.Component):
    """Walks output pixel (tile) -> chunk -> bit-plane (top first) -> window row -> segment, an item a clock.

    The words of a window row's taps are contiguous, so a row is cut into *segments* where an
    occupancy row ends; taps and rows outside the image are left out by clipping.  Pools make
    an item a tap.  A tile's chunk begins with an item for each shortcut plane, lowest first.
    Windows of an image without rows make one item without words a plane.

    Three registers in a row: tile, window row, segment.  Positions x along an image row count words.

        row:  words max(x, 0) to min(x + kernel_last, line_last) of an image row
        rows: kernel_y_last + 1 + min(y, 0) + min(slack_y, 0)
        tag = delta + address, delta = tag of the window row's first word - address of that word

    Members
    -------
    descriptor: the slab's descriptor, stable from ``start`` until the slab is done.
    start: pulse; the first item is offered three clocks later.
    advance: the item of this clock, if there is one, is taken.
    valid, item: an item; it stays until it is taken.
    row_en, row: occupancy row of the next clock's item, to be read now.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "descriptor": In(descriptor_layout(config)),
                "start": In(1),
                "advance": In(1),
                "valid": Out(1),
                "item": Out(item_layout(config)),
                "row_en": Out(1),
                "row": Out(row_bits(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, d = self._config, self.descriptor
        addr_bits, dim, tag_bits = cfg.spike_addr_bits, cfg.dim_bits, cfg.tag_bits
        row_bits = cfg.kernel_bits + 1

        # Tile: position of its window, which image rows it begins at.
        tile_valid, x_last, tile_last, next_tile = Signal(), Signal(), Signal(), Signal()
        ox, oy = Signal(dim), Signal(dim)
        x = Signal(signed(addr_bits + 1))
        y, slack_y = Signal(signed(row_bits)), Signal(signed(dim + 2))  # y: above the image, otherwise 0
        y_next = Signal(signed(row_bits))
        tile_address, tag_y = Signal(addr_bits), Signal(tag_bits)
        m.d.comb += [
            x_last.eq(ox == d.out_x_last),
            tile_last.eq(x_last & (oy == 0)),
            y_next.eq(y + d.stride_y),
        ]
        with m.If(next_tile):
            m.d.sync += [ox.eq(ox + 1), x.eq(x + d.stride_x)]
            with m.If(x_last):
                m.d.sync += [ox.eq(0), oy.eq(oy - 1), x.eq(d.origin_x)]
                m.d.sync += [slack_y.eq(slack_y - d.stride_y), y.eq(y_next), tag_y.eq(tag_y - d.tag_y_step)]
                with m.If(~y_next[-1]):
                    m.d.sync += [y.eq(0), tag_y.eq(0)]
                    m.d.sync += tile_address.eq(tile_address + Mux(y[-1], d.first_row, d.row_step))
            with m.If(tile_last):
                m.d.sync += tile_valid.eq(0)
        with m.If(self.start):
            m.d.sync += [
                tile_valid.eq(1),
                ox.eq(0),
                oy.eq(d.out_y_last),
                x.eq(d.origin_x),
                y.eq(d.origin_y),
                slack_y.eq(d.slack_y),
                tile_address.eq(d.src),
                tag_y.eq(d.tag_y),
            ]

        # Window row, or shortcut word.
        row_valid, row_last, plane_last, chunk_last = Signal(), Signal(), Signal(), Signal()
        of_last_tile, null = Signal(), Signal()
        in_shortcut, sc_last, has_shortcut = Signal(), Signal(), Signal()
        sc_plane = Signal(d.sc_planes.shape())
        a_shortcut, sc_step = Signal(addr_bits), Signal(addr_bits)
        first, last = Signal(addr_bits), Signal(addr_bits)  # words of the image row
        rows, rows_last = Signal(cfg.kernel_bits), Signal(cfg.kernel_bits)
        plane, chunk = Signal(d.planes_last.shape()), Signal(cfg.chunk_bits)
        a_plane, a_row = Signal(addr_bits), Signal(addr_bits)  # of the image row's word 0
        tile_tag, tag = Signal(tag_bits), Signal(tag_bits)  # of the image row's word 0
        next_row, load_tile, row_flag = Signal(), Signal(), Signal(2)
        plane_end, tile_end = Signal(), Signal()
        m.d.comb += [
            row_last.eq((rows == rows_last) | null),
            plane_last.eq(plane == d.planes_last),
            chunk_last.eq(chunk == d.chunks_last),
            has_shortcut.eq(d.sc_planes != 0),
            sc_last.eq(sc_plane == 1),
            plane_end.eq(~in_shortcut & row_last),
            tile_end.eq(plane_end & plane_last & chunk_last),
            load_tile.eq(~row_valid | (next_row & tile_end)),
            next_tile.eq(load_tile & tile_valid),
        ]
        with m.If(plane_end):
            with m.If(~plane_last):
                m.d.comb += row_flag.eq(Flag.SHIFT)
            with m.Elif(chunk_last & of_last_tile):
                m.d.comb += row_flag.eq(Flag.DRAIN_LAST)
            with m.Else():
                m.d.comb += row_flag.eq(Flag.DRAIN)

        # Shortcut words.
        with m.If(~sc_last):
            m.d.comb += sc_step.eq(d.sc_plane_step)
        with m.Elif(~chunk_last):
            m.d.comb += sc_step.eq(d.sc_chunk_step)
        with m.Else():
            m.d.comb += sc_step.eq(d.sc_pixel_step)
        with m.If(next_row & in_shortcut):
            m.d.sync += [a_shortcut.eq(a_shortcut + sc_step), sc_plane.eq(sc_plane - 1)]
            with m.If(sc_last):
                m.d.sync += [in_shortcut.eq(0), sc_plane.eq(d.sc_planes)]
        with m.If(self.start):
            m.d.sync += [a_shortcut.eq(d.sc), sc_plane.eq(d.sc_planes)]

        # Rows, planes, chunks; what a plane begins with.
        begin_address, begin_tag, top = Signal(addr_bits), Signal(tag_bits), Signal()
        end = Signal(signed(addr_bits + 1))
        beyond, tile_rows, tile_null = Signal(), Signal(cfg.kernel_bits), Signal()
        m.d.comb += [
            end.eq(x + d.kernel_last),
            beyond.eq(end > d.line_last),
            Cat(tile_rows, tile_null).eq(d.kernel_y_last + y + Mux(slack_y[-1], slack_y, 0)),
            top.eq(load_tile | plane_last),
            begin_address.eq(Mux(load_tile, tile_address, a_plane + Mux(plane_last, d.chunk_step, d.plane_step))),
            begin_tag.eq(Mux(load_tile, tag_y - x, tile_tag)),
        ]
        with m.If(load_tile):
            m.d.sync += [
                row_valid.eq(tile_valid),
                of_last_tile.eq(tile_last),
                first.eq(Mux(x[-1], 0, x)),
                last.eq(Mux(beyond, d.line_last, end)),
                null.eq(tile_null),
                rows_last.eq(tile_rows),
            ]
        with m.If(load_tile | (next_row & plane_end)):
            m.d.sync += [rows.eq(0), a_row.eq(begin_address), a_plane.eq(begin_address), tile_tag.eq(begin_tag)]
            m.d.sync += tag.eq(begin_tag + Mux(top, d.top_tag, 0) if cfg.signed_sources else begin_tag)
            m.d.sync += [plane.eq(plane + 1), in_shortcut.eq(top & has_shortcut)]
            with m.If(top):
                m.d.sync += [plane.eq(0), chunk.eq(chunk + 1)]
            with m.If(load_tile):
                m.d.sync += chunk.eq(0)
        with m.Elif(next_row & ~in_shortcut):
            m.d.sync += [rows.eq(rows + 1), a_row.eq(a_row + d.line_words), tag.eq(tag + d.kernel_last + 1)]

        # Segment.
        low = (cfg.scan_words - 1).bit_length()
        address, last_address, delta = Signal(addr_bits), Signal(addr_bits), Signal(tag_bits)
        next_address = Signal(addr_bits)
        is_null, is_shortcut, flag = Signal(), Signal(), Signal(2)
        segment_last, load, one_word = Signal(), Signal(), Signal()
        m.d.comb += [
            one_word.eq(d.shared_taps | is_shortcut),
            segment_last.eq(
                ((address[low:] == last_address[low:]) & (~d.shared_taps | (address[:low] == last_address[:low])))
                | is_null
                | is_shortcut
            ),
            load.eq(~self.valid | (self.advance & segment_last)),
            next_row.eq(load & row_valid),
        ]
        # After it, the next tap of a pool, or the next occupancy row.
        here, following = Cat(address[:low] | (~d.shared_taps).replicate(low), address[low:]), Signal(addr_bits)
        m.d.comb += [
            following.eq(here + d.tap_words + ~d.shared_taps),
            next_address.eq(Mux(load, Mux(in_shortcut, a_shortcut, a_row + first), following)),
            self.row_en.eq(load | self.advance),
            self.row.eq(next_address[low:]),
        ]
        with m.If(self.row_en):
            m.d.sync += address.eq(next_address)
        with m.If(load):
            m.d.sync += [
                self.valid.eq(row_valid),
                last_address.eq(a_row + last),
                delta.eq(tag - a_row),
                is_null.eq(null & ~in_shortcut),
                is_shortcut.eq(in_shortcut),
                flag.eq(row_flag),
            ]
        m.d.comb += [
            self.item.row.eq(address[low:]),
            self.item.delta.eq(delta),
            self.item.flag.eq(Mux(segment_last, flag, Flag.NONE)),
            self.item.shortcut.eq(is_shortcut),
        ]
        for word in range(cfg.scan_words):
            inside = (address[:low] <= word) & (~segment_last | (last_address[:low] >= word))
            m.d.comb += self.item.words[word].eq(Mux(one_word, address[:low] == word, inside) & ~is_null)
        return m
