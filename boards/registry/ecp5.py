"""Boards with an ECP5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refmodel.config import CoreConfig

from .board import Board, Led, Programmer, openfpgaloader, rgb


@dataclass(frozen=True)
class _Die:
    """An ECP5: what it has, and the memories of the core that suits it (``core_brams``: of the complete design)."""

    luts: int
    brams: int
    dsps: int
    core_brams: int
    spike_depth: int
    store_depth: int


_DIES = {
    # The 12F is the 25F's die: the tools let it use all of it.
    "12F": _Die(luts=24288, brams=56, dsps=28, core_brams=52, spike_depth=1024, store_depth=2048),
    "25F": _Die(luts=24288, brams=56, dsps=28, core_brams=52, spike_depth=1024, store_depth=2048),
    "45F": _Die(luts=43848, brams=108, dsps=72, core_brams=100, spike_depth=2048, store_depth=8192),
    "85F": _Die(luts=83640, brams=208, dsps=156, core_brams=100, spike_depth=2048, store_depth=8192),
}


def _board(
    name: str,
    title: str,
    device: str,
    package: str,
    speed: str,
    *,
    input_clock_hz: int,
    clock_hz: int,
    programmers: tuple[Programmer, ...],
    platform: Callable[[], Any],
    **others: Any,
) -> Board:
    """A board with the core that suits its die; ``device``: as nextpnr names it."""
    die = _DIES[device.rsplit("-", 1)[1]]
    return Board(
        name=name,
        title=f"{title} (ECP5 {device})",
        family="ecp5",
        device=device,
        package=package,
        speed=speed,
        input_clock_hz=input_clock_hz,
        clock_hz=clock_hz,
        luts=die.luts,
        brams=die.brams,
        bram_kbit=18,
        dsps=die.dsps,
        sprams=0,
        core=CoreConfig(
            event_lanes=4,
            output_lanes=16,
            time_lanes=4,
            neuron_units=4,
            bank_lanes=4,  # 4 weights of 8 bits fill a 36-bit EBR
            adder="chain",
            bank_depth=256,
            spike_depth=die.spike_depth,
            store_depth=die.store_depth,
            fifo_depth=4,
            store="bram",
        ),
        core_brams=die.core_brams,
        programmers=programmers,
        platform=platform,
        **others,
    )


def _ulx3s(variant: str) -> Board:
    def platform() -> Any:
        from amaranth_boards import ulx3s

        return getattr(ulx3s, f"ULX3S_{variant}_Platform")()

    return _board(
        f"ulx3s_{variant.lower()}",
        "ULX3S",
        f"LFE5U-{variant}",
        "CABGA381",
        "6",
        input_clock_hz=25_000_000,
        clock_hz=75_000_000,
        programmers=(openfpgaloader("ulx3s"),),
        platform=platform,
        stores=("sdram",),
        leds=(Led("ready", number=0), Led("busy", number=1), Led("error", number=2)),
    )


def _ecpix5(variant: str) -> Board:
    def platform() -> Any:
        from amaranth_boards import ecpix5

        return getattr(ecpix5, f"ECPIX5{variant[:-1]}Platform")()

    return _board(
        f"ecpix5_{variant.lower()}",
        "ECPIX-5",
        f"LFE5UM5G-{variant}",
        "CABGA554",
        "8",
        input_clock_hz=100_000_000,
        clock_hz=100_000_000,
        programmers=(openfpgaloader("ecpix5"),),
        platform=platform,
        leds=rgb(),
    )


def _orangecrab(variant: str) -> Board:
    def platform() -> Any:
        from amaranth.build import Attrs
        from amaranth_boards import orangecrab_r0_2
        from amaranth_boards.resources import UARTResource

        made = getattr(orangecrab_r0_2, f"OrangeCrabR0_2_{variant}Platform")()
        # The board's USB has no serial chip: an adapter goes to the header's pins 0 (receives) and 1 (sends).
        made.add_resources([UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33"))])
        return made

    return _board(
        f"orangecrab_{variant.lower()}",
        "OrangeCrab r0.2",
        f"LFE5U-{variant}",
        "CSFBGA285",
        "8",
        input_clock_hz=48_000_000,
        clock_hz=96_000_000,
        programmers=(Programmer("openfpgaloader", ("-b", "orangeCrab"), flash=()),),  # by its boot loader (DFU)
        usual="flash",
        platform=platform,
        leds=rgb(),
        pack_options=("--freq", "38.8"),  # of the flash at start, as the board's makers have it
    )


def _colorlight_5a75b() -> Any:
    from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform

    return Colorlight_5A75B_R70Platform()


BOARDS = (
    *map(_ulx3s, ("12F", "25F", "45F", "85F")),
    *map(_ecpix5, ("45F", "85F")),
    *map(_orangecrab, ("25F", "85F")),
    _board(
        "colorlight_5a75b",
        "Colorlight 5A-75B r7.0",
        "LFE5U-25F",
        "CABGA256",
        "6",
        input_clock_hz=25_000_000,
        clock_hz=75_000_000,
        # It has no programmer of its own: --cable names the one at its JTAG pins.
        programmers=(openfpgaloader("colorlight"),),
        platform=_colorlight_5a75b,
        # Its only pins that can receive are the button's, on J19 beside the LED's: they are the UART, there is no LED.
    ),
)
