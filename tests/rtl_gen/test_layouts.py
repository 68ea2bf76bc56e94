"""The gateware's layouts against the fields of ``refmodel.layout``."""

from __future__ import annotations

import random

import pytest
from amaranth import Module, Signal
from amaranth.lib import data
from amaranth.sim import Simulator

from refmodel import layout
from refmodel.config import CoreConfig
from rtl_gen import layouts
from tests.sim.shapes import SHAPES

WORDS = {
    "descriptor": (layouts.descriptor_layout, layout.descriptor_fields),
    "param": (layouts.param_layout, layout.param_fields),
    "header": (layouts.header_layout, layout.header_fields),
    "probe": (layouts.probe_layout, layout.probe_fields),
}
SIGNED = {"origin_x", "origin_y", "slack_y", "threshold", "bias", "bias_shortcut"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("word", WORDS)
def test_same_fields_at_the_same_bits(word: str, shape: str) -> None:
    make_layout, make_fields = WORDS[word]
    struct, fields = make_layout(SHAPES[shape]), make_fields(SHAPES[shape])
    assert [name for name, _ in struct] == [f.name for f in fields]
    for name, field in struct:
        expected = next(f for f in fields if f.name == name)
        assert (field.offset, field.width) == (expected.offset, expected.width)
    assert struct.size == sum(f.width for f in fields)


@pytest.mark.parametrize("word", ["descriptor", "param"])
def test_reads_back_what_the_compiler_packs(word: str) -> None:
    make_layout, make_fields = WORDS[word]
    config = SHAPES["k2p8"]
    fields, rng = make_fields(config), random.Random(1)
    view = Signal(make_layout(config))

    async def bench(ctx):
        for _ in range(50):
            values = {}
            for f in fields:
                low = -(1 << (f.width - 1)) if f.name in SIGNED else 0
                values[f.name] = rng.choice([low, low + (1 << f.width) - 1, rng.randrange(low, low + (1 << f.width))])
            ctx.set(view.as_value(), layout.pack(fields, values))
            assert {f.name: ctx.get(getattr(view, f.name)) for f in fields} == values

    sim = Simulator(_with(view))
    sim.add_testbench(bench)
    sim.run()


def _with(view: data.View) -> Module:
    """A module that uses ``view``, so that there is something to simulate."""
    m = Module()
    m.d.comb += Signal.like(view.as_value()).eq(view.as_value())
    return m


def test_words_between_the_parts() -> None:
    config = CoreConfig(event_lanes=2, output_lanes=8, time_lanes=4, bank_depth=128, spike_depth=1024)
    tag = 5  # 128 weights, 4 channels a word
    assert layouts.row_bits(config) == 8  # rows of 4 words
    assert layouts.item_layout(config).size == 8 + 4 + tag + 2 + 1
    assert layouts.event_layout(config).size == 1 + (tag + 2) + 4
    assert layouts.bundle_layout(config).size == 2 * layouts.event_layout(config).size + 2
    assert layouts.load_layout(config).size == 1 + 14 + 64
