"""State memory: membranes kept from run to run, read and written in the order of the neuron slots."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .layouts import COLLISION_FREE


class StateMemory(wiring.Component):
    """Reads where a slab's membranes begin, and keeps where they end.

    A word is a neuron slot's NU membranes, leak included: what the neuron adds its next input to.  A slab's words
    follow each other, a step's slots of one tile after those of the tile before.  The word that is wanted next
    always waits at the output, so that reading takes no clock; a word is read before it is written.

    Members
    -------
    restart: a slab starts: its words begin at ``base``.
    resumes: membranes begin with what is kept, else with 0.  keeps: the slab's membranes are kept.
    next: a slot begins with the word that waits.  read: that word, a clock later, for one clock.
    write, values: membranes to keep; ``write`` comes as often as ``next``, and later.
    anew: a run begins whose membranes begin anew.  drifted: a membrane that was kept since then, in any run, lies
        outside the inner half of its range: its top two bits differ.
    write_en, write_addr: the write of this clock, for the trace.
    """

    def __init__(self, *, config: CoreConfig):
        if config.state_depth == 0:
            raise ConfigError("a StateMemory needs state_depth > 0: with 0 a core keeps no membranes")
        self._config = config
        bits = config.state_addr_bits
        word = data.ArrayLayout(signed(config.membrane_width), config.neuron_units)
        super().__init__(
            {
                "restart": In(1),
                "base": In(bits),
                "resumes": In(1),
                "keeps": In(1),
                "next": In(1),
                "read": Out(word),
                "write": In(1),
                "values": In(word),
                "anew": In(1),
                "drifted": Out(1),
                "write_en": Out(1),
                "write_addr": Out(bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        word = data.ArrayLayout(signed(cfg.membrane_width), cfg.neuron_units)
        m.submodules.words = words = Memory(shape=word, depth=cfg.state_depth, init=[], attrs=COLLISION_FREE)
        write, read = words.write_port(), words.read_port()
        read_addr, write_addr = Signal(cfg.state_addr_bits), Signal(cfg.state_addr_bits)
        begins = Signal(word, reset_less=True)
        first = Signal()
        m.d.comb += [
            read.en.eq(self.next | first),
            read.addr.eq(read_addr),
            write.en.eq(self.write_en),
            write.addr.eq(write_addr),
            write.data.eq(self.values),
            self.read.eq(begins),
            self.write_en.eq(self.write & self.keeps),
            self.write_addr.eq(write_addr),
        ]
        for u in range(cfg.neuron_units):
            m.d.sync += begins[u].eq(Mux(self.resumes & self.keeps, read.data[u], 0))
        m.d.sync += first.eq(self.restart)
        with m.If(read.en):
            m.d.sync += read_addr.eq(read_addr + 1)
        with m.If(self.write):
            m.d.sync += write_addr.eq(write_addr + 1)
        with m.If(self.restart):
            m.d.sync += [read_addr.eq(self.base), write_addr.eq(self.base)]
        outer = Signal()  # a clock late, since it is far from the neurons
        far = Cat(self.values[u][-1] ^ self.values[u][-2] for u in range(cfg.neuron_units)).any()
        m.d.sync += [outer.eq(self.write_en & far), self.drifted.eq((self.drifted & ~self.anew) | outer)]
        return m
