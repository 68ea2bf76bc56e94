"""SynA attention: the equations in floats, the integer contract, and the bound of what lies between."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from refmodel.attention import (
    GATE_ONE,
    OPERAND_MAX,
    SIGMOID_TABLE,
    Attention,
    Axis,
    IntegerAttention,
    apply_gates,
    gated,
    gates,
    integer_gates,
    lif_gates,
    scores,
    sigmoid_gates,
)
from refmodel.attention_config import AttentionConfig
from refmodel.attention_layout import attention_words, check_fits, gate_clocks
from refmodel.attention_quantize import demand_ranges, quantize_attention
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError, NetworkError
from refmodel.layers import Neuron

AXES: tuple[Axis, ...] = ("time", "channel")


def random_attention(rng: np.random.Generator, axis: Axis, size: int, neuron: Neuron | None = None) -> Attention:
    hidden = max(1, size // 4)
    scales = rng.choice([0.05, 0.5, 1.5], 2)
    first, second = rng.normal(size=(hidden, size)) * scales[0], rng.normal(size=(size, hidden)) * scales[1]
    return Attention(axis, first, second, neuron)


def random_neuron(rng: np.random.Generator) -> Neuron:
    kind = ("if", "lif", "step")[int(rng.integers(3))]
    v_reset = float(rng.choice([0.0, -0.5])) if kind != "step" else 0.0
    return Neuron(
        kind, float(rng.uniform(0.1, 2)), float(rng.uniform(1.2, 4)), bool(rng.integers(2)), v_reset=v_reset,
        fire="gt" if rng.integers(2) else "ge",
    )  # fmt: skip


def plain_scores(x: np.ndarray, attention: Attention) -> list[float]:
    """MLP(mean) + MLP(max) of one image, with loops."""
    parts = x if attention.axis == "time" else x.swapaxes(0, 1)
    result = [0.0] * len(parts)
    for pooled in ([float(part.mean()) for part in parts], [float(part.max()) for part in parts]):
        hidden = [max(0.0, sum(w * v for w, v in zip(row, pooled, strict=True))) for row in attention.first.tolist()]
        for a, row in enumerate(attention.second.tolist()):
            result[a] += sum(w * h for w, h in zip(row, hidden, strict=True))
    return result


@pytest.mark.parametrize("axis", AXES)
def test_sigmoid_gates_are_the_equation(axis: Axis) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 6, 9, 2, 3))
    attention = random_attention(rng, axis, 6 if axis == "time" else 9)
    result = gates(x, attention)
    for image, row in zip(x, result, strict=True):
        assert row == pytest.approx([1 / (1 + math.exp(-score)) for score in plain_scores(image, attention)])
    index = (0, 4) if axis == "time" else (0, slice(None), 4)
    assert gated(x, result, axis)[index] == pytest.approx(np.maximum(x[index] * result[0, 4], 0))


def test_lif_gates_are_the_neuron_over_time() -> None:
    """SpikingJelly's LIFNode, tau 2, on the scores of the steps one after the other."""
    rng = np.random.default_rng(2)
    attention = random_attention(rng, "time", 12, Neuron("lif", threshold=0.1))
    x = rng.normal(size=(5, 12, 3, 2, 2)) * 3
    for image, row in zip(x, gates(x, attention), strict=True):
        v, spikes = 0.0, []
        for score in plain_scores(image, attention):
            v = v + (score - v) / 2
            spikes.append(float(v >= 0.1))
            v = 0.0 if spikes[-1] else v
        assert row.tolist() == spikes
    assert 0 < gates(x, attention).mean() < 1


