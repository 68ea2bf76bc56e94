"""Loading a bitstream into a board."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refmodel.errors import BoardError, ToolError

from .registry import Board, get_board
from .report import read_record
from .tools import find_tool


@dataclass(frozen=True)
class LoadResult:
    """What was, or with a dry run would have been, done."""

    board: str
    bitstream: Path
    command: tuple[str, ...]
    dry_run: bool


def command_for(board: Board, bitstream: str | Path, *, programmer: Sequence[str] | None = None) -> list[str]:
    """The command that programs ``bitstream`` into ``board``; ToolError if its tool is missing.

    ECP5 boards are configured until power goes; the iCEBreaker's bitstream goes to its flash.

    Parameters
    ----------
    programmer: tool name and options instead of the board's own, such as ``("iceprog",)``.
    """
    name, *options = programmer or board.programmer
    return [find_tool(name).executable, *options, str(bitstream)]


def load(
    folder: str | Path, *, dry_run: bool = False, programmer: Sequence[str] | None = None, timeout: float = 180
) -> LoadResult:
    """Programs the bitstream of a build folder.

    Raises
    ------
    BoardError: no finished build there, or its bitstream is not the recorded one. ToolError: the programmer is
    missing, cannot start, or found no board.
    """
    folder = Path(folder)
    record = read_record(folder)
    board = get_board(str(record.get("board")))
    bitstream = folder / str(record.get("bitstream"))
    try:
        digest = hashlib.sha256(bitstream.read_bytes()).hexdigest()
    except OSError as error:
        raise BoardError(f"{bitstream} cannot be read ({error.strerror}): build again") from None
    if digest != record.get("sha256"):
        raise BoardError(f"{bitstream} is not the bitstream that build.json records: build again")
    command = command_for(board, bitstream, programmer=programmer)
    if dry_run:
        return LoadResult(board.name, bitstream, tuple(command), True)
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{name} could not be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not finish within {timeout:g} s; plug the board in again and retry") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        if "shared libraries" in reason:
            hint = "install Debian's libusb-1.0-0, libftdi1-2 and libhidapi-hidraw0"
        else:
            hint = f"is the {board.title} connected, and may you use USB devices?"
        raise ToolError(f"{name} failed: {reason}; {hint}")
    return LoadResult(board.name, bitstream, tuple(command), False)
