"""The checked-in clocks of the bundled networks; ``python -m tests.regression.clocks`` measures them again.

Clocks are exact: a change of the core, the compiler or the scanner that alters them must say so by
changing ``clocks.json``, and the changelog must say why.
"""

from __future__ import annotations

import json
from pathlib import Path

from skipspike import api

TABLE = Path(__file__).with_name("clocks.json")
BOARDS = ("icebreaker", "ulx3s_85f")
SAMPLES = 4
#: Data of networks whose own would have to be fetched, and how much of it.
ELSE, FEW = "random", 1


def measure() -> dict[str, dict[str, list[int]]]:
    """Clocks of the first inputs, by board and network that fits it."""
    table: dict[str, dict[str, list[int]]] = {}
    for board in BOARDS:
        rows = table.setdefault(board, {})
        for network in api.networks()["networks"]:
            bundled = network["data"] == "digits"
            data, samples = ("digits", SAMPLES) if bundled else (ELSE, FEW)
            found = api.estimate(network["name"], board=board, data=data, samples=samples)
            if found["fits"]:
                rows[network["name"]] = found["clocks"]
    return table


if __name__ == "__main__":
    TABLE.write_text(json.dumps(measure(), indent=1) + "\n")
