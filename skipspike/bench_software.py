"""The verb ``bench software``: how fast models, compiler and simulation are, and PyTorch on the same processors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.registry import get_board
from refmodel import bundled, floatmodel, golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from refmodel.errors import CompileError, ConfigError, NetworkError, ToolError
from refmodel.network import Network
from refmodel.program import Program
from refmodel.quantized import QuantizedNetwork

from . import bench_hardware, torch_model
from .console import note, show, table
from .cores import core_for
from .models import RANDOM, open_network, percent, quantised, samples_of
from .progress import Progress, silent

#: Inputs unless told otherwise, and the most that the slow models (float, cycles) are timed with.
DEFAULT_SAMPLES = 1000
_FEW = 32
_VERY_FEW = 4
#: Turns of the cycle model and of the golden model beside it, of which the best counts.
_TRIES = 3
#: Rounds, in each of which the golden model and PyTorch take their turn on all inputs.
DEFAULT_ROUNDS = 5
#: What PyTorch's batch size and memory format are chosen from, by trying.
_BATCHES = (32, 64, 128, 256)
_LAYOUTS = {"channels_last": True, "contiguous": False}
#: Networks unless told otherwise begin like this, or are this one.
_PREFIX, _FALLBACK = "mnist", "digits-sew-add-8"

Images = NDArray[np.integer[Any]]


def software(
    networks: list[str | Path] | None = None,
    *,
    samples: int = DEFAULT_SAMPLES,
    rounds: int = DEFAULT_ROUNDS,
    threads: int | None = None,
    data: str | Path = RANDOM,
    board: str = "icebreaker",
    bits: int | None = None,
    simulate: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Images a second of the golden model, the float model, the cycle model and PyTorch; seconds to compile.

    ``rows``, one a network.  The golden model and PyTorch work on the same ``samples`` inputs in turn, ``rounds``
    times, both with ``threads`` threads (default: the processors there are): their figures are medians, and ``ratio``
    is the median of each round's golden / PyTorch.  PyTorch (:mod:`skipspike.torch_model`) runs twice: ``torch``,
    written for speed, with the batch size and memory format that are fastest on a part of the inputs; and
    ``torch_plain``, as modules for training are written, with the fastest batch size; ``ratio_plain`` is golden /
    torch_plain.  ``torch_agreement``: percent of predictions that are those of the float model, on the first few.
    ``cycles_ratio``: time of the cycle model / time of the golden model on the same few inputs (best of three each).
    ``compile_seconds``: quantising and compiling for the board's core; ``generate_seconds``: its Verilog.
    ``simulate`` inputs run in Verilator, every clock compared: ``simulate_build_seconds``, ``simulate_clocks`` and
    ``simulate_clocks_per_second``; with 0 there is no simulation.  Figures are None where there is no such thing;
    ``reasons`` says why.

    networks: by default the bundled MNIST networks, or a small one where there are none.  data: random inputs unless
    named.  Raises SkipspikeError.
    """
    if samples < 1 or rounds < 1 or (threads is not None and threads < 1):
        raise ConfigError("samples, rounds and threads must be at least 1")
    if simulate < 0:
        raise ConfigError(f"simulate must be a number of inputs, or 0, not {simulate}")
    get_board(board)  # before any work
    threads = golden.usable_processors() if threads is None else threads
    chosen = networks or [name for name in bundled.names() if name.startswith(_PREFIX)] or [_FALLBACK]
    rows = [_row(network, samples, rounds, threads, data, board, bits, simulate, progress) for network in chosen]
    return {
        "rows": rows,
        "samples": samples,
        "rounds": rounds,
        "threads": threads,
        "data": str(data),
        "board": board,
        "versions": {"numpy": np.__version__, "torch": _torch_version()},
    }


