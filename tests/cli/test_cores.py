"""The core that a board gets: memories grow as far as its block RAM goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from boards.registry import get_board
from refmodel.compiler import compile_network
from refmodel.errors import CompileError
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from skipspike.cores import core_for, limits_core, memory_blocks, write_core


def network(side: int, channels: int, planes: int = 4, kernel: int = 1) -> QuantizedNetwork:
    """One convolution on a ``side`` x ``side`` image, then one of ``kernel`` pixels a side."""

    def conv(name: str, source: str, inputs: int, kernel: int) -> QuantizedLayer:
        weight = np.ones((channels, inputs, kernel, kernel), np.int64)
        return QuantizedLayer(
            name, "conv", source, weight, (kernel, kernel), padding=(kernel // 2, kernel // 2),
            threshold=np.ones(channels, np.int64),
        )  # fmt: skip

    readout = QuantizedLayer("r", "readout", "b", np.ones((2, channels, 1, 1), np.int64), (1, 1))
    layers = (conv("a", "input", 3, 1), conv("b", "a", channels, kernel), readout)
    return QuantizedNetwork("net", 4, QuantizedInput((3, side, side), planes, True), layers)


def test_a_small_network_gets_the_usual_core() -> None:
    for name in ("icebreaker", "ulx3s_85f"):
        board = get_board(name)
        assert core_for(board, network(8, 8)) is board.core


def test_sums_are_those_of_a_given_core_if_narrower(tmp_path) -> None:
    board = get_board("icebreaker")
    assert limits_core(board) is board.core
    for less, width in ((2, board.core.acc_width - 2), (-2, board.core.acc_width)):
        config = replace(board.core, acc_width=board.core.acc_width - less, fifo_depth=3)
        for core in (config, write_core(tmp_path / "core.json", config, 1)):
            assert limits_core(board, core) == replace(board.core, acc_width=width)


def test_spike_memory_grows_by_block_rams() -> None:
    """16x16 pixels in four planes, and their spikes: 1280 words, in rows of four for the occupancy."""
    board = get_board("icebreaker")
    config = core_for(board, network(16, 8))
    assert config.spike_depth == 1280 and config.bank_depth == board.core.bank_depth
    assert memory_blocks(board, config) == memory_blocks(board, board.core) + 2 + 1
    compile_network(network(16, 8), config)


def test_memories_stay_where_block_ram_does_not_do() -> None:
    board = get_board("icebreaker")
    assert core_for(board, network(20, 8), "board") is board.core
    with pytest.raises(CompileError, match="needs 2000 words of spike memory, this core has 1024"):
        compile_network(network(20, 8), core_for(board, network(20, 8), "board"))


def test_banks_and_store_grow_in_powers_and_blocks() -> None:
    board = get_board("ulx3s_85f")
    config = core_for(board, network(4, 160, kernel=3))
    assert config.bank_depth == 512 and config.store_depth > board.core.store_depth and config.store_depth % 512 == 0
    assert memory_blocks(board, config) <= board.brams - board.core_brams + memory_blocks(board, board.core)
    compile_network(network(4, 160, kernel=3), config)
