"""The verb quantise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from boards.registry import get_board
from refmodel import floatmodel, golden, modelfile
from refmodel.bounds import network_bounds
from refmodel.builder import NetworkBuilder
from refmodel.datasets import load_data
from refmodel.errors import SkipspikeError
from refmodel.network import InputSpec, Neuron
from refmodel.quantized import QuantizedNetwork
from refmodel.widths import layer_bits
from skipspike import api
from skipspike.cli import app
from skipspike.models import quantised
from skipspike.quantising_verb import read_bits
from tests.cli.conftest import small_network


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["quantise", *arguments])


def found(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def written(path: Path) -> QuantizedNetwork:
    net = modelfile.load(path)
    assert isinstance(net, QuantizedNetwork)
    return net


def test_report_and_file(small: str, small_data: str, tmp_path: Path) -> None:
    out = tmp_path / "whole.skn"
    result = found(small, "--bits", "conv*=3,conv1=4,6", "--data", small_data, "-o", str(out))
    whole = written(out)
    bits = {"conv1": 4, "conv2": 3, "conv3": 3, "readout": 6}
    assert layer_bits(whole) == bits == result["layer_bits"]
    assert {layer["name"]: layer["bits"] for layer in result["layers"]} == bits
    x, y = load_data(small_data)
    real, predictions = floatmodel.run(small_network(), x).predictions, golden.run(whole, x).predictions
    assert result["accuracy"] == round(100 * float(np.mean(predictions == y)), 2)
    assert result["accuracy_float"] == round(100 * float(np.mean(real == y)), 2)
    assert result["agreement"] == round(100 * float(np.mean(real == predictions)), 2)
    assert result["differing"] == np.flatnonzero(real != predictions).tolist()
    assert (result["samples"], result["weight_bits"], result["file"]) == (6, 6, str(out))
    for layer, made in zip(result["layers"], whole.layers, strict=True):
        assert made.weight is not None and layer["weight_rms"] > 0
        assert layer["saturated"] == (np.abs(made.weight) == 2 ** (layer["bits"] - 1) - 1).sum() > 0
        assert (layer["rate_float"] is None) == (made.kind == "readout")


def test_without_a_file_it_only_reports(small: str, small_data: str, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    result = run(small, "--bits", "4", "--data", small_data, "--samples", "3")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["layer", "bits", "weights"]
    assert [line.split()[:2] for line in lines[1:5]] == [[name, "4"] for name in ("conv1", "conv2", "conv3", "readout")]
    assert "3 samples" in result.stdout and "written" not in result.stdout
    assert set(tmp_path.iterdir()) == before


def test_a_board_bounds_sums(small: str, small_data: str, tmp_path: Path) -> None:
    out = tmp_path / "board.skn"
    result = found(small, "--board", "icebreaker", "--data", small_data, "-o", str(out))
    whole, core = written(out), get_board("icebreaker").core
    expected = quantised(small_network(), 8, core, whole=True)
    assert modelfile.dumps(whole) == modelfile.dumps(expected)
    assert result["board"] == "icebreaker"
    assert max(int(bound.sum_high.max()) for bound in network_bounds(whole).values()) < 1 << (core.acc_width - 1)


def test_calibration_and_clipping(small: str, small_data: str) -> None:
    options = (small, "--bits", "3", "--data", small_data)
    plain = found(*options)
    clipped = found(*options, "--clip", "mse")
    calibrated = found(*options, "--clip", "mse", "--calibrate", small_data, "--calibrate-samples", "4")
    assert plain["calibration"] is None and calibrated["calibration"] == {"data": small_data, "samples": 4}
    counts = [sum(layer["clipped"] for layer in one["layers"]) for one in (plain, clipped)]
    assert counts[0] == 0 < counts[1]
    assert all(
        after["weight_rms"] <= before["weight_rms"] * 1.000001
        for before, after in zip(plain["layers"][:-1], clipped["layers"][:-1], strict=True)
        if before["name"] != "conv1"
    )
    assert any(
        one["bias_error"] != other["bias_error"]
        for one, other in zip(clipped["layers"], calibrated["layers"], strict=True)
    )


def test_balanced_lanes(small: str, small_data: str, tmp_path: Path) -> None:
    """Another order of channels for the board's lanes, with the same results; verbs with a board leave it alone."""
    usual, path = tmp_path / "usual.skn", tmp_path / "balanced.skn"
    options = (small, "--data", small_data, "--board", "icebreaker")
    plain = found(*options, "-o", str(usual))
    made = found(*options, "--balance", small_data, "--balance-samples", "5", "-o", str(path))
    core = get_board("icebreaker").core
    lanes = {"event_lanes": core.event_lanes, "output_lanes": core.output_lanes}
    balance = made.pop("balance")
    assert plain.pop("balance") is None
    assert {**made, "file": None} == {**plain, "file": None}
    assert 0 < balance.pop("events_after") < balance.pop("events_before")
    assert balance == {"data": small_data, "samples": 5, **lanes}
    x, _ = load_data(small_data)
    net = written(path)
    assert net.meta["balanced"] == lanes and quantised(net, None, core) is net
    assert np.array_equal(golden.run(net, x).results, golden.run(written(usual), x).results)
    clocks = [api.estimate(one, board="icebreaker", data=small_data)["clocks"] for one in (usual, path)]
    assert clocks[1] < clocks[0]
    shown = run(*options, "--balance", small_data, "-o", str(path))
    assert "balanced for 2 event lanes and 8 output lanes" in shown.stdout
    with pytest.raises(SkipspikeError, match="without --balance"):
        api.compare(small, integer=path, data=small_data)


