"""The size of one piece of gateware: synthesis and packing without placement, each result kept by its content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from amaranth.back import rtlil

from refmodel.errors import ToolError

from .build import SYNTHESIS
from .files import write_text
from .netlists import finish_netlist, mark_collision_free
from .registry import get_board
from .report import component_cells
from .tools import Kind, find_tools

Family = Literal["ice40", "ecp5"]
FAMILIES: tuple[Family, ...] = ("ice40", "ecp5")

#: Changes when results are no longer comparable with older ones.
FORMAT = 1
#: Boards whose platforms choose the vendor's forms of a component.
_PLATFORMS: dict[Family, str] = {"ice40": "icebreaker", "ecp5": "ulx3s_85f"}
_TOOLS: dict[Family, tuple[str, str]] = {"ice40": ("yosys", "nextpnr-ice40"), "ecp5": ("yosys", "nextpnr-ecp5")}
_PACK: dict[Family, tuple[str, ...]] = {
    "ice40": ("--up5k", "--package", "sg48"),
    "ecp5": ("--85k", "--package", "CABGA381", "--speed", "6"),
}
#: What nextpnr calls the cells that logic is packed into.
_CELLS: dict[Family, str] = {"ice40": "ICESTORM_LC", "ecp5": "TRELLIS_COMB"}
#: What goes before synthesis: flattened, with nets in single bits; if the tool gives up, otherwise. Yosys' ABC in
#: WebAssembly ends without a word on some netlists, which the order of nets decides.
RECIPES = ("proc; flatten; opt_clean; splitnets", "proc; flatten; opt_clean", "")


@dataclass(frozen=True)
class Size:
    """What a piece of gateware takes.

    cells: logic cells after packing (nextpnr, not placed): iCE40 a LUT with its carry and flip-flop; ECP5 LUTs,
        those of carry chains (with their ends) and distributed RAM included.
    lut: LUTs after synthesis, carry and ``ram`` included.  ram: LUTs used as distributed RAM.  carry: bits of
        carry chains.  ff, bram, dsp, spram: flip-flops, block RAMs, multipliers, SPRAM blocks.
    """

    cells: int
    lut: int
    ram: int
    carry: int
    ff: int
    bram: int
    dsp: int
    spram: int

    def __sub__(self, other: Size) -> Size:
        """What ``self`` takes more."""
        return Size(**{name: value - asdict(other)[name] for name, value in asdict(self).items()})

    @property
    def logic(self) -> int:
        """LUTs that are not distributed RAM."""
        return self.lut - self.ram


#: Names of a size's figures, in the order of tables.
FIGURES = tuple(field.name for field in fields(Size))


@dataclass(frozen=True)
class Subject:
    """Gateware to be synthesised for one family: ``il`` (RTLIL, top module "top")."""

    il: str
    family: Family

    @property
    def source(self) -> str:
        """Digest of the gateware and of what is done with it; tools do not enter."""
        finish = ("registers, carries",) if self.family == "ecp5" else ()  # netlists.finish_netlist
        parts = (str(FORMAT), *finish, self.family, *RECIPES, SYNTHESIS[self.family], *_PACK[self.family], self.il)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def subject(component: Any, family: Family) -> Subject:
    """The gateware of a component as the family's flow takes it."""
    platform = get_board(_PLATFORMS[family]).platform()
    text = rtlil.convert(component, name="top", platform=platform, emit_src=False)
    return Subject(mark_collision_free(text), family)


def tool_versions(family: Family, kind: Kind = "yowasp") -> dict[str, str]:
    """Versions of the tools that measure; ToolError if one is missing."""
    return {name: tool.version for name, tool in find_tools(_TOOLS[family], kind).items()}


def cache_folder() -> Path:
    """Where results are kept unless told otherwise: ``skipspike/sizes`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "skipspike" / "sizes"


@dataclass(frozen=True)
class Cache:
    """Results by content: one small JSON file for each gateware, family and versions of the tools."""

    folder: Path

    def _path(self, what: Subject, tools: Mapping[str, str]) -> Path:
        key = json.dumps([what.source, sorted(tools.items())])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def get(self, what: Subject, tools: Mapping[str, str]) -> Size | None:
        """A kept result; a file that is missing or damaged is no result."""
        try:
            return Size(**json.loads(self._path(what, tools).read_text())["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, what: Subject, tools: Mapping[str, str], size: Size) -> None:
        """Keep a result; OSError if the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"source": what.source, "family": what.family, "tools": dict(tools), "size": asdict(size)}
        write_text(self._path(what, tools), json.dumps(record, indent=1, sort_keys=True) + "\n")


