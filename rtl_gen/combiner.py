"""Spike combiner: SEW's element-wise functions on spike words, one bit-plane a clock."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class CombinerPlane(IntEnum):
    """What a plane of the result is made of; as :class:`refmodel.layout.CombineOp`, but IAND is AND of 1-A."""

    ADD = 0
    AND = 1
    PASS = 2  #: no shortcut, or beyond its planes
    OR = 3


class SpikeCombiner(wiring.Component):
    """g(A, S) of a layer's spikes A and the shortcut S (SEW paper, table 1), bit by bit: two LUTs a bit.

    ADD is a ripple of half adders through the bit-planes of S: plane a of the sum is
    S_a xor C_a and C_{a+1} = S_a and C_a, with C_0 = A; so counts of any width take no more
    logic than one plane.  AND = A*S and OR = A+S-A*S take a single plane; IAND = (1-A)*S is AND where 1-A comes
    for A.  PASS is C_a, the carry beyond the last plane of S.

    Members
    -------
    plane: :class:`CombinerPlane`.
    carry: A in plane 0, then the previous plane's ``carry_out``.
    shortcut: the shortcut's plane.
    out, carry_out: the result's plane, and the carry into the next (combinational).
    """

    def __init__(self, *, width: int):
        self._width = width
        super().__init__(
            {
                "plane": In(2),
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
        with m.Switch(self.plane):
            with m.Case(CombinerPlane.ADD):
                m.d.comb += self.out.eq(own ^ shortcut)
            with m.Case(CombinerPlane.AND):
                m.d.comb += self.out.eq(own & shortcut)
            with m.Case(CombinerPlane.PASS):
                m.d.comb += self.out.eq(own)
            with m.Case(CombinerPlane.OR):
                m.d.comb += self.out.eq(own | shortcut)
        return m
