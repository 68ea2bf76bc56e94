"""Boards: listing them, building bitstreams, reading builds, loading them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from refmodel.errors import BoardError

from .hardware import compiled, core_memory, write_program
from .progress import Progress, silent


def boards() -> dict[str, Any]:
    """Every known board: device, memories, clocks, and the core that it gets."""
    from boards.registry import BOARDS

    return {
        "boards": [
            {
                "name": board.name,
                "title": board.title,
                "family": board.family,
                "device": board.device,
                "package": board.package,
                "clock_hz": board.clock_hz,
                "input_clock_hz": board.input_clock_hz,
                "luts": board.luts,
                "dsps": board.dsps,
                "memory": {
                    "brams": board.brams,
                    "bram_bits": board.bram_total_kbit * 1024,
                    "sprams": board.sprams,
                    "spram_bits": board.sprams * 256 * 1024,
                },
                "lanes": board.core.lanes,
                "store": board.core.store,
                "additions": list(board.additions),
                "core": core_memory(board.core),
            }
            for board in BOARDS.values()
        ]
    }


def build(
    network: str | Path,
    *,
    board: str,
    out: str | Path,
    bits: int | None = None,
    core: str | Path = "auto",
    seed: int = 1,
    clock_hz: int | None = None,
    tools: Literal["yowasp", "native"] = "yowasp",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Synthesis, place and route, and packing of the board's core, with the network's program beside it.

    Where the resting store is block RAM, the program is in the bitstream; SPRAM gets it over the host link. Of a board
    that takes it from its flash, "+boot" or "+flash", ``flash`` is the image of both, compared with what they
    were made of.
    ``core``: as :func:`skipspike.cores.mapped` takes it.  clock_hz: of the core, by default the board's.  A design that
    misses its clock is built all the same: see ``timing_met``.  Raises SkipspikeError, for a clock that the PLL cannot
    make, too.
    """
    from boards.build import build as run
    from boards.flash_files import starts_from_flash, verify_folder, write_flash

    found, program = compiled(network, board, bits, core, progress)
    if clock_hz is not None:
        found = replace(found, clock_hz=clock_hz)
    in_bitstream = program.config.store == "bram"
    made = run(
        found,
        program.config,
        program.image if in_bitstream else (),
        out,
        seed=seed,
        tools=tools,
        progress=lambda message: progress(message, None),
    )
    write_program(program, made.folder)
    flash = None
    if starts_from_flash(found, program.config):
        write_flash(made.folder, program.image)
        flash = verify_folder(made.folder)["file"]
    return {
        "network": program.network.name,
        "board": found.name,
        "lanes": program.config.lanes,
        "folder": str(made.folder),
        "bitstream": str(made.bitstream),
        "sha256": made.sha256,
        "program_in_bitstream": in_bitstream,
        "flash": flash,
        "clock_hz": made.target_hz,
        "fmax_hz": made.fmax_hz,
        "timing_met": made.timing_met,
        "utilisation": made.utilisation,
        "seed": made.seed,
        "tools": made.tools,
    }


def report(folder: str | Path) -> dict[str, Any]:
    """Resources by component, Fmax, critical path and memory map of a build folder; ``text`` is all of it to read."""
    from boards.report import format_report
    from boards.report import report as read

    built = read(folder)
    totals = built.totals()
    return {
        "folder": str(built.folder),
        "board": built.board,
        "fmax_hz": built.fmax_hz,
        "clock_hz": built.target_hz,
        "timing_met": built.timing_met,
        "seed": built.seed,
        "utilisation": built.utilisation,
        "hierarchy": [
            {"name": name or "top", "own": built.components.get(name, dict.fromkeys(cells, 0)), "total": cells}
            for name, cells in totals.items()
        ],
        "critical_path": {
            "ns": built.critical_ns,
            "from": built.critical_ends[0],
            "to": built.critical_ends[1],
            "steps": [
                {"component": step.component or "top", "logic_ns": step.logic_ns, "routing_ns": step.routing_ns}
                for step in built.critical_path
            ],
        },
        "memory": built.memory,
        "tools": built.tools,
        "text": format_report(built),
    }


def load(
    folder: str | Path | None = None,
    *,
    board: str | None = None,
    place: Literal["sram", "flash"] | None = None,
    programmer: str | None = None,
    cable: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Program a board with a build folder's bitstream, or with its own core; ``dry_run``: only say by which command.

    ``board``: without a folder, this board's own core, built first unless it is kept.  ``place``: the device's own
    memory or the board's flash, by default as is usual for the board; ``programmer`` and ``cable``: as of
    :func:`boards.load.command_for`.  Raises SkipspikeError.
    """
    from boards.load import load as run
    from boards.load import load_own
    from boards.registry import get_board

    if (folder is None) == (board is None):
        raise BoardError("name the folder of a build, or a board to load its own core")
    if folder is not None:
        progress("looking for the board", None)
        done = run(folder, place=place, programmer=programmer, cable=cable, dry_run=dry_run)
    else:
        assert board is not None
        done = load_own(
            get_board(board),
            place=place,
            programmer=programmer,
            cable=cable,
            dry_run=dry_run,
            progress=lambda message: progress(message, None),
        )
    return {
        "board": done.board,
        "bitstream": str(done.bitstream),
        "place": done.place,
        "command": list(done.command),
        "loaded": not done.dry_run,
    }
