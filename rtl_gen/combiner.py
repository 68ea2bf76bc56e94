"""Spike combiner: SEW's element-wise functions on spike words, one bit-plane a clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.layout import CombineOp


class SpikeCombiner(wiring.Component):
    """g(A, S) of a layer's spikes A and the shortcut S (SEW paper, table 1), bit by bit.

    ADD is a ripple of half adders through the bit-planes of S: plane a of the sum is
    S_a xor C_a and C_{a+1} = S_a and C_a, with C_0 = A; so counts of any width take no more
    logic than one plane.  AND = A*S, IAND = (1-A)*S, OR = A+S-A*S take a single plane.
    Without a shortcut S is 0 and ADD passes A.

    Members
    -------
    op: :class:`refmodel.layout.CombineOp`.
    carry: A in plane 0, then the previous plane's ``carry_out``.
    shortcut: the shortcut's plane.
    out, carry_out: the result's plane, and the carry into the next (combinational).
    """

    def __init__(self, *, width: int):
        self._width = width
        super().__init__(
            {
                "op": In(2),
                "carry": In(width),
                "shortcut": In(width),
                "out": Out(width),
                "carry_out": Out(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        own, shortcut = self.carry, self.shortcut
        m.d.comb += self.carry_out.eq(own & shortcut)
        result = Signal(self._width)
        with m.Switch(self.op):
            with m.Case(CombineOp.ADD):
                m.d.comb += result.eq(own ^ shortcut)
            with m.Case(CombineOp.AND):
                m.d.comb += result.eq(own & shortcut)
            with m.Case(CombineOp.IAND):
                m.d.comb += result.eq(~own & shortcut)
            with m.Case(CombineOp.OR):
                m.d.comb += result.eq(own | shortcut)
        m.d.comb += self.out.eq(result)
        return m
