"""Reading build folders: components, clock, critical path, memory map; loading; what damaged folders say."""

from __future__ import annotations

import hashlib
import json

import pytest

from boards import load as load_module
from boards.build import sync_clock
from boards.load import command_for, load, load_own
from boards.registry import get_board
from boards.report import format_report, report
from boards.tools import Tool
from refmodel.errors import BoardError, ToolError

CELLS = {
    "core": "$scopeinfo",
    "core.array": "$scopeinfo",
    "core.array.stage0": "$scopeinfo",
    "core.scan$124": "$scopeinfo",
    "core.U$0": "$scopeinfo",
    "core.U$1": "$scopeinfo",
    "core.scan$124.hit_LUT4_Z": "LUT4",
    "core.U$1.hit_LUT4_Z": "LUT4",
    "link": "$scopeinfo",
    "core.busy_LUT4_Z": "LUT4",
    "core.load__payload.data_LUT4_Z": "LUT4",  # a dot in a signal's name makes no component
    "core.array.stage0.acc_CCU2C_S0": "CCU2C",
    "core.array.stage0.acc_TRELLIS_FF_Q": "TRELLIS_FF",
    "core.array.stage0.bank.0.0": "DP16KD",
    "link.timer_TRELLIS_FF_Q": "TRELLIS_FF",
    "led_LUT4_Z": "LUT4",
    "pll": "EHXPLLL",
}


def _step(kind, cell, delay):
    return {"type": kind, "delay": delay, "from": {"cell": cell}, "to": {"cell": cell}}


TIMING = {
    "fmax": {"$glbnet$clk": {"achieved": 100.0, "constraint": 62.5}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [_step("routing", "led_LUT4_Z", 50.0)]},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [
                _step("clk-to-q", "link.timer_TRELLIS_FF_Q", 0.5),
                _step("routing", "core.busy_LUT4_Z", 2.0),
                _step("logic", "core.busy_LUT4_Z", 0.25),
                _step("setup", "core.array.stage0.acc_TRELLIS_FF_Q", 0.25),
            ],
        },
    ],
}
PROGRAM = {
    "memory": {"store_words": 90, "store_depth": 4096, "store_width": 128, "spike_words": 5, "spike_depth": 64},
    "slabs": [{"layer": "conv1", "group": 0, "address": 0, "words": 90}],
    "buffers": {"input": {"base": 0, "words": 5}},
}
BITSTREAM = b"bits"


@pytest.fixture
def folder(tmp_path):
    record = {
        "format": 1,
        "status": "built",
        "board": "ulx3s_25f",
        "seed": 3,
        "fmax_hz": 100_000_000,
        "target_hz": 62_500_000,
        "timing_met": True,
        "utilisation": {"lut": {"used": 5, "available": 24288}, "spram": {"used": 0, "available": 0}},
        "bitstream": "top.bit",
        "sha256": hashlib.sha256(BITSTREAM).hexdigest(),
        "tools": {"kind": "yowasp", "yosys": "0.70"},
    }
    cells = {name: {"type": cell_type} for name, cell_type in CELLS.items()}
    contents = {"build": record, "report": TIMING, "top": {"modules": {"top": {"cells": cells}}}, "program": PROGRAM}
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "top.bit").write_bytes(BITSTREAM)
    return tmp_path


