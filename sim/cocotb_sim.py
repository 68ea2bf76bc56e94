"""Simulation of the generated Verilog by Verilator or Icarus, driven by cocotb."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from cocotb_tools.check_results import get_results

from refmodel.compiler import compile_network
from refmodel.errors import ToolError

from .job import Job, Outcome, read_outcomes
from .simulators import SimulatorName, check_tools, compile_simulation, start
from .verilog import simulation_sources

#: Called with what is being done and how far it is, 0 to 1.
Progress = Callable[[str, float], None]


def simulate(
    job: Job,
    folder: Path,
    *,
    simulator: SimulatorName = "verilator",
    waves: Path | None = None,
    seed: int = 1,
    progress: Progress | None = None,
    change: Callable[[str], str] | None = None,
) -> list[Outcome]:
    """Run a job in ``folder`` and return the outcome of every run.

    waves: record all signals there (``.vcd``, or ``.fst`` with Verilator).  seed: random start
    state of registers and memories.  change: edits the core's Verilog first (to put faults in).
    Raises ToolError when a tool is missing or fails; a mismatch is not an error here, it is in
    the outcomes.
    """
    check_tools(simulator)
    kind = _wave_kind(simulator, waves)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("outcome.json", "results.xml"):
        (folder / stale).unlink(missing_ok=True)
    job.write(folder)
    report = progress or (lambda step, fraction: None)
    report("generating Verilog", 0.0)
    # Refused here, not in the simulator's process.
    words = max(len(compile_network(net, job.config).image) for net in job.networks)
    # Room for any program and input, so that one build serves every job on this core; a memory outside the FPGA, which
    # may be very large, has room for programs of this size only.
    words = 1 << max(10, (words - 1).bit_length()) if job.config.streams_store else job.config.store_depth
    depth = words + job.config.spike_depth
    sources = simulation_sources(job.config, stimulus_depth=depth, seed=seed, words=words)
    if change is not None:
        sources["core.v"] = change(sources["core.v"])
    report(f"compiling with {simulator}", 0.0)
    build = _build(sources, folder, simulator, kind)
    for name in sources:
        if name.endswith(".hex"):
            shutil.copyfile(build / name, folder / name)
    report(f"simulating with {simulator}", 0.0)
    process = start(simulator, build, folder, "harness", "sim.bench", seed=seed, waves=bool(kind))
    try:
        while True:
            try:
                process.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                report(f"simulating with {simulator}", len(read_outcomes(folder)) / len(job.runs))
    finally:
        process.kill()
        process.wait()
    return _outcomes(job, folder, waves)


def _outcomes(job: Job, folder: Path, waves: Path | None) -> list[Outcome]:
    log = folder / "simulation.log"
    results = folder / "results.xml"
    if not results.exists():
        raise ToolError(f"the simulation did not finish; see {log}")
    tests, failed = get_results(results)
    outcomes = read_outcomes(folder)
    crashed = failed and not any(outcome.mismatched for outcome in outcomes)
    if tests == 0 or crashed or len(outcomes) != len(job.runs):
        raise ToolError(f"the simulation ended after {len(outcomes)} of {len(job.runs)} runs; see {log}")
    if waves is not None:
        found = [*folder.glob("*.vcd"), *folder.glob("*.fst")]
        if not found:
            raise ToolError(f"the simulator wrote no waves; see {log}")
        waves.resolve().parent.mkdir(parents=True, exist_ok=True)
        shutil.move(found[0], waves)
    return outcomes


def _wave_kind(simulator: SimulatorName, waves: Path | None) -> str:
    if waves is None:
        return ""
    kind = waves.suffix.lstrip(".")
    if kind not in ("vcd", "fst") or (kind == "fst" and simulator != "verilator"):
        raise ToolError(f"waves go to a .vcd file, or with Verilator to a .fst file, not '{waves.name}'")
    return kind


def _build(sources: dict[str, str], folder: Path, simulator: SimulatorName, waves: str) -> Path:
    """Compile the sources; a build of the same content is used again."""
    identity = hashlib.sha256(repr((sorted(sources.items()), simulator, waves)).encode()).hexdigest()
    build = folder / f"build-{simulator}"
    stamp = build / "identity"
    if stamp.exists() and stamp.read_text() == identity:
        return build
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    for name, text in sources.items():
        (build / name).write_text(text)
    if waves:
        dump = '\ninitial begin $dumpfile("waves.vcd"); $dumpvars(0, harness); end\nendmodule\n'
        text = sources["harness.v"].rstrip()
        if simulator == "icarus":
            (build / "harness.v").write_text(text.removesuffix("endmodule") + dump)
    verilog = [name for name in sources if name.endswith(".v")]
    compile_simulation(simulator, build, "harness", verilog, waves)
    stamp.write_text(identity)
    return build