class ToolTimeout(ToolError):
    """A tool took longer than it was given."""


#: Runs one command in a folder, for at most so many seconds, and returns its output; ToolError if it fails.
Runner = Callable[[list[str], Path, float], str]


class ToolRunner:
    """Runs tools, from several threads if need be, and can end those that run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, command: list[str], folder: Path, timeout: float) -> str:
        """Runs one command with relative paths: YoWASP tools see a sandboxed file system."""
        name = Path(command[0]).name
        if self._stopped:
            raise ToolError(f"{name} was not started any more")
        try:
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            raise ToolError(f"{name} could not be started: {error.strerror}") from None
        self._running.add(process)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ToolTimeout(f"{name} took longer than {timeout:g} s; allow more time") from None
        finally:
            self._running.discard(process)
            process.kill()
            process.wait()
        text = output.decode(errors="replace")
        if process.returncode:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            errors = [line for line in lines if "ERROR" in line]
            raise ToolError(f"{name}: {(errors or lines or ['it wrote nothing'])[-1]}")
        return text

    def stop(self) -> None:
        """Ends what runs and starts nothing more."""
        self._stopped = True
        for process in list(self._running):
            process.kill()


def try_recipes(attempt: Callable[[str], None]) -> None:
    """Calls ``attempt`` with one of ``RECIPES`` after the other until one works.

    Raises ToolTimeout at once, else the first recipe's ToolError if none does.
    """
    problem: ToolError | None = None
    for recipe in RECIPES:
        try:
            attempt(recipe)
            return
        except ToolTimeout:
            raise
        except ToolError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def synthesise(what: Subject, kind: Kind = "yowasp", *, timeout: float = 300.0, run: Runner | None = None) -> Size:
    """Synthesis and packing, each at most ``timeout`` s.  Raises ToolError."""
    run = run or ToolRunner()
    yosys, nextpnr = find_tools(_TOOLS[what.family], kind).values()
    with tempfile.TemporaryDirectory(prefix="skipspike-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(what.il)

        def attempt(recipe: str) -> None:
            steps = ["read_rtlil top.il", "hierarchy -top top", recipe, f"{SYNTHESIS[what.family]} -top top"]
            script = "\n".join([*(step for step in steps if step), "write_json top.json"])
            (folder / "synth.ys").write_text(script + "\n")
            run([yosys.executable, "-q", "-s", "synth.ys"], folder, timeout)

        try_recipes(attempt)
        netlist = finish_netlist(folder / "top.json")
        log = run(
            [nextpnr.executable, *_PACK[what.family], "--json", "top.json", "--pack-only"],
            folder,
            timeout,
        )
    return count(netlist, log, what.family)


def count(netlist: dict[str, Any], pack_log: str, family: Family, top: str = "top") -> Size:
    """Size from Yosys' JSON netlist and nextpnr's log.  Raises ToolError if one has not what is expected."""
    try:
        cells = {name: cell["type"] for name, cell in netlist["modules"][top]["cells"].items()}
    except (KeyError, TypeError, AttributeError):
        raise ToolError(f"yosys wrote no netlist of a module '{top}'") from None
    found = re.search(rf"{_CELLS[family]}:\s*(\d+)/", pack_log)
    if found is None:
        raise ToolError(f"nextpnr did not say how many {_CELLS[family]} it packed")
    total: Counter[str] = Counter()
    for kinds in component_cells(cells)[1].values():
        total.update(kinds)
    types = Counter(cells.values())
    return Size(
        cells=int(found.group(1)),
        lut=total["lut"],
        ram=4 * types["TRELLIS_DPR16X4"],
        carry=types["SB_CARRY"] + 2 * types["CCU2C"],
        ff=total["ff"],
        bram=total["bram"],
        dsp=total["dsp"],
        spram=total["spram"],
    )
