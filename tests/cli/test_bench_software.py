"""The verb bench software on tiny networks: what it reports, not how fast anything is."""

from __future__ import annotations

import builtins
import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import floatmodel
from skipspike import bench_software, torch_model
from skipspike.cli import app
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


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "software", *arguments])


def test_without_torch_the_rest_is_measured(small: str, small_data: str, no_torch: None) -> None:
    result = bench(small, "--samples", "6", "--rounds", "2", "--threads", "1", "--data", small_data, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (row,) = found["rows"]
    assert row["network"] == "small" and row["input"] == [1, 4, 4] and row["steps"] == 4
    assert all(row[name] > 0 for name in ("golden", "float", "cycles", "compile_seconds"))
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
    result = bench(small, "--samples", "3", "--rounds", "1")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["network", "parameters", "T"] and lines[1].split()[0] == "small"
    assert "data random" in result.stdout and "small: no figures of torch: PyTorch is not installed" in result.stderr


def test_a_network_that_the_board_cannot_run_has_no_clocks(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    def refuse(*_: Any) -> Any:
        raise bench_software.CompileError("too large")

    monkeypatch.setattr(bench_software, "compile_network", refuse)
    (row,) = bench_software.software([small], samples=2, rounds=1)["rows"]
    assert row["cycles"] is row["compile_seconds"] is None and row["reasons"]["compile"] == "too large"
    assert row["golden"] > 0


def test_wrong_options_end_with_2(small: str) -> None:
    assert bench(small, "--samples", "0").exit_code == 2
    assert bench(small, "--board", "nothing").exit_code == 1


def test_torch_takes_turns(small: str, small_data: str) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        found = bench_software.software([small], samples=6, rounds=3, threads=1, data=small_data)
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
