"""The core's Verilog and images."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from boards.registry import Board, get_board
from refmodel import golden, modelfile
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import SkipspikeError
from refmodel.program import Program
from refmodel.quantized import QuantizedNetwork, bits_range

from .cores import AUTO, limits_core, mapped
from .models import open_network, quantised, samples_of
from .progress import Progress, silent


def compiled(
    network: str | Path, board: str, bits: int | None, core: str | Path = AUTO, progress: Progress = silent
) -> tuple[Board, Program]:
    """The board, with its core's clock, and the network's program; SkipspikeError if there is no such thing.

    core: as :func:`skipspike.cores.mapped` takes it.
    """
    found = get_board(board)
    net = quantised(open_network(network), bits, limits_core(found, core))
    chosen = mapped(found, net, core, progress)
    return chosen.board, compile_network(net, chosen.config)


def core_memory(config: CoreConfig) -> dict[str, int]:
    """Bits of the core's memories, all engines' copies."""
    banks = 2 * config.event_lanes * config.bank_depth * config.output_lanes * config.weight_bits
    return {
        "store_bits": config.store_depth * config.store_width,
        "spike_bits": config.engines * config.spike_depth * config.spike_width,
        "bank_bits": config.engines * banks,
    }


def generate(
    network: str | Path,
    *,
    board: str,
    out: str | Path,
    data: str | Path | None = None,
    bits: int | None = None,
    core: str | Path = AUTO,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the core's Verilog, the program image and an example input with its result to folder ``out``.

    ``core``: as :func:`skipspike.cores.mapped` takes it.  The example is the first input of ``data``, or the same
    pseudo-random one every time.  The same arguments give the same bytes, and all files are made before the first one
    is put in place.
    Raises SkipspikeError, also when the folder cannot be written.
    """
    from rtl_gen.conversion import convert
    from rtl_gen.core import Core

    found, program = compiled(network, board, bits, core, progress)
    config = program.config
    x, label = _example(program.network, data)
    with new_folder(out) as folder:
        progress("generating Verilog", None)
        init = program.image if config.store == "bram" and _can_hold(found, program) else ()
        gateware = Core(config=config, store_init=init)
        (folder / "core.v").write_text(convert(gateware, name="core", blank=("store",)))
        write_program(program, folder)
        _write_example(program, x, label, folder)
    files = sorted(path.name for path in Path(out).iterdir() if path.name in _GENERATED)
    return {
        "network": program.network.name,
        "board": found.name,
        "folder": str(out),
        "files": [str(Path(out) / name) for name in files],
    }


def _can_hold(board: Board, program: Program) -> bool:
    """Whether the device's block RAMs could hold the program; what they cannot comes from outside."""
    return len(program.image) * program.config.store_width <= 1024 * board.bram_total_kbit


def generate_component(
    name: str, *, out: str | Path, settings: dict[str, str] | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Write the Verilog of one component, ``NAME.v``, to folder ``out``; ``settings``: its parameters as text.

    Raises SkipspikeError for an unknown component or parameter, and when the folder cannot be written.
    """
    from rtl_gen.catalogue import component_verilog

    progress("generating Verilog", None)
    text = component_verilog(name, settings)
    with new_folder(out) as folder:
        (folder / f"{name}.v").write_text(text)
    return {"component": name, "folder": str(out), "files": [str(Path(out) / f"{name}.v")]}


_GENERATED = {
    "config.json",
    "core.v",
    "example.hex",
    "example.json",
    "network.skn",
    "program.bin",
    "program.hex",
    "program.json",
}


def write_program(program: Program, folder: Path) -> None:
    """Program image, the integer network and the core's configuration."""
    program.write(folder)
    modelfile.save(program.original, folder / "network.skn")
    (folder / "config.json").write_text(json.dumps(asdict(program.config), indent=1, sort_keys=True) + "\n")


def _example(net: QuantizedNetwork, data: str | Path | None) -> tuple[np.ndarray, int | None]:
    if data is not None:
        x, y = samples_of(net, data, 1)
        return x[0], int(y[0])
    shape = net.input.shape if net.input.static else (net.steps, *net.input.shape)
    low, high = bits_range(net.input.bits, net.input.signed)
    return np.random.default_rng(0).integers(low, high + 1, shape), None


def _write_example(program: Program, x: np.ndarray, label: int | None, folder: Path) -> None:
    """One input as spike-memory words (``example.hex``, for $readmemh) and what the core must answer."""
    config = program.config
    addresses, words = program.input_words(x)
    digits = -(-config.spike_width // 4)
    lines = [f"@{address:x} {word:0{digits}x}\n" for address, word in zip(addresses.tolist(), words, strict=True)]
    (folder / "example.hex").write_text("".join(lines))
    result = golden.run(program.network, x[None], keep=True)
    timing = run_timing(program, result.tensors)
    expected = {
        "label": label,
        "prediction": int(result.predictions[0]),
        "results": result.results[0].tolist(),
        "clocks": int(timing.clocks[0]),
        "input": x.tolist(),
    }
    (folder / "example.json").write_text(json.dumps(expected, sort_keys=True) + "\n")


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A temporary folder whose files are moved to ``out`` at the end, and thrown away if anything fails."""
    target = Path(out)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield partial
        target.mkdir(exist_ok=True)
        for path in sorted(partial.iterdir()):
            os.replace(path, target / path.name)
    except OSError as error:
        raise SkipspikeError(f"folder {str(out)!r} cannot be written: {error.strerror or error}") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
