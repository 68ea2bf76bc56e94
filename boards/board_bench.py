"""Building every board's own design: what is kept by content is looked up, the rest built, a few at a time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refmodel.errors import BoardError, SkipspikeError, ToolError

from .bench_table import json_text, table_lines
from .build import NEXTPNR_OPTIONS, BuildResult, build, generated, synthesis
from .core_results import own_code
from .core_table import with_section
from .files import write_text
from .registry import Board
from .sizes import cache_folder
from .tools import FLOW_TOOLS, find_tools
from .top import BoardTop

#: Called with what is being done and how far that is, 0 to 1.
Progress = Callable[[str, float | None], None]
#: Builds a board's own design with one seed; :func:`build_one`, or a stand-in.
Builder = Callable[[Board, int], BuildResult]

FORMAT = 1
SECTION, PAGE, DATA = "boards", "boards.md", "boards.json"
#: The results that the source tree holds.
TABLE = Path(__file__).resolve().parents[1] / "docs" / DATA
#: Figures of a row; null without a result.
FIGURES = ("lut", "ff", "bram", "dsp", "spram", "fmax_hz", "met", "seed", "sha256")
#: Code that decides what a board's design is and how it is built.
_CODE = (
    "rtl_gen/*.py", "refmodel/*config.py", "refmodel/*layout.py", "boards/boot.py", "boards/build.py",
    "boards/bram_registers.py", "boards/carries.py", "boards/flash_image.py", "boards/link/*.py", "boards/memories.py",
    "boards/netlists.py", "boards/pll.py", "boards/steps.py", "boards/top.py", "boards/uart.py",
)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """Rows in one folder, by content and, the last of each board, by name; a damaged file is none."""

    folder: Path

    def get(self, name: str) -> dict[str, Any] | None:
        try:
            row = json.loads((self.folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and set(FIGURES) <= set(row) else None

    def put(self, name: str, row: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"{name}.json", json.dumps(row, indent=1, sort_keys=True) + "\n")


def results_folder() -> Path:
    """Where results are kept unless told otherwise: ``skipspike/boards`` in the user's cache."""
    return cache_folder().with_name("boards")


def code_digest(board: Board) -> str:
    """Digest of a board's entry and of the code that makes its design: whether a kept row is of what there is now."""
    others = ("platform", "programmers", "usual", "title", "core_brams")
    entry = {name: value for name, value in asdict(board).items() if name not in others}
    parts = (json.dumps(entry, sort_keys=True), own_code(_CODE))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def source_digest(board: Board) -> str:
    """Digest of everything that the tools are given for a board's own design, but for the seed."""
    files = generated(board, BoardTop(board))
    place = (board.device, board.package, board.speed, NEXTPNR_OPTIONS[board.family], board.pack_options)
    return hashlib.sha256(repr((sorted(files.items()), synthesis(board), place)).encode()).hexdigest()


