"""Canvas: what the families draw networks on, with placeholders where weights will be.

A placeholder is a zero-stride view of one zero: a sketch of a network with 60 million weights takes
no more memory than one with six.  :mod:`refmodel.zoo.weights` puts numbers in their place.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from ..builder import NetworkBuilder
from ..errors import NetworkError
from ..layers import ConvLayer, FloatArray, InputSpec, Layer, Neuron, ReadoutLayer, StreamLayer
from ..network import Network
from ..quantized import Combine

#: Fewest channels that a width factor leaves.
LEAST_CHANNELS = 4

Pair = tuple[FloatArray, FloatArray]


def placeholder(*shape: int) -> FloatArray:
    """Zeros of any shape in no memory, read-only."""
    return np.broadcast_to(np.zeros(()), shape)


class _Sketcher(NetworkBuilder):
    """A builder whose layers hold placeholders: the copies that a layer makes of its arrays are let go.

    Stream tensors that say nothing else get ``stream_bits`` bits.
    """

    stream_bits: int | None = None

    def add(self, layer: Layer) -> str:
        if isinstance(layer, ConvLayer | ReadoutLayer):
            for option in ("weight", "bias"):
                array = getattr(layer, option)
                if array is not None:
                    object.__setattr__(layer, option, placeholder(*array.shape))
        if isinstance(layer, StreamLayer) and layer.max_bits is None:
            layer = replace(layer, max_bits=self.stream_bits)
        return super().add(layer)


class Canvas:
    """Draws layers by channel counts instead of weights; all methods return the tensor they made.

    Parameters
    ----------
    width: factor of every channel count that :meth:`scaled` is asked for.
    stream_bits: bits of membrane streams that convolutions read.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        spec: InputSpec,
        neuron: Neuron,
        *,
        family: str,
        width: float = 1.0,
        stream_bits: int | None = None,
        meta: dict[str, object] | None = None,
    ) -> None:
        if not (math.isfinite(width) and width > 0):
            raise NetworkError(f"network {name!r}: width must be a positive factor, not {width!r}")
        sketcher = _Sketcher(name, steps, spec, neuron=neuron, family=family, meta=meta)
        sketcher.stream_bits = stream_bits
        self.builder: NetworkBuilder = sketcher
        self.width = width

    def scaled(self, channels: int) -> int:
        """``channels`` times the width, rounded, at least ``LEAST_CHANNELS``."""
        return max(LEAST_CHANNELS, round(channels * self.width))

    def channels(self, x: str) -> int:
        """Channels of a tensor."""
        return self.builder.tensor(x).shape[0]

    def side(self, x: str) -> int:
        """Smaller of a tensor's height and width."""
        return min(self.builder.tensor(x).shape[1:])

    @staticmethod
    def weights(inputs: int, outputs: int, kernel: int) -> Pair:
        """Placeholders of a convolution's weight and bias."""
        return placeholder(outputs, inputs, kernel, kernel), placeholder(outputs)

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        keeps_stream: bool = False,
        neurons: bool = True,
        name: str,
    ) -> str:
        """SN(BN(C(x)))."""
        weight, bias = self.weights(self.channels(x), outputs, kernel)
        return self.builder.conv(
            x, weight, bias, stride=stride, keeps_stream=keeps_stream, neurons=neurons, name=name
        )

    def basic(self, x: str, outputs: int) -> tuple[FloatArray, ...]:
        """w1, b1, w2, b2 of a block of two 3x3 convolutions."""
        return (*self.weights(self.channels(x), outputs, 3), *self.weights(outputs, outputs, 3))

    def bottleneck(self, x: str, inner: int, outputs: int) -> tuple[FloatArray, ...]:
        """w1, b1, w2, b2, w3, b3 of a block of a 1x1, a 3x3 and a 1x1 convolution."""
        first, middle = self.weights(self.channels(x), inner, 1), self.weights(inner, inner, 3)
        return (*first, *middle, *self.weights(inner, outputs, 1))

    def projection(self, x: str, outputs: int, stride: int) -> Pair | None:
        """1x1 convolution of the shortcut where a block changes shape."""
        if stride == 1 and self.channels(x) == outputs:
            return None
        return self.weights(self.channels(x), outputs, 1)

    def finish(
        self, x: str, classes: int, pool: Literal["global_average", "none"] = "global_average"
    ) -> Network:
        """Readout, and the network."""
        channels, height, width = self.builder.tensor(x).shape
        features = channels if pool == "global_average" else channels * height * width
        self.builder.readout(x, placeholder(classes, features), placeholder(classes), pool=pool)
        return self.builder.build()


COMBINE_NAMES: tuple[Combine, ...] = ("add", "and", "iand", "or")


def combiner(name: str, text: str) -> Combine:
    """The combiner called ``text``; raises NetworkError."""
    for known in COMBINE_NAMES:
        if text == known:
            return known
    raise NetworkError(f"network {name!r}: combine must be one of {', '.join(COMBINE_NAMES)}, not {text!r}")
