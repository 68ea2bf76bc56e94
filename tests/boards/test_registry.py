# amaranth: UnusedElaboratable=no
"""The boards agree with their Amaranth platforms, and their default cores with their memories."""

from __future__ import annotations

import pytest

from boards.registry import BOARDS, get_board, is_board
from boards.top import BoardTop
from boards.uart import baud_divisor
from refmodel.errors import BoardError
from rtl_gen.store import spram_tiles


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_platform_agrees(board):
    platform = board.platform()
    assert platform.default_clk_frequency == board.input_clock_hz
    assert board.device in (platform.device, platform.device.removeprefix("iCE40").lower())
    assert board.platform() is not platform


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_store_fits(board):
    if board.core.store == "spram":
        rows, columns = spram_tiles(board.core)
        assert rows * columns <= board.sprams
    else:
        assert board.core.store_depth * board.core.store_width <= board.bram_total_kbit * 1024


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_top_runs_at_the_target(board, stub_core):
    assert BoardTop(board, core=stub_core).clock_hz == board.clock_hz


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_additions(board):
    """Each makes another core, or another start, and may not come twice."""
    for addition in board.additions:
        name = f"{board.name}+{addition}"
        found = get_board(name)
        assert found.name == name and (found.core != board.core or found.boot) and addition not in found.additions
        assert is_board(name) and not is_board(f"/dev/{name}")
        with pytest.raises(BoardError, match=f"has no '{addition}'"):
            get_board(f"{name}+{addition}")
    assert get_board("icebreaker+boot+state").core == get_board("icebreaker+state").core


def test_boot_is_built_where_it_is_asked_for(stub_core):
    boots = {name: BoardTop(get_board(name), core=stub_core).boot for name in ("icebreaker", "icebreaker+boot")}
    assert boots == {"icebreaker": False, "icebreaker+boot": True}
    assert BoardTop(get_board("hx8k_evn+flash"), core=stub_core).boot
    assert not BoardTop(get_board("icebreaker+boot"), core=stub_core, boot=False).boot


def test_unknown_board_names_the_known_ones():
    with pytest.raises(BoardError, match="board 'ice' is not known; use one of colorlight_5a75b, ecpix5_45f"):
        get_board("ice")


@pytest.mark.parametrize("baud", [115_200, 1_000_000, 3_000_000])
@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_every_board_makes_the_usual_speeds(board, baud):
    assert abs(board.clock_hz / baud_divisor(board.clock_hz, baud) / baud - 1) <= 0.02
