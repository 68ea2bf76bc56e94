"""Measure firing against depth and draw it: docs/depth.csv and docs/depth.svg.

Run: python -m examples.training.depth            (needs NumPy only)
     python -m examples.training.depth --check    compare with the files instead
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refmodel import bundled, floatmodel, modelfile
from refmodel.datasets import load_data
from refmodel.network import Network

from .chart import Curve, Panel, chart
from .measure import BlockRates, block_rates

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
COLUMNS = ("no shortcut, or one that ends in a neuron", "shortcut that passes every neuron by")
ORANGE, RED, BLUE, GREEN = "#e69f00", "#c03a2b", "#0072b2", "#009e73"


@dataclass(frozen=True)
class Subject:
    """A network to measure: a file of this folder or a bundled name; ``column`` and the rest say how it is drawn."""

    network: str
    label: str
    column: int
    colour: str
    dashed: bool = False


SUBJECTS = (
    Subject("digits-plain-20-no-norm", "plain, 20 blocks, no batch norm", 0, ORANGE, True),
    Subject("digits-spiking-20-no-norm", "Spiking ResNet, 20 blocks, no batch norm", 0, RED, True),
    Subject("digits-plain-20", "plain, 20 blocks", 0, ORANGE),
    Subject("digits-spiking-20", "Spiking ResNet, 20 blocks", 0, RED),
    Subject("digits-spiking-50", "Spiking ResNet, 50 blocks", 0, "#e8a79f"),
    Subject("digits-sew-add-20-no-norm", "SEW-ADD, 20 blocks, no batch norm", 1, BLUE, True),
    Subject("digits-ms-20-no-norm", "MS-ResNet, 20 blocks, no batch norm", 1, GREEN, True),
    Subject("digits-sew-add-20", "SEW-ADD, 20 blocks", 1, BLUE),
    Subject("digits-sew-add-50", "SEW-ADD, 50 blocks", 1, "#7fb8d8"),
    Subject("digits-ms-20", "MS-ResNet, 20 blocks", 1, GREEN),
    Subject("digits-ms-50", "MS-ResNet, 50 blocks", 1, "#7fceb9"),
)


def read(name: str) -> Network:
    path = HERE / f"{name}{modelfile.SUFFIX}"
    network = modelfile.load(path) if path.exists() else bundled.load_network(name)
    assert isinstance(network, Network)
    return network


def table(measured: dict[str, list[BlockRates]]) -> str:
    """CSV: one row a block."""
    lines = ["network,block,fired,output,mean,digit"]
    for name, rows in measured.items():
        lines += [f"{name},{r.block},{r.fired:.4f},{r.output:.4f},{r.mean:.4f},{r.digit:.4f}" for r in rows]
    return "\n".join(lines) + "\n"


def drawing(measured: dict[str, list[BlockRates]]) -> str:
    """SVG: firing rates above, what the digit explains below."""
    rows: list[list[Panel]] = []
    for value, label, titles in (("output", "firing rate", COLUMNS), ("digit", "explained by the digit", ("", ""))):
        panels: list[Panel] = []
        for column, title in enumerate(titles):
            curves = [
                Curve(
                    subject.label,
                    [row.block for row in measured[subject.network]],
                    [getattr(row, value) for row in measured[subject.network]],
                    subject.colour,
                    subject.dashed,
                )
                for subject in SUBJECTS
                if subject.column == column
            ]
            panels.append(Panel(title, "block (0: stem)", label, 50, 1.0, 10, 0.2, curves))
        rows.append(panels)
    return chart(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.training.depth", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the checked-in files differ")
    options = parser.parse_args()
    x, y = load_data("digits")
    measured: dict[str, list[BlockRates]] = {}
    for subject in SUBJECTS:
        network = read(subject.network)
        rows = measured[subject.network] = block_rates(network, x, y)
        right = 100.0 * float(np.mean(floatmodel.run(network, x).predictions == y))
        picked = " ".join(f"{rows[block].output:.3f}" for block in (0, 1, 2, 5, 10, 20, len(rows) - 1))
        print(f"{subject.network}: {right:.2f} %, output of blocks 0 1 2 5 10 20 {len(rows) - 1}: {picked}", flush=True)
        picked = " ".join(f"{rows[block].digit:.3f}" for block in (0, 1, 2, 5, 10, 20, len(rows) - 1))
        print(f"{'':{len(subject.network)}}  explained by the digit: {picked}", flush=True)
    for name, text in (("depth.csv", table(measured)), ("depth.svg", drawing(measured))):
        path = DOCS / name
        if options.check:
            if path.read_text(encoding="utf-8") != text:
                sys.exit(f"{name} differs from what was measured; run python -m examples.training.depth")
            continue
        scratch = path.with_name(name + ".tmp")
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)


if __name__ == "__main__":
    main()
