"""The verb ``prune``: a network without what cannot matter, and what that saves on a board."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from boards.registry import get_board
from refmodel import golden, modelfile
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from refmodel.errors import SkipspikeError
from refmodel.program import Program
from refmodel.pruning import prune as remove
from refmodel.pruning import silence as at_zero

from .cores import core_for
from .estimating import DEFAULT_SAMPLES
from .models import open_network, quantised, samples_of
from .progress import Progress, silent


def prune(
    network: str | Path,
    *,
    out: str | Path,
    board: str = "ulx3s_85f",
    silence: Collection[str] = (),
    data: str | Path | None = None,
    samples: int | None = None,
    bits: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the integer network without layers, shortcuts and channels that cannot matter to ``out``.

    ``silence``: layers whose spikes are taken as 0 first, such as shortcuts whose gates stayed closed on all
    calibration data; that may change results, pruning itself does not (``equal`` says whether they are on the samples).
    ``before`` and ``after``: memory words of the program on the board's core, and mean clocks over the samples.
    Raises SkipspikeError.
    """
    path = Path(out)
    if path.suffix != modelfile.SUFFIX:
        raise SkipspikeError(f"a model file ends in {modelfile.SUFFIX}; write to '{path.stem}{modelfile.SUFFIX}'")
    found = get_board(board)
    original = quantised(open_network(network), bits, found.core, whole=True)
    pruned, report = remove(at_zero(original, silence))
    x, _ = samples_of(original, data, samples, DEFAULT_SAMPLES, progress)
    figures, results = [], []
    for net in (original, pruned):
        progress(f"clocks of {net.parameters} parameters", None)
        program = compile_network(net, core_for(found, net))
        result = golden.run(program.network, x, keep=True)
        figures.append(_figures(program, run_timing(program, result.tensors).clocks))
        results.append(result.results)
    modelfile.save(pruned, path)
    return {
        "network": original.name,
        "board": found.name,
        "file": str(path),
        "layers": list(report.layers),
        "bypassed": list(report.bypassed),
        "shortcuts": list(report.shortcuts),
        "channels": dict(report.channels),
        "samples": len(x),
        "equal": bool(np.array_equal(*results)),
        "before": {"parameters": report.parameters[0], **figures[0]},
        "after": {"parameters": report.parameters[1], **figures[1]},
    }


def _figures(program: Program, clocks: np.ndarray) -> dict[str, Any]:
    memory = program.memory()
    return {
        "clocks": float(clocks.mean()),
        "store_words": memory["store_words"],
        "spike_words": memory["spike_words"],
        "stream_words": memory["stream_words"],
    }
