"""Leak: V - (V >> a) - (V >> b), or (V * m) >> f, in the two clocks before V is stored."""

from __future__ import annotations

from typing import Any

from amaranth import Const, Module, Mux, Signal, Value, signed

from refmodel.config import CoreConfig

from .carry import minus_choice, on_ecp5


def first_shift(value: Value, term: Value, config: CoreConfig) -> Value:
    """``value`` >> 1 or >> 2, 0 if the term is off: the first half of a shift by 1 to 4."""
    shifted = value >> 1
    if config.leak_shift_max > 1:
        shifted = Mux(term.by[0], value >> 2, shifted)
    return Mux(term.on, shifted, 0)


def second_shift(value: Value, term: Value, config: CoreConfig) -> Value:
    """``value`` or ``value`` >> 2: the second half."""
    return Mux(term.by[1], value >> 2, value) if config.leak_shift_max > 2 else value


def leaks_inverted(config: CoreConfig, platform: Any) -> bool:
    """Whether :func:`add_leak` gives the membrane inverted: ECP5's chains choose and subtract in one that way."""
    return on_ecp5(platform) and config.leak_terms == 1 and not config.leak_bits


def add_leak(
    m: Module, config: CoreConfig, platform: Any, controls: Value, mode: Value, value: Value, moves: Value
) -> Value:
    """leak(``value``) of the clock before, to be registered or written (see :func:`spike_to_write`).

    moves: when registers move on.
    """
    wide, width = signed(config.membrane_width), config.membrane_width
    term = controls.leak_a
    chains = platform if leaks_inverted(config, platform) else None
    if config.leak_terms == 2:
        half, less = None, Signal(wide, name="less_first_term", reset_less=True)
        last = Signal(wide, name="last_term", reset_less=True)
        with m.If(moves):
            m.d.sync += [
                less.eq(value - second_shift(first_shift(value, term, config), term, config)),
                last.eq(second_shift(first_shift(value, controls.leak_b, config), controls.leak_b, config)),
            ]
        leaked = less - last
    else:
        half = first_shift(value, term, config) if config.leak_terms else Const(0, signed(1))
        kept = Signal(signed(width - 1), name="first_shift", reset_less=True)
        less = Signal(wide, name="unleaked", reset_less=True)
        with m.If(moves):
            m.d.sync += [less.eq(value), kept.eq(half)]
        half = kept
        if not config.leak_terms:
            leaked = less
        elif config.leak_shift_max > 2:
            leaked = minus_choice(m, chains, "leaked", less, half >> 2, half, term.by[1], width)
        else:
            leaked = minus_choice(m, chains, "leaked", less, half, half, Const(0, 1), width)
    if config.leak_bits:
        return Mux(mode.leak_multiply, (less * mode.leak_factor) >> config.leak_bits, leaked)
    return leaked