def test_lif_gates_of_channels_start_from_rest() -> None:
    rng = np.random.default_rng(3)
    attention = random_attention(rng, "channel", 8, Neuron("lif", threshold=0.2))
    x = rng.normal(size=(5, 3, 8, 2, 2)) * 3
    assert (gates(x, attention) == (scores(x, attention) / 2 >= 0.2)).all()
    assert 0 < gates(x, attention).mean() < 1


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("seed", range(25))
def test_integer_sigmoid_is_within_its_bound(axis: Axis, seed: int) -> None:
    rng = np.random.default_rng([seed, axis == "time"])
    attention, x, unit, low, high = random_case(rng, axis, None)
    made = quantize_attention(attention, unit=unit, low=low, high=high, count=x[0].size // attention.size)
    error = np.abs(integer_gates(x, made) / GATE_ONE - gates(x * unit, attention))
    assert error.max() <= made.gate_error


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("seed", range(25))
def test_integer_lif_fires_as_the_float_one_beyond_its_margin(axis: Axis, seed: int) -> None:
    rng = np.random.default_rng([seed, axis == "time", 1])
    neuron = random_neuron(rng)
    attention, x, unit, low, high = random_case(rng, axis, neuron)
    made = quantize_attention(attention, unit=unit, low=low, high=high, count=x[0].size // attention.size)
    wanted, margin = lif_gates(scores(x * unit, attention), attention)
    gain = neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    near = np.abs(margin) * gain <= made.margin
    undecided = np.logical_or.accumulate(near, axis=1) if axis == "time" else near
    assert ((integer_gates(x, made) == wanted * GATE_ONE) | undecided).all()


def random_case(
    rng: np.random.Generator, axis: Axis, neuron: Neuron | None
) -> tuple[Attention, np.ndarray, float, int, int]:
    """An attention, X ``[8, T, C, H, W]``, the float of its unit and its range: streams, counts and spikes."""
    steps, channels = int(rng.integers(1, 17)), int(rng.integers(1, 33))
    bits = int(rng.choice([1, 4, 8, 12, 20]))
    low, high = (-(1 << bits), (1 << bits) - 1) if rng.random() < 0.7 else (0, int(rng.integers(1, 5)))
    x = rng.integers(low, high + 1, (8, steps, channels, *rng.integers(1, 6, 2)))
    x[0], x[1] = low, high
    attention = random_attention(rng, axis, steps if axis == "time" else channels, neuron)
    return attention, x, float(rng.choice([1.0, 4.0])) / (1 << bits), low, high


def test_bounds_are_of_use() -> None:
    """16 steps, ratio 4, X of 18 bits with a proven range of -40 to 40: a gate is good to 3 %."""
    rng = np.random.default_rng(4)
    attention = Attention("time", rng.normal(size=(4, 16)) / 4, rng.normal(size=(16, 4)) / 2)
    made = quantize_attention(attention, unit=40 / (1 << 17), low=-(1 << 17), high=(1 << 17) - 1, count=64 * 14 * 14)
    assert made.gate_error < 0.03
    lif = dataclasses.replace(attention, neuron=Neuron("lif"))
    assert lif.neuron is not None
    made = quantize_attention(lif, unit=40 / (1 << 17), low=-(1 << 17), high=(1 << 17) - 1, count=64 * 14 * 14)
    assert made.margin < 2 * lif.neuron.threshold / 4  # H is counted times tau
    assert made.leak * 2 == 1 << made.score_shift  # tau 2 is exact


def test_a_threshold_beyond_reach_never_fires() -> None:
    attention = Attention("time", np.full((1, 4), 0.1), np.full((4, 1), 0.1), Neuron("lif", threshold=1e6))
    made = quantize_attention(attention, unit=1.0, low=-8, high=7, count=4)
    assert made.threshold == OPERAND_MAX
    assert not integer_gates(np.full((1, 4, 1, 2, 2), 7), made).any()


def test_attention_without_weights() -> None:
    """Scores of 0: gates of a half."""
    attention = Attention("time", np.zeros((1, 4)), np.zeros((4, 1)))
    made = quantize_attention(attention, unit=1.0, low=-8, high=7, count=4)
    assert np.abs(integer_gates(np.full((1, 4, 1, 2, 2), 7), made) - GATE_ONE // 2).max() <= 1


def plain_integer_gates(x: np.ndarray, at: IntegerAttention) -> list[int]:
    """The integer contract for one image with numbers of any size."""
    parts = x if at.axis == "time" else x.swapaxes(0, 1)
    sums = [sum(part.ravel().tolist()) >> at.average_shift for part in parts]
    peaks = [max(part.ravel().tolist()) >> at.max_shift for part in parts]
    hidden = []
    for average, largest in zip(at.first_average.tolist(), at.first_max.tolist(), strict=True):
        of_sums = max(0, sum(w * v for w, v in zip(average, sums, strict=True))) >> at.hidden_average_shift
        of_peaks = max(0, sum(w * v for w, v in zip(largest, peaks, strict=True))) >> at.hidden_max_shift
        hidden.append(of_sums + of_peaks)
    result, v = [], 0
    for row in at.second.tolist():
        h = (at.leak * v + sum(w * value for w, value in zip(row, hidden, strict=True))) >> at.score_shift
        if at.kind == "lif":
            result.append(GATE_ONE * (h >= at.threshold))
            v = 0 if h >= at.threshold else h
        else:
            entry = SIGMOID_TABLE[min(h if h >= 0 else -1 - h, len(SIGMOID_TABLE) - 1)]
            result.append(GATE_ONE // 2 + (entry if h >= 0 else -entry))
    return result


@pytest.mark.parametrize("seed", range(20))
def test_integer_gates_are_the_contract(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis = AXES[seed % 2]
    neuron = random_neuron(rng) if seed % 4 > 1 else None
    attention, x, unit, low, high = random_case(rng, axis, neuron)
    made = quantize_attention(attention, unit=unit, low=low, high=high, count=x[0].size // attention.size)
    assert [plain_integer_gates(image, made) for image in x] == integer_gates(x, made).tolist()


@pytest.mark.parametrize("kind", ["sigmoid", "lif"])
def test_extremes_do_not_wrap(kind) -> None:
    """All weights, all operands and 256 channels at their ends, through the largest sums there are."""
    size, hidden = 256, 64
    full = np.full((hidden, size), OPERAND_MAX)
    made = IntegerAttention("channel", kind, full, full, -full.T, 20, 8, 24, 24, 22, threshold=-OPERAND_MAX)
    x = np.full((1, 1, size, 64, 64), (1 << 23) - 1)
    demand_ranges(made, 0, (1 << 23) - 1, 64 * 64)
    assert plain_integer_gates(x[0], made) == integer_gates(x, made)[0].tolist()


def test_ranges_are_demanded() -> None:
    one = np.ones((1, 2), np.int64)
    made = IntegerAttention("time", "lif", one, one, 500 * one.T, threshold=20000)
    demand_ranges(made, -4, 4, 4)
    for change, low, what in (
        ({}, -9000, "the shifted sum of X may be -36000 to 16"),
        ({"average_shift": 3}, -40000, "the shifted maximum of X may be -40000 to 4"),
        ({"first_average": 1024 * one}, -4, "a hidden value may be 0 to 32776"),
        ({"first_average": 2 * one}, -4, "a membrane may be 0 to 36000"),
        ({"leak": 1}, -4, "a membrane may be 0 to 39999"),
    ):
        with pytest.raises(NetworkError, match=what):
            demand_ranges(dataclasses.replace(made, **change), low, 4, 4)


def test_sigmoid_table() -> None:
    index = np.arange(-700, 700)
    table = sigmoid_gates(index)
    exact = 1 / (1 + np.exp(-(index + 0.5) / 64))
    assert np.abs(table / GATE_ONE - exact).max() <= 1 / (2 * GATE_ONE) + 1e-9
    assert (table + table[::-1] == GATE_ONE).all()
    assert (table.min(), table.max()) == (0, GATE_ONE)
    assert max(SIGMOID_TABLE) < 1 << 8


def test_apply_gates() -> None:
    x = np.array([-5, -1, 0, 1, 255, 1000]).reshape(1, 6, 1, 1, 1)
    at_half = apply_gates(x, np.full((1, 6), 128), "time").ravel()
    assert at_half.tolist() == [0, 0, 0, 0, 127, 500]
    assert apply_gates(x, np.full((1, 1), 256), "channel").ravel().tolist() == [0, 0, 0, 1, 255, 1000]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "space"}, "axis must be 'time' or 'channel', not 'space'"),
        ({"second": np.ones((3, 1))}, r"first \[R, A\] and second \[A, R\], not \[1, 4\], \[3, 1\]"),
        ({"first": np.full((1, 4), np.nan)}, "NaN or infinite"),
        ({"neuron": Neuron(reset="soft")}, "hard reset and one threshold"),
    ],
)
def test_refuses_bad_attention(change, message: str) -> None:
    good = Attention("time", np.ones((1, 4)), np.ones((4, 1)))
    with pytest.raises(NetworkError, match=message):
        dataclasses.replace(good, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "step"}, "unknown axis 'time' or kind 'step'"),
        ({"second": np.ones((4, 1))}, "second must be integers"),
        ({"first_max": np.full((1, 4), 1 << 15)}, "first_max must be integers of -32767 to 32767"),
        ({"score_shift": 64}, "score_shift must be 0 to 63, not 64"),
        ({"threshold": 1 << 15}, "threshold must be -32767 to 32767"),
        ({"leak": 4}, "a sigmoid has none"),
    ],
)
def test_refuses_bad_integers(change, message: str) -> None:
    one = np.ones((1, 4), np.int64)
    good = IntegerAttention("time", "sigmoid", one, one, one.T)
    with pytest.raises(NetworkError, match=message):
        dataclasses.replace(good, **change)


