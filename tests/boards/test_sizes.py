# amaranth: UnusedElaboratable=no
"""Counting cells, and results kept by content, on what the tools once wrote."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from boards import sizes
from boards.sizes import Cache, Size, Subject, count, subject, synthesise
from boards.tools import Tool
from refmodel.errors import ToolError
from rtl_gen.catalogue import make_component

TOOLS = {"yosys": "0.70", "nextpnr-ice40": "0.11"}
SIZE = Size(cells=9, lut=7, ram=4, carry=2, ff=5, bram=1, dsp=0, spram=0)
ICE40_LOG = "Info: Packing carries..\nInfo: Device utilisation:\nInfo: \t         ICESTORM_LC:     637/   5280    12%\n"
ECP5_LOG = "Info: \t        TRELLIS_COMB:     600/  83640     0%\nInfo: \t          TRELLIS_FF:     290/  83640    0%\n"


def netlist(**types: int) -> dict:
    cells = {f"{name}_{i}": {"type": name} for name, number in types.items() for i in range(number)}
    return {"modules": {"top": {"cells": {"inner": {"type": "$scopeinfo"}, **cells}}}}


def test_cells_of_ice40() -> None:
    made = netlist(SB_LUT4=12, SB_CARRY=5, SB_DFF=3, SB_DFFESR=4, SB_RAM40_4K=2, SB_MAC16=1, SB_SPRAM256KA=4)
    wanted = Size(cells=637, lut=12, ram=0, carry=5, ff=7, bram=2, dsp=1, spram=4)
    assert count(made, ICE40_LOG, "ice40") == wanted
    assert wanted.logic == 12


def test_cells_of_ecp5() -> None:
    """A carry pair and 16x4 bits of RAM count as their LUTs."""
    made = netlist(LUT4=10, CCU2C=3, TRELLIS_DPR16X4=2, TRELLIS_FF=8, DP16KD=1, MULT18X18D=1, PFUMX=4, L6MUX21=2)
    wanted = Size(cells=600, lut=24, ram=8, carry=6, ff=8, bram=1, dsp=1, spram=0)
    assert count(made, ECP5_LOG, "ecp5") == wanted
    assert wanted.logic == 16


@pytest.mark.parametrize(
    ("made", "log", "message"),
    [
        ({"modules": {}}, ICE40_LOG, "no netlist of a module 'top'"),
        ([], ICE40_LOG, "no netlist"),
        (netlist(), "Info: Program finished normally.", "did not say how many ICESTORM_LC"),
    ],
)
def test_output_that_is_not_understood(made, log, message) -> None:
    with pytest.raises(ToolError, match=message):
        count(made, log, "ice40")


def test_a_difference_has_signs() -> None:
    more = replace(SIZE, cells=4, lut=10) - SIZE
    assert (more.cells, more.lut, more.ff, more.logic) == (-5, 3, 0, 3)


def test_kept_by_content_family_and_tools(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    what = Subject("module \\top\nend\n", "ice40")
    assert cache.get(what, TOOLS) is None
    cache.put(what, TOOLS, SIZE)
    assert cache.get(what, TOOLS) == SIZE
    assert cache.get(replace(what, il=what.il + "\n"), TOOLS) is None
    assert cache.get(replace(what, family="ecp5"), TOOLS) is None
    assert cache.get(what, {**TOOLS, "yosys": "0.71"}) is None
    (file,) = cache.folder.iterdir()
    file.write_text(file.read_text()[:40])
    assert cache.get(what, TOOLS) is None  # damaged: measured again


def test_the_cache_is_the_users(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sizes.cache_folder() == tmp_path / "skipspike" / "sizes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sizes.cache_folder().parts[-3:] == (".cache", "skipspike", "sizes")


def test_the_same_component_is_the_same_source() -> None:
    def source(width: str, family: sizes.Family = "ice40") -> str:
        return subject(make_component("SpikeCombiner", {"width": width}), family).source

    assert source("8") == source("8")
    assert len({source("8"), source("9"), source("8", "ecp5")}) == 3


def test_vendors_forms_are_chosen_by_family() -> None:
    settings = {"store": "spram", "store_depth": "256"}
    assert "SB_SPRAM256KA" in subject(make_component("ResidentStore", settings), "ice40").il
    assert "SB_SPRAM256KA" not in subject(make_component("ResidentStore", settings), "ecp5").il


class FakeTools:
    """Stands for Yosys and nextpnr: fails as often as it is told, then writes a netlist."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int = 0, error: Exception | None = None) -> None:
        self.failures, self.error, self.scripts = failures, error or ToolError("yosys: out of luck"), []
        monkeypatch.setattr(
            sizes, "find_tools", lambda names, kind: {name: Tool(name, f"/bin/{name}", "1") for name in names}
        )

    def __call__(self, command: list[str], folder: Path, timeout: float) -> str:
        if "yosys" in command[0]:
            self.scripts.append((folder / "synth.ys").read_text())
            if self.failures >= len(self.scripts):
                raise self.error
            (folder / "top.json").write_text(json.dumps(netlist(SB_LUT4=3)))
            return ""
        assert "--pack-only" in command
        return ICE40_LOG


