"""Bad input: one clear line, exit code 1 or 2, nothing on stdout, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import modelfile
from skipspike import api
from skipspike.cli import app
from tests.cli.conftest import ROOT, Command, small_network


def refused(*arguments: str, code: int = 1) -> str:
    """The one line that the command says."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert result.stdout == ""
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in result.stderr
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], ["fly"]),
        (["boards", "--fly"], ["--fly"]),
        (["estimate"], ["NET"]),
        (["build", "digits-sew-add-8", "--board", "icebreaker"], ["--out"]),
        (["estimate", "digits-sew-add-8", "--samples", "many"], ["--samples"]),
        (["estimate", "digits-sew-add-8", "--samples", "0"], ["--samples"]),
        (["simulate", "digits-sew-add-8", "--simulator", "modelsim"], ["modelsim", "verilator"]),
    ],
)
def test_wrong_usage_has_exit_code_2(arguments: list[str], words: list[str]) -> None:
    line = refused(*arguments, code=2)
    assert all(word in line for word in words), line


@pytest.mark.parametrize("verb", ["info", "evaluate", "estimate", "simulate"])
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_an_unknown_network(verb: str, json: list[str]) -> None:
    line = refused(verb, "digits-nope", *json)
    assert "digits-nope" in line and "digits-sew-add-8" in line


@pytest.mark.parametrize("verb", ["estimate", "simulate", "generate", "build"])
def test_an_unknown_board(verb: str, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "out")] if verb in ("generate", "build") else []
    line = refused(verb, "digits-sew-add-8", "--board", "arty", *out)
    assert "arty" in line and "icebreaker" in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_board_for_the_demo(tmp_path: Path) -> None:
    assert "arty" in refused("demo", "--board", "arty", "-o", str(tmp_path / "out"))


def test_a_damaged_model_file(small: str) -> None:
    data = bytearray(Path(small).read_bytes())
    data[len(data) // 2] ^= 1
    Path(small).write_bytes(data)
    assert "damaged" in refused("info", small)
    Path(small).write_bytes(data[:100])
    assert "damaged" in refused("info", small)
    Path(small).write_bytes(b"")
    assert small in refused("info", small)
    Path(small).write_text("not a network")
    assert small in refused("info", small)


def test_a_missing_model_file_and_a_folder(tmp_path: Path) -> None:
    assert "gone.skn" in refused("info", str(tmp_path / "gone.skn"))
    assert "folder" in refused("info", str(tmp_path))


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 1, 9, 9), np.uint8), y=np.zeros(2, np.int64))
    for verb in ("evaluate", "estimate", "simulate"):
        assert "(1, 8, 8)" in refused(verb, "digits-sew-add-8", "--data", str(path))
    np.savez(path, x=np.full((2, 1, 8, 8), 32, np.uint8), y=np.zeros(2, np.int64))
    for verb in ("evaluate", "estimate", "simulate"):
        assert "5 bits" in refused(verb, "digits-sew-add-8", "--data", str(path))
    np.savez(path, a=np.zeros(3))
    assert "'x'" in refused("evaluate", "digits-sew-add-8", "--data", str(path))
    path.write_bytes(b"junk")
    assert "npz" in refused("evaluate", "digits-sew-add-8", "--data", str(path))
    assert "no such file" in refused("evaluate", "digits-sew-add-8", "--data", "elsewhere.npz")


def test_more_samples_than_there_are() -> None:
    assert "360" in refused("evaluate", "digits-dense", "--samples", "361")
    assert "360" in refused("simulate", "digits-sew-add-8", "--samples", "361")


def test_a_network_too_big_for_the_board(tmp_path: Path) -> None:
    path = tmp_path / "big.skn"
    modelfile.save(small_network(channels=16, side=40), path)
    for verb in ("generate", "build"):
        line = refused(verb, str(path), "--board", "icebreaker", "-o", str(tmp_path / "out"))
        assert "this core" in line and "use" in line
    np.savez(tmp_path / "big.npz", x=np.zeros((1, 1, 40, 40), np.uint8), y=np.zeros(1, np.int64))
    assert "this core" in refused("simulate", str(path), "--data", str(tmp_path / "big.npz"))
    assert not (tmp_path / "out").exists()


def test_a_clock_that_the_pll_cannot_make(small: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for clock, message in (("400", "PLL's output must be 16 to 275 MHz, not 400 MHz"), ("0", "16 to 275 MHz")):
        line = refused("build", small, "--board", "icebreaker", "-o", str(out), "--clock", clock)
        assert message in line and not out.exists()


def test_bits_of_a_network_that_is_quantised_already(tmp_path: Path) -> None:
    path = tmp_path / "whole.skn"
    from skipspike.models import quantised

    modelfile.save(quantised(small_network(), 6), path)
    assert api.info(path, bits=6)["form"] == "quantised"
    assert "6 bits already" in refused("info", str(path), "--bits", "8")


def test_waves_to_a_file_no_simulator_writes(small: str, small_data: str) -> None:
    for simulator in ("amaranth", "verilator", "icarus"):
        options = ["--data", small_data, "--simulator", simulator, "--waves", "waves.png"]
        assert "waves.png" in refused("simulate", small, *options)
    options = ["--data", small_data, "--jobs", "2", "--waves", "waves.vcd"]
    assert "--jobs" in refused("simulate", small, *options)


def test_a_folder_that_cannot_be_written(small: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        refused("generate", small, "--board", "icebreaker", "-o", str(tmp_path / out))
        refused("build", small, "--board", "icebreaker", "-o", str(tmp_path / out))


def test_folders_that_hold_no_build(tmp_path: Path) -> None:
    for verb in ("report", "load"):
        refused(verb, str(tmp_path))
        refused(verb, str(tmp_path / "gone"))
        (tmp_path / "build.json").write_text("{")
        refused(verb, str(tmp_path))
        (tmp_path / "build.json").unlink()


def test_an_internal_error_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(api, "networks", broken)
    assert "internal error, ZeroDivisionError" in refused("networks", "--json")


@pytest.mark.parametrize(("simulator", "tool"), [("verilator", "g++"), ("icarus", "iverilog")])
def test_a_missing_tool(command: Command, small: str, small_data: str, simulator: str, tool: str) -> None:
    options = ["--data", small_data, "--simulator", simulator, "--json"]
    done = command("simulate", small, *options, env={"PATH": "/nonexistent"})
    assert done.returncode == 1
    assert done.stdout == ""
    assert tool in done.stderr.splitlines()[-1] and "install" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_process_says_one_line_and_one_object(command: Command) -> None:
    done = command("evaluate", "digits-dense", "--samples", "3", "--json")
    assert done.returncode == 0
    assert done.stdout.startswith("{") and done.stdout.count("\n") == 1
    done = command("evaluate", "digits-dense", "--data", "/", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    done = command("nothing", "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_closed_pipe_is_quiet() -> None:
    script = f"{sys.executable} -m skipspike info digits-sew-add-24 2>err.txt | true"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script.replace("err.txt", "/dev/stderr")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_an_interrupt_has_exit_code_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "skipspike", "evaluate", "digits-sew-add-24", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        process.stderr.readline()  # the first word of progress
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
