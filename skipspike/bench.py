"""The verb ``bench``: what components and cores take, how fast networks run on them, how fast the software is."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import bench_anchors, bench_boards, bench_cores, bench_networks
from .command import Cache, Cached, Docs, Jobs, Json, Timeout
from .console import note, show, table
from .progress import Progress, silent


class Families(StrEnum):
    """FPGA families to measure for."""

    ice40 = "ice40"
    ecp5 = "ecp5"
    all = "all"


def components(
    *,
    family: str = "all",
    component: str | None = None,
    cached: bool = False,
    cache: str | Path | None = None,
    docs: str | Path | None = None,
    jobs: int = 2,
    timeout: float = 300.0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Sizes of the components, and of features by difference.

    ``rows``: ``component``, ``parameters`` (in words), ``settings``, ``family``, the figures of
    :class:`boards.sizes.Size`, ``origin`` (run, cache, table, missing, failed) and ``error``.  ``differences``: a
    feature's figures, see :class:`boards.bench_parts.Difference`.  Figures are null where there is no size.

    cached: synthesise nothing.  cache: folder of kept results.  docs: also write the tables of that folder.
    Raises SkipspikeError, a failed synthesis excepted: its row says so.
    """
    from boards import bench as run
    from boards.bench_table import write_figures
    from boards.sizes import FAMILIES, Cache, Family, cache_folder
    from refmodel.errors import ConfigError

    families: list[Family] = [name for name in FAMILIES if family == "all" or family == name]
    if not families:
        raise ConfigError(f"family must be {', '.join(FAMILIES)} or all, not '{family}'")
    if docs is not None and (component is not None or len(families) != len(FAMILIES)):
        raise ConfigError("the tables hold every component and family: give neither with docs")
    folder = cache_folder() if cache is None else Path(cache)
    result = run.bench(
        component, families, cache=Cache(folder), cached_only=cached, jobs=jobs, timeout=timeout, progress=progress
    )
    written = [] if docs is None else write_figures(Path(docs), run.table_of(result))
    return {
        "cache": str(folder),
        "tools": result.tools,
        "rows": [m.row() | {"origin": m.origin, "error": m.error} for m in result.measured],
        "differences": result.difference_rows(),
        "failed": len(result.failed),
        "files": [str(path) for path in written],
    }


def _view(result: dict[str, Any]) -> None:
    figures = (">cells", ">LUT", ">of it RAM", ">carry", ">FF", ">BRAM", ">DSP", ">SPRAM")
    sizes = table("component", "parameters", "family", *figures, "")
    for row in result["rows"]:
        values = (row[name] for name in ("cells", "lut", "ram", "carry", "ff", "bram", "dsp", "spram"))
        remark = row["origin"] if row["origin"] in ("missing", "failed") else ""
        sizes.add_row(
            row["component"],
            row["parameters"],
            row["family"],
            *("-" if value is None else str(value) for value in values),
            remark,
        )
    costs = table(
        "feature", "in", "family", ">LUT with", ">without", ">logic LUT", ">RAM LUT", ">lanes", ">LUT a lane",
        ">a channel", ">a unit",
    )  # fmt: skip
    for row in result["differences"]:
        shown = ["-"] * 4
        ratios = ["-"] * 3
        if row["more"] is not None:
            more = row["more"]
            luts = (row["whole"]["lut"], row["without"]["lut"], more["lut"] - more["ram"], more["ram"])
            shown = [str(value) for value in luts]
            ratios = [
                "" if row[f"per_{what}"] is None else f"{row[f'per_{what}']:.2f}"
                for what in ("lane", "channel", "unit")
            ]
        costs.add_row(row["feature"], row["component"], row["family"], *shown, str(row["lanes"]), *ratios)
    show(sizes)
    if result["differences"]:
        show("", costs)
    tools = ", ".join(f"{name} {version}" for name, version in result["tools"].items())
    show("", f"{tools or 'no tools'}; cells as nextpnr packs them, the rest as Yosys makes it")
    for row in result["rows"]:
        if row["error"]:
            note(f"{row['component']}, {row['parameters']}, {row['family']}: {row['error']}")
    for path in result["files"]:
        show(f"written: {path}")


def mount(app: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``bench`` to the command line; ``finish`` does a verb's work and prints its result."""
    group = typer.Typer(
        name="bench", help="Measure gateware, networks on it, or the software.", no_args_is_help=True,
        rich_markup_mode=None,
    )  # fmt: skip

    @group.callback()
    def _bench() -> None:
        """Measure gateware, networks on it, or the software."""

    @group.command("components")
    def _components(
        family: Annotated[Families, typer.Option(help="For which family.")] = Families.all,
        component: Annotated[str | None, typer.Option(metavar="NAME", help="This component alone.")] = None,
        cached: Cached = False,
        cache: Cache = None,
        docs: Docs = None,
        jobs: Jobs = 2,
        timeout: Timeout = 300.0,
        as_json: Json = False,
    ) -> None:
        """Sizes of the components and costs of features."""
        finish(
            lambda progress: components(
                family=family.value,
                component=component,
                cached=cached,
                cache=cache,
                docs=docs,
                jobs=jobs,
                timeout=timeout,
                progress=progress,
            ),
            _view,
            as_json,
            lambda result: f"{result['failed']} syntheses failed" if result["failed"] else None,
        )

    bench_cores.mount(group, finish)
    bench_networks.mount(group, finish)
    bench_boards.mount(group, finish)
    bench_anchors.mount(group, finish)

    @group.command("software")
    def _software(
        networks: Annotated[
            list[str] | None, typer.Argument(metavar="[NET]...", help="By default the bundled MNIST networks.")
        ] = None,
        samples: Annotated[int, typer.Option(metavar="N", min=1, help="Inputs.")] = 1000,
        rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Turns of golden model and PyTorch.")] = 5,
        threads: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="Threads of both; by default all processors.")
        ] = None,
        data: Annotated[str, typer.Option(metavar="DATA", help="'random', or as of `evaluate`.")] = "random",
        board: Annotated[str, typer.Option(metavar="BOARD", help="Compile for this board's core.")] = "icebreaker",
        bits: Annotated[
            int | None, typer.Option(metavar="N", min=2, max=16, help="Weight bits, instead of the network's own.")
        ] = None,
        simulate: Annotated[
            int, typer.Option(metavar="N", min=0, help="Inputs that Verilator simulates; 0: no simulation.")
        ] = 1,
        as_json: Json = False,
    ) -> None:
        """Speed of golden, float and cycle model, compiler, Verilog and simulation, and of PyTorch."""
        from . import bench_software

        finish(
            lambda progress: bench_software.software(
                [*networks] if networks else None,
                samples=samples,
                rounds=rounds,
                threads=threads,
                data=data,
                board=board,
                bits=bits,
                simulate=simulate,
                progress=progress,
            ),
            bench_software.view,
            as_json,
        )

    app.add_typer(group)
