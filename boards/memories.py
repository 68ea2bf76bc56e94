# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""A board's memories beside the FPGA, at the core's and the host link's side and at their pins."""

from __future__ import annotations

from math import ceil
from typing import Any

from amaranth import ClockSignal, Const, Module, Signal
from amaranth.build import ResourceError
from amaranth.lib import io
from amaranth.lib.wiring import connect

from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from refmodel.store_stream import SDRAM_CLOCK_HZ
from rtl_gen.flash_reader import FlashReader
from rtl_gen.flash_stream import FlashStream
from rtl_gen.sdram import SdramController

from .boot import BootLoader
from .flash_image import HEADER_BYTES

#: What SDRAMs ask for after power comes, in seconds.
_SDRAM_PAUSE = 200e-6


def add_sdram(m: Module, platform: Any, config: CoreConfig, core: Any, clock_hz: float) -> Signal:
    """The controller of the board's SDRAM as ``m.submodules.sdram``; the result is high until the part is set up.

    BoardError for a board without one, or a clock that its timing was not made for.
    """
    low, high = SDRAM_CLOCK_HZ
    if not low <= clock_hz <= high:
        raise BoardError(
            f"an SDRAM store needs a clock of {low / 1e6:g} to {high / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz"
        )
    try:
        pads = platform.request("sdram", 0, dir="-")
    except ResourceError:
        raise BoardError("the board has no SDRAM: use store='bram'") from None
    m.submodules.sdram = controller = SdramController(config, pause=ceil(_SDRAM_PAUSE * clock_hz))
    connect(m, core.words, controller.words)
    connect(m, core.store_write, controller.write)
    pins = controller.pins
    driven = {
        "clk": ~ClockSignal(), "clk_en": pins.cke, "cs": pins.cs, "ras": pins.ras, "cas": pins.cas, "we": pins.we,
        "ba": pins.ba, "a": pins.a, "dqm": pins.dqm,
    }  # fmt: skip
    for name, value in driven.items():
        m.submodules[f"sdram_{name}"] = buffer = io.Buffer("o", getattr(pads, name))
        m.d.comb += buffer.o.eq(value)
    m.submodules.sdram_dq = data = io.Buffer("io", pads.dq)
    m.d.comb += [data.o.eq(pins.dq_o), data.oe.eq(pins.dq_oe), pins.dq_i.eq(data.i)]
    starting = Signal()
    m.d.comb += starting.eq(~controller.ready)
    return starting


def add_flash(m: Module, platform: Any, config: CoreConfig, core: Any, link: Any, offset: int | None) -> Signal:
    """Start from the board's flash, whose program part lies at ``offset``; the result is high until it is over.

    The program goes through the link's loader, which judges its CRC-32, into the resting store; with store "flash" its
    words go nowhere, and come from the flash at every run.
    BoardError for a board whose flash the FPGA cannot read.
    """
    if offset is None:
        raise BoardError("the board's flash cannot be read by the FPGA: use another store")
    m.submodules.flash_reader = reader = FlashReader(addresses=(offset, offset + HEADER_BYTES))
    m.submodules.boot = boot = BootLoader(config)
    add_flash_pins(m, platform, reader.spi)
    connect(m, boot.port, link.boot)
    m.d.comb += [
        reader.go.eq(boot.go),
        reader.want.eq(boot.want),
        boot.awake.eq(reader.awake),
        boot.open.eq(reader.open),
        boot.valid.eq(reader.valid),
        boot.byte.eq(reader.byte),
        boot.program_valid.eq(link.program_valid),
        link.booting.eq(boot.booting),
        link.fault.eq(boot.fault),
    ]
    if config.store == "flash":
        m.submodules.flash_stream = words = FlashStream(config)
        connect(m, core.words, words.words)
        m.d.comb += [words.open.eq(reader.open), words.valid.eq(reader.valid), words.byte.eq(reader.byte)]
        with m.If(~boot.booting):
            m.d.comb += [reader.go.eq(words.go), reader.want.eq(words.want), reader.which.eq(1)]
        with m.If(~boot.booting & ~link.load.payload.space):  # a host cannot write there, and gets an error
            m.d.comb += [core.load.valid.eq(0), link.load.ready.eq(0)]
    return boot.booting


def add_flash_pins(m: Module, platform: Any, spi: Any) -> None:
    """Connects an SPI master (:func:`rtl_gen.flash_reader.spi_signature`) to the flash that configured the FPGA."""
    try:
        pads = platform.request("spi_flash_1x", 0, dir="-")
    except ResourceError:
        raise BoardError("the board's flash cannot be read by the FPGA") from None
    driven = {"cs": spi.cs, "clk": spi.sck, "copi": spi.copi, "wp": Const(0), "hold": Const(0)}
    for name, value in driven.items():
        port = getattr(pads, name, None)
        if port is not None:  # not every board has the last two
            m.submodules[f"flash_{name}"] = buffer = io.Buffer("o", port)
            m.d.comb += buffer.o.eq(value)
    m.submodules.flash_cipo = cipo = io.Buffer("i", pads.cipo)
    m.d.comb += spi.cipo.eq(cipo.i)
