"""The generated core in a simulator, every clock compared with the models."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boards.registry import get_board, keeping_state
from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import SkipspikeError, ToolError
from refmodel.event_frames import Frames, Rest, calls_of
from refmodel.quantized import QuantizedNetwork
from sim.job import Job, Outcome, read_outcomes

from .cores import AUTO, core_for, limits_core
from .models import open_network, percent, quantised, samples_of
from .progress import Progress, silent

Simulator = Literal["verilator", "icarus", "amaranth"]
SIMULATORS: tuple[Simulator, ...] = ("verilator", "icarus", "amaranth")

#: Samples simulated unless told otherwise; Amaranth's simulator does some 1,000 clocks a second.
DEFAULT_SAMPLES = {"verilator": 4, "icarus": 4, "amaranth": 1}
#: Where the packages are, for the processes of a split simulation.
_ROOT = str(Path(__file__).resolve().parent.parent)
#: More samples than these are split over several processes.
SPLIT = 16


def simulate(
    network: str | Path,
    *,
    board: str = "icebreaker",
    data: str | Path | None = None,
    samples: int | None = None,
    bits: int | None = None,
    core: str | Path = AUTO,
    simulator: Simulator = "verilator",
    waves: str | Path | None = None,
    seed: int = 1,
    jobs: int | None = None,
    out: str | Path | None = None,
    stream: Frames | None = None,
    rest: Rest = "refuse",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run inputs through the core of ``board`` in a simulator and compare every clock with the models.

    Parameters
    ----------
    data: by default what the network names, or digits; random inputs for a network of the zoo.
    samples: the first so many of ``data``; 4 by default, 1 in Amaranth's simulator.
    core: as :func:`skipspike.cores.mapped` takes it.
    waves: file for the waves (.vcd, or .fst with Verilator); needs ``jobs=1``.
    seed: random start state of the core's memories and registers.
    jobs: processes that share the samples; by default 2, if there are two CPUs and more than 16 samples.
        Only Verilator is split.
    stream: frames in place of ``data``, as :func:`refmodel.event_frames.frames_of` takes them: each call's membranes
        begin where the call before left them, in a core with a state memory.  rest: see
        :func:`refmodel.event_frames.calls_of`.
    out: folder for the job, the simulator's build and logs; by default a temporary one, kept if a tool fails.

    ``compared_clocks`` counts every clock in which the core is busy, the sum of ``clocks``.  A mismatch raises
    nothing: see ``mismatched_clocks`` and ``first_mismatch``.
    """
    if simulator not in SIMULATORS:
        raise SkipspikeError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    found = get_board(board)
    net = quantised(open_network(network), bits, limits_core(found, core))
    config = core_for(found if stream is None else keeping_state(found), net, core)
    x, y = inputs_of(net, data, stream, samples, rest, DEFAULT_SAMPLES[simulator], progress)
    compile_network(net, config, keep_state=True if stream is not None else None)
    parts = 1 if stream is not None else _parts(jobs, len(x), simulator, waves)
    wave_path = None if waves is None else Path(waves)
    resumes = () if stream is None else tuple(range(1, len(x)))
    if simulator == "amaranth":
        outcomes = _amaranth(net, config, x, wave_path, seed, resumes, progress)
    else:
        with _folder(out) as folder:
            outcomes = _cocotb(net, config, x, folder, simulator, wave_path, seed, parts, resumes, progress)
    predictions = np.array([outcome.prediction for outcome in outcomes], np.int64)
    first = next((f"sample {i}: {o.first}" for i, o in enumerate(outcomes) if o.mismatched), None)
    return {
        "network": net.name,
        "board": board,
        "simulator": simulator,
        "weight_bits": net.weight_bits,
        "seed": seed,
        "samples": len(outcomes),
        "compared_clocks": sum(outcome.compared for outcome in outcomes),
        "mismatched_clocks": sum(outcome.mismatched for outcome in outcomes),
        "first_mismatch": first,
        "clocks": [outcome.clocks for outcome in outcomes],
        "predictions": predictions.tolist(),
        "golden_predictions": [outcome.golden_prediction for outcome in outcomes],
        "labels": y.tolist(),
        "accuracy": percent(predictions, y),
        "waves": None if waves is None else str(waves),
    }


