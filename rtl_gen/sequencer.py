"""Layer sequencer: runs the program, streaming each slab while the one before it computes."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import LoadKind, descriptor_words, load_kind_bits

from .layouts import descriptor_layout, header_layout


class LayerSequencer(wiring.Component):
    """Reads slabs from the resting store and starts them, one after the other.

    For each slab: header, weights into the idle half of the banks, parameters, then wait
    until the running slab is done, load the descriptor, start.  While a slab runs the next
    one's weights load.  An end header scans the readout and ends the run.

    Members
    -------
    start: pulse, ignored while ``busy``.  busy: from the clock after it until ``done``.
    done: pulse in the run's last clock.  clocks: clocks from ``start`` to ``done``, valid after it.
    store_addr, store_data: read port of the store, data one clock after the address.
    load_kind, load_addr: what ``store_data`` is in this clock, and its store address.
    load_half, run_half: halves of the banks being loaded and computing.
    weight_lane (one-hot), weight_addr, param_index, word_index (with attention): where ``store_data`` goes.
    descriptor, slab_start: the slab to run; ``slab_idle``: nothing is running.
    scan, scanned, classes_last: the readout's search.
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
                "store_addr": Out(cfg.store_addr_bits),
                "store_data": In(cfg.store_width),
                "load_kind": Out(load_kind_bits(cfg)),
                "load_addr": Out(cfg.store_addr_bits),
                "load_half": Out(1),
                "run_half": Out(1),
                "weight_lane": Out(cfg.event_lanes),
                "weight_addr": Out(cfg.weight_addr_bits),
                "param_index": Out(lane_bits),
                **({"word_index": Out(cfg.attention.weight_bits)} if cfg.attention is not None else {}),
                "descriptor": Out(descriptor_layout(cfg)),
                "slab_start": Out(1),
                "slab_idle": In(1),
                "scan": Out(1),
                "scanned": In(1),
                "classes_last": Out(max(1, (cfg.result_depth - 1).bit_length())),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        words = descriptor_words(cfg)
        pointer = Signal(cfg.store_addr_bits)
        previous = Signal(cfg.store_addr_bits, reset_less=True)
        weights_last = Signal(cfg.weight_addr_bits)
        weight = Signal(cfg.weight_addr_bits)
        lane = Signal(cfg.event_lanes, init=1)
        attention_bits = 0 if cfg.attention is None else cfg.attention.weight_bits
        count = Signal(max(len(self.param_index), words.bit_length(), attention_bits))
        attention_words = Signal(attention_bits + 1)  # words that follow the parameters
        image = Signal(words * cfg.store_width, reset_less=True)
        header = Signal(header_layout(cfg))
        running_half = Signal()
        m.d.comb += [
            self.store_addr.eq(pointer),
            self.load_addr.eq(previous),
            header.eq(self.store_data),
            self.descriptor.eq(image),
            self.weight_addr.eq(weight),
            self.param_index.eq(count),
            self.run_half.eq(running_half),
            self.load_half.eq(~running_half),
        ]
        m.d.sync += previous.eq(pointer)
        with m.If(self.busy):
            m.d.sync += self.clocks.eq(self.clocks + 1)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [pointer.eq(0), self.busy.eq(1), self.clocks.eq(0)]
                    m.next = "HEADER-ADDRESS"
            with m.State("HEADER-ADDRESS"):
                m.d.sync += pointer.eq(pointer + 1)
                m.next = "HEADER"
            with m.State("HEADER"):
                m.d.sync += [weights_last.eq(header.weights_last), weight.eq(0), lane.eq(1), count.eq(0)]
                m.d.sync += self.classes_last.eq(header.classes_last)  # meant in the end header
                if attention_bits:
                    m.d.sync += attention_words.eq(header.attention_words)
                with m.If(header.end):
                    m.next = "LAST"
                with m.Else():
                    m.d.sync += pointer.eq(pointer + 1)
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                m.d.comb += [self.load_kind.eq(LoadKind.WEIGHT), self.weight_lane.eq(lane)]
                m.d.sync += [pointer.eq(pointer + 1), weight.eq(weight + 1)]
                with m.If(weight == weights_last):
                    m.d.sync += [weight.eq(0), lane.eq(lane << 1)]
                    with m.If(lane[-1]):
                        m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += self.load_kind.eq(LoadKind.PARAM)
                m.d.sync += count.eq(count + 1)
                with m.If(count == cfg.output_lanes - 1):
                    m.d.sync += count.eq(0)
                    m.next = "WAIT"
                    if attention_bits:
                        with m.If(attention_words != 0):
                            m.d.sync += pointer.eq(pointer + 1)
                            m.next = "ATTENTION"
                with m.Else():
                    m.d.sync += pointer.eq(pointer + 1)
            if attention_bits:
                m.d.comb += self.word_index.eq(count)
                with m.State("ATTENTION"):
                    m.d.comb += self.load_kind.eq(LoadKind.ATTENTION)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count + 1 == attention_words):
                        m.d.sync += count.eq(0)
                        m.next = "WAIT"
                    with m.Else():
                        m.d.sync += pointer.eq(pointer + 1)
            with m.State("WAIT"):
                with m.If(self.slab_idle):
                    m.d.sync += pointer.eq(pointer + 1)
                    m.next = "DESCRIPTOR"
            with m.State("DESCRIPTOR"):
                m.d.comb += self.load_kind.eq(LoadKind.DESCRIPTOR)
                m.d.sync += [image.eq(Cat(image[cfg.store_width :], self.store_data)), count.eq(count + 1)]
                with m.If(count == words - 1):
                    m.d.sync += running_half.eq(~running_half)
                    m.next = "START"
                with m.Else():
                    m.d.sync += pointer.eq(pointer + 1)
            with m.State("START"):
                m.d.comb += self.slab_start.eq(1)
                m.next = "HEADER-ADDRESS"
            with m.State("LAST"):
                with m.If(self.slab_idle):
                    m.d.comb += self.scan.eq(1)
                    m.next = "SCAN"
            with m.State("SCAN"):
                with m.If(self.scanned):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        return m
