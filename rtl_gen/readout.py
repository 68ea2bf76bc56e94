"""Readout: the result memory and the search for its largest entry."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE
from .neuron_control import slot_layout


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
        late_address = unit_bits == 0 and isinstance(platform, SiliconBluePlatform)
        scanning = Signal()
        count, addr = Signal(bits), Signal(bits)  # count: the class that is read
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.index[:slot_bits], self.group)),
            write.data.eq(self.membranes),
            read.en.eq(1),
            read.addr.eq(addr[unit_bits:]),
        ]
        if unit_bits:
            unit = Signal(unit_bits, reset_less=True)
            m.d.sync += unit.eq(addr[:unit_bits])
            m.d.comb += self.value.eq(Array(read.data)[unit])
        else:
            m.d.comb += self.value.eq(read.data[0])

        # The address; the value arrives; it is compared with the best one before. Between the last two there is a
        # register for what chooses the unit; where nothing does, iCE40 has it before the address, which is narrower.
        wanted, ended = Signal(bits, reset_less=True), Signal(2)  # ended: bit 0: a class; bit 1: the last one
        compared, compares = Signal(bits, reset_less=True), Signal(2)
        best, fresh = Signal(wide, reset_less=True), Signal()
        last = count == self.classes_last
        running = scanning | self.scan
        m.d.sync += [
            scanning.eq(running & ~last),
            count.eq(Mux(running & ~last, count + 1, 0)),
            ended.eq(Cat(running, running & last)),
            compares.eq(ended),
            wanted.eq(count),
            compared.eq(wanted),
            fresh.eq((fresh & ~compares[0]) | self.scan),
        ]
        if late_address:
            value = self.value
        else:
            value = Signal(wide, name="value_late", reset_less=True)
            m.d.sync += value.eq(self.value)
        m.d.comb += [
            addr.eq(Mux(ended[0], wanted, self.addr) if late_address else Mux(running, count, self.addr)),
            self.scanned.eq(compares[1]),
        ]
        with m.If(compares[0] & (fresh | (value > best))):
            m.d.sync += [best.eq(value), self.argmax.eq(compared)]
        return m
