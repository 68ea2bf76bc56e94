"""PLL settings: exact outputs within the vendors' ranges, and agreement with the vendors' open tools."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.pll import ecp5_pll, ice40_pll
from boards.registry import BOARDS
from refmodel.errors import BoardError

MHZ = 1_000_000


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_board_clocks_are_exact(board):
    settings = (ice40_pll if board.family == "ice40" else ecp5_pll)(board.input_clock_hz, board.clock_hz)
    assert settings.output_hz == board.clock_hz


def test_icebreaker_settings():
    settings = ice40_pll(12 * MHZ, 24 * MHZ)
    assert (settings.divr, settings.divf, settings.divq, settings.filter_range) == (0, 63, 5, 1)
    assert settings.vco_hz == 768 * MHZ


def test_ulx3s_settings():
    settings = ecp5_pll(25 * MHZ, 62_500_000)
    assert (settings.clki_div, settings.clkfb_div) == (2, 5)
    assert settings.vco_hz == settings.output_hz * settings.clkop_div


@given(st.integers(10 * MHZ, 133 * MHZ), st.integers(16 * MHZ, 275 * MHZ))
def test_ice40_ranges(input_hz, output_hz):
    s = ice40_pll(input_hz, output_hz)
    assert 0 <= s.divr <= 15 and 0 <= s.divf <= 127 and 1 <= s.divq <= 6 and 1 <= s.filter_range <= 6
    assert 10 * MHZ <= input_hz / (s.divr + 1) <= 133 * MHZ
    assert 533 * MHZ <= s.vco_hz <= 1066 * MHZ
    assert s.vco_hz == pytest.approx(input_hz * (s.divf + 1) / (s.divr + 1))
    assert s.output_hz == pytest.approx(s.vco_hz / 2**s.divq)


@given(st.integers(10 * MHZ, 400 * MHZ), st.integers(10 * MHZ, 400 * MHZ))
def test_ecp5_ranges(input_hz, output_hz):
    s = ecp5_pll(input_hz, output_hz)
    assert 1 <= s.clki_div <= 128 and 1 <= s.clkfb_div <= 80 and 1 <= s.clkop_div <= 128
    assert 10 * MHZ <= input_hz / s.clki_div <= 400 * MHZ
    assert 400 * MHZ <= s.vco_hz <= 800 * MHZ
    assert s.output_hz == pytest.approx(input_hz / s.clki_div * s.clkfb_div)
    assert s.vco_hz == pytest.approx(s.output_hz * s.clkop_div)


@pytest.mark.parametrize(
    ("solve", "input_hz", "output_hz", "expected"),
    [
        (ice40_pll, 9 * MHZ, 24 * MHZ, "input must be 10 to 133"),
        (ice40_pll, 12 * MHZ, 15 * MHZ, "output must be 16 to 275"),
        (ecp5_pll, 7 * MHZ, 60 * MHZ, "input must be 8 to 400"),
        (ecp5_pll, 25 * MHZ, 401 * MHZ, "output must be 3.125 to 400"),
        (ecp5_pll, 9 * MHZ, 60 * MHZ, "cannot make"),  # below the phase detector's range
    ],
)
def test_out_of_range(solve, input_hz, output_hz, expected):
    with pytest.raises(BoardError, match=expected):
        solve(input_hz, output_hz)


@pytest.mark.slow
@pytest.mark.parametrize("output_mhz", [20, 24, 30, 48, 60, 100])
def test_icepll_agrees(output_mhz):
    """icestorm's own calculator finds the same output, with the same filter."""
    tool = shutil.which("yowasp-icepll", path=str(Path(sys.executable).parent)) or shutil.which("icepll")
    if tool is None:
        pytest.skip("no icepll")
    text = subprocess.run([tool, "-i", "12", "-o", str(output_mhz)], capture_output=True, text=True, check=True).stdout
    achieved = re.search(r"F_PLLOUT:\s*([\d.]+) MHz \(achieved\)", text)
    filter_range = re.search(r"FILTER_RANGE:\s*(\d+)", text)
    assert achieved and filter_range
    settings = ice40_pll(12 * MHZ, output_mhz * MHZ)
    assert settings.output_hz / MHZ == pytest.approx(float(achieved.group(1)), abs=0.001)
    assert settings.filter_range == int(filter_range.group(1))
