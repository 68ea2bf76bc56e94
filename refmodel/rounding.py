"""Whether an integer network's numbers are its float network's, rounded: how far each layer's are off, in its units.

A unit is the float value of one integer of the layer's channel.  Rounding to nearest leaves weights and biases at most
half a unit off; a threshold is the smallest integer that fires.  A bias, a current and their sum that have to keep
their order with a threshold may move by one unit more (:mod:`refmodel.ties`).  Weights that were clipped hold the
largest integer of their bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import NetworkError
from .layers import ConvLayer, FloatArray, PoolLayer, ReadoutLayer, StreamLayer
from .network import Network
from .quantize_layers import Source, conv_parts, fold_neuron, integer_threshold
from .quantized import INPUT, IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo
from .widths import layer_bits

#: Half a unit, and a little for floats; a bias, and a current beside it, that keep their order with a threshold.
_HALF = 0.5 + 1e-6
_BIAS, _CURRENT = 1.0 + 1e-6, 2.0 + 1e-6

Cause = Literal["rounding", "clipping", "neither"]


@dataclass(frozen=True)
class Misfit:
    """The number of a layer that is furthest from its float value.

    what: ``weight``, ``bias``, ``current`` or ``threshold``.  place: its index, of a weight ``(Cout, Cin, KY, KX)``.
    exact: the float number in units; stored: the integer.  cause: what explains the distance.
    """

    layer: str
    what: str
    place: tuple[int, ...]
    exact: float
    stored: int
    cause: Cause

    @property
    def units(self) -> float:
        """Distance of the stored integer."""
        return abs(self.stored - self.exact)

    def __str__(self) -> str:
        place = ", ".join(map(str, self.place))
        return (
            f"layer {self.layer!r}: {self.what} [{place}] is {self.stored}, where the float network has "
            f"{self.exact:.2f} units"
        )


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Numbers of one kind: exact in units, as stored, how far rounding may take each, the largest if it is clipped."""

    what: str
    exact: FloatArray
    stored: IntArray
    allowed: float = _HALF
    largest: int | None = None

    def worst(self, layer: str) -> Misfit:
        distance = np.abs(self.stored - self.exact)
        beyond = distance > self.allowed
        held = np.zeros_like(beyond)
        if self.largest is not None:
            held = (np.abs(self.exact) > self.largest) & (self.stored == np.sign(self.exact) * self.largest)
        suspicion = np.where(beyond, np.where(held, 1, 2), 0)
        # The most suspicious first, among those the furthest.
        flat = int(np.lexsort((distance.ravel(), suspicion.ravel()))[-1])
        place = tuple(int(i) for i in np.unravel_index(flat, distance.shape))
        causes: tuple[Cause, ...] = ("rounding", "clipping", "neither")
        cause = causes[int(suspicion[place])]
        return Misfit(layer, self.what, place, float(self.exact[place]), int(self.stored[place]), cause)


def misfits(net: Network, qnet: QuantizedNetwork) -> list[Misfit]:
    """The worst number of every layer with weights, in execution order; gates' weights are not looked at.

    ``qnet`` is ``net`` quantised, not pruned.  Raises NetworkError for an integer layer that does not say its scale.
    """
    look = _Look(net, qnet)
    severity = {"rounding": 0, "clipping": 1, "neither": 2}
    found = []
    for layer in net.layers:
        if isinstance(layer, ConvLayer | ReadoutLayer):
            numbers = look.conv(layer) if isinstance(layer, ConvLayer) else look.readout(layer)
            worst = [one.worst(layer.name) for one in numbers]
            found.append(max(worst, key=lambda one: (severity[one.cause], one.units)))
    return found


def tensor_units(net: Network, qnet: QuantizedNetwork, names: Iterable[str]) -> dict[str, FloatArray]:
    """Float value ``[C]`` of one unit of the integers of these tensors."""
    look = _Look(net, qnet)
    return {name: look.source(name).factor for name in names}