def test_synthesis_reads_what_the_tools_write(monkeypatch) -> None:
    tools = FakeTools(monkeypatch)
    assert synthesise(Subject("x", "ice40"), run=tools).lut == 3
    (script,) = tools.scripts
    assert script.splitlines() == [
        "read_rtlil top.il",
        "hierarchy -top top",
        "proc; flatten; opt_clean; splitnets",
        "synth_ice40 -device u -dsp -dffe_min_ce_use 24 -top top",
        "write_json top.json",
    ]


def test_a_tool_that_gives_up_gets_another_order(monkeypatch) -> None:
    tools = FakeTools(monkeypatch, failures=1)
    assert synthesise(Subject("x", "ice40"), run=tools).cells == 637
    assert len(tools.scripts) == 2 and "splitnets" not in tools.scripts[1]


def test_failures_and_late_tools(monkeypatch) -> None:
    with pytest.raises(ToolError, match="out of luck"):
        synthesise(Subject("x", "ice40"), run=FakeTools(monkeypatch, failures=3))
    late = FakeTools(monkeypatch, failures=1, error=sizes.ToolTimeout("yosys took longer than 5 s"))
    with pytest.raises(ToolError, match="longer than 5 s"):
        synthesise(Subject("x", "ice40"), run=late, timeout=5)
    assert len(late.scripts) == 1  # it would be late again


def test_what_a_failed_command_says(tmp_path: Path) -> None:
    run = sizes.ToolRunner()
    with pytest.raises(ToolError, match="sh: ERROR: no such thing"):
        run(["sh", "-c", "echo ok; echo ERROR: no such thing; echo done; exit 1"], tmp_path, 10)
    with pytest.raises(ToolError, match="it wrote nothing"):
        run(["sh", "-c", "exit 1"], tmp_path, 10)
    with pytest.raises(sizes.ToolTimeout, match="sleep took longer than 0.1 s"):
        run(["sleep", "5"], tmp_path, 0.1)
    with pytest.raises(ToolError, match="could not be started"):
        run(["./nothing-here"], tmp_path, 10)


def test_running_tools_can_be_ended(tmp_path: Path) -> None:
    run = sizes.ToolRunner()
    threading.Timer(0.3, run.stop).start()
    began = time.monotonic()
    with pytest.raises(ToolError, match="sleep: it wrote nothing"):
        run(["sleep", "60"], tmp_path, 100)
    assert time.monotonic() - began < 30
    with pytest.raises(ToolError, match="not started any more"):
        run(["sleep", "60"], tmp_path, 100)


@pytest.mark.slow
@pytest.mark.parametrize("family", sizes.FAMILIES)
def test_real_tools_agree_on_a_multiplexer(family: sizes.Family) -> None:
    """A 6-bit multiplexer: a LUT a bit, and one for the gate of its select input at most."""
    size = synthesise(subject(make_component("MembraneShortcutMux", {"width": "6"}), family))
    assert size.logic in (6, 7) and size.ff == size.carry == size.bram == 0
    assert size.cells >= size.lut
