"""The verb bench software on tiny networks: what it reports, not how fast anything is."""

from __future__ import annotations

import builtins
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import floatmodel
from refmodel.errors import ToolError
from skipspike import bench_hardware, bench_software, torch_model
from skipspike.bench_hardware import generate_seconds, simulate_seconds
from skipspike.cli import app
from skipspike.hardware import compiled
from tests.float_networks import random_float_network


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyTorch is not installed."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verilog takes seconds to make, a simulation half a minute."""
    monkeypatch.setattr(bench_hardware, "generate_seconds", lambda program: 1.5)
    monkeypatch.setattr(bench_hardware, "simulate_seconds", lambda program, x: (20.0, 1000 * len(x), 0.5))


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "software", *arguments])


def test_without_torch_the_rest_is_measured(small: str, small_data: str, no_torch: None) -> None:
    arguments = ["--samples", "6", "--rounds", "2", "--threads", "1", "--data", small_data, "--simulate", "0"]
    result = bench(small, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (row,) = found["rows"]
    assert row["network"] == "small" and row["input"] == [1, 4, 4] and row["steps"] == 4
    assert all(row[name] > 0 for name in ("golden", "float", "cycles", "cycles_ratio"))
    assert row["compile_seconds"] > 0 and row["generate_seconds"] > 0
    assert row["simulate_clocks"] is None and row["reasons"]["simulation"] == "it was asked for on no inputs"
    assert row["torch"] is row["ratio"] is None and "skipspike[train]" in row["reasons"]["torch"]
    assert (
        found["threads"] == 1
        and found["samples"] == 6
        and found["versions"]
        == {
            "numpy": np.__version__,
            "torch": None,
        }
    )
    assert 0 <= row["accuracy"] <= 100 and 0 <= row["rate"] <= 1


def test_a_table_for_people(small: str, no_torch: None) -> None:
    result = bench(small, "--samples", "3", "--rounds", "1", "--simulate", "2")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["network", "parameters", "T"] and lines[1].split()[0] == "small"
    assert lines[1].split()[-2:] == ["1.50", "4,000"]
    assert "data random" in result.stdout and "small: no figures of torch: PyTorch is not installed" in result.stderr


def test_a_simulation_that_fails_has_a_reason(small: str, no_torch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ToolError("no Verilator")

    monkeypatch.setattr(bench_hardware, "simulate_seconds", fail)
    (row,) = bench_software.software([small], samples=2, rounds=1)["rows"]
    assert row["simulate_clocks"] is None and row["reasons"]["simulation"] == "no Verilator"


def test_seconds_of_a_simulation_begin_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def simulate(job: Any, folder: Any, progress: Any) -> list[Any]:
        for step, seconds in (
            ("generating Verilog", 2.0),
            ("compiling", 30.0),
            ("simulating", 3.0),
            ("simulating", 1.0),
        ):
            progress(step, 0.0)
            now[0] += seconds
        return [SimpleNamespace(mismatched=job.bad, clocks=500)] * 2

    program: Any = SimpleNamespace(config=None, original=None)
    monkeypatch.setattr("sim.cocotb_sim.simulate", simulate)
    monkeypatch.setattr(bench_hardware.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("sim.job.Job", lambda *_: SimpleNamespace(bad=0))
    assert simulate_seconds(program, np.zeros(2)) == (32.0, 1000, 4.0)
    monkeypatch.setattr("sim.job.Job", lambda *_: SimpleNamespace(bad=1))
    with pytest.raises(ToolError, match="differs from the models"):
        simulate_seconds(program, np.zeros(2))


@pytest.mark.slow
def test_verilog_and_verilator_are_timed(small: str) -> None:
    _, program = compiled(small, "icebreaker", None)
    build, clocks, seconds = simulate_seconds(program, np.zeros((1, 1, 4, 4), np.int64))
    assert generate_seconds(program) > 0 and build > 0 and clocks > 100 and seconds > 0


def test_a_network_that_the_board_cannot_run_has_no_clocks(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    def refuse(*_: Any) -> Any:
        raise bench_software.CompileError("too large")

    monkeypatch.setattr(bench_software, "compile_network", refuse)
    (row,) = bench_software.software([small], samples=2, rounds=1)["rows"]
    assert row["cycles"] is row["compile_seconds"] is None and row["reasons"]["compile"] == "too large"
    assert row["golden"] > 0


def test_wrong_options_end_with_2(small: str) -> None:
    assert bench(small, "--samples", "0").exit_code == bench(small, "--simulate", "-1").exit_code == 2
    assert bench(small, "--board", "nothing").exit_code == 1


def test_torch_takes_turns(small: str, small_data: str) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        found = bench_software.software([small], samples=6, rounds=3, threads=1, data=small_data, simulate=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    (row,) = found["rows"]
    assert row["torch"] > 0 and len(row["ratios"]) == 3 and row["ratio"] == sorted(row["ratios"])[1]
    assert row["torch_plain"] > 0 and row["ratio_plain"] == sorted(row["ratios_plain"])[1]
    assert row["torch_agreement"] == 100.0 and row["torch_layout"] in ("channels_last", "contiguous")
    assert "torch" not in row["reasons"] and found["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("form", ["plain", "contiguous", "channels_last"])
def test_torch_model_agrees_with_the_float_model(form: str) -> None:
    """Every layer, neuron, reset and combiner that has a PyTorch form; spikes may differ where H is on a threshold."""
    pytest.importorskip("torch")
    compared, close = 0, 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        net = random_float_network(rng, exact=True, layers=6, steps=3)
        if torch_model.refusal(net) is not None:
            continue
        shape = net.input.shape if net.input.static else (net.steps, *net.input.shape)
        info = net.input.tensor
        x = rng.integers(info.min_value, info.max_value + 1, (5, *shape))
        kind = torch_model.PlainTorchModel if form == "plain" else torch_model.TorchModel
        got = kind(net, channels_last=form == "channels_last").logits(x)
        real = floatmodel.run(net, x).logits
        compared += 1
        close += np.allclose(got, real, rtol=1e-3, atol=1e-3 * max(1.0, float(np.abs(real).max())))
    assert compared >= 8 and close >= 0.9 * compared