def _edit(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_components(folder):
    built = report(folder)
    assert set(built.components) == {"", "core", "core.array.stage0", "core.scan", "core.U$1", "link"}
    totals = built.totals()
    assert totals["core"] == {"lut": 6, "ff": 1, "bram": 1, "dsp": 0, "spram": 0}
    assert totals["core.array"] == {"lut": 2, "ff": 1, "bram": 1, "dsp": 0, "spram": 0}
    assert totals[""]["lut"] == 7 and totals[""]["ff"] == 2


def test_critical_path(folder):
    built = report(folder)
    assert [(s.component, s.logic_ns, s.routing_ns) for s in built.critical_path] == [
        ("link", 0.5, 0.0),
        ("core", 0.25, 2.0),
        ("core.array.stage0", 0.25, 0.0),
    ]
    assert built.critical_ns == 3.0


def test_text(folder):
    text = format_report(report(folder))
    assert "clock: 100.0 MHz for 62.5 MHz, met" in text
    assert "stage0" in text and "critical path: 3.0 ns" in text
    assert "90 of 4096 words of 128 bits" in text and "conv1 group 0" in text
    assert "spram       0 of 0" not in text


def test_without_a_program(folder):
    (folder / "program.json").unlink()
    built = report(folder)
    assert built.memory is None and "memory map" not in format_report(built)


@pytest.mark.parametrize("name", ["build.json", "report.json", "top.json", "program.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "\x00\xff"])
def test_damaged_file_is_one_line(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(BoardError, match=name) as caught:
        report(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["build.json", "report.json", "top.json"])
def test_missing_file_is_one_line(folder, name):
    (folder / name).unlink()
    with pytest.raises(BoardError, match=f"{name} is missing"):
        report(folder)


@pytest.mark.parametrize("key", ["fmax_hz", "utilisation", "tools", "seed"])
def test_missing_entry(folder, key):
    record = json.loads((folder / "build.json").read_text())
    del record[key]
    (folder / "build.json").write_text(json.dumps(record))
    with pytest.raises(BoardError, match=f"damaged build.*{key}"):
        report(folder)


def test_failed_build_says_why(folder):
    _edit(folder, "build.json", status="failed", error="design does not fit")
    with pytest.raises(BoardError, match="failed: design does not fit"):
        report(folder)


def test_no_folder(tmp_path):
    with pytest.raises(BoardError, match="is not a folder"):
        report(tmp_path / "nothing")


def test_damaged_program(folder):
    (folder / "program.json").write_text('{"slabs": [{"layer": 1}]}')
    with pytest.raises(BoardError, match=r"program\.json is damaged"):
        format_report(report(folder))


def test_sync_clock_must_carry_the_target():
    assert sync_clock(TIMING, 62.5e6) == (100e6, 62.5e6)
    with pytest.raises(BoardError, match="no clock constrained to 48 MHz"):
        sync_clock(TIMING, 48e6)


@pytest.fixture
def programmers(monkeypatch):
    monkeypatch.setattr(load_module, "find_tool", lambda name: Tool(name, name, "1"))


@pytest.mark.parametrize(
    ("board", "options", "command"),
    [
        ("ulx3s_85f", {}, "openfpgaloader -b ulx3s -m top.bit"),
        ("ulx3s_85f", {"place": "flash"}, "openfpgaloader -b ulx3s -f top.bit"),
        ("icebreaker", {}, "openfpgaloader -b ice40_generic -f top.bit"),
        ("icebreaker", {"programmer": "iceprog"}, "iceprog top.bit"),
        ("icebreaker", {"programmer": "iceprog", "place": "sram"}, "iceprog -S top.bit"),
        ("hx8k_evn", {}, "iceprog top.bit"),
        ("icesugar", {}, "icesprog top.bit"),
        ("orangecrab_25f", {}, "openfpgaloader -b orangeCrab top.bit"),
        ("colorlight_5a75b", {"cable": "ft2232"}, "openfpgaloader -b colorlight -c ft2232 -m top.bit"),
    ],
)
def test_commands(programmers, board, options, command):
    assert command_for(get_board(board), "top.bit", **options) == command.split()


@pytest.mark.parametrize(
    ("board", "options", "message"),
    [
        (
            "icesugar",
            {"place": "sram"},
            r"iCESugar .* cannot be loaded into the device's own .*flash \(--flash\)",
        ),
        ("ulx3s_85f", {"programmer": "iceprog"}, "iceprog does not load ulx3s_85f .*; its tools: openfpgaloader"),
        ("hx8k_evn", {"cable": "ft2232"}, "iceprog takes no cable"),
    ],
)
def test_what_cannot_be_loaded(programmers, board, options, message):
    with pytest.raises(BoardError, match=message):
        command_for(get_board(board), "top.bit", **options)


def test_dry_run(programmers, folder):
    result = load(folder, dry_run=True)
    assert result.command == ("openfpgaloader", "-b", "ulx3s", "-m", str(folder / "top.bit"))


def test_flash_image_holds_the_program(programmers, folder):
    image = folder / "flash.bin"
    image.write_bytes(b"bitstream and program")
    record = {"file": "flash.bin", "sha256": hashlib.sha256(image.read_bytes()).hexdigest()}
    _edit(folder, "build.json", flash=record)
    assert load(folder, dry_run=True, place="flash").command[-2:] == ("-f", str(image))
    assert load(folder, dry_run=True).command[-2:] == ("-m", str(folder / "top.bit"))
    image.write_bytes(b"something else")
    with pytest.raises(BoardError, match=r"flash\.bin is not the file that build\.json records"):
        load(folder, dry_run=True, place="flash")


def test_own_core_is_built_once(programmers, monkeypatch, tmp_path):
    board, built = get_board("ulx3s_85f"), []

    def build(board, out_dir, progress):
        built.append(board.name)
        out_dir.mkdir(parents=True)
        (out_dir / "top.bit").write_bytes(b"core")
        record = {"bitstream": "top.bit", "sha256": hashlib.sha256(b"core").hexdigest(), "status": "built"}
        (out_dir / "build.json").write_text(json.dumps(record | {"format": 1, "board": board.name}))

    monkeypatch.setattr(load_module, "build", build)
    monkeypatch.setattr(load_module, "source_digest", lambda board: "0123456789abcdef0123")
    monkeypatch.setattr(load_module, "_run", lambda command, board, timeout: None)
    would = load_own(board, dry_run=True, folder=tmp_path)
    assert would.command[-2:] == ("-m", str(tmp_path / "ulx3s_85f-0123456789abcdef" / "top.bit")) and not built
    assert load_own(board, folder=tmp_path).command == would.command
    assert not load_own(board, folder=tmp_path).dry_run and built == ["ulx3s_85f"]


def test_changed_bitstream_is_refused(programmers, folder):
    (folder / "top.bit").write_bytes(b"other")
    with pytest.raises(BoardError, match=r"not the file that build\.json records"):
        load(folder, dry_run=True)


def test_missing_bitstream(programmers, folder):
    (folder / "top.bit").unlink()
    with pytest.raises(BoardError, match="cannot be read"):
        load(folder)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'unable to open ftdi device'; exit 1", "unable to open ftdi device; is the ULX3S .* connected"),
        ("echo 'error while loading shared libraries: libusb-1.0.so.0'; exit 127", "install Debian's libusb"),
        ("exit 3", "exit status 3"),
    ],
)
def test_programmer_fails(monkeypatch, folder, tmp_path, script, expected):
    tool = tmp_path / "programmer"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(load_module, "find_tool", lambda name: Tool(name, str(tool), "1"))
    with pytest.raises(ToolError, match=expected):
        load(folder)


def test_programmer_succeeds(monkeypatch, folder, tmp_path):
    tool = tmp_path / "programmer"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    monkeypatch.setattr(load_module, "find_tool", lambda name: Tool(name, str(tool), "1"))
    assert not load(folder).dry_run


def test_programmer_missing(monkeypatch, folder):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="icesprog is not on PATH"):
        command_for(get_board("icesugar"), "top.bin")
