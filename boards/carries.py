"""Carry chains of a synthesised ECP5 netlist without the cells that nextpnr would add around them.

nextpnr puts two LUTs in front of a chain whose carry input is a constant, and two behind a chain whose last carry
output is connected, be it to nothing. Yosys connects both of every CCU2C: four LUTs an adder that do nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

_OPEN = ["x"]
_PINS = "ABCD"
#: LUT4 is 0 where D is 1, so that the carry is LUT2, the lowest four bits: 0 or 1 whatever comes in.
_CARRY_OF = {"0": f"{0x0000:016b}", "1": f"{0x000F:016b}"}


@dataclass(frozen=True)
class Tidied:
    """outputs: carry outputs left open.  inputs: carry inputs left open.  moved: chains moved up by a bit."""

    outputs: int = 0
    inputs: int = 0
    moved: int = 0


def tidy_carries(netlist: dict[str, Any]) -> Tidied:
    """Changes Yosys' JSON netlist in place; what it computes stays the same.

    A carry output that drives nothing is left open.  A constant carry input is left open where the chain's first bit
    does not depend on it; a chain whose last bit is free is moved up by one, and a bit that makes the constant comes
    first.  Cells of other families are left alone.
    """
    outputs = inputs = moved = 0
    for module in netlist["modules"].values():
        cells = {name: cell for name, cell in module.get("cells", {}).items() if cell["type"] == "CCU2C"}
        if not cells:
            continue
        users = _users(module)
        for cell in cells.values():
            carry = cell["connections"].get("COUT", _OPEN)
            if carry != _OPEN and not users[carry[0]]:
                cell["connections"]["COUT"] = list(_OPEN)
                outputs += 1
        for chain in _chains(cells):
            constant = chain[0]["connections"].get("CIN", _OPEN)[0]
            if constant not in _CARRY_OF:
                continue
            if not _starts_itself(chain[0], users):
                if not _has_room(chain, users):
                    continue
                _move_up(chain, constant)
                moved += 1
            chain[0]["connections"]["CIN"] = list(_OPEN)
            inputs += 1
    return Tidied(outputs, inputs, moved)


def _users(module: dict[str, Any]) -> Counter[int]:
    """How many inputs and ports of the module read a net."""
    read = [port["bits"] for port in module["ports"].values() if port["direction"] != "input"]
    for cell in module["cells"].values():
        directions = cell["port_directions"]
        read += [bits for pin, bits in cell["connections"].items() if directions[pin] != "output"]
    return Counter(bit for bits in read for bit in bits if isinstance(bit, int))


def _chains(cells: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Cells in the order of their carry, from each one whose carry comes from no other."""
    after = {cell["connections"]["CIN"][0]: cell for cell in cells.values() if "CIN" in cell["connections"]}
    made = {cell["connections"]["COUT"][0] for cell in cells.values() if "COUT" in cell["connections"]} - {"x"}
    chains = []
    for cell in cells.values():
        if cell["connections"].get("CIN", _OPEN)[0] in made:
            continue
        chain = [cell]
        while (carry := chain[-1]["connections"].get("COUT", _OPEN)[0]) != "x" and carry in after:
            chain.append(after[carry])
        chains.append(chain)
    return chains


def _starts_itself(cell: dict[str, Any], users: Counter[int]) -> bool:
    """The first bit gives the carry 0 whatever comes in, and nobody reads its sum."""
    init = int(cell["parameters"]["INIT0"], 2)
    total = cell["connections"].get("S0", _OPEN)[0]
    return init == 0 and cell["parameters"]["INJECT1_0"] == "NO" and not users[total]


def _has_room(chain: list[dict[str, Any]], users: Counter[int]) -> bool:
    """The last bit is used for nothing, and all bits are plain."""
    last = chain[-1]["connections"]
    if last.get("COUT", _OPEN) != _OPEN or users[last.get("S1", _OPEN)[0]]:
        return False
    return all(cell["parameters"][f"INJECT1_{half}"] == "NO" for cell in chain for half in range(2))


def _move_up(chain: list[dict[str, Any]], constant: str) -> None:
    """A bit that makes the carry ``constant``, then all bits but the last."""
    bits = [({pin: ["1"] for pin in _PINS}, _CARRY_OF[constant], list(_OPEN))]
    for cell in chain:
        for half in range(2):
            pins = {pin: cell["connections"].get(f"{pin}{half}", ["1"]) for pin in _PINS}
            total = cell["connections"].get(f"S{half}", list(_OPEN))
            bits.append((pins, cell["parameters"][f"INIT{half}"], total))
    for number, cell in enumerate(chain):
        for half in range(2):
            pins, init, total = bits[2 * number + half]
            cell["connections"] |= {f"{pin}{half}": list(bit) for pin, bit in pins.items()}
            cell["connections"][f"S{half}"] = total
            cell["parameters"][f"INIT{half}"] = init
            cell["port_directions"] |= {f"{pin}{half}": "input" for pin in _PINS} | {f"S{half}": "output"}
