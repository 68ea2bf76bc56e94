# amaranth: UnusedElaboratable=no
"""The LIF array against the golden model's neuron, with streams that stall."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import golden
from refmodel.errors import ConfigError
from refmodel.quantized import INPUT, QuantizedInput, QuantizedLayer, QuantizedNetwork
from rtl_gen.lif_array import LIFArray, membrane_bits


@dataclass
class Neurons:
    """The neuron's equation for an array's parameters, on whole numbers of any size."""

    leak_shifts: tuple[int, ...] = (1,)
    leak_factor: tuple[int, int] | None = None
    reset: str = "hard"

    def leak(self, v: int) -> int:
        if self.leak_factor is not None:
            return (v * self.leak_factor[0]) >> self.leak_factor[1]
        return v - sum(v >> a for a in self.leak_shifts)

    def step(self, v: int, x: int, threshold: int) -> tuple[int, int, int]:
        """H, spike and the next V, of X with all constants."""
        h = self.leak(v) + x
        fires = h >= threshold
        after = {"hard": 0, "soft": h - threshold, "none": h}[self.reset] if fires else h
        return h, int(fires), after


async def put(ctx: Any, port: Any, payload: dict[str, Any]) -> None:
    """One transfer into a stream."""
    ctx.set(port.payload, payload)
    ctx.set(port.valid, 1)
    await ctx.tick().until(port.ready)
    ctx.set(port.valid, 0)


async def get(ctx: Any, port: Any) -> Any:
    """One transfer out of a stream."""
    ctx.set(port.ready, 1)
    (payload,) = await ctx.tick().sample(port.payload).until(port.valid)
    ctx.set(port.ready, 0)
    return payload


def run(dut: Any, *benches: Any) -> None:
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for bench in benches:
        sim.add_testbench(bench)
    sim.run()


def transfers(x: np.ndarray, units: int, **more: np.ndarray) -> list[dict[str, Any]]:
    """Payloads of ``x`` ``[T, neurons]``; each array of ``more`` is of the same shape."""
    made = []
    for t, row in enumerate(x.tolist()):
        for g in range(0, len(row), units):
            payload: dict[str, Any] = {"values": row[g : g + units], "first": int(t == 0)}
            for name, values in more.items():
                payload[name] = sum(int(bit) << u for u, bit in enumerate(values[t, g : g + units]))
            made.append(payload)
    return made


SHAPES = [(1, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 1), (8, 2), (9, 1), (16, 1), (16, 4), (4, 4), (20, 4), (2, 2)]


@pytest.mark.parametrize(("neurons", "units"), SHAPES)
@pytest.mark.parametrize("stalls", [False, True])
def test_equation(neurons: int, units: int, stalls: bool) -> None:
    rng = random.Random(f"{neurons} {units} {stalls}")
    leaks, reset = rng.choice([(), (1,), (2,), (1, 3), (4, 4)]), rng.choice(["hard", "soft", "none"])
    factor = rng.choice([None, (0, 1), (5, 3), (32767, 15)]) if not leaks else None
    model = Neurons(leaks, factor, reset)
    width, steps, samples = 8, 6, 3
    widest = membrane_bits(
        steps=steps, inputs=(-384, 384), threshold=400, leak_shifts=leaks, leak_factor=factor, reset=reset
    )
    dut = LIFArray(
        neurons=neurons,
        units=units,
        input_width=width,
        membrane_width=widest + 1,
        leak_shifts=leaks,
        leak_factor=factor,
        reset=reset,
        threshold=37,
        bias=-3,
        shortcut=True,
        membranes=True,
    )
    params = [{"threshold": 37, "bias": -3, "bias_shortcut": -3} for _ in range(neurons)]
    seen = {"fired": 0, "silent": 0}

    async def rest(ctx: Any) -> None:
        while stalls and rng.random() < 0.4:
            await ctx.tick()

    #: What the array is to answer, filled by the producer.
    expected: list[dict[str, Any]] = []

    async def produce(ctx: Any) -> None:
        for sample in range(samples):
            if sample:
                for n in rng.sample(range(neurons), max(1, neurons // 2)):
                    params[n] = {
                        "threshold": rng.choice([0, 1, -1, -400, 400, rng.randrange(-40, 120)]),
                        "bias": rng.choice([0, -128, 127, rng.randrange(-20, 20)]),
                        "bias_shortcut": rng.choice([0, -128, 127, rng.randrange(-20, 20)]),
                    }
                    await rest(ctx)
                    await put(ctx, dut.params, {"neuron": n, **params[n]})
            x = np.array([[rng.choice([-128, 127, 0, rng.randrange(-60, 90)]) for _ in range(neurons)]] * steps)
            x[1:] = np.array([[rng.randrange(-128, 128) for _ in range(neurons)] for _ in range(steps - 1)])
            s = np.array([[rng.randrange(2) for _ in range(neurons)] for _ in range(steps)])
            v = [0] * neurons
            for number, payload in enumerate(transfers(x, units, shortcut=s)):
                t, g = divmod(number * units, neurons)
                answer: dict[str, Any] = {"spikes": 0, "last": int(g + units == neurons), "membranes": []}
                for u in range(units):
                    p = params[g + u]
                    constant = p["bias_shortcut"] if s[t, g + u] else p["bias"]
                    h, spike, v[g + u] = model.step(v[g + u], int(x[t, g + u]) + constant, p["threshold"])
                    answer["spikes"] |= spike << u
                    answer["membranes"].append(h)
                    seen["fired" if spike else "silent"] += 1
                expected.append(answer)
                await rest(ctx)
                await put(ctx, dut.x, payload)

    async def consume(ctx: Any) -> None:
        for number in range(samples * steps * neurons // units):
            await rest(ctx)
            got = await get(ctx, dut.spikes)
            assert got["spikes"] == expected[number]["spikes"], number
            assert got["last"] == expected[number]["last"], number
            assert list(got["membranes"]) == expected[number]["membranes"], number

    run(dut, produce, consume)
    assert min(seen.values()) > 0, seen


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("leak_shifts", [(), (2,), (1, 3)])
def test_golden_model(reset: Any, leak_shifts: tuple[int, ...]) -> None:
    """A layer of the golden model whose weights are 1 on the diagonal is an array of its neurons."""
    rng = np.random.default_rng(7)
    neurons, steps = 6, 12
    threshold = rng.integers(1, 300, neurons)
    bias = rng.integers(-90, 60, neurons)
    ones = np.eye(neurons, dtype=np.int64)[:, :, None, None]
    layers = (
        QuantizedLayer(
            "lif", "conv", INPUT, ones, (1, 1), bias=bias, threshold=threshold, leak_shifts=leak_shifts, reset=reset
        ),
        QuantizedLayer("sums", "readout", "lif", ones, (1, 1), bias=np.zeros(neurons, np.int64)),
    )
    net = QuantizedNetwork("array", steps, QuantizedInput((neurons, 1, 1), 8, static=False), layers)
    x = rng.integers(0, 256, (1, steps, neurons, 1, 1))
    wanted = golden.run(net, x, keep=True)
    spikes = wanted.tensors["lif"][0, :, :, 0, 0].astype(int)
    h = wanted.membranes["lif"][0, :, :, 0, 0]
    dut = LIFArray(
        neurons=neurons, input_width=10, membrane_width=16, leak_shifts=leak_shifts, reset=reset, membranes=True
    )

    async def produce(ctx: Any) -> None:
        for n in range(neurons):
            await put(ctx, dut.params, {"neuron": n, "threshold": int(threshold[n]), "bias": int(bias[n])})
        for payload in transfers(x[0, :, :, 0, 0], 1):
            await put(ctx, dut.x, payload)

    async def consume(ctx: Any) -> None:
        for t in range(steps):
            for n in range(neurons):
                got = await get(ctx, dut.spikes)
                assert (got["spikes"], got["membranes"][0]) == (spikes[t, n], h[t, n]), (t, n)

    run(dut, produce, consume)
    assert 0 < spikes.sum() < spikes.size


@pytest.mark.parametrize(("neurons", "units"), [(8, 1), (2, 1), (16, 4), (5, 1)])
def test_latency_and_rate(neurons: int, units: int) -> None:
    """The first spikes come LATENCY clocks after their transfer, and a step takes ``step_clocks``."""
    dut = LIFArray(neurons=neurons, units=units, threshold=10, leak_shifts=())
    steps = 20
    times: dict[str, list[int]] = {"x": [], "spikes": []}

    async def bench(ctx: Any) -> None:
        ctx.set(dut.x.valid, 1)
        ctx.set(dut.x.payload, {"values": [20] * units, "first": 1})
        ctx.set(dut.spikes.ready, 1)
        for clock in range(steps * dut.step_clocks + neurons + 10):
            for name, port in (("x", dut.x), ("spikes", dut.spikes)):
                if ctx.get(port.valid) and ctx.get(port.ready):
                    times[name].append(clock)
            await ctx.tick()

    run(dut, bench)
    per_step = neurons // units
    assert times["x"][0] == dut.step_clocks  # the parameters of every slot, one a clock
    assert times["spikes"][0] - times["x"][0] == dut.LATENCY
    assert times["x"][steps * per_step - 1] - times["x"][0] < steps * dut.step_clocks
    assert times["x"][per_step] - times["x"][0] == dut.step_clocks == max(per_step, 8 if per_step > 4 else 4)


def test_nothing_is_lost_while_spikes_wait() -> None:
    """With its results not taken, the array takes what it can keep, and no more."""
    dut = LIFArray(neurons=16, threshold=8, leak_shifts=())

    async def bench(ctx: Any) -> None:
        ctx.set(dut.x.valid, 1)
        taken = 0
        for _ in range(60):
            ctx.set(dut.x.payload, {"values": [8 if taken % 3 == 0 else 7], "first": 1})
            taken += ctx.get(dut.x.ready)
            await ctx.tick()
        assert taken == 8
        ctx.set(dut.x.valid, 0)
        for number in range(taken):
            got = await get(ctx, dut.spikes)
            assert got["spikes"] == (number % 3 == 0)
        assert not ctx.get(dut.spikes.valid)

    run(dut, bench)


def test_inputs_wait_while_parameters_are_written() -> None:
    """A block RAM's word is undefined in the clock in which it is written: no neuron may read it then."""
    dut = LIFArray(neurons=4, threshold=10, leak_shifts=())

    async def bench(ctx: Any) -> None:
        assert not ctx.get(dut.params.ready)  # the array writes its own ones first
        await ctx.tick().repeat(6)
        ctx.set(dut.x.valid, 1)
        assert ctx.get(dut.params.ready) and ctx.get(dut.x.ready)
        ctx.set(dut.params.valid, 1)
        assert ctx.get(dut.params.ready) and not ctx.get(dut.x.ready)
        ctx.set(dut.params.payload, {"neuron": 0, "threshold": 5, "bias": 0})
        await ctx.tick()
        ctx.set(dut.params.valid, 0)
        for wanted in (1, 0, 0, 0):
            await put(ctx, dut.x, {"values": [5], "first": 1})
            assert (await get(ctx, dut.spikes))["spikes"] == wanted

    run(dut, bench)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_membrane_bits_holds_every_run(data: Any) -> None:
    leaks = tuple(data.draw(st.lists(st.integers(1, 4), max_size=2)))
    factor = data.draw(st.sampled_from([None, (0, 3), (7, 3), (200, 8)])) if not leaks else None
    reset = data.draw(st.sampled_from(["hard", "soft", "none"]))
    low, high = sorted(data.draw(st.tuples(st.integers(-500, 500), st.integers(-500, 500))))
    threshold = data.draw(st.integers(-600, 600))
    xs = data.draw(st.lists(st.one_of(st.just(low), st.just(high), st.integers(low, high)), min_size=1, max_size=40))
    bits = membrane_bits(
        steps=len(xs), inputs=(low, high), threshold=threshold, leak_shifts=leaks, leak_factor=factor, reset=reset
    )
    model, v = Neurons(leaks, factor, reset), 0
    for x in xs:
        h, _, v = model.step(v, x, threshold)
        for value in (h, h - threshold, v):
            assert -(1 << (bits - 1)) <= value < 1 << (bits - 1)


