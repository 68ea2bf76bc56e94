"""Designs on their way from Amaranth to Yosys, and from there to nextpnr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refmodel.errors import ToolError

from .bram_registers import absorb_registers
from .carries import tidy_carries
from .files import write_text


def mark_collision_free(il: str) -> str:
    """Lets synthesis leave out collision logic where a memory says ``attrs={"no_rw_check": 1}``.

    Amaranth promises the old word when a clocked port reads what another one writes, and block RAMs do not, so Yosys
    adds comparators, bypass multiplexers and two flip-flops a bit. It honours ``no_rw_check`` only for ports whose
    register it finds itself; Amaranth's ports have theirs already and are marked here (COLLISION_X_MASK).
    """
    lines = il.split("\n")
    marked: set[str] = set()  # of the present module
    attribute = False
    cell: int | None = None
    for index, line in enumerate(lines):
        text = line.strip()
        if text.startswith("module "):
            marked.clear()
        elif text.startswith("attribute "):
            attribute = attribute or text == r"attribute \no_rw_check 1"
            continue
        elif text.startswith("memory ") and attribute:
            marked.add(text.rsplit(" ", 1)[-1])
        elif text.startswith("cell $memrd_v2 "):
            cell = index
        elif text == "end" and cell is not None:
            memory = next(part for part in lines[cell:index] if "\\MEMID" in part).split('"')[1].replace("\\\\", "\\")
            if memory in marked and any(part.strip() == r"parameter \CLK_ENABLE 1" for part in lines[cell:index]):
                for at in range(cell, index):
                    if "\\COLLISION_X_MASK" in lines[at]:
                        head, mask = lines[at].rsplit("'", 1)
                        lines[at] = f"{head}'{'1' * len(mask)}"
            cell = None
        attribute = False
    return "\n".join(lines)


def finish_netlist(path: Path) -> dict[str, Any]:
    """Makes Yosys' JSON netlist what nextpnr is to get, in its file, and returns it.

    Registers behind block RAMs go into them (:mod:`boards.bram_registers`), and carry chains lose the cells around them
    (:mod:`boards.carries`); both on ECP5 only, where there are such cells.

    Raises ToolError where there is no netlist.
    """
    try:
        netlist = json.loads(path.read_text())
        absorb_registers(netlist)
        tidy_carries(netlist)
    except OSError:
        raise ToolError(f"yosys wrote no {path.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToolError("yosys wrote a damaged netlist") from None
    write_text(path, json.dumps(netlist))
    return netlist
