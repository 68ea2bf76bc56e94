"""The verb ``bench boards``: every board's own design built, its size and clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Cache, Cached, Docs, Jobs, Json, Timeout
from .console import note, show, table
from .progress import Progress, silent


def boards(
    *,
    names: Sequence[str] = (),
    seeds: int = 3,
    cached: bool = False,
    cache: str | Path | None = None,
    docs: str | Path | None = None,
    jobs: int = 1,
    timeout: float = 3600.0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """A bitstream of each board's own design: core, host link and PLL, from nothing to the packer.

    ``rows``, one a board: ``board``, ``title``, ``family``, ``device``, ``lanes``, ``lut``, ``ff``, ``bram``, ``dsp``,
    ``spram`` (used), ``luts``, ``brams`` (of the device), ``clock_hz`` (asked for), ``fmax_hz``, ``met``, ``seed``,
    ``tried`` (seeds), ``sha256`` (of the bitstream), ``source`` (digest of the design), ``tools``, ``origin`` (run,
    cache, table, missing, failed), ``fresh`` (of the code as it is now) and ``error``. ``late``: boards whose clock is
    not met.

    names: those alone.  seeds: of place and route that are tried until the clock is met.  cached: build nothing.
    cache: folder of kept results.  docs: also write the table of that folder's ``boards.md`` and ``boards.json``.
    Raises SkipspikeError; a board that fails is not an error: its row says so.
    """
    from boards import board_bench
    from boards.registry import BOARDS, get_board
    from refmodel.errors import ConfigError

    chosen = [get_board(name) for name in names] or [*BOARDS.values()]
    if docs is not None and names:
        raise ConfigError("the table holds every board: give none with docs")
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1, not {seeds}")
    folder = board_bench.results_folder() if cache is None else Path(cache)
    kept = board_bench.Kept(folder)
    if cached:
        rows = board_bench.known(chosen, kept=kept)
    else:
        builder = functools.partial(board_bench.build_one, timeout=timeout)
        rows = board_bench.bench(chosen, kept=kept, seeds=seeds, jobs=jobs, builder=builder, progress=progress)
    files = [] if docs is None else board_bench.write_docs(Path(docs), rows)
    return {
        "cache": str(folder),
        "rows": rows,
        "failed": sum(row["origin"] == "failed" for row in rows),
        "late": [row["board"] for row in rows if row["met"] is False],
        "files": [str(path) for path in files],
    }


def view(result: dict[str, Any]) -> None:
    """The rows as a table on stdout."""
    shown = table("board", "device", ">lanes", ">LUT", ">FF", ">BRAM", ">clock, MHz", ">Fmax, MHz", "met", "")
    for row in result["rows"]:
        built = row["fmax_hz"] is not None
        shown.add_row(
            row["board"],
            row["device"],
            str(row["lanes"]),
            *(f"{row[name]:,}" if built else "-" for name in ("lut", "ff", "bram")),
            f"{row['clock_hz'] / 1e6:g}",
            f"{row['fmax_hz'] / 1e6:.1f}" if built else "-",
            {True: "yes", False: "no", None: "-"}[row["met"]],
            row["origin"] if row["origin"] in ("missing", "failed") else "" if row["fresh"] else "of older code",
        )
    show(shown)
    tools = sorted({f"{name} {version}" for row in result["rows"] for name, version in row["tools"].items()})
    show("", f"{', '.join(tools) or 'no tools'}; the whole design of each board")
    for row in result["rows"]:
        if row["error"]:
            note(f"{row['board']}: {row['error']}")
    for path in result["files"]:
        show(f"written: {path}")


def _problem(result: dict[str, Any]) -> str | None:
    if result["failed"]:
        return f"{result['failed']} boards failed"
    return f"the clock is not met: {', '.join(result['late'])}" if result["late"] else None


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``boards`` to the verb ``bench``."""

    @group.command("boards")
    def _boards(
        board: Annotated[
            list[str] | None, typer.Option("--board", metavar="BOARD", help="This board alone; may be repeated.")
        ] = None,
        seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds to try until the clock is met.")] = 3,
        cached: Cached = False,
        cache: Cache = None,
        docs: Docs = None,
        jobs: Jobs = 1,
        timeout: Timeout = 3600.0,
        as_json: Json = False,
    ) -> None:
        """Size and clock of every board's own design."""
        finish(
            lambda progress: boards(
                names=board or (),
                seeds=seeds,
                cached=cached,
                cache=cache,
                docs=docs,
                jobs=jobs,
                timeout=timeout,
                progress=progress,
            ),
            view,
            as_json,
            _problem,
        )
