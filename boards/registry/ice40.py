"""Boards with an iCE40."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refmodel.config import CoreConfig

from .board import ICEPROG, Board, Led, Programmer, openfpgaloader

#: Offset of the program in the flash: above two bitstreams of the largest iCE40, at a whole megabyte.
PROGRAM_OFFSET = 0x100000


def _icebreaker() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


def _icesugar() -> Any:
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


def _hx8k() -> Any:
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    return ICE40HX8KBEVNPlatform()


ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker (iCE40 UP5K)",
    family="ice40",
    device="up5k",
    package="sg48",
    speed="",
    input_clock_hz=12_000_000,
    clock_hz=30_000_000,
    luts=5280,
    brams=30,
    bram_kbit=4,
    dsps=8,
    sprams=4,
    core=CoreConfig(
        event_lanes=2,
        output_lanes=8,
        time_lanes=4,
        neuron_units=1,
        bank_lanes=8,
        adder="chain",
        acc_width=13,
        membrane_width=22,
        leak_terms=1,
        dim_bits=6,
        kernel_bits=3,
        chunk_bits=3,
        bank_depth=128,
        spike_depth=1024,
        store_depth=16384,
        fifo_depth=1,  # 50 logic cells less, 0.6 % more clocks
        store="spram",
    ),
    core_brams=27,
    # openFPGALoader does not list the board by name: it wires the FT2232H as ice40_generic does.
    programmers=(openfpgaloader("ice40_generic"), ICEPROG),
    usual="flash",  # the way to the device's own memory takes other jumpers
    platform=_icebreaker,
    leds=(Led("error", number=0), Led("ready", number=1)),  # red and green: neither is lit during a run
    stores=("flash",),
    flash_offset=PROGRAM_OFFSET,
    # What reads the flash leaves no room for four time lanes, and it is slower than half of them.
    beside_flash=(("time_lanes", 2), ("max_planes", 6)),
)

BOARDS = (
    ICEBREAKER,
    replace(
        ICEBREAKER,
        name="icesugar",
        title="iCESugar (iCE40 UP5K)",
        programmers=(Programmer("icesprog", flash=()),),  # of its own debugger
        platform=_icesugar,
        leds=(Led("error", number=0), Led("ready", number=1), Led("busy", number=2)),  # one LED: red, green, blue
    ),
    Board(
        name="hx8k_evn",
        title="iCE40-HX8K breakout (iCE40 HX8K)",
        family="ice40",
        device="hx8k",
        package="ct256",
        speed="",
        input_clock_hz=12_000_000,
        clock_hz=72_000_000,
        luts=7680,
        brams=32,
        bram_kbit=4,
        dsps=0,
        sprams=0,
        core=CoreConfig(
            event_lanes=2,
            output_lanes=8,
            time_lanes=4,
            neuron_units=1,
            bank_lanes=4,
            adder="chain",
            acc_width=16,
            membrane_width=22,
            leak_terms=1,
            dim_bits=6,
            bank_depth=64,
            spike_depth=256,
            store_depth=512,
            store="bram",
        ),
        core_brams=31,
        programmers=(ICEPROG, openfpgaloader("ice40_generic")),
        usual="flash",
        pll="core",
        platform=_hx8k,
        leds=(Led("ready", number=0), Led("busy", number=1), Led("error", number=2)),
        stores=("flash",),
        flash_offset=PROGRAM_OFFSET,
    ),
)