def build_one(board: Board, seed: int, timeout: float | None = None) -> BuildResult:
    """Builds a board's own design in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="skipspike-") as folder:
        return build(board, out_dir=folder, seed=seed, step_timeout=timeout)


def bench(
    boards: Sequence[Board],
    *,
    kept: Kept,
    seeds: int = 3,
    jobs: int = 1,
    builder: Builder = build_one,
    source: Callable[[Board], str] = source_digest,
    versions: Callable[[Board], dict[str, str]] | None = None,
    progress: Progress = lambda step, fraction: None,
) -> list[dict[str, Any]]:
    """A row for each board, in their order: see :func:`row`.

    The same gateware for the same tools is not built again; each row is kept as it comes.  A design that misses its
    clock is tried with the seeds 2 to ``seeds``; if none meets it, the row is of the fastest.  A board whose design
    cannot be built has the reason in its row's ``error``.

    jobs: builds at the same time.  Raises ToolError if a tool is missing.
    """
    tools = {board.name: (versions or _versions)(board) for board in boards}
    rows: dict[str, dict[str, Any]] = {}

    def one(board: Board) -> dict[str, Any]:
        digest = source(board)
        name = hashlib.sha256(json.dumps([digest, sorted(tools[board.name].items())]).encode()).hexdigest()[:32]
        found = kept.get(name)
        if found is not None and (found["met"] or found["tried"] >= seeds):
            return found | {"code": code_digest(board), "origin": "cache"}
        best: BuildResult | None = None
        tried = 0
        for tried in range(1, seeds + 1):
            made = builder(board, tried)
            if best is None or made.fmax_hz > best.fmax_hz:
                best = made
            if made.timing_met:
                break
        assert best is not None
        done = row(board, best) | {"source": digest, "tools": tools[board.name], "tried": tried}
        kept.put(name, done)
        return done | {"code": code_digest(board), "origin": "run"}

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        running: dict[Future[dict[str, Any]], Board] = {pool.submit(one, board): board for board in boards}
        try:
            while running:
                names = ", ".join(board.name for board in list(running.values())[:jobs])
                progress(f"building {names}, {len(running)} to go", 1 - len(running) / len(boards))
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    board = running.pop(future)
                    try:
                        made, reason = future.result(), None
                        kept.put(f"last-{board.name}", made)
                    except SkipspikeError as error:
                        made, reason = row(board, None) | {"origin": "failed"}, str(error)
                    rows[board.name] = made | {"fresh": True, "error": reason}
        finally:
            for future in running:
                future.cancel()
    return [rows[board.name] for board in boards]


def _versions(board: Board) -> dict[str, str]:
    return {name: tool.version for name, tool in find_tools(FLOW_TOOLS[board.family]).items()}


def row(board: Board, made: BuildResult | None) -> dict[str, Any]:
    """A board's figures; ``lut`` to ``spram`` of the whole design, ``luts`` and ``brams`` of the device."""
    found: dict[str, Any] = {
        "board": board.name,
        "title": board.title,
        "family": board.family,
        "device": board.device,
        "lanes": board.core.lanes,
        "clock_hz": board.clock_hz,
        "luts": board.luts,
        "brams": board.brams,
        **dict.fromkeys(FIGURES),
        "source": None,
        "code": None,
        "tools": {},
        "tried": 0,
    }
    if made is not None:
        found |= {name: made.utilisation[name]["used"] for name in ("lut", "ff", "bram", "dsp", "spram")}
        found |= {"fmax_hz": round(made.fmax_hz), "met": made.timing_met, "seed": made.seed, "sha256": made.sha256}
    return found


def known(boards: Sequence[Board], *, kept: Kept, table: Path = TABLE) -> list[dict[str, Any]]:
    """The last results of boards, without building: fresh ones of the cache, else of the source tree, else older ones.

    Raises BoardError for a damaged table.
    """
    written = {found["board"]: found for found in read_table(table)["rows"]} if table.exists() else {}
    rows = []
    for board in boards:
        code = code_digest(board)
        cached, tabled = kept.get(f"last-{board.name}"), written.get(board.name)
        found, origin = (cached, "cache") if cached is not None and cached.get("code") == code else (tabled, "table")
        if found is None:
            found, origin = (cached, "cache") if cached is not None else (row(board, None), "missing")
        rows.append({**found, "origin": origin, "fresh": found.get("code") == code, "error": None})
    return rows


def read_table(path: Path = TABLE) -> dict[str, Any]:
    """A written table; BoardError if it is missing or damaged."""
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(table, dict) or table.get("format") != FORMAT or not isinstance(table.get("rows"), list):
        raise BoardError(f"{path} is no table of boards of format {FORMAT}: write it again")
    return table


def write_docs(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """The table in the page ``boards.md`` of ``folder``, and ``boards.json``; ToolError if a row has no figures."""
    for found in rows:
        if found["error"] or found["fmax_hz"] is None:
            raise ToolError(f"{found['board']} has no figures ({found['error'] or 'not built'}): no table is written")
    kept = [{key: value for key, value in found.items() if key not in ("origin", "fresh", "error")} for found in rows]
    page = folder / PAGE
    try:
        text = with_section(page.read_text(), SECTION, markdown(kept))
    except OSError as error:
        raise BoardError(f"{page} cannot be read: {error.strerror}; --docs takes the folder 'docs'") from None
    write_text(page, text)
    write_text(folder / DATA, json_text({"format": FORMAT, "rows": kept}))
    return [page, folder / DATA]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The boards as a table, and the tools."""
    columns = ("board", "", ">lanes", ">LUT", ">of", ">block RAM", ">of", ">clock, MHz", ">Fmax, MHz", ">seed", "met")
    lines = [
        [
            f"`{found['board']}`",
            found["title"],
            found["lanes"],
            f"{found['lut']:,}",
            f"{found['luts']:,}",
            f"{found['bram']}" + (f" + {found['spram']} SPRAM" if found["spram"] else ""),
            found["brams"],
            f"{found['clock_hz'] / 1e6:g}",
            f"{found['fmax_hz'] / 1e6:.1f}",
            found["seed"],
            "yes" if found["met"] else "no",
        ]
        for found in rows
    ]
    tools = sorted({f"{name} {version}" for found in rows for name, version in found["tools"].items()})
    return "\n".join([*table_lines(columns, lines), "", f"Tools: {', '.join(tools)}."])
