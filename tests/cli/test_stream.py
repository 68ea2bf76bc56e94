"""Streaming from the command line, and the cores that keep membranes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from boards.area_model import area, memory_blocks
from boards.registry import get_board, keeping_state
from refmodel import golden, modelfile
from refmodel.compiler import compile_network
from refmodel.errors import CompileError, SkipspikeError
from refmodel.event_frames import calls_of
from refmodel.quantized import QuantizedInput
from skipspike import api
from skipspike.cores import state_blocks, usual_core
from tests.cli.test_cores import network
from tests.cli.test_verbs import run_json
from tests.python_board import PtyBoard, PythonBoard
from tests.refmodel.test_state_plan import one_layer


def frames_network():
    net = network(4, 8, 1)
    return dataclasses.replace(net, input=QuantizedInput((3, 4, 4), 1, False))


def test_simulated_calls_go_on_where_the_call_before_ended(tmp_path: Path) -> None:
    net, rng = frames_network(), np.random.default_rng(0)
    frames = rng.integers(0, 2, (14, 3, 4, 4)).astype(np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    modelfile.save(net, tmp_path / "net.skn")
    stream = ("--stream", str(tmp_path / "frames.npy"), "--simulator", "amaranth", "--samples", "3")
    result = run_json("simulate", str(tmp_path / "net.skn"), *stream)
    assert result["mismatched_clocks"] == 0 and result["samples"] == 3 and result["labels"] == [-1] * 3
    state, wanted = None, []
    for call in calls_of(net, frames, "drop"):
        made = golden.run(net, call.x[None], state=state, keep_state=True)
        state = made.state
        wanted.append(int(made.predictions[0]))
    assert result["predictions"] == wanted
    with pytest.raises(SkipspikeError, match="14 frames are no whole number of calls of 4 steps"):
        api.simulate(tmp_path / "net.skn", stream=frames, samples=9)
    with pytest.raises(SkipspikeError, match="takes the place of data"):
        api.simulate(tmp_path / "net.skn", stream=frames, data="random")


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s_85f"])
def test_a_state_memory_grows_as_far_as_the_board_has_block_rams(name: str) -> None:
    board = keeping_state(get_board(name))
    assert keeping_state(board) is board
    net = network(16, 16, 1)  # two layers of 16 channels
    needed = 2 * 16 * 16 * 16 // board.core.neuron_units
    if name == "icebreaker":  # one block RAM is left
        assert usual_core(board, net).state_depth == board.core.state_depth
        with pytest.raises(CompileError, match=f"needs {needed} words of state memory"):
            compile_network(net, usual_core(board, net))
        return
    config = usual_core(board, net)
    assert needed <= config.state_depth < needed + 512
    assert compile_network(net, config).memory()["state_words"] == needed
    plain = dataclasses.replace(config, state_depth=0)
    assert state_blocks(board, config) == memory_blocks("ecp5", config) - memory_blocks("ecp5", plain) > 0
    assert area("ecp5", config).cells > area("ecp5", plain).cells


def test_run_on_a_board_goes_on_from_call_to_call(tmp_path: Path) -> None:
    """The verb ``run`` with frames: a board behind a port, call by call as the model."""
    net = one_layer((5, 2), 9, leak_shifts=(2,))
    frames = np.random.default_rng(0).integers(0, 2, (16, 2, 1, 1)).astype(np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    modelfile.save(net, tmp_path / "net.skn")
    board = keeping_state(get_board("icebreaker"))
    program = compile_network(net, usual_core(board, net))
    calls = np.stack([call.x for call in calls_of(net, frames)])
    pty = PtyBoard(PythonBoard(program.config, program, calls))
    stream = ("--stream", str(tmp_path / "frames.npy"), "--port", pty.port)
    result = run_json("run", str(tmp_path / "net.skn"), *stream)
    assert result["samples"] == 4 and result["differing"] == [] and result["accuracy"] is None
    pty.board.wrong = 1
    assert api.run(tmp_path / "net.skn", port=pty.port, stream=frames, samples=3)["differing"] == [0, 1, 2]
    pty.pull()
    anew = golden.run(net, calls).results.tolist()
    state, gone_on = None, []
    for call in calls:
        made = golden.run(net, call[None], state=state, keep_state=True)
        state = made.state
        gone_on += made.results.tolist()
    assert gone_on != anew  # the state matters
