# amaranth: UnusedElaboratable=no
"""Simulated boards whose programs lie in a memory at their pins, driven by the host software as it is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boards.registry import get_board
from boards.simulated import SimulatedBoard, design
from boards.top import BoardTop
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from tests.boards.test_simulated import RANDOM, classify
from tests.random_networks import random_input

needs_compiler = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("g++", "make", "perl")), reason="Verilator needs g++, make and perl"
)
SMALL = CoreConfig(store_depth=2048, store="sdram")


@needs_compiler
@pytest.mark.slow
def test_program_in_sdram(tmp_path: Path) -> None:
    board = get_board("ulx3s_12f+sdram")
    made = design(board, SMALL, timeout_clocks=1 << 15)
    program = compile_network(RANDOM, SMALL)
    with SimulatedBoard(board, SMALL, design=made, folder=tmp_path) as running:
        classify(running, program, random_input(np.random.default_rng(4), RANDOM, 3))
        assert not running.state().busy


def test_pins_of_the_models() -> None:
    made = design(get_board("ulx3s_12f+sdram"), SMALL)
    assert "wire [15:0] sdram_0__dq__io;" in made.sources["board.v"]
    assert "module sdram_model(" in made.sources["sdram_model.v"]
    assert "sdram_model.v" not in design(get_board("ulx3s_12f"), replace(SMALL, store="bram")).sources


def test_limits() -> None:
    with pytest.raises(BoardError, match="50 to 90 MHz, not 25 MHz"):
        design(replace(get_board("ulx3s_12f+sdram"), clock_hz=25_000_000), SMALL)
    board = get_board("icebreaker")
    with pytest.raises(BoardError, match="50 to 90 MHz"):
        board.platform().prepare(BoardTop(board, SMALL), "top")
    with pytest.raises(BoardError, match="has no memory 'sdram' for a program; it has flash"):
        get_board("icebreaker+sdram")
    with pytest.raises(BoardError, match="none that is known"):
        get_board("ecpix5_85f+sdram")
    with pytest.raises(BoardError, match="'nothing' is not known"):
        get_board("nothing+sdram")
