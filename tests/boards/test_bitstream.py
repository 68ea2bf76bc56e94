"""A bitstream, turned back into Verilog by other people's tools and simulated, is the core that it was made from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from boards.build import build
from boards.host import FrameChannel, LinkDriver, SerialTransport
from boards.registry import get_board
from boards.simulated import SimulatedBoard, design_of_bitstream
from boards.simulated.bitstream import _declared_once
from boards.top import BoardTop
from refmodel import datasets, golden
from refmodel.builder import NetworkBuilder
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import BoardError
from refmodel.network import InputSpec
from refmodel.preparation import prepare
from skipspike.models import quantised

CONFIG = CoreConfig(
    event_lanes=1, output_lanes=4, time_lanes=2, neuron_units=1, bank_depth=64, spike_depth=512, store_depth=256,
    acc_width=16, membrane_width=20, result_depth=10, max_planes=6, leak_terms=1, dim_bits=5, fifo_depth=4,
    adder="chain", store="bram",
)  # fmt: skip
CLOCKS_A_BIT = 8


def digits_network():
    """A SEW block of two channels and a readout, with weights by chance: small enough for a small core."""
    rng = np.random.default_rng(1)
    builder = NetworkBuilder("tiny-digits", 2, InputSpec((1, 8, 8), 5, True, 1 / 16), family="SEW-ADD")
    x = builder.conv("input", rng.normal(0.1, 0.5, (2, 1, 3, 3)), padding=1)
    y = builder.conv(x, rng.normal(0.1, 0.5, (2, 2, 3, 3)), padding=1, shortcut=x, combine="add")
    builder.readout(y, rng.normal(0, 0.5, (10, 2)))
    return builder.build()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("icebox_vlog") is None, reason="needs Debian's fpga-icestorm")
@pytest.mark.skipif(shutil.which("g++") is None, reason="Verilator needs g++")
def test_bitstream_runs_a_digit(tmp_path):
    """The program is in the bitstream's block RAM, the image comes over the UART; results and clocks are exact."""
    board = get_board("hx8k_evn")
    program = compile_network(quantised(digits_network(), config=CONFIG), CONFIG)
    top = BoardTop(board, CONFIG, program.image, baud=board.clock_hz // CLOCKS_A_BIT)
    build(board, top=top, out_dir=tmp_path / "build")
    design = design_of_bitstream(tmp_path / "build", clocks_a_bit=CLOCKS_A_BIT)
    x = prepare(program.network.input, datasets.load_data("digits")[0])[:2]
    expected = golden.run(program.network, x, keep=True)
    clocks = run_timing(program, expected.tensors).clocks
    assert len(set(map(tuple, expected.results.tolist()))) == 2
    with SimulatedBoard(board, CONFIG, design=design, folder=tmp_path / "designs") as simulated:
        host = LinkDriver(FrameChannel(SerialTransport(simulated.port, baud=board.baud)), CONFIG, timeout=120)
        host.open()
        assert not host.load_program(program)  # it is there already
        for one, results, prediction, count in zip(x, expected.results, expected.predictions, clocks, strict=True):
            got = host.infer(one)
            assert (list(got.values), got.argmax, got.clocks) == (results.tolist(), prediction, count)
        assert simulated.state().leds == {"ready"}


def test_ports_are_declared_once():
    text = "module top (input clk, output led_0__io);\n\nwire n1, clk, n_2;\nwire led_0__io;\nassign n1 = clk;\n"
    assert _declared_once(text).split("\n")[2:] == ["wire n1, n_2;", "", "assign n1 = clk;", ""]


def test_other_families_are_refused(tmp_path):
    (tmp_path / "build.json").write_text('{"format": 1, "status": "built", "board": "icebreaker"}')
    with pytest.raises(BoardError, match=r"iCEBreaker .* cannot be turned back: icebox_vlog knows iCE40 HX and LP"):
        design_of_bitstream(tmp_path)
