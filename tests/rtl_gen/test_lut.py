"""Functions of one LUT: plain logic, and what an SB_LUT4 and a LUT4 are told."""

from __future__ import annotations

from itertools import product

import pytest
from amaranth import Module, Signal
from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from boards.registry import get_board
from rtl_gen.lut import one_lut

FUNCTIONS = {
    2: lambda a, b: a & (1 ^ b),
    3: lambda a, b, c: (a & b) | (1 ^ c),
    4: lambda a, b, c, d: (a & (b ^ c)) | (1 ^ d),
}


@pytest.mark.parametrize("inputs", FUNCTIONS)
def test_plain(inputs: int) -> None:
    m, pins = Module(), Signal(inputs)
    out = one_lut(m, None, "out", FUNCTIONS[inputs], *pins)

    async def bench(ctx):
        for bits in product((0, 1), repeat=inputs):
            ctx.set(pins, sum(bit << place for place, bit in enumerate(bits)))
            assert ctx.get(out) == FUNCTIONS[inputs](*bits)

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("inputs", FUNCTIONS)
@pytest.mark.parametrize(("board", "parameter"), [("icebreaker", r"\LUT_INIT"), ("ulx3s_85f", r"\INIT")])
def test_a_vendors_cell(board: str, parameter: str, inputs: int) -> None:
    platform = get_board(board).platform()
    m, pins = Module(), Signal(inputs)
    out = one_lut(m, platform, "out", FUNCTIONS[inputs], *pins)
    text = rtlil.convert(Fragment.get(m, platform), name="top", ports=[pins, out], emit_src=False)
    (init,) = [line.split("'")[1] for line in text.splitlines() if f"parameter {parameter} " in line]
    for bits in product((0, 1), repeat=4):
        row = sum(bit << place for place, bit in enumerate(bits))
        assert int(init[-1 - row]) == FUNCTIONS[inputs](*bits[:inputs])
