"""Netlists on their way from Yosys to nextpnr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refmodel.errors import ToolError

from .bram_registers import absorb_registers
from .carries import tidy_carries
from .files import write_text


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
