"""One suite for every device: golden model, a board in Python behind a port, a recording, a simulated board, hardware.

Hardware: SKIPSPIKE_PORT=/dev/ttyUSB1 SKIPSPIKE_BOARD=icebreaker pytest -m "slow or not slow" tests/cli/test_device.py
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from boards.registry import get_board
from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from refmodel.errors import BoardError, CompileError, DataError
from skipspike.api import Device
from tests.python_board import PtyBoard, PythonBoard
from tests.random_networks import random_input, random_quantized_network

BOARD = get_board(os.environ.get("SKIPSPIKE_BOARD", "icebreaker"))
PORT = os.environ.get("SKIPSPIKE_PORT")


def _program():
    """The first random network that the board's core runs."""
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        net = random_quantized_network(rng, steps=4, max_layers=2, sizes=(3, 4), channels_choices=(5,), input_bits=(1,))
        with contextlib.suppress(CompileError):
            return net, compile_network(net, BOARD.core)
    raise AssertionError


NET, PROGRAM = _program()
INPUTS = random_input(np.random.default_rng(4), NET, 7)


@pytest.fixture
def port():
    """A board in Python behind a pseudo-terminal."""
    pty = PtyBoard(PythonBoard(BOARD.core, PROGRAM, INPUTS))
    yield pty
    pty.pull()


def _record(port, path):
    with Device.open(port, record=path) as device:
        _classify(device)


def _classify(device):
    """Alone, together and again: exact, clocks included."""
    expected = golden.run(PROGRAM.network, INPUTS, keep=True)
    clocks = run_timing(PROGRAM, expected.tensors).clocks.tolist()
    with pytest.raises(BoardError, match="call load first"):
        device.infer(INPUTS[0])
    device.load(PROGRAM)
    assert not device.load(PROGRAM)
    told = []
    got = [device.infer(INPUTS[0]), *device.infer_many(INPUTS[1:], lambda step, share: told.append(share))]
    got += device.infer_many(list(INPUTS))
    assert [one.potentials.tolist() for one in got] == 2 * expected.results.tolist()
    assert [one.argmax for one in got] == 2 * expected.predictions.tolist()
    assert [one.clocks for one in got] == 2 * clocks
    assert told[-1] == 1.0 and device.retries == 0
    with pytest.raises(DataError, match="takes an input of shape"):
        device.infer(INPUTS[0][:, :, :1])
    assert device.infer(INPUTS[2]).same(got[2])


def test_golden():
    with Device.open("golden") as device:
        _classify(device)


def test_port(port):
    with Device.open(port.port) as device:
        assert device.clock_hz == 24_000_000
        _classify(device)


def test_replay(port, tmp_path):
    path = tmp_path / "recording"
    _record(port.port, path)
    assert not path.with_name("recording.part").exists()
    with Device.open(f"replay:{path}") as device:
        _classify(device)
        with pytest.raises(BoardError, match="ends after"):
            device.infer(INPUTS[0])
    with Device.open(f"replay:{path}") as device:
        device.load(PROGRAM)
        device.load(PROGRAM)
        with pytest.raises(BoardError, match="differs at frame"):
            device.infer(INPUTS[1])
    path.write_text("{}\n")
    with pytest.raises(BoardError, match="not a recording"):
        Device.open(f"replay:{path}")
    with pytest.raises(BoardError, match="cannot read"):
        Device.open("replay:/no/such/file")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Verilator needs g++")
def test_simulated_board():
    with Device.open("sim", board=BOARD) as device:
        _classify(device)


@pytest.mark.skipif(PORT is None, reason="no SKIPSPIKE_PORT")
def test_hardware(tmp_path):
    assert PORT is not None
    with Device.open(PORT, board=BOARD, record=tmp_path / "recording") as device:
        _classify(device)


def test_lost_replies_are_mended(port):
    with Device.open(port.port, timeout=0.05) as device:
        device.load(PROGRAM)
        expected = device.infer_many(INPUTS)
        for mute in (1, 2, 3):
            port.board.mute = mute
            assert all(one.same(other) for one, other in zip(device.infer_many(INPUTS), expected, strict=True))
        assert device.retries >= 3
        port.board.mute = 100
        with pytest.raises(BoardError, match="did not answer"):
            device.infer(INPUTS[0])


def test_a_long_run_is_waited_for(port):
    with Device.open(port.port) as device:
        device.load(PROGRAM)
        port.board.run_seconds = 0.1
        assert device.infer(INPUTS[0]).clocks > 0
    with Device.open(port.port, run_timeout=0.05) as device:
        device.load(PROGRAM)
        port.board.run_seconds = 0.5
        with pytest.raises(BoardError, match="still busy"):
            device.infer(INPUTS[0])


@pytest.mark.parametrize("pulled", [True, False], ids=["cable pulled", "closed by another thread"])
def test_the_end_in_the_middle_of_a_run(port, pulled):
    """One clear error, and soon."""
    device = Device.open(port.port)
    device.load(PROGRAM)
    port.board.run_seconds = 5
    threading.Timer(0.2, port.pull if pulled else device.close).start()
    began = time.monotonic()
    with pytest.raises(BoardError, match="is the board still connected" if pulled else "was closed"):
        device.infer_many(INPUTS)
    assert time.monotonic() - began < 2
    device.close()
    with pytest.raises(BoardError, match="was closed"):
        device.infer(INPUTS[0])


def test_no_such_place():
    with pytest.raises(BoardError, match="cannot open serial port /dev/no-such-port"):
        Device.open("/dev/no-such-port")
    with pytest.raises(BoardError, match="name its (serial )?port"):
        Device.open("ulx3s_85f")


def test_run_verb(command):
    """On the model; without a board; wrong use."""
    done = command("run", "digits-sew-add-8", "--port", "golden", "--samples", "3", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["samples"] == 3 and said["differing"] == [] and len(said["clocks"]) == 3
    done = command("run", "digits-sew-add-8", "--port", "/dev/no-such-port", "--samples", "1")
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: cannot open serial port")
    assert command("run", "digits-sew-add-8").returncode == 2


def test_a_wrong_device_is_found_out(port, monkeypatch):
    from skipspike import running

    port.board.wrong = 1
    monkeypatch.setattr(running, "open_network", lambda network: NET)
    monkeypatch.setattr(running, "quantised", lambda net, bits, config: NET)
    monkeypatch.setattr(running, "inputs_of", lambda *_: (INPUTS, np.zeros(len(INPUTS), np.int64)))
    result = running.run("net", port=port.port, core="board")
    assert result["differing"] == list(range(len(INPUTS)))
    assert result["first_difference"].startswith("image 0: results ")
    port.board.wrong = 0
    assert running.run("net", port=port.port, core="board")["differing"] == []
