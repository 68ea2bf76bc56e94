"""A board with the program in a memory beside the FPGA: "ulx3s_85f+sdram", "icebreaker+flash"."""

from __future__ import annotations

from dataclasses import replace

from refmodel.config import CoreConfig
from refmodel.errors import BoardError

from .board import Board, OutsideStore

#: Words that a program in such a memory may have, and words under way or waiting.  An SDRAM of 32 MB holds twice the
#: words of 128 bits; on an iCE40 the words that wait stand in flip-flops.
_DEPTH: dict[OutsideStore, int] = {"sdram": 1 << 20, "flash": 1 << 18}
_FIFO: dict[OutsideStore, int] = {"sdram": 16, "flash": 2}


def with_store(board: Board, store: str) -> Board:
    """``board`` with a core whose program lies in ``store``; BoardError if it has no such memory."""
    found: OutsideStore | None = next((name for name in board.stores if name == store), None)
    if found is None:
        has = f"it has {', '.join(board.stores)}" if board.stores else "it has none that is known here"
        raise BoardError(f"board {board.name!r} has no memory {store!r} for a program; {has}")
    core = replace(board.core, store=found, store_depth=_DEPTH[found], store_fifo=_FIFO[found])
    freed = _store_blocks(board, board.core)
    return replace(board, name=f"{board.name}+{store}", core=core, core_brams=board.core_brams - freed)


def _store_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of a resting store."""
    from boards.area_model import memory_blocks

    if config.store != "bram":
        return 0
    return memory_blocks(board.family, config) - memory_blocks(board.family, replace(config, store="spram"))
