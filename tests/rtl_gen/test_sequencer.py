"""The sequencer with a store of random slabs and a processor that takes random times."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator

from refmodel.config import CoreConfig
from refmodel.layout import (
    LoadKind,
    descriptor_bits,
    descriptor_fields,
    descriptor_words,
    header_fields,
    pack,
)
from rtl_gen.sequencer import LayerSequencer
from tests.sim.shapes import SHAPES

CONFIGS = {name: SHAPES[name] for name in ("k2p8", "k1p4t2", "k8p8t8")}
SIGNED = ("origin_x", "origin_y")


@dataclass
class Slab:
    """Random store words; ``weights`` an event lane."""

    header: int
    weights: list[list[int]]
    params: list[int]
    descriptor: dict[str, int]
    words: list[int]


def random_slab(rng: random.Random, config: CoreConfig) -> Slab:
    count = rng.choice([1, 2, rng.randrange(1, 30)])
    width = config.store_width
    weights = [[rng.getrandbits(width) for _ in range(count)] for _ in range(config.event_lanes)]
    params = [rng.getrandbits(width) for _ in range(config.output_lanes)]
    packed = rng.getrandbits(descriptor_bits(config))
    values = {f.name: packed >> f.offset & ((1 << f.width) - 1) for f in descriptor_fields(config)}
    split = [packed >> i * width & ((1 << width) - 1) for i in range(descriptor_words(config))]
    header = pack(header_fields(config), {"weights_last": count - 1})
    words = [header, *(w for lane in weights for w in lane), *params, *split]
    return Slab(header, weights, params, values, words)


@pytest.mark.parametrize("name", CONFIGS)
def test_programs(name: str) -> None:
    config, rng = CONFIGS[name], random.Random(name)
    dut = LayerSequencer(config=config)
    waits = 0

    async def run(ctx, slabs: list[Slab], classes: int, run_times: list[int]) -> None:
        nonlocal waits
        end = pack(header_fields(config), {"end": 1, "classes_last": classes - 1})
        image = [word for slab in slabs for word in slab.words] + [end]
        loads: list[tuple] = []  # kind, half, lane or index, weight, store word
        starts: list[tuple[int, dict[str, int], int]] = []
        clock, idle_from, scan_at = 0, 0, None
        ctx.set(dut.start, 1)
        while True:
            assert ctx.get(dut.busy) == (clock > 0)
            idle = clock >= idle_from
            ctx.set(dut.slab_idle, idle)
            ctx.set(dut.scanned, scan_at is not None and clock == scan_at + classes + 1)
            address, kind = ctx.get(dut.store_addr), ctx.get(dut.load_kind)
            word = ctx.get(dut.store_data)
            if kind != LoadKind.NONE:
                assert image[ctx.get(dut.load_addr)] == word
                half = ctx.get(dut.load_half)
                if kind == LoadKind.WEIGHT:
                    loads.append(("weight", half, ctx.get(dut.weight_lane), ctx.get(dut.weight_addr), word))
                elif kind == LoadKind.PARAM:
                    loads.append(("param", half, ctx.get(dut.param_index), 0, word))
                else:
                    assert idle, "the descriptor of a slab that runs must stay"
            if kind != LoadKind.WEIGHT:
                assert ctx.get(dut.weight_lane) == 0
            if ctx.get(dut.slab_start):
                assert idle
                slab = slabs[len(starts)]
                shown = {name: ctx.get(getattr(dut.descriptor, name)) for name in slab.descriptor}
                widths = {f.name: f.width for f in descriptor_fields(config)}
                shown |= {name: shown[name] % (1 << widths[name]) for name in SIGNED}
                assert shown == slab.descriptor
                starts.append((clock, shown, ctx.get(dut.run_half)))
                idle_from = clock + 1 + run_times[len(starts) - 1]
                assert idle_from > clock
            if ctx.get(dut.scan):
                assert idle and scan_at is None and len(starts) == len(slabs)
                assert ctx.get(dut.classes_last) == classes - 1
                scan_at = clock
            done = ctx.get(dut.done)
            await ctx.tick()
            clock += 1
            ctx.set(dut.start, rng.random() < 0.3 and not done)  # ignored while busy
            ctx.set(dut.store_data, image[address] if address < len(image) else 0)
            if done:
                break
            assert clock < 5000
        ctx.set(dut.start, 0)
        assert scan_at is not None and clock == scan_at + classes + 3
        assert ctx.get(dut.clocks) == clock - 1
        expected: list[tuple] = []
        for slab, (_, _, half) in zip(slabs, starts, strict=True):
            for lane, words in enumerate(slab.weights):
                expected += [("weight", half, 1 << lane, i, word) for i, word in enumerate(words)]
            expected += [("param", half, i, 0, word) for i, word in enumerate(slab.params)]
        assert loads == expected
        # Times: header address, header, weights, parameters, (wait), descriptor, start.
        loaded, idle = 0, 0
        for slab, (start, _, _), time in zip(slabs, starts, run_times, strict=True):
            loaded += 2 + sum(map(len, slab.weights)) + config.output_lanes + 1
            waits += idle > loaded
            assert start == max(loaded, idle) + descriptor_words(config) + 1
            loaded, idle = start, start + 1 + time
        halves = [half for _, _, half in starts]
        assert all(a != b for a, b in itertools.pairwise(halves))

    async def bench(ctx):
        for count in (1, 3, 6, 2):
            slabs = [random_slab(rng, config) for _ in range(count)]
            times = [rng.choice([2, 40, rng.randrange(200)]) for _ in slabs]
            await run(ctx, slabs, rng.randrange(1, config.result_depth + 1), times)
            for _ in range(rng.randrange(3)):
                assert not ctx.get(dut.busy)
                await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert waits > 2
