"""The attention unit against the integer model: pools of any shape, gates, and the clocks they take."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from refmodel.attention import OPERAND_MAX, Axis, IntegerAttention, Kind, integer_gates
from refmodel.attention_config import AttentionConfig
from refmodel.attention_layout import attention_words, gate_clocks
from refmodel.attention_quantize import demand_ranges
from refmodel.config import CoreConfig
from refmodel.errors import ConfigError, NetworkError
from refmodel.layout import SLOT_TO_STREAM
from rtl_gen.attention import AttentionUnit

BASE = CoreConfig(stream_width=18, chunk_bits=4)
CONFIGS = {
    "2 units": BASE,
    "1 unit": dataclasses.replace(BASE, output_lanes=4, event_lanes=1, neuron_units=1),
    "4 units": dataclasses.replace(BASE, output_lanes=16, neuron_units=4, bank_lanes=4),
    "1 step a chunk": dataclasses.replace(BASE, time_lanes=1, max_planes=2),
    "8 steps a chunk": dataclasses.replace(BASE, time_lanes=8),
    "narrow": dataclasses.replace(BASE, stream_width=3),
    "wide": dataclasses.replace(BASE, stream_width=24),
}
SIZES = AttentionConfig(steps=9, channels=20, hidden=5, count_bits=9, weight_depth=327)
AXES: tuple[Axis, ...] = ("time", "channel")
KINDS: tuple[Kind, ...] = ("sigmoid", "lif")


@dataclasses.dataclass
class Layer:
    """X ``[T, C, pixels]`` of a layer and its attention."""

    x: np.ndarray
    attention: IntegerAttention

    @property
    def gates(self) -> np.ndarray:
        return integer_gates(self.x[None, ..., None], self.attention)[0]


def random_attention(rng: np.random.Generator, axis: Axis, kind: Kind, x: np.ndarray, top: int) -> IntegerAttention:
    """Weights large or small, shifts as large as X of ``top`` values needs, scores in the table's reach or beyond."""
    steps, channels, pixels = x.shape
    size, count = (steps, channels * pixels) if axis == "time" else (channels, steps * pixels)
    hidden = int(rng.integers(1, SIZES.hidden + 1))

    def weights(*shape: int) -> np.ndarray:
        limit = int(rng.choice([1, 30, 3000, OPERAND_MAX]))
        return rng.integers(-limit, limit + 1, shape)

    matrices = weights(hidden, size), weights(hidden, size), weights(size, hidden)
    shifts = [0, 0, int(rng.integers(0, 4)), int(rng.integers(0, 4)), int(rng.integers(0, 4))]
    leak, threshold = (int(rng.choice([0, 1, 30])), OPERAND_MAX) if kind == "lif" else (0, 0)
    tuned = False
    while True:
        made = IntegerAttention(axis, kind, *matrices, *shifts, leak=leak, threshold=threshold)
        try:
            demand_ranges(made, -top, top - 1, count)
        except NetworkError as error:
            refused = ("shifted sum", "shifted maximum", "hidden", "hidden", "membrane")
            shifts[int(rng.choice([i for i, name in enumerate(refused) if name in str(error)]))] += 1
            continue
        if tuned:
            return made
        tuned = True
        # A LIF that fires at the first score: its gates are [score >= threshold].
        once = dataclasses.replace(made, kind="lif", leak=0)
        scores = scores_of(x, once)
        if kind == "lif":
            threshold = int(np.clip(rng.choice(scores) + rng.integers(2), -OPERAND_MAX, OPERAND_MAX))
        else:
            beyond = max(0, int(np.abs(scores).max()).bit_length() - int(rng.integers(7, 13)))
            shifts[4] += beyond


def scores_of(x: np.ndarray, attention: IntegerAttention) -> np.ndarray:
    """H of each step or channel by the equations, with loops and whole numbers of any size."""
    at = attention
    pooled = x if at.axis == "time" else x.swapaxes(0, 1)
    hidden = []
    for average, largest in zip(at.first_average.tolist(), at.first_max.tolist(), strict=True):
        sums = sum(w * (int(v.sum()) >> at.average_shift) for w, v in zip(average, pooled, strict=True))
        peaks = sum(w * (int(v.max()) >> at.max_shift) for w, v in zip(largest, pooled, strict=True))
        hidden.append((max(sums, 0) >> at.hidden_average_shift) + (max(peaks, 0) >> at.hidden_max_shift))
    result, membrane = [], 0
    for row in at.second.tolist():
        membrane = (at.leak * membrane + sum(w * h for w, h in zip(row, hidden, strict=True))) >> at.score_shift
        result.append(membrane)
        membrane = 0 if at.kind == "sigmoid" or membrane >= at.threshold else membrane
    return np.array(result)


