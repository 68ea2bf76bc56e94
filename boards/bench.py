"""Measuring every part: what is kept is looked up, the rest synthesised, a few at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from refmodel.errors import BoardError, ConfigError, ToolError
from rtl_gen.catalogue import component_names

from .bench_parts import Difference, Part, differences, parts
from .sizes import (
    FAMILIES,
    FIGURES,
    FORMAT,
    Cache,
    Family,
    Size,
    Subject,
    ToolRunner,
    subject,
    synthesise,
    tool_versions,
)
from .tools import Kind

#: Called with what is being done and how far that is, 0 to 1.
Progress = Callable[[str, float | None], None]
#: Makes the size of a subject; raises ToolError.
Measure = Callable[[Subject], Size]

#: The results that the source tree holds.
TABLE = Path(__file__).resolve().parents[1] / "docs" / "components.json"


@dataclass(frozen=True)
class Measured:
    """A part's size, or why there is none.

    origin: "run" just synthesised, "cache" kept from before, "table" of the source tree's table, "missing" not to
    be synthesised, "failed" with the tool's ``error``.
    """

    part: Part
    source: str
    size: Size | None
    origin: Literal["run", "cache", "table", "missing", "failed"]
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """The part and its figures as a table of the source tree keeps them; figures are null without a size."""
        figures = asdict(self.size) if self.size is not None else dict.fromkeys(FIGURES)
        return {
            "component": self.part.component,
            "parameters": self.part.parameters,
            "settings": dict(self.part.settings),
            "family": self.part.family,
            "source": self.source,
            **figures,
        }


@dataclass(frozen=True)
class Bench:
    """Sizes of parts and, from pairs of them, what features cost; ``tools``: versions by name."""

    measured: tuple[Measured, ...]
    pairs: tuple[tuple[Difference, Measured, Measured], ...]
    tools: dict[str, str]

    @property
    def all_measured(self) -> tuple[Measured, ...]:
        """Every part that was looked at, once."""
        every = [*self.measured, *(half for _, whole, without in self.pairs for half in (whole, without))]
        return tuple({(m.part.component, m.part.parameters, m.part.family): m for m in every}.values())

    @property
    def failed(self) -> tuple[Measured, ...]:
        return tuple(m for m in self.all_measured if m.origin == "failed")

    def difference_rows(self) -> list[dict[str, Any]]:
        """What each feature takes more; null where a half has no size."""
        return [_difference_row(*pair) for pair in self.pairs]


def _difference_row(difference: Difference, whole: Measured, without: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {
        "feature": difference.feature,
        "component": difference.whole.component,
        "family": difference.whole.family,
        "parameters": difference.whole.parameters.split(",")[0],
        "units": difference.units,
        "channels": difference.channels,
        "lanes": difference.lanes,
    }
    if whole.size is None or without.size is None:
        return row | {name: None for name in ("whole", "without", "more", "per_lane", "per_channel", "per_unit")}
    more = whole.size - without.size
    return row | {
        "whole": asdict(whole.size),
        "without": asdict(without.size),
        "more": asdict(more),
        "per_lane": round(more.logic / difference.lanes, 3),
        "per_channel": round(more.logic / difference.channels, 3),
        "per_unit": round(more.logic / difference.units, 3) if difference.units else None,
    }


def read_table(path: Path = TABLE) -> dict[str, Any]:
    """A written table; BoardError if it is missing or damaged."""
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise BoardError(f"{path} is no table of component sizes of format {FORMAT}: write it again")
    return table


def _known(path: Path) -> dict[str, Size]:
    """Sizes of a written table by source; nothing where there is no table, as in an installed package."""
    if not path.exists():
        return {}
    sizes = {}
    for row in [*read_table(path)["rows"], *read_table(path)["halves"]]:
        if all(row.get(name) is not None for name in FIGURES):
            sizes[row["source"]] = Size(**{name: row[name] for name in FIGURES})
    return sizes


def bench(
    component: str | None = None,
    families: Sequence[Family] = FAMILIES,
    *,
    cache: Cache,
    cached_only: bool = False,
    jobs: int = 2,
    timeout: float = 300.0,
    tools: Kind = "yowasp",
    table: Path = TABLE,
    measure: Measure | None = None,
    progress: Progress = lambda step, fraction: None,
) -> Bench:
    """Measure ``component``, or all of them, for each family.

    Results are kept in ``cache`` as they come, so that an interrupted run goes on where it was; a part is
    synthesised again when its gateware or a tool has changed.  With ``cached_only`` nothing is synthesised, and no
    tool needs to be there: what is in the cache or, for the same gateware, in ``table`` is shown.

    jobs: syntheses at the same time.  timeout: seconds for a tool.  A part whose synthesis fails has no size.
    measure: instead of the tools (tests).

    Raises ConfigError for an unknown component, ToolError if the tools are missing.
    """
    if component is not None and component not in component_names():
        raise ConfigError(f"no component '{component}'; there are {', '.join(component_names())}")
    wanted = parts(component, tuple(families))
    pairs = differences(component, tuple(families))
    every = {_name(part): part for part in (*wanted, *(half for d in pairs for half in (d.whole, d.without)))}

    versions: dict[Family, dict[str, str]] = {}
    for family in families:
        try:
            versions[family] = tool_versions(family, tools)
        except ToolError:
            if not cached_only:
                raise
            versions[family] = {}

    found: dict[str, Measured] = {}
    known = _known(table) if cached_only else {}
    waiting: dict[str, list[str]] = {}  # by source: parts that come to the same gateware
    subjects: dict[str, Subject] = {}
    for number, (name, part) in enumerate(every.items()):
        progress(f"elaborating {part.component}", number / len(every))
        what = subject(part.make(), part.family)
        size = cache.get(what, versions[part.family])
        if size is not None:
            found[name] = Measured(part, what.source, size, "cache")
        elif cached_only:
            size = known.get(what.source)
            found[name] = Measured(part, what.source, size, "missing" if size is None else "table")
        else:
            waiting.setdefault(what.source, []).append(name)
            subjects[what.source] = what

    runner = ToolRunner()

    def run(what: Subject) -> Size:
        size = measure(what) if measure else synthesise(what, tools, timeout=timeout, run=runner)
        cache.put(what, versions[what.family], size)
        return size

    examples = {source: every[names[0]] for source, names in waiting.items()}
    for source, result in _results(subjects, run, runner, jobs, progress, examples):
        for name in waiting[source]:
            if isinstance(result, Size):
                found[name] = Measured(every[name], source, result, "run")
            else:
                found[name] = Measured(every[name], source, None, "failed", str(result))
    return Bench(
        measured=tuple(found[_name(part)] for part in wanted),
        pairs=tuple((d, found[_name(d.whole)], found[_name(d.without)]) for d in pairs),
        tools=dict(sorted(pair for family in families for pair in versions[family].items())),
    )


def _name(part: Part) -> str:
    return f"{part.component}, {part.parameters}, {part.family}"


def _results(
    subjects: Mapping[str, Subject],
    run: Measure,
    runner: ToolRunner,
    jobs: int,
    progress: Progress,
    examples: Mapping[str, Part],
) -> Iterator[tuple[str, Size | ToolError]]:
    """Sources and their sizes, or what went wrong, as they come; ``examples``: a part of each source."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        running: dict[Future[Size], str] = {pool.submit(run, what): source for source, what in subjects.items()}
        try:
            while running:
                left = len(running)
                part = examples[next(iter(running.values()))]
                share = 1 - left / len(subjects)
                progress(f"synthesising {part.component} for {part.family}, {left} to go", share)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    source = running.pop(future)
                    try:
                        yield source, future.result()
                    except ToolError as error:
                        yield source, error
        finally:  # interrupted: nobody waits for what still runs
            if running:
                runner.stop()
            for future in running:
                future.cancel()


def table_of(result: Bench) -> dict[str, Any]:
    """What the source tree's table holds: rows of parts, halves of differences, differences, tools.

    Raises ToolError if a part has no size.
    """
    for m in result.all_measured:
        if m.size is None:
            raise ToolError(f"{_name(m.part)} has no size ({m.error or 'not measured'}): the table is not written")
    listed = {id(m.part) for m in result.measured}
    return {
        "format": FORMAT,
        "tools": result.tools,
        "rows": [m.row() for m in result.measured],
        "halves": [m.row() for m in result.all_measured if id(m.part) not in listed],
        "differences": result.difference_rows(),
    }
