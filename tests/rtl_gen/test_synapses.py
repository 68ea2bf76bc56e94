"""The synapse array against plain sums over events, and its snapshots clock by clock."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, array_latency
from rtl_gen.synapses import SynapseArray

CONFIGS = {
    "K=1": CoreConfig(event_lanes=1, output_lanes=4, neuron_units=1, bank_lanes=2, bank_depth=32),
    "K=2": CoreConfig(event_lanes=2, bank_lanes=2, bank_depth=32),
    "K=4": CoreConfig(event_lanes=4, bank_lanes=4, bank_depth=16),
    "K=8, 1 stage": CoreConfig(event_lanes=8, bank_lanes=8, time_lanes=2, max_planes=4, bank_depth=8),
    "K=2, 8 stages, narrow": CoreConfig(neuron_units=1, bank_lanes=1, weight_bits=2, acc_width=8, bank_depth=16),
}


class Lanes:
    """acc[p][t] as the equations say: op, then plus mask * weight of each event."""

    def __init__(self, config: CoreConfig):
        self.config = config
        self.acc = [[0] * config.time_lanes for _ in range(config.output_lanes)]

    def bundle(self, op: ArrayOp, events: list[tuple[list[int], int]]) -> list[list[int]] | None:
        """``events``: weights of the P lanes, and mask. Returns the snapshot of a NEW."""
        before = self.acc
        factor = {ArrayOp.ADD: 1, ArrayOp.DOUBLE: 2, ArrayOp.NEW: 0, ArrayOp.CLEAR: 0}[op]
        self.acc = [
            [
                factor * value + sum(weights[p] for weights, mask in events if mask >> t & 1)
                for t, value in enumerate(row)
            ]
            for p, row in enumerate(before)
        ]
        return before if op == ArrayOp.NEW else None

    def fits(self) -> bool:
        half = 1 << (self.config.acc_width - 1)
        return all(-half // 2 < value < half // 2 for row in self.acc for value in row)


def random_weights(rng: random.Random, config: CoreConfig) -> list[int]:
    low, high = -(1 << (config.weight_bits - 1)), (1 << (config.weight_bits - 1)) - 1
    kind = rng.randrange(4)
    return [low if kind == 0 else high if kind == 1 else rng.randint(low, high) for _ in range(config.output_lanes)]


@pytest.mark.parametrize("name", CONFIGS)
def test_sums_and_snapshots(name: str) -> None:
    config, rng = CONFIGS[name], random.Random(name)
    dut = SynapseArray(config=config)
    lanes, steps, latency = config.output_lanes, config.time_lanes, array_latency(config)
    depth = 1 << config.weight_addr_bits
    compared = 0

    async def bench(ctx):
        nonlocal compared
        halves = [[[[0] * lanes for _ in range(depth)] for _ in range(config.event_lanes)] for _ in range(2)]
        clock = 0
        arrivals: dict[int, list[list[int]]] = {}  # clock in which stage 0's snapshot is readable
        chain = [[0] * steps for _ in range(lanes)]

        async def tick(shift: int) -> None:
            """End the clock; every lane's visible sum is compared before."""
            nonlocal clock, compared
            for p in range(lanes):
                assert ctx.get(dut.sums[p]) == chain[p][0], (clock, p)
                compared += 1
            assert ctx.get(dut.drained) == (clock + 1 in arrivals)
            ctx.set(dut.shift, shift)
            await ctx.tick()
            ctx.set(dut.write_lane, 0)
            clock += 1
            for p in range(lanes):
                stage = p // config.bank_lanes
                if clock - stage in arrivals:
                    chain[p] = list(arrivals[clock - stage][p])
                elif shift >> p & 1:
                    chain[p] = [*chain[p][1:], chain[p][-1]]

        def load(lane: int, half: int, address: int) -> None:
            weights = random_weights(rng, config)
            halves[half][lane][address] = weights
            mask = (1 << config.weight_bits) - 1
            ctx.set(dut.write_lane, 1 << lane)
            ctx.set(dut.write_half, half)
            ctx.set(dut.write_addr, address)
            ctx.set(dut.write_data, sum((w & mask) << p * config.weight_bits for p, w in enumerate(weights)))

        for lane in range(config.event_lanes):
            for address in range(depth):
                load(lane, 0, address)
                await tick(0)
        for slab in range(3):
            half, model = slab % 2, Lanes(config)
            ctx.set(dut.run_half, half)
            todo = [(lane, address) for lane in range(config.event_lanes) for address in range(depth)]
            for number in range(100):
                op, events, fields = ArrayOp.CLEAR, [], []
                if number:
                    op = rng.choice([ArrayOp.ADD] * 8 + [ArrayOp.DOUBLE, ArrayOp.DOUBLE, ArrayOp.NEW])
                    if not model.fits():
                        op = ArrayOp.NEW
                for k in range(config.event_lanes):
                    valid, address = rng.random() < 0.7, rng.randrange(depth)
                    mask = rng.choice([(1 << steps) - 1, rng.randrange(1 << steps)])
                    fields.append({"valid": valid, "weight": address, "mask": mask})
                    if valid:
                        events.append((halves[half][k][address], mask))
                snapshot = model.bundle(op, events)
                if snapshot is not None:
                    arrivals[clock + latency] = snapshot
                ctx.set(dut.bundle, {"events": fields, "op": op})
                if todo and rng.random() < 0.8:  # the next slab's weights
                    lane, address = todo.pop(0)
                    load(lane, 1 - half, address)
                await tick(rng.getrandbits(lanes) if rng.random() < 0.5 else 0)
            idle = {"events": [{"valid": 0, "weight": 0, "mask": 0}] * config.event_lanes, "op": ArrayOp.ADD}
            while todo or clock < max(arrivals, default=0) + config.stages:
                ctx.set(dut.bundle, idle)
                if todo:
                    lane, address = todo.pop(0)
                    load(lane, 1 - half, address)
                await tick(rng.getrandbits(lanes))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert compared > 1000


