# amaranth: UnusedElaboratable=no
"""The harness around a core, and what is asked of the tools."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards import core_flow, netlists
from boards.core_devices import DEVICES, get_device
from boards.core_flow import Design, Flow, design, placement
from boards.core_harness import CORE, Port, core_ports, harness_il, stub_il
from boards.core_shapes import SHAPES
from boards.tools import Tool
from refmodel.config import CoreConfig
from refmodel.errors import ToolError

PORTS = (Port("a", 5, True), Port("b", 1, True), Port("y", 4, False), Port("z", 3, False))


class Sum(wiring.Component):
    """Stands for a core: registers a sum."""

    def __init__(self) -> None:
        super().__init__({"a": In(8), "b": In(8), "y": Out(9)})

    def elaborate(self, platform):
        m = Module()
        first = Signal(9)
        m.d.sync += [first.eq(self.a + self.b), self.y.eq(first ^ self.y)]
        return m


def sum_design(device: str) -> Design:
    ports = core_ports(Sum())
    found = get_device(device)
    return Design(found, rtlil.convert(Sum(), name=CORE, emit_src=False), harness_il(ports), stub_il(ports))


def registers(il: str) -> dict[str, int]:
    """Width of each register."""
    cells = re.findall(r"parameter \\WIDTH (\d+)(?:(?!  end).)*connect \\Q \\(\S+)", il, re.DOTALL)
    return {name: int(width) for width, name in cells}


@pytest.mark.parametrize(("stages", "wide"), [(0, 6), (4, 4), (50, 6)])
def test_inputs_come_from_a_shift_register_and_outputs_are_folded(stages: int, wide: int) -> None:
    found = registers(harness_il(PORTS, stages))
    assert found.pop("shift") == wide and found.pop("reset") == 1
    assert found == {"fold0": 1, "fold1": 1, "folded": 1}  # 7 outputs, 3 to a LUT


def test_every_port_is_connected_whole() -> None:
    il = harness_il(PORTS, 4)
    cell = il[il.index(f"cell \\{CORE} ") :]
    joined = dict(re.findall(r"connect \\(\w+) (.+)", cell[: cell.index("end")]))
    assert joined.keys() == {"clk", "rst", "a", "b", "y", "z"}
    # Five inputs of four flip-flops: the first feeds the last again, and the sixth is the second's.
    assert joined["a"] == r"{ \shift [0] \shift [3:0] }" and joined["b"] == r"\shift [1]"
    assert (joined["clk"], joined["rst"], joined["y"]) == (r"\clk [0]", r"\reset [0]", r"\y")


def test_the_black_box_has_the_cores_ports() -> None:
    made = design(
        CoreConfig(event_lanes=1, output_lanes=4, neuron_units=1, store="spram", max_planes=2), get_device("up5k")
    )
    assert "SB_SPRAM256KA" in made.core  # the device's own form
    module = made.core[made.core.index(f"module \\{CORE}\n") :]
    module = module[: module.index("\nend")]
    form = r"wire width (\d+) (input|output) \d+\s+(?:signed )?\\(\S+)"
    own = {(name, int(width), way) for width, way, name in re.findall(form, module)}
    stub = {(name, int(width), way) for width, way, name in re.findall(form, made.stub)}
    assert own == stub and ("clk", 1, "input") in own and len(own) >= 10


def test_the_source_is_that_of_the_core_and_the_device() -> None:
    assert sum_design("up5k").source == sum_design("up5k").source
    assert len({sum_design(device).source for device in DEVICES}) == len(DEVICES)
    assert replace(sum_design("up5k"), core="x").source != sum_design("up5k").source


class FakeTools:
    """Stands for Yosys and nextpnr in the flow's folder; Yosys fails as often as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int = 0, report: str | None = None) -> None:
        self.failures, self.scripts, self.commands = failures, [], []
        self.report = report or json.dumps({"fmax": {"clk": {"achieved": 51.5, "constraint": 12.0}}})
        monkeypatch.setattr(
            core_flow, "find_tools", lambda names, kind: {name: Tool(name, f"/bin/{name}", "1") for name in names}
        )

    def __call__(self, command: list[str], folder: Path, timeout: float) -> str:
        if "yosys" in command[0]:
            self.scripts.append((folder / "script.ys").read_text().splitlines())
            if len(self.scripts) <= self.failures:
                raise ToolError("yosys: out of luck")
            module = "top" if "read_rtlil harness.il" in self.scripts[-1] else CORE
            made = {"modules": {module: {"cells": {"x": {"type": "SB_LUT4"}}}}}
            (folder / ("top.json" if module == "top" else "core.json")).write_text(json.dumps(made))
            return ""
        self.commands.append(command)
        if "--lpf" in command:
            self.constraints = (folder / command[command.index("--lpf") + 1]).read_text()
        if "--pack-only" not in command:
            (folder / "report.json").write_text(self.report)
        return "Info: \t         ICESTORM_LC:     637/   5280    12%\n"


WHAT = Design(get_device("up5k"), "core", "harness", "stub")


