"""The readout against max() over its results: ties, negative numbers, every shape of memory."""

from __future__ import annotations

import dataclasses
import random

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from refmodel.config import CoreConfig
from rtl_gen.readout import Readout

BASE = CoreConfig()
CONFIGS = {
    "P=8, 2 units": BASE,
    "P=8, 1 unit": dataclasses.replace(BASE, neuron_units=1),
    "P=16, 4 units": CoreConfig(output_lanes=16, neuron_units=4, bank_lanes=4),
    "40 classes": dataclasses.replace(BASE, result_depth=40),
    "P=4, 1 unit, 10 classes": CoreConfig(output_lanes=4, neuron_units=1, result_depth=10),
    "widest": dataclasses.replace(BASE, membrane_width=48),
    "fewer results than lanes": CoreConfig(output_lanes=32, neuron_units=4, bank_lanes=4, result_depth=10),
}


def cases(rng: random.Random, config: CoreConfig) -> list[list[int]]:
    low, high = -(1 << (config.membrane_width - 1)), (1 << (config.membrane_width - 1)) - 1
    depth = config.result_depth
    lists = [
        [0] * depth,
        [low] * depth,
        [high, *[low] * (depth - 1)],
        [*[low] * (depth - 1), high],
        [-5, -3, -3, -9],
        [low, low + 1],
        [7],
        [-1, 0],
        [0, -1],
    ]
    lists += [[rng.randrange(-3, 3) for _ in range(rng.randrange(1, depth + 1))] for _ in range(12)]
    lists += [[rng.randrange(low, high + 1) for _ in range(rng.randrange(1, depth + 1))] for _ in range(12)]
    return lists


@pytest.mark.parametrize(("name", "board"), [*((name, None) for name in CONFIGS), ("P=8, 1 unit", "icebreaker")])
def test_results_and_argmax(name: str, board: str | None) -> None:
    platform = None if board is None else get_board(board).platform()
    config, rng = CONFIGS[name], random.Random(name)
    units, slots, lanes = config.neuron_units, config.slots_per_step, config.output_lanes
    dut = Readout(config=config)

    async def bench(ctx):
        for values in cases(rng, config):
            groups = -(-len(values) // lanes)
            padded = values + [rng.choice([-1, 1, 5]) for _ in range(groups * lanes - len(values))]
            ctx.set(dut.classes_last, len(values) - 1)
            for group in range(groups):
                for last in (False, True):  # the last write stands
                    for index in range(slots):
                        at = group * lanes + index * units
                        ctx.set(dut.write_en, 1)
                        ctx.set(dut.group, group)
                        ctx.set(dut.index, index)
                        ctx.set(dut.membranes, padded[at : at + units] if last else [rng.randrange(-9, 9)] * units)
                        await ctx.tick()
                        ctx.set(dut.write_en, 0)
                        ctx.set(dut.membranes, [99] * units)
                        if rng.random() < 0.3:
                            await ctx.tick()
            ctx.set(dut.addr, rng.randrange(config.result_depth))  # ignored while scanning
            ctx.set(dut.scan, 1)
            await ctx.tick()
            ctx.set(dut.scan, 0)
            for clock in range(2 * len(values) + 2):
                assert ctx.get(dut.scanned) == (clock == 2 * len(values) + 1)
                await ctx.tick()
            assert not ctx.get(dut.scanned)
            assert ctx.get(dut.argmax) == values.index(max(values))
            for number in rng.sample(range(len(values)), len(values)):
                ctx.set(dut.addr, number)
                await ctx.tick().repeat(2)
                assert ctx.get(dut.value) == values[number]
            assert ctx.get(dut.argmax) == values.index(max(values))

    sim = Simulator(Fragment.get(dut, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
