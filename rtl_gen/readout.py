"""Readout: the result memory and the search for its largest entry."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .delay import delayed
from .layouts import COLLISION_FREE
from .neuron_control import slot_layout


class Readout(wiring.Component):
    """Keeps the readout's potentials, one for each class, and finds the argmax.

    Every slot of a chunk's last step writes; the last one written stands.  ``scan`` starts the search, which takes
    ``2 * classes + 2`` clocks; ``scanned`` is high in the last of them.  The lowest index wins a tie.

    Members
    -------
    write_en, group, index, membranes: results of the NU units in this clock.
    classes_last: number of classes minus one, stable while scanning.
    addr, value: read port, two clocks latency; ``addr`` is ignored while scanning.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        cfg = config
        bits = max(1, (cfg.result_depth - 1).bit_length())
        super().__init__(
            {
                "write_en": In(1),
                "group": In(max(1, (-(-cfg.result_depth // cfg.output_lanes) - 1).bit_length())),
                "index": In(slot_layout(cfg)["index"].width),
                "membranes": In(data.ArrayLayout(signed(cfg.membrane_width), cfg.neuron_units)),
                "scan": In(1),
                "scanned": Out(1),
                "classes_last": In(bits),
                "addr": In(bits),
                "value": Out(signed(cfg.membrane_width)),
                "argmax": Out(bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        bits = len(self.addr)
        unit_bits = (cfg.neuron_units - 1).bit_length()
        slot_bits = (cfg.slots_per_step - 1).bit_length()
        wide = signed(cfg.membrane_width)

        # A word is what a slot brings. There is room for every lane of the last group, though only classes are read.
        depth = max(2, -(-cfg.result_depth // cfg.output_lanes) * cfg.slots_per_step)
        word = data.ArrayLayout(wide, cfg.neuron_units)
        m.submodules.results = results = Memory(
            shape=word, depth=depth, init=[], attrs={**COLLISION_FREE, "ram_style": "block"}
        )
        write, read = results.write_port(), results.read_port()
        scanning, second = Signal(), Signal()  # a class is read for two clocks; this is the second
        count, addr = Signal(bits), Signal(bits)  # count: the class that is read
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.index[:slot_bits], self.group)),
            write.data.eq(self.membranes),
            read.en.eq(1),
        ]
        if unit_bits == 0 and isinstance(platform, SiliconBluePlatform):  # the address is narrower than a word
            m.d.sync += addr.eq(Mux(scanning, count, self.addr))
            m.d.comb += [read.addr.eq(addr), self.value.eq(read.data[0])]
        else:
            kept = Signal(word, reset_less=True)
            m.d.comb += [addr.eq(Mux(scanning, count, self.addr)), read.addr.eq(addr[unit_bits:])]
            m.d.sync += kept.eq(read.data)
            unit = delayed(m, addr[:unit_bits], 2, "unit") if unit_bits else 0
            m.d.comb += self.value.eq(Array(kept)[unit])

        # A value stands for two clocks: in the first it is compared with the best one before, in the second kept.
        last, fresh, larger = Signal(), Signal(), Signal(reset_less=True)
        read_late, compares, keeps = Signal(), Signal(), Signal()
        ended, kept_class = Signal(2), delayed(m, count, 2, "count")
        not_best = Signal(wide, reset_less=True)  # inverted here, where it costs no LUT: a > b is a + ~b >= 0
        m.d.sync += [
            scanning.eq(self.scan | (scanning & ~(second & last))),
            second.eq(scanning & ~second),
            last.eq(count == self.classes_last),
            ended.eq(Cat(second & last, ended)),
            read_late.eq(scanning & ~second),
            compares.eq(read_late),
            keeps.eq(compares),
            larger.eq(fresh | ~(self.value + not_best)[-1]),
            fresh.eq((fresh & ~keeps) | self.scan),
        ]
        with m.If(second | ~scanning):
            m.d.sync += count.eq(Mux(scanning & ~last, count + 1, 0))
        with m.If(keeps & larger):
            m.d.sync += [not_best.eq(~self.value), self.argmax.eq(kept_class)]
        m.d.comb += self.scanned.eq(ended[-1])
        return m