def random_layer(rng: np.random.Generator, config: CoreConfig, axis: Axis, kind: Kind) -> Layer:
    steps, channels = int(rng.integers(1, SIZES.steps + 1)), int(rng.integers(1, SIZES.channels + 1))
    most = 1 << SIZES.count_bits
    pixels = int(rng.integers(1, min(3, most // (channels if axis == "time" else steps)) + 1))
    top = 1 << (config.stream_width - 1)
    x = rng.integers(-top, top, (steps, channels, pixels))
    style = rng.integers(4)
    if style == 0:
        x[:] = rng.choice([-top, top - 1])
    elif style == 1:
        x = rng.choice([-top, top - 1, -1, 0], x.shape)
    elif style == 2:  # all of some channels or steps negative: padding must not be their maximum
        x = np.where(rng.integers(0, 2, (steps, channels, 1)), -1 - np.abs(x) % top, x)
    return Layer(x, random_attention(rng, axis, kind, x, top))


class Bench:
    """Runs a layer's score slabs, its gates and its other slabs."""

    def __init__(self, dut: AttentionUnit, config: CoreConfig, rng: np.random.Generator) -> None:
        self.dut, self.config, self.rng = dut, config, rng

    async def run(self, ctx, layer: Layer) -> None:
        dut = self.dut
        channels = layer.x.shape[1]
        at = layer.attention
        for addr, word in enumerate(attention_words(at)):
            ctx.set(dut.word_en, 1)
            ctx.set(dut.word_addr, addr)
            ctx.set(dut.word_data, word)
            await ctx.tick()
        ctx.set(dut.word_en, 0)
        groups = -(-channels // self.config.output_lanes)
        expected = layer.gates
        for group in range(groups):
            await self.slab(ctx, layer, group, None)
        await ctx.tick().repeat(8)
        ctx.set(dut.compute, 1)
        await ctx.tick()
        ctx.set(dut.compute, 0)
        clocks = 0
        while ctx.get(dut.busy):
            await ctx.tick()
            clocks += 1
        assert clocks == gate_clocks(at, self.config)
        for group in range(groups):
            await self.slab(ctx, layer, group, expected)

    async def slab(self, ctx, layer: Layer, group: int, gates: np.ndarray | None) -> None:
        """One group's slots: what passes by, tile after tile; with ``gates`` these are looked at."""
        dut, config, rng = self.dut, self.config, self.rng
        lanes, units, slots = config.output_lanes, config.neuron_units, config.slots_per_step
        steps, channels, pixels = layer.x.shape
        chunks = -(-steps // config.time_lanes)
        spread = int(rng.choice([0, 7]))  # tiles back to back, or apart
        by_channel = layer.attention.axis == "channel"
        ctx.set(dut.score, gates is None)
        ctx.set(dut.channel, by_channel)
        ctx.set(dut.first, by_channel or group == 0)
        ctx.set(dut.base, group * slots)
        ctx.set(dut.lanes_last, min(lanes, channels - group * lanes) - 1)
        ctx.set(dut.last_step, (steps - 1) % config.time_lanes)
        ctx.set(dut.chunks_last, chunks - 1)
        ctx.set(dut.restart, 1)
        await ctx.tick()
        ctx.set(dut.restart, 0)
        passing: list[tuple[bool, list[int], list[int] | None]] = [(False, [], None)] * 3
        for pixel in range(pixels):
            for chunk in range(chunks):
                for number in range(config.time_lanes * slots):
                    step = chunk * config.time_lanes + number // slots
                    first = group * lanes + number % slots * units
                    here = range(first, first + units)
                    known = step < steps
                    x = [int(layer.x[step, c, pixel]) if known and c < channels else None for c in here]
                    junk = [self.junk() if value is None else value for value in x]
                    gate = None
                    if gates is not None:
                        gate = [int(gates[c if by_channel else step]) if known and c < channels else None for c in here]
                        gate = [0 if not known else value for value in gate]
                    passing.append((True, junk, gate))
                passing += [(False, [], None)] * int(rng.integers(spread + 1))
        passing += [(False, [], None)] * 8
        for now in range(3, len(passing)):
            arriving = passing[now - SLOT_TO_STREAM]
            ctx.set(dut.slot, passing[now][0])
            for u in range(units):
                ctx.set(dut.values[u], arriving[1][u] if arriving[1] else self.junk())
                if arriving[2] is not None and arriving[2][u] is not None:
                    assert ctx.get(dut.gates[u]) == arriving[2][u]
            await ctx.tick()

    def junk(self) -> int:
        top = 1 << (self.config.stream_width - 1)
        return int(self.rng.integers(-top, top))


def simulate(config: CoreConfig, layers: list[Layer], rng: np.random.Generator) -> None:
    dut = AttentionUnit(config=config, attention=SIZES)
    bench = Bench(dut, config, rng)

    async def process(ctx) -> None:
        for layer in layers:
            await bench.run(ctx, layer)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(process)
    sim.run()


@pytest.mark.parametrize("axis", ["time", "channel"])
@pytest.mark.parametrize("name", CONFIGS)
def test_gates(name: str, axis: Axis) -> None:
    config = CONFIGS[name]
    rng = np.random.default_rng([*name.encode(), axis == "time"])
    layers = []
    while len(layers) < 4:
        kind = KINDS[len(layers) % 2]
        layer = random_layer(rng, config, axis, kind)
        if len(layers) > 1 or len(set(layer.gates.tolist())) > 1:  # two of them with gates that differ
            layers.append(layer)
    simulate(config, layers, rng)


def test_axes_take_turns() -> None:
    """Nothing of one layer's sums, words or gates is left for the next."""
    rng = np.random.default_rng(5)
    layers = [random_layer(rng, BASE, axis, "sigmoid") for axis in AXES for _ in range(2)]
    simulate(BASE, [layers[i] for i in (0, 2, 1, 3)], rng)


def test_one_step_of_one_channel() -> None:
    """The entry of the only step is in every slot's sum."""
    rng = np.random.default_rng(6)
    config = CONFIGS["1 step a chunk"]
    layers = [
        Layer(x, random_attention(rng, axis, "sigmoid", x, 1 << 17))
        for axis in AXES
        for x in (rng.integers(-99, 99, (1, 1, 40)), rng.integers(-99, 99, (1, 9, 9)), rng.integers(-99, 99, (2, 1, 9)))
    ]
    simulate(config, layers, rng)


def test_needs_a_stream_memory() -> None:
    with pytest.raises(ConfigError, match="needs stream_width > 0"):
        AttentionUnit(config=CoreConfig(), attention=SIZES)
