# amaranth: UnusedElaboratable=no
"""The simulated board: the whole top level behind a pseudo-terminal, driven by the host software as it is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boards.host import FrameChannel, LinkDriver, SerialTransport
from boards.host.frames import Request, frame
from boards.link.protocol import Command, Error
from boards.registry import get_board
from boards.simulated import SimulatedBoard, State, design
from refmodel import bundled, datasets, golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import BoardError, ToolError
from refmodel.preparation import prepare
from skipspike.models import quantised
from tests.random_networks import random_input, random_quantized_network

needs_compiler = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("g++", "make", "perl")), reason="Verilator needs g++, make and perl"
)
SMALL = CoreConfig(store_depth=2048)
RANDOM = random_quantized_network(
    np.random.default_rng(3), steps=4, max_layers=2, sizes=(3, 4), channels_choices=(1, 3, 5), input_bits=(1,)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's designs are compiled."""
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture(scope="module")
def small(folder: Path) -> Callable[[], SimulatedBoard]:
    """Boards with a small core, its link quick to give up; their line's rate is no divisor of the clock."""
    made = design(get_board("icebreaker"), SMALL, baud=6_100_000, timeout_clocks=4096)
    return lambda: SimulatedBoard("icebreaker", SMALL, design=made, folder=folder)


def classify(board: SimulatedBoard, program, x: np.ndarray, *, loads: bool = True) -> None:
    """Every input over the port, exact in every result and clock; ``loads``: the board has not got the program yet."""
    expected = golden.run(program.network, x, keep=True)
    clocks = run_timing(program, expected.tensors).clocks
    channel = FrameChannel(SerialTransport(board.port, baud=board.board.baud))
    host = LinkDriver(channel, board.config, timeout=60)
    host.open()
    assert host.load_program(program) is loads or loads
    results = zip(host.infer_many(x), expected.results, expected.predictions, clocks, strict=True)
    for got, values, prediction, count in results:
        assert (list(got.values), got.argmax, got.clocks) == (values.tolist(), prediction, count)
    host.close()


def standing_still(board: SimulatedBoard) -> State:
    """The board's state once its time stands still."""
    for _ in range(300):
        before = board.state()
        time.sleep(0.2)
        if board.state() == before:
            return before
    raise AssertionError("time goes on")


def cpu_ticks(board: SimulatedBoard) -> int:
    """Processor time of the simulation so far, in ticks of the system."""
    fields = Path(f"/proc/{board.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@needs_compiler
def test_small_core_over_the_port(small):
    """Exact; then time stands still, at no cost; a host that comes later finds the board as it is; then it is gone."""
    program = compile_network(RANDOM, SMALL)
    x = random_input(np.random.default_rng(4), RANDOM, 3)
    with small() as board:
        classify(board, program, x)
        quiet = standing_still(board)
        assert not quiet.busy and quiet.leds == {"ready"} and quiet.broken == 0 and quiet.sent > 0
        before = cpu_ticks(board)
        time.sleep(0.2)
        assert board.state() == quiet
        assert cpu_ticks(board) - before <= 0.05 * os.sysconf("SC_CLK_TCK")
        classify(board, program, x[:1])
        transport = SerialTransport(board.port, baud=board.board.baud)
        port = board.port
    with pytest.raises(BoardError, match="still connected"):
        transport.write(b"I" * 100_000)
        transport.read(1)
    with pytest.raises(ToolError, match="not running"):
        assert board.port != port


@needs_compiler
def test_a_board_in_the_middle_of_a_command(small):
    """The link's time-out runs out on a simulated board too."""
    with small() as board:
        transport = SerialTransport(board.port, baud=board.board.baud)
        transport.write(frame(Request(Command.STATUS).contents(1, 2))[:-1])
        channel = FrameChannel(transport)
        reply = channel.receive(10)
        assert reply is not None and reply[4] == Error.TIMEOUT
        assert LinkDriver(channel, SMALL, timeout=10).open().store_width == SMALL.store_width


def test_pins_by_purpose(stub_core):
    """Clock, line and LEDs reach the top level's pins, lit where the pin is low if the board says so."""
    text = design(get_board("icebreaker"), SMALL, core=stub_core).sources["board.v"]
    assert "wire clk12_0__io = clk;" in text and "wire uart_0__rx__io = rx;" in text
    assert "assign leds = {6'd0, ~led_1__io, ~led_0__io};" in text
    text = design(get_board("ulx3s_25f"), SMALL, core=stub_core).sources["board.v"]
    assert "{5'd0, led_2__io, led_1__io, led_0__io}" in text
    text = design(get_board("orangecrab_25f"), SMALL, core=stub_core).sources["board.v"]
    assert "~rgb_led_0__r__io, ~rgb_led_0__b__io, ~rgb_led_0__g__io}" in text


def test_not_running_says_so():
    with pytest.raises(ToolError, match="`with` block"):
        SimulatedBoard("icebreaker").state()


def test_missing_compiler_is_named(monkeypatch, tmp_path, stub_core):
    monkeypatch.setenv("PATH", str(tmp_path))
    board = SimulatedBoard("icebreaker", SMALL, folder=tmp_path / "designs", core=stub_core)
    with pytest.raises(ToolError, match="verilator needs g\\+\\+, make, perl"):
        board.start()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "ulx3s_85f"])
def test_digits_over_the_port(name, folder):
    """All 360 test images on the board's own core."""
    board = get_board(name)
    program = compile_network(quantised(bundled.load_network("digits-sew-add-8"), config=board.core), board.core)
    x, _ = datasets.load_data("digits")
    with SimulatedBoard(board, folder=folder) as simulated:
        classify(simulated, program, prepare(program.network.input, x))
