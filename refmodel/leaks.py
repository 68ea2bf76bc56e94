"""Leaks that hardware has, and the one nearest to a neuron's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from .errors import NetworkError
from .layers import Neuron
from .quantized import LEAK_SHIFTS, MAX_LEAK_BITS, MAX_LEAK_TERMS

LeakForm = Literal["auto", "shifts", "multiply"]

#: Largest leak error, |represented - (1 - 1/tau)|, that is accepted without ``allow_leak_error``.
LEAK_TOLERANCE = 0.02


@dataclass(frozen=True)
class Leak:
    """leak(V) = V - sum(V >> a for a in shifts), or (V * m) >> f with ``factor`` = (m, f)."""

    shifts: tuple[int, ...] = ()
    factor: tuple[int, int] | None = None

    @property
    def value(self) -> float:
        """What a step multiplies V by, before rounding to an integer."""
        return leak_factor(self.shifts) if self.factor is None else self.factor[0] / (1 << self.factor[1])


def leak_factor(shifts: tuple[int, ...]) -> float:
    """1 - sum of 2^-a: what leak(V) = V - sum(V >> a) multiplies V by, before rounding."""
    return 1.0 - sum(2.0**-shift for shift in shifts)


def leak_shifts(neuron: Neuron) -> tuple[tuple[int, ...], float]:
    """The shifts nearest to the neuron's leak 1 - 1/tau (fewest terms first) and the error that remains."""
    if neuron.kind != "lif":
        return (), 0.0
    choices = [
        shifts
        for terms in range(MAX_LEAK_TERMS + 1)
        for shifts in itertools.combinations_with_replacement(LEAK_SHIFTS, terms)
    ]
    errors = [round(abs(leak_factor(shifts) - neuron.leak), 12) for shifts in choices]
    best = errors.index(min(errors))
    return choices[best], errors[best]


def leak_multiplier(neuron: Neuron, bits: int) -> tuple[Leak, float]:
    """The leak (V * m) >> ``bits`` nearest to the neuron's, and the error that remains; none where m = 2^bits."""
    factor = round(neuron.leak * (1 << bits))
    leak = Leak(factor=(factor, bits)) if neuron.kind == "lif" and factor < 1 << bits else Leak()
    return leak, abs(leak.value - neuron.leak) if neuron.kind == "lif" else 0.0


def choose_leak(name: str, neuron: Neuron, form: LeakForm, bits: int, allow_error: bool) -> tuple[Leak, float]:
    """The leak of layer ``name`` and its error.

    ``auto`` takes shifts where they are within LEAK_TOLERANCE, else the nearer of both forms.  Raises
    NetworkError for an error above LEAK_TOLERANCE unless ``allow_error``.
    """
    shifts, error = leak_shifts(neuron)
    leak = Leak(shifts)
    if form == "multiply" or (form == "auto" and error > LEAK_TOLERANCE):
        multiplied, other = leak_multiplier(neuron, bits)
        if form == "multiply" or other < error:
            leak, error = multiplied, other
    if error > LEAK_TOLERANCE and not allow_error:
        way = "leak='auto'" if form == "shifts" else f"more leak_bits (up to {MAX_LEAK_BITS})"
        raise NetworkError(
            f"layer {name!r}: tau={neuron.tau} needs a leak of {neuron.leak:.4f}, but the nearest is "
            f"{leak.value:.4f}, {error:.4f} off (at most {LEAK_TOLERANCE}); use {way}, choose another tau or pass "
            "allow_leak_error=True"
        )
    return leak, error
