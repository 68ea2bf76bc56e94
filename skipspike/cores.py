"""The core that a board gets for a network."""

from __future__ import annotations

from boards.registry import Board
from refmodel.config import CoreConfig
from refmodel.features import with_features
from refmodel.quantized import QuantizedNetwork


def core_for(board: Board, net: QuantizedNetwork) -> CoreConfig:
    """The board's core, with the optional parts that ``net`` needs added (see :mod:`refmodel.features`)."""
    return with_features(board.core, net)
