# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false
"""Verilog with large memories: the same as Amaranth's, but for zeros."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.back import rtlil, verilog
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from rtl_gen.conversion import convert
from rtl_gen.core import Core
from rtl_gen.store import ResidentStore

WORDS = (0x1F, 0, 7, 0x10, 3)
_LOOP = re.compile(
    r"  initial begin : zeros_(\w+)\n    integer i;\n    for \(i = 0; i <= (\d+); i = i \+ 1\) \1\[i\] = 0;\n  end\n"
)


class _Memories(wiring.Component):
    """One with contents (5 bits, the last 3 of 8 words are 0), one of zeros, one a bit wide."""

    def __init__(self) -> None:
        super().__init__({"addr": In(3), "q": Out(5), "zero": Out(7), "one": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, shape, init, out in (
            ("words", 5, WORDS, self.q),
            ("zeros", 7, (), self.zero),
            ("bits", 1, (0, 1, 1, 0, 1), self.one),
        ):
            m.submodules[name] = memory = Memory(shape=shape, depth=8, init=init)
            port = memory.read_port()
            m.d.comb += [port.addr.eq(self.addr), port.en.eq(1), out.eq(port.data)]
        return m


def _as_lists(text: str) -> str:
    """Loops as Yosys writes the same contents."""

    def words(loop: re.Match[str]) -> str:
        name, last = loop[1], int(loop[2])
        declared = re.search(rf"  reg (?:\[(\d+):0\] )?{name} +\[{last}:0\];\n$", text[: loop.start()])
        assert declared, f"no declaration before the loop of {name}"
        width = int(declared[1] or 0) + 1
        zero = "32'd0" if width == 32 else f"{width}'h{0:0{-(-width // 4)}x}"
        return "  initial begin\n" + "".join(f"    {name}[{i}] = {zero};\n" for i in range(last + 1)) + "  end\n"

    return _LOOP.sub(words, text)


def _core() -> Core:
    return Core(config=CoreConfig(store_depth=256), store_init=(1, 0, 1 << 63, 5))


@pytest.mark.parametrize("make", [_Memories, _core])
def test_is_what_amaranth_makes(make: Callable[[], wiring.Component]) -> None:
    component = make()
    usual = verilog.convert(component, name="top", emit_src=False, strip_internal_attrs=True)
    made = convert(component, name="top")
    assert _LOOP.search(made) and len(made) < len(usual)
    # Yosys orders processes by the names of their wires.
    assert sorted(_as_lists(made).splitlines()) == sorted(usual.splitlines())


class _Loaded(wiring.Component):
    """A store, with ``init``, and another memory."""

    def __init__(self, init: tuple[int, ...]) -> None:
        self._init = init
        super().__init__({"addr": In(6), "q": Out(64), "other": Out(5)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = store = ResidentStore(CoreConfig(store_depth=64), init=self._init)
        m.submodules.other = other = _Memories()
        m.d.comb += [store.read.addr.eq(self.addr), self.q.eq(store.read.data)]
        m.d.comb += [other.addr.eq(self.addr), self.other.eq(other.zero)]
        return m


def test_what_is_loaded_stays_undefined() -> None:
    empty = _Loaded(())
    assert [int(last) for _, last in _LOOP.findall(convert(empty, name="core"))] == [7, 63]
    text = convert(empty, name="core", blank=("store",))
    assert [int(last) for _, last in _LOOP.findall(text)] == [7]
    assert "[63:0];\n  reg" in text or "[63:0];\n  always" in text
    assert "[0] = 64'h0000000000000005;" in convert(_Loaded((5,)), name="core", blank=("store",))


def test_the_back_end_is_left_as_it_was() -> None:
    usual = rtlil.ModuleEmitter.emit_memory
    convert(_Memories(), name="top")
    assert rtlil.ModuleEmitter.emit_memory is usual
    with pytest.raises(Exception, match="ports"):
        convert(object(), name="top")
    assert rtlil.ModuleEmitter.emit_memory is usual


BENCH = """module bench;
  reg clk = 0, rst = 0; reg [2:0] addr; wire [4:0] q; wire [6:0] zero; wire one; integer n;
  top dut(.clk(clk), .rst(rst), .addr(addr), .q(q), .zero(zero), .one(one));
  initial begin
    for (n = 0; n < 8; n = n + 1) begin addr = n; #1 clk = 1; #1 clk = 0; #1 $display("%d %d %d", q, zero, one); end
  end
endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_contents_in_a_simulator(tmp_path: Path) -> None:
    (tmp_path / "bench.v").write_text(convert(_Memories(), name="top") + BENCH)
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "bench.v"], cwd=tmp_path, check=True)
    shown = subprocess.run(["vvp", "-n", "bench"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    found = [tuple(map(int, line.split())) for line in shown.splitlines()]
    assert found == [(q, 0, b) for q, b in zip((*WORDS, 0, 0, 0), (0, 1, 1, 0, 1, 0, 0, 0), strict=True)]
