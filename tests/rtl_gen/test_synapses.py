"""The synapse array against plain sums over events, its drains slot by slot, in every form of its adders."""

from __future__ import annotations

import dataclasses
import random

import pytest
from amaranth import Elaboratable, ResetInserter, Signal
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, barrier_to_slot
from rtl_gen import adders, drain
from rtl_gen.synapses import SynapseArray
from tests.rtl_gen.lattice_cells import Cell

CONFIGS = {
    "K=1": CoreConfig(event_lanes=1, output_lanes=4, neuron_units=1, bank_lanes=2, bank_depth=32),
    "K=2": CoreConfig(event_lanes=2, bank_lanes=2, bank_depth=32, acc_width=15),
    "K=4, 1 stage": CoreConfig(event_lanes=4, bank_lanes=8, time_lanes=2, max_planes=4, bank_depth=16, acc_width=14),
    "K=8, 1 stage": CoreConfig(event_lanes=8, bank_lanes=8, time_lanes=2, max_planes=4, bank_depth=8),
    "K=2, 8 stages, narrow": CoreConfig(neuron_units=1, bank_lanes=1, weight_bits=2, acc_width=8, bank_depth=16),
}
_SMALL = {"output_lanes": 4, "neuron_units": 1, "bank_depth": 8, "weight_bits": 3, "max_planes": 2}
#: For vendors' cells, whose stand-ins take long to simulate.
SMALL = {
    "K=1": CoreConfig(event_lanes=1, bank_lanes=2, time_lanes=2, acc_width=7, **_SMALL),
    "K=2, 1 stage": CoreConfig(event_lanes=2, bank_lanes=4, time_lanes=2, acc_width=8, **_SMALL),
    "K=4, 2 stages": CoreConfig(event_lanes=4, bank_lanes=2, time_lanes=2, acc_width=9, **_SMALL),
    "K=4, 1 step": CoreConfig(event_lanes=4, bank_lanes=4, time_lanes=1, acc_width=8, **_SMALL),
    "K=2, 8 stages": CoreConfig(
        event_lanes=2, bank_lanes=1, time_lanes=2, acc_width=8, **(_SMALL | {"output_lanes": 8})
    ),
}
FORMS = ("tree", "chain", "ecp5", "ice40")
CASES = [(name, form) for form in FORMS for name in (CONFIGS if form in ("tree", "chain") else SMALL)]


