"""The core that a board gets for a network."""

from __future__ import annotations

from boards.registry import Board
from refmodel.config import CoreConfig
from refmodel.errors import CompileError
from refmodel.features import with_features
from refmodel.quantized import QuantizedNetwork

#: Words and bits of a word that one block RAM can be.
_MODES = {
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
}


def core_for(board: Board, net: QuantizedNetwork) -> CoreConfig:
    """The board's core, with the optional parts that ``net`` needs added (see :mod:`refmodel.features`).

    Raises CompileError where the board has too little block RAM left for the membrane streams.
    """
    config = with_features(board.core, net)
    if config.stream_width and board.core.stream_width == 0:
        width = config.neuron_units * config.stream_width
        blocks = min(-(-config.stream_depth // depth) * -(-width // bits) for depth, bits in _MODES[board.family])
        left = board.brams - board.core_brams
        if blocks > left:
            raise CompileError(
                f"network '{net.name}' has membrane streams of {config.stream_depth} words of {width} bits, which take "
                f"{blocks} block RAMs; {board.name} has {left} left beside its core: use fewer channels, pixels, steps "
                "or weight bits, or a larger board"
            )
    return config
