"""The verb ``board-sim``: says where the board is, serves it, and goes when it is told to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_wrong_use_is_one_line(command):
    done = command("board-sim")
    assert done.returncode == 2 and "takes --board BOARD, or the folder of a build" in done.stderr
    done = command("board-sim", "--board", "nexys")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "'nexys' is not known" in done.stderr
    done = command("board-sim", ".")
    assert done.returncode == 1 and "build.json is missing: nothing was built there" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Verilator needs g++")
def test_a_board_until_interrupted(tmp_path):
    from boards.host import FrameChannel, LinkDriver, SerialTransport
    from boards.registry import get_board

    process = subprocess.Popen(
        [sys.executable, "-m", "skipspike", "board-sim", "--board", "icebreaker", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    board = get_board("icebreaker")
    assert said["board"] == board.name and said["lanes"] == board.core.lanes
    LinkDriver(FrameChannel(SerialTransport(said["port"], baud=board.baud)), board.core, timeout=10).identify()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and rest == "" and errors.endswith("switched off\n")
    with pytest.raises(ProcessLookupError):
        os.kill(said["pid"], 0)
