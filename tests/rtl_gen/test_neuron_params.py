"""Parameters of several units: each unit reads its own, in the portable form and in iCE40's."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from rtl_gen.neuron_params import NeuronParams, early_threshold_bits


@pytest.mark.parametrize("platform", [None, "icebreaker"])
@pytest.mark.parametrize(("sums", "membrane"), [(11, 18), (13, 22), (12, 16)])
def test_every_unit_reads_its_own(platform, sums, membrane):
    base = get_board("icebreaker").core
    config = replace(base, neuron_units=2, acc_width=sums, membrane_width=membrane, leak_terms=0)
    assert early_threshold_bits(config) == {18: 2, 22: 6, 16: 0}[membrane]
    params = NeuronParams(config=config, units=2)
    rng = random.Random(1)
    half, most = 1 << (sums - 1), 1 << (membrane - 1)
    lanes = config.output_lanes // 2
    words = {}

    async def bench(ctx):
        for which in (0, 1):
            for lane in range(lanes):
                for unit in (0, 1):
                    word = (rng.randrange(-half, half), rng.randrange(-half, half), rng.randrange(-most, most))
                    words[which, lane, unit] = word
                    ctx.set(params.write_en, 1 << unit)
                    ctx.set(params.write_half, which)
                    ctx.set(params.write_index, lane)
                    ctx.set(params.write_data.bias, word[0])
                    ctx.set(params.write_data.bias_shortcut, word[1])
                    ctx.set(params.write_data.threshold, word[2])
                    await ctx.tick()
        ctx.set(params.write_en, 0)
        for (which, lane, unit), (bias, shortcut, threshold) in words.items():
            ctx.set(params.run_half, which)
            ctx.set(params.ahead, lane)
            ctx.set(params.later, lane)
            await ctx.tick().repeat(8)
            assert ctx.get(params.bias[unit]) == bias and ctx.get(params.bias_shortcut[unit]) == shortcut
            assert ctx.get(params.not_threshold[unit]) == ~threshold & (2 * most - 1)

    sim = Simulator(Fragment.get(params, platform and get_board(platform).platform()))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
