"""Every form of the adders against plain sums."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth import Elaboratable, Module, Mux, Signal, signed
from amaranth.sim import Simulator
from amaranth.vendor import LatticePlatform, SiliconBluePlatform

from rtl_gen import adders
from rtl_gen.adders import CarryChain, adder_form, gated_sum
from tests.rtl_gen.lattice_cells import Cell

VECTORS = 1000


def wrapped(value: int, width: int) -> int:
    half = 1 << (width - 1)
    return (value + half) % (1 << width) - half


class GatedAdder(Elaboratable):
    """One gated adder and its pins."""

    def __init__(self, form: adders.Form, a_width: int, b_width: int, width: int):
        self.form, self.width = form, width
        self.pins = [Signal(signed(a_width)), Signal(signed(b_width)), Signal()]
        self.out = Signal(signed(width))

    def elaborate(self, platform) -> Module:
        m = Module()
        a, b, gate = self.pins
        m.d.comb += self.out.eq(gated_sum(m, a, b, gate, self.width, self.form, "add"))
        return m


class Chain(Elaboratable):
    """K weights and an accumulator, without registers between them but with what the first one does."""

    def __init__(self, lanes: int, weight_bits: int, acc_width: int):
        self.weights = [Signal(signed(weight_bits)) for _ in range(lanes)]
        self.gates = [Signal() for _ in range(lanes)]
        self.acc = Signal(signed(acc_width))
        self.keep = Signal()
        self.pins = [*self.weights, *self.gates, self.acc, self.keep]
        self.out = Signal(signed(acc_width))

    def elaborate(self, platform) -> Module:
        m = Module()
        chain = CarryChain(m, "chain")
        bits = len(self.weights[0])
        if len(self.weights) == 1:
            part = Signal(signed(bits))
            m.d.comb += part.eq(Mux(self.gates[0], self.weights[0], 0))
        else:
            total = chain.pair(*self.weights[:2], *self.gates[:2])
            part = Signal.like(total)
            m.d.comb += part.eq(Mux(self.gates[0] | self.gates[1], total, 1 << bits))
        for k in range(2, len(self.weights)):
            part = chain.gated(part, self.weights[k], self.gates[k], (k + 1) * ((1 << bits) - 1))
        m.d.comb += self.out.eq(chain.doubling(part, self.acc, self.keep))
        chain.close()
        return m


def check(dut: Any, expected: Callable[[list[int]], int]) -> None:
    rng = random.Random(len(dut.pins))

    async def bench(ctx):
        for _ in range(VECTORS):
            for pin in dut.pins:
                ctx.set(pin, rng.choice([rng.getrandbits(len(pin)), 0, -1, 1 << (len(pin) - 1)]))
            await ctx.delay(1e-9)
            values = [ctx.get(pin) for pin in dut.pins]
            assert ctx.get(dut.out) == wrapped(expected(values), len(dut.out)), values

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("form", ["portable", "ice40"])
@pytest.mark.parametrize(("a_width", "b_width", "width"), [(3, 3, 4), (5, 3, 5), (2, 2, 3), (4, 2, 3)])
def test_a_gated_adder(form: adders.Form, a_width: int, b_width: int, width: int, monkeypatch) -> None:
    monkeypatch.setattr(adders, "Instance", Cell)
    check(GatedAdder(form, a_width, b_width, width), lambda pins: pins[0] + pins[1] * pins[2])


@pytest.mark.parametrize(("lanes", "weight_bits", "acc_width"), [(1, 3, 6), (2, 3, 7), (4, 2, 6), (4, 3, 4), (8, 2, 8)])
def test_a_carry_chain(lanes: int, weight_bits: int, acc_width: int, monkeypatch) -> None:
    monkeypatch.setattr(adders, "Instance", Cell)

    def expected(values: list[int]) -> int:
        *pins, acc, keep = values
        return sum(w * g for w, g in zip(pins[:lanes], pins[lanes:], strict=True)) + acc * (2 - keep)

    check(Chain(lanes, weight_bits, acc_width), expected)


def test_the_form_follows_the_platform() -> None:
    def platform(kind: type, device: str) -> Any:
        rest = dict.fromkeys(("connectors", "package", "resources", "speed"))
        return object.__new__(type("Board", (kind,), {**rest, "device": device}))

    assert adder_form(None) == "portable"
    assert adder_form(platform(LatticePlatform, "LFE5U-25F")) == "ecp5"
    assert adder_form(platform(LatticePlatform, "LFE5UM5G-85F")) == "ecp5"
    assert adder_form(platform(LatticePlatform, "LIFCL-40")) == "portable"
    assert adder_form(platform(SiliconBluePlatform, "iCE40UP5K")) == "ice40"
