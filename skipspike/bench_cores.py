"""The verb ``bench cores``: area, clock and peak speed of whole cores, device by device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Cache, Cached, Docs, Jobs, Json, Timeout
from .console import note, show, table
from .progress import Progress, silent


def cores(
    *,
    shapes: Sequence[str] = (),
    devices: Sequence[str] = (),
    seeds: int = 3,
    cached: bool = False,
    cache: str | Path | None = None,
    docs: str | Path | None = None,
    jobs: int = 2,
    timeout: float = 3600.0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Area, Fmax and peak synaptic operations a second of complete cores without host link.

    ``rows``, one a shape of :mod:`boards.core_shapes`: ``device``, ``title``, ``family``, ``shape``, ``lanes``, ``lut``
    (logic cells of the core alone after packing), ``lut_per_lane``, ``ff``, ``bram``, ``dsp``, ``spram``, ``fmax_hz``
    (seed 1), ``fmax_best_hz``, ``fmax_worst_hz``, ``seeds`` (``seed``, ``fmax_hz``), ``gsops`` (lanes x ``fmax_hz`` /
    10^9), ``gsops_per_klut``, ``critical_path`` (cells at its ends), ``config``, ``source`` (digest of the design),
    ``tools``, ``origin`` (run, cache, table, missing, failed), ``fresh`` (of the code as it is now) and ``error``.
    Figures are null where there are none.

    shapes, devices: those alone.  seeds: place and route with the seeds 1 to so many.  cached: build nothing, and look
    for no tools.  cache: folder of kept results.  docs: also write that folder's table, page and plots.
    Raises SkipspikeError; a core that fails is not an error: its row says so.
    """
    from boards import core_bench
    from boards.core_flow import Flow
    from boards.core_results import Results, results_folder
    from boards.core_shapes import chosen
    from refmodel.errors import ConfigError

    from . import bench_plots

    found = chosen(tuple(shapes), tuple(devices))
    if docs is not None:
        if shapes or devices:
            raise ConfigError("the tables hold every shape and device: give neither with docs")
        bench_plots.demand()
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1, not {seeds}")
    folder = results_folder() if cache is None else Path(cache)
    results = Results(folder)
    if cached:
        rows = core_bench.known(found, results=results)
    else:
        rows = core_bench.bench(
            found,
            results=results,
            seeds=range(1, seeds + 1),
            jobs=jobs,
            tools=Flow(timeout=timeout),
            progress=progress,
        )
    return {
        "cache": str(folder),
        "rows": rows,
        "failed": sum(row["origin"] == "failed" for row in rows),
        "files": [] if docs is None else [str(path) for path in _write(Path(docs), rows, progress)],
    }


def _write(folder: Path, rows: list[dict[str, Any]], progress: Progress) -> list[Path]:
    """Table, page and plots."""
    from boards import core_table
    from boards.core_bench import table_of

    from . import bench_plots
    from .roofline import achieved

    made = table_of(rows)
    made["achieved"] = achieved(rows, progress)
    text = core_table.markdown(made)
    files = core_table.write_section(folder, core_table.SECTION, text, core_table.DATA, made)
    return files + bench_plots.draw(made, folder / bench_plots.FOLDER)


def view(result: dict[str, Any]) -> None:
    """The rows as a table on stdout."""
    shown = table(
        "shape", "device", ">lanes", ">LUT", ">a lane", ">FF", ">BRAM", ">Fmax, MHz", ">worst", ">best", ">GSOP/s",
        ">per 1,000 LUT", "",
    )  # fmt: skip
    for row in result["rows"]:
        clocks = (row[name] for name in ("fmax_hz", "fmax_worst_hz", "fmax_best_hz"))
        shown.add_row(
            row["shape"],
            row["title"],
            f"{row['lanes']:,}",
            _text(row["lut"], ","),
            _text(row["lut_per_lane"], ".1f"),
            _text(row["ff"], ","),
            _text(row["bram"], ""),
            *(_text(None if hertz is None else hertz / 1e6, ".1f") for hertz in clocks),
            _text(row["gsops"], ".2f"),
            _text(row["gsops_per_klut"], ".2f"),
            row["origin"] if row["origin"] in ("missing", "failed") else "" if row["fresh"] else "of older code",
        )
    show(shown)
    tools = sorted({f"{name} {version}" for row in result["rows"] for name, version in row.get("tools", {}).items()})
    show(
        "", f"{', '.join(tools) or 'no tools'}; LUT: logic cells of the core alone, packed; Fmax: seed 1, in a harness"
    )
    for row in result["rows"]:
        if row["error"]:
            note(f"{row['shape']}: {row['error']}")
    for path in result["files"]:
        show(f"written: {path}")


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``cores`` to the verb ``bench``."""

    @group.command("cores")
    def _cores(
        shape: Annotated[
            list[str] | None, typer.Option("--shape", metavar="NAME", help="This core shape alone; may be repeated.")
        ] = None,
        device: Annotated[
            list[str] | None, typer.Option("--device", metavar="NAME", help="This device alone; may be repeated.")
        ] = None,
        seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Place and route with the seeds 1 to N.")] = 3,
        cached: Cached = False,
        cache: Cache = None,
        docs: Docs = None,
        jobs: Jobs = 2,
        timeout: Timeout = 3600.0,
        as_json: Json = False,
    ) -> None:
        """Area, clock and peak speed of whole cores."""
        finish(
            lambda progress: cores(
                shapes=shape or (),
                devices=device or (),
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
            lambda result: f"{result['failed']} cores failed" if result["failed"] else None,
        )
