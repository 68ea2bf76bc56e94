"""Steps of a stream on every device: golden model, a board in Python behind a port, a simulated board."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from boards.registry import get_board
from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import BoardError, DataError
from skipspike.api import Device
from tests.python_board import PtyBoard, PythonBoard
from tests.refmodel.test_state_plan import one_layer

BOARD = get_board("icebreaker")
CONFIG = dataclasses.replace(BOARD.core, state_depth=16)
NET = one_layer((5, 2), 9, leak_shifts=(2,))
PROGRAM = compile_network(NET, CONFIG)
FRAMES = np.random.default_rng(0).integers(0, 2, (5 * 4, 2, 1, 1))
INPUTS = FRAMES.reshape(5, 4, 2, 1, 1)


def expected() -> list[tuple[list[int], int]]:
    """Results and clocks of the calls, one after the other."""
    state, made = None, []
    for x in INPUTS:
        result = golden.run(PROGRAM.network, x[None], keep=True, state=state, keep_state=True)
        state = result.state
        made.append((result.results[0].tolist(), int(run_timing(PROGRAM, result.tensors).clocks[0])))
    return made


def port_of(config: CoreConfig, program=PROGRAM, x=INPUTS) -> PtyBoard:
    return PtyBoard(PythonBoard(config, program, x))


def _streams(device: Device) -> None:
    device.load(PROGRAM)
    wanted = expected()
    alone = [device.infer(x).potentials.tolist() for x in INPUTS]
    assert alone != [values for values, _ in wanted]  # the state matters
    for _ in range(2):
        got = [device.step(x) for x in INPUTS]
        assert [(one.potentials.tolist(), one.clocks) for one in got] == wanted
        device.reset_state()
    got = list(device.stream(iter(FRAMES)))
    assert [(one.potentials.tolist(), one.clocks) for one in got] == wanted
    device.reset_state()
    device.step(INPUTS[0])
    with pytest.raises(DataError, match="takes an input of shape"):
        device.step(INPUTS[0][:2])
    assert device.step(INPUTS[1]).potentials.tolist() == wanted[1][0]  # nothing had run
    device.infer(INPUTS[2])
    with pytest.raises(BoardError, match="membranes are lost: an inference was made in between; call reset_state"):
        device.step(INPUTS[2])
    device.reset_state()
    assert device.step(INPUTS[0]).potentials.tolist() == wanted[0][0]


def test_golden() -> None:
    with Device.open("golden") as device:
        _streams(device)


def test_port() -> None:
    port = port_of(CONFIG)
    with Device.open(port.port, board=BOARD, config=CONFIG) as device:
        _streams(device)
    port.pull()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Verilator needs g++")
def test_simulated_board() -> None:
    with Device.open("sim", board=BOARD, config=CONFIG) as device:
        _streams(device)


def drifting() -> Iterator[Device]:
    net = one_layer((50, -70), 100)
    config = dataclasses.replace(CONFIG, acc_width=9, membrane_width=11)
    program, down = compile_network(net, config), np.array([[0, 1]] * 4)[:, :, None, None]
    port = port_of(config, program, [down])
    for where in ("golden", port.port):
        with Device.open(where, board=BOARD, config=config) as device:
            device.load(program)
            yield device
    port.pull()


def test_a_stream_ends_where_the_next_step_is_not_proven() -> None:
    down = np.array([[0, 1]] * 4)[:, :, None, None]
    seen = 0
    for device in drifting():
        seen += 1
        for _ in range(2):
            device.step(down)
            device.step(down)
            with pytest.raises(BoardError, match="after 8 steps a membrane has left the inner half of its 11 bits"):
                device.step(down)
            device.reset_state()
    assert seen == 2
    narrow = dataclasses.replace(CONFIG, acc_width=9, membrane_width=10)
    with Device.open("golden") as device:
        device.load(compile_network(one_layer((50, -70), 100), narrow))
        device.step(down)
        with pytest.raises(BoardError, match="of 10 bits are proven for 5 steps, and 4 were made"):
            device.step(down)


def test_a_failed_step_loses_the_stream() -> None:
    port = port_of(CONFIG)
    with Device.open(port.port, board=BOARD, config=CONFIG, timeout=0.05) as device:
        device.load(PROGRAM)
        device.step(INPUTS[0])
        port.board.mute = 100
        with pytest.raises(BoardError, match="did not answer"):
            device.step(INPUTS[1])
        port.board.mute = 0
        with pytest.raises(BoardError, match="membranes are lost: the last step failed"):
            device.step(INPUTS[1])
    port.pull()


def test_a_lost_reply_does_not_repeat_the_step() -> None:
    port = port_of(CONFIG)
    with Device.open(port.port, board=BOARD, config=CONFIG, timeout=0.05) as device:
        device.load(PROGRAM)
        got = []
        for x in INPUTS:
            port.board.mute = 2
            got.append(device.step(x).potentials.tolist())
        assert got == [values for values, _ in expected()] and device.retries > 0
    port.pull()


def test_a_program_without_state_takes_no_steps() -> None:
    with Device.open("golden") as device:
        with pytest.raises(BoardError, match="call load first"):
            device.step(INPUTS[0])
        device.load(compile_network(NET, BOARD.core))
        with pytest.raises(BoardError, match="keeps no membranes; compile it for a core with state_depth"):
            device.step(INPUTS[0])