def test_the_core_is_mapped_alone_and_then_put_into_the_harness(monkeypatch) -> None:
    tools = FakeTools(monkeypatch)
    flow = Flow(run=tools)
    netlist = flow.synthesise(WHAT)
    assert netlist.size.cells == 637 and netlist.size.lut == 1 and "SB_LUT4" in netlist.text
    core, whole = tools.scripts
    assert f"{WHAT.device.synth} -top core" in core and core[-1] == "write_rtlil -selected mapped.il"
    mapped, harness = whole.index("read_rtlil mapped.il"), whole.index(f"{WHAT.device.synth} -top top")
    assert harness < mapped < whole.index("flatten") and "opt" not in " ".join(whole[harness + 1 :])
    placed = flow.place(WHAT, netlist.text, 7)
    assert (placed.seed, placed.fmax_hz) == (7, 51_500_000)
    pack, place = tools.commands
    assert pack[1:] == ["--up5k", "--package", "sg48", "--json", "core.json", "--pack-only"]
    assert place[-2:] == ["--seed", "7"] and "--pcf-allow-unconstrained" in place


def test_the_clock_of_an_ecp5_has_a_clock_pin(monkeypatch) -> None:
    tools = FakeTools(monkeypatch)
    what = Design(get_device("ecp5-25f"), "core", "harness", "stub")
    Flow(run=tools).place(what, "{}", 1)
    assert tools.constraints == 'LOCATE COMP "clk" SITE "G2";\n' and "--lpf-allow-unconstrained" in tools.commands[-1]
    assert "120" in tools.commands[-1] and "112" in SHAPES["ecp5-25f-512-w4"].device.place_options
    moved = dataclasses.replace(what, device=dataclasses.replace(what.device, clock_pin="P3"))
    assert moved.source != what.source


def test_netlists_are_finished_before_nextpnr_gets_them(monkeypatch, tmp_path: Path) -> None:
    seen = []

    def tidy(netlist: dict) -> None:
        netlist["seen"] = len(seen)
        seen.append(list(netlist["modules"]))

    tools = FakeTools(monkeypatch)

    def absorb(netlist: dict) -> None:
        netlist["absorbed"] = "seen" not in netlist  # chains are tidied when the registers are gone

    monkeypatch.setattr(netlists, "tidy_carries", tidy)
    monkeypatch.setattr(netlists, "absorb_registers", absorb)
    made = json.loads(Flow(run=tools).synthesise(WHAT).text)
    assert made["seen"] == 1 and made["absorbed"]
    assert seen == [[CORE], ["top"]]
    with pytest.raises(ToolError, match="yosys wrote no top.json"):
        netlists.finish_netlist(tmp_path / "top.json")
    (tmp_path / "top.json").write_text("{")
    with pytest.raises(ToolError, match="damaged netlist"):
        netlists.finish_netlist(tmp_path / "top.json")


def test_a_tool_that_gives_up_gets_another_order(monkeypatch) -> None:
    tools = FakeTools(monkeypatch, failures=1)
    assert Flow(run=tools).size(WHAT).cells == 637
    assert len(tools.scripts) == 2 and "splitnets" not in " ".join(tools.scripts[1])
    with pytest.raises(ToolError, match="out of luck"):
        Flow(run=FakeTools(monkeypatch, failures=3)).size(WHAT)


def test_reports_that_say_nothing(monkeypatch) -> None:
    for report, message in (("{", "damaged report"), ('{"fmax": {}}', "reports no clock")):
        with pytest.raises(ToolError, match=message):
            Flow(run=FakeTools(monkeypatch, report=report)).place(WHAT, "", 1)


def test_the_longest_path_is_from_register_to_register() -> None:
    def step(start: str, end: str, delay: float) -> dict:
        return {"from": {"cell": start}, "to": {"cell": end}, "delay": delay}

    paths = [
        {"from": "posedge clk", "to": "posedge clk", "path": [step("a", "b", 1.0), step("b", "c", 2.0)]},
        {"from": "posedge clk", "to": "posedge clk", "path": [step("d", "e", 2.5)]},
        {"from": "<async>", "to": "posedge clk", "path": [step("pin", "f", 9.0)]},
        {"from": "posedge clk", "to": "posedge clk", "path": []},
    ]
    found = placement({"fmax": {"clk": {"achieved": 50.0}, "x": {"achieved": 60.0}}, "critical_paths": paths}, 3)
    assert found.path == ("a", "c") and found.fmax_hz == 50e6 and found.seed == 3


@pytest.mark.slow
@pytest.mark.parametrize("device", ["up5k", "hx8k", "ecp5-25f"])
def test_real_tools_place_a_netlist_in_its_harness(device: str) -> None:
    flow, what = Flow(timeout=600), sum_design(device)
    netlist = flow.synthesise(what)
    assert netlist.size.ff == 18 and netlist.size == flow.size(what)
    cells = json.loads(netlist.text)["modules"]["top"]["cells"]
    flip_flops = [name for name, cell in cells.items() if cell["type"].startswith(("SB_DFF", "TRELLIS_FF"))]
    assert len(flip_flops) == 18 + 16 + 1 + 3
    placed = flow.place(what, netlist.text, 1)
    assert 20e6 < placed.fmax_hz < 2e9
