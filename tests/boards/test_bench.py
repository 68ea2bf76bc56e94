# amaranth: UnusedElaboratable=no
"""The bench with a stand-in for the tools: what is measured, kept, looked up, and how differences are made."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from amaranth.sim import Simulator

from boards import bench as module
from boards.bench import Bench, bench, table_of
from boards.bench_parts import BOARDS, SpikePath, Tied, board_settings, differences, parts
from boards.bench_table import BEGIN, DATA, END, PAGE, markdown, with_figures, write_figures
from boards.registry import get_board
from boards.sizes import FAMILIES, Cache, Size, Subject, subject
from refmodel.config import CoreConfig
from refmodel.errors import BoardError, ConfigError, ToolError
from refmodel.layout import CombineOp
from rtl_gen.catalogue import component_names
from rtl_gen.neuron import NeuronUnit

ROOT = Path(__file__).parents[2]


class Stand:
    """Measures without tools: the LUTs are what it has been asked so far."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.asked: list[Subject] = []
        self.broken = broken

    def __call__(self, what: Subject) -> Size:
        self.asked.append(what)
        number = len(self.asked)
        if number in self.broken:
            raise ToolError(f"yosys: broken at {number}")
        return Size(cells=number, lut=number, ram=0, carry=0, ff=1, bram=0, dsp=0, spram=0)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def run(cache: Cache, measure: Stand | None = None, component: str = "SpikeCombiner", **options) -> Bench:
    options = {"jobs": 1, "table": cache.folder / "none.json", **options}
    return bench(component, ["ice40"], cache=cache, measure=measure, **options)


def test_each_gateware_is_measured_once_and_kept(cache: Cache) -> None:
    stand = Stand()
    first = run(cache, stand)
    sources = [what.source for what in stand.asked]
    assert len(sources) == len(set(sources)) == len({m.source for m in first.all_measured})
    assert {m.origin for m in first.all_measured} == {"run"}
    second = run(cache, Stand(broken=(1,)))  # it is not asked at all
    assert {m.origin for m in second.all_measured} == {"cache"}
    assert [m.size for m in second.measured] == [m.size for m in first.measured]
    assert second.difference_rows() == first.difference_rows()


def test_an_interrupted_run_goes_on_where_it_was(cache: Cache) -> None:
    class Interrupted(Stand):
        def __call__(self, what: Subject) -> Size:
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return super().__call__(what)

    with pytest.raises(KeyboardInterrupt):
        run(cache, Interrupted())
    stand = Stand()
    result = run(cache, stand)
    assert [m.origin for m in result.all_measured].count("cache") == 3
    assert 0 < len(stand.asked) == len({m.source for m in result.all_measured}) - 3


def test_a_failed_synthesis_leaves_a_gap(cache: Cache) -> None:
    result = run(cache, Stand(broken=(2,)))
    (failed,) = result.failed
    assert failed.error == "yosys: broken at 2"
    assert failed.row()["lut"] is None and failed.row()["family"] == "ice40"
    with pytest.raises(ToolError, match="width=64, ice40 has no size .*broken at 2.*: the table is not written"):
        table_of(result)
    assert not run(cache, Stand()).failed  # not kept: tried again


