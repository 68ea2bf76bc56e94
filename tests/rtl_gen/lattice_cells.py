"""Lattice and SiliconBlue cells as their manuals describe them, for simulation: stand-ins for Instance."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Elaboratable, Module, Mux, Signal, Value


class Cell(Elaboratable):
    """Takes Instance's arguments; ports that are not connected read as 1, a carry that is not as unknown."""

    def __init__(self, kind: str, **ports: Any):
        self.kind = kind
        self.ports = ports

    def pin(self, name: str) -> Value:
        return Value.cast(self.ports.get(f"i_{name}", Const(1, 1)))

    def lut(self, init: str, names: tuple[str, ...]) -> Any:
        value = self.ports[f"p_{init}"].value
        table = Const(value & ((1 << (1 << len(names))) - 1), 1 << len(names))
        return table.bit_select(Cat(self.pin(name) for name in names), 1)

    def elaborate(self, platform) -> Module:
        m = Module()
        outputs: dict[str, Value] = {}
        if self.kind == "CCU2C":
            # An open carry input may be anything: here whatever the first operand is.
            carry = self.ports.get("i_CIN", self.pin("A1"))
            for half in range(2):
                assert self.ports[f"p_INJECT1_{half}"] == "NO"
                names = tuple(f"{letter}{half}" for letter in "ABCD")
                lut4, lut2 = Signal(name=f"lut4_{half}"), Signal(name=f"lut2_{half}")
                m.d.comb += [lut4.eq(self.lut(f"INIT{half}", names)), lut2.eq(self.lut(f"INIT{half}", names[:2]))]
                outputs[f"S{half}"] = lut4 ^ carry
                following = Signal(name=f"carry_{half}")
                m.d.comb += following.eq(Mux(lut4, carry, lut2))
                carry = following
            outputs["COUT"] = carry
        elif self.kind == "LUT4":
            outputs["Z"] = self.lut("INIT", ("A", "B", "C", "D"))
        elif self.kind == "PFUMX":
            outputs["Z"] = Mux(self.pin("C0"), self.pin("ALUT"), self.pin("BLUT"))
        elif self.kind == "L6MUX21":
            outputs["Z"] = Mux(self.pin("SD"), self.pin("D1"), self.pin("D0"))
        elif self.kind == "SB_LUT4":
            outputs["O"] = self.lut("LUT_INIT", ("I0", "I1", "I2", "I3"))
        elif self.kind == "SB_CARRY":
            a, b, carry = (self.pin(name) for name in ("I0", "I1", "CI"))
            outputs["CO"] = a & b | a & carry | b & carry
        else:
            raise ValueError(f"no stand-in for {self.kind}")
        for name, value in outputs.items():
            if f"o_{name}" in self.ports:
                m.d.comb += self.ports[f"o_{name}"].eq(value)
        return m
