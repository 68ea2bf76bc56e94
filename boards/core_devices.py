"""The devices that whole cores are measured on, and how the tools are told of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refmodel.errors import ConfigError

from .build import NEXTPNR_OPTIONS, SYNTHESIS
from .registry import get_board
from .sizes import Family


@dataclass(frozen=True)
class Device:
    """One FPGA.

    name, title: what the command line and people call it.
    family, place: the flow, and nextpnr's arguments for device and package (ECP5: and speed grade).
    synth: Yosys' command with its options.
    target_hz: the clock that nextpnr is told to reach; it places by it, and goes on beyond it.
    luts, brams, bram_bits: logic cells (as nextpnr counts them), block RAMs, and data bits of a port of one.
    clock_pin: where the harness' clock comes in; "" where nextpnr may choose: on ECP5 it may choose a pin from which no
        way to the clock network is free.
    stages: flip-flops of the harness that feed a core's inputs, 0 for one an input; see
        :class:`boards.core_harness.Harness`.
    platform: makes a platform, which chooses the vendor's forms of components.
    """

    name: str
    title: str
    family: Family
    place: tuple[str, ...]
    synth: str
    target_hz: int
    luts: int
    brams: int
    bram_bits: int
    stages: int
    platform: Callable[[], Any]
    clock_pin: str = ""

    @property
    def tools(self) -> tuple[str, str]:
        """Tools that measure: synthesis, place and route."""
        return ("yosys", f"nextpnr-{self.family}")

    @property
    def place_options(self) -> tuple[str, ...]:
        """All arguments of place and route but netlist, seed and report."""
        free = "--pcf-allow-unconstrained" if self.family == "ice40" else "--lpf-allow-unconstrained"
        frequency = ("--freq", f"{self.target_hz / 1e6:g}")
        return (*self.place, *NEXTPNR_OPTIONS[self.family], *frequency, free, "--timing-allow-fail")


def _hx8k() -> Any:
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    return ICE40HX8KBEVNPlatform()


def _ecp5(variant: str, *, luts: int, brams: int, target_hz: int) -> Device:
    return Device(
        name=f"ecp5-{variant.lower()}",
        title=f"ECP5 LFE5U-{variant}, speed 6",
        family="ecp5",
        place=(f"--{variant[:-1]}k", "--package", "CABGA381", "--speed", "6"),
        synth=SYNTHESIS["ecp5"],
        target_hz=target_hz,
        luts=luts,
        brams=brams,
        bram_bits=36,
        stages=0,
        platform=get_board(f"ulx3s_{variant.lower()}").platform,
        clock_pin="G2",  # the ULX3S' clock
    )


_DEVICES = (
    Device(
        name="up5k",
        title="iCE40 UP5K",
        family="ice40",
        place=("--up5k", "--package", "sg48"),
        synth=SYNTHESIS["ice40"],
        target_hz=48_000_000,
        luts=5280,
        brams=30,
        bram_bits=16,
        stages=32,  # a core may fill the device: few cells are left for a harness
        platform=get_board("icebreaker").platform,
    ),
    Device(
        name="hx8k",
        title="iCE40 HX8K",
        family="ice40",
        place=("--hx8k", "--package", "ct256"),
        synth="synth_ice40 -device hx -dffe_min_ce_use 6",
        target_hz=120_000_000,
        luts=7680,
        brams=32,
        bram_bits=16,
        stages=32,
        platform=_hx8k,
    ),
    _ecp5("25F", luts=24288, brams=56, target_hz=120_000_000),
    _ecp5("85F", luts=83640, brams=208, target_hz=100_000_000),
)

#: Every device by name.
DEVICES: dict[str, Device] = {device.name: device for device in _DEVICES}


def get_device(name: str) -> Device:
    """The device called ``name``; ConfigError names the known ones otherwise."""
    try:
        return DEVICES[name]
    except KeyError:
        raise ConfigError(f"no device '{name}'; there are {', '.join(DEVICES)}") from None
