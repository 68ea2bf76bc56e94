"""The checked-in areas of two small cores; ``python -m tests.regression.areas`` measures them again.

A change that makes a core more than 2 % larger, or smaller, must say so by changing ``areas.json``, and the changelog
must say why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from boards.core_devices import get_device
from boards.core_flow import Flow, design
from refmodel.config import CoreConfig

TABLE = Path(__file__).with_name("areas.json")
TOLERANCE = 0.02
#: Figures that may differ by the tolerance, and those that must not.
CLOSE, SAME = ("lut", "ff"), ("bram", "dsp", "spram")
_SMALL: dict[str, Any] = {
    "event_lanes": 2,
    "output_lanes": 8,
    "time_lanes": 2,
    "acc_width": 14,
    "membrane_width": 18,
    "leak_terms": 1,
    "dim_bits": 6,
    "max_planes": 4,
    "spike_depth": 512,
}
#: A core for each family: device and settings.
CORES: dict[str, tuple[str, dict[str, Any]]] = {
    "ice40-32": (
        "up5k",
        _SMALL | {"neuron_units": 1, "bank_lanes": 2, "bank_depth": 128, "store": "spram", "store_depth": 16384},
    ),
    "ecp5-32": ("ecp5-25f", _SMALL | {"neuron_units": 2, "bank_lanes": 4, "bank_depth": 256, "store_depth": 1024}),
}


def measure() -> dict[str, dict[str, Any]]:
    """Cells of each core after packing (lut), flip-flops and memories, and the tools that said so."""
    flow = Flow()
    table = {}
    for name, (device, settings) in CORES.items():
        found = get_device(device)
        size = flow.size(design(CoreConfig(**settings), found))
        figures = {"lut": size.cells, **{figure: getattr(size, figure) for figure in ("ff", *SAME)}}
        table[name] = {**figures, "tools": flow.versions(found)}
    return table


def changes(wanted: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[str]:
    """What differs by more than it may, in words; the tools, too, where something does."""
    if wanted.keys() != found.keys():
        return [f"the table has the cores {', '.join(wanted)}, there are {', '.join(found)}"]
    said = []
    for name, row in wanted.items():
        for figure in (*CLOSE, *SAME):
            before, now = row[figure], found[name][figure]
            if abs(now - before) > (TOLERANCE * before if figure in CLOSE else 0):
                said.append(f"{name}: {now} {figure}, were {before}")
        if said and row["tools"] != found[name]["tools"]:
            said.append(f"{name}: measured with {found[name]['tools']}, the table with {row['tools']}")
    return said


if __name__ == "__main__":
    TABLE.write_text(json.dumps(measure(), indent=1) + "\n")
