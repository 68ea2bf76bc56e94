"""Membrane shortcut: the multiplexer through which a shortcut enters the membrane."""

from __future__ import annotations

from amaranth import Module, Mux
from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class MembraneShortcutMux(wiring.Component):
    """Chooses a neuron's constant input: ``bias``, or ``bias_shortcut`` where the shortcut spikes.

    V' = leak(V) + X + R: the shortcut spike S adds a constant current R = S * current to the
    membrane before it fires (the membrane shortcut of the tutorial; Spiking ResNet's
    identity shortcut).  With bias + current stored beside bias, that is one 2:1 multiplexer.

    Members
    -------
    enable: the slab uses a membrane shortcut.
    shortcut: the shortcut's spike for this neuron and step.
    bias, bias_shortcut: the two constants.
    constant: the chosen one (combinational).
    """

    def __init__(self, *, width: int):
        self._width = width
        super().__init__(
            {
                "enable": In(1),
                "shortcut": In(1),
                "bias": In(signed(width)),
                "bias_shortcut": In(signed(width)),
                "constant": Out(signed(width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += self.constant.eq(Mux(self.enable & self.shortcut, self.bias_shortcut, self.bias))
        return m
