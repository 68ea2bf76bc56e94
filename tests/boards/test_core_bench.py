# amaranth: UnusedElaboratable=no
"""The bench of whole cores with a stand-in for the tools: what is run, kept, looked up and written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boards import core_bench, core_results
from boards.core_bench import bench, known, read_table, row, table_of
from boards.core_devices import DEVICES, Device, get_device
from boards.core_flow import Design, Netlist, Placement
from boards.core_results import Results, code_digest
from boards.core_shapes import SHAPES, Shape, chosen
from boards.core_table import PAGE, markdown, with_section, write_section
from boards.sizes import Size
from refmodel.config import CoreConfig
from refmodel.errors import BoardError, ConfigError, ToolError
from rtl_gen.core import Core

ROOT = Path(__file__).parents[2]
PAIR = (SHAPES["up5k-128-w4"], SHAPES["ecp5-25f-128"])
SIZE = Size(cells=4000, lut=3500, ram=0, carry=900, ff=2000, bram=20, dsp=0, spram=4)


class Stand:
    """Measures without tools: the clock is 40 MHz and 1 MHz for each seed; it breaks where it is told."""

    def __init__(self, broken: tuple[tuple[str, int | None], ...] = (), error: BaseException | None = None) -> None:
        self.asked: list[tuple[str, int | None]] = []
        self.broken, self.error, self.stopped = broken, error or ToolError("nextpnr: broken"), False

    def versions(self, device: Device) -> dict[str, str]:
        return {"yosys": "0.70", f"nextpnr-{device.family}": "0.11"}

    def synthesise(self, what: Design) -> Netlist:
        self._asked(what, None)
        return Netlist(SIZE, f"netlist of {what.device.name}")

    def place(self, what: Design, netlist: str, seed: int) -> Placement:
        self._asked(what, seed)
        assert netlist == f"netlist of {what.device.name}"
        return Placement(seed, 40e6 + 1e6 * seed, ("core.a", "core.b"))

    def stop(self) -> None:
        self.stopped = True

    def _asked(self, what: Design, seed: int | None) -> None:
        self.asked.append((what.device.name, seed))
        if (what.device.name, seed) in self.broken:
            raise self.error


def make(config: CoreConfig, device: Device) -> Design:
    """Quicker than the core's RTLIL."""
    return Design(device, repr(config), "harness", "stub")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "cache")


def run(results: Results, tools: Stand, shapes: tuple[Shape, ...] = PAIR, **options: Any) -> list[dict[str, Any]]:
    return bench(shapes, results=results, tools=tools, **{"jobs": 1, "make": make, **options})


def test_each_piece_is_made_once_and_kept(results: Results) -> None:
    stand = Stand()
    first = run(results, stand)
    assert sorted(stand.asked, key=str) == sorted(
        [(device, seed) for device in ("up5k", "ecp5-25f") for seed in (None, 1, 2, 3)], key=str
    )
    assert [found["origin"] for found in first] == ["run", "run"]
    again = Stand()
    second = run(results, again)
    assert not again.asked and [found["origin"] for found in second] == ["cache", "cache"]
    assert [{**found, "origin": "run"} for found in second] == first
    assert not list(results.folder.glob("*.gz"))  # netlists are no longer needed


def test_figures_of_a_row(results: Results) -> None:
    found = run(results, Stand())[0]
    assert (found["device"], found["shape"], found["lanes"], found["lut"]) == ("up5k", "up5k-128-w4", 128, 4000)
    assert found["fmax_hz"] == 41_000_000 == found["fmax_worst_hz"] and found["fmax_best_hz"] == 43_000_000
    assert found["gsops"] == round(128 * 0.041, 3) and found["gsops_per_klut"] == round(128 * 0.041 / 4, 3)
    assert found["lut_per_lane"] == 31.25 and found["bram"] == 20 and found["critical_path"] == ["core.a", "core.b"]
    assert found["seeds"][2] == {"seed": 3, "fmax_hz": 43_000_000}
    assert CoreConfig(**found["config"]) == SHAPES["up5k-128-w4"].config and json.loads(json.dumps(found)) == found