def test_cached_only_asks_no_tool(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand()
    assert {m.origin for m in run(cache, stand, cached_only=True).all_measured} == {"missing"}
    assert not stand.asked
    result = run(cache, Stand())
    table = cache.folder / "table.json"
    table.write_text(json.dumps(table_of(result)))

    def none(family, kind):
        raise ToolError("yosys is missing")

    monkeypatch.setattr(module, "tool_versions", none)
    looked_up = run(cache, stand, cached_only=True, table=table)
    assert {m.origin for m in looked_up.all_measured} == {"table"}
    assert looked_up.difference_rows() == result.difference_rows()
    with pytest.raises(ToolError, match="yosys is missing"):
        run(cache, stand)


def test_differences_are_divided_by_lanes(cache: Cache) -> None:
    class Sized(Stand):
        def __call__(self, what: Subject) -> Size:
            big = what.source == wanted
            return Size(100 if big else 50, 90 if big else 40, 8 if big else 0, 0, 5, big, 0, 0)

    (pair,) = [d for d in differences("MembraneShortcutMux", ("ice40",)) if d.whole.component == "NeuronUnit"]
    wanted = subject(pair.whole.make(), "ice40").source
    result = run(cache, Sized(), "MembraneShortcutMux")
    (row,) = [row for row in result.difference_rows() if row["component"] == "NeuronUnit"]
    core = get_board("icebreaker").core
    assert row["more"] == {"cells": 50, "lut": 50, "ram": 8, "carry": 0, "ff": 0, "bram": 1, "dsp": 0, "spram": 0}
    assert (row["units"], row["channels"], row["lanes"]) == (1, core.slots_per_step, core.slots_per_chunk)
    assert row["per_unit"] == 42 and row["per_lane"] == round(42 / core.slots_per_chunk, 3)


def test_unknown_component(cache: Cache) -> None:
    with pytest.raises(ConfigError, match="no component 'Combiner'; there are AttentionPools"):
        run(cache, Stand(), "Combiner")


def test_every_component_is_measured_for_both_families() -> None:
    found = {(part.component, part.family) for part in parts()}
    assert found == {(name, family) for name in component_names() for family in FAMILIES}
    names = [(part.component, part.parameters, part.family) for part in parts()]
    assert len(names) == len(set(names))


def _parsed(key: str, value: str) -> Any:
    kind = type(getattr(CoreConfig(), key))
    return value == "True" if kind is bool else kind(value)


def test_a_boards_settings_make_its_core() -> None:
    for board in BOARDS.values():
        changed = {key: _parsed(key, value) for key, value in board_settings(board).items()}
        assert CoreConfig(**changed) == get_board(board).core


def test_halves_of_a_difference_differ() -> None:
    """Except for the feature they are the same; each makes RTLIL, and not the same one."""
    for family in FAMILIES:
        for d in differences(None, (family,)):
            if d.whole.component != "NeuronStage":  # large, and made as the others
                assert subject(d.whole.make(), family).source != subject(d.without.make(), family).source
            assert d.lanes % d.channels == 0


def test_tied_inputs_take_the_feature_away() -> None:
    """A neuron whose shortcut is tied takes its bias, whatever comes in."""
    config = CoreConfig()
    for ties, fires in (({}, 1), ({"shortcut": 0}, 0), ({"mode.use_current": 0}, 0)):
        dut = Tied(NeuronUnit(config=config), ties)

        async def bench(ctx, dut=dut, fires=fires):
            ctx.set(dut.mode.use_current, 1)
            ctx.set(dut.write_en, 1)
            ctx.set(dut.write_data, {"threshold": 50, "bias": 0, "bias_shortcut": 100})
            await ctx.tick()
            ctx.set(dut.write_en, 0)
            ctx.set(dut.shortcut, 1)
            await ctx.tick()  # the constants are read a clock ahead
            ctx.set(dut.slot, {"valid": 1, "index": 0, "first": 1, "fake": 0, "end": 0})
            await ctx.tick().repeat(NeuronUnit.LATENCY)
            assert ctx.get(dut.spike) == fires

        sim = Simulator(dut)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()


@pytest.mark.parametrize("path", ["width", "mode.nothing", "spike", "shortcut.bit", "mode.readout.x"])
def test_ties_name_inputs(path: str) -> None:
    with pytest.raises(ValueError, match=f"NeuronUnit has no input '{path}'"):
        Tied(NeuronUnit(config=CoreConfig()), {path: 0})


@pytest.mark.parametrize("combine", [*CombineOp, "all", None])
def test_spike_path_combines(combine) -> None:
    """What is measured works: planes of A combined with S."""
    rng = random.Random(str(combine))
    width, dut = 8, SpikePath(width=8, combine=combine)
    mask = (1 << width) - 1
    equations = {
        CombineOp.AND: lambda a, s: a & s,
        CombineOp.IAND: lambda a, s: ~a & s & mask,
        CombineOp.OR: lambda a, s: a | s,
        None: lambda a, s: a,
    }

    async def bench(ctx):
        for _ in range(40):
            op = rng.choice(list(CombineOp)) if combine == "all" else combine
            own, planes = rng.randrange(1 << width), [rng.randrange(1 << width) for _ in range(2)]
            ctx.set(dut.op, op or 0)
            ctx.set(dut.take, 1)
            ctx.set(dut.word, own)
            await ctx.tick()
            ctx.set(dut.take, 0)
            ctx.set(dut.has_plane, 1)
            ctx.set(dut.shortcut, planes[0])
            if op != CombineOp.ADD or op is None:
                assert ctx.get(dut.out) == equations[op](own, planes[0])
                continue
            got = []
            ctx.set(dut.step, 1)
            for plane in (*planes, None):
                ctx.set(dut.has_plane, plane is not None)
                ctx.set(dut.shortcut, plane or 0)
                got.append(ctx.get(dut.out))
                await ctx.tick()
            ctx.set(dut.step, 0)
            for bit in range(width):
                numbers = [sum((word >> bit & 1) << p for p, word in enumerate(words)) for words in (planes, got)]
                assert numbers[1] == numbers[0] + (own >> bit & 1)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def test_spike_path_holds_the_projects_combiner() -> None:
    for combine in (CombineOp.ADD, "all"):
        assert "combiner" in subject(SpikePath(width=4, combine=combine), "ice40").il
    assert "combiner" not in subject(SpikePath(width=4, combine=None), "ice40").il


def some_table(cache: Cache) -> dict:
    return table_of(run(cache, Stand()))


def test_figures_go_between_their_marks(cache: Cache, tmp_path: Path) -> None:
    page = tmp_path / PAGE
    page.write_text(f"# Components\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    table = some_table(cache)
    assert write_figures(tmp_path, table) == [page, tmp_path / DATA]
    text = page.read_text()
    assert text.startswith("# Components\n") and text.endswith("\n\nThe end.\n") and "old" not in text
    assert "| SpikeCombiner | width=32 | ice40 | 1 | 1 |" in text
    assert module.read_table(tmp_path / DATA) == table
    assert with_figures(text, table) == text
    page.write_text("# Components\n")
    with pytest.raises(BoardError, match="must have one line"):
        write_figures(tmp_path, table)
    with pytest.raises(BoardError, match="cannot be read.*--docs takes the folder 'docs'"):
        write_figures(tmp_path / "nowhere", table)


def test_damaged_tables_are_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / DATA
    path.write_text("{")
    with pytest.raises(BoardError, match="cannot be read"):
        module.read_table(path)
    path.write_text('{"format": 0}')
    with pytest.raises(BoardError, match="no table of component sizes of format 1"):
        module.read_table(path)


def test_the_page_shows_the_figures_beside_it() -> None:
    """docs/components.md and .json are written together: `skipspike bench components --docs docs`."""
    table = module.read_table(ROOT / "docs" / DATA)
    page = (ROOT / "docs" / PAGE).read_text()
    assert markdown(table) in page and with_figures(page, table) == page
    assert {row["component"] for row in table["rows"]} == set(component_names())


@pytest.mark.slow
def test_the_tables_are_of_this_gateware(tmp_path: Path) -> None:
    """After a change of the gateware they are to be measured again."""
    result = bench(cache=Cache(tmp_path), cached_only=True)
    stale = [f"{m.part.component}, {m.part.parameters}" for m in result.all_measured if m.origin != "table"]
    assert not stale
