"""Running a network on a device, every image compared with the golden model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.flash_files import starts_from_flash
from boards.flash_image import program_part
from boards.registry import get_board, is_board, keeping_state
from refmodel.compiler import compile_network
from refmodel.event_frames import Frames, Rest

from .cores import AUTO, limits_core, mapped
from .device import GOLDEN, REPLAY, SIMULATED, Device, Result
from .models import open_network, percent, quantised
from .progress import Progress, silent, within
from .simulation import inputs_of

#: Images run one by one, for the latency.
_SINGLY = 8
#: Samples unless told otherwise, where time is not a simulator's.
DEFAULT_SAMPLES = 100
SIMULATED_SAMPLES = 4


def run(
    network: str | Path,
    *,
    port: str,
    board: str | None = None,
    data: str | Path | None = None,
    samples: int | None = None,
    bits: int | None = None,
    core: str | Path = AUTO,
    baud: int | None = None,
    record: str | Path | None = None,
    stream: Frames | None = None,
    rest: Rest = "refuse",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run inputs on a device, and compare results, argmax and clocks of each with the models.

    Parameters
    ----------
    port, board, baud, record: as :meth:`skipspike.device.Device.open` takes them (``port`` is its ``where``).
    data: by default what the network names, or digits; random inputs for a network of the zoo.
    samples: the first so many of ``data``; 100 by default, 4 on a simulated board.
    core: as :func:`skipspike.cores.mapped` takes it; the board must have been built with the same.
    stream, rest: frames in place of ``data``, as of :func:`skipspike.simulation.simulate`; the board must have been
        built with a state memory ("BOARD+state").

    The first images run one by one, for the latency that the host sees; the rest together, for the throughput.
    A difference raises nothing: see ``differing`` and ``first_difference``.
    """
    found = get_board(board or (port if is_board(port) else "icebreaker"))
    if stream is not None:
        found = keeping_state(found)
    net = quantised(open_network(network), bits, limits_core(found, core))
    chosen = mapped(found, net, core, progress)
    program = compile_network(net, chosen.config, keep_state=True if stream is not None else None)
    default = SIMULATED_SAMPLES if port == SIMULATED else DEFAULT_SAMPLES
    x, y = inputs_of(net, data, stream, samples, rest, default, progress)
    with Device.open(GOLDEN) as model:
        model.load(program)
        expected = _all(model, x, stream is not None, within(progress, "golden model: "))
    progress(f"opening {port}", None)
    # A simulated board has in its flash what a real one had been given.
    at_start = starts_from_flash(chosen.board, program.config)
    flash = program_part(program.config, program.image) if at_start and port == SIMULATED else b""
    with Device.open(port, board=chosen.board, config=program.config, baud=baud, record=record, flash=flash) as device:
        progress("loading the program", None)
        began = time.perf_counter()
        sent = device.load(program)
        load_seconds = time.perf_counter() - began
        got: list[Result] = []
        single: list[float] = []
        for one in x[:_SINGLY]:
            progress(f"running {len(x)} inputs", len(got) / len(x))
            began = time.perf_counter()
            got.append(device.infer(one) if stream is None else device.step(one))
            single.append(time.perf_counter() - began)
        began, before = time.perf_counter(), len(got)
        got += _all(device, x[before:], stream is not None, progress)
        seconds = time.perf_counter() - began if len(got) > before else sum(single)
        rate = (len(got) - before or before) / max(seconds, 1e-9)
        clock_hz, retries = device.clock_hz, device.retries
    differing = [number for number, (one, other) in enumerate(zip(got, expected, strict=True)) if not one.same(other)]
    first = None if not differing else _difference(differing[0], got[differing[0]], expected[differing[0]])
    predictions = np.array([one.argmax for one in got], np.int64)
    clocks = [one.clocks for one in got]
    hertz = clock_hz or (chosen.board.clock_hz if port == GOLDEN else None)
    mean = float(np.mean(clocks))
    return {
        "network": net.name,
        "board": chosen.board.name,
        "port": port,
        "weight_bits": net.weight_bits,
        "samples": len(got),
        "accuracy": percent(predictions, y),
        "differing": differing,
        "first_difference": first,
        "predictions": predictions.tolist(),
        "labels": y.tolist(),
        "clocks": clocks,
        "clock_hz": hertz,
        "core_ms": None if hertz is None else 1e3 * mean / hertz,
        "host_ms": 1e3 * float(np.median(single)),
        "images_per_second": rate,
        "program_sent": sent,
        "load_seconds": load_seconds,
        "retries": retries,
        "record": None if record is None else str(record),
        "simulated": port in (SIMULATED, GOLDEN) or port.startswith(REPLAY),
    }


def _all(device: Device, x: NDArray[np.integer], streams: bool, progress: Progress) -> list[Result]:
    """Every input alone, or one step of a stream after the other."""
    if not streams:
        return device.infer_many(x, progress) if len(x) else []
    results = []
    for one in x:
        progress(f"running {len(x)} steps of a stream", len(results) / len(x))
        results.append(device.step(one))
    return results


def _difference(number: int, got: Result, expected: Result) -> str:
    for name, one, other in (
        ("results", got.potentials.tolist(), expected.potentials.tolist()),
        ("argmax", got.argmax, expected.argmax),
        ("clocks", got.clocks, expected.clocks),
    ):
        if one != other:
            return f"image {number}: {name} {one}, the model says {other}"
    return f"image {number}"
