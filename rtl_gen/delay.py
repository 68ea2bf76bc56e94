"""Registers in a row."""

from __future__ import annotations

from amaranth import Module, Signal


def delayed(m: Module, value: Signal, clocks: int, name: str, *, reset_less: bool = True) -> Signal:
    """``value`` as it was ``clocks`` clocks ago."""
    for stage in range(clocks):
        late = Signal.like(value, name=f"{name}_{stage + 1}", reset_less=reset_less)
        m.d.sync += late.eq(value)
        value = late
    return value
