"""The trace: windows, packing, and rows that replay to what the golden model computed."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import RunTiming, run_timing
from refmodel.errors import CompileError
from refmodel.golden import GoldenResult
from refmodel.layout import ArrayOp, LoadKind, probe_fields
from refmodel.program import Program
from refmodel.trace import describe, differing_fields, run_trace, trace_words
from tests.random_networks import random_input, random_quantized_network
from tests.sim.shapes import SHAPES

CASES = [(shape, seed) for shape in ("k2p8", "k1p4t2", "k8p8t8") for seed in range(2)]


@dataclasses.dataclass
class Run:
    program: Program
    timing: RunTiming
    result: GoldenResult
    x: NDArray[np.int64]


@functools.cache
def run_of(shape: str, seed: int, membrane_width: int = 24) -> Run:
    config: CoreConfig = dataclasses.replace(
        SHAPES[shape], spike_depth=4096, store_depth=4096, membrane_width=membrane_width
    )
    rng = np.random.default_rng(seed)
    while True:
        steps = int(rng.integers(1, 2 * config.time_lanes + 2))
        net = random_quantized_network(rng, steps=steps, sizes=(2, 3), max_layers=3, max_fan_in=80, input_bits=(1, 2))
        try:
            program = compile_network(net, config)
        except CompileError:
            continue
        x = random_input(rng, net, 2)
        result = golden.run(net, x, keep=True)
        return Run(program, run_timing(program, result.tensors, keep=True), result, x)


def unpacked(run: Run, image: int) -> list[dict[str, int]]:
    """The whole trace from clock 0 on, each row taken apart here."""
    fields = probe_fields(run.program.config)
    rows = []
    for row in run_trace(run.timing, run.result, image, start=0):
        value = sum(int(word) << 32 * i for i, word in enumerate(row))
        rows.append({f.name: value >> f.offset & ((1 << f.width) - 1) for f in fields})
    return rows


@pytest.mark.parametrize("case", CASES)
def test_windows_are_slices_of_the_whole(case: tuple[str, int]) -> None:
    run = run_of(*case)
    for image in range(2):
        whole = run_trace(run.timing, run.result, image, start=0)
        assert whole.shape == (run.timing.clocks[image] + 1, trace_words(run.program.config))
        assert not whole[0].any()  # the clock of the start pulse, which the default leaves out
        assert np.array_equal(run_trace(run.timing, run.result, image), whole[1:])
        rng = np.random.default_rng(image)
        for _ in range(8):
            start, stop = sorted(rng.integers(0, len(whole) + 1, 2).tolist())
            assert np.array_equal(run_trace(run.timing, run.result, image, start, stop), whole[start:stop])
        assert np.array_equal(run_trace(run.timing, run.result, image, 3, len(whole) + 99), whole[3:])


@pytest.mark.parametrize("case", CASES)
def test_writes_leave_the_golden_tensors_in_memory(case: tuple[str, int]) -> None:
    run = run_of(*case)
    program, config = run.program, run.program.config
    tp, lanes = config.time_lanes, config.output_lanes
    rows = unpacked(run, 1)
    memory: dict[int, int] = {}
    writes = iter([(row["write_addr"], row["write_data"]) for row in rows if row["write_valid"]])
    infos = program.network.tensors()
    for op in program.ops[:-1]:
        name = op.layer.name
        buffer, (channels, height, width) = program.buffers[name], infos[name].shape
        for _ in range(op.groups * height * width * program.chunks * op.out_planes):
            where, word = next(writes)
            memory[where] = word
        tensor = run.result.tensors[name][1]  # [T, C, H, W]
        for plane in range(op.out_planes):
            for t, c, y, x in np.ndindex(*tensor.shape):
                where = buffer.base + t // tp * buffer.chunk_step + plane * buffer.plane_step
                word = memory[where + (y * width + x) * buffer.groups + c // lanes]
                assert word >> (c % lanes * tp + t % tp) & 1 == int(tensor[t, c, y, x]) >> plane & 1
        assert channels == tensor.shape[1]
    assert next(writes, None) is None


@pytest.mark.parametrize("case", CASES)
def test_events_add_up_to_the_membranes(case: tuple[str, int]) -> None:
    """Replay events and array ops with the image's weights: every sum is what the neurons were charged with."""
    run = run_of(*case)
    program, config = run.program, run.program.config
    rows, bits = unpacked(run, 0), config.weight_bits
    lanes, tp, units = config.output_lanes, config.time_lanes, config.neuron_units
    for slab, start, end in zip(program.slabs, run.timing.start, run.timing.end, strict=True):
        weights = np.zeros((config.event_lanes, slab.op.weights, lanes), np.int64)
        for k, n, p in np.ndindex(*weights.shape):
            field = program.image[slab.address + 1 + k * slab.op.weights + n] >> p * bits & ((1 << bits) - 1)
            weights[k, n, p] = field - (field >> (bits - 1) << bits)
        acc, sums = np.zeros((lanes, tp), np.int64), []
        for row in rows[int(start[0]) : int(end[0]) + 1]:
            for k in range(config.event_lanes):
                if row[f"event{k}_valid"]:
                    mask = row[f"event{k}_mask"] >> np.arange(tp) & 1
                    acc = acc + np.outer(weights[k, row[f"event{k}_weight"]], mask)
            if row["array_op"] == ArrayOp.DRAIN:
                sums.append(acc)
                acc = np.zeros_like(acc)
            acc = acc * 2 if row["array_op"] == ArrayOp.SHIFT else acc
        slots = [row for row in rows[int(start[0]) : int(end[0]) + 1] if row["neuron_valid"]]
        assert len(slots) == len(sums) * config.slots_per_chunk
        layer = slab.op.layer
        if layer.shortcut is not None and layer.current is not None:
            continue
        bias = np.zeros(lanes, np.int64)
        if layer.bias is not None:
            part = layer.bias[slab.group * lanes : (slab.group + 1) * lanes]
            bias[: len(part)] = part
        wide = config.membrane_width
        for number, charge in enumerate(sums):  # in the first step of a tile the membrane is sum + bias
            if layer.kind == "readout" or number % program.chunks:
                continue
            for index in range(config.slots_per_step):
                row = slots[number * config.slots_per_chunk + index]
                for u in range(units):
                    raw = row[f"neuron{u}_membrane"]
                    lane = index * units + u
                    assert raw - (raw >> (wide - 1) << wide) == charge[lane, 0] + bias[lane]
        if layer.kind == "readout":
            totals = np.sum(sums, axis=0).sum(axis=1) + bias
            count = min(lanes, slab.op.out.shape[0] - slab.group * lanes)
            expected = run.result.results[0, slab.group * lanes : slab.group * lanes + count]
            assert totals[:count].tolist() == expected.tolist()


