"""Measuring whole cores: what is kept is looked up, the rest synthesised, placed and routed, a few at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from refmodel.errors import BoardError, ConfigError, ToolError

from .core_devices import Device
from .core_flow import FORMAT, Design, Flow, Netlist, Placement, design
from .core_results import Results, code_digest
from .core_shapes import Shape
from .sizes import Size

#: Called with what is being done and how far that is, 0 to 1.
Progress = Callable[[str, float | None], None]
Origin = Literal["run", "cache", "table", "missing", "failed"]

#: The results that the source tree holds.
TABLE = Path(__file__).resolve().parents[1] / "docs" / "cores.json"
#: Seeds unless told otherwise; the first is the one whose figures stand for the core.
SEEDS = (1, 2, 3)
#: Figures of a row; null without a result.
FIGURES = (
    "lut", "lut_per_lane", "ff", "bram", "dsp", "spram", "fmax_hz", "fmax_best_hz", "fmax_worst_hz", "seeds", "gsops",
    "gsops_per_klut", "critical_path",
)  # fmt: skip


class Tools(Protocol):
    """What measures; :class:`boards.core_flow.Flow`, or a stand-in."""

    def versions(self, device: Device) -> dict[str, str]: ...
    def synthesise(self, what: Design) -> Netlist: ...
    def place(self, what: Design, netlist: str, seed: int) -> Placement: ...
    def stop(self) -> None: ...


@dataclass
class _Work:
    """A shape on its way: what it has and what it lacks."""

    shape: Shape
    tools: dict[str, str]
    what: Design | None = None
    size: Size | None = None
    placed: dict[int, Placement] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    ran: bool = False


def bench(
    shapes: Sequence[Shape],
    *,
    results: Results,
    seeds: Sequence[int] = SEEDS,
    jobs: int = 2,
    tools: Tools | None = None,
    make: Callable[[Any, Device], Design] = design,
    progress: Progress = lambda step, fraction: None,
) -> list[dict[str, Any]]:
    """A row for each shape, in their order: see :func:`row`.

    What is in ``results`` for the same gateware, tools, device and seed is not made again; every piece is kept as it
    comes, so that an interrupted run goes on where it was.  A shape that cannot be made, synthesised or placed has
    the reason in its row's ``error``.

    jobs: tools at the same time.  Raises ToolError if a tool is missing, ConfigError for bad seeds.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError("seeds must be different whole numbers from 0 on")
    flow = tools or Flow()
    works = [_Work(shape, flow.versions(shape.device)) for shape in shapes]
    left = len(works) * (1 + len(seeds))
    total = max(1, left)
    running: dict[Future[Any], tuple[_Work, int | None]] = {}

    def said(what: str) -> None:
        progress(f"{what}, {left} to go", 1 - left / total)

    def synthesise(what: Design, versions: dict[str, str]) -> Netlist:
        made = flow.synthesise(what)
        results.keep_netlist(what.source, versions, made)
        return made

    def place(what: Design, versions: dict[str, str], netlist: str, seed: int) -> Placement:
        made = flow.place(what, netlist, seed)
        results.keep_placement(what.source, versions, made)
        return made

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:

        def place_all(work: _Work, netlist: Netlist) -> None:
            assert work.what is not None
            for seed in seeds:
                if seed not in work.placed:
                    running[pool.submit(place, work.what, work.tools, netlist.text, seed)] = (work, seed)

        try:
            for work in works:
                said(f"elaborating {work.shape.name}")
                try:
                    work.what = make(work.shape.config, work.shape.device)
                except ConfigError as error:
                    work.errors.append(str(error))
                    left -= 1 + len(seeds)
                    continue
                source = work.what.source
                work.size = results.size(source, work.tools)
                for seed in seeds:
                    found = results.placement(source, work.tools, seed)
                    if found is not None:
                        work.placed[seed] = found
                left -= len(work.placed)
                netlist = results.netlist(source, work.tools)
                if work.size is not None and (len(work.placed) == len(seeds) or netlist is not None):
                    left -= 1
                    if netlist is not None:
                        place_all(work, netlist)
                else:
                    running[pool.submit(synthesise, work.what, work.tools)] = (work, None)
            while running:
                work, seed = next(iter(running.values()))
                said(
                    f"synthesising {work.shape.name}"
                    if seed is None
                    else f"placing and routing {work.shape.name}, seed {seed}"
                )
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    work, seed = running.pop(future)
                    left -= 1
                    try:
                        made = future.result()
                    except ToolError as error:
                        work.errors.append(str(error) if seed is None else f"seed {seed}: {error}")
                        left -= len(seeds) - len(work.placed) if seed is None else 0
                        continue
                    work.ran = True
                    if isinstance(made, Netlist):
                        work.size = made.size
                        place_all(work, made)
                    else:
                        work.placed[made.seed] = made
        finally:  # interrupted: nobody waits for what still runs
            if running:
                flow.stop()
            for future in running:
                future.cancel()

    rows = []
    for work in works:
        made = row(work.shape, work.size, [work.placed[seed] for seed in seeds if seed in work.placed])
        made |= {
            "code": code_digest(work.shape),
            "tools": work.tools,
            "source": work.what.source if work.what else None,
        }
        if not work.errors and work.what is not None:
            results.forget_netlist(work.what.source, work.tools)
            results.keep_last(made)
        origin: Origin = "failed" if work.errors else "run" if work.ran else "cache"
        rows.append(made | {"origin": origin, "fresh": True, "error": "; ".join(work.errors) or None})
    return rows