def test_membrane_bits_of_known_cases() -> None:
    assert membrane_bits(steps=1, inputs=(0, 100), threshold=50) == 8
    # An IF neuron that cannot fire: 100 steps of -128 and 1,000 below that for the comparison.
    assert membrane_bits(steps=100, inputs=(-128, 0), threshold=1000, leak_shifts=()) == 15
    # Two terms round a membrane of -1 up to +1.
    assert membrane_bits(steps=2, inputs=(-1, 0), threshold=0, leak_shifts=(1, 1)) >= 2
    # With a leak of one half it never leaves twice its input.
    assert membrane_bits(steps=10**6, inputs=(-128, 127), threshold=100) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 3}, "units must be a power of two, not 3"),
        ({"neurons": 6, "units": 4}, "neurons must be a multiple of units=4, not 6"),
        ({"neurons": 0}, "neurons must be a multiple"),
        ({"input_width": 2}, "3 <= input_width <= membrane_width <= 48"),
        ({"input_width": 20}, "3 <= input_width <= membrane_width <= 48"),
        ({"leak_shifts": (1, 2, 3)}, "at most two of 1 to 4"),
        ({"leak_shifts": (5,)}, "at most two of 1 to 4"),
        ({"leak_factor": (3, 2)}, "use leak_shifts=()"),
        ({"leak_factor": (4, 2), "leak_shifts": ()}, "0 <= m < 2"),
        ({"reset": "off"}, "reset must be 'hard', 'soft' or 'none', not 'off'"),
        ({"threshold": 1 << 15}, "threshold 32768 does not fit 16 bits"),
        ({"bias": -4096}, "bias -4096 does not fit 12 bits"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LIFArray(**options)


def test_membrane_bits_refuses_an_empty_range() -> None:
    with pytest.raises(ConfigError, match="smallest, largest"):
        membrane_bits(steps=1, inputs=(1, 0), threshold=1)
