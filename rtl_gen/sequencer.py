# Amaranth declares its values to no type checker.
# pyright: reportAssignmentType=false
"""Layer sequencer: runs the program, streaming each slab while the one before it computes."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import (
    START_FIELDS,
    LoadKind,
    descriptor_bits,
    descriptor_fields,
    descriptor_words,
    load_kind_bits,
    start_words,
)

from .layouts import descriptor_layout, header_layout
from .store import store_latency


class LayerSequencer(wiring.Component):
    """Reads slabs from the resting store and starts them, one after the other.

    For each slab: header, weights into the idle half of the banks, parameters, then wait
    until the running slab is done, load the descriptor, start.  While a slab runs the next
    one's weights load.  An end header scans the readout and ends the run.

    The store is read like a pipe: word after word, each address once. While ``store_en`` is low
    the pipe stands, and ``store_data`` is the word it was.

    Members
    -------
    start: pulse, ignored while ``busy``.  busy: from the clock after it until ``done``.
    done: pulse in the run's last clock.  clocks: clocks from ``start`` to ``done``, valid after it.
    store_en, store_addr, store_data: read port of the store, data ``store_latency`` enabled clocks after the address.
    load_kind, load_addr: what ``store_data`` is in this clock, and its store address.
    param_en: ``store_data`` is a channel's parameters (``load_kind`` says the same).
    load_half, run_half: halves of the banks being loaded and computing.
    weight_lane (one-hot), weight_addr, param_index, word_index (with attention): where ``store_data`` goes.
    descriptor, slab_start: the slab to run; fields of ``refmodel.layout.START_FIELDS`` may only be read in the clock of
        ``slab_start``.  slab_idle: nothing is running.
    engine_starts: with several engines, a bit for each: it starts in the next clock, and the descriptor's start fields
        are its own in this one.
    scan, scanned, classes_last: the readout's search; ``scanned`` only comes at its end.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        cfg = config
        lane_bits = max(1, (cfg.output_lanes - 1).bit_length())
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "clocks": Out(32),
                "store_en": Out(1),
                "store_addr": Out(cfg.store_addr_bits),
                "store_data": In(cfg.store_width),
                "load_kind": Out(load_kind_bits(cfg)),
                "load_addr": Out(cfg.store_addr_bits),
                "load_half": Out(1),
                "run_half": Out(1),
                "weight_lane": Out(cfg.event_lanes),
                "weight_addr": Out(cfg.weight_addr_bits),
                "param_en": Out(1),
                "param_index": Out(lane_bits),
                **({"word_index": Out(cfg.attention.weight_bits)} if cfg.attention is not None else {}),
                "descriptor": Out(descriptor_layout(cfg)),
                "slab_start": Out(1),
                **({"engine_starts": Out(cfg.engines)} if cfg.engines > 1 else {}),
                "slab_idle": In(1),
                "scan": Out(1),
                "scanned": In(1),
                "classes_last": Out(max(1, (cfg.result_depth - 1).bit_length())),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self._config
        words, latency = descriptor_words(cfg), store_latency(cfg, platform)
        attention_bits = 0 if cfg.attention is None else cfg.attention.weight_bits

        # Where a run is, one bit a place: the cheapest where every bit is a flip-flop beside its LUT.
        names = ("pause", "fetch", "header", "params", "attention", "wait", "closing")
        at_pause, at_fetch, at_header, at_params, at_attention, at_wait, at_closing = (
            Signal(name=f"at_{name}") for name in names
        )
        at_first = Signal()  # a run begins: the pipe fills
        lane = Signal(cfg.event_lanes)  # weights of this event lane
        word = Signal(words)  # this word of the descriptor

        header = Signal(header_layout(cfg))
        weights_last = Signal(cfg.weight_addr_bits, reset_less=True)
        attention_words = Signal(attention_bits + 1, reset_less=True)  # words that follow the parameters
        index = Signal(max(cfg.weight_addr_bits, len(self.param_index), attention_bits))
        pointer = Signal(cfg.store_addr_bits)
        running_half = Signal()

        begin, counts, last = Signal(), Signal(), Signal()
        lane_last, params_last, attention_last = (
            Signal(name=f"{name}_last") for name in ("lane", "params", "attention")
        )
        # Whether the index is a lane's last one is known from a register.
        in_lanes, single, at_last = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += at_last.eq((index + 1)[: len(weights_last)] == weights_last)
        with m.If(last | ~counts):
            m.d.sync += at_last.eq(single)
        m.d.comb += [
            header.eq(self.store_data),
            begin.eq(self.start & ~self.busy),
            counts.eq(in_lanes | at_params | at_attention),
            lane_last.eq(in_lanes & at_last),
            params_last.eq(at_params & index[: len(self.param_index)].all() if cfg.output_lanes > 1 else at_params),
            attention_last.eq(at_attention & (index + 1 == attention_words)),
            last.eq(lane_last | params_last | attention_last),
        ]
        with m.If(counts):
            m.d.sync += index.eq(index + 1)
        with m.If(last):
            m.d.sync += index.eq(0)

        # From place to place. A store without output register needs a clock less to fill its pipe, and has its slow
        # words there for two clocks when a header comes: whether it is an end header is known from a register.
        ends, fills = Signal(reset_less=True), Signal()
        if latency > 1:
            m.d.comb += [ends.eq(header.end), fills.eq(at_first | at_fetch)]
        else:
            m.d.sync += ends.eq(header.end)
            m.d.comb += fills.eq(at_pause)
        after_params = Signal()
        m.d.comb += after_params.eq(attention_words != 0 if attention_bits else 0)
        m.d.sync += [
            at_first.eq(begin if latency > 1 else 0),
            at_pause.eq(self.slab_start if latency > 1 else self.slab_start | begin),
            at_fetch.eq(at_first | at_pause),
            at_header.eq(at_fetch),
            at_params.eq((at_params & ~params_last) | (lane[-1] & lane_last)),
            at_wait.eq((at_wait & ~self.slab_idle) | (params_last & ~after_params) | attention_last),
            word.eq(Cat(at_wait & self.slab_idle, word[:-1])),
            self.slab_start.eq(word[-1]),
            at_closing.eq((at_closing & ~self.slab_idle) | (at_header & ends)),
            self.done.eq(self.scanned),
            self.busy.eq((self.busy & ~self.done) | begin),
        ]
        with m.If(at_header | lane_last):
            m.d.sync += [
                lane.eq(Cat(at_header & ~ends, lane[:-1])),
                in_lanes.eq((at_header & ~ends) | (in_lanes & ~lane[-1])),
            ]
        if attention_bits:
            m.d.sync += at_attention.eq((at_attention & ~attention_last) | (params_last & after_params))
            m.d.comb += self.word_index.eq(index)
        m.d.comb += self.scan.eq(at_closing & self.slab_idle)

        # The pipe stands while nothing is taken from it, and at an end header: it holds the number of classes.
        m.d.comb += [
            self.store_addr.eq(pointer),
            self.load_addr.eq(pointer - latency),
            self.classes_last.eq(header.classes_last),
        ]
        if latency > 1:
            m.d.comb += self.store_en.eq(fills | (at_header & ~ends) | counts | word[:-1].any())
        else:  # from a register: what these are in the next clock
            weighs_or_params = (at_header & ~ends) | in_lanes | (at_params & (~params_last | after_params))
            describes = (at_wait & self.slab_idle) | word[:-2].any() if words > 1 else Const(0, 1)
            m.d.sync += self.store_en.eq(
                self.slab_start
                | begin
                | (at_fetch & ~header.end)
                | weighs_or_params
                | (at_attention & ~attention_last)
                | describes
            )
        with m.If(self.store_en):
            m.d.sync += pointer.eq(pointer + 1)
        with m.If(~self.busy):
            m.d.sync += pointer.eq(0)
        with m.If(self.busy):
            m.d.sync += self.clocks.eq(self.clocks + 1)
        with m.If(begin):
            m.d.sync += self.clocks.eq(0)

        with m.If(at_header):
            m.d.sync += [
                weights_last.eq(header.weights_last),
                single.eq(header.weights_last == 0),
                at_last.eq(header.weights_last == 0),
            ]
            if attention_bits:
                m.d.sync += attention_words.eq(header.attention_words)
        # Several engines start one after the other, each after the last word of its own start fields.
        fields = descriptor_fields(cfg)
        shared, own = words, 0  # words that all engines share, words of each
        if cfg.engines > 1:
            own = start_words(cfg)
            shared -= cfg.engines * own
            m.d.comb += self.engine_starts.eq(word[shared + own - 1 :: own])
        with m.If(word[0 if own else -1]):
            m.d.sync += running_half.eq(~running_half)

        image: list[Value] = []
        # The last word stays in the pipe until the slab starts: what is only read then is not kept.
        for number in range(shared + own):
            bits = range(number * cfg.store_width, min((number + 1) * cfg.store_width, descriptor_bits(cfg)))
            passing = {
                bit
                for field in fields
                if field.name == "spare" or (number == shared + own - 1 and field.name in START_FIELDS)
                for bit in range(field.offset, field.offset + field.width)
            }
            stays = [bit for bit in bits if bit not in passing]
            kept = Signal(len(stays), name=f"descriptor{number}", reset_less=True)
            with m.If(word[number] if number < shared else word[number::own].any()):
                m.d.sync += kept.eq(Cat(self.store_data[bit % cfg.store_width] for bit in stays))
            image += [
                kept[stays.index(bit)] if bit in stays else self.store_data[bit % cfg.store_width] for bit in bits
            ]

        m.d.comb += [
            self.descriptor.eq(Cat(image)),
            self.weight_lane.eq(lane),
            self.weight_addr.eq(index),
            self.param_en.eq(at_params),
            self.param_index.eq(index),
            self.run_half.eq(running_half),
            self.load_half.eq(~running_half),
        ]
        for kind, here in (
            (LoadKind.WEIGHT, in_lanes),
            (LoadKind.PARAM, at_params),
            (LoadKind.DESCRIPTOR, word.any()),
            (LoadKind.ATTENTION, at_attention),
        ):
            with m.If(here):
                m.d.comb += self.load_kind.eq(kind)
        return m
