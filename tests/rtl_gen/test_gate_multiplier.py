"""The gate multiplier against X' = relu((X * gate) >> 8)."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from refmodel.attention import GATE_ONE, apply_gates
from refmodel.errors import ConfigError
from rtl_gen.gate_multiplier import GateMultiplier


@pytest.mark.parametrize(("width", "gated_width"), [(2, 2), (9, 9), (16, 16), (24, 17)])
def test_equation(width: int, gated_width: int) -> None:
    rng = np.random.default_rng(width)
    top = 1 << (gated_width - 1)
    x = np.concatenate([rng.choice([-top, top - 1, -1, 0, 1], 60), rng.integers(-top, top, 60)])
    gates = np.concatenate([rng.choice([0, 1, GATE_ONE - 1, GATE_ONE], 60), rng.integers(0, GATE_ONE + 1, 60)])
    gates = rng.permutation(gates)
    enable = rng.integers(0, 4, len(x)) > 0
    x = np.where(enable, x, rng.integers(-1 << (width - 1), 1 << (width - 1), len(x)))
    expected = apply_gates(x.reshape(1, -1, 1, 1, 1), gates[None], "time").ravel()
    dut = GateMultiplier(width=width, gated_width=gated_width)

    async def bench(ctx):
        for i in range(len(x) + dut.LATENCY):
            if i < len(x):
                ctx.set(dut.value, int(x[i]))
                ctx.set(dut.gate, int(gates[i]))
                ctx.set(dut.enable, int(enable[i]))
            if i >= dut.LATENCY:
                last = i - dut.LATENCY
                assert ctx.get(dut.result) == (expected[last] if enable[last] else x[last])
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("gated_width", [1, 9])
def test_refuses_widths(gated_width: int) -> None:
    with pytest.raises(ConfigError, match=f"2 to width=8 bits, not {gated_width}"):
        GateMultiplier(width=8, gated_width=gated_width)
