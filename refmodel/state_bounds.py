"""Proofs for membranes that are kept from run to run: for how many steps they fit, or that they always do.

A leak holds a membrane back: H <= c * V + x with c < 1 never exceeds x / (1 - c).  Without one, a membrane falls by its
lowest input at every step, so that only so many steps are proven; a hard reset bounds it above.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from .bounds import LayerBounds, fits, membrane_bounds
from .config import CoreConfig
from .limits import stored_threshold
from .quantized import IntArray, QuantizedLayer, QuantizedNetwork
from .state import keeps_membrane

#: Steps beyond which no bound is followed.
_MOST_STEPS = 1 << 40
#: Largest magnitude that bounds are computed with.
_LARGEST = 1 << 61


def state_bounds(net: QuantizedNetwork, bounds: dict[str, LayerBounds], steps: int | None) -> dict[str, LayerBounds]:
    """``bounds`` of a lowered network with those of membranes that are kept for ``steps`` steps, None for ever."""
    kept = dict(bounds)
    for layer in net.layers:
        if keeps_membrane(layer):
            kept[layer.name] = _kept(layer, bounds[layer.name], _MOST_STEPS if steps is None else steps)
    return kept


def proven_steps(net: QuantizedNetwork, config: CoreConfig, bounds: dict[str, LayerBounds]) -> int | None:
    """Steps for which no membrane of a lowered network leaves ``config.membrane_width``; None if it never does.

    ``bounds``: those of one run, which fit.
    """
    found = [
        _proven(layer, config.membrane_width, bounds[layer.name], net.steps)
        for layer in net.layers
        if keeps_membrane(layer)
    ]
    return min((steps for steps in found if steps is not None), default=None)


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
