# Amaranth declares its values to no type checker.
# pyright: reportReturnType=false
"""Carry chains of a neuron unit: one LUT a bit with a choice of what is added, where the family has that."""

from __future__ import annotations

from typing import Any

from amaranth import Const, Instance, Module, Mux, Signal, Value, signed

from .adders import adder_form

#: CCU2C: sum = LUT4(D, C, B, A) ^ carry; carry = carry where LUT4, else LUT2(B, A), its lowest four bits.
_PLUS = 0x6AAA  # A + B, with C = D = 1
_PLUS_INVERSE = 0x9AAA  # A + ~B, with C = D = 1
_PLUS_CHOICE = 0x665A  # A + (B if D else C)
_MINUS_CHOICE = 0x99A5  # ~(A - (B if D else C)): the carry is a borrow
_CARRY_0, _CARRY_1 = 0x0000, 0x0008  # with all inputs 1


def on_ecp5(platform: Any) -> bool:
    """Whether CCU2C carry chains are at hand."""
    return adder_form(platform) == "ecp5"


def _bits(value: Value, width: int) -> list[Value]:
    """Two's complement bits, least significant first, sign extended or cut."""
    return [value[min(i, len(value) - 1)] for i in range(width)]


def _chain(m: Module, name: str, init: int, start: int, width: int, *operands: Value) -> Signal:
    """A chain of CCU2C; up to four operands take the inputs A to D (a single bit goes to all), the others are 1."""
    total, one = Signal(signed(width), name=name), Const(1, 1)
    columns = [_bits(value, width) for value in operands] + [[one] * width] * (4 - len(operands))
    halves = [(start, [one] * 4, None)]
    halves += [(init, [column[i] for column in columns], total[i]) for i in range(width)]
    if len(halves) % 2:
        halves.append((_CARRY_0, [one] * 4, None))
    carry: Signal | None = None
    for first in range(0, len(halves), 2):
        ports: dict[str, Any] = {"p_INJECT1_0": "NO", "p_INJECT1_1": "NO"}
        for half, (truth, inputs, out) in enumerate(halves[first : first + 2]):
            ports[f"p_INIT{half}"] = Const(truth, 16)
            ports |= {f"i_{pin}{half}": value for pin, value in zip("ABCD", inputs, strict=True)}
            if out is not None:
                ports[f"o_S{half}"] = out
        if carry is not None:
            ports["i_CIN"] = carry
        if first + 2 < len(halves):
            carry = Signal(name=f"{name}_carry{first // 2}")
            ports["o_COUT"] = carry
        m.submodules[f"{name}_cell{first // 2}"] = Instance("CCU2C", **ports)
    return total


def add_choice(m: Module, platform: Any, name: str, a: Value, high: Value, low: Value, select: Value, width: int):
    """a + (high if select else low), signed, ``width`` bits."""
    if on_ecp5(platform):
        return _chain(m, name, _PLUS_CHOICE, _CARRY_0, width, a, high, low, select)
    return (a + Mux(select, high, low))[:width].as_signed()


def subtract(m: Module, platform: Any, name: str, a: Value, not_b: Value, width: int) -> Value:
    """a - b, signed, ``width`` bits; b comes inverted."""
    if on_ecp5(platform):
        return _chain(m, name, _PLUS, _CARRY_1, width, a, not_b)
    return (a - (~not_b).as_signed())[:width].as_signed()


class Kept:
    """A signed value that a register keeps as it is or, where that saves inverters, inverted.

    inverted: whether ``register`` has it inverted.
    """

    def __init__(self, *, width: int, inverted: bool, name: str):
        self.register = Signal(signed(width), name=name, reset_less=True, init=-1 if inverted else 0)
        self.inverted = inverted

    def cleared(self):
        """The statement that makes the value 0."""
        return self.register.eq(-1 if self.inverted else 0)

    def begun(self, value: Value):
        """The statement that makes it ``value``."""
        return self.register.eq(~value if self.inverted else value)


def add_kept(m: Module, platform: Any, name: str, a: Value, kept: Kept, width: int) -> Value:
    """a + kept, signed, ``width`` bits."""
    if on_ecp5(platform):
        return _chain(m, name, _PLUS_INVERSE if kept.inverted else _PLUS, _CARRY_0, width, a, kept.register)
    value = (~kept.register).as_signed() if kept.inverted else kept.register
    return (a + value)[:width].as_signed()


def minus_choice(m: Module, platform: Any, name: str, a: Value, high: Value, low: Value, select: Value, width: int):
    """~(a - (high if select else low)) on ECP5, else the difference itself; signed, ``width`` bits."""
    if on_ecp5(platform):
        return _chain(m, name, _MINUS_CHOICE, _CARRY_0, width, a, high, low, select)
    return (a - Mux(select, high, low))[:width].as_signed()
