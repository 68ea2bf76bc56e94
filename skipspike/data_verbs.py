"""The verb ``data``: data sets by name, and what a data set or file holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .console import show, table
from .progress import Progress, silent


def data(name: str | None = None, *, progress: Progress = silent) -> dict[str, Any]:
    """The data sets that have names, or what one of them, or a file, holds.

    Without a name: ``folder``, where fetched ones are kept, and ``sets``: ``name``, ``title``, ``samples`` of each
    part, ``shape`` (C, H, W), ``download`` (bytes to fetch, 0 for what travels in the repository), ``url``, ``source``,
    ``licence`` and ``at_hand``, the folder that holds it, null if it has to be fetched.  With one, which is fetched if
    need be: ``samples``, ``shape`` of a sample, ``values`` (smallest, largest), ``classes``, the number of samples of
    each, and ``unlabelled``, those without.  Raises DataError.
    """
    from refmodel import datasets
    from refmodel.datasets.fetch import at_hand, cache_folder

    if name is None:
        sets = [_entry(one, at_hand(one)) for one in datasets.FETCHED.values()]
        return {"folder": str(cache_folder()), "sets": [_DIGITS, *sets]}
    import numpy as np

    x, y = datasets.load_data(name, progress)
    return {
        "name": name,
        "samples": len(x),
        "shape": list(x.shape[1:]),
        "values": [int(x.min()), int(x.max())],
        "classes": np.bincount(y[y >= 0]).tolist(),
        "unlabelled": int((y < 0).sum()),
    }


_DIGITS: dict[str, Any] = {
    "name": "digits",
    "title": "handwritten digits",
    "samples": {"test": 360},
    "shape": [1, 8, 8],
    "download": 0,
    "url": None,
    "source": "UCI, Optical Recognition of Handwritten Digits",
    "licence": "CC BY 4.0",
    "at_hand": "the repository",
}


def _entry(one: Any, folder: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "samples": dict(one.samples),
        "shape": list(one.shape),
        "download": one.size,
        "url": one.url,
        "source": one.source,
        "licence": one.licence,
        "at_hand": None if folder is None else str(folder),
    }


def _view(result: dict[str, Any]) -> None:
    if "sets" not in result:
        axes = "x".join(map(str, result["shape"]))
        low, high = result["values"]
        rows = table(">class", ">samples")
        for number, count in enumerate(result["classes"]):
            rows.add_row(str(number), str(count))
        if result["unlabelled"]:
            rows.add_row("none", str(result["unlabelled"]))
        show(rows, "", f"{result['name']}: {result['samples']} samples {axes}, values {low} to {high}")
        return
    rows = table("data", ">samples", "shape", ">download", "licence", "at hand", "source")
    for one in result["sets"]:
        for part, count in one["samples"].items():
            rows.add_row(
                one["name"] if part == "test" else f"{one['name']}:{part}",
                str(count),
                "x".join(map(str, one["shape"])),
                f"{one['download'] / 1e6:.1f} MB" if one["download"] else "-",
                one["licence"],
                "yes" if one["at_hand"] else "no",
                one["source"],
            )
    show(rows, "", f"fetched ones are kept in {result['folder']}; a part comes with its set")


def mount(app: typer.Typer, finish: Callable[..., None]) -> None:
    """Add the verb to the command line; ``finish`` does the work, prints and ends with the exit code."""

    @app.command("data")
    def show_data(
        name: Annotated[
            str | None,
            typer.Argument(metavar="[DATA]", help="A data set, which is fetched if need be, or a file of one."),
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
        ] = False,
    ) -> None:
        """List data sets, or fetch and show one."""
        finish(lambda progress: data(name, progress=progress), _view, as_json)
