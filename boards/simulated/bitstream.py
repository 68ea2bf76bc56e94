"""A bitstream turned back into Verilog, to be simulated like a board: what the packer wrote, not what it was given."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from boards.build import read_json
from boards.registry import get_board
from boards.report import RECORD, read_record
from boards.tools import find_tool
from refmodel.errors import BoardError, ToolError

from .design import Design, cells, harness

#: Clocks of quiet after which time stands still: time-outs of a built link are too long to be waited for.
_QUIET = 100_000


def design_of_bitstream(folder: str | Path, *, clocks_a_bit: float | None = None, timeout: float = 600) -> Design:
    """The design that a build folder's bitstream holds, by ``iceunpack`` and ``icebox_vlog`` of Project IceStorm.

    Parameters
    ----------
    folder: a finished build for a board with an iCE40 HX: icebox_vlog knows neither multipliers nor SPRAM.
    clocks_a_bit: of the UART; by default of the board's usual speed.
    timeout: seconds a tool may take.

    Raises
    ------
    BoardError: no such build. ToolError: a tool is missing or failed.
    """
    folder = Path(folder)
    record = read_record(folder)
    board = get_board(str(record.get("board")))
    if board.family != "ice40" or board.sprams:
        raise BoardError(f"the bitstream of {board.title} cannot be turned back: icebox_vlog knows iCE40 HX and LP")
    unpack, back = find_tool("iceunpack"), find_tool("icebox_vlog")
    # Relative paths in the folder: the YoWASP tools see a sandboxed file system.
    unpacked = "top.unpacked.asc"
    _run([unpack.executable, str(record["bitstream"]), unpacked], folder, timeout)
    text = _declared_once(_run([back.executable, "-s", "-n", "top", "-p", "top.pcf", unpacked], folder, timeout))
    clock_hz = float(read_json(folder / RECORD, "nothing was built there")["clock_hz"])
    # A net of the design is not to be found in it: that the core is busy only its LED says.
    busy = next((index for index, led in enumerate(board.leds) if led.use == "busy"), None)
    if busy is None:
        raise BoardError(f"{board.title} has no LED that says when its core is busy")
    return Design(
        sources={
            "top.v": text,
            **harness(board, board.platform(), text, busy=f"leds[{busy}]"),
            "cells.v": cells(),
        },
        clocks_a_bit=clocks_a_bit or clock_hz / board.baud,
        quiet_clocks=_QUIET,
        leds=tuple(led.use for led in board.leds),
    )


def _declared_once(text: str) -> str:
    """The Verilog without wires that are ports already, which icebox_vlog declares again."""
    found = re.search(r"^module top \(([^)]*)\);", text, re.MULTILINE)
    if found is None:
        raise ToolError("icebox_vlog wrote no module 'top'")
    ports = {port.split()[-1] for port in found[1].split(",")}

    def wires(declaration: re.Match[str]) -> str:
        names = [name.strip() for name in declaration[1].split(",") if name.strip() not in ports]
        return f"wire {', '.join(names)};" if names else ""

    return re.sub(r"^wire ([\w, ]+);", wires, text, flags=re.MULTILINE)


def _run(command: list[str], folder: Path, timeout: float) -> str:
    """What the tool writes to stdout."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    except OSError as error:
        raise ToolError(f"{name} could not be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} took longer than {timeout:g} s; allow more time") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ToolError(f"{name} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout
