"""From a design to a bitstream: Amaranth, Yosys, nextpnr and the packer, each with its log, in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refmodel.config import CoreConfig
from refmodel.errors import BoardError, SkipspikeError, ToolError

from .files import write_text
from .netlists import finish_netlist, mark_collision_free
from .registry import Board
from .steps import StepFailed, run_step, shortage
from .tools import FLOW_TOOLS, Kind, Tool, find_tools
from .top import BoardTop

#: Format of ``build.json``.
BUILD_FORMAT = 1
RECORD = "build.json"
REPORT = "report.json"
NETLIST = "top.json"

Progress = Callable[[str], None]

#: Synthesis, by family. On iCE40 the eight cells of a tile share one clock enable: enables of a few flip-flops only
#: would leave tiles that nothing else can use, and a core that nearly fills the UP5K no legal placement: a design of
#: 128 lanes found none in ten minutes with 98 sets of enable and reset (enables of 6 flip-flops and more), and one in
#: a minute with 45 (24 and more, 200 cells more). On ECP5 a
#: function of five inputs takes two LUTs and a multiplexer between them, and one of six takes four: without such wide
#: functions the 128-lane core is smaller by a tenth (docs/performance.md).
SYNTHESIS: dict[str, str] = {"ice40": "synth_ice40 -device u -dsp -dffe_min_ce_use 24", "ecp5": "synth_ecp5 -nowidelut"}

#: Options that measured best, by family. On ECP5 the 256-lane core for the ULX3S takes 164 s and reaches 72 MHz with
#: the first two, 198 s and 60 MHz with router2 alone, 286 s and 69 MHz without (seed 1, nextpnr 0.11.1; busy machine).
#: Rerouting what is late (the third) makes 121 of 116 MHz of the 128-lane core without its fetch, in two thirds of the
#: time.
NEXTPNR_OPTIONS: dict[str, tuple[str, ...]] = {
    "ice40": (),
    "ecp5": ("--placer", "static", "--router", "router2", "--tmg-ripup"),
}

#: Resource names of nextpnr's report, by family, under the names used here.
_RESOURCES = {
    "ice40": {"lut": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP", "spram": "ICESTORM_SPRAM"},
    "ecp5": {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
}
#: Of equal clocks nextpnr cannot tell which one is meant: how far a constraint may be from the target, in Hz.
_CONSTRAINT_TOLERANCE = 0.01


@dataclass(frozen=True)
class BuildResult:
    """What a build made; ``utilisation`` maps lut, ff, bram, dsp, spram to {"used", "available"}.

    ``lut`` counts logic cells on iCE40 (a LUT with its carry and flip-flop) and LUTs, those of carry chains and
    distributed RAM included, on ECP5.
    """

    folder: Path
    bitstream: Path
    fmax_hz: float
    target_hz: float
    timing_met: bool
    utilisation: dict[str, dict[str, int]]
    seed: int
    sha256: str
    tools: dict[str, str]


def _silent(message: str) -> None:
    del message


def synthesis(board: Board) -> str:
    """Yosys' command for the board's device: of the iCE40 only the UltraPlus has multipliers."""
    plain = board.family == "ice40" and not board.dsps
    return SYNTHESIS[board.family].replace("-device u -dsp", "-device hx") if plain else SYNTHESIS[board.family]


def _synthesis_script(board: Board) -> str:
    lines = [
        "read_rtlil top.il",
        "hierarchy -top top",
        # The same design as Verilog, for people and for other simulators.
        "design -push-copy",
        "proc",
        "memory_collect",
        "write_verilog -norename -noattr top.v",
        "design -pop",
        f"{synthesis(board)} -top top",
        f"write_json {NETLIST}",
    ]
    return "\n".join(lines) + "\n"


def _place_command(board: Board, tool: Tool, *, seed: int, options: Sequence[str]) -> list[str]:
    command = [tool.executable]
    if board.family == "ice40":
        command += [f"--{board.device}", "--package", board.package, "--pcf", "top.pcf", "--asc", "top.asc"]
    else:
        series, size = board.device.removeprefix("LFE5").removesuffix("F").lower().split("-")
        command += [f"--{size}k" if series == "u" else f"--{series}-{size}k", "--package", board.package]
        command += ["--speed", board.speed, "--lpf", "top.lpf", "--textcfg", "top.config"]
    command += ["--json", NETLIST, "--report", REPORT, "--seed", str(seed), "--timing-allow-fail"]
    return [*command, *options]


def _pack_command(board: Board, tool: Tool) -> list[str]:
    if board.family == "ice40":
        return [tool.executable, "top.asc", board.bitstream_name]
    return [tool.executable, "--compress", *board.pack_options, "--input", "top.config", "--bit", board.bitstream_name]


def read_json(path: Path, what: str) -> Any:
    """A JSON object of a build folder; BoardError in one line if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise BoardError(f"{path} is missing: {what}") from None
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} cannot be read ({str(error).splitlines()[0]}): build again") from None
    if not isinstance(content, dict):
        raise BoardError(f"{path} holds no JSON object: build again")
    return content


