"""The core that a board gets for a network."""

from __future__ import annotations

from dataclasses import replace

from boards.registry import Board
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError
from refmodel.features import with_features
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.quantized import QuantizedNetwork
from rtl_gen.spike_memory import ice40_blocks

#: Words and bits of a word that one block RAM can be.
_MODES = {
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
}
#: Memories grow by so many words: a block RAM's in its widest form.
_STEP = {family: modes[0][0] for family, modes in _MODES.items()}


def core_for(board: Board, net: QuantizedNetwork) -> CoreConfig:
    """The board's core, with what ``net`` needs more of as far as the board has it.

    Optional parts are added (:mod:`refmodel.features`); spike memory, weight banks and a store in block RAM grow if
    the blocks that the board's usual core leaves free will do, and stay as they are otherwise.  Raises CompileError
    where there are too few for the membrane streams.
    """
    config = with_features(board.core, net)
    left = board.brams - board.core_brams
    if config.stream_width and board.core.stream_width == 0:
        width = config.neuron_units * config.stream_width
        blocks = _blocks(board, config.stream_depth, width)
        if blocks > left:
            raise CompileError(
                f"network '{net.name}' has membrane streams of {config.stream_depth} words of {width} bits, which take "
                f"{blocks} block RAMs; {board.name} has {left} left beside its core: use fewer channels, pixels, steps "
                "or weight bits, or a larger board"
            )
        left -= blocks
    larger = _with_room(board, config, net)
    return larger if memory_blocks(board, larger) - memory_blocks(board, config) <= left else config


def _with_room(board: Board, config: CoreConfig, net: QuantizedNetwork) -> CoreConfig:
    """``config`` with memories as deep as ``net`` needs them; as it is where no core of the shape will do."""
    try:
        needed = {limit.setting: limit.needed for limit in plan(lower(net), config).limits}
    except (CompileError, ConfigError):
        return config
    step = _STEP[board.family]
    depths: dict[str, int] = {}
    for setting in ("spike_depth", "store_depth"):
        if setting in needed and (setting != "store_depth" or config.store == "bram"):
            depths[setting] = -(-needed[setting] // step) * step
    if "bank_depth" in needed:
        depths["bank_depth"] = 1 << (needed["bank_depth"] - 1).bit_length()
    return replace(config, **depths) if depths else config


def memory_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of spike memory, weight banks and, if it lies in block RAM, the store; the rest does not grow."""
    banks = config.event_lanes * config.stages
    spikes = ice40_blocks if board.family == "ice40" else lambda depth, width: _blocks(board, depth, width)
    return (
        spikes(config.spike_depth, config.spike_width)
        + banks * _blocks(board, 2 * config.bank_depth, config.bank_lanes * config.weight_bits)
        + (_blocks(board, config.store_depth, config.store_width) if config.store == "bram" else 0)
    )


def _blocks(board: Board, depth: int, width: int) -> int:
    """Block RAMs of a memory of ``depth`` words."""
    return min(-(-depth // words) * -(-width // bits) for words, bits in _MODES[board.family])