def units_of(layer: ConvLayer, made: QuantizedLayer) -> FloatArray:
    """Float value ``[C]`` of one unit of a convolution's sums, biases and streams; ``made.scale`` is its membranes'."""
    return _scale(made) * (1.0 if layer.neuron is None else fold_neuron(layer.neuron)[1])


def _scale(made: QuantizedLayer) -> FloatArray:
    if made.scale is None:
        raise NetworkError(f"layer {made.name!r} does not say its scale; quantise the float network again")
    return made.scale


class _Look:
    """What each layer's numbers are in units, and what is stored."""

    def __init__(self, net: Network, qnet: QuantizedNetwork) -> None:
        self.net = net
        self.floats = {layer.name: layer for layer in net.layers}
        self.made = {layer.name: layer for layer in qnet.layers}
        self.infos: dict[str, TensorInfo] = net.tensors()
        self.largest = {name: (1 << (bits - 1)) - 1 for name, bits in layer_bits(qnet).items()}

    def conv(self, layer: ConvLayer) -> list[_Numbers]:
        made = self.made[layer.name]
        units = units_of(layer, made)
        parts = conv_parts(layer, self.source(layer.source))
        assert made.weight is not None
        bias = np.zeros(len(units), np.int64) if made.bias is None else made.bias
        plain = np.zeros(len(units)) if layer.bias is None else layer.bias / units
        # What dropping a stream's bits takes away may be given back by the bias, or not.
        given = parts.bias / units
        exact = np.where(np.abs(given - bias) <= np.abs(plain - bias), given, plain)
        weight = parts.weight / units[:, None, None, None]
        numbers = [
            _Numbers("weight", weight, made.weight, largest=self.largest[layer.name]),
            _Numbers("bias", exact, bias, _HALF if layer.neuron is None else _BIAS),
        ]
        if layer.current is not None and made.current is not None:
            numbers.append(_Numbers("current", layer.current / units, made.current, _CURRENT))
        if layer.neuron is not None and made.threshold is not None:
            wanted = integer_threshold(parts.thresholds[:, None] / units, layer.neuron.fire).astype(np.float64)
            stored = made.threshold[None] if made.levels is None else np.vstack([made.threshold[None], made.levels])
            numbers.append(_Numbers("threshold", wanted, stored, 1.0))
        return numbers

    def readout(self, layer: ReadoutLayer) -> list[_Numbers]:
        """The means over T and pixels became sums of so many terms (:func:`refmodel.quantize_layers.readout_drive`)."""
        made = self.made[layer.name]
        assert made.weight is not None
        source = self.source(layer.source)
        _, height, width = source.info.shape
        pooled = layer.pool == "global_average"
        terms = self.net.steps * height * width if pooled else self.net.steps
        repeats = 1 if pooled else height * width
        units = _scale(made) * terms
        weight = layer.weight * np.repeat(source.factor, repeats) / units[:, None]
        given = np.zeros(len(units)) if layer.bias is None else layer.bias
        bias = (given + layer.weight @ np.repeat(source.offset, repeats)) * terms / units
        stored = np.zeros(len(units), np.int64) if made.bias is None else made.bias
        largest = self.largest[layer.name]
        return [
            _Numbers("weight", weight.reshape(made.weight.shape), made.weight, largest=largest),
            _Numbers("bias", bias, stored),
        ]

    def source(self, name: str) -> Source:
        """A tensor as its readers' numbers saw it when they were rounded."""
        info = self.infos[name]
        factor, offset = np.ones(info.shape[0]), np.zeros(info.shape[0])
        layer = self.floats.get(name)
        if name == INPUT:
            factor = factor * self.net.input.scale
        elif isinstance(layer, PoolLayer):
            factor = self.source(layer.source).factor if layer.source == INPUT else factor
            factor = factor / (math.prod(layer.kernel) if layer.kind == "average" else 1)
        elif isinstance(layer, StreamLayer):
            dropped = self.made[name].shift
            kept = self.floats[layer.source]
            assert isinstance(kept, ConvLayer)
            unit = units_of(kept, self.made[kept.name])
            factor, offset = unit * (1 << dropped), unit * ((1 << dropped) - 1) / 2
        return Source(info, factor, offset)