def netlist_cells(folder: Path) -> dict[str, str]:
    """Cells of the synthesised netlist: name (with its place in the hierarchy) to type."""
    netlist = read_json(folder / NETLIST, "synthesis did not finish there")
    try:
        return {name: cell["type"] for name, cell in netlist["modules"]["top"]["cells"].items()}
    except (KeyError, TypeError, AttributeError):
        raise BoardError(f"{folder / NETLIST} is not a netlist of this flow: build again") from None


def is_flip_flop(cell_type: str) -> bool:
    return cell_type.startswith(("SB_DFF", "TRELLIS_FF"))


def _utilisation(board: Board, report: dict[str, Any], cells: dict[str, str]) -> dict[str, dict[str, int]]:
    result = {}
    for name, resource in _RESOURCES[board.family].items():
        entry = report["utilization"].get(resource, {"used": 0, "available": 0})
        result[name] = {"used": int(entry["used"]), "available": int(entry["available"])}
    if "ff" not in result:  # an iCE40 logic cell holds one LUT and one flip-flop
        result["ff"] = {"used": sum(map(is_flip_flop, cells.values())), "available": result["lut"]["available"]}
    result.setdefault("spram", {"used": 0, "available": 0})
    return dict(sorted(result.items()))


def sync_clock(report: dict[str, Any], target_hz: float | None) -> tuple[float, float]:
    """(Fmax, constraint) in Hz of the core's clock in nextpnr's report.

    With a target, the clock must carry it as its constraint: an Fmax that was never checked is an error.
    """
    clocks = [(1e6 * entry["achieved"], 1e6 * entry["constraint"]) for entry in report["fmax"].values()]
    if target_hz is not None:
        clocks = [clock for clock in clocks if abs(clock[1] / target_hz - 1) < _CONSTRAINT_TOLERANCE]
    if not clocks:
        wanted = "" if target_hz is None else f" constrained to {target_hz / 1e6:g} MHz"
        raise BoardError(f"nextpnr reports no clock{wanted}: the design has no such clock domain")
    return min(clocks)


def build(
    board: Board,
    config: CoreConfig | None = None,
    store_init: Sequence[int] = (),
    out_dir: str | Path = "build",
    *,
    seed: int = 1,
    tools: Kind = "yowasp",
    progress: Progress = _silent,
    top: Any = None,
    nextpnr_options: Sequence[str] | None = None,
    step_timeout: float | None = None,
) -> BuildResult:
    """Builds a bitstream for ``board`` in ``out_dir``.

    Parameters
    ----------
    board, config, store_init: what to build; see :class:`boards.top.BoardTop`.
    out_dir: folder for everything that is made: ``top.il``, ``top.v``, ``top.json`` (netlist), constraints, one log a
        step, ``report.json`` of nextpnr, the bitstream, and ``build.json``, which records inputs, versions and figures.
    seed: nextpnr's seed; the same inputs, tools and seed give the same bitstream.
    tools: "yowasp" or "native".
    progress: called with one line at the start and end of each step.
    top: another top level instead of ``BoardTop(board, config, store_init)``.
    nextpnr_options: options beside the usual ones; by default those of ``NEXTPNR_OPTIONS`` for the family.
    step_timeout: seconds a tool may take.

    A design that misses its clock is built all the same, with ``timing_met`` false.

    Raises
    ------
    ToolError: a tool is missing or failed. BoardError: the design does not fit. ConfigError: it cannot be made.
    ``build.json`` then has ``status`` "failed" and the message.
    """
    if top is None:
        top = BoardTop(board, config, store_init)
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BoardError(f"cannot make folder {folder}: {error.strerror}") from None
    # A folder never looks finished while it holds another build's files.
    for name in (RECORD, REPORT, NETLIST, board.bitstream_name):
        (folder / name).unlink(missing_ok=True)
    options = NEXTPNR_OPTIONS[board.family] if nextpnr_options is None else tuple(nextpnr_options)
    config = getattr(top, "config", config)
    record: dict[str, Any] = {
        "format": BUILD_FORMAT,
        "status": "failed",
        "board": board.name,
        "config": asdict(config) if config is not None else None,
        "seed": seed,
        "nextpnr_options": list(options),
        "clock_hz": getattr(top, "clock_hz", None),
    }
    try:
        made = _flow(board, top, folder, record, tools, seed, progress, options, step_timeout)
    except StepFailed as error:
        message = str(error)
        short = shortage(board, error.log)
        if short is not None:
            message = f"{short} (log: {error.log_path})"
        record["error"] = message.replace(str(folder) + "/", "")
        write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
        raise (BoardError(message) if short is not None else ToolError(message)) from None
    except SkipspikeError as error:
        record["error"] = str(error).replace(str(folder) + "/", "")
        write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
        raise
    record["status"] = "built"
    write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return made


