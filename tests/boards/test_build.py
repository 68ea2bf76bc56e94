# amaranth: UnusedElaboratable=no
"""Building: end to end for each family with a small stand-in for the core, and every way to fail."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from amaranth import Elaboratable, Module
from amaranth.back import rtlil
from amaranth.lib.memory import Memory

from boards import build as build_module
from boards import netlists
from boards.build import build
from boards.registry import get_board
from boards.report import format_report, report
from boards.tools import Tool
from boards.top import BoardTop
from refmodel.errors import BoardError, ConfigError, ToolError


def _design(name, stub_core):
    board = get_board(name)
    config = replace(board.core, store_depth=256) if board.core.store == "bram" else board.core
    return board, BoardTop(board, config, core=stub_core)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "ulx3s_12f"])
def test_end_to_end(name, stub_core, tmp_path):
    board, top = _design(name, stub_core)
    steps = []
    result = build(board, out_dir=tmp_path / "a", top=top, progress=steps.append)
    assert [step.split(":")[0] for step in steps] == [
        "generate",
        "synthesise",
        "place and route",
        "timing",
        "pack",
        "built",
    ]
    assert result.timing_met and result.fmax_hz > board.clock_hz == result.target_hz
    assert result.bitstream.stat().st_size > 10_000
    assert hashlib.sha256(result.bitstream.read_bytes()).hexdigest() == result.sha256
    assert result.utilisation["lut"]["available"] == board.luts
    assert result.utilisation["bram"]["available"] == board.brams
    assert result.utilisation["dsp"]["available"] == board.dsps
    assert result.utilisation["spram"] == {"used": 2 if board.sprams else 0, "available": board.sprams}
    record = json.loads((tmp_path / "a" / "build.json").read_text())
    assert record["seed"] == 1 and record["tools"]["yosys"] and record["config"]["store"] == top.config.store
    for path in (tmp_path / "a").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), f"{path.name} names the machine's folders"

    built = report(tmp_path / "a")
    assert {"core", "link", "uart_rx", "uart_tx", "pll"} <= set(built.components)
    assert built.critical_ns == pytest.approx(1e9 / built.fmax_hz, rel=0.01)
    assert "critical path" in format_report(built)

    again = build(board, out_dir=tmp_path / "b", top=_design(name, stub_core)[1])
    assert again.sha256 == result.sha256
    for name in ("build.json", "top.il", "top.v", "top.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    """Tools that are shell scripts; by default each writes what the next one needs."""
    scripts = {
        "yosys": """echo '{"modules": {"top": {"cells": {"a": {"type": "SB_DFF"}}}}}' > top.json""",
        "nextpnr-ice40": """echo '{"fmax": {"clk": {"achieved": 20.0, "constraint": 30.0015}},
            "utilization": {"ICESTORM_LC": {"used": 7, "available": 5280}}}' > report.json""",
        "icepack": "echo bits > top.bin",
    }

    def find_tools(names, kind):
        found = {}
        for name in names:
            path = tmp_path / name
            path.write_text("#!/bin/sh\n" + scripts[name] + "\n")
            path.chmod(0o755)
            found[name] = Tool(name, str(path), "1.0")
        return found

    monkeypatch.setattr(build_module, "find_tools", find_tools)
    return scripts


def _try(stub_core, tmp_path, **options):
    board, top = _design("icebreaker", stub_core)
    return build(board, out_dir=tmp_path / "out", top=top, **options)


def test_missed_timing_is_said_not_hidden(fake_tools, stub_core, tmp_path):
    steps = []
    result = _try(stub_core, tmp_path, progress=steps.append)
    assert not result.timing_met and result.fmax_hz == 20e6 and result.target_hz == 30e6
    assert any("NOT MET" in step for step in steps)
    assert json.loads((tmp_path / "out" / "build.json").read_text())["timing_met"] is False
    assert result.utilisation["lut"] == {"used": 7, "available": 5280}
    assert result.utilisation["ff"]["used"] == 1