def test_refuses_what_it_cannot_quantise() -> None:
    attention = Attention("time", np.full((1, 4), 300.0), np.full((4, 1), 300.0))
    with pytest.raises(NetworkError, match="its gate would have no precision"):
        quantize_attention(attention, unit=1.0, low=-(1 << 20), high=1 << 20, count=4)
    with pytest.raises(NetworkError, match="needs unit > 0"):
        quantize_attention(attention, unit=0.0, low=0, high=1, count=4)
    with pytest.raises(NetworkError, match="made for 4 steps, but X has 3"):
        gates(np.zeros((1, 3, 1, 1, 1)), attention)


def test_words_and_clocks() -> None:
    first = np.arange(8).reshape(2, 4)
    made = IntegerAttention("channel", "lif", first, first + 10, -first.T, 1, 2, 3, 4, 5, leak=9, threshold=-1)
    assert attention_words(made) == [
        3 | 1 << 8 | 1 << 14 | 1 << 15, 0xFFFF, 1, 2, 3, *range(8), 4, *range(10, 18), 5,
        0, 0xFFFC, 9, 0xFFFF, 0xFFFB, 9, 0xFFFE, 0xFFFA, 9, 0xFFFD, 0xFFF9, 9,
    ]  # fmt: skip
    config = CoreConfig(stream_width=16)
    tasks = 4 * (1 + 1 + 6) + 4 * (1 + 2 + 6) + 2 * (4 + 3 + 6) + 2 * (4 + 4 + 6) + 4 * (3 + 5 + 6)
    assert gate_clocks(made, config) == 9 + tasks
    by_time = dataclasses.replace(made, axis="time")
    assert gate_clocks(by_time, config) == 9 + tasks + 2 * 4 * (config.neuron_units - 1)


