"""Densities: how often each tensor of an integer network has which value, from the firing rates of its neurons.

No spike is computed.  Every neuron of a layer fires in a step with the layer's rate, independently of all
others and of other steps; residual sums, combiners and pools act on the distributions of their operands as if
these were independent.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .layers import InputSpec
from .quantized import INPUT, QuantizedInput, QuantizedLayer, QuantizedNetwork, TensorInfo, bits_range

#: Rate of a neuron in a step unless told otherwise, and of one whose spikes an AND combines: AND with a branch
#: that seldom fires would silence everything after it.
RATE = 0.15
AND_RATE = 0.85
#: Rate of each further level of an MLF unit over that of the level before.
LEVEL_RATIO = 0.25
#: Part of the values of event frames (inputs that change from step to step) that are not 0; each further count
#: is half as likely as the one before.
EVENT_DENSITY = 0.1

Distribution = NDArray[np.float64]


@dataclass(frozen=True)
class Values:
    """Distribution of a tensor's values in one step.

    probability: ``[largest + 1]``, that of 0, 1, ...; None for signed values, whose bits are set half the time.
    static: the same at every step.
    """

    probability: Distribution | None
    static: bool = False

    def bit(self, plane: int) -> float:
        """Probability that bit ``plane`` is set."""
        if self.probability is None:
            return 0.5
        values = np.arange(len(self.probability))
        return float(self.probability[(values >> plane) & 1 == 1].sum())

    def event(self, plane: int, steps: int) -> float:
        """Probability that bit ``plane`` is set in at least one of so many steps: that it makes an event."""
        return self.bit(plane) if self.static else 1.0 - (1.0 - self.bit(plane)) ** steps

    def at_least(self, least: int) -> float:
        """Probability of ``least`` or more."""
        assert self.probability is not None
        return float(self.probability[least:].sum())

    @property
    def density(self) -> float:
        """Part of the values that are not 0."""
        return 0.5 if self.probability is None else float(1.0 - self.probability[0])


def default_rate(layer: QuantizedLayer) -> float:
    """Rate of a layer's neurons unless told otherwise."""
    return AND_RATE if layer.combine == "and" else RATE


def chosen_rate(name: str, rates: Mapping[str, float], default: float) -> float:
    """The rate that ``rates`` give to a layer: the last pattern that matches its name."""
    for pattern, rate in rates.items():
        if fnmatch.fnmatchcase(name, pattern):
            default = rate
    return default


def check_rates(net: QuantizedNetwork, rates: Mapping[str, float]) -> None:
    """Raises NetworkError for a rate outside 0 to 1 and for a pattern that matches no layer."""
    names = [INPUT, *(layer.name for layer in net.layers)]
    for pattern, rate in rates.items():
        if not 0 <= rate <= 1:
            raise NetworkError(f"density {pattern}={rate}: must be 0 to 1")
        if not fnmatch.filter(names, pattern):
            raise NetworkError(
                f"density {pattern}={rate}: network {net.name!r} has no such layer; it has {', '.join(names)}"
            )


def random_inputs(
    spec: InputSpec | QuantizedInput, steps: int, samples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Inputs with the distribution that :func:`tensor_values` takes inputs to have, ``[N, C, H, W]``, or with T."""
    low, high = bits_range(spec.bits, spec.signed)
    shape = (samples, *spec.shape) if spec.static else (samples, steps, *spec.shape)
    if spec.static or spec.signed:
        return rng.integers(low, high + 1, shape)
    counts = np.minimum(rng.geometric(0.5, shape), high)
    return np.where(rng.random(shape) < EVENT_DENSITY, counts, 0)


def tensor_values(net: QuantizedNetwork, rates: Mapping[str, float] | None = None) -> dict[str, Values]:
    """Distribution of every tensor of ``net`` (before or after lowering).

    ``rates``: rate by layer name or pattern (``*`` and ``?``), the last that matches; under the input's name, the
    part of its values that are not 0.  Raises NetworkError as :func:`check_rates`.
    """
    rates = rates or {}
    check_rates(net, rates)
    infos = net.tensors()
    known = {INPUT: _input_values(net, infos[INPUT], rates)}
    steady: dict[str, bool] = {}  # whether a layer's X is the same at every step
    for layer in net.layers:
        if layer.kind == "stream":
            known[layer.name] = Values(None, steady[layer.source])
            continue
        source = known[layer.source]
        shortcut = None if layer.shortcut is None else known[layer.shortcut]
        still = source.static and (layer.stream is None or steady[layer.stream])
        steady[layer.name] = still and (layer.current is None or shortcut is None or shortcut.static)
        if layer.kind in ("maxpool", "sumpool", "window"):
            known[layer.name] = _pooled(layer, source, shortcut)
        elif layer.kind == "readout" or layer.threshold is None:
            known[layer.name] = Values(np.ones(1))
        else:
            rate = chosen_rate(layer.name, rates, default_rate(layer))
            known[layer.name] = Values(_combined(layer, _fired(layer, rate), shortcut))
    return known


def _input_values(net: QuantizedNetwork, info: TensorInfo, rates: Mapping[str, float]) -> Values:
    """Images: every value equally often.  Event frames: ``EVENT_DENSITY`` not 0, halving from count to count."""
    static = net.input.static
    if info.signed:
        return Values(None, static)
    largest = info.max_value
    if static:
        others = np.full(largest, 1.0 / largest)
        default = largest / (largest + 1)
    else:
        others = 2.0 ** -np.arange(largest)
        default = EVENT_DENSITY
    density = rates.get(INPUT, default)  # no pattern means the input
    return Values(np.concatenate([[1.0 - density], density * others / others.sum()]), static)


def _fired(layer: QuantizedLayer, rate: float) -> Distribution:
    """Distribution of a layer's own spikes A; of an MLF unit, whose levels fire one above the other."""
    levels = 1 if layer.levels is None else 1 + len(layer.levels)
    reached = np.array([1.0, *(rate * LEVEL_RATIO**level for level in range(levels)), 0.0])
    return reached[:-1] - reached[1:]


def _combined(layer: QuantizedLayer, fired: Distribution, shortcut: Values | None) -> Distribution:
    """Distribution of g(A, S)."""
    if layer.combine == "pass" or shortcut is None:
        return fired
    assert shortcut.probability is not None
    if layer.combine == "add":
        return np.convolve(fired, shortcut.probability)
    a, s = 1.0 - fired[0], shortcut.density
    one = {"and": a * s, "iand": (1.0 - a) * s, "or": a + s - a * s}[layer.combine]
    return np.array([1.0 - one, one])


def _pooled(layer: QuantizedLayer, source: Values, shortcut: Values | None) -> Values:
    """Distribution of a pool of independent values, and of a window's comparison."""
    assert source.probability is not None
    taps = layer.kernel[0] * layer.kernel[1]
    if layer.kind == "maxpool":
        below = np.cumsum(source.probability) ** taps
        return Values(np.diff(below, prepend=0.0), source.static)
    total = np.ones(1)
    for _ in range(taps):
        total = np.convolve(total, source.probability)
    if layer.kind == "sumpool":
        return Values(total, source.static)
    assert layer.threshold is not None
    one = float(total[int(layer.threshold.max(initial=1)) :].sum())
    static = source.static and (shortcut is None or shortcut.static)
    return Values(_combined(layer, np.array([1.0 - one, one]), shortcut), static)
