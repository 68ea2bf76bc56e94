"""A board with an addition to its core: "ulx3s_85f+sdram", "icebreaker+boot", "ulx3s_12f+sdram+state"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refmodel.config import CoreConfig
from refmodel.errors import BoardError

from .board import Board, OutsideStore

#: Words that a program in such a memory may have, and words under way or waiting.  An SDRAM of 32 MB holds twice the
#: words of 128 bits; on an iCE40 the words that wait stand in flip-flops.
_DEPTH: dict[OutsideStore, int] = {"sdram": 1 << 20, "flash": 1 << 18}
_FIFO: dict[OutsideStore, int] = {"sdram": 16, "flash": 2}


def with_addition(board: Board, addition: str) -> Board:
    """``board`` with one thing more; BoardError, which names what there is, where it cannot have it.

    "flash", "sdram": the program lies in that memory and stays there.  "boot": the program comes from the flash at
    start.  "state": a state memory, which keeps membranes from run to run and grows to what a network needs.
    """
    if addition not in board.additions:
        has = ", ".join(f"{board.name}+{one}" for one in board.additions)
        raise BoardError(f"board {board.name!r} has no {addition!r}; there is {has}")
    name = f"{board.name}+{addition}"
    if addition == "boot":
        return replace(board, name=name, boot=True)
    if addition == "state":
        return replace(keeping_state(board), name=name)
    return replace(_with_store(board, next(store for store in board.stores if store == addition)), name=name)


def keeping_state(board: Board) -> Board:
    """``board`` with a core that keeps membranes from run to run (docs/streaming.md); as it is if its core does.

    The state memory is a small one, which grows to what a network needs as the core's other memories do.
    """
    from boards.area_model import BLOCK_MODES

    if board.core.state_depth:
        return board
    return replace(board, core=replace(board.core, state_depth=BLOCK_MODES[board.family][0][0]))


def _with_store(board: Board, store: OutsideStore) -> Board:
    """``board`` with its program in ``store``."""
    beside: dict[str, Any] = dict(board.beside_flash) if store == "flash" else {}
    core = replace(board.core, store=store, store_depth=_DEPTH[store], store_fifo=_FIFO[store], **beside)
    freed = _store_blocks(board, board.core)
    return replace(board, core=core, core_brams=board.core_brams - freed, stores=(), boot=False)


def _store_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of a resting store."""
    from boards.area_model import memory_blocks

    if config.store != "bram":
        return 0
    return memory_blocks(board.family, config) - memory_blocks(board.family, replace(config, store="spram"))
