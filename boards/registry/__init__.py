"""The boards by name. Each family has its file: an entry is one board."""

from __future__ import annotations

from refmodel.errors import BoardError

from . import ecp5, ice40
from .board import Board, Led, Programmer
from .stores import keeping_state, with_addition

__all__ = ["BOARDS", "Board", "Led", "Programmer", "get_board", "is_board", "keeping_state"]

#: Every known board by name.
BOARDS: dict[str, Board] = {board.name: board for board in (*ice40.BOARDS, *ecp5.BOARDS)}


def get_board(name: str) -> Board:
    """The board called ``name``; BoardError names the known ones otherwise.

    "NAME+sdram", "NAME+flash", "NAME+boot", "NAME+state", and several in turn: with an addition
    (:func:`boards.registry.stores.with_addition`).
    """
    name, *additions = name.split("+")
    if name not in BOARDS:
        raise BoardError(f"board {name!r} is not known; use one of {', '.join(sorted(BOARDS))}")
    board = BOARDS[name]
    for addition in additions:
        board = with_addition(board, addition)
    return board


def is_board(name: str) -> bool:
    """Whether ``name`` means a board, whatever is behind a plus."""
    return name.partition("+")[0] in BOARDS
