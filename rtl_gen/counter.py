# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
"""A wide counter, in a multiplier block where one is to be had."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform


def counts_in_block(platform: Any) -> bool:
    """Whether the device has SB_MAC16, whose 32-bit accumulator takes the place of as many logic cells."""
    return isinstance(platform, SiliconBluePlatform) and str(platform.device) in ("iCE40UP5K", "iCE40UP3K")


class Counter(wiring.Component):
    """Counts the clocks with ``en``; what it holds before the first ``clear`` is undefined.

    Parameters
    ----------
    width: bits, at most 32.
    block: use a multiplier block where the device has one.

    Members
    -------
    en: counts on at the end of this clock.  clear: is 0 in the next clock, whatever ``en`` is.
    value: the count, from a register.
    """

    def __init__(self, *, width: int, block: bool = True):
        if not 1 <= width <= 32:
            raise ValueError(f"width must be 1 to 32, not {width!r}")
        self._width, self._block = width, block
        super().__init__({"en": In(1), "clear": In(1), "value": Out(width)})

    @property
    def width(self) -> int:
        return self._width

    @property
    def block(self) -> bool:
        return self._block

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if not (self._block and counts_in_block(platform)):
            value = Signal(self._width, reset_less=True)
            with m.If(self.en):
                m.d.sync += value.eq(value + 1)
            with m.If(self.clear):
                m.d.sync += value.eq(0)
            m.d.comb += self.value.eq(value)
            return m
        zero, found = Const(0, 16), Signal(32)
        m.d.comb += self.value.eq(found)
        m.submodules.accumulator = Instance(
            "SB_MAC16",
            # Both halves: last value + input, from a register; the upper one adds the lower one's carry.
            p_TOPOUTPUT_SELECT=Const(1, 2),
            p_TOPADDSUB_LOWERINPUT=Const(0, 2),
            p_TOPADDSUB_UPPERINPUT=Const(0, 1),
            p_TOPADDSUB_CARRYSELECT=Const(2, 2),
            p_BOTOUTPUT_SELECT=Const(1, 2),
            p_BOTADDSUB_LOWERINPUT=Const(0, 2),
            p_BOTADDSUB_UPPERINPUT=Const(0, 1),
            p_BOTADDSUB_CARRYSELECT=Const(0, 2),
            i_CLK=ClockSignal("sync"),
            i_CE=Const(1),
            i_A=zero,
            i_B=Cat(self.en, zero[1:]),
            i_C=zero,
            i_D=zero,
            **{f"i_{name}HOLD": Const(0) for name in "ABCD"},
            **{f"i_{name}{half}": Const(0) for name in ("IRST", "ORST", "ADDSUB", "OHOLD") for half in ("TOP", "BOT")},
            i_OLOADTOP=self.clear,
            i_OLOADBOT=self.clear,
            i_CI=Const(0),
            i_ACCUMCI=Const(0),
            i_SIGNEXTIN=Const(0),
            o_O=found,
        )
        return m
