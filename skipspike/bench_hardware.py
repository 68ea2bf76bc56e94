"""How long generating a core's Verilog and simulating it take, for ``bench software``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel.errors import ToolError
from refmodel.program import Program

from .progress import Progress


def measure(row: dict[str, Any], program: Program, x: NDArray[np.integer[Any]], progress: Progress) -> None:
    """Puts figures of ``generate`` and of Verilator on inputs ``x`` (none: no simulation) into a row."""
    name = program.network.name
    progress(f"{name}: Verilog", None)
    row["generate_seconds"] = generate_seconds(program)
    if not len(x):
        row["reasons"]["simulation"] = "it was asked for on no inputs"
        return
    progress(f"{name}: simulation with Verilator", None)
    try:
        build, clocks, seconds = simulate_seconds(program, x)
    except ToolError as error:
        row["reasons"]["simulation"] = str(error)
        return
    row["simulate_build_seconds"] = build
    row["simulate_clocks"] = clocks
    row["simulate_clocks_per_second"] = clocks / seconds


def generate_seconds(program: Program) -> float:
    """Seconds to make the Verilog of the program's core."""
    from amaranth.back import verilog

    from rtl_gen.core import Core

    start = time.perf_counter()
    core = Core(config=program.config, store_init=program.image if program.config.store == "bram" else ())
    verilog.convert(core, name="core", emit_src=False, strip_internal_attrs=True)
    return time.perf_counter() - start


def simulate_seconds(program: Program, x: NDArray[np.integer[Any]]) -> tuple[float, int, float]:
    """Seconds to build the simulation, clocks simulated, and seconds that those took, its start and loads included.

    Every clock is compared with the models.  Raises ToolError if a tool is missing or fails, or a clock differs.
    """
    from sim.cocotb_sim import simulate
    from sim.job import Job

    began: dict[str, float] = {}

    def note_start(step: str, fraction: float) -> None:
        del fraction
        began.setdefault(step, time.perf_counter())

    with tempfile.TemporaryDirectory(prefix="skipspike-") as folder:
        start = time.perf_counter()
        job = Job(program.config, (program.original,), tuple((0, one) for one in x))
        outcomes = simulate(job, Path(folder), progress=note_start)
        end = time.perf_counter()
    if any(outcome.mismatched for outcome in outcomes):
        raise ToolError("the simulation differs from the models: run `skipspike simulate`")
    simulating = next((at for step, at in began.items() if step.startswith("simulating")), start)
    return simulating - start, sum(outcome.clocks for outcome in outcomes), end - simulating
