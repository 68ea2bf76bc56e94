"""What the verbs answer, through typer's runner and as functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from boards.registry import BOARDS
from refmodel import bundled
from refmodel.errors import SkipspikeError
from skipspike import api
from skipspike.cli import app


def run_json(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_boards_and_networks_are_listed_with_what_the_tables_need() -> None:
    assert [board["name"] for board in run_json("boards")["boards"]] == list(BOARDS)
    assert {"device", "memory", "clock_hz"} <= set(run_json("boards")["boards"][0])
    stores = {board["name"]: [board["store"], *board["additions"]] for board in run_json("boards")["boards"]}
    assert stores["icebreaker"] == ["spram", "boot", "flash", "state"]
    assert stores["ulx3s_12f"] == ["bram", "sdram", "state"] and stores["ecpix5_45f"] == ["bram", "state"]
    assert "spram, +boot, +flash" in CliRunner().invoke(app, ["boards"]).stdout
    listed = run_json("networks")["networks"]
    assert [network["name"] for network in listed] == bundled.names()
    assert {"family", "data", "accuracy_float", "accuracy_int"} <= set(listed[0])


@pytest.mark.parametrize(
    "arguments", [["boards"], ["networks"], ["info", "digits-dense"], ["evaluate", "digits-dense"]]
)
def test_without_json_a_table_comes_out(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) >= 2
    assert not result.stdout.startswith("{")


def test_info_counts_every_parameter() -> None:
    found = run_json("info", "digits-sew-add-8")
    network = bundled.load_network("digits-sew-add-8")
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in network.layers]
    assert found["parameters"] == network.parameters
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert all(layer["membrane_bits"] >= layer["sum_bits"] for layer in found["layers"])


def test_evaluate_gives_the_accuracies_of_the_checked_in_table() -> None:
    found = run_json("evaluate", "digits-dense", "--data", "digits")
    row = bundled.accuracies()["digits-dense"]
    assert found["samples"] == len(found["predictions"]) == 360
    assert found["accuracy"] == row["accuracy_int"]
    assert found["accuracy_float"] == row["accuracy_float"]
    equal = sum(a == b for a, b in zip(found["predictions"], found["labels"], strict=True))
    assert found["accuracy"] == round(100 * equal / 360, 2)


def test_evaluate_takes_a_file_and_a_part_of_it(small: str, small_data: str) -> None:
    found = run_json("evaluate", small, "--data", small_data, "--samples", "5")
    assert found["samples"] == 5
    assert found["predictions"] == api.evaluate(small, data=small_data)["predictions"][:5]


def test_bits_change_the_integer_network() -> None:
    assert run_json("info", "digits-dense", "--bits", "4")["weight_bits"] == 4
    assert run_json("info", "digits-sew-add-8-w4")["weight_bits"] == 4


def test_estimate_adds_up_and_is_the_same_every_time(small: str, small_data: str) -> None:
    found = run_json("estimate", small, "--data", small_data, "--samples", "6", "--board", "ulx3s_12f")
    assert found == run_json("estimate", small, "--data", small_data, "--samples", "6", "--board", "ulx3s_12f")
    assert found["fits"] is True
    assert len(found["clocks"]) == 6
    mean = sum(found["clocks"]) / 6
    assert found["clocks_per_inference"] == pytest.approx(mean)
    assert sum(layer["clocks"] for layer in found["layers"]) == pytest.approx(mean)
    assert found["frames_per_second"] == pytest.approx(BOARDS["ulx3s_12f"].clock_hz / mean)
    assert all(0 <= layer["lane_use"] <= 1 for layer in found["layers"])
    assert found["memory"]["spike_words"] <= found["memory"]["spike_depth"]


def test_a_sample_takes_the_same_clocks_alone_and_among_others(small: str, small_data: str) -> None:
    every = api.estimate(small, data=small_data, samples=6)["clocks"]
    assert api.estimate(small, data=small_data, samples=2)["clocks"] == every[:2]
    assert len(set(every)) > 1, "inputs as different as these take different times"


def test_estimate_says_what_does_not_fit() -> None:
    found = run_json("estimate", "digits-dense", "--board", "icebreaker", "--core", "board")
    assert found["fits"] is False
    assert "conv1" in found["reason"]
    assert found["clocks_per_inference"] is None
    assert found["memory"]["board"]["sprams"] == 4


def test_estimate_equals_the_simulated_core(small: str, small_data: str) -> None:
    seen = run_json("simulate", small, "--data", small_data, "--samples", "2", "--simulator", "amaranth")
    assert seen["clocks"] == api.estimate(small, data=small_data, samples=2)["clocks"]
    assert seen["mismatched_clocks"] == 0
    assert seen["compared_clocks"] == sum(seen["clocks"])
    assert seen["predictions"] == seen["golden_predictions"]
    assert seen["predictions"] == api.evaluate(small, data=small_data, samples=2)["predictions"]


def test_a_difference_is_an_error(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = {
        "mismatched_clocks": 2,
        "first_mismatch": "sample 0: neuron0",
        "predictions": [1],
        "golden_predictions": [1],
    }
    monkeypatch.setattr(api, "simulate", lambda *args, **options: fake)
    result = CliRunner().invoke(app, ["simulate", small, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == fake
    assert "2 clocks: sample 0: neuron0" in result.stderr


def test_different_predictions_are_an_error_even_if_no_clock_differs(
    small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = {"mismatched_clocks": 0, "first_mismatch": None, "predictions": [1], "golden_predictions": [2]}
    monkeypatch.setattr(api, "simulate", lambda *args, **options: fake)
    assert CliRunner().invoke(app, ["simulate", small, "--json"]).exit_code == 1


def test_generate_writes_the_same_bytes_again(small: str, tmp_path: Path) -> None:
    first = run_json("generate", small, "--board", "icebreaker", "-o", str(tmp_path / "a"))
    api.generate(small, board="icebreaker", out=tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert [Path(path).name for path in first["files"]] == names
    assert {"core.v", "program.bin", "program.hex", "program.json", "example.hex", "network.skn"} <= set(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert not list(tmp_path.glob(".*")), "temporary files are gone"


def test_generate_leaves_nothing_behind_when_it_fails(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skipspike.hardware.write_program", fail)
    with pytest.raises(api.SkipspikeError, match="No space left"):
        api.generate(small, board="icebreaker", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_progress_goes_to_stderr() -> None:
    result = CliRunner().invoke(app, ["evaluate", "digits-dense", "--json"])
    assert "golden model" in result.stderr
    assert "golden model" not in result.stdout


def test_generate_a_component(tmp_path: Path) -> None:
    made = run_json("generate", "--component", "SpikeCombiner", "--set", "width=7", "-o", str(tmp_path))
    assert made["files"] == [str(tmp_path / "SpikeCombiner.v")]
    assert "[6:0]" in (tmp_path / "SpikeCombiner.v").read_text()


def test_prune(tmp_path: Path) -> None:
    """What a silenced layer leaves is smaller and still a network; nothing to silence, nothing to remove."""
    out = tmp_path / "small.skn"
    result = api.prune("digits-sew-or-8", out=out, silence=["block8.conv1"], samples=1)
    assert result["channels"]["block8.conv1"] == 15 and result["after"]["clocks"] < result["before"]["clocks"]
    assert result["after"]["parameters"] < result["before"]["parameters"]
    again = api.prune(out, out=tmp_path / "same.skn", samples=1)
    assert again["equal"] and not again["layers"] and again["before"] == again["after"]
    with pytest.raises(SkipspikeError, match="ends in .skn"):
        api.prune(out, out=tmp_path / "net.onnx")


def test_streams_that_leave_no_block_ram_do_not_fit() -> None:
    """The core with the network's streams would be larger than the board."""
    found = api.estimate("digits-ms-8", board="icebreaker", samples=1)
    assert not found["fits"] and "take 16 block RAMs; icebreaker has 3 left" in found["reason"]
    assert api.estimate("digits-ms-8", board="ulx3s_85f", samples=1)["fits"]
