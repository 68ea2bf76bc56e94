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
    Windows of an image without rows make one item without words a plane.  A tile of one window
    row altogether (one plane, one chunk, no shortcut) begins with an item without words and flag.

    Four registers in a row: tile, window row, the row's addresses, segment.  The last three step
    together with ``advance``, the tile in the clock after its first row was made: every tile has
    two rows at least, counting shortcut words and the empty item.  What ends with a register's
    step is a register itself.  Positions x along an image row count words.

        row:  words max(x, 0) to min(x + kernel_last, line_last) of an image row
        rows: kernel_y_last + 1 + min(y, 0) + min(slack_y, 0)
        tag = delta + address, delta = tag of the window row's first word - address of that word

    Members
    -------
    descriptor: the slab's descriptor, stable from ``start`` until the slab is done.
    start: pulse; the first item is offered four clocks later.
    advance: the item of this clock, if there is one, is taken; high while there is none.
    valid, item: an item; it stays until it is taken.
    row: occupancy row of the item that follows when ``advance`` is high, to be read then.
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
        y_next, to_next_row = Signal(signed(row_bits)), Signal(addr_bits)
        tile_address, tag_y = Signal(addr_bits), Signal(tag_bits)
        # A tile takes two clocks at least: what the next one needs is ready a clock after the tile's registers.
        m.d.sync += [
            y_next.eq(y + d.stride_y),
            to_next_row.eq(Mux(y[-1], d.first_row, d.row_step)),
            x_last.eq(ox == d.out_x_last),
            tile_last.eq((ox == d.out_x_last) & (oy == 0)),
        ]
        with m.If(next_tile):
            m.d.sync += [ox.eq(ox + 1), x.eq(x + d.stride_x)]
            with m.If(x_last):
                m.d.sync += [ox.eq(0), oy.eq(oy - 1), x.eq(d.origin_x)]
                m.d.sync += [slack_y.eq(slack_y - d.stride_y), y.eq(y_next), tag_y.eq(tag_y - d.tag_y_step)]
                with m.If(~y_next[-1]):
                    m.d.sync += [y.eq(0), tag_y.eq(0)]
                    m.d.sync += tile_address.eq(tile_address + to_next_row)
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

        # Window row, or shortcut word, or the empty item that a tile may begin with: the last two are its lead.
        row_valid, step, turn = Signal(), Signal(), Signal(init=1)
        lead, sc_last, has_shortcut = Signal(), Signal(), Signal()
        sc_plane = Signal(d.sc_planes.shape())
        a_shortcut, sc_chunk_end = Signal(addr_bits), Signal(addr_bits)  # and its step after a chunk's last plane
        null, of_last_tile = Signal(), Signal()
        first, last = Signal(addr_bits), Signal(addr_bits)  # words of the image row
        rows, rows_left = Signal(cfg.kernel_bits), Signal(cfg.kernel_bits)  # of a plane, beside the first; to come
        last_inside = Signal(signed(addr_bits + 1))  # last position of a window that does not reach beyond
        slack_x = Signal(signed(addr_bits + 2))
        one_row, one_plane, one_chunk, one_sc_plane = Signal(), Signal(), Signal(), Signal()
        plane_will_be_last, chunk_will_be_last = Signal(), Signal()
        plane, chunk = Signal(d.planes_last.shape()), Signal(cfg.chunk_bits)  # to come
        a_plane, a_row = Signal(addr_bits), Signal(addr_bits)  # of the image row's word 0
        to_next_plane = Signal(addr_bits)
        tile_tag, tag = Signal(tag_bits), Signal(tag_bits)  # of the image row's word 0
        # The row of this clock is the plane's, the chunk's, the tile's last one.
        plane_end, plane_last, chunk_last, tile_end = Signal(init=1), Signal(), Signal(), Signal(init=1)
        m.d.comb += [
            step.eq(self.advance & turn),
            chunk_will_be_last.eq(Mux(tile_end, one_chunk, chunk_last | (plane_last & (chunk == 1)))),
        ]
        m.d.sync += [
            next_tile.eq(step & tile_end & tile_valid),
            has_shortcut.eq(d.sc_planes != 0),
            one_sc_plane.eq(d.sc_planes[1:] == 0),
            one_plane.eq(d.planes_last == 0),
            one_chunk.eq(d.chunks_last == 0),
            last_inside.eq(d.line_last - d.kernel_last),
        ]

        # What a tile, a chunk, a plane begins with.
        begin_address, begin_tag, plane_tag = Signal(addr_bits), Signal(tag_bits), Signal(tag_bits)
        top = Signal()
        end = Signal(addr_bits)
        tile_rows, tile_null, tile_one_row = Signal(cfg.kernel_bits), Signal(), Signal()
        m.d.comb += [
            end.eq(x + d.kernel_last),
            slack_x.eq(last_inside - x),
            Cat(tile_rows, tile_null).eq(d.kernel_y_last + y + Mux(slack_y[-1], slack_y, 0)),
            tile_one_row.eq(tile_null | (tile_rows == 0)),
            top.eq(tile_end | plane_last),
            plane_will_be_last.eq(Mux(top, one_plane, plane == 1)),
            begin_address.eq(Mux(tile_end, tile_address, a_plane + to_next_plane)),
            begin_tag.eq(Mux(tile_end, tag_y - x, tile_tag)),
            plane_tag.eq(begin_tag + Mux(top, d.top_tag, 0) if cfg.signed_sources else begin_tag),
        ]
        # Registers of the same step share their enable: the conditions are registers, too, so that a late ``advance``
        # passes little logic.
        with m.If(step & lead):
            m.d.sync += [
                a_shortcut.eq(a_shortcut + Mux(sc_last, sc_chunk_end, d.sc_plane_step)),
                sc_plane.eq(Mux(sc_last, d.sc_planes, sc_plane - 1)),
                sc_last.eq(Mux(sc_last, one_sc_plane, sc_plane == 2)),
            ]
        with m.If(step & ~lead):
            m.d.sync += [
                a_row.eq(Mux(plane_end, begin_address, a_row + d.line_words)),
                tag.eq(Mux(plane_end, plane_tag, tag + d.kernel_last + 1)),
                rows_left.eq(Mux(plane_end, Mux(tile_end, tile_rows, rows), rows_left - 1)),
            ]
        with m.If(step & plane_end):
            m.d.sync += [
                a_plane.eq(begin_address),
                tile_tag.eq(begin_tag),
                plane.eq(Mux(top, d.planes_last, plane - 1)),
                plane_last.eq(plane_will_be_last),
                to_next_plane.eq(Mux(plane_will_be_last, d.chunk_step, d.plane_step)),
                chunk.eq(Mux(tile_end, d.chunks_last, chunk - plane_last)),
                chunk_last.eq(chunk_will_be_last),
                sc_chunk_end.eq(Mux(chunk_will_be_last, d.sc_pixel_step, d.sc_chunk_step)),
            ]
        with m.If(step & tile_end):
            m.d.sync += [
                row_valid.eq(tile_valid),
                first.eq(Mux(x[-1], 0, x)),
                last.eq(Mux(slack_x[-1], d.line_last, end)),
                null.eq(tile_null),
                rows.eq(tile_rows),
                one_row.eq(tile_one_row),
            ]
        with m.If(step):
            with m.If(tile_end):
                m.d.sync += [
                    lead.eq(tile_valid & (has_shortcut | (tile_one_row & one_plane & one_chunk))),
                    plane_end.eq(~tile_valid | (tile_one_row & ~has_shortcut & ~(one_plane & one_chunk))),
                    tile_end.eq(~tile_valid),
                ]
            with m.Elif(plane_end):
                # A plane of the same chunk, or the next chunk's first one.
                m.d.sync += [
                    lead.eq(plane_last & has_shortcut),
                    plane_end.eq(one_row & ~(plane_last & has_shortcut)),
                    tile_end.eq(
                        one_row & Mux(plane_last, one_plane & (chunk == 1) & ~has_shortcut, (plane == 1) & chunk_last)
                    ),
                ]
            with m.Else():
                ends = Mux(lead, sc_last & one_row, rows_left == 1)
                m.d.sync += [lead.eq(lead & ~sc_last), plane_end.eq(ends), tile_end.eq(ends & plane_last & chunk_last)]
        with m.If(next_tile):
            m.d.sync += of_last_tile.eq(tile_last)
        with m.If(self.start):
            m.d.sync += [a_shortcut.eq(d.sc), sc_plane.eq(d.sc_planes), sc_last.eq(d.sc_planes[1:] == 0)]

        # The row's addresses.
        ready, row_first, row_last, row_delta = Signal(), Signal(addr_bits), Signal(addr_bits), Signal(tag_bits)
        row_null, row_shortcut, row_flag = Signal(), Signal(), Signal(2)
        whole = Signal(init=1)  # it is one item
        with m.If(step):
            m.d.sync += [
                ready.eq(row_valid),
                row_first.eq(Mux(lead, a_shortcut, a_row + first)),
                row_last.eq(a_row + last),
                row_delta.eq(tag - a_row),
                row_null.eq(Mux(lead, ~has_shortcut, null)),
                row_shortcut.eq(lead & has_shortcut),
                whole.eq(lead | null | ~row_valid),
                row_flag.eq(Flag.NONE),
            ]
            with m.If(plane_end):
                m.d.sync += row_flag.eq(
                    Mux(plane_last, Mux(chunk_last & of_last_tile, Flag.DRAIN_LAST, Flag.DRAIN), Flag.SHIFT)
                )

        # Segment, and what comes after it: the next tap of a pool, or the next occupancy row.
        low = (cfg.scan_words - 1).bit_length()
        address, last_address, delta = Signal(addr_bits), Signal(addr_bits), Signal(tag_bits)
        following, next_address, next_last = Signal(addr_bits), Signal(addr_bits), Signal(addr_bits)
        is_null, is_shortcut, flag = Signal(), Signal(), Signal(2)
        one_word = Signal()
        wide = (~d.shared_taps).replicate(low)
        m.d.comb += [
            next_address.eq(Mux(turn, row_first, following)),
            next_last.eq(Mux(turn, row_last, last_address)),
            self.row.eq(next_address[low:]),
        ]
        with m.If(self.advance):
            m.d.sync += [
                address.eq(next_address),
                following.eq(Cat(next_address[:low] | wide, next_address[low:]) + d.tap_words + ~d.shared_taps),
                turn.eq(
                    (turn & whole)
                    | (
                        (next_address[low:] == next_last[low:])
                        & (~d.shared_taps | (next_address[:low] == next_last[:low]))
                    )
                ),
            ]
        with m.If(step):
            m.d.sync += [
                self.valid.eq(ready),
                last_address.eq(row_last),
                delta.eq(row_delta),
                is_null.eq(row_null),
                is_shortcut.eq(row_shortcut),
                flag.eq(row_flag),
            ]
        m.d.comb += [
            one_word.eq(d.shared_taps | is_shortcut),
            self.item.row.eq(address[low:]),
            self.item.delta.eq(delta),
            self.item.flag.eq(Mux(turn, flag, Flag.NONE)),
            self.item.shortcut.eq(is_shortcut),
        ]
        for word in range(cfg.scan_words):
            inside = (address[:low] <= word) & (~turn | (last_address[:low] >= word))
            m.d.comb += self.item.words[word].eq(Mux(one_word, address[:low] == word, inside) & ~is_null)
        return m
