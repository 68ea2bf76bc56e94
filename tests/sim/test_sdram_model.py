# amaranth: UnusedElaboratable=no
"""The simulated SDRAM: it answers a careful user, and names the rule that a careless one breaks."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.sim import Simulator

from rtl_gen.sdram import INIT_REFRESHES, MODE, Command
from sim.sdram_model import Rule, SdramModel, Times

#: At 50 MHz a clock is 20 ns: 2 clocks for tRCD, tRP; 3 for tRAS; 4 for tRC, tRFC; 1 for tWR, tRRD.
HZ = 50e6
C: Any = Command
#: Clocks to wait, command, bank, address.
Step = tuple[int, Any, int, int]
INIT: list[Step] = [(60, C.PRECHARGE, 0, 1 << 10), (2, C.REFRESH, 0, 0)]
INIT += [(4, C.REFRESH, 0, 0)] * (INIT_REFRESHES - 1) + [(4, C.MODE, 0, MODE)]
OPEN: Step = (2, C.ACTIVE, 1, 0)


def run(steps: list[Step], hz: float = HZ) -> tuple[int, list[int]]:
    """The rule that was broken (0: none), and what the data pins showed in each clock."""
    dut = SdramModel(clock_hz=hz, words=2048, init=range(2048), times=Times(power_up_us=1))
    shown: list[int] = []
    rule = 0

    async def bench(ctx: Any) -> None:
        nonlocal rule
        pins = dut.pins
        ctx.set(pins.cke, 1)
        ctx.set(pins.cs, 1)
        for wait, command, bank, address in [*steps, (4, C.NOP, 0, 0)]:
            for _ in range(wait - 1):
                await ctx.tick()
                shown.append(ctx.get(pins.dq_i))
            bits = command.value
            ctx.set(pins.ras, bits & 1)
            ctx.set(pins.cas, bits >> 1 & 1)
            ctx.set(pins.we, bits >> 2)
            ctx.set(pins.ba, bank)
            ctx.set(pins.a, address)
            ctx.set(pins.dq_o, 0xBEEF)
            ctx.set(pins.dq_oe, command is C.WRITE)
            await ctx.tick()
            shown.append(ctx.get(pins.dq_i))
            for pin in (pins.ras, pins.cas, pins.we, pins.dq_oe):
                ctx.set(pin, 0)
        rule = ctx.get(dut.rule).value

    simulator = Simulator(dut)
    simulator.add_clock(1 / hz)
    simulator.add_testbench(bench)
    simulator.run()
    return rule, shown


def test_reads_and_writes() -> None:
    steps = [*INIT, OPEN, (2, C.READ, 1, 5), (1, C.READ, 1, 6), (4, C.WRITE, 1, 6), (1, C.READ, 1, 6)]
    steps += [(3, C.PRECHARGE, 1, 0), (2, C.REFRESH, 0, 0)]
    rule, shown = run(steps)
    assert rule == 0
    first = sum(wait for wait, *_ in [*INIT, OPEN]) + 2  # the clock that takes the first read, counted from 1
    data = dict(enumerate(shown, 1))
    # Shown from the next clock's edge on, for the one after it to take.
    assert (data[first], data[first + 1], data[first + 2], data[first + 3]) == (0xDEAD, 512 + 5, 512 + 6, 0xDEAD)
    assert data[first + 1 + 4 + 1 + 1] == 0xBEEF


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (Rule.POWER_UP, [(20, C.PRECHARGE, 0, 1 << 10)]),
        (Rule.INIT, [*INIT[:-1], (4, C.ACTIVE, 0, 0)]),
        (Rule.INIT, [*INIT[:4], (4, C.MODE, 0, MODE)]),
        (Rule.INIT, [(60, C.REFRESH, 0, 0)]),
        (Rule.MODE, [*INIT[:-1], (4, C.MODE, 0, 3 << 4)]),
        (Rule.MRD, [*INIT, (1, C.ACTIVE, 0, 0)]),
        (Rule.RCD, [*INIT, OPEN, (1, C.READ, 1, 0)]),
        (Rule.RCD, [*INIT, OPEN, (1, C.WRITE, 1, 0)]),
        (Rule.RAS, [*INIT, OPEN, (2, C.PRECHARGE, 1, 0)]),
        (Rule.RP, [*INIT, OPEN, (3, C.PRECHARGE, 1, 0), (1, C.ACTIVE, 1, 0)]),
        (Rule.RP, [*INIT, OPEN, (3, C.PRECHARGE, 1, 0), (1, C.REFRESH, 0, 0)]),
        (Rule.RFC, [*INIT, (4, C.REFRESH, 0, 0), (3, C.ACTIVE, 0, 0)]),
        (Rule.OPEN, [*INIT, OPEN, (4, C.ACTIVE, 1, 3)]),
        (Rule.OPEN, [*INIT, OPEN, (4, C.REFRESH, 0, 0)]),
        (Rule.CLOSED, [*INIT, OPEN, (4, C.READ, 0, 0)]),
        (Rule.CLOSED, [*INIT, OPEN, (4, C.PRECHARGE, 1, 0), (3, C.READ, 1, 0)]),
        (Rule.AUTO, [*INIT, OPEN, (4, C.READ, 1, 1 << 10)]),
        (Rule.ADDRESS, [*INIT, (4, C.ACTIVE, 0, 1), (4, C.READ, 0, 0)]),
        (Rule.CONTENTION, [*INIT, OPEN, (4, C.READ, 1, 0), (1, C.WRITE, 1, 0)]),
        (Rule.REFRESH, [*INIT, OPEN, (400, C.PRECHARGE, 0, 1 << 10)]),
    ],
)
def test_names_the_rule(rule: Rule, steps: list[Step]) -> None:
    assert Rule(run(steps)[0]) == rule


def test_rules_that_a_slow_clock_always_keeps() -> None:
    """At 250 MHz two rows in different banks, and a write and its row's closing, can be too close."""
    slowly: list[Step] = [(5 * wait, command, bank, address) for wait, command, bank, address in INIT]
    far: Step = (20, C.ACTIVE, 1, 0)
    cases: list[tuple[Rule, list[Step]]] = [
        (Rule.NONE, [far, (20, C.PRECHARGE, 1, 0), (6, C.ACTIVE, 1, 0)]),
        (Rule.RRD, [far, (2, C.ACTIVE, 2, 0)]),
        (Rule.WR, [far, (20, C.WRITE, 1, 0), (2, C.PRECHARGE, 1, 0)]),
    ]
    for rule, steps in cases:
        assert Rule(run([*slowly, *steps], 250e6)[0]) == rule


def test_times_in_other_clocks() -> None:
    """At 100 MHz a row's closing takes three clocks; writing takes two before it."""
    fast = SdramModel(clock_hz=100e6)
    assert (fast._clocks(21), fast._clocks(15), fast._clocks(66), fast._clocks(20)) == (3, 2, 7, 2)
