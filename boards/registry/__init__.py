"""The boards by name. Each family has its file: an entry is one board."""

from __future__ import annotations

from refmodel.errors import BoardError

from . import ecp5, ice40
from .board import Board, Led, Programmer

__all__ = ["BOARDS", "Board", "Led", "Programmer", "get_board"]

#: Every known board by name.
BOARDS: dict[str, Board] = {board.name: board for board in (*ice40.BOARDS, *ecp5.BOARDS)}


def get_board(name: str) -> Board:
    """The board called ``name``; BoardError names the known ones otherwise."""
    try:
        return BOARDS[name]
    except KeyError:
        raise BoardError(f"board {name!r} is not known; use one of {', '.join(sorted(BOARDS))}") from None
