"""Netlists on their way from Yosys to nextpnr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refmodel.errors import ToolError

from .build import write_text
from .carries import tidy_carries


def finish_netlist(path: Path) -> dict[str, Any]:
    """Makes Yosys' JSON netlist what nextpnr is to get (:mod:`boards.carries`), in its file, and returns it.

    Raises ToolError where there is no netlist.
    """
    try:
        netlist = json.loads(path.read_text())
        tidy_carries(netlist)
    except OSError:
        raise ToolError(f"yosys wrote no {path.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToolError("yosys wrote a damaged netlist") from None
    write_text(path, json.dumps(netlist))
    return netlist
