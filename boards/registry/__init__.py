"""The boards by name. Each family has its file: an entry is one board."""

from __future__ import annotations

from refmodel.errors import BoardError

from . import ecp5, ice40
from .board import Board, Led, Programmer
from .stores import with_store

__all__ = ["BOARDS", "Board", "Led", "Programmer", "get_board"]

#: Every known board by name.
BOARDS: dict[str, Board] = {board.name: board for board in (*ice40.BOARDS, *ecp5.BOARDS)}


def get_board(name: str) -> Board:
    """The board called ``name``; BoardError names the known ones otherwise.

    "NAME+sdram" or "NAME+flash": with the program in that memory of the board.
    """
    name, plus, store = name.partition("+")
    try:
        return with_store(BOARDS[name], store) if plus else BOARDS[name]
    except KeyError:
        raise BoardError(f"board {name!r} is not known; use one of {', '.join(sorted(BOARDS))}") from None
