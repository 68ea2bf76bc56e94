"""The neuron stage behind a model of the array's snapshots: words, order, and times."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import CombineOp, slot_to_spike, slot_to_writeback
from rtl_gen.neuron_stage import NeuronStage

CONFIGS = {
    "2 units, 4 stages": CoreConfig(),
    "1 unit, 4 stages": CoreConfig(neuron_units=1),
    "1 unit, 8 stages": CoreConfig(neuron_units=1, bank_lanes=1),
    "4 units, 1 stage": CoreConfig(output_lanes=16, neuron_units=4, bank_lanes=16),
    "4 units, 4 stages": CoreConfig(output_lanes=16, neuron_units=4, bank_lanes=4),
    "1 step": CoreConfig(neuron_units=1, time_lanes=1, max_planes=2),
    "8 steps": CoreConfig(time_lanes=8),
}


@dataclass
class Slab:
    """What a slab's neurons are told, and the equation of one neuron."""

    rng: random.Random
    config: CoreConfig
    readout: bool = False

    def __post_init__(self) -> None:
        rng, config = self.rng, self.config
        self.tiles, self.chunks = rng.randrange(2, 5), rng.randrange(1, 4)
        self.last_step = rng.randrange(config.time_lanes)
        self.soft = rng.random() < 0.5 and not self.readout
        self.use_current = rng.random() < 0.5 and not self.readout
        self.combine = rng.choice(list(CombineOp))
        self.leaks = () if self.readout else tuple(rng.randrange(1, 5) for _ in range(rng.randrange(3)))
        self.threshold = [rng.randrange(-20, 60) for _ in range(config.output_lanes)]
        self.bias = [rng.randrange(-30, 30) for _ in range(config.output_lanes)]
        self.bias_shortcut = [rng.randrange(-60, 60) for _ in range(config.output_lanes)]
        self.v = [0] * config.output_lanes

    @property
    def inverted(self) -> int:
        """What the combiner wants inverted."""
        return (1 << self.config.spike_width) - 1 if self.combine == CombineOp.IAND else 0

    def step(self, lane: int, x: int, shortcut: int, chunk: int, t: int) -> tuple[int, int]:
        """(spike, membrane) of one lane and step; a readout's bias counts once, in the lane's first step."""
        if self.readout:
            self.v[lane] += x
            return 0, self.v[lane] + self.bias[lane]
        v = 0 if chunk == 0 and t == 0 else self.v[lane]
        v -= sum(v >> a for a in self.leaks)
        h = v + x + (self.bias_shortcut[lane] if self.use_current and shortcut else self.bias[lane])
        fires = h >= self.threshold[lane] and not (chunk == self.chunks - 1 and t > self.last_step)
        self.v[lane] = (h - self.threshold[lane] if self.soft else 0) if fires else h
        return int(fires), h


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("spread", [0, 9], ids=["back to back", "apart"])
def test_tiles(name: str, spread: int) -> None:
    config, rng = CONFIGS[name], random.Random(f"{name} {spread}")
    lanes, steps = config.output_lanes, config.time_lanes
    units, slots, period = config.neuron_units, config.slots_per_step, config.slots_per_chunk
    dut = NeuronStage(config=config)
    fired = 0

    async def load(ctx, slab: Slab, half: int) -> None:
        for lane in range(lanes):
            ctx.set(dut.write_unit, 1 << lane % units)
            ctx.set(dut.write_half, half)
            ctx.set(dut.write_index, lane // units)
            values = {"threshold": slab.threshold, "bias": slab.bias, "bias_shortcut": slab.bias_shortcut}
            ctx.set(dut.write_data, {key: value[lane] for key, value in values.items()})
            await ctx.tick()
        ctx.set(dut.write_unit, 0)

    async def run(ctx, slab: Slab, half: int) -> None:
        nonlocal fired
        ctx.set(dut.run_half, half)
        ctx.set(dut.mode.readout, slab.readout)
        ctx.set(dut.mode.soft_reset, slab.soft)
        ctx.set(dut.mode.use_current, slab.use_current)
        ctx.set(dut.mode.leak_a, slab.leaks[0] if slab.leaks else 0)
        ctx.set(dut.mode.leak_b, slab.leaks[1] if len(slab.leaks) > 1 else 0)
        ctx.set(dut.mode.combine, slab.combine)
        ctx.set(dut.last_step, slab.last_step)
        ctx.set(dut.chunks_last, slab.chunks - 1)
        ctx.set(dut.restart, 1)
        await ctx.tick()
        ctx.set(dut.restart, 0)
        # When a chunk's sums arrive, and what must come of them in which clock.
        drains: dict[int, list[list[int]]] = {}
        gates: dict[int, int] = {}
        results: dict[int, tuple] = {}
        words: dict[int, int] = {}
        pops: set[int] = set()
        gate = 0
        clock = 0
        for _tile in range(slab.tiles):
            for chunk in range(slab.chunks):
                sums = [[rng.choice([-9, 0, 50, rng.randrange(-40, 60)]) for _ in range(steps)] for _ in range(lanes)]
                if slab.readout and chunk == slab.chunks - 1:  # nothing spikes in steps past T
                    sums = [row[: slab.last_step + 1] + [0] * (steps - slab.last_step - 1) for row in sums]
                drains[clock], gates[clock] = sums, rng.getrandbits(config.spike_width)
                word = 0
                for t in range(steps):
                    for index in range(slots):
                        here = range(index * units, (index + 1) * units)
                        gated = [gates[clock] >> p * steps + t & 1 for p in here]
                        pairs = [slab.step(p, sums[p][t], g, chunk, t) for p, g in zip(here, gated, strict=True)]
                        word |= sum(spike << p * steps + t for p, (spike, _) in zip(here, pairs, strict=True))
                        slot = clock + 1 + t * slots + index
                        results[slot + slot_to_spike(config)] = (index, int(t == steps - 1), pairs)
                words[clock + period + slot_to_writeback(config)] = word ^ slab.inverted
                pops.add(clock + period - 2)
                clock += period + rng.randrange(spread + 1)
        snapshots: dict[int, list[list[int]]] = {}  # of each systolic stage
        for now in range(clock + 10):
            if ctx.get(dut.slot_active):
                step, first = ctx.get(dut.slot_step), ctx.get(dut.slot_index) * units
                ctx.set(dut.sums, [snapshots[p // config.bank_lanes][p][step] for p in range(first, first + units)])
            else:
                ctx.set(dut.sums, [rng.randrange(-99, 99) for _ in range(units)])
            ctx.set(dut.drained, now in drains)
            assert ctx.get(dut.shortcut_pop) == (now in pops and slab.use_current)
            gate = gates.get(now, gate)  # stands until it is popped
            if now - 2 in pops and now not in gates:
                gate = rng.getrandbits(config.spike_width)
            ctx.set(dut.shortcut_word, gate if slab.use_current else rng.getrandbits(config.spike_width))
            assert ctx.get(dut.out_valid) == (now in results)
            if now in results:
                spikes, membranes = ctx.get(dut.spikes), [ctx.get(dut.membranes[u]) for u in range(units)]
                pairs = [(spikes >> u & 1, membranes[u]) for u in range(units)]
                assert (ctx.get(dut.out_index), ctx.get(dut.out_end), pairs) == results[now]
                fired += spikes != 0
            assert ctx.get(dut.word_soon) == (now + 1 in words)
            assert ctx.get(dut.word_valid) == (now in words)
            if now in words:
                assert ctx.get(dut.word) == words[now]
            await ctx.tick()
            for stage in range(config.stages):  # stage s of the array has its snapshot s clocks after stage 0
                if now - stage in drains:
                    snapshots[stage] = drains[now - stage]

    async def bench(ctx):
        for number in range(4):
            slab = Slab(rng, config, readout=number == 1)
            await load(ctx, slab, number % 2)
            await run(ctx, slab, number % 2)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert fired > 10