def _row(
    network: str | Path,
    samples: int,
    rounds: int,
    threads: int,
    data: str | Path,
    board: str,
    bits: int | None,
    simulate: int,
    progress: Progress,
) -> dict[str, Any]:
    net = open_network(network)
    whole = quantised(net, bits)
    x, labels = samples_of(whole, data, samples)
    row: dict[str, Any] = {
        "network": whole.name,
        "parameters": whole.parameters,
        "steps": whole.steps,
        "input": list(whole.input.shape),
        "weight_bits": whole.weight_bits,
        "golden": None, "float": None, "cycles": None, "cycles_ratio": None, "compile_seconds": None,
        "generate_seconds": None, "simulate_build_seconds": None, "simulate_clocks": None,
        "simulate_clocks_per_second": None,
        "torch": None, "ratio": None, "ratios": [], "torch_batch": None, "torch_layout": None, "torch_agreement": None,
        "torch_plain": None, "ratio_plain": None, "ratios_plain": [], "torch_plain_batch": None,
        "accuracy": None, "rate": None, "reasons": {},
    }  # fmt: skip
    progress(f"{whole.name}: float model", None)
    real = floatmodel.run(net, x[:_FEW]).predictions if isinstance(net, Network) else None
    if isinstance(net, Network):
        few = x[:_FEW]
        row["float"] = len(few) / _seconds(lambda: floatmodel.run(net, few))
    result = golden.run(whole, x, threads=threads)  # also the run that warms up
    row["accuracy"] = percent(result.predictions, labels)
    row["rate"] = round(float(np.mean(list(result.fired.values()))), 4) if result.fired else None
    _race(row, net, whole, x, real, rounds, threads, progress)
    progress(f"{whole.name}: compiler and cycle model", None)
    program = _compile(row, net, bits, board, x, threads)
    if program is not None:
        bench_hardware.measure(row, program, x[:simulate], progress)
    return row


def _race(
    row: dict[str, Any],
    net: Network | QuantizedNetwork,
    whole: QuantizedNetwork,
    x: Images,
    real: NDArray[np.int64] | None,
    rounds: int,
    threads: int,
    progress: Progress,
) -> None:
    """Golden model and PyTorch in turn."""
    opponent = plain = None
    try:
        if not isinstance(net, Network):
            raise NetworkError("a network that is quantised already has no float form")
        torch = torch_model.import_torch()
        torch.set_num_threads(threads)
        progress(f"{whole.name}: tuning PyTorch", None)
        layouts = {name: torch_model.TorchModel(net, channels_last=last) for name, last in _LAYOUTS.items()}
        opponent, row["torch_layout"], row["torch_batch"] = _tuned(layouts, x)
        modules = {"contiguous": torch_model.PlainTorchModel(net, channels_last=False)}
        plain, _, row["torch_plain_batch"] = _tuned(modules, x)
        if real is not None:
            same = opponent(x[: len(real)]).argmax(axis=1) == real
            row["torch_agreement"] = round(100.0 * float(same.mean()), 2)
    except (NetworkError, ToolError) as error:
        row["reasons"]["torch"] = str(error)
    mine, theirs, plainly = [], [], []
    for turn in range(rounds):
        progress(f"{whole.name}: golden model" + (" and PyTorch in turn" if opponent else ""), turn / rounds)
        mine.append(_seconds(lambda: golden.run(whole, x, threads=threads)))
        for seconds, run in ((theirs, opponent), (plainly, plain)):
            if run is not None:
                seconds.append(_seconds(lambda run=run: run(x)))
    row["golden"] = len(x) / statistics.median(mine)
    for seconds, suffix in ((theirs, ""), (plainly, "_plain")):
        if seconds:
            row[f"torch{suffix}"] = len(x) / statistics.median(seconds)
            row[f"ratios{suffix}"] = [round(b / a, 3) for a, b in zip(mine, seconds, strict=True)]
            row[f"ratio{suffix}"] = round(statistics.median(row[f"ratios{suffix}"]), 3)


