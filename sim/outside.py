# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The core that a simulation runs: with the memory outside the FPGA that its program lies in, if it has one."""

from __future__ import annotations

from typing import Any

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from refmodel.config import CoreConfig
from refmodel.store_stream import sdram_word_columns
from rtl_gen.core import Core
from rtl_gen.flash_reader import FlashReader
from rtl_gen.flash_stream import FlashStream
from rtl_gen.sdram import SdramController

from .flash_model import FlashModel
from .sdram_model import SdramModel, Times

#: Byte address of the program in the simulated flash.
FLASH_BASE = 0x100010


def simulated_core(config: CoreConfig, *, probe: bool = True, words: int | None = None) -> wiring.Component:
    """A component with the ports of a :class:`rtl_gen.core.Core` for this configuration, and its program's memory.

    words: of the longest program; a simulated memory has no more than it takes, by default ``store_depth``.
    """
    if config.store == "flash":
        return CoreWithFlash(config, probe=probe, words=words)
    if config.store == "sdram":
        return CoreWithSdram(config, probe=probe, words=words)
    return Core(config=config, probe=probe)


class _CoreWithMemory(wiring.Component):
    """A core's ports, without those to the memory; ``fault`` says that the memory was not used as it must be."""

    def __init__(self, config: CoreConfig, *, probe: bool, words: int | None) -> None:
        self.config = config
        # What is fetched ahead at the end of a program is in the memory, too.
        self.words = config.store_depth if words is None else words + 2 * config.store_fifo
        self._core = Core(config=config, probe=probe)
        inside = ("words", "store_write")
        members = {name: member for name, member in self._core.signature.members.items() if name not in inside}
        super().__init__({**members, "fault": Out(1)})

    def _add_core(self, m: Module) -> Core:
        m.submodules.core = core = self._core
        for name, member in self.signature.members.items():
            if name in ("load", "fault"):
                continue
            mine, theirs = getattr(self, name), getattr(core, name)
            m.d.comb += mine.eq(theirs) if member.flow is Out else theirs.eq(mine)
        m.d.comb += core.load.payload.eq(self.load.payload)
        return core


class CoreWithFlash(_CoreWithMemory):
    """A core whose program lies in a flash; what is loaded into space 0 is put into the flash behind its pins."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self._add_core(m)
        size = self.config.store_width // 8
        m.submodules.reader = reader = FlashReader(addresses=(FLASH_BASE,), wake=100)
        m.submodules.stream = stream = FlashStream(self.config)
        m.submodules.flash = flash = FlashModel((), base=FLASH_BASE, size=size * self.words)
        wiring.connect(m, reader.spi, flash.spi)
        wiring.connect(m, core.words, stream.words)
        m.d.comb += [
            reader.go.eq(stream.go),
            reader.want.eq(stream.want),
            stream.open.eq(reader.open),
            stream.valid.eq(reader.valid),
            stream.byte.eq(reader.byte),
            self.fault.eq(flash.fault),
        ]
        # A word for the store goes into the flash byte by byte; nothing is taken before the flash is awake.
        payload, place = self.load.payload, Signal(range(size))
        to_flash = Signal()
        m.d.comb += [
            to_flash.eq(self.load.valid & ~payload.space & core.load.ready & reader.awake),
            flash.write.en.eq(to_flash),
            flash.write.addr.eq(payload.addr * size + place),
            flash.write.data.eq(payload.data.word_select(place, 8)),
            core.load.valid.eq(self.load.valid & payload.space & reader.awake),
            self.load.ready.eq(core.load.ready & reader.awake & (payload.space | (place == size - 1))),
        ]
        with m.If(to_flash):
            m.d.sync += place.eq(Mux(place == size - 1, 0, place + 1))
        return m


class CoreWithSdram(_CoreWithMemory):
    """A core whose program lies in an SDRAM, which it is loaded into as on a board."""

    #: Clocks that the part is powered before it is used; in a simulation nothing is gained by more.
    PAUSE = 50
    CLOCK_HZ = 62.5e6

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self._add_core(m)
        _, step = sdram_word_columns(self.config)
        m.submodules.controller = controller = SdramController(self.config, pause=self.PAUSE)
        # The part's clock is the inverse of the core's.
        m.domains.sdram = part = ClockDomain("sdram", local=True)
        m.d.comb += [part.clk.eq(~ClockSignal()), part.rst.eq(ResetSignal())]
        times = Times(power_up_us=1e6 * (self.PAUSE - 1) / self.CLOCK_HZ)
        sdram = SdramModel(clock_hz=self.CLOCK_HZ, words=step * self.words, times=times)
        m.submodules.sdram = DomainRenamer("sdram")(sdram)
        wiring.connect(m, controller.pins, sdram.pins)
        wiring.connect(m, core.words, controller.words)
        wiring.connect(m, core.store_write, controller.write)
        m.d.comb += [
            core.load.valid.eq(self.load.valid & controller.ready),
            self.load.ready.eq(core.load.ready & controller.ready),
            self.fault.eq(sdram.fault),
        ]
        return m
