"""The demo's choice of network and core."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skipspike import api, demo
from skipspike.cores import read_core

NETWORK = "digits-sew-and-6"


@pytest.fixture
def without_tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Simulation and build only note what they were asked."""
    asked: dict[str, dict] = {}

    def simulate(network, **options):
        asked["simulate"] = {"network": network, **options}
        keys = ("samples", "compared_clocks", "mismatched_clocks", "first_mismatch", "predictions", "labels")
        return dict.fromkeys((*keys, "golden_predictions"), 0) | {"clocks": [100, 300]}

    def build(network, **options):
        asked["build"] = {"network": network, **options}
        return dict.fromkeys(("fmax_hz", "timing_met", "utilisation", "bitstream", "folder"), 0) | {"clock_hz": 1000}

    monkeypatch.setattr(demo, "simulate", simulate)
    monkeypatch.setattr(demo, "build", build)
    return asked


def test_one_core_is_chosen_and_kept(without_tools: dict[str, dict], tmp_path: Path) -> None:
    result = api.demo(network=NETWORK, board="ulx3s_25f", core="search", out=tmp_path / "out", samples=2)
    config, clock = read_core(tmp_path / "out" / "core.json")
    assert config.lanes == result["lanes"] and clock
    assert json.loads((tmp_path / "out" / "core.json").read_text())["core"]["event_lanes"] == config.event_lanes
    for step in ("simulate", "build"):
        assert without_tools[step]["core"] == tmp_path / "out" / "core.json"
        assert without_tools[step]["network"] == NETWORK
    assert (result["clocks_per_inference"], result["frames_per_second"]) == (200, 5)
