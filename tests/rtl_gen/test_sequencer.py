"""The sequencer with a store of random slabs and a processor that takes random times."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from amaranth.vendor import LatticeICE40Platform

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.layout import (
    LOAD_OVERHEAD,
    START_FIELDS,
    LoadKind,
    descriptor_bits,
    descriptor_fields,
    descriptor_image,
    descriptor_words,
    engine_start,
    header_fields,
    pack,
)
from rtl_gen.sequencer import LayerSequencer
from rtl_gen.store import store_latency
from tests.sim.shapes import SHAPES

CONFIGS = {name: SHAPES[name] for name in ("k2p8", "k1p4t2", "k8p8t8")}
CONFIGS |= {name: SHAPES[name] for name in ("k2p8e2", "k4p16e4")}
CONFIGS["attention"] = replace(SHAPES["k2p8"], stream_width=12, attention=AttentionConfig(weight_depth=32))


class _Ice40(LatticeICE40Platform):
    device, package, resources, connectors, default_clk = "iCE40HX8K", "CT256", (), (), None


PLATFORMS = {"portable": None, "ice40": _Ice40()}


@dataclass
class Slab:
    """Random store words; ``weights`` an event lane."""

    header: int
    weights: list[list[int]]
    params: list[int]
    attention: list[int]
    descriptors: list[dict[str, int]]  # as each engine sees it
    words: list[int]


def random_slab(rng: random.Random, config: CoreConfig) -> Slab:
    count = rng.choice([1, 2, rng.randrange(1, 30)])
    width = config.store_width
    weights = [[rng.getrandbits(width) for _ in range(count)] for _ in range(config.event_lanes)]
    params = [rng.getrandbits(width) for _ in range(config.output_lanes)]
    fields = descriptor_fields(config)
    packed = rng.getrandbits(descriptor_bits(config))
    values = {f.name: packed >> f.offset & ((1 << f.width) - 1) for f in fields}
    others = [
        {f.name: rng.getrandbits(f.width) for f in fields if f.name in START_FIELDS} for _ in range(config.engines - 1)
    ]
    split = descriptor_image(config, values, tuple({**values, **other} for other in others))
    assert len(split) == descriptor_words(config)
    attention: list[int] = []
    if config.attention is not None:
        most = 1 << config.attention.weight_bits
        attention = [rng.getrandbits(width) for _ in range(rng.choice([0, 1, 2, rng.randrange(most), most]))]
    sizes = {"weights_last": count - 1} | ({"attention_words": len(attention)} if attention else {})
    # What an end header means does not matter in another one, and the other way round.
    header = pack(header_fields(config), sizes) | rng.choice([0, classes_mask(config)])
    words = [header, *(w for lane in weights for w in lane), *params, *attention, *split]
    return Slab(header, weights, params, attention, [values, *(values | other for other in others)], words)


def classes_mask(config: CoreConfig) -> int:
    field = next(f for f in header_fields(config) if f.name == "classes_last")
    return ((1 << field.width) - 1) << field.offset


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", CONFIGS)
def test_programs(name: str, platform: str) -> None:
    config, rng = CONFIGS[name], random.Random(name)
    dut = LayerSequencer(config=config)
    latency = store_latency(config, PLATFORMS[platform])
    pipe = [0] * latency  # words on their way out of the store, the last one is seen
    waits = 0

    def garbage() -> int:
        return rng.getrandbits(config.store_width)

    async def run(ctx, slabs: list[Slab], classes: int, run_times: list[int]) -> None:
        nonlocal waits
        end = pack(header_fields(config), {"end": 1, "classes_last": classes - 1})
        image = [word for slab in slabs for word in slab.words] + [end]
        assert len(image) <= config.store_depth
        loads: list[tuple] = []  # kind, half, lane or index, weight, store word
        starts: list[tuple[int, int]] = []  # clock, half that computes
        engine_starts: list[tuple[int, int]] = []  # engine, clock
        clock, idle_from, scan_at, load_rows = 0, 0, None, []
        ctx.set(dut.start, 1)
        while True:
            assert ctx.get(dut.busy) == (clock > 0)
            idle = clock >= idle_from
            ctx.set(dut.slab_idle, idle)
            ctx.set(dut.scanned, scan_at is not None and clock == scan_at + classes + 1)
            address, kind = ctx.get(dut.store_addr), ctx.get(dut.load_kind)
            word = ctx.get(dut.store_data)
            assert ctx.get(dut.param_en) == (kind == LoadKind.PARAM)
            if kind != LoadKind.NONE:
                load_rows.append((clock, kind, ctx.get(dut.load_addr)))
                assert image[load_rows[-1][2]] == word
                half = ctx.get(dut.load_half)
                if kind == LoadKind.WEIGHT:
                    loads.append(("weight", half, ctx.get(dut.weight_lane), ctx.get(dut.weight_addr), word))
                elif kind == LoadKind.PARAM:
                    loads.append(("param", half, ctx.get(dut.param_index), 0, word))
                elif kind == LoadKind.ATTENTION:
                    loads.append(("attention", half, ctx.get(dut.word_index), 0, word))
                else:
                    assert idle, "the descriptor of a slab that runs must stay"
            if kind != LoadKind.WEIGHT:
                assert ctx.get(dut.weight_lane) == 0
            starting = ctx.get(dut.slab_start if config.engines == 1 else dut.engine_starts)
            if starting:
                assert idle and starting.bit_count() == 1
                engine = starting.bit_length() - 1
                engine_starts.append((engine, clock))
                wanted = slabs[len(starts)].descriptors[engine]
                widths = {f.name: f.width for f in descriptor_fields(config) if f.name != "spare"}
                shown = {n: ctx.get(getattr(dut.descriptor, n)) % (1 << width) for n, width in widths.items()}
                assert shown == {name: wanted[name] for name in shown}
            if ctx.get(dut.slab_start):
                assert idle
                starts.append((clock, ctx.get(dut.run_half)))
                idle_from = clock + 1 + run_times[len(starts) - 1]
                assert idle_from > clock
            if ctx.get(dut.scan):
                assert idle and scan_at is None and len(starts) == len(slabs)
                assert ctx.get(dut.classes_last) == classes - 1
                scan_at = clock
            done = ctx.get(dut.done)
            if ctx.get(dut.store_en):
                pipe[:] = [image[address] if clock and address < len(image) else garbage(), *pipe[:-1]]
            await ctx.tick()
            clock += 1
            ctx.set(dut.start, rng.random() < 0.3 and not done)  # ignored while busy
            ctx.set(dut.store_data, pipe[-1])
            if done:
                break
            assert clock < 5000
        ctx.set(dut.start, 0)
        assert ctx.get(dut.clocks) == clock - 1
        expected: list[tuple] = []
        for slab, (_, half) in zip(slabs, starts, strict=True):
            for lane, words in enumerate(slab.weights):
                expected += [("weight", half, 1 << lane, i, word) for i, word in enumerate(words)]
            expected += [("param", half, i, 0, word) for i, word in enumerate(slab.params)]
            expected += [("attention", half, i, 0, word) for i, word in enumerate(slab.attention)]
        assert loads == expected
        rows, start, end, address = [], 0, -1, 0
        for slab, (found, _), time in zip(slabs, starts, run_times, strict=True):
            kinds = [LoadKind.WEIGHT] * sum(map(len, slab.weights)) + [LoadKind.PARAM] * config.output_lanes
            kinds += [LoadKind.ATTENTION] * len(slab.attention)
            loaded, words = start + LOAD_OVERHEAD + len(kinds), descriptor_words(config)
            rows += [(start + LOAD_OVERHEAD + i, kind, address + 1 + i) for i, kind in enumerate(kinds)]
            waits += end + 1 > loaded
            start = max(loaded, end + 1) + words + 1
            address += 1 + len(kinds) + words
            rows += [(start - words + i, LoadKind.DESCRIPTOR, address - words + i) for i in range(words)]
            assert found == start
            end = start + time
        assert load_rows == rows
        assert scan_at is not None and scan_at == max(start + LOAD_OVERHEAD, end + 1)
        assert clock - 1 == scan_at + classes + 2
        assert engine_starts == [
            (engine, clock + engine_start(config, engine) - (config.engines > 1))
            for clock, _ in starts
            for engine in range(config.engines)
        ]
        halves = [half for _, half in starts]
        assert all(a != b for a, b in itertools.pairwise(halves))

    async def bench(ctx):
        for count in (1, 3, 7, 2):
            slabs = [random_slab(rng, config) for _ in range(count)]
            times = [rng.choice([2, 3, 40, rng.randrange(200)]) for _ in slabs]
            await run(ctx, slabs, rng.randrange(1, config.result_depth + 1), times)
            for _ in range(rng.randrange(3)):
                assert not ctx.get(dut.busy)
                await ctx.tick()

    sim = Simulator(Fragment.get(dut, PLATFORMS[platform]))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert waits > 2
