"""The membrane shortcut's multiplexer against R = S * current."""

from __future__ import annotations

import itertools

import pytest
from amaranth.sim import Simulator

from rtl_gen.shortcut import MembraneShortcutMux


@pytest.mark.parametrize("width", [2, 18])
def test_adds_the_current_where_the_shortcut_spikes(width: int) -> None:
    dut = MembraneShortcutMux(width=width)
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    values = sorted({low, low + 1, -1, 0, 1, high - 1, high})

    async def bench(ctx):
        for enable, spike, bias, both in itertools.product((0, 1), (0, 1), values, values):
            ctx.set(dut.enable, enable)
            ctx.set(dut.shortcut, spike)
            ctx.set(dut.bias, bias)
            ctx.set(dut.bias_shortcut, both)
            current = both - bias
            assert ctx.get(dut.constant) == bias + enable * spike * current

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