def make(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> tuple[CoreConfig, SynapseArray]:
    """An array; vendors' forms are chains made of stand-ins for their cells."""
    monkeypatch.setattr(adders, "Instance", Cell)
    monkeypatch.setattr(drain, "Instance", Cell)
    if form in ("ecp5", "ice40"):
        config = dataclasses.replace(SMALL[name], adder="chain")
        return config, SynapseArray(config=config, form=form)
    config = dataclasses.replace(CONFIGS[name], adder=form)
    return config, SynapseArray(config=config, form="portable")


class Lanes:
    """acc[p][t] as the equations say: base plus mask * weight of each event, then the op."""

    def __init__(self, config: CoreConfig):
        self.config = config
        self.base = [[0] * config.time_lanes for _ in range(config.output_lanes)]

    def sums(self, events: list[tuple[list[int], int]]) -> list[list[int]]:
        """``events``: weights of the P lanes, and mask."""
        return [
            [value + sum(weights[p] for weights, mask in events if mask >> t & 1) for t, value in enumerate(row)]
            for p, row in enumerate(self.base)
        ]

    def bundle(self, op: ArrayOp, events: list[tuple[list[int], int]]) -> list[list[int]] | None:
        """Returns the sums of a DRAIN."""
        sums = self.sums(events)
        factor = {ArrayOp.ADD: 1, ArrayOp.SHIFT: 2, ArrayOp.DRAIN: 0}[op]
        self.base = [[factor * value for value in row] for row in sums]
        return sums if op == ArrayOp.DRAIN else None

    def fits(self, events: list[tuple[list[int], int]]) -> bool:
        """The next sums fit, also when they are doubled."""
        half = 1 << (self.config.acc_width - 1)
        return all(-half <= 2 * value < half for row in self.sums(events) for value in row)


def random_weights(rng: random.Random, config: CoreConfig) -> list[int]:
    low, high = -(1 << (config.weight_bits - 1)), (1 << (config.weight_bits - 1)) - 1
    kind = rng.randrange(4)
    return [low if kind == 0 else high if kind == 1 else rng.randint(low, high) for _ in range(config.output_lanes)]


class Bench:
    """Drives an array clock by clock and compares every slot."""

    def __init__(self, ctx, config: CoreConfig, dut: SynapseArray, rng: random.Random):
        self.ctx, self.config, self.dut, self.rng = ctx, config, dut, rng
        depth = 1 << config.weight_addr_bits
        rows = range(config.event_lanes)
        self.halves = [[[[0] * config.output_lanes for _ in range(depth)] for _ in rows] for _ in range(2)]
        self.clock = 0
        self.drains: dict[int, list[list[int]]] = {}  # by the clock of slot 0
        self.slots_compared = 0
        self.nothing = [{"valid": 0, "weight": 0, "mask": 0}] * config.event_lanes

    def load(self, lane: int, half: int, address: int) -> None:
        weights, bits = random_weights(self.rng, self.config), self.config.weight_bits
        self.halves[half][lane][address] = weights
        self.ctx.set(self.dut.write_lane, 1 << lane)
        self.ctx.set(self.dut.write_half, half)
        self.ctx.set(self.dut.write_addr, address)
        word = sum((w & ((1 << bits) - 1)) << p * bits for p, w in enumerate(weights))
        self.ctx.set(self.dut.write_data, word)

    async def tick(self) -> None:
        """The end of a clock, in which the slot's sums are compared."""
        cfg, ctx, dut = self.config, self.ctx, self.dut
        for start, sums in self.drains.items():
            slot = self.clock - start
            if 0 <= slot < cfg.slots_per_chunk:
                step, index = divmod(slot, cfg.slots_per_step)
                ctx.set(dut.slot_active, 1)
                ctx.set(dut.slot_step, step)
                ctx.set(dut.slot_index, index)
                for u in range(cfg.neuron_units):
                    assert ctx.get(dut.sums[u]) == sums[index * cfg.neuron_units + u][step], (self.clock, slot, u)
                self.slots_compared += 1
        assert ctx.get(dut.drained) == (self.clock + 1 in self.drains)
        await ctx.tick()
        ctx.set(dut.write_lane, 0)
        ctx.set(dut.slot_active, 0)
        self.clock += 1

    async def bundle(self, op: ArrayOp, fields: list[dict[str, int]], sums: list[list[int]] | None = None) -> None:
        self.ctx.set(self.dut.bundle, {"events": fields, "op": op})
        if sums is not None:
            self.drains[self.clock + barrier_to_slot(self.config)] = sums
        await self.tick()
        self.ctx.set(self.dut.bundle, {"events": self.nothing, "op": ArrayOp.ADD})

    async def finish(self) -> None:
        while self.clock <= max(self.drains, default=0) + self.config.slots_per_chunk:
            await self.tick()


def run(dut: Elaboratable, bench) -> None:
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(("name", "form"), CASES)
def test_sums_and_slots(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, dut = make(name, form, monkeypatch)
    rng = random.Random(name + form)
    steps, depth = config.time_lanes, 1 << config.weight_addr_bits
    compared = 0

    async def main(ctx):
        nonlocal compared
        bench = Bench(ctx, config, dut, rng)
        for lane in range(config.event_lanes):
            for address in range(depth):
                bench.load(lane, 0, address)
                await bench.tick()
        model = Lanes(config)
        for slab in range(2):
            half, last = slab % 2, -config.slots_per_chunk
            ctx.set(dut.run_half, half)
            todo = [(lane, address) for lane in range(config.event_lanes) for address in range(depth)]
            for number in range(70):
                events, fields = [], []
                for k in range(config.event_lanes):
                    valid, address = rng.random() < 0.7, rng.randrange(depth)
                    mask = rng.choice([(1 << steps) - 1, rng.randrange(1 << steps)])
                    fields.append({"valid": valid, "weight": address, "mask": mask})
                    if valid:
                        events.append((bench.halves[half][k][address], mask))
                if not model.fits(events):
                    events, fields = [], bench.nothing
                ready = bench.clock - last >= config.slots_per_chunk
                ops = [ArrayOp.ADD] * 4 + [ArrayOp.SHIFT] * model.fits(events) + [ArrayOp.DRAIN] * ready
                op = rng.choice(ops)
                if number == 69:
                    while bench.clock - last < config.slots_per_chunk:
                        await bench.bundle(ArrayOp.ADD, bench.nothing)
                    op = ArrayOp.DRAIN
                if todo and rng.random() < 0.8:  # the next slab's weights
                    lane, address = todo.pop(0)
                    bench.load(lane, 1 - half, address)
                if op == ArrayOp.DRAIN:
                    last = bench.clock
                await bench.bundle(op, fields, model.bundle(op, events))
            while todo:
                lane, address = todo.pop(0)
                bench.load(lane, 1 - half, address)
                await bench.tick()
            await bench.finish()
        compared = bench.slots_compared

    run(dut, main)
    assert compared >= 4 * config.slots_per_chunk


@pytest.mark.parametrize(("name", "form"), [("K=2", "tree"), ("K=2", "chain"), ("K=2, 1 stage", "ecp5")])
def test_bit_planes_make_the_weighted_sum(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Horner's rule: planes from the top, SHIFT between them, give sum of weight * number."""
    config, dut = make(name, form, monkeypatch)
    rng, planes = random.Random(form), 2

    async def main(ctx):
        bench = Bench(ctx, config, dut, rng)
        for k in range(config.event_lanes):
            bench.load(k, 0, 0)
            await bench.tick()
        weights = [bench.halves[0][k][0] for k in range(config.event_lanes)]
        for _ in range(3):
            numbers = [[rng.randrange(4) for _ in range(config.time_lanes)] for _ in weights]
            expected = [
                [sum(row[p] * numbers[k][t] for k, row in enumerate(weights)) for t in range(config.time_lanes)]
                for p in range(config.output_lanes)
            ]
            for plane in reversed(range(planes)):
                masks = [sum((n >> plane & 1) << t for t, n in enumerate(row)) for row in numbers]
                fields = [{"valid": 1, "weight": 0, "mask": mask} for mask in masks]
                await bench.bundle(ArrayOp.SHIFT if plane else ArrayOp.DRAIN, fields, None if plane else expected)
            await bench.finish()

    run(dut, main)


@pytest.mark.parametrize(
    ("name", "form"), [("K=2", "tree"), ("K=4, 1 stage", "chain"), ("K=4, 2 stages", "ecp5"), ("K=1", "ice40")]
)
def test_a_reset_empties_the_sums(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is on its way when a reset of one clock comes, the next drain holds only what came after it."""
    config, dut = make(name, form, monkeypatch)
    rng, reset = random.Random(name), Signal()
    everything = (1 << config.time_lanes) - 1

    async def main(ctx):
        bench = Bench(ctx, config, dut, rng)
        for k in range(config.event_lanes):
            bench.load(k, 0, 0)
            await bench.tick()
        fields = [{"valid": 1, "weight": 0, "mask": everything}] * config.event_lanes
        events = [(bench.halves[0][k][0], everything) for k in range(config.event_lanes)]
        for idle in (0, 3):
            for _ in range(3):
                await bench.bundle(ArrayOp.ADD, fields)
            ctx.set(reset, 1)
            await bench.bundle(ArrayOp.ADD, fields)
            ctx.set(reset, 0)
            for _ in range(idle):
                await bench.tick()
            model = Lanes(config)
            for _ in range(2):
                model.bundle(ArrayOp.ADD, events)
                await bench.bundle(ArrayOp.ADD, fields)
            await bench.bundle(ArrayOp.DRAIN, fields, model.bundle(ArrayOp.DRAIN, events))
            await bench.finish()

    run(ResetInserter(reset)(dut), main)