def test_an_interrupted_run_goes_on_where_it_was(results: Results) -> None:
    stand = Stand(broken=(("up5k", 2),), error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(results, stand, PAIR[:1])
    again = Stand()
    (found,) = run(results, again, PAIR[:1])
    assert ("up5k", 2) in again.asked and not {("up5k", None), ("up5k", 1)} & set(again.asked)
    assert len(found["seeds"]) == 3 and found["origin"] == "run"


def test_tools_that_run_are_ended_when_it_stops(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(core_bench, "wait", interrupted)
    stand = Stand()
    with pytest.raises(KeyboardInterrupt):
        run(results, stand)
    assert stand.stopped


def test_more_seeds_later(results: Results) -> None:
    run(results, Stand(), PAIR[:1], seeds=(1,))
    stand = Stand()
    run(results, stand, PAIR[:1], seeds=(1, 2))
    assert stand.asked == [("up5k", None), ("up5k", 2)]  # the netlist was not kept


@pytest.mark.parametrize("change", ["core", "harness", "device", "tools"])
def test_whatever_changes_is_measured_again(results: Results, change: str) -> None:
    run(results, Stand(), PAIR[:1])
    stand = Stand()
    if change == "tools":
        stand.versions = lambda device: {"yosys": "0.71"}

    def other(config: CoreConfig, device: Device) -> Design:
        changes = {"core": {"core": "x"}, "harness": {"harness": "x"}}
        made = replace(make(config, device), **changes.get(change, {}))
        return replace(made, device=replace(device, target_hz=1)) if change == "device" else made

    run(results, stand, PAIR[:1], make=other)
    assert len(stand.asked) == 4


def test_what_fails_is_said_and_the_rest_goes_on(results: Results) -> None:
    slow, fine = run(results, Stand(broken=(("up5k", 2),)))
    assert (slow["origin"], slow["error"]) == ("failed", "seed 2: nextpnr: broken")
    assert [seed["seed"] for seed in slow["seeds"]] == [1, 3] and fine["origin"] == "run"
    none, fine = run(Results(results.folder / "other"), Stand(broken=(("up5k", None),)))
    assert none["lut"] is none["fmax_hz"] is none["gsops"] is None and none["error"] == "nextpnr: broken"
    assert fine["error"] is None
    with pytest.raises(ToolError, match="up5k-128-w4 has no figures .nextpnr: broken.: no table is written"):
        table_of([none, fine])
    stand = Stand()
    assert run(results, stand)[0]["error"] is None and stand.asked == [("up5k", 2)]  # failures are not kept


def test_a_core_that_cannot_be_made_is_a_row(results: Results) -> None:
    def refuse(config: CoreConfig, device: Device) -> Design:
        if device.family == "ecp5":
            raise ConfigError("too wide")
        return make(config, device)

    fine, refused = run(results, Stand(), make=refuse)
    assert fine["origin"] == "run" and refused["error"] == "too wide" and refused["lanes"] == 128


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_bad_seeds(results: Results, seeds: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="seeds must be"):
        run(results, Stand(), seeds=seeds)


def test_looking_up_prefers_what_is_of_this_code(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.json"
    shapes = PAIR[:1]
    (found,) = known(shapes, results=results, table=table)
    assert found["origin"] == "missing" and found["lut"] is None and not found["fresh"]
    made = run(results, Stand(), shapes)
    (found,) = known(shapes, results=results, table=table)
    assert (found["origin"], found["fresh"], found["gsops"]) == ("cache", True, made[0]["gsops"])
    table.write_text(json.dumps(table_of(made)))
    (found,) = known(shapes, results=Results(tmp_path / "none"), table=table)
    assert (found["origin"], found["fresh"]) == ("table", True)
    monkeypatch.setattr(core_bench, "code_digest", lambda shape: "another")
    (found,) = known(shapes, results=results, table=table)
    assert (found["origin"], found["fresh"]) == ("table", False)
    table.unlink()
    (found,) = known(shapes, results=results, table=table)
    assert (found["origin"], found["fresh"]) == ("cache", False)


def test_code_is_what_counts_not_its_comments(tmp_path: Path) -> None:
    (tmp_path / "rtl_gen").mkdir()
    code = tmp_path / "rtl_gen" / "a.py"

    def bare(text: str) -> str:
        code.write_text(text)
        return core_results.bare_code(tmp_path)

    first = bare('"""One."""\ndef f():\n    """Two."""\n    return 1\n')
    assert bare('"""Other."""\n\n\ndef f():  # why\n    return 1\n') == first
    assert bare("def f():\n    return 2\n") != first
    assert code_digest(PAIR[1]) != code_digest(PAIR[0])


def test_damaged_results_are_none(results: Results) -> None:
    run(results, Stand(), PAIR[:1])
    for path in results.folder.iterdir():
        path.write_text(path.read_text()[:20])
    stand = Stand()
    run(results, stand, PAIR[:1])
    assert len(stand.asked) == 4
    (results.folder / "last-up5k-128-w4.json").write_text("[]")
    assert results.last("up5k-128-w4") is None


def test_choosing_shapes() -> None:
    assert chosen() == list(SHAPES.values())
    assert [shape.name for shape in chosen(("hx8k-128", "up5k-128-w4"))] == ["up5k-128-w4", "hx8k-128"]
    assert {shape.device.name for shape in chosen((), ("ecp5-25f",))} == {"ecp5-25f"}
    with pytest.raises(ConfigError, match="no core shape 'big'; there are up5k-128-w4"):
        chosen(("big",))
    with pytest.raises(ConfigError, match="no device 'ice40'; there are up5k, hx8k"):
        chosen((), ("ice40",))
    with pytest.raises(ConfigError, match="no shape is both"):
        chosen(("up5k-128-w4",), ("hx8k",))


def test_every_device_has_a_shape_and_every_shape_a_core() -> None:
    assert {shape.device.name for shape in SHAPES.values()} == set(DEVICES)
    for shape in SHAPES.values():
        assert shape.config.lanes >= 128 and Core(config=shape.config)
        assert shape.config.store == "bram" or shape.device.name == "up5k"


def test_place_options_say_device_clock_and_free_pins() -> None:
    assert get_device("up5k").place_options == (
        "--up5k", "--package", "sg48", "--freq", "48", "--pcf-allow-unconstrained", "--timing-allow-fail",
    )  # fmt: skip
    assert get_device("ecp5-85f").place_options[:5] == ("--85k", "--package", "CABGA381", "--speed", "6")
    assert "router2" in get_device("ecp5-25f").place_options


def some_table(results: Results) -> dict[str, Any]:
    point = {"shape": "up5k-128-w4", "network": "net", "lane_use": 0.5, "spikes_a_weight": 1.5}
    fine = point | {"gsops_spikes": 1.25, "gsops_dense": 4.0, "reason": None}
    refused = dict.fromkeys(fine) | {"shape": "ecp5-25f-128", "network": "net", "reason": "too large"}
    return table_of(run(results, Stand())) | {"achieved": [fine, refused]}


def test_the_page_has_tables_and_says_what_is_missing(results: Results, tmp_path: Path) -> None:
    table = some_table(results)
    page = tmp_path / PAGE
    page.write_text("# B\n\n<!-- cores: begin -->\noutdated\n<!-- cores: end -->\n\n<!-- x: begin -->\nkept\n")
    files = write_section(tmp_path, "cores", markdown(table), "cores.json", table)
    assert files == [page, tmp_path / "cores.json"] and read_table(files[1]) == table
    text = page.read_text()
    assert "outdated" not in text and text.endswith("<!-- x: begin -->\nkept\n")
    assert "| up5k-128-w4 | iCE40 UP5K | 4 | 8 | 4 | 128 | 4,000 | 31.2 | 2,000 | 20 + 4 SPRAM | 41.0 |" in text
    assert "| uCaspian | iCE40 UP5K | 3,889 | 0.03 | 0.01 |" in text
    assert "| up5k-128-w4 | net | 50 % | 4.00 | 1.25 | 1.50 |" in text
    assert "`net` does not run on ecp5-25f-128: too large." in text
    assert with_section(text, "cores", markdown(table)) == text
    with pytest.raises(BoardError, match="must have one line '<!-- y: begin -->'"):
        with_section(text, "y", "")
    with pytest.raises(BoardError, match="cannot be read.*--docs takes the folder 'docs'"):
        write_section(tmp_path / "nowhere", "cores", "", "cores.json", table)


def test_damaged_tables_are_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "cores.json"
    for text, message in (("{", "cannot be read"), ('{"format": 0}', "no table of cores of format 3")):
        path.write_text(text)
        with pytest.raises(BoardError, match=message):
            read_table(path)


def test_the_page_shows_the_figures_beside_it() -> None:
    """docs/benchmarks.md and cores.json are written together: `skipspike bench cores --docs docs`."""
    page = (ROOT / "docs" / PAGE).read_text()
    assert with_section(page, "cores", "") != page or not core_bench.TABLE.exists()
    if core_bench.TABLE.exists():
        table = read_table()
        assert with_section(page, "cores", markdown(table)) == page
        assert [found["shape"] for found in table["rows"]] == list(SHAPES)


@pytest.mark.slow
def test_the_table_is_of_this_code() -> None:
    """After a change of the gateware the cores are to be measured again."""
    stale = [found["shape"] for found in read_table()["rows"] if found["code"] != code_digest(SHAPES[found["shape"]])]
    assert not stale


def test_a_row_without_results_has_every_key(results: Results) -> None:
    assert row(PAIR[0], None, ()).keys() <= run(results, Stand())[0].keys()