@pytest.mark.parametrize("name", CONFIGS)
def test_bit_planes_make_the_weighted_sum(name: str) -> None:
    """Horner's rule: planes from the top, DOUBLE between them, give sum of weight * number."""
    config, rng = CONFIGS[name], random.Random(name)
    dut = SynapseArray(config=config)
    lanes, planes, latency = config.output_lanes, 3, array_latency(config)
    low = -(1 << (config.weight_bits - 1))
    weights = [[rng.choice([low, -low - 1]) for _ in range(lanes)] for _ in range(config.event_lanes)]
    numbers = [[rng.choice([0, 7, rng.randrange(8)]) for _ in range(config.time_lanes)] for _ in weights]

    async def bench(ctx):
        mask = (1 << config.weight_bits) - 1
        for k, row in enumerate(weights):
            ctx.set(dut.write_lane, 1 << k)
            ctx.set(dut.write_data, sum((w & mask) << p * config.weight_bits for p, w in enumerate(row)))
            await ctx.tick()
        ctx.set(dut.write_lane, 0)
        for plane in reversed(range(planes)):
            events = [
                {"valid": 1, "weight": 0, "mask": sum((n >> plane & 1) << t for t, n in enumerate(row))}
                for row in numbers
            ]
            op = ArrayOp.CLEAR if plane == planes - 1 else ArrayOp.DOUBLE
            ctx.set(dut.bundle, {"events": events, "op": op})
            await ctx.tick()
        nothing = [{"valid": 0, "weight": 0, "mask": 0}] * config.event_lanes
        ctx.set(dut.bundle, {"events": nothing, "op": ArrayOp.NEW})
        await ctx.tick()
        ctx.set(dut.bundle, {"events": nothing, "op": ArrayOp.ADD})
        await ctx.tick().repeat(latency - 1 + config.stages - 1)
        for t in range(config.time_lanes):
            for p in range(lanes):
                expected = sum(row[p] * numbers[k][t] for k, row in enumerate(weights))
                assert ctx.get(dut.sums[p]) == expected
            ctx.set(dut.shift, (1 << lanes) - 1)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
