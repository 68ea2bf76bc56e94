"""One step of a build: a tool with its log in the build's folder, and what its failure means."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from refmodel.errors import ToolError

from .files import write_text
from .registry import Board


def _last_error(log: str) -> str:
    """The most telling line of a failed tool's log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)(fatal )?error\b|.*\bERROR:", line)]
    # nextpnr closes with a line that only counts its errors.
    errors = [line for line in errors if "Program finished" not in line] or errors
    return re.sub(r"^(?i:error):?\s*", "", (errors or lines or ["it wrote nothing"])[-1])


def shortage(board: Board, log: str) -> str | None:
    """What does not fit, from nextpnr's list of resources before placement."""
    names = {
        "ICESTORM_LC": "LCs",
        "ICESTORM_RAM": "block RAMs",
        "ICESTORM_DSP": "DSPs",
        "ICESTORM_SPRAM": "SPRAMs",
        "SB_IO": "pins",
        "TRELLIS_COMB": "LUTs",
        "TRELLIS_FF": "flip-flops",
        "DP16KD": "block RAMs",
        "MULT18X18D": "multipliers",
    }
    short = []
    for name, used, available in re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s", log, re.MULTILINE):
        if int(used) > int(available):
            short.append(f"{used} {names.get(name, name)} of {available}")
    return f"design does not fit {board.name}: needs {' and '.join(dict.fromkeys(short))}" if short else None


def run_step(step: str, command: list[str], folder: Path, timeout: float | None) -> str:
    """Runs one step with its log in the folder; returns the log. ToolError if it fails."""
    log_path = folder / f"{step}.log"
    name = Path(command[0]).name
    try:
        # Relative paths in the folder: the YoWASP tools see a sandboxed file system. The log can be watched growing.
        with log_path.open("wb") as log_file:
            done = subprocess.run(
                command, cwd=folder, stdout=log_file, stderr=subprocess.STDOUT, check=False, timeout=timeout
            )
    except OSError as error:
        raise ToolError(f"{name} could not be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} took longer than {timeout:g} s; allow more time") from None
    log = log_path.read_text(errors="replace").replace(str(folder.resolve()) + "/", "")
    write_text(log_path, log)
    if done.returncode != 0:
        raise StepFailed(name, log, log_path)
    return log


class StepFailed(ToolError):
    """A tool ended with an error; ``log`` is what it wrote."""

    def __init__(self, name: str, log: str, log_path: Path) -> None:
        super().__init__(f"{name}: {_last_error(log)} (log: {log_path})")
        self.log = log
        self.log_path = log_path
