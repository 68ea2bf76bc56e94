"""The whole job on one network: accuracy, simulation with every clock compared, bitstream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .boardwork import build
from .cores import AUTO, write_core
from .hardware import compiled
from .models import evaluate
from .progress import Progress, silent, within
from .simulation import simulate

NETWORK = "digits-sew-add-8"


def demo(
    *,
    board: str = "icebreaker",
    out: str | Path = "demo",
    network: str | Path = NETWORK,
    core: str | Path = AUTO,
    samples: int = 4,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Evaluate, compile, simulate and build a bundled network for ``board`` in folder ``out``.

    ``core``: as :func:`skipspike.cores.mapped` takes it; the one that was chosen lies in ``core.json``.
    Accuracies (percent) are over all test images; ``samples`` of them run through the core in Verilator;
    ``frames_per_second`` is the board's clock over the mean of their clocks.  ``seconds``: time of each step.
    """
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def done(step: str) -> None:
        nonlocal began
        now = time.monotonic()
        seconds[step] = round(now - began, 1)
        began = now

    found, program = compiled(network, board, None, core, progress)
    Path(out).mkdir(parents=True, exist_ok=True)
    chosen = write_core(Path(out) / "core.json", program.config, found.clock_hz)
    done("compile")
    accuracy = evaluate(network, board=board, progress=within(progress, "accuracy: "))
    done("evaluate")
    checked = simulate(
        network,
        board=board,
        core=chosen,
        samples=samples,
        out=Path(out) / "simulation",
        progress=within(progress, "simulation: "),
    )
    done("simulate")
    built = build(network, board=board, core=chosen, out=out, progress=within(progress, "bitstream: "))
    done("build")
    mean = sum(checked["clocks"]) / len(checked["clocks"])
    return {
        "network": program.network.name,
        "board": found.name,
        "lanes": program.config.lanes,
        "weight_bits": program.network.weight_bits,
        "images": accuracy["samples"],
        "accuracy_float": accuracy["accuracy_float"],
        "accuracy_int": accuracy["accuracy"],
        "samples": checked["samples"],
        "compared_clocks": checked["compared_clocks"],
        "mismatched_clocks": checked["mismatched_clocks"],
        "first_mismatch": checked["first_mismatch"],
        "predictions": checked["predictions"],
        "golden_predictions": checked["golden_predictions"],
        "labels": checked["labels"],
        "clocks": checked["clocks"],
        "clocks_per_inference": mean,
        "clock_hz": built["clock_hz"],
        "frames_per_second": built["clock_hz"] / mean,
        "fmax_hz": built["fmax_hz"],
        "timing_met": built["timing_met"],
        "utilisation": built["utilisation"],
        "memory": program.memory(),
        "bitstream": built["bitstream"],
        "folder": built["folder"],
        "seconds": seconds,
    }
