"""Measure the bundled networks on the test digits and write refmodel/networks/accuracies.json.

Run: python -m examples.training.table            (needs NumPy only)
     python -m examples.training.table --check    compare with the file instead
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from refmodel import bundled, floatmodel, golden, quantize
from refmodel.datasets import load_data
from refmodel.network import ConvLayer
from refmodel.preparation import prepare

TABLE = Path(__file__).parents[2] / "refmodel" / "networks" / bundled.TABLE
#: The printed table's first lines.
HEAD = """| network | spiking convolutions x channels | parameters | validation | float | integer |
|---|---|---|---|---|---|"""


def measure(name: str, bits: int | None = None) -> dict[str, Any]:
    """Percent right of a bundled network: float, and integer at ``bits`` (None: what its meta recommends)."""
    network = bundled.load_network(name)
    x, y = load_data(str(network.meta["data"]))
    x = prepare(network.input, x)
    weight_bits = bits or int(str(network.meta.get("weight_bits", 8)))
    floats = floatmodel.run(network, x).predictions
    whole = golden.run(quantize.quantize(network, weight_bits=weight_bits), x).predictions
    return {
        "accuracy_float": round(100.0 * float(np.mean(floats == y)), 2),
        "accuracy_int": round(100.0 * float(np.mean(whole == y)), 2),
        "images": len(y),
        "weight_bits": weight_bits,
    }


def describe(name: str, row: dict[str, Any]) -> str:
    """One line of the printed table (Markdown, the columns of HEAD)."""
    network = bundled.load_network(name)
    convs = [layer for layer in network.layers if isinstance(layer, ConvLayer)]
    validation = network.meta.get("accuracy_validation")
    cells = (
        f"`{name}`",
        f"{len(convs)} x {_channels(convs)}",
        f"{network.parameters:,}",
        "" if validation is None else f"{validation:.2f} %",
        f"{row['accuracy_float']:.2f} %",
        f"{row['accuracy_int']:.2f} % ({row['weight_bits']} bits)",
    )
    return f"| {' | '.join(cells)} |"


def _channels(convs: list[ConvLayer]) -> str:
    """16, or 16 to 24 where later stages have more."""
    counts = sorted({conv.weight.shape[0] for conv in convs})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.training.table", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the checked-in table differs")
    parser.add_argument("--bits", type=int, help="measure at so many weight bits and only print")
    options = parser.parse_args()
    table: dict[str, dict[str, Any]] = {}
    print(HEAD)
    for name in bundled.names():
        table[name] = measure(name, options.bits)
        print(describe(name, table[name]), flush=True)
    if options.bits is not None:
        return
    text = json.dumps(table, indent=2, sort_keys=True) + "\n"
    if options.check:
        if TABLE.read_text(encoding="utf-8") != text:
            sys.exit(f"{TABLE.name} differs from what was measured; run python -m examples.training.table")
        return
    scratch = TABLE.with_name(TABLE.name + ".tmp")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, TABLE)


if __name__ == "__main__":
    main()
