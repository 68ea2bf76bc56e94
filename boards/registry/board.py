"""What a board is: its device, clocks, pins and the core it gets unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from refmodel.config import CoreConfig

Use = Literal["ready", "busy", "error"]
#: Memories beside the FPGA that a program may lie in.
OutsideStore = Literal["flash", "sdram"]


@dataclass(frozen=True)
class Led:
    """An LED that shows the core's state.

    use: "ready": lit while a run could start; "busy": while one is under way; "error": from a fault to the next start.
    resource, number, part: of the platform, such as ("led", 0) or ("rgb_led", 0, "g").
    """

    use: Use
    resource: str = "led"
    number: int = 0
    part: str | None = None


def rgb(number: int = 0) -> tuple[Led, ...]:
    """Green: ready, blue: busy, red: error, on one LED of three colours."""
    uses: tuple[tuple[Use, str], ...] = (("ready", "g"), ("busy", "b"), ("error", "r"))
    return tuple(Led(use, "rgb_led", number, part) for use, part in uses)


@dataclass(frozen=True)
class Programmer:
    """A tool that brings a bitstream into a board.

    tool: as :func:`boards.tools.find_tool` knows it. options: always given.
    sram, flash: options for the device's own memory and for the flash; None where the tool or the board cannot.
    """

    tool: str
    options: tuple[str, ...] = ()
    sram: tuple[str, ...] | None = None
    flash: tuple[str, ...] | None = None


def openfpgaloader(board: str) -> Programmer:
    """openFPGALoader, which calls the board ``board``, by JTAG or SPI."""
    return Programmer("openfpgaloader", ("-b", board), sram=("-m",), flash=("-f",))


#: For boards with an FTDI chip at the SPI pins of their iCE40.
ICEPROG = Programmer("iceprog", sram=("-S",), flash=())


@dataclass(frozen=True)
class Board:
    """One board.

    Parameters
    ----------
    name: what the command line calls it.
    title: what people call it.
    family: FPGA family, which selects the flow.
    device, package, speed: as nextpnr names them (``speed`` is empty for iCE40).
    input_clock_hz: oscillator on the board.
    clock_hz: target of the core's clock, made by the PLL.
    luts: 4-input LUTs of the device as nextpnr counts them.
    brams, bram_kbit: block RAMs, and kbit of one.
    dsps, sprams: multipliers and 256-kbit single-port RAMs.
    core: default core.
    core_brams: block RAMs that the complete design with the default core takes, as built.
    programmers: those that can program the board, the usual one first.
    platform: makes a fresh Amaranth platform.
    baud: default speed of the host link.
    leds: those that show the core's state.
    pack_options: more options of the packer.
    stores: memories beside the FPGA that a core can run a program from (:func:`boards.registry.stores.with_store`).
    flash_offset: where a program lies in the flash that the FPGA is configured from, None if it cannot be read.
    beside_flash: what the core has else beside a program that stays in the flash, to leave room for what reads it.
    boot: at start the program comes from that flash into the core's own store.
    usual: where a bitstream goes unless told otherwise.
    pll: iCE40: "pad" if the oscillator is at the PLL's own pin, "core" if not.
    """

    name: str
    title: str
    family: Literal["ice40", "ecp5"]
    device: str
    package: str
    speed: str
    input_clock_hz: int
    clock_hz: int
    luts: int
    brams: int
    bram_kbit: int
    dsps: int
    sprams: int
    core: CoreConfig
    core_brams: int
    programmers: tuple[Programmer, ...]
    platform: Callable[[], Any]
    baud: int = 1_000_000
    leds: tuple[Led, ...] = ()
    pack_options: tuple[str, ...] = ()
    stores: tuple[OutsideStore, ...] = ()
    flash_offset: int | None = None
    beside_flash: tuple[tuple[str, int], ...] = ()
    boot: bool = False
    usual: Literal["sram", "flash"] = "sram"
    pll: Literal["pad", "core"] = "pad"

    @property
    def bitstream_name(self) -> str:
        """File name of the bitstream in a build folder."""
        return "top.bin" if self.family == "ice40" else "top.bit"

    @property
    def additions(self) -> tuple[str, ...]:
        """What may follow the name behind a plus (:func:`boards.registry.stores.with_addition`)."""
        boots = self.flash_offset is not None and self.core.store == "spram" and not self.boot
        return (*["boot"] * boots, *self.stores, *["state"] * (self.core.state_depth == 0))

    @property
    def bram_total_kbit(self) -> int:
        return self.brams * self.bram_kbit
