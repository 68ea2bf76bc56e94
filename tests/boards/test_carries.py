"""Tidied carry chains compute what they did, with fewer cells around them."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from boards.carries import Tidied, tidy_carries


def cell(a: list[Any], b: list[Any], out: list[Any], carry: Any, carry_out: int, init: str) -> dict[str, Any]:
    """A CCU2C as Yosys writes it: two bits of a + b or a - b, by INIT."""
    connections: dict[str, list[Any]] = {"CIN": [carry], "COUT": [carry_out]}
    for half in range(2):
        connections |= {f"A{half}": [a[half]], f"B{half}": [b[half]], f"C{half}": ["0"], f"D{half}": ["1"]}
        connections[f"S{half}"] = [out[half]]
    return {
        "type": "CCU2C",
        "parameters": {"INIT0": init, "INIT1": init, "INJECT1_0": "NO", "INJECT1_1": "NO"},
        "port_directions": {pin: "output" if pin[0] == "S" or pin == "COUT" else "input" for pin in connections},
        "connections": connections,
    }


def adder(width: int, *, subtract: bool = False, read_carry: bool = False) -> dict[str, Any]:
    """A netlist of one adder of ``width`` bits: bits 2.. are a, 102.. b, 202.. sums, 302.. carries."""
    init = "1001100110101010" if subtract else "0110011010101010"
    cells: dict[str, Any] = {}
    carry: Any = "1" if subtract else "0"
    for first in range(0, width, 2):
        pins = [base + first for base in (2, 102, 202)]
        a, b, out = ([pin, pin + 1] for pin in pins)
        if first + 1 == width:
            a, b = [a[0], "0"], [b[0], "0"]
        cells[f"cell{first}"] = cell(a, b, out, carry, 302 + first, init)
        carry = 302 + first
    sums: list[Any] = [202 + i for i in range(width)]
    ports = {"sum": {"direction": "output", "bits": sums + ([carry] if read_carry else [])}}
    return {"modules": {"top": {"ports": ports, "cells": cells}}}


def outputs(netlist: dict[str, Any], values: dict[int, int], unknown: int) -> list[int]:
    """What the top module's outputs show; open carry inputs are ``unknown``."""
    module = netlist["modules"]["top"]
    values = dict(values)

    def value(bit: Any) -> int:
        return {"0": 0, "1": 1, "x": unknown}[bit] if isinstance(bit, str) else values[bit]

    waiting = list(module["cells"].values())
    while waiting:
        carries = [(one, one["connections"]["CIN"][0]) for one in waiting]
        ready = [one for one, carry in carries if isinstance(carry, str) or carry in values]
        assert ready
        for one in ready:
            waiting.remove(one)
            pins = one["connections"]
            carry = value(pins["CIN"][0])
            for half in range(2):
                init = int(one["parameters"][f"INIT{half}"], 2)
                low = value(pins[f"A{half}"][0]) | value(pins[f"B{half}"][0]) << 1
                lut4 = init >> (low | value(pins[f"C{half}"][0]) << 2 | value(pins[f"D{half}"][0]) << 3) & 1
                if not isinstance(pins[f"S{half}"][0], str):
                    values[pins[f"S{half}"][0]] = lut4 ^ carry
                carry = carry if lut4 else init >> low & 1
            if not isinstance(pins["COUT"][0], str):
                values[pins["COUT"][0]] = carry
    return [value(bit) for bit in module["ports"]["sum"]["bits"]]


@pytest.mark.parametrize("read_carry", [False, True])
@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 8, 9])
def test_sums_stay_what_they_were(width: int, subtract: bool, read_carry: bool) -> None:
    rng = random.Random(width)
    before = adder(width, subtract=subtract, read_carry=read_carry)
    after = copy.deepcopy(before)
    tidied = tidy_carries(after)
    room = width % 2 == 1 and not read_carry
    assert tidied == Tidied(outputs=not read_carry, inputs=room, moved=room)
    for _ in range(100):
        a, b = rng.getrandbits(width), rng.getrandbits(width)
        values = {2 + i: a >> i & 1 for i in range(width)} | {102 + i: b >> i & 1 for i in range(width)}
        expected = outputs(before, values, 0)
        total = (a - b if subtract else a + b) % (1 << width)
        assert expected[:width] == [total >> i & 1 for i in range(width)]
        assert outputs(after, values, 0) == outputs(after, values, 1) == expected


def test_a_chain_that_starts_itself_needs_no_input() -> None:
    netlist = adder(8)
    first = netlist["modules"]["top"]["cells"]["cell0"]
    first["parameters"]["INIT0"] = f"{0:016b}"
    netlist["modules"]["top"]["ports"]["sum"]["bits"].remove(202)
    assert tidy_carries(netlist) == Tidied(outputs=1, inputs=1, moved=0)
    assert first["connections"]["CIN"] == ["x"]


def test_a_second_time_changes_nothing() -> None:
    netlist = adder(9)
    tidy_carries(netlist)
    once = copy.deepcopy(netlist)
    assert tidy_carries(netlist) == Tidied()
    assert netlist == once


def test_other_families_are_left_alone() -> None:
    netlist = {"modules": {"top": {"ports": {}, "cells": {"x": {"type": "SB_CARRY", "connections": {"CI": ["0"]}}}}}}
    assert tidy_carries(netlist) == Tidied()
