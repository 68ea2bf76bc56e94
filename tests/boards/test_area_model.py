"""The area model: what it says of the cores it was fitted to, how it grows, and the fit itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from boards import area_model
from boards.area_fit import clock_points, fit, fit_family, fit_non_negative, main, markdown, points
from boards.area_model import MODEL, adder_bits, area, blocks, features, fmax, memory_blocks, weigh
from boards.registry import BOARDS, get_board
from boards.sizes import FAMILIES, Family, Size
from refmodel.config import CoreConfig


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_knows_its_points(family: Family) -> None:
    fitted = json.loads(MODEL.read_text())["families"][family]
    assert len(fitted["points"]) >= 6 and fitted["error_most"] < 0.05
    for point in fitted["points"]:
        found = area(family, CoreConfig(**point["config"]))
        assert found.cells == pytest.approx(point["cells"], rel=fitted["error_most"] + 0.001)
        assert found.cells_most >= point["cells"] and found.brams_most >= point["brams"]


def test_the_page_has_the_models_errors() -> None:
    page = MODEL.parents[1] / "docs" / "mapping.md"
    assert markdown(json.loads(MODEL.read_text())) in page.read_text()


def test_the_boards_own_cores_fit_their_boards() -> None:
    for board in BOARDS.values():
        found = area(board.family, board.core)
        assert found.cells < board.luts and found.brams <= board.brams


def test_more_of_anything_takes_more() -> None:
    core = get_board("ulx3s_85f").core
    usual = area("ecp5", core)
    for change in ({"event_lanes": 8}, {"time_lanes": 8}, {"acc_width": 24}, {"neuron_units": 2, "output_lanes": 32}):
        assert area("ecp5", replace(core, **change)).cells > usual.cells
    assert area("ecp5", replace(core, weight_bits=4)).cells < usual.cells
    deep = replace(core, spike_depth=4 * core.spike_depth)
    assert area("ecp5", deep).brams - usual.brams == memory_blocks("ecp5", deep) - memory_blocks("ecp5", core) > 0


def test_blocks_are_counted_by_their_modes() -> None:
    assert blocks("ecp5", 512, 36) == 1 and blocks("ecp5", 513, 36) == 2 and blocks("ecp5", 1024, 18) == 1
    assert blocks("ice40", 256, 16) == 1 and blocks("ice40", 2048, 16) == 8


def test_adders_of_a_tree_and_of_a_chain() -> None:
    """Four weights of 8 bits: masks, two sums of 9 and one of 10; or 8 bits and sums of 9, 10 and 10."""
    config = replace(get_board("ulx3s_85f").core, weight_bits=8, event_lanes=4)
    assert adder_bits(replace(config, adder="tree")) == 4 * 8 + 2 * 9 + 10
    assert adder_bits(replace(config, adder="chain")) == 8 + 9 + 10 + 10


def test_clocks_fall_with_lanes_and_pass_through_points() -> None:
    model = json.loads(MODEL.read_text())["clocks"]
    for point in model["points"]:
        same = [p["fmax_hz"] for p in model["points"] if (p["device"], p["lanes"]) == (point["device"], point["lanes"])]
        assert min(same) <= fmax(point["device"], point["lanes"]) <= max(same)
    assert fmax("LFE5U-85F", 1 << 14) < fmax("LFE5U-85F", 1 << 13)
    assert fmax("LFE5U-45F", 256) > 0


def test_clock_points_come_from_the_table(tmp_path) -> None:
    table = tmp_path / "cores.json"
    table.write_text(json.dumps({"rows": [{"device": "ecp5-25f", "lanes": 512, "fmax_hz": 100_000_000}]}))
    found = clock_points(table)
    assert {p["device"] for p in found} == {"LFE5U-12F", "LFE5U-25F", "up5k", "LFE5U-85F"}


def test_a_fit_finds_known_coefficients() -> None:
    """And none below 0, where the plain fit has one."""
    rng = np.random.default_rng(0)
    rows = [{"a": float(a), "b": float(b), "none": 0.0} for a, b in rng.integers(1, 100, (12, 2))]
    found = fit(rows, [3 * row["a"] + 7 * row["b"] for row in rows], relative=True)
    assert found["a"] == pytest.approx(3, rel=0.05) and found["b"] == pytest.approx(7, rel=0.05) and len(found) == 2
    matrix = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert fit_non_negative(matrix, np.array([1.0, 2.0, -1.0])) == pytest.approx([1.5, 0.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_points_are_cores(family: Family) -> None:
    found = points(family)
    assert len(found) >= 10 and len(set(found)) == len(found)
    truth = {"core": 800.0, "adders": 0.7, "accumulators": 3.0, "neurons": 8.0}
    made = fit_family(
        family,
        [
            (config, Size(round(weigh(truth, features(config))), 0, 0, 0, 0, memory_blocks(family, config) + 2, 0, 0))
            for config in found
        ],
    )
    assert made["error_rms"] < 0.05 and made["block_margin"] <= 1


def test_too_few_points_are_an_error(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("boards.area_fit.measure", lambda *args, **options: [])
    assert main(["--family", "ecp5", "--cached", "--out", str(tmp_path / "model.json")]) == 1
    assert "too few to fit" in capsys.readouterr().err
    assert not (tmp_path / "model.json").exists() and area_model.MODEL.exists()
