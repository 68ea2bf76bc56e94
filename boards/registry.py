"""The boards: what each one is, its clocks, its resources and the core it gets unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from refmodel.config import CoreConfig
from refmodel.errors import BoardError


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
    programmer: programmer and its options; the bitstream's path is appended.
    platform: makes a fresh Amaranth platform.
    baud: default speed of the host link.
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
    programmer: tuple[str, ...]
    platform: Callable[[], Any]
    baud: int = 1_000_000

    @property
    def bitstream_name(self) -> str:
        """File name of the bitstream in a build folder."""
        return "top.bin" if self.family == "ice40" else "top.bit"

    @property
    def bram_total_kbit(self) -> int:
        return self.brams * self.bram_kbit


def _icebreaker() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


def _ulx3s(variant: str) -> Callable[[], Any]:
    def platform() -> Any:
        from amaranth_boards import ulx3s

        return getattr(ulx3s, f"ULX3S_{variant}_Platform")()

    return platform


def _ulx3s_board(
    variant: str, *, luts: int, brams: int, core_brams: int, dsps: int, spike_depth: int, store_depth: int
) -> Board:
    return Board(
        name=f"ulx3s_{variant.lower()}",
        title=f"ULX3S (ECP5 LFE5U-{variant})",
        family="ecp5",
        device=f"LFE5U-{variant}",
        package="CABGA381",
        speed="6",
        input_clock_hz=25_000_000,
        clock_hz=62_500_000,
        luts=luts,
        brams=brams,
        bram_kbit=18,
        dsps=dsps,
        sprams=0,
        core=CoreConfig(
            event_lanes=4,
            output_lanes=16,
            time_lanes=4,
            neuron_units=4,
            bank_lanes=4,  # 4 weights of 8 bits fill a 36-bit EBR
            adder="chain",
            bank_depth=256,
            spike_depth=spike_depth,
            store_depth=store_depth,
            fifo_depth=4,
            store="bram",
        ),
        core_brams=core_brams,
        programmer=("openfpgaloader", "-b", "ulx3s"),
        platform=_ulx3s(variant),
    )


_BOARDS = (
    Board(
        name="icebreaker",
        title="iCEBreaker (iCE40 UP5K)",
        family="ice40",
        device="up5k",
        package="sg48",
        speed="",
        input_clock_hz=12_000_000,
        clock_hz=24_000_000,
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
            acc_width=16,
            membrane_width=22,
            leak_terms=1,
            dim_bits=6,
            bank_depth=128,
            spike_depth=1024,
            store_depth=16384,
            store="spram",
        ),
        core_brams=27,
        # openFPGALoader does not list the board by name: it wires the FT2232H as ice40_generic does.
        programmer=("openfpgaloader", "-b", "ice40_generic"),
        platform=_icebreaker,
    ),
    # The 12F is the 25F's die: the tools let it use all of it.
    _ulx3s_board("12F", luts=24288, brams=56, core_brams=51, dsps=28, spike_depth=1024, store_depth=2048),
    _ulx3s_board("25F", luts=24288, brams=56, core_brams=51, dsps=28, spike_depth=1024, store_depth=2048),
    _ulx3s_board("45F", luts=43848, brams=108, core_brams=99, dsps=72, spike_depth=2048, store_depth=8192),
    _ulx3s_board("85F", luts=83640, brams=208, core_brams=99, dsps=156, spike_depth=2048, store_depth=8192),
)

#: Every known board by name.
BOARDS: dict[str, Board] = {board.name: board for board in _BOARDS}


def get_board(name: str) -> Board:
    """The board called ``name``; BoardError names the known ones otherwise."""
    try:
        return BOARDS[name]
    except KeyError:
        raise BoardError(f"board {name!r} is not known; use one of {', '.join(sorted(BOARDS))}") from None
