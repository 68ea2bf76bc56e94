"""A function that is one LUT, whatever synthesis would make of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from amaranth import Const, Instance, Module, Signal, Value
from amaranth.vendor import SiliconBluePlatform


def one_lut(m: Module, platform: Any, name: str, function: Callable[..., Any], *inputs: Value) -> Signal:
    """``function`` of up to four single bits; on iCE40 a LUT of its own, which synthesis neither shares nor splits.

    Synthesis allows any function as many LUTs as the slowest path of the design has, and takes the longest carry
    chain for that; wires make a path of many LUTs the slower one.

    function: of bits, made of &, | and ^ (also with 1), so that it takes numbers as well.
    """
    out = Signal(name=name)
    if isinstance(platform, SiliconBluePlatform):
        truth = sum(function(*reversed(bits)) << row for row, bits in enumerate(product((0, 1), repeat=len(inputs))))
        truth *= sum(1 << (index << len(inputs)) for index in range(16 >> len(inputs)))  # of no other input
        pins = {f"i_I{pin}": value for pin, value in enumerate([*inputs, *[Const(0, 1)] * (4 - len(inputs))])}
        m.submodules[name] = Instance("SB_LUT4", p_LUT_INIT=Const(truth, 16), **pins, o_O=out)
    else:
        m.d.comb += out.eq(function(*inputs))
    return out
