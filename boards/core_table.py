"""The measured cores as Markdown, between two marks of a page that others share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refmodel.errors import BoardError

from .bench_table import json_text, table_lines
from .core_anchors import ANCHORS
from .files import write_text

#: A page of sections, and the figures of one section for programs.
PAGE, DATA = "benchmarks.md", "cores.json"
SECTION = "cores"


def markdown(table: Mapping[str, Any]) -> str:
    """The section of cores: tools, figures, other systems' beside them, and what networks get out of the cores."""
    rows: Sequence[Mapping[str, Any]] = table["rows"]
    tools = sorted({f"{name} {version}" for found in rows for name, version in found["tools"].items()})
    columns = (
        "shape", "device", ">K", ">P", ">Tp", ">lanes", ">LUT", ">LUT a lane", ">FF", ">BRAM", ">Fmax, MHz",
        ">worst to best", ">GSOP/s", ">GSOP/s per 1,000 LUT",
    )  # fmt: skip
    lines = [
        [
            found["shape"],
            found["title"],
            *(found["config"][name] for name in ("event_lanes", "output_lanes", "time_lanes")),
            f"{found['lanes']:,}",
            f"{found['lut']:,}",
            f"{found['lut_per_lane']:.1f}",
            f"{found['ff']:,}",
            f"{found['bram'] or ''}{' + ' if found['bram'] and found['spram'] else ''}"
            + (f"{found['spram']} SPRAM" if found["spram"] else ""),
            f"{found['fmax_hz'] / 1e6:.1f}",
            f"{found['fmax_worst_hz'] / 1e6:.1f} to {found['fmax_best_hz'] / 1e6:.1f}",
            f"{found['gsops']:.2f}",
            f"{found['gsops_per_klut']:.2f}",
        ]
        for found in rows
    ]
    anchors = [
        [
            anchor.name,
            anchor.device,
            "" if anchor.lut is None else f"{anchor.lut:,}",
            "" if anchor.gsops is None else f"{anchor.gsops:,.2f}",
            "" if anchor.lut is None or anchor.gsops is None else f"{1000 * anchor.gsops / anchor.lut:.2f}",
            anchor.remark,
            anchor.source,
        ]
        for anchor in ANCHORS
    ]
    other = ("system", "device", ">LUT", ">GSOP/s", ">GSOP/s per 1,000 LUT", "", "source")
    networks = (
        "shape",
        "network",
        ">lane use",
        ">dense-equivalent GSOP/s",
        ">GSOP/s of spikes",
        ">spikes a weight read",
    )
    uses = [
        [
            point["shape"],
            point["network"],
            f"{100 * point['lane_use']:.0f} %",
            f"{point['gsops_dense']:.2f}",
            f"{point['gsops_spikes']:.2f}",
            f"{point['spikes_a_weight']:.2f}",
        ]
        for point in table["achieved"]
        if point["reason"] is None
    ]
    reasons = [
        f"`{point['network']}` does not run on {point['shape']}: {point['reason']}."
        for point in table["achieved"]
        if point["reason"] is not None
    ]
    parts = (
        [f"Tools: {', '.join(tools)}."],
        table_lines(columns, lines),
        ["Other systems:"],
        table_lines(other, anchors),
        ["What networks get out of these cores:"],
        table_lines(networks, uses),
        reasons,
    )
    return "\n\n".join("\n".join(part) for part in parts if part)


def with_section(page: str, section: str, text: str) -> str:
    """The page with one section replaced; BoardError if it has not exactly one place for it."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise BoardError(f"the page must have one line '{begin}' and after it one line '{end}'")
    head, rest = page.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def write_section(folder: Path, section: str, text: str, data: str, table: Mapping[str, Any]) -> list[Path]:
    """Puts a section into the page of ``folder`` and its table into the file ``data`` there; returns both.

    Raises BoardError if the page is missing or has no place for the section.
    """
    page = folder / PAGE
    try:
        new = with_section(page.read_text(), section, text)
    except OSError as error:
        raise BoardError(f"{page} cannot be read: {error.strerror}; --docs takes the folder 'docs'") from None
    write_text(page, new)
    write_text(folder / data, json_text(dict(table)))
    return [page, folder / data]
