"""A function that is one LUT, whatever synthesis would make of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from amaranth import Const, Instance, Module, Signal, Value

from .block_ram import Family, family_of

#: A family's LUT: its pins from the least significant one of its table's index, that table, its output.
_CELLS: dict[Family, tuple[str, tuple[str, ...], str, str]] = {
    "ice40": ("SB_LUT4", ("I0", "I1", "I2", "I3"), "LUT_INIT", "O"),
    "ecp5": ("LUT4", ("A", "B", "C", "D"), "INIT", "Z"),
}


def one_lut(m: Module, platform: Any, name: str, function: Callable[..., Any], *inputs: Value) -> Signal:
    """``function`` of up to four single bits; on iCE40 and ECP5 a LUT of its own, which synthesis neither
    shares nor splits.

    Synthesis allows any function as many LUTs as the slowest path of the design has, and takes the longest carry
    chain for that; wires make a path of many LUTs the slower one.

    function: of bits, made of &, | and ^ (also with 1), so that it takes numbers as well.
    """
    out = Signal(name=name)
    family = family_of(platform)
    if family is None:
        m.d.comb += out.eq(function(*inputs))
        return out
    truth = sum(function(*reversed(bits)) << row for row, bits in enumerate(product((0, 1), repeat=len(inputs))))
    truth *= sum(1 << (index << len(inputs)) for index in range(16 >> len(inputs)))  # of no other input
    cell, pins, init, result = _CELLS[family]
    ports = {f"i_{pin}": value for pin, value in zip(pins, [*inputs, *[Const(0, 1)] * (4 - len(inputs))], strict=True)}
    m.submodules[name] = Instance(cell, **{f"p_{init}": Const(truth, 16), **ports, f"o_{result}": out})
    return out
