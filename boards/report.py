"""What a build folder says: size by component, clock, critical path, memory map."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refmodel.errors import BoardError

from .build import BUILD_FORMAT, RECORD, REPORT, is_flip_flop, netlist_cells, read_json

#: Columns of the component table.
KINDS = ("lut", "ff", "bram", "dsp", "spram")

#: LUTs of a cell: a carry pair takes two, 16x4 bits of distributed RAM take four; an iCE40 carry shares a LUT's cell.
_LUTS = {"SB_LUT4": 1, "LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
_OTHERS = {
    "SB_RAM40_4K": "bram",
    "SB_RAM40_4KNR": "bram",
    "SB_RAM40_4KNW": "bram",
    "SB_RAM40_4KNRNW": "bram",
    "DP16KD": "bram",
    "PDPW16KD": "bram",
    "SB_MAC16": "dsp",
    "MULT18X18D": "dsp",
    "SB_SPRAM256KA": "spram",
}


@dataclass(frozen=True)
class PathStep:
    """A stretch of the critical path inside one component: its logic and routing in ns."""

    component: str
    logic_ns: float
    routing_ns: float


@dataclass(frozen=True)
class BuildReport:
    """A build folder, read.

    ``components`` maps a component's place in the hierarchy ("" is the top level) to its own cells, those of the
    components inside it not counted; a LUT belongs to the component whose named signal it is nearest to.
    """

    folder: Path
    board: str
    fmax_hz: float
    target_hz: float
    timing_met: bool
    seed: int
    utilisation: dict[str, dict[str, int]]
    components: dict[str, dict[str, int]]
    critical_path: tuple[PathStep, ...]
    critical_ends: tuple[str, str]
    memory: dict[str, Any] | None
    tools: dict[str, str]

    @property
    def critical_ns(self) -> float:
        return sum(step.logic_ns + step.routing_ns for step in self.critical_path)

    def totals(self) -> dict[str, dict[str, int]]:
        """Cells by component, those of the components inside it counted."""
        result: dict[str, Counter[str]] = defaultdict(Counter)
        for name, cells in self.components.items():
            parts = name.split(".") if name else []
            for depth in range(len(parts) + 1):
                result[".".join(parts[:depth])].update(cells)
        return {name: {kind: result[name][kind] for kind in KINDS} for name in sorted(result)}


def _kind(cell_type: str) -> tuple[str, int] | None:
    if cell_type in _LUTS:
        return "lut", _LUTS[cell_type]
    if is_flip_flop(cell_type):
        return "ff", 1
    if cell_type in _OTHERS:
        return _OTHERS[cell_type], 1
    return None


class _Hierarchy:
    """Finds the component of a cell: flattened cells keep the names of the components they were in."""

    def __init__(self, scopes: Iterable[str]) -> None:
        scopes = frozenset(scopes)
        # Amaranth numbers a component whose name a signal has, too: "scan$124" is "scan" unless there are two.
        plain = {scope: re.sub(r"\$\d+", "", scope) for scope in scopes}
        count = Counter(plain.values())
        self._names = {scope: name if count[name] == 1 else scope for scope, name in plain.items()}

    def component(self, cell: str) -> str:
        parts = cell.split(".")
        for depth in range(len(parts) - 1, 0, -1):
            name = self._names.get(".".join(parts[:depth]))
            if name is not None:
                return name
        return ""


def component_cells(cells: Mapping[str, str]) -> tuple[_Hierarchy, dict[str, dict[str, int]]]:
    """Cells of each component of a flattened netlist (cell name to type)."""
    hierarchy = _Hierarchy(name for name, cell_type in cells.items() if cell_type == "$scopeinfo")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, cell_type in cells.items():
        kind = _kind(cell_type)
        if kind is not None:
            counts[hierarchy.component(name)][kind[0]] += kind[1]
    return hierarchy, {name: {kind: counts[name][kind] for kind in KINDS} for name in sorted(counts)}


def _critical_path(report: dict[str, Any], hierarchy: _Hierarchy) -> tuple[tuple[PathStep, ...], tuple[str, str]]:
    """The slowest path from clock to clock, as stretches in one component each."""
    paths = [
        path
        for path in report.get("critical_paths", [])
        if path["path"] and not path["from"].startswith("<async>") and not path["to"].startswith("<async>")
    ]
    if not paths:
        return (), ("", "")
    path = max(paths, key=lambda candidate: sum(step["delay"] for step in candidate["path"]))["path"]
    steps: list[PathStep] = []
    for step in path:
        component = hierarchy.component(step["to"]["cell"])
        routing = float(step["delay"]) if step["type"] == "routing" else 0.0
        logic = float(step["delay"]) - routing
        if steps and steps[-1].component == component:
            last = steps.pop()
            logic, routing = logic + last.logic_ns, routing + last.routing_ns
        steps.append(PathStep(component, logic, routing))
    return tuple(steps), (path[0]["from"]["cell"], path[-1]["to"]["cell"])


def read_record(folder: str | Path) -> dict[str, Any]:
    """``build.json`` of a finished build; BoardError in one line for anything else."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BoardError(f"{folder} is not a folder: build into it first")
    record = read_json(folder / RECORD, "nothing was built there")
    if record.get("format") != BUILD_FORMAT:
        raise BoardError(f"{folder / RECORD} has format {record.get('format')!r}, not {BUILD_FORMAT}: build again")
    if record.get("status") != "built":
        raise BoardError(f"the build in {folder} failed: {record.get('error', 'it did not finish')}")
    return record