def test_the_same_file_every_time(small: str, small_data: str, tmp_path: Path) -> None:
    paths = [tmp_path / "one.skn", tmp_path / "two.skn"]
    for path in paths:
        found(small, "--bits", "5", "--data", small_data, "--calibrate", small_data, "-o", str(path))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_leaks(small_data: str, tmp_path: Path) -> None:
    path = tmp_path / "leaky.skn"
    builder = NetworkBuilder("leaky", 4, InputSpec((1, 4, 4), 3), neuron=Neuron("lif", tau=1.2))
    rng = np.random.default_rng(1)
    builder.readout(builder.conv("input", rng.normal(size=(3, 1, 3, 3)), name="a"), rng.normal(size=(3, 3)))
    modelfile.save(builder.build(), path)
    options = (str(path), "--data", small_data)

    def error(*more: str) -> float:
        return found(*options, *more)["layers"][0]["leak_error"]

    refused = run(*options, "--leak", "shifts")
    assert refused.exit_code == 1 and "'a'" in refused.stderr and "needs a leak" in refused.stderr
    assert error("--leak", "shifts", "--allow-leak-error") > 0.02
    assert error("--leak", "multiply", "--leak-bits", "12") < error("--leak", "multiply", "--leak-bits", "5")


def test_bits_are_read() -> None:
    assert read_bits(None) == (None, {})
    assert read_bits("6") == (6, {})
    assert read_bits("block*.conv1=4,8,readout=8") == (8, {"block*.conv1": 4, "readout": 8})
    for text in ("", "8,", "x", "=4", "a=", "1", "a=17", "8,6", "-4", "a=4=x"):
        with pytest.raises(typer.BadParameter):
            read_bits(text)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--bits", "block7=4"], 1, "matches no layer with weights"),
        (["--bits", "eight"], 2, "--bits takes N"),
        (["--calibrate-samples", "4"], 2, "goes with --calibrate"),
        (["--balance-samples", "4", "--board", "icebreaker"], 2, "goes with --balance"),
        (["--balance", "digits"], 2, "goes with --board"),
        (["--clip", "max"], 2, "--clip"),
        (["--board", "nosuch"], 1, "nosuch"),
        (["-o", "whole.npz"], 1, "ends in .skn"),
        (["-o", "nowhere/whole.skn"], 1, "there is no folder"),
        (["--samples", "99"], 1, "samples must be 1 to 6"),
    ],
)
def test_refusals(
    small: str, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code, text: str
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    result = run(small, "--data", small_data, *arguments)
    assert result.exit_code == code and result.stdout == ""
    assert text in result.stderr and result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not list(folder.iterdir())


def test_an_integer_network_is_refused(small: str, small_data: str, tmp_path: Path) -> None:
    out = tmp_path / "whole.skn"
    api.quantise(small, data=small_data, out=out)
    result = run(str(out), "--data", small_data)
    assert result.exit_code == 1 and "is quantised already" in result.stderr


def test_a_fine_tuned_network_is_untouched() -> None:
    result = found("digits-sew-add-8-w4", "--samples", "20", "--clip", "mse")
    assert result["weight_bits"] == 4
    assert all(layer["weight_rms"] < 1e-6 for layer in result["layers"])
    assert all(layer["agreement"] == 1.0 for layer in result["layers"] if layer["agreement"] is not None)
