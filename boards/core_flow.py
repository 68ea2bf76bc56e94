"""One core for one device: synthesis and packing of the core alone, then place and route in a harness, seed by seed."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from refmodel.config import CoreConfig
from refmodel.errors import ToolError
from rtl_gen.core import Core

from .core_devices import Device
from .core_harness import CORE, core_ports, harness_il, stub_il
from .netlists import finish_netlist, mark_collision_free
from .sizes import RECIPES, Runner, Size, ToolRunner, count, try_recipes
from .tools import Kind, find_tools

#: Changes when results are no longer comparable with older ones.
FORMAT = 3
#: Seconds a tool may take.
TIMEOUT = 3600.0


@dataclass(frozen=True)
class Design:
    """A core as RTLIL (module ``CORE``), its harness and a black box in its place, for one device."""

    device: Device
    core: str
    harness: str
    stub: str

    @property
    def source(self) -> str:
        """Digest of the gateware and of what is done with it; tools do not enter."""
        device = self.device
        flow = (*RECIPES, device.synth, *device.place_options, *([device.clock_pin] if device.clock_pin else []))
        parts = (str(FORMAT), *flow, self.core, self.harness, self.stub)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Netlist:
    """A synthesised core: its size, and the whole design (core and harness) as nextpnr reads it."""

    size: Size
    text: str


@dataclass(frozen=True)
class Placement:
    """What a seed gave: Fmax in Hz, and the cells where the longest path begins and ends."""

    seed: int
    fmax_hz: float
    path: tuple[str, str]


def design(config: CoreConfig, device: Device) -> Design:
    """The core of a shape, ready for the tools; ConfigError if it cannot be made."""
    core = Core(config=config)
    ports = core_ports(core)
    text = rtlil.convert(core, name=CORE, platform=device.platform(), emit_src=False)
    return Design(device, mark_collision_free(text), harness_il(ports, device.stages), stub_il(ports))


class Flow:
    """The tools.

    kind: where they come from.  timeout: seconds for each.  run: instead of starting processes (tests).
    Raises ToolError if one is missing.
    """

    def __init__(self, kind: Kind = "yowasp", *, timeout: float = TIMEOUT, run: Runner | None = None) -> None:
        self._kind, self._timeout = kind, timeout
        self._runner = ToolRunner()
        self._run = run or self._runner

    def versions(self, device: Device) -> dict[str, str]:
        """Versions of the tools that measure; ToolError if one is missing."""
        return {name: tool.version for name, tool in find_tools(device.tools, self._kind).items()}

    def stop(self) -> None:
        """Ends what runs and starts nothing more."""
        self._runner.stop()

    def size(self, what: Design) -> Size:
        """Synthesis and packing of the core alone; ToolError."""
        with tempfile.TemporaryDirectory(prefix="skipspike-") as name:
            return self._synthesise(what, Path(name))

    def synthesise(self, what: Design) -> Netlist:
        """The core's size, and the netlist to be placed: the core as measured, in its harness; ToolError."""
        with tempfile.TemporaryDirectory(prefix="skipspike-") as name:
            folder = Path(name)
            size = self._synthesise(what, folder)
            (folder / "harness.il").write_text(what.harness)
            (folder / "stub.il").write_text(what.stub)
            steps = [
                "read_rtlil stub.il",
                "read_rtlil harness.il",
                f"{what.device.synth} -top top",
                f"delete ={CORE}",
                "read_rtlil mapped.il",
                "flatten",
                f"delete {CORE}",
                "write_json top.json",
            ]
            self._yosys(steps, folder)
            finish_netlist(folder / "top.json")
            return Netlist(size, _read(folder / "top.json", "yosys"))

    def place(self, what: Design, netlist: str, seed: int) -> Placement:
        """Place and route; ToolError, for a design that does not fit, too."""
        (nextpnr,) = find_tools(what.device.tools[1:], self._kind).values()
        with tempfile.TemporaryDirectory(prefix="skipspike-") as name:
            folder = Path(name)
            (folder / "top.json").write_text(netlist)
            files = ["--json", "top.json", "--report", "report.json", "--seed", str(seed)]
            if what.device.clock_pin:
                (folder / "clock.lpf").write_text(f'LOCATE COMP "clk" SITE "{what.device.clock_pin}";\n')
                files += ["--lpf", "clock.lpf"]
            self._run([nextpnr.executable, *what.device.place_options, *files], folder, self._timeout)
            try:
                report = json.loads(_read(folder / "report.json", "nextpnr"))
            except ValueError:
                raise ToolError("nextpnr wrote a damaged report") from None
            return placement(report, seed)

    def _synthesise(self, what: Design, folder: Path) -> Size:
        """Writes ``mapped.il``, the mapped core, into the folder."""
        (folder / "core.il").write_text(what.core)

        def attempt(recipe: str) -> None:
            steps = ["read_rtlil core.il", f"hierarchy -top {CORE}", recipe, f"{what.device.synth} -top {CORE}"]
            steps += ["write_json core.json", f"setattr -mod -unset top {CORE}", f"select {CORE}"]
            self._yosys([*(step for step in steps if step), "write_rtlil -selected mapped.il"], folder)

        try_recipes(attempt)
        netlist = finish_netlist(folder / "core.json")
        (nextpnr,) = find_tools(what.device.tools[1:], self._kind).values()
        log = self._run(
            [nextpnr.executable, *what.device.place, "--json", "core.json", "--pack-only"], folder, self._timeout
        )
        return count(netlist, log, what.device.family, CORE)

    def _yosys(self, steps: Sequence[str], folder: Path) -> None:
        (yosys,) = find_tools(("yosys",), self._kind).values()
        (folder / "script.ys").write_text("\n".join(steps) + "\n")
        self._run([yosys.executable, "-q", "-s", "script.ys"], folder, self._timeout)


def _read(path: Path, tool: str) -> str:
    try:
        return path.read_text()
    except OSError:
        raise ToolError(f"{tool} wrote no {path.name}") from None


def placement(report: dict[str, Any], seed: int) -> Placement:
    """From nextpnr's report: the slowest clock, and where its longest path from register to register lies.

    Raises ToolError if there is no clock.
    """
    clocks = [1e6 * float(entry["achieved"]) for entry in report.get("fmax", {}).values()]
    if not clocks:
        raise ToolError("nextpnr reports no clock")
    paths = [
        path["path"]
        for path in report.get("critical_paths", [])
        if path["path"] and not any(str(path[end]).startswith("<async>") for end in ("from", "to"))
    ]
    if not paths:
        return Placement(seed, min(clocks), ("", ""))
    longest = max(paths, key=lambda path: sum(float(step["delay"]) for step in path))
    return Placement(seed, min(clocks), (longest[0]["from"]["cell"], longest[-1]["to"]["cell"]))
