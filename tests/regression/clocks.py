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


def measure() -> dict[str, dict[str, list[int]]]:
    """Clocks of the first test images, by board and network that fits it."""
    table: dict[str, dict[str, list[int]]] = {}
    for board in BOARDS:
        rows = table.setdefault(board, {})
        for network in api.networks()["networks"]:
            found = api.estimate(network["name"], board=board, samples=SAMPLES)
            if found["fits"]:
                rows[network["name"]] = found["clocks"]
    return table


if __name__ == "__main__":
    TABLE.write_text(json.dumps(measure(), indent=1) + "\n")
