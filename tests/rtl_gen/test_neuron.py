"""The neuron unit against the neuron's equation, one lane and step at a time."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from dataclasses import dataclass

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from refmodel.config import CoreConfig
from refmodel.layout import slot_to_state
from rtl_gen import carry
from rtl_gen.neuron import NeuronUnit
from rtl_gen.neuron_control import loading_clock
from tests.rtl_gen.lattice_cells import Cell

BASE = CoreConfig()
CONFIGS = {
    "4 lanes": BASE,  # the membranes in LUT RAM: the recurrence has no clock to spare
    "8 lanes": dataclasses.replace(BASE, neuron_units=1),  # in block RAM
    "16 lanes": dataclasses.replace(BASE, output_lanes=16, neuron_units=1),
    "narrow": dataclasses.replace(BASE, weight_bits=2, acc_width=3, membrane_width=3),
    "acc as wide as membrane": dataclasses.replace(BASE, acc_width=12, membrane_width=12),
    "widest": dataclasses.replace(BASE, acc_width=47, membrane_width=48),
    "4 lanes, one leak": dataclasses.replace(BASE, leak_terms=1),
    "8 lanes, one leak": dataclasses.replace(BASE, leak_terms=1, neuron_units=1),
    "4 lanes, small shifts": dataclasses.replace(BASE, leak_terms=1, leak_shift_max=2),
    "8 lanes, shift by one": dataclasses.replace(BASE, leak_terms=2, leak_shift_max=1, neuron_units=1),
    "one leak, multiplied": dataclasses.replace(BASE, leak_terms=1, leak_bits=4),
    "4 lanes, narrow block RAMs": dataclasses.replace(BASE, leak_terms=1, acc_width=12, membrane_width=18),
    "no leak": dataclasses.replace(BASE, leak_terms=0),
    "multiplied leak": dataclasses.replace(BASE, leak_bits=8),
    "multiplied leak only": dataclasses.replace(BASE, leak_terms=0, leak_bits=3, neuron_units=1),
    "4 lanes, state": dataclasses.replace(BASE, state_depth=8),
    "4 lanes, one leak, state": dataclasses.replace(BASE, leak_terms=1, state_depth=8),
    "8 lanes, one leak, state": dataclasses.replace(BASE, leak_terms=1, neuron_units=1, state_depth=8),
    "8 lanes, state": dataclasses.replace(BASE, neuron_units=1, state_depth=8),
}


@dataclass
class Mode:
    """A slab's mode, and the neuron's equation."""

    readout: bool = False
    soft_reset: bool = False
    use_current: bool = False
    leaks: tuple[int, ...] = ()
    no_reset: bool = False
    factor: int | None = None
    leak_bits: int = 0

    def leak(self, v: int) -> int:
        if self.factor is not None:
            return v * self.factor >> self.leak_bits
        return v - sum(v >> a for a in self.leaks)

    def reset(self, h: int, threshold: int, fires: bool) -> int:
        if self.no_reset:
            return h
        return (h - threshold if self.soft_reset else 0) if fires else h


def random_mode(rng: random.Random, config: CoreConfig) -> Mode:
    if rng.random() < 0.2:
        return Mode(readout=True)
    leaks = tuple(rng.randrange(1, config.leak_shift_max + 1) for _ in range(rng.randrange(config.leak_terms + 1)))
    mode = Mode(False, rng.random() < 0.5, rng.random() < 0.5, leaks, rng.random() < 0.2)
    if config.leak_bits and rng.random() < 0.7:
        mode.factor, mode.leak_bits, mode.leaks = rng.randrange((1 << config.leak_bits) + 1), config.leak_bits, ()
    return mode


def random_params(rng: random.Random, config: CoreConfig) -> dict[str, int]:
    wide, narrow = 1 << (config.membrane_width - 1), 1 << (config.acc_width - 1)
    high = min(wide, 4 * narrow)

    def constant() -> int:
        return rng.choice([0, -1, 1, -narrow, narrow - 1, rng.randrange(-narrow, narrow)])

    threshold = rng.choice([0, 1, -1, high - 1, -high, rng.randrange(-high, high), rng.randrange(-8, 8)])
    return {"threshold": max(-wide, min(wide - 1, threshold)), "bias": constant(), "bias_shortcut": constant()}


def choose_sum(rng: random.Random, config: CoreConfig, rest: int, threshold: int) -> int | None:
    """A synaptic sum that takes H = ``rest`` + sum to an interesting place where nothing overflows."""
    wide, narrow = 1 << (config.membrane_width - 1), 1 << (config.acc_width - 1)
    aims = [threshold, threshold - 1, -wide, wide - 1, threshold - wide, threshold + wide - 1, -1, 0]
    sums = [aim - rest for aim in aims] + [-narrow, narrow - 1] + [rng.randrange(-narrow, narrow) for _ in range(4)]
    fitting = [
        s for s in sums if -narrow <= s < narrow and -wide <= rest + s < wide and -wide <= rest + s - threshold < wide
    ]
    return rng.choice(fitting) if fitting else None


#: Shapes that are built differently for a family, besides the portable form.
BUILT = [(name, None) for name in CONFIGS] + [
    ("4 lanes, one leak", "ulx3s_85f"),
    ("8 lanes, one leak", "ulx3s_85f"),
    ("4 lanes, small shifts", "ulx3s_85f"),
    ("one leak, multiplied", "ulx3s_85f"),
    ("no leak", "ulx3s_85f"),
    ("4 lanes", "ulx3s_85f"),
    ("4 lanes, narrow block RAMs", "icebreaker"),
    ("8 lanes, one leak", "icebreaker"),
    ("8 lanes", "icebreaker"),
    ("4 lanes, one leak, state", "ulx3s_85f"),
    ("8 lanes, one leak, state", "ulx3s_85f"),
    ("4 lanes, one leak, state", "icebreaker"),
    ("8 lanes, one leak, state", "icebreaker"),
]


@pytest.mark.parametrize(("name", "board"), BUILT)
def test_equation(name: str, board: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS[name]
    monkeypatch.setattr(carry, "Instance", Cell)
    platform = None if board is None else get_board(board).platform()
    lanes = config.slots_per_step
    rng = random.Random(name)
    dut = NeuronUnit(config=config)
    seen = {"fired": 0, "silent": 0}
    begins: dict[int, int] = {}  # by clock: the membrane that a slot begins with
    kept: dict[int, int] = {}  # and the one that it leaves

    async def bench(ctx):
        pipeline: deque[tuple | None] = deque([None] * dut.LATENCY)
        params: list[list[dict[str, int]]] = [[{}] * lanes, [{}] * lanes]

        turn = now = 0  # whose slot comes next; the clock

        async def clock(result: tuple | None) -> None:
            """One clock with or without a slot, and the result of the slot four clocks ago."""
            nonlocal turn, now
            turn = (turn + (result is not None)) % lanes
            ctx.set(dut.ahead, turn)
            pipeline.append(result)
            expected = pipeline.popleft()
            assert ctx.get(dut.out_valid) == (expected is not None)
            if expected is not None:
                got = tuple(map(ctx.get, (dut.out_index, dut.out_end, dut.spike, dut.membrane)))
                assert got == expected
            if config.state_depth:
                ctx.set(dut.begins, begins.pop(now, rng.getrandbits(8)))
                if now in kept:
                    assert ctx.get(dut.kept) == kept.pop(now)
            await ctx.tick()
            now += 1
            ctx.set(dut.write_en, 0)
            ctx.set(dut.slot.valid, 0)

        def load(lane: int, half: int) -> None:
            params[half][lane] = random_params(rng, config)
            ctx.set(dut.write_en, 1)
            ctx.set(dut.write_half, half)
            ctx.set(dut.write_index, lane)
            ctx.set(dut.write_data, params[half][lane])

        for lane in range(lanes):
            load(lane, 0)
            await clock(None)
        for slab in range(24):
            half, mode = slab % 2, random_mode(rng, config)
            ctx.set(dut.run_half, half)
            ctx.set(dut.mode.readout, mode.readout)
            ctx.set(dut.mode.soft_reset, mode.soft_reset)
            ctx.set(dut.mode.use_current, mode.use_current)
            ctx.set(dut.mode.leak_a, mode.leaks[0] if mode.leaks else 0)
            ctx.set(dut.mode.leak_b, mode.leaks[1] if len(mode.leaks) > 1 else 0)
            ctx.set(dut.mode.no_reset, mode.no_reset)
            if config.leak_bits:
                ctx.set(dut.mode.leak_multiply, mode.factor is not None)
                ctx.set(dut.mode.leak_factor, mode.factor or 0)
            await clock(None)  # a slab starts clocks before its first slot
            v = [0] * lanes
            steps, gaps = rng.randrange(1, 9), rng.random() < 0.5 and not config.state_depth
            for step in range(steps):
                for lane in range(lanes):
                    while gaps and rng.random() < 0.2:
                        await clock(None)
                    p, spike_in, fake = params[half][lane], rng.randrange(2), rng.random() < 0.1
                    constant = p["bias_shortcut"] if mode.use_current and spike_in else p["bias"]
                    if mode.readout and step:
                        constant = 0
                    first = step == 0
                    before = 0 if first else mode.leak(v[lane])
                    if first and config.state_depth and not mode.readout:
                        before = rng.randrange(-1 << 12, 1 << 12)
                    x = choose_sum(rng, config, before + constant, p["threshold"])
                    if x is None:  # no sum fits: the membrane starts anew from its constant
                        first, fake, x, before = True, True, 0, 0
                        constant = p["bias_shortcut"] if mode.use_current and spike_in else p["bias"]
                    h = before + x + constant
                    fires = not mode.readout and not fake and h >= p["threshold"]
                    v[lane] = mode.reset(h, p["threshold"], fires)
                    seen["fired" if fires else "silent"] += 1
                    end = step == steps - 1
                    slot = {"valid": 1, "index": lane, "first": first, "fake": fake, "end": end}
                    if config.state_depth:
                        slot["keep"] = end and not mode.readout
                        begins[now + loading_clock(config)] = before
                        if slot["keep"]:
                            kept[now + slot_to_state(config)] = mode.leak(v[lane])
                    ctx.set(dut.slot, slot)
                    ctx.set(dut.sum, x)
                    ctx.set(dut.shortcut, spike_in)
                    if end:  # the next slab's parameters come while this one runs
                        load(lane, 1 - half)
                    await clock((lane, int(end), int(fires), h))
            for _ in range(8):
                await clock(None)

    sim = Simulator(Fragment.get(dut, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert min(seen.values()) > 40 and not kept, seen


def test_shifts_of_negative_membranes_round_down() -> None:
    """V = -1 leaks to 0 with one term and to +1 with two; V = -5 with shifts 1 and 2 to -5 + 3 + 2."""
    for leaks, before, after in (((1,), -1, 0), ((1, 1), -1, 1), ((1, 2), -5, 0), ((4,), -17, -15), ((2, 3), 15, 11)):
        dut = NeuronUnit(config=BASE)

        async def bench(ctx, dut=dut, leaks=leaks, before=before, after=after):
            ctx.set(dut.mode.leak_a, leaks[0])
            ctx.set(dut.mode.leak_b, leaks[1] if len(leaks) > 1 else 0)
            ctx.set(dut.write_en, 1)
            ctx.set(dut.write_data, {"threshold": 100, "bias": 0, "bias_shortcut": 0})
            await ctx.tick().repeat(2)
            for first, x, expected in ((1, before, before), (0, 0, after)):
                ctx.set(dut.slot, {"valid": 1, "index": 0, "first": first, "fake": 0, "end": 0})
                ctx.set(dut.sum, x)
                await ctx.tick()
                ctx.set(dut.slot, {"valid": 1, "index": 1, "first": 1, "fake": 0, "end": 0})
                for _ in range(BASE.slots_per_step - 1):  # the others have their turn
                    await ctx.tick()
                assert ctx.get(dut.membrane) == expected

        sim = Simulator(dut)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()


def test_rectified_inputs_and_extracted_bits() -> None:
    """H = V + max(X, 0) with rectify, while X itself goes out; the spike is a bit of X with extract."""
    config = dataclasses.replace(BASE, stream_width=20, rectify=True)
    dut = NeuronUnit(config=config)

    async def bench(ctx):
        ctx.set(dut.write_en, 1)
        ctx.set(dut.write_data, {"threshold": 1 << 20, "bias": -3, "bias_shortcut": 0})
        await ctx.tick().repeat(2)
        rng = random.Random(1)
        for trial in range(200):
            rectify, extract, bit = rng.randrange(2), rng.randrange(2), rng.randrange(20)
            total, stream = rng.randrange(-(1 << 16), 1 << 16), rng.randrange(-(1 << 17), 1 << 17)
            x = total - 3 + stream
            ctx.set(dut.mode.rectify, rectify)
            ctx.set(dut.mode.extract, extract)
            ctx.set(dut.mode.extract_bit, bit)
            ctx.set(dut.slot, {"valid": 1, "index": 0, "first": 1, "fake": int(trial % 9 == 0), "end": 0})
            ctx.set(dut.sum, total)
            await ctx.tick()
            ctx.set(dut.slot.valid, 0)
            ctx.set(dut.stream, stream)
            await ctx.tick()
            ctx.set(dut.stream, 0)
            await ctx.tick()
            assert ctx.get(dut.input) == x
            await ctx.tick().repeat(2)
            assert ctx.get(dut.membrane) == (max(x, 0) if rectify else x)
            assert ctx.get(dut.spike) == int(bool(extract and x >> bit & 1 and trial % 9))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
