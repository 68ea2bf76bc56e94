"""The measured sizes as Markdown, between two marks of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refmodel.errors import BoardError

from .files import write_text

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
#: A page and, beside it, the same figures for programs.
PAGE, DATA = "components.md", "components.json"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table; columns whose name begins with ">" are right-aligned."""
    marks = ["---:" if column.startswith(">") else "---" for column in columns]
    lines = [[column.lstrip(">") for column in columns], marks, *([str(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def markdown(table: dict[str, Any]) -> str:
    """The section of figures: tools, a table of components, a table of differences."""
    tools = ", ".join(f"{name} {version}" for name, version in table["tools"].items())
    columns = ("component", "parameters", "family", ">cells", ">LUT", ">of it RAM", ">carry", ">FF", ">BRAM", ">DSP")
    rows = [
        [
            row["component"],
            row["parameters"],
            row["family"],
            row["cells"],
            row["lut"],
            row["ram"] or "",
            row["carry"] or "",
            row["ff"] or "",
            f"{row['bram'] or ''}{' + ' if row['bram'] and row['spram'] else ''}"
            + (f"{row['spram']} SPRAM" if row["spram"] else ""),
            row["dsp"] or "",
        ]
        for row in table["rows"]
    ]
    lines = [f"Tools: {tools}.", "", "### Sizes", "", *table_lines(columns, rows), "", "### Differences", ""]
    columns = (
        "feature",
        "in",
        "family",
        ">LUT with",
        ">without",
        ">logic LUT",
        ">RAM LUT",
        ">FF",
        ">BRAM",
        ">lanes",
        ">LUT a lane",
        ">a channel",
        ">a unit",
    )
    rows = [
        [
            row["feature"],
            row["component"],
            row["family"],
            row["whole"]["lut"],
            row["without"]["lut"],
            row["more"]["lut"] - row["more"]["ram"],
            row["more"]["ram"] or "",
            row["more"]["ff"] or "",
            row["more"]["bram"] or "",
            row["lanes"],
            _ratio(row["per_lane"]),
            _ratio(row["per_channel"]),
            _ratio(row["per_unit"]),
        ]
        for row in table["differences"]
    ]
    return "\n".join([*lines, *table_lines(columns, rows)])


def with_figures(page: str, table: dict[str, Any]) -> str:
    """The page with its figures replaced; BoardError if it has not exactly one place for them."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise BoardError(f"the page must have one line '{BEGIN}' and after it one line '{END}'")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{markdown(table)}\n{END}{rest.split(END)[1]}"


def json_text(table: dict[str, Any]) -> str:
    """JSON with a line for each row."""
    parts = []
    for key, value in sorted(table.items()):
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, sort_keys=True)}" for row in value)
            parts.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write_figures(folder: Path, table: dict[str, Any]) -> list[Path]:
    """Puts a table into ``components.md`` and ``components.json`` of ``folder``; returns both.

    Raises BoardError if the page is missing or has no place for figures.
    """
    page = folder / PAGE
    try:
        text = with_figures(page.read_text(), table)
    except OSError as error:
        raise BoardError(f"{page} cannot be read: {error.strerror}; --docs takes the folder 'docs'") from None
    write_text(page, text)
    write_text(folder / DATA, json_text(table))
    return [page, folder / DATA]
