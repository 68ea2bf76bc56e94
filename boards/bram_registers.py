"""Registers behind the block RAMs of a synthesised ECP5 netlist, moved into the block RAMs.

A DP16KD shows its data 5.8 ns after the clock (speed grade 6), 0.4 ns with its own output register, which Yosys does
not use.  Where every bit that a RAM shows goes to one flip-flop of the same clock, without reset and all with the same
enable if they have one, those are that register.

Its enable OCE is independent of the RAM's own, CE: in Lattice's simulation models of the same block in earlier
families (DP16KC of ECP3, DP8KC of MachXO2) the register takes the RAM's data in every clock with OCE, whatever CE is,
and in words of 36 bits OCEB is the enable of both halves, which is why both REGMODEs are set.  No public description
says so of ECP5's DP16KD itself: Yosys has it as a black box, with OCE constant, and Project Trellis lists OCEA and
OCEB as inputs with multiplexers of their own, beside CEA and CEB.
"""

from __future__ import annotations

from typing import Any

_OUTPUTS = tuple(f"DO{port}{i}" for port in "AB" for i in range(18))


def absorb_registers(netlist: dict[str, Any]) -> int:
    """Changes Yosys' JSON netlist in place; returns how many flip-flops went into block RAMs.

    Only RAMs that are read through port B are looked at, never reset there.  The output register has a clock enable of
    its own, so that the RAM may be enabled when the flip-flops are not.
    """
    return sum(_absorb(module) for module in netlist["modules"].values() if "cells" in module)


def _absorb(module: dict[str, Any]) -> int:
    cells = module["cells"]
    rams = {name: cell for name, cell in cells.items() if cell["type"] == "DP16KD"}
    if not rams:
        return 0
    readers: dict[int, list[tuple[str, str]]] = {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                for bit in bits:
                    if isinstance(bit, int):
                        readers.setdefault(bit, []).append((name, pin))
    shown = {bit for port in module["ports"].values() if port["direction"] != "input" for bit in port["bits"]}
    gone = 0
    for ram in rams.values():
        flip_flops = _registers(ram, cells, readers, shown)
        enables = {_enable(cells[name]) for name in flip_flops.values()}
        if len(enables) != 1:
            continue
        for pin, name in flip_flops.items():
            ram["connections"][pin] = cells.pop(name)["connections"]["Q"]
        ram["parameters"] |= {"REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG"}
        ram["connections"]["OCEB"] = [enables.pop()]
        gone += len(flip_flops)
    return gone


def _registers(
    ram: dict[str, Any], cells: dict[str, Any], readers: dict[int, list[tuple[str, str]]], shown: set[Any]
) -> dict[str, str]:
    """The flip-flop behind each output of ``ram`` that is read; none if the RAM cannot do without one of them."""
    parameters, pins = ram["parameters"], ram["connections"]
    plain = (
        parameters.get("REGMODE_B") == "NOREG"
        and parameters.get("CLKBMUX", "CLKB") == "CLKB"
        and pins.get("RSTB", ["0"]) == ["0"]
        and pins.get("WEB", ["0"]) == ["0"]
    )
    found: dict[str, str] = {}
    for pin in _OUTPUTS:
        bit = pins.get(pin, ["x"])[0]
        users = readers.get(bit, []) if isinstance(bit, int) else []
        if not users and bit not in shown:
            continue
        if not plain or bit in shown or len(users) != 1 or users[0][1] != "DI":
            return {}
        if not _same_register(cells[users[0][0]], pins["CLKB"]):
            return {}
        found[pin] = users[0][0]
    # Port A's outputs belong to port B's data only in words of 36 bits.
    wide = int(str(parameters.get("DATA_WIDTH_A", 0)), 2) == 36 and int(str(parameters.get("DATA_WIDTH_B", 0)), 2) == 36
    return found if wide or not any(pin.startswith("DOA") for pin in found) else {}


def _same_register(cell: dict[str, Any], clock: list[Any]) -> bool:
    """A flip-flop of this clock without reset."""
    parameters, pins = cell["parameters"], cell["connections"]
    return (
        cell["type"] == "TRELLIS_FF"
        and parameters.get("CLKMUX", "CLK") == "CLK"
        and pins["CLK"] == clock
        and parameters.get("CEMUX", "CE").strip() in ("1", "CE")
        and pins.get("LSR", ["0"]) == ["0"]
        and parameters.get("LSRMUX", "LSR") == "LSR"
    )


def _enable(cell: dict[str, Any]) -> Any:
    """The net that enables a flip-flop, "1" if it is always enabled."""
    # Yosys writes the text "1" with a space behind it, to tell it from a number.
    always = cell["parameters"].get("CEMUX", "CE").strip() == "1"
    return "1" if always else cell["connections"].get("CE", ["1"])[0]
