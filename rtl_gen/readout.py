"""Readout: the result memory and the search for its largest entry."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE
from .neuron import slot_layout


class Readout(wiring.Component):
    """Keeps the readout's potentials, one for each class, and finds the argmax.

    Every slot of a chunk's last step writes; the last one written stands.  ``scan`` starts
    the search, which takes ``classes + 1`` clocks; ``scanned`` is high in the last of them.
    The lowest index wins a tie.

    Members
    -------
    write_en, group, index, membranes: results of the NU units in this clock.
    classes_last: number of classes minus one, stable while scanning.
    addr, value: read port, one clock latency; ``addr`` is ignored while scanning.
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
        units = cfg.neuron_units
        unit_bits = (units - 1).bit_length()
        bits = len(self.addr)
        wide = signed(cfg.membrane_width)

        scanning, first = Signal(), Signal()
        count = Signal(bits + 1)
        addr = Signal(bits)
        m.d.comb += addr.eq(Mux(scanning, count[:bits], self.addr))
        full = Signal(len(self.index) + len(self.group))
        slot_bits = (cfg.slots_per_step - 1).bit_length()
        m.d.comb += full.eq(Cat(self.index[:slot_bits], self.group))
        # Room for every lane of the last group, though only classes are read.
        depth = max(2, -(-cfg.result_depth // cfg.output_lanes) * cfg.slots_per_step)
        values = []
        for u in range(units):
            memory = Memory(shape=wide, depth=depth, init=[], attrs=COLLISION_FREE)
            m.submodules[f"results{u}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(self.write_en),
                write.addr.eq(full),
                write.data.eq(self.membranes[u]),
                read.en.eq(1),
                read.addr.eq(addr[unit_bits:]),
            ]
            values.append(read.data)
        if unit_bits:
            unit = Signal(unit_bits)
            m.d.sync += unit.eq(addr[:unit_bits])
            m.d.comb += self.value.eq(Array(values)[unit])
        else:
            m.d.comb += self.value.eq(values[0])

        best = Signal(wide, reset_less=True)
        m.d.comb += self.scanned.eq(scanning & (count == self.classes_last + 1))
        with m.If(self.scan):
            m.d.sync += [scanning.eq(1), count.eq(0), first.eq(1)]
        with m.Elif(scanning):
            m.d.sync += count.eq(count + 1)
            with m.If(count != 0):
                m.d.sync += first.eq(0)
                with m.If(first | (self.value > best)):
                    m.d.sync += [best.eq(self.value), self.argmax.eq(count - 1)]
            with m.If(self.scanned):
                m.d.sync += scanning.eq(0)
        return m
