"""Proofs for membranes that are kept from run to run: for how many steps they fit, or that they always do.

A leak holds a membrane back: H <= c * V + x with c < 1 never exceeds x / (1 - c), and a hard reset bounds it above.
Without a leak a membrane may fall by its lowest input at every step.  But the core tells (``drifted``) when one that it
keeps has left the inner half of its range; until then a run starts from there, and what is to be proven is that one run
does not leave the whole.  Where that does not hold, so many steps are proven, counted from empty membranes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from .bounds import LayerBounds, fits, membrane_bounds
from .config import CoreConfig
from .limits import stored_threshold
from .lowering import lower
from .membranes import integer_leak
from .quantized import IntArray, QuantizedLayer, QuantizedNetwork
from .state import State, keeps_membrane

#: Steps beyond which no bound is followed.
_MOST_STEPS = 1 << 40
#: Largest magnitude that bounds are computed with.
_LARGEST = 1 << 61


@dataclass(frozen=True)
class StateProof:
    """What is proven of a lowered network's kept membranes, on a core.

    steps: for how many steps since they began they fit; None for ever.
    watched: that is so as long as the core does not say ``drifted``.
    bounds: of all layers; of kept membranes over all these steps.
    """

    steps: int | None
    watched: bool
    bounds: dict[str, LayerBounds]


def prove_state(net: QuantizedNetwork, config: CoreConfig, bounds: dict[str, LayerBounds]) -> StateProof:
    """Proof for a lowered network whose single runs have ``bounds``, which fit."""
    width = config.membrane_width
    layers = [layer for layer in net.layers if keeps_membrane(layer)]
    steps = {layer.name: _proven(layer, width, bounds[layer.name], net.steps) for layer in layers}
    limited = [layer for layer in layers if steps[layer.name] is not None]
    watched = {layer.name: _watched(layer, width, bounds[layer.name], net.steps) for layer in limited}
    if all(_fit(layer, width, watched[layer.name]) for layer in limited):
        others = {layer.name: _kept(layer, bounds[layer.name], _MOST_STEPS) for layer in layers}
        return StateProof(None, bool(limited), bounds | others | watched)
    most = min(count for count in steps.values() if count is not None)
    return StateProof(most, False, bounds | {layer.name: _kept(layer, bounds[layer.name], most) for layer in layers})


def has_drifted(net: QuantizedNetwork, config: CoreConfig, state: State) -> bool:
    """Whether a membrane of ``state``, leak included, lies outside the inner half of its range on the core."""
    half = 1 << (config.membrane_width - 2)
    kept = {layer.name: layer for layer in lower(net).layers if keeps_membrane(layer)}
    leaked = (integer_leak(kept[name], v.astype(np.int64)) for name, v in state.membranes.items())
    return any(v.size > 0 and not -half <= int(v.min()) <= int(v.max()) < half for v in leaked)


def _proven(layer: QuantizedLayer, width: int, bounds: LayerBounds, steps: int) -> int | None:
    if _fit(layer, width, _kept(layer, bounds, _MOST_STEPS)):
        half = _kept(layer, bounds, _MOST_STEPS // 2)  # is the bound still moving?
        whole = _kept(layer, bounds, _MOST_STEPS)
        still = (half.membrane_low == whole.membrane_low).all() and (half.membrane_high == whole.membrane_high).all()
        return None if still else _MOST_STEPS
    good, bad = steps, _MOST_STEPS
    while bad - good > 1:
        middle = (good + bad) // 2
        if _fit(layer, width, _kept(layer, bounds, middle)):
            good = middle
        else:
            bad = middle
    return good


def _watched(layer: QuantizedLayer, width: int, bounds: LayerBounds, steps: int) -> LayerBounds:
    """Bounds of H in a run that begins in the inner half of the range."""
    once, half = _kept(layer, bounds, steps), 1 << (width - 2)
    high = once.membrane_high + half
    if layer.reset == "hard":  # after a step V is below the threshold, or 0
        assert layer.threshold is not None
        below = np.maximum(layer.threshold - 1, 0) + np.maximum(bounds.input_high, 0) + 2
        high = np.minimum(high, np.maximum(below, half + np.maximum(bounds.input_high, 0) + 2))
    return replace(bounds, membrane_low=once.membrane_low - half, membrane_high=high)


def _fit(layer: QuantizedLayer, width: int, bounds: LayerBounds) -> bool:
    """Whether H and H - threshold fit."""
    low, high, threshold = bounds.membrane_low, bounds.membrane_high, stored_threshold(layer, bounds)
    return bool(fits(low, high, width).all() and fits(low - threshold, high - threshold, width).all())


def _kept(layer: QuantizedLayer, bounds: LayerBounds, steps: int) -> LayerBounds:
    low, high = bounds.input_low, bounds.input_high
    if layer.rectify or layer.attention is not None:
        low, high = np.maximum(low, 0), np.maximum(high, 0)
    assert layer.threshold is not None
    step = max(1, *(int(np.abs(v).max(initial=0)) for v in (low, high, layer.threshold)))
    h_low, h_high = membrane_bounds(layer, low, high, min(steps, _LARGEST // (4 * step)))
    least, most = _for_ever(layer, low, high)
    if least is not None:
        h_low = np.maximum(h_low, least)
    if most is not None:
        h_high = np.minimum(h_high, most)
    return replace(bounds, membrane_low=h_low, membrane_high=h_high)


def _for_ever(layer: QuantizedLayer, low: IntArray, high: IntArray) -> tuple[IntArray | None, IntArray | None]:
    """Bounds of H over any number of steps with inputs of ``low`` to ``high``; None where nothing holds it.

    With c V - r <= leak(V) <= c V + t: shifts lose up to one unit each towards plus, a product up to one towards
    minus.  Before the leak V is at least the smaller of H and 0, since a neuron that fires is at its threshold.
    """
    if layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        gone, r, t = 1 - Fraction(factor, 1 << bits), 1, 0
    else:
        r, t = 0, len(layer.leak_shifts)
        gone = sum((Fraction(1, 1 << shift) for shift in layer.leak_shifts), Fraction(0))
    if gone == 0:
        return None, None
    assert layer.threshold is not None
    raised = np.maximum(-layer.threshold, 0) if layer.reset == "soft" else np.zeros_like(layer.threshold)
    down, up = np.minimum(low, 0) - r, np.maximum(high, 0) + t + raised
    p, q = gone.numerator, gone.denominator
    return down * q // p, -(-up * q // p)
