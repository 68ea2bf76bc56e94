"""The verb ``bench networks``: clocks, frames a second and lane use of networks on the boards' cores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import Cached, Docs, Json
from .console import note, show, table
from .progress import Progress, silent

if TYPE_CHECKING:
    from boards.registry import Board

#: Networks of the literature beside the bundled ones, and boards, unless told otherwise.
LITERATURE = (
    "zoo:tutorial-ms",
    "zoo:tutorial-sew",
    "zoo:7b-net",
    "zoo:sew-resnet18,size=32",
    "zoo:sew-resnet18,size=32,width=1/4",
    "zoo:sew-resnet18",
    "zoo:sew-cifar10",
    "zoo:ms-resnet18,size=32",
    "zoo:ds-resnet20",
)
BOARDS = ("icebreaker", "ulx3s_85f")
SAMPLES = 2
#: Changes when tables are no longer comparable with older ones.
FORMAT = 1
#: The results that the source tree holds; its section of the page.
TABLE = Path(__file__).resolve().parents[1] / "docs" / "networks.json"
SECTION = "networks"
#: Figures of a row; null without a result.
_FIGURES = (
    "clocks", "frames_per_second", "lane_use", "operations", "spike_operations", "spikes_a_weight", "gsops_dense",
    "gsops_spikes",
)  # fmt: skip


def networks(
    nets: Sequence[str] = (),
    *,
    boards: Sequence[str] = (),
    data: str | Path | None = None,
    samples: int = SAMPLES,
    cached: bool = False,
    docs: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What networks take on the boards' cores, without synthesis.

    ``rows``, one a network and board: ``network``, ``board``, ``lanes``, ``clock_hz``, ``parameters``, ``steps``,
    ``input``, ``weight_bits``, ``data``, ``samples``, ``exact`` (by the cycle model on the first ``samples`` inputs, or
    expected from densities: where that takes too long, or the network does not fit), ``fits``, ``reason`` (why it does
    not: then figures, if any, are of a core that has what this one lacks), ``clocks``, ``frames_per_second`` at the
    board's clock, ``lane_use`` (events / (K x clocks)), ``operations`` (synaptic, dense-equivalent),
    ``spike_operations`` (those that spikes ask for), ``spikes_a_weight`` (for each weight read), ``gsops_dense`` and
    ``gsops_spikes`` (10^9 a second); ``error``.

    nets: by default the bundled networks and ``LITERATURE``.  boards: by default ``BOARDS``.  data: instead of each
    network's own; networks whose data cannot be fetched get random inputs.  cached: the table of the source tree, and
    nothing is computed.  docs: also write that folder's table and page.  Raises SkipspikeError.
    """
    from refmodel import bundled
    from refmodel.errors import ConfigError

    if samples < 1:
        raise ConfigError(f"samples must be at least 1, not {samples}")
    if docs is not None and (nets or boards or data is not None):
        raise ConfigError("the table holds every network and board on its own data: give none of them with docs")
    if cached:
        if docs is not None:
            raise ConfigError("docs writes what is measured now: leave out cached")
        return {"rows": _known(nets, boards), "failed": 0, "files": []}
    from boards.registry import get_board

    found = [get_board(name) for name in boards or BOARDS]
    chosen = list(nets) or [*bundled.names(), *LITERATURE]
    rows = []
    for number, network in enumerate(chosen):
        for board in found:
            progress(f"{network} on {board.name}", number / len(chosen))
            rows.append(_row(network, board, data, samples))
    files = [] if docs is None else _write(Path(docs), rows)
    return {
        "rows": rows,
        "failed": sum(row["error"] is not None for row in rows),
        "files": [str(path) for path in files],
    }