def row(shape: Shape, size: Size | None, placed: Sequence[Placement]) -> dict[str, Any]:
    """A shape's figures.

    lut: logic cells of the core alone after packing (:class:`boards.sizes.Size`).  fmax_hz: of the first seed;
    fmax_best_hz, fmax_worst_hz: over all of them; gsops: lanes x fmax_hz / 10^9, the peak; gsops_per_klut: of that,
    for 1,000 lut.
    """
    config, device = shape.config, shape.device
    made: dict[str, Any] = {
        "device": device.name,
        "title": device.title,
        "family": device.family,
        "shape": shape.name,
        "lanes": config.lanes,
        **dict.fromkeys(FIGURES),
        "config": asdict(config),
    }
    if size is not None:
        made |= {name: getattr(size, name) for name in ("ff", "bram", "dsp", "spram")}
        made |= {"lut": size.cells, "lut_per_lane": round(size.cells / config.lanes, 2)}
    if placed:
        clocks = [placement.fmax_hz for placement in placed]
        gsops = config.lanes * clocks[0] / 1e9
        made |= {
            "fmax_hz": round(clocks[0]),
            "fmax_best_hz": round(max(clocks)),
            "fmax_worst_hz": round(min(clocks)),
            "seeds": [{"seed": placement.seed, "fmax_hz": round(placement.fmax_hz)} for placement in placed],
            "gsops": round(gsops, 3),
            "gsops_per_klut": round(1000 * gsops / size.cells, 3) if size is not None else None,
            "critical_path": list(placed[0].path),
        }
    return made


def known(shapes: Sequence[Shape], *, results: Results, table: Path = TABLE) -> list[dict[str, Any]]:
    """The last results of shapes, without building, elaborating or looking for tools.

    First what the user's cache has of the code as it is now (``fresh``), then the table of the source tree, then
    older results of the cache.  Raises BoardError for a damaged table.
    """
    written = {found["shape"]: found for found in read_table(table)["rows"]} if table.exists() else {}
    rows = []
    for shape in shapes:
        code = code_digest(shape)
        cached, tabled = results.last(shape.name), written.get(shape.name)
        found, origin = (cached, "cache") if cached is not None and cached.get("code") == code else (tabled, "table")
        if found is None:
            found, origin = (cached, "cache") if cached is not None else (row(shape, None, ()), "missing")
        rows.append({**found, "origin": origin, "fresh": found.get("code") == code, "error": None})
    return rows


def read_table(path: Path = TABLE) -> dict[str, Any]:
    """A written table; BoardError if it is missing or damaged."""
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(table, dict) or table.get("format") != FORMAT or not isinstance(table.get("rows"), list):
        raise BoardError(f"{path} is no table of cores of format {FORMAT}: write it again")
    return table


def table_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the source tree's table holds; ToolError if a row has no figures."""
    for found in rows:
        if found["error"] or any(found[name] is None for name in ("lut", "fmax_hz")):
            raise ToolError(
                f"{found['shape']} has no figures ({found['error'] or 'not measured'}): no table is written"
            )
    kept = [{key: value for key, value in found.items() if key not in ("origin", "fresh", "error")} for found in rows]
    return {"format": FORMAT, "rows": kept}