@pytest.mark.parametrize(
    ("size", "change", "high", "count", "message"),
    [
        (4, {"steps": 3}, 1, 1, "4 steps of its attention, this core takes 3"),
        (4, {"hidden": 1}, 1, 1, "2 hidden values of its attention, this core takes 1"),
        (4, {"count_bits": 4}, 1, 17, "17 values in a sum of its attention, this core takes 16"),
        (8, {"weight_depth": 16}, 1, 1, "63 words of its attention, this core takes 16"),
        (4, {}, 1 << 15, 1, "32768 as the largest X of its attention, this core takes 32767"),
    ],
)
def test_refuses_what_the_unit_has_no_room_for(size: int, change, high: int, count: int, message: str) -> None:
    one = np.ones((2, size), np.int64)
    made = IntegerAttention("time", "sigmoid", one, one, one.T)
    with pytest.raises(CompileError, match=f"layer 'b1': {message}"):
        check_fits("b1", made, 0, high, count, CoreConfig(stream_width=16), AttentionConfig(**change))


def test_refuses_sizes() -> None:
    with pytest.raises(ConfigError, match="steps must be 1 to 256, not 0"):
        AttentionConfig(steps=0)
    with pytest.raises(ConfigError, match="weight_depth must be at least 16, not 8"):
        AttentionConfig(weight_depth=8)
