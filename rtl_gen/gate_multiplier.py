"""Gate multiplier: a neuron's input times its attention gate."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS
from refmodel.errors import ConfigError


class GateMultiplier(wiring.Component):
    """X' = relu((X * gate) >> 8), gate 0 to 256 (SynA-ResNet: relu(gate * X)); X itself without ``enable``.

    One value a clock, no back pressure.  The product goes from register to register alone, for DSP blocks.

    Parameters
    ----------
    width: bits of X, signed.
    gated_width: bits that an X with ``enable`` fits, 2 to ``width``; None is ``width``.

    Members
    -------
    value: X.  gate: its gate.  enable: gate it; at the same clock as both.
    result: X', ``LATENCY`` clocks later.

    Raises
    ------
    ConfigError: a ``gated_width`` out of range.
    """

    LATENCY = 1

    def __init__(self, *, width: int, gated_width: int | None = None):
        self._width = width
        self._gated_width = width if gated_width is None else gated_width
        if not 2 <= self._gated_width <= width:
            raise ConfigError(f"a GateMultiplier gates 2 to width={width} bits, not {self._gated_width}")
        super().__init__(
            {"value": In(signed(width)), "gate": In(GATE_BITS), "enable": In(1), "result": Out(signed(width))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        narrow = self._gated_width
        gate = Signal(signed(GATE_BITS + 1))
        product = Signal(signed(narrow + GATE_BITS), reset_less=True)
        passed, gated = Signal(signed(self._width), reset_less=True), Signal(reset_less=True)
        m.d.comb += [
            gate.eq(self.gate),
            self.result.eq(Mux(gated, Mux(passed[-1], 0, product >> (GATE_BITS - 1)), passed)),
        ]
        m.d.sync += [
            product.eq(self.value[:narrow].as_signed() * gate),
            passed.eq(self.value),
            gated.eq(self.enable),
        ]
        return m