def inputs_of(
    net: QuantizedNetwork,
    data: str | Path | None,
    stream: Frames | None,
    samples: int | None,
    rest: Rest,
    default: int,
    progress: Progress,
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Inputs and labels of ``data``, or the calls of a stream, which have none."""
    if stream is None:
        return samples_of(net, data, samples, default, progress)
    if data is not None:
        raise SkipspikeError("a stream takes the place of data: give one of them")
    calls = [call.x for call in itertools.islice(calls_of(net, stream, rest), samples or default)]
    return np.stack(calls), np.full(len(calls), -1, np.int64)


def agrees(result: dict[str, Any]) -> bool:
    """Whether a result of :func:`simulate` says that the core did exactly what the models say."""
    return result["mismatched_clocks"] == 0 and result["predictions"] == result["golden_predictions"]


def _parts(jobs: int | None, samples: int, simulator: Simulator, waves: str | Path | None) -> int:
    """Processes to use."""
    if jobs is None:
        jobs = min(2, os.cpu_count() or 1) if samples > SPLIT and waves is None and simulator == "verilator" else 1
    if jobs < 1:
        raise SkipspikeError(f"jobs must be at least 1, not {jobs}")
    if jobs > 1 and waves is not None:
        raise SkipspikeError("waves go to one file: use --jobs 1 with --waves")
    return min(jobs, samples) if simulator == "verilator" else 1


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The simulation's folder; a temporary one is kept only if a tool failed, because its log is there."""
    if out is not None:
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SkipspikeError(f"folder {str(out)!r} cannot be made: {error.strerror or error}") from None
        yield Path(out)
        return
    folder = Path(tempfile.mkdtemp(prefix="skipspike-"))
    keep = False
    try:
        yield folder
    except ToolError as error:
        keep = str(folder) in str(error)
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _cocotb(
    net: QuantizedNetwork,
    config: CoreConfig,
    x: NDArray[np.integer],
    folder: Path,
    simulator: Literal["verilator", "icarus"],
    waves: Path | None,
    seed: int,
    parts: int,
    resumes: tuple[int, ...],
    progress: Progress,
) -> list[Outcome]:
    from sim.cocotb_sim import simulate as run

    def job(inputs: NDArray[np.integer]) -> Job:
        return Job(config, (net,), tuple((0, one) for one in inputs), resumes=resumes)

    def only_then(step: str, fraction: float) -> None:
        progress(step, fraction if step.startswith("simulating") else None)

    if parts == 1 or len(x) == 1:
        return run(job(x), folder, simulator=simulator, waves=waves, seed=seed, progress=only_then)
    # The first sample pays for the build; the others run on copies of it, in a process for each part.
    first = run(job(x[:1]), folder, simulator=simulator, seed=seed, progress=lambda step, _: progress(step, None))
    build = f"build-{simulator}"
    folders = []
    for number, chunk in enumerate(np.array_split(x[1:], min(parts, len(x) - 1))):
        part = folder / f"part{number}"
        shutil.rmtree(part, ignore_errors=True)
        if (folder / build).is_dir():
            shutil.copytree(folder / build, part / build)
        job(chunk).write(part)
        folders.append(part)
    step = f"simulating with {simulator}, {len(folders)} processes"
    _run_parts(folders, simulator, seed, lambda done: progress(step, (1 + done) / len(x)))
    return first + [outcome for part in folders for outcome in read_outcomes(part)]


def _run_parts(folders: list[Path], simulator: str, seed: int, done: Callable[[int], None]) -> None:
    """Run the jobs written to ``folders`` at the same time; ``done`` is told how many samples are finished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in [_ROOT, *sys.path] if path)}
    processes: list[subprocess.Popen[str]] = []
    try:
        for part in folders:
            command = [sys.executable, "-m", "skipspike.part", str(part.resolve()), simulator, str(seed)]
            with (part / "part.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
                    )
                )
        while any(process.poll() is None for process in processes):
            done(sum(len(read_outcomes(part)) for part in folders))
            time.sleep(0.5)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    for part, process in zip(folders, processes, strict=True):
        if process.returncode:
            lines = (part / "part.log").read_text(errors="replace").strip().splitlines()
            raise ToolError(f"{lines[-1] if lines else 'it was ended from outside'} (log: {part / 'part.log'})")


def _amaranth(
    net: QuantizedNetwork,
    config: CoreConfig,
    x: NDArray[np.integer],
    waves: Path | None,
    seed: int,
    resumes: tuple[int, ...],
    progress: Progress,
) -> list[Outcome]:
    from sim.amaranth_sim import simulate as run
    from sim.compare import compare_run

    if waves is not None and waves.suffix != ".vcd":
        raise SkipspikeError(f"Amaranth's simulator writes waves to a .vcd file, not '{waves.name}'")
    program = compile_network(net, config)
    keeps, state, models = program.keeps_state, None, []
    for number, one in enumerate(x):
        before = state if number in resumes else None
        result = golden.run(program.network, one[None], keep=True, state=before, keep_state=keeps)
        state = result.state
        models.append((result, run_timing(program, result.tensors, keep=True)))
    clocks = [int(timing.clocks[0]) for _, timing in models]
    progress(f"simulating {sum(clocks)} clocks with amaranth", None)
    runs = run(
        [(program, one) for one in x],
        seed=seed,
        limit=2 * max(clocks) + 1000,
        resumes=resumes,
        vcd=None if waves is None else str(waves),
    )
    outcomes = []
    for number, seen in enumerate(runs):
        progress("comparing every clock", number / len(runs))
        result, timing = models[number]
        comparison = compare_run(timing, result, 0, seen.trace)
        wanted = (result.results[0].tolist(), int(result.predictions[0]), clocks[number])
        mismatched, first = comparison.mismatched, comparison.first
        if (seen.results, seen.argmax, seen.clocks) != wanted:
            mismatched = max(1, mismatched)
            first = first or f"results {seen.results}, argmax {seen.argmax}, {seen.clocks} clocks; the model: {wanted}"
        golden_prediction = wanted[1]
        outcomes.append(Outcome(0, comparison.compared, mismatched, first, seen.clocks, seen.argmax, golden_prediction))
    return outcomes
