# amaranth: UnusedElaboratable=no
"""Simulated boards whose programs lie in a memory at their pins, driven by the host software as it is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boards.flash_image import program_part
from boards.host import FrameChannel, LinkDriver, SerialTransport
from boards.host.driver import LinkError
from boards.link.protocol import State
from boards.registry import get_board
from boards.simulated import SimulatedBoard, design
from boards.top import BoardTop
from refmodel import bundled
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from skipspike import api
from skipspike.cores import core_for
from skipspike.models import quantised
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


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("store", ["spram", "flash"])
def test_start_from_flash(store: str, tmp_path: Path) -> None:
    """A board that has its program when the host comes; one whose flash is damaged says so and runs nothing."""
    board = get_board("icebreaker+boot" if store == "spram" else "icebreaker+flash")
    config = replace(SMALL, store=store)
    program = compile_network(RANDOM, config)
    part = program_part(config, program.image)
    x = random_input(np.random.default_rng(4), RANDOM, 2)
    # The host's program is the flash's: nothing is loaded.
    made = design(board, config, flash=part, timeout_clocks=1 << 14)
    with SimulatedBoard(board, config, design=made, folder=tmp_path) as running:
        classify(running, program, x, loads=False)
    damaged = part[:-30] + bytes([part[-30] ^ 4]) + part[-29:]
    made = design(board, config, flash=damaged, timeout_clocks=1 << 14)
    with SimulatedBoard(board, config, design=made, folder=tmp_path) as running:
        host = LinkDriver(FrameChannel(SerialTransport(running.port, baud=board.baud)), config, timeout=60)
        host.open()
        state, _ = host.status()
        assert State.FAULT in state and State.PROGRAM not in state
        with pytest.raises(LinkError, match="no valid program"):
            host.run()
        if store == "flash":
            with pytest.raises(BoardError, match="skipspike load --flash"):
                host.load_program(program)
        host.close()
        if store == "spram":
            classify(running, program, x)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker+boot", "icebreaker+flash"])
def test_more_weights_than_block_ram(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """37,450 weights on an iCEBreaker with 15 kB of block RAM: from flash to SPRAM, or from flash at every run."""
    board = get_board(name)
    net = quantised(bundled.load_network("digits-sew-add-8"), config=board.core)
    config = core_for(board, net)
    program = compile_network(net, config)
    assert len(program.image) * config.store_width > 1024 * board.bram_total_kbit
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = api.run("digits-sew-add-8", port="sim", board=name, samples=2)
    assert result["differing"] == [], result["first_difference"]
    assert not result["program_sent"] and result["board"] == name


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
    with pytest.raises(BoardError, match=r"has no 'sdram'; there is icebreaker\+boot, icebreaker\+flash"):
        get_board("icebreaker+sdram")
    with pytest.raises(BoardError, match=r"has no 'boot'; there is hx8k_evn\+flash"):  # its bitstream has the program
        get_board("hx8k_evn+boot")
    with pytest.raises(BoardError, match=r"has no 'flash'; there is ulx3s_12f\+sdram\+state"):
        get_board("ulx3s_12f+sdram+flash")
    with pytest.raises(BoardError, match="'nothing' is not known"):
        get_board("nothing+sdram")