@pytest.mark.parametrize("case", CASES)
def test_every_store_word_is_loaded_once(case: tuple[str, int]) -> None:
    run = run_of(*case)
    program, rows = run.program, unpacked(run, 0)
    loads = [(row["load_kind"], row["load_addr"]) for row in rows if row["load_kind"]]
    expected = []
    for slab in program.slabs:
        at = slab.address + 1
        weights = program.config.event_lanes * slab.op.weights
        rest = program.slab_words(slab) - 1 - weights - program.config.output_lanes
        for kind, count in (
            (LoadKind.WEIGHT, weights), (LoadKind.PARAM, program.config.output_lanes), (LoadKind.DESCRIPTOR, rest)
        ):  # fmt: skip
            expected += [(kind, at + i) for i in range(count)]
            at += count
    assert loads == expected
    assert [clock for clock, row in enumerate(rows) if row["done"]] == [run.timing.clocks[0]]


@pytest.mark.parametrize("width", [28, 32, 48])
@pytest.mark.parametrize("shape", ["k2p8", "k1p4t2"])
def test_membranes_of_any_width(shape: str, width: int) -> None:
    """The same network on a core with wider membranes shows the same membranes."""

    def membranes(width: int) -> list[int]:
        run = run_of(shape, 0, width)
        fields = [f"neuron{u}_membrane" for u in range(run.program.config.neuron_units)]
        shown = [row[name] for row in unpacked(run, 0) if row["neuron_valid"] for name in fields]
        return [value - (value >> (width - 1) << width) for value in shown]

    assert min(membranes(24)) < 0
    assert membranes(width) == membranes(24)


def test_describe_and_compare_rows() -> None:
    run = run_of(*CASES[0])
    config, rows = run.program.config, run_trace(run.timing, run.result, 0, start=0)
    for row, fields in zip(rows, unpacked(run, 0), strict=True):
        assert describe(config, row) == {name: value for name, value in fields.items() if value}
    row = rows[len(rows) // 2]
    assert differing_fields(config, row, row) == []
    for field in probe_fields(config):
        for bit in (field.offset, field.offset + field.width - 1):
            other = row.copy()
            other[bit // 32] ^= np.uint32(1 << bit % 32)
            assert differing_fields(config, row, other) == [field]
