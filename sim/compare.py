"""Comparison of a simulated trace with the cycle model's, clock by clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refmodel.cycles import RunTiming
from refmodel.golden import GoldenResult
from refmodel.trace import describe, differing_fields, run_trace


@dataclass(frozen=True)
class Comparison:
    """compared, mismatched: clocks.  first: a line that names the first mismatch, or empty."""

    compared: int
    mismatched: int
    first: str = ""


def compare_run(timing: RunTiming, golden: GoldenResult, image: int, seen: NDArray[np.uint32]) -> Comparison:
    """Compare ``seen``, ``[clocks, words]`` of every busy clock, with the model's run.

    A run of another length counts every clock that only one of them has as a mismatch.
    """
    expected = run_trace(timing, golden, image)
    shared = min(len(seen), len(expected))
    differs = (seen[:shared] != expected[:shared]).any(axis=1)
    missing = abs(len(seen) - len(expected))
    mismatched = int(differs.sum()) + missing
    first = ""
    if differs.any():
        first = _explain(timing, image, int(np.argmax(differs)), expected, seen)
    elif missing:
        first = f"image {image}: the run took {len(seen)} clocks, the model says {len(expected)}"
    return Comparison(max(len(seen), len(expected)), mismatched, first)


def _explain(timing: RunTiming, image: int, row: int, expected: NDArray[np.uint32], seen: NDArray[np.uint32]) -> str:
    config = timing.program.config
    clock = row + 1  # the first busy clock follows the start pulse
    where = "before the first slab"
    for slab, start, end in zip(timing.program.slabs, timing.start, timing.end, strict=True):
        if int(start[image]) <= clock:
            done = " (done)" if clock > int(end[image]) else ""
            where = (
                f"layer '{slab.op.layer.name}' group {slab.group}{done}, clock {clock - int(start[image])} of the slab"
            )
    names = [f.name for f in differing_fields(config, expected[row], seen[row])]
    model, core = describe(config, expected[row]), describe(config, seen[row])
    parts = [f"{name}: model {model.get(name, 0):#x}, core {core.get(name, 0):#x}" for name in names[:4]]
    return f"image {image}, clock {clock}, {where}: " + "; ".join(parts)
