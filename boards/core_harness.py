"""A harness of three pins around a core: none of its logic is optimised away, and none of its paths ends at a pin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In

#: Module name of the core, synthesised by itself.
CORE = "core"
#: Outputs that one LUT folds into the next register of the chain.
_FOLDED = 3


@dataclass(frozen=True)
class Port:
    """A port of a synthesised core: name as in its netlist, width in bits, whether it is an input."""

    name: str
    width: int
    is_input: bool


def core_ports(core: wiring.Component) -> tuple[Port, ...]:
    """Ports of a component, clock and reset left out, as Amaranth names them in its netlist."""
    found = []
    for path, member, value in core.signature.flatten(core):
        found.append(Port("__".join(map(str, path)), len(Value.cast(value)), member.flow == In))
    return tuple(found)


class Harness(Elaboratable):
    """Inputs from a shift register, outputs folded into a chain of registers by exclusive or.

    The core comes in as a netlist of its own (a black box here), so that neither constant nor shared inputs change
    its logic.  Its reset is a register, as on a board.

    Parameters
    ----------
    ports: the core's.
    stages: flip-flops of the shift register at most, each of which then feeds several inputs; 0: one for each input
        bit.  The reset has one of its own.

    Members
    -------
    clk, serial: in.  folded: out.
    """

    def __init__(self, ports: Sequence[Port], stages: int = 0):
        self._ports, self._stages = tuple(ports), stages
        self.clk = Signal()
        self.serial = Signal()
        self.folded = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(self.clk)

        bits = sum(port.width for port in self._ports if port.is_input)
        stages = min(bits, self._stages) if self._stages else bits
        shift = Signal(max(1, stages))
        reset = Signal()
        m.d.sync += [shift.eq(Cat(self.serial, shift)), reset.eq(shift[-1])]

        pins: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": reset}
        outputs: list[Value] = []
        fed = 0
        for port in self._ports:
            if port.is_input:
                pins[f"i_{port.name}"] = Cat(shift[(fed + bit) % len(shift)] for bit in range(port.width))
                fed += port.width
            else:
                pins[f"o_{port.name}"] = wire = Signal(port.width, name=port.name)
                outputs += list(wire)
        m.submodules.core = Instance(CORE, **pins)

        last: Value = Const(0, 1)
        for start in range(0, len(outputs), _FOLDED):
            folded = Signal(name=f"fold{start // _FOLDED}")
            m.d.sync += folded.eq(Cat(last, *outputs[start : start + _FOLDED]).xor())
            last = folded
        m.d.comb += self.folded.eq(last)
        return m


def harness_il(ports: Sequence[Port], stages: int = 0) -> str:
    """RTLIL of the harness, module "top"; the core is a cell of the type ``CORE``."""
    made = Harness(ports, stages)
    return rtlil.convert(made, name="top", ports=[made.clk, made.serial, made.folded], emit_src=False)


def stub_il(ports: Sequence[Port]) -> str:
    """RTLIL of a black box with the core's ports, so that the harness can be synthesised by itself."""
    lines = ["attribute \\blackbox 1", f"module \\{CORE}"]
    every = [Port("clk", 1, True), Port("rst", 1, True), *ports]
    for number, port in enumerate(every):
        lines.append(f"  wire width {port.width} {'input' if port.is_input else 'output'} {number} \\{port.name}")
    return "\n".join([*lines, "end", ""])