def _row(network: str, board: Board, data: str | Path | None, samples: int) -> dict[str, Any]:
    """One network on one board's core."""
    from refmodel.errors import CompileError, ConfigError, NetworkError, SkipspikeError
    from refmodel.features import with_features
    from refmodel.outline import outline
    from refmodel.quantized import QuantizedNetwork

    from .cores import core_for
    from .models import chosen_bits, open_network, quantised
    from .workload import Workload, exact_workload, expected_workload, is_affordable

    row: dict[str, Any] = {
        "network": network, "board": board.name, "lanes": board.core.lanes, "clock_hz": board.clock_hz,
        "parameters": None, "steps": None, "input": None, "weight_bits": None, "data": None, "samples": 0,
        "exact": None, "fits": None, "reason": None, **dict.fromkeys(_FIGURES), "error": None,
    }  # fmt: skip
    try:
        sketch = open_network(network, sketch=True)
        bits = chosen_bits(sketch, None)
        shape = sketch if isinstance(sketch, QuantizedNetwork) else outline(sketch, bits)
        row |= {"parameters": shape.parameters, "steps": shape.steps, "input": list(shape.input.shape)}
        row["weight_bits"] = shape.weight_bits
        made: Workload | None = None
        config, why = board.core, None
        if is_affordable(shape, board.core):
            whole = open_network(network)
            try:
                net = quantised(whole, None, board.core)
            except NetworkError as error:  # the core's sums or membranes are too narrow for its weights
                why = str(error)
            else:
                x, source = _inputs(net, data, samples)
                try:
                    config = core_for(board, net)
                    made = exact_workload(net, config, x)
                    row |= {"exact": True, "fits": True, "data": source, "samples": len(x)}
                except (CompileError, ConfigError) as error:
                    shape, why = net, str(error)
        if made is None:
            row |= {"exact": False, "fits": False, "data": "densities"}
            try:
                config = core_for(board, shape) if why is None else with_features(board.core, shape)
                made, lacks = expected_workload(shape, config)
                why = why or lacks
                row |= {"fits": why is None, "reason": why}
            except (CompileError, ConfigError) as error:
                return row | {"reason": why or str(error)}
    except SkipspikeError as error:
        return row | {"error": str(error)}
    rate = board.clock_hz / made.clocks
    return row | {
        "lanes": config.lanes,
        "clocks": round(made.clocks, 1),
        "frames_per_second": round(rate, 3),
        "lane_use": round(made.lane_use, 4),
        "operations": made.operations,
        "spike_operations": round(made.spike_operations),
        "spikes_a_weight": round(made.operations_a_weight, 4),
        "gsops_dense": round(made.operations * rate / 1e9, 4),
        "gsops_spikes": round(made.spike_operations * rate / 1e9, 4),
    }


def _inputs(net: Any, data: str | Path | None, samples: int) -> tuple[Any, str]:
    """Inputs of the network's own data, or random ones where that cannot be had, and which they are."""
    from refmodel.errors import DataError

    from .models import RANDOM, data_of, samples_of

    try:
        return samples_of(net, data, None, samples)[0], str(data_of(net, data))
    except DataError:
        if data is not None:
            raise
    return samples_of(net, RANDOM, samples)[0], RANDOM


