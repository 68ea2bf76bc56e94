"""The verb ``bench anchors``: networks of the literature on large cores beside what other processors reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from .command import Cached, Docs, Json
from .console import show
from .progress import Progress, silent

#: Changes when tables are no longer comparable with older ones.
FORMAT = 1
#: Page and data in a folder of documents, and the page's section.
PAGE, DATA, SECTION = "comparison-hardware.md", "anchors.json", "anchors"
TABLE = Path(__file__).resolve().parents[1] / "docs" / DATA


def anchors(*, cached: bool = False, docs: str | Path | None = None, progress: Progress = silent) -> dict[str, Any]:
    """The tables of :func:`skipspike.anchors.anchors`, and ``files`` written.

    cached: the table of the source tree, and nothing is computed.  docs: also write that folder's page and table.
    Raises SkipspikeError.
    """
    from boards.core_table import with_section
    from boards.files import write_text
    from refmodel.errors import BoardError, ConfigError

    from . import anchors as model

    if cached:
        if docs is not None:
            raise ConfigError("docs writes what is computed now: leave out cached")
        return {**read_table(), "files": []}
    made = {"format": FORMAT, **model.anchors(progress)}
    if docs is None:
        return {**made, "files": []}
    page, data = Path(docs) / PAGE, Path(docs) / DATA
    try:
        text = with_section(page.read_text(), SECTION, markdown(made))
    except OSError as error:
        raise BoardError(f"{page} cannot be read: {error.strerror}; --docs takes the folder 'docs'") from None
    write_text(page, text)
    write_text(data, json.dumps(made, indent=1, sort_keys=True) + "\n")
    return {**made, "files": [str(page), str(data)]}


def read_table(path: Path = TABLE) -> dict[str, Any]:
    """A written table; BoardError if it is missing or damaged."""
    from refmodel.errors import BoardError

    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BoardError(f"{path} is no table of anchors of format {FORMAT}: write it again")
    return found


_SUMMARY = (
    "processor", "shape", ">lanes", ">clock", ">memory, MB/s", ">clocks", ">frames/s", ">ms", ">GSOP/s dense",
    ">GSOP/s of spikes", ">part of the lanes",
)  # fmt: skip


def _share(dense: float, lanes: int, clock_hz: float) -> str:
    return f"{100 * dense * 1e9 / lanes / clock_hz:.0f} %"


def _summary(row: Mapping[str, Any]) -> list[str]:
    from .anchors import core_text

    return [
        f"ECP5-85F, {row['core']}",
        core_text(row),
        f"{row['lanes']:,}",
        f"{row['clock_hz'] / 1e6:.0f} MHz",
        f"{row['bandwidth']:g}{' *' if row['spikes_outside'] else ''}",
        f"{row['clocks']:,}",
        f"{row['frames_per_second']:,.4g}",
        f"{row['milliseconds']:.3g}",
        f"{row['gsops_dense']:.1f}",
        f"{row['gsops_spikes']:.1f}",
        _share(row["gsops_dense"], row["lanes"], row["clock_hz"]),
    ]


def _firefly(made: Mapping[str, Any], firefly: Mapping[str, Any]) -> list[str]:
    """What FireFly v2's formula says."""
    taken = made["firefly"]
    shape = ", ".join(f"{taken[name]} {name}" for name in ("inputs", "outputs", "pixels", "steps"))
    return [
        "FireFly v2's formula",
        shape,
        f"{taken['lanes']:,}",
        f"{taken['clock_hz'] / 1e6:.0f} MHz",
        "not in it",
        f"{firefly['clocks']:,}",
        f"{firefly['frames_per_second']:,.4g}",
        f"{1000 / firefly['frames_per_second']:.3g}",
        f"{firefly['gsops_dense']:,.0f}",
        f"{firefly['gsops_spikes']:.0f}",
        _share(firefly["gsops_dense"], taken["lanes"], taken["clock_hz"]),
    ]


def _layers(network: Mapping[str, Any]) -> list[list[str]]:
    """A line a layer: operations, and for each core clocks, lane use, and clocks waited for the memory."""
    lines = []
    for layer in network["layers"]:
        line = [
            layer["layer"],
            f"{layer['operations'] / 1e6:,.1f}" if layer["operations"] else "",
            f"{layer['spike_operations'] / 1e6:,.1f}" if layer["operations"] else "",
        ]
        for found in layer["cores"]:
            line += [f"{found['clocks']:,.0f}", f"{100 * found['lane_use']:.0f} %", f"{found['wait']:,.0f}"]
        line.append("" if layer["firefly_clocks"] is None else f"{layer['firefly_clocks']:,}")
        lines.append(line)
    return lines


_LAYERS = (
    "layer", ">Mop dense", ">Mop of spikes", ">1,024 lanes: clocks", ">lane use", ">waits", ">fastest: clocks",
    ">lane use", ">waits", ">FireFly v2: clocks",
)  # fmt: skip


def markdown(made: Mapping[str, Any]) -> str:
    """The page's section: for each network what processors reach, rates, and layers."""
    from boards.bench_table import table_lines

    parts: list[str] = []
    for network in made["networks"]:
        rows = [*(_summary(row) for row in network["cores"]), _firefly(made, network["firefly"])]
        names = [name for name in network["rates"][0] if name != "rate"]
        rates = [[f"{one['rate']:g}", *(f"{one[name]:,.4g}" for name in names)] for one in network["rates"]]
        parts += [
            f"### {network['title']}",
            f"`{network['network']}`, {network['parameters']:,} parameters of {network['weight_bits']} bits, "
            f"{network['operations'] / 1e6:,.0f} million synaptic operations an input, "
            f"{network['spike_operations'] / 1e6:,.0f} million for its spikes at a rate of {made['rate']:g}.",
            "\n".join(table_lines(_SUMMARY, rows)),
            f"Frames/s for other rates of all neurons, {made['bandwidths'][0]:g} MB/s:",
            "\n".join(table_lines(("rate", *(f">{name}" for name in names)), rates)),
            f"Layer by layer, {made['bandwidths'][0]:g} MB/s:",
            "\n".join(table_lines(_LAYERS, _layers(network))),
        ]
    for network in made["small"]:
        parts += [
            f"### {network['title']}",
            f"`{network['network']}`, {network['parameters']:,} parameters of {network['weight_bits']} bits, "
            f"{network['operations'] / 1e6:,.1f} million synaptic operations; to beat: {made['rival_ms']:g} ms.",
            "\n".join(table_lines(_SUMMARY, [_summary(row) for row in network["cores"]])),
        ]
    return "\n\n".join(parts)


def view(result: dict[str, Any]) -> None:
    """The summaries as tables on stdout."""
    from .console import table

    for network in [*result["networks"], *result["small"]]:
        rows = table(*_SUMMARY)
        for row in network["cores"]:
            rows.add_row(*_summary(row))
        if "firefly" in network:
            rows.add_row(*_firefly(result, network["firefly"]))
        show(network["title"], rows, "")
    show("expected clocks, not exact; *: spikes lie in the external memory, too")
    for path in result["files"]:
        show(f"written: {path}")


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``anchors`` to the verb ``bench``."""

    @group.command("anchors")
    def _anchors(
        cached: Cached = False,
        docs: Docs = None,
        as_json: Json = False,
    ) -> None:
        """Networks of the literature on large ECP5 cores, beside other processors."""
        finish(lambda progress: anchors(cached=cached, docs=docs, progress=progress), view, as_json)
