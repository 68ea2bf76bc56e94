"""Programs outside the FPGA as the verbs have them: the board's name chooses the memory, estimates know the waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from boards.registry import get_board
from refmodel.compiler import compile_network
from refmodel.errors import CompileError
from refmodel.outlook import outlook
from skipspike import api
from skipspike.cli import app
from skipspike.cores import core_for
from skipspike.models import open_network, quantised
from skipspike.simulation import agrees

#: 45,377 words of 128 bits: more than all block RAM of the largest board.
LARGE = "zoo:sew-resnet18,width=1/4,size=16,classes=10"


def test_board_names() -> None:
    plain, board = get_board("ulx3s_85f"), get_board("ulx3s_85f+sdram")
    assert board.name == "ulx3s_85f+sdram" and board.core.store == "sdram"
    assert board.core == replace(
        plain.core, store="sdram", store_depth=board.core.store_depth, store_fifo=board.core.store_fifo
    )
    assert board.core_brams < plain.core_brams
    assert get_board("icebreaker+flash").core_brams == get_board("icebreaker").core_brams


def test_large_network() -> None:
    """It fits only where the program lies outside, and the way there is named."""
    board = get_board("ulx3s_85f+sdram")
    net = quantised(open_network(LARGE), None, board.core)
    config = core_for(board, net)
    program = compile_network(net, config)
    assert config.store == "sdram"
    assert len(program.image) * config.store_width > 1.4 * 1024 * board.bram_total_kbit
    with pytest.raises(CompileError, match=r"outside the FPGA, such as ulx3s_85f\+sdram"):
        compile_network(net, replace(config, store="bram", store_depth=8192))
    expected = outlook(net, config)
    inside = outlook(net, replace(config, store="bram"))
    assert expected.clocks > 1.5 * inside.clocks
    assert sum(layer.clocks for layer in expected.layers) == pytest.approx(expected.clocks)
    assert [layer.events for layer in expected.layers] == [layer.events for layer in inside.layers]


def test_estimates() -> None:
    inside = api.estimate("digits-sew-add-8", board="ulx3s_85f", samples=2, core="board")
    outside = api.estimate("digits-sew-add-8", board="ulx3s_85f+sdram", samples=2, core="board")
    assert inside["stall_clocks"] == 0 < outside["stall_clocks"]
    assert inside["clocks_per_inference"] < outside["clocks_per_inference"]
    assert outside["clocks_per_inference"] <= inside["clocks_per_inference"] + outside["stall_clocks"]
    assert sum(layer["clocks"] for layer in outside["layers"]) == pytest.approx(outside["clocks_per_inference"])
    expected = api.estimate("digits-sew-add-8", board="ulx3s_85f+sdram", density="0.2", core="board")
    assert expected["clocks_per_inference"] == pytest.approx(outside["clocks_per_inference"], rel=0.3)


def test_names_the_way_out() -> None:
    runner = CliRunner()
    network = "zoo:sew-resnet18,width=1/4,size=16,classes=10"
    said = runner.invoke(app, ["estimate", network, "--board", "ulx3s_85f", "--core", "board", "--density", "0.1"])
    assert said.exit_code == 0
    assert "--board ulx3s_85f+sdram" in said.stdout
    said = runner.invoke(app, ["estimate", network, "--board", "ulx3s_85f+flash"])
    assert said.exit_code == 1 and "has no 'flash'; there is ulx3s_85f+sdram" in said.stderr


def test_verify_flash(tmp_path: Any) -> None:
    said = CliRunner().invoke(app, ["verify-flash", str(tmp_path), "--json"])
    assert said.exit_code == 1 and "nothing was built there" in said.stderr and not said.stdout


@pytest.mark.slow
def test_large_network_clock_by_clock() -> None:
    """The whole network from SDRAM, in Verilator."""
    result = api.simulate(LARGE, board="ulx3s_85f+sdram", samples=1)
    assert agrees(result), result["first_mismatch"]