def test_design_that_does_not_fit(fake_tools, stub_core, tmp_path):
    fake_tools["nextpnr-ice40"] = """echo 'Info: Device utilisation:'
        echo 'Info: 	         ICESTORM_LC:    7333/   5280   138%'
        echo 'Info: 	        ICESTORM_RAM:      30/     30   100%'
        echo "ERROR: Unable to place cell 'x'"; echo '0 warnings, 1 error'; exit 1"""
    with pytest.raises(BoardError, match=r"does not fit icebreaker: needs 7333 LCs of 5280 \(log: .*place\.log\)"):
        _try(stub_core, tmp_path)
    with pytest.raises(BoardError, match="failed: design does not fit icebreaker"):
        report(tmp_path / "out")


def test_failing_tool_names_its_error_and_log(fake_tools, stub_core, tmp_path):
    fake_tools["yosys"] = "echo; echo 'ERROR: Module `\\x is missing'; echo; exit 1"
    with pytest.raises(ToolError, match=r"yosys: Module .* is missing \(log: .*synth\.log\)"):
        _try(stub_core, tmp_path)
    assert "ERROR: Module" in (tmp_path / "out" / "synth.log").read_text()
    assert json.loads((tmp_path / "out" / "build.json").read_text())["status"] == "failed"


def test_failed_build_leaves_no_old_bitstream(fake_tools, stub_core, tmp_path):
    _try(stub_core, tmp_path)
    assert (tmp_path / "out" / "top.bin").exists()
    fake_tools["nextpnr-ice40"] = "exit 1"
    with pytest.raises(ToolError, match="it wrote nothing"):
        _try(stub_core, tmp_path)
    assert not (tmp_path / "out" / "top.bin").exists()


@pytest.mark.parametrize(
    ("tool", "script", "expected"),
    [
        ("icepack", "exit 0", "wrote no bitstream"),
        ("yosys", "exit 0", "yosys wrote no top.json"),
        ("nextpnr-ice40", "exit 0", "report.json is missing"),
        ("nextpnr-ice40", """echo '{"fmax": {}, "utilization": {}}' > report.json""", "no clock constrained to 30 MHz"),
        ("yosys", "echo '{}' > top.json", "yosys wrote a damaged netlist"),
    ],
)
def test_tool_that_makes_nothing(fake_tools, stub_core, tmp_path, tool, script, expected):
    fake_tools[tool] = script
    with pytest.raises((ToolError, BoardError), match=expected):
        _try(stub_core, tmp_path)


def test_slow_tool_is_stopped(fake_tools, stub_core, tmp_path):
    fake_tools["yosys"] = "exec sleep 60"
    with pytest.raises(ToolError, match=r"longer than 0\.5 s"):
        _try(stub_core, tmp_path, step_timeout=0.5)


def test_spram_image_is_refused(fake_tools, tmp_path):
    board = get_board("icebreaker")
    with pytest.raises(ConfigError, match="host link"):
        build(board, out_dir=tmp_path / "out", top=BoardTop(board, store_init=[1]))


def test_folder_that_cannot_be_made(stub_core, tmp_path):
    (tmp_path / "file").write_text("")
    board, top = _design("icebreaker", stub_core)
    with pytest.raises(BoardError, match="cannot make folder"):
        build(board, out_dir=tmp_path / "file" / "out", top=top)


class _Memories(Elaboratable):
    """Two memories with a clocked read port each, of which one is marked, and a marked one that reads at once."""

    def elaborate(self, platform):
        m = Module()
        mark = {"no_rw_check": 1}
        for name, attrs, domain in (("kept", {}, "sync"), ("marked", mark, "sync"), ("now", mark, "comb")):
            m.submodules[name] = memory = Memory(shape=8, depth=512, init=[], attrs=attrs)
            memory.write_port()
            memory.read_port(domain=domain)
        return m


def test_only_marked_memories_lose_their_collision_logic():
    text = rtlil.convert(_Memories(), ports=[], emit_src=False, name="top")
    marked = netlists.mark_collision_free(text)
    changed = [(a, b) for a, b in zip(text.split("\n"), marked.split("\n"), strict=True) if a != b]
    assert [b.strip() for _, b in changed] == [r"parameter \COLLISION_X_MASK 1'1"]
    assert text.index(r"memory width 8 size 512 \marked") > 0
    place = marked.index(r"COLLISION_X_MASK 1'1")
    assert marked.rindex(r"\MEMID", 0, place) == marked.rindex(r'\MEMID "\\marked"', 0, place)