def _known(nets: Sequence[str], boards: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table; BoardError if it is missing or damaged, ConfigError for rows that it lacks."""
    from refmodel.errors import ConfigError

    rows = read_table()["rows"]
    for what, wanted in (("network", nets), ("board", boards)):
        for name in wanted:
            if all(row[what] != name for row in rows):
                raise ConfigError(f"the table has no {what} '{name}': run `skipspike bench networks` without --cached")
    return [row for row in rows if (not nets or row["network"] in nets) and (not boards or row["board"] in boards)]


def read_table(path: Path | None = None) -> dict[str, Any]:
    """A written table, by default that of the source tree; BoardError if it is missing or damaged."""
    from refmodel.errors import BoardError

    path = path or TABLE
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("rows"), list):
        raise BoardError(f"{path} is no table of networks of format {FORMAT}: write it again")
    return found


def markdown(made: dict[str, Any]) -> str:
    """The page's section: one line a network that a core runs or would run, and which do not fit."""
    from boards.bench_table import table_lines

    columns = (
        "network", "board", ">lanes", ">parameters", ">T", ">clocks", ">frames/s", ">lane use",
        ">dense-equivalent GSOP/s", ">GSOP/s of spikes", "",
    )  # fmt: skip
    lines = [
        [
            row["network"],
            row["board"],
            row["lanes"],
            f"{row['parameters']:,}",
            row["steps"],
            f"{row['clocks']:,.0f}",
            _frames(row["frames_per_second"]),
            f"{100 * row['lane_use']:.0f} %",
            f"{row['gsops_dense']:.2f}",
            f"{row['gsops_spikes']:.3f}",
            ", ".join(_remarks(row)),
        ]
        for row in made["rows"]
        if row["clocks"] is not None
    ]
    left = [f"{row['network']} ({row['board']})" for row in made["rows"] if row["clocks"] is None]
    text = "\n".join(table_lines(columns, lines))
    return text + (f"\n\nDo not fit: {', '.join(left)}." if left else "")


def _frames(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"


def _remarks(row: dict[str, Any]) -> list[str]:
    made = [] if row["exact"] else ["expected"]
    if row["exact"] and row["data"] == "random":
        made.append("random inputs")
    return made if row["fits"] else [*made, "needs a larger core"]


def _write(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    from boards.core_table import write_section
    from refmodel.errors import ToolError

    for row in rows:
        if row["error"]:
            raise ToolError(f"{row['network']} on {row['board']}: {row['error']}; no table is written")
    made = {"format": FORMAT, "rows": rows}
    return write_section(folder, SECTION, markdown(made), TABLE.name, made)


def view(result: dict[str, Any]) -> None:
    """The rows as a table on stdout."""
    shown = table(
        "network", "board", ">lanes", ">clocks", ">frames/s", ">lane use", ">dense GSOP/s", ">spike GSOP/s", ""
    )
    for row in result["rows"]:
        figures = ["-"] * 5
        if row["clocks"] is not None:
            figures = [
                f"{row['clocks']:,.0f}",
                _frames(row["frames_per_second"]),
                f"{100 * row['lane_use']:.0f} %",
                f"{row['gsops_dense']:.3f}",
                f"{row['gsops_spikes']:.3f}",
            ]
        remarks = ["failed"] if row["error"] else _remarks(row) if row["clocks"] is not None else ["does not fit"]
        shown.add_row(row["network"], row["board"], str(row["lanes"]), *figures, ", ".join(remarks))
    show(shown)
    show("", "clocks of one input; expected: from densities, not walked; GSOP/s: 10^9 synaptic operations a second")
    for row in result["rows"]:
        if row["error"]:
            note(f"{row['network']} on {row['board']}: {row['error']}")
    for path in result["files"]:
        show(f"written: {path}")


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``networks`` to the verb ``bench``."""

    @group.command("networks")
    def _networks(
        nets: Annotated[
            list[str] | None, typer.Argument(metavar="[NET]...", help="By default the bundled ones and some of zoo:.")
        ] = None,
        board: Annotated[
            list[str] | None, typer.Option("--board", metavar="BOARD", help="This board alone; may be repeated.")
        ] = None,
        data: Annotated[
            str | None, typer.Option(metavar="DATA", help="Instead of each network's own, as of `evaluate`.")
        ] = None,
        samples: Annotated[int, typer.Option(metavar="N", min=1, help="Inputs.")] = SAMPLES,
        cached: Cached = False,
        docs: Docs = None,
        as_json: Json = False,
    ) -> None:
        """Clocks, frames a second, lane use and operations a second of networks."""
        finish(
            lambda progress: networks(
                nets or (), boards=board or (), data=data, samples=samples, cached=cached, docs=docs, progress=progress
            ),
            view,
            as_json,
            lambda result: f"{result['failed']} networks failed" if result["failed"] else None,
        )
