"""Flip-flops behind block RAMs become the RAMs' own, where that changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from boards.bram_registers import absorb_registers


def flip_flop(data: int, out: int, **changes: Any) -> dict[str, Any]:
    connections = {"CLK": [2], "DI": [data], "LSR": ["0"], "Q": [out]}
    parameters = {"CEMUX": "1 ", "CLKMUX": "CLK", "GSR": "DISABLED", "LSRMUX": "LSR", "REGSET": "RESET"}
    for name, value in changes.items():
        (connections if isinstance(value, list) else parameters)[name] = value
    directions = {pin: "output" if pin == "Q" else "input" for pin in connections}
    return {
        "type": "TRELLIS_FF",
        "parameters": parameters,
        "port_directions": directions,
        "connections": connections,
    }


def netlist(width: int = 36) -> dict[str, Any]:
    """A RAM whose outputs 10, 11 (port B) and, if it is wide, 12 (port A) have flip-flops that show 20, 21, 22."""
    connections: dict[str, Any] = {"CLKA": [2], "CLKB": [2], "CEB": ["1"], "RSTB": ["0"], "WEB": ["0"], "OCEB": ["1"]}
    outputs: dict[str, Any] = {"DOB0": [10], "DOB1": [11], "DOB2": [99]} | ({"DOA0": [12]} if width == 36 else {})
    directions = dict.fromkeys(connections, "input") | dict.fromkeys(outputs, "output")
    parameters = {"DATA_WIDTH_A": f"{width:032b}", "DATA_WIDTH_B": f"{width:032b}"}
    parameters |= {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG", "CLKBMUX": "CLKB"}
    ram = {
        "type": "DP16KD",
        "parameters": parameters,
        "port_directions": directions,
        "connections": connections | outputs,
    }
    cells = {"ram": ram, "a": flip_flop(10, 20), "b": flip_flop(11, 21)}
    if width == 36:
        cells["c"] = flip_flop(12, 22)
    ports = {"out": {"direction": "output", "bits": [20, 21, 22]}}
    return {"modules": {"top": {"ports": ports, "cells": cells}}}


@pytest.mark.parametrize(("width", "count"), [(36, 3), (18, 2)])
def test_plain_registers_go_into_the_ram(width: int, count: int) -> None:
    made = netlist(width)
    assert absorb_registers(made) == count
    cells = made["modules"]["top"]["cells"]
    assert list(cells) == ["ram"]
    assert cells["ram"]["connections"]["DOB0"] == [20]
    assert cells["ram"]["connections"]["DOB1"] == [21]
    assert cells["ram"]["connections"]["DOB2"] == [99]
    assert cells["ram"]["parameters"]["REGMODE_B"] == "OUTREG"
    assert absorb_registers(made) == 0


def test_enables_of_ram_and_registers_stay_apart() -> None:
    made = netlist()
    cells = made["modules"]["top"]["cells"]
    cells |= {
        name: flip_flop(data, out, CE=[4], CEMUX="CE")
        for name, data, out in (("a", 10, 20), ("b", 11, 21), ("c", 12, 22))
    }
    cells["ram"]["connections"]["CEB"] = [5]
    assert absorb_registers(made) == 3
    assert list(cells) == ["ram"]
    assert cells["ram"]["connections"]["OCEB"] == [4]
    assert cells["ram"]["connections"]["CEB"] == [5]


BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another clock": lambda cells: cells.update(a=flip_flop(10, 20, CLK=[3])),
    "an enable of one": lambda cells: cells.update(a=flip_flop(10, 20, CE=[4], CEMUX="CE")),
    "an inverted enable": lambda cells: cells.update(a=flip_flop(10, 20, CE=[4], CEMUX="INV")),
    "a reset": lambda cells: cells.update(a=flip_flop(10, 20, LSR=[4])),
    "the other edge": lambda cells: cells.update(a=flip_flop(10, 20, CLKMUX="INV")),
    "two readers": lambda cells: cells.update(d=flip_flop(10, 30)),
    "no register": lambda cells: cells.pop("b") and cells["a"]["connections"].update(M=[11]),
    "a RAM that is reset": lambda cells: cells["ram"]["connections"].update(RSTB=[4]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_others_stay(name: str) -> None:
    made = netlist()
    BREAKS[name](made["modules"]["top"]["cells"])
    made["modules"]["top"]["cells"]["a"]["port_directions"].update(CE="input", M="input")
    before = copy.deepcopy(made)
    assert absorb_registers(made) == 0
    assert made == before


def test_an_output_that_is_shown_stays() -> None:
    made = netlist()
    made["modules"]["top"]["ports"]["out"]["bits"].append(10)
    assert absorb_registers(made) == 0
