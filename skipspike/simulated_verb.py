"""The verb ``board-sim``: a simulated board behind a serial port, until it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from refmodel.errors import BoardError

from .command import Json
from .console import note, show
from .progress import Progress, silent


def simulated_board(
    folder: str | Path | None = None,
    *,
    board: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Any:
    """A :class:`boards.simulated.SimulatedBoard` that has been started; the caller stops it.

    folder: of a finished build, whose board, core and program it gets; otherwise it is ``board`` with its own core.
    Raises SkipspikeError.
    """
    from boards.registry import get_board
    from boards.simulated import SimulatedBoard

    if folder is not None:
        found, config, image, flash = _built(Path(folder))
        if board is not None and board != found.name:
            raise BoardError(f"{folder} is a build for {found.name}, not for {board}")
    elif board is not None:
        found, config, image, flash = get_board(board), None, (), b""
    else:
        raise BoardError("name a board, or the folder of a build")
    progress(f"simulating {found.title}; the first start of a design compiles it, which takes some minutes", None)
    simulated = SimulatedBoard(found, config, image, seed=seed, flash=flash)
    simulated.start()
    return simulated


def _built(folder: Path) -> tuple[Any, Any, tuple[int, ...], bytes]:
    """Board, core, the store's first words and the program in the flash of a build."""
    from boards.flash_files import PROGRAM
    from boards.registry import get_board
    from boards.report import read_record
    from refmodel.config import CoreConfig

    record = read_record(folder)
    if not isinstance(record.get("config"), dict):
        raise BoardError(f"{folder} holds no build of a core")
    config = CoreConfig(**record["config"])
    image: tuple[int, ...] = ()
    if config.store == "bram":
        try:
            image = tuple(int(line, 16) for line in (folder / "program.hex").read_text().split())
        except (OSError, ValueError) as error:
            raise BoardError(f"{folder} holds no program ({error}): build again") from None
    flash = folder / PROGRAM
    return get_board(str(record.get("board"))), config, image, flash.read_bytes() if flash.is_file() else b""


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds the verb."""

    @group.command("board-sim")
    def _board_sim(
        folder: Annotated[
            Path | None, typer.Argument(metavar="[DIR]", help="Simulate this build instead of a board's own core.")
        ] = None,
        board: Annotated[
            str | None, typer.Option("--board", metavar="BOARD", help="A board; `skipspike boards` lists them.")
        ] = None,
        seed: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="Start state of what has none; random by default.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Simulate a whole board behind a serial port, until Ctrl-C."""
        if folder is None and board is None:
            raise typer.BadParameter("board-sim takes --board BOARD, or the folder of a build")
        running: list[Any] = []

        def work(progress: Progress) -> dict[str, Any]:
            running.append(simulated_board(folder, board=board, seed=seed, progress=progress))
            return {
                "board": running[0].board.name,
                "port": running[0].port,
                "lanes": running[0].config.lanes,
                "pid": running[0].pid,
            }

        def serve(result: dict[str, Any]) -> str | None:
            del result
            try:
                running[0].wait()
            except KeyboardInterrupt:
                note("switched off")
                return None
            return "the simulated board ended by itself"

        try:
            finish(work, _view, as_json, serve)
        finally:
            for one in running:
                one.stop()


def _view(result: dict[str, Any]) -> None:
    show(f"{result['board']} with {result['lanes']} lanes at {result['port']}; Ctrl-C switches it off")