def report(folder: str | Path) -> BuildReport:
    """Reads a build folder; BoardError if it is missing, damaged, or its build failed."""
    folder = Path(folder)
    record = read_record(folder)
    hierarchy, components = component_cells(netlist_cells(folder))
    timing = read_json(folder / REPORT, "place and route did not finish there")
    memory = None
    if (folder / "program.json").exists():
        memory = read_json(folder / "program.json", "compile the network again")
    try:
        path, ends = _critical_path(timing, hierarchy)
        return BuildReport(
            folder=folder,
            board=str(record["board"]),
            fmax_hz=float(record["fmax_hz"]),
            target_hz=float(record["target_hz"]),
            timing_met=bool(record["timing_met"]),
            seed=int(record["seed"]),
            utilisation={
                str(name): {"used": int(entry["used"]), "available": int(entry["available"])}
                for name, entry in record["utilisation"].items()
            },
            components=components,
            critical_path=path,
            critical_ends=ends,
            memory=memory,
            tools={str(name): str(version) for name, version in record["tools"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BoardError(f"{folder} holds a damaged build ({type(error).__name__}: {error}): build again") from None


def _memory_lines(memory: dict[str, Any]) -> list[str]:
    lines = []
    sizes = memory.get("memory", {})
    for name in ("store", "spike", "bank"):
        if f"{name}_words" in sizes and f"{name}_depth" in sizes:
            width = f" of {sizes[f'{name}_width']} bits" if f"{name}_width" in sizes else ""
            lines.append(f"  {name:<6} {sizes[f'{name}_words']:>6} of {sizes[f'{name}_depth']} words{width}")
    for slab in memory.get("slabs", []):
        start = slab["address"]
        lines.append(f"  store  {start:>6} .. {start + slab['words'] - 1:<6} {slab['layer']} group {slab['group']}")
    for name, buffer in memory.get("buffers", {}).items():
        lines.append(f"  spikes {buffer['base']:>6} .. {buffer['base'] + buffer['words'] - 1:<6} {name}")
    return lines


def format_report(built: BuildReport) -> str:
    """The report as text."""
    lines = [f"{built.folder}: {built.board}, seed {built.seed}"]
    lines.append(
        f"clock: {built.fmax_hz / 1e6:.1f} MHz for {built.target_hz / 1e6:g} MHz, "
        + ("met" if built.timing_met else "NOT MET")
    )
    lines.append("")
    lines.append("used on the device:")
    for name, entry in built.utilisation.items():
        if entry["available"]:
            share = entry["used"] / entry["available"]
            lines.append(f"  {name:<6} {entry['used']:>6} of {entry['available']:<6} {share:6.1%}")
    lines.append("")
    totals = built.totals()
    width = max([len("component"), *(len(name) + 2 for name in totals)])
    lines.append(f"{'component':<{width}} " + " ".join(f"{kind:>6}" for kind in KINDS))
    for name, cells in totals.items():
        if any(cells.values()):
            label = "  " * (name.count(".") + 1 if name else 0) + (name.rsplit(".", 1)[-1] or "top")
            lines.append(f"{label:<{width}} " + " ".join(f"{cells[kind]:>6}" for kind in KINDS))
    if built.critical_path:
        lines.append("")
        start, end = built.critical_ends
        lines.append(f"critical path: {built.critical_ns:.1f} ns, from {start} to {end}")
        for step in built.critical_path:
            name = step.component or "top"
            lines.append(f"  {name:<{width}} logic {step.logic_ns:5.1f} ns, routing {step.routing_ns:5.1f} ns")
    if built.memory is not None:
        lines.append("")
        lines.append("memory map:")
        try:
            lines += _memory_lines(built.memory)
        except (KeyError, TypeError, AttributeError):
            raise BoardError(f"{built.folder / 'program.json'} is damaged: compile the network again") from None
    return "\n".join(lines) + "\n"