def _tuned(
    models: Mapping[str, torch_model.TorchModel], x: Images
) -> tuple[Callable[[Images], NDArray[np.float32]], str, int]:
    """The fastest of some models and its batch size, with the model's name: the best of three runs each."""
    best = float("inf")
    chosen: tuple[Callable[[Images], NDArray[np.float32]], str, int] | None = None
    for name, model in models.items():
        for batch in _BATCHES:
            if chosen is not None and batch >= 2 * len(x):
                continue

            def run(images: Images, model: torch_model.TorchModel = model, batch: int = batch) -> NDArray[np.float32]:
                return np.concatenate(
                    [model.logits(images[start : start + batch]) for start in range(0, len(images), batch)]
                )

            part = x[: max(_BATCHES)]
            seconds = min(_seconds(lambda run=run, part=part: run(part)) for _ in range(3))
            if seconds < best:
                best, chosen = seconds, (run, name, batch)
    assert chosen is not None
    return chosen


def _compile(
    row: dict[str, Any], net: Network | QuantizedNetwork, bits: int | None, board: str, x: Images, threads: int
) -> Program | None:
    """Seconds to compile for a board, and images a second of the cycle model; the program, if there is one."""
    found = get_board(board)
    try:
        start = time.perf_counter()
        mapped = quantised(net, bits, found.core)
        program = compile_network(mapped, core_for(found, mapped))
        row["compile_seconds"] = time.perf_counter() - start
    except (CompileError, ConfigError, NetworkError) as error:
        row["reasons"]["compile"] = str(error)
        return None
    few = x[:_VERY_FEW]
    kept = golden.run(program.network, few, keep=True)
    cycles = min(_seconds(lambda: run_timing(program, kept.tensors)) for _ in range(_TRIES))
    own = min(_seconds(lambda: golden.run(program.network, few, threads=threads)) for _ in range(_TRIES))
    row["cycles"] = len(few) / cycles
    row["cycles_ratio"] = round(cycles / own, 2)
    return program


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _torch_version() -> str | None:
    try:
        return str(torch_model.import_torch().__version__)
    except ToolError:
        return None


def view(result: dict[str, Any]) -> None:
    """The rows as a table on stdout."""
    shown = table(
        "network", ">parameters", ">T", ">golden", ">PyTorch", ">ratio", ">tuned", ">ratio", ">float", ">cycle model",
        ">/ golden", ">compile s", ">Verilog s", ">simulated clocks/s",
    )  # fmt: skip
    for row in result["rows"]:
        columns = {
            "golden": ",.0f", "torch_plain": ",.0f", "ratio_plain": ".2f", "torch": ",.0f", "ratio": ".2f",
            "float": ",.0f", "cycles": ",.0f", "cycles_ratio": ".2f", "compile_seconds": ".2f",
            "generate_seconds": ".2f", "simulate_clocks_per_second": ",.0f",
        }  # fmt: skip
        texts = ("-" if row[name] is None else format(row[name], form) for name, form in columns.items())
        shown.add_row(row["network"], f"{row['parameters']:,}", str(row["steps"]), *texts)
    show(shown)
    versions = result["versions"]
    torch = f"PyTorch {versions['torch']}" if versions["torch"] else "no PyTorch"
    show(
        "",
        f"images a second; {result['samples']} inputs, {result['rounds']} rounds, {result['threads']} threads; "
        f"NumPy {versions['numpy']}, {torch}; data {result['data']}, board {result['board']}",
    )
    for row in result["rows"]:
        if row["torch"] is not None:
            show(
                f"{row['network']}: PyTorch as modules for training have it, in batches of {row['torch_plain_batch']}; "
                f"tuned: in place, {row['torch_layout']}, in batches of {row['torch_batch']}; it predicts as the "
                f"float model in {row['torch_agreement']} %"
            )
        for what, reason in row["reasons"].items():
            note(f"{row['network']}: no figures of {what}: {reason}")