def generated(board: Board, top: Any) -> dict[str, str]:
    """What the tools work on, by file name: the design (``top.il``), its constraints and the script of synthesis."""
    plan = board.platform().prepare(top, "top", emit_src=False)
    files = {}
    for name in ("top.il", "top.pcf" if board.family == "ice40" else "top.lpf"):
        content = plan.files[name]
        files[name] = content if isinstance(content, str) else content.decode()
    files["top.il"] = mark_collision_free(files["top.il"])
    return files | {"synth.ys": _synthesis_script(board)}


def _flow(
    board: Board,
    top: Any,
    folder: Path,
    record: dict[str, Any],
    kind: Kind,
    seed: int,
    progress: Progress,
    nextpnr_options: Sequence[str],
    step_timeout: float | None,
) -> BuildResult:
    found = find_tools(FLOW_TOOLS[board.family], kind)
    yosys, nextpnr, packer = found.values()
    versions = {name: tool.version for name, tool in found.items()}
    record["tools"] = {"kind": kind, **versions}

    progress(f"generate: {board.title}")
    for name, text in generated(board, top).items():
        write_text(folder / name, text)

    hint = " (the first start of a YoWASP tool compiles it: about a minute)" if kind == "yowasp" else ""
    progress(f"synthesise: {Path(yosys.executable).name} {yosys.version}{hint}")
    run_step("synth", [yosys.executable, "-s", "synth.ys"], folder, step_timeout)
    finish_netlist(folder / NETLIST)
    cells = netlist_cells(folder)

    progress(f"place and route: {Path(nextpnr.executable).name} {nextpnr.version}, seed {seed}")
    run_step("place", _place_command(board, nextpnr, seed=seed, options=nextpnr_options), folder, step_timeout)
    report = read_json(folder / REPORT, "place and route did not finish there")
    utilisation = _utilisation(board, report, cells)
    fmax, target = sync_clock(report, record["clock_hz"])
    target = record["clock_hz"] or target  # nextpnr rounds the constraint to whole picoseconds
    met = fmax >= target
    progress(f"timing: {fmax / 1e6:.1f} MHz for {target / 1e6:g} MHz, {'met' if met else 'NOT MET'}")

    progress(f"pack: {Path(packer.executable).name} {packer.version}")
    run_step("pack", _pack_command(board, packer), folder, step_timeout)
    bitstream = folder / board.bitstream_name
    if not bitstream.is_file():
        raise ToolError(f"{Path(packer.executable).name} wrote no bitstream (log: {folder / 'pack.log'})")
    digest = hashlib.sha256(bitstream.read_bytes()).hexdigest()
    progress(f"built: {bitstream.name}, sha256 {digest[:16]}")
    record.update(
        bitstream=bitstream.name,
        sha256=digest,
        fmax_hz=round(fmax),
        target_hz=round(target),
        timing_met=met,
        utilisation=utilisation,
    )
    return BuildResult(
        folder=folder,
        bitstream=bitstream,
        fmax_hz=fmax,
        target_hz=target,
        timing_met=met,
        utilisation=utilisation,
        seed=seed,
        sha256=digest,
        tools=versions,
    )
