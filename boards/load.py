"""Loading a bitstream into a board."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from refmodel.errors import BoardError, ToolError

from .board_bench import source_digest
from .build import build
from .registry import Board, Programmer, get_board
from .report import read_record
from .sizes import cache_folder
from .tools import find_tool

#: Where a bitstream goes: the device's own memory, until power goes, or the board's flash.
Place = Literal["sram", "flash"]
_PLACES = {"sram": "the device's own memory (--sram)", "flash": "flash (--flash)"}


@dataclass(frozen=True)
class LoadResult:
    """What was done, or with a dry run would have been; ``bitstream`` is the file, with the program if it has one."""

    board: str
    bitstream: Path
    place: Place
    command: tuple[str, ...]
    dry_run: bool


def command_for(
    board: Board,
    bitstream: str | Path,
    *,
    place: Place | None = None,
    programmer: str | None = None,
    cable: str | None = None,
) -> list[str]:
    """The command that programs ``bitstream`` into ``board``.

    Parameters
    ----------
    place: by default where the board's bitstreams usually go.
    programmer: one of the board's tools; by default the first that can.
    cable: what connects the board, as the tool names it, for a board without a programmer of its own.

    Raises
    ------
    BoardError: the board cannot be programmed so. ToolError: the tool is missing.
    """
    place = place or board.usual
    able = [one for one in board.programmers if getattr(one, place) is not None]
    if not able:
        raise BoardError(f"{board.title} cannot be loaded into {_PLACES[place]}; its other place is {_other(place)}")
    if programmer is not None:
        able = [one for one in able if one.tool == programmer]
        if not able:
            names = ", ".join(one.tool for one in board.programmers)
            raise BoardError(f"{programmer} does not load {board.name} into {_PLACES[place]}; its tools: {names}")
    chosen = able[0]
    if cable is not None and chosen.tool != "openfpgaloader":
        raise BoardError(f"{chosen.tool} takes no cable; --cable goes with openFPGALoader")
    options = [*chosen.options, *(() if cable is None else ("-c", cable)), *_place_options(chosen, place)]
    return [find_tool(chosen.tool).executable, *options, str(bitstream)]


def _place_options(programmer: Programmer, place: Place) -> tuple[str, ...]:
    found = programmer.sram if place == "sram" else programmer.flash
    assert found is not None
    return found


def _other(place: Place) -> str:
    return _PLACES["flash" if place == "sram" else "sram"]


def load(
    folder: str | Path,
    *,
    place: Place | None = None,
    programmer: str | None = None,
    cable: str | None = None,
    dry_run: bool = False,
    timeout: float = 300,
) -> LoadResult:
    """Programs a build folder's bitstream, or into flash its flash image, which holds the program too.

    place, programmer, cable: as of :func:`command_for`.  timeout: seconds the tool may take.

    Raises
    ------
    BoardError: no finished build there, or its bitstream is not the recorded one. ToolError: the programmer is
    missing, cannot start, or found no board.
    """
    folder = Path(folder)
    record = read_record(folder)
    board = get_board(str(record.get("board")))
    place = place or board.usual
    image = record.get("flash")
    found: dict[str, Any] = record if place == "sram" or not isinstance(image, dict) else image
    path = folder / str(found.get("bitstream" if found is record else "file"))
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BoardError(f"{path} cannot be read ({error.strerror}): build again") from None
    if digest != found.get("sha256"):
        raise BoardError(f"{path} is not the file that build.json records: build again")
    command = command_for(board, path, place=place, programmer=programmer, cable=cable)
    if not dry_run:
        _run(command, board, timeout)
    return LoadResult(board.name, path, place, tuple(command), dry_run)


def load_own(
    board: Board,
    *,
    place: Place | None = None,
    programmer: str | None = None,
    cable: str | None = None,
    dry_run: bool = False,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> LoadResult:
    """Programs a board's own core, without a program: it comes over the link. Builds it first unless it is kept.

    folder: where builds are kept, by content; ``skipspike/designs`` in the user's cache by default. The rest and the
    errors: as of :func:`load`; a dry run builds nothing.
    """
    home = folder or cache_folder().with_name("designs")
    found = home / f"{board.name}-{source_digest(board)[:16]}"
    place = place or board.usual
    command = command_for(board, found / board.bitstream_name, place=place, programmer=programmer, cable=cable)
    if dry_run:
        return LoadResult(board.name, found / board.bitstream_name, place, tuple(command), True)
    try:
        read_record(found)
    except BoardError:
        build(board, out_dir=found, progress=progress)
    return load(found, place=place, programmer=programmer, cable=cable)


def _run(command: list[str], board: Board, timeout: float) -> None:
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
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit status {done.returncode}"
    if "shared libraries" in reason:
        hint = "install Debian's libusb-1.0-0, libftdi1-2 and libudev1"
    else:
        hint = f"is the {board.title} connected, and may you use USB devices? `skipspike doctor` says"
    raise ToolError(f"{name} failed: {reason}; {hint}")
