"""Integer networks: what the quantiser makes, the golden model runs and the compiler maps.

A :class:`QuantizedNetwork` is a list of layers in execution order. Every layer reads one
named tensor and makes one tensor of its own name; a layer may also read a *shortcut*
tensor, either in its combiner (SEW) or in its membrane (the membrane shortcut).
All numbers are integers: nothing after the quantiser knows a float.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

#: Combiners: what a layer does with its own spikes ``A`` and the shortcut ``S``
#: (SEW paper, table 1): pass A; add A+S; and A*S; iand (1-A)*S; or A+S-A*S.
Combine = Literal["pass", "add", "and", "iand", "or"]
COMBINES: tuple[Combine, ...] = ("pass", "add", "and", "iand", "or")

#: A leak is at most so many terms V >> a, with a in this range.
MAX_LEAK_TERMS = 2
LEAK_SHIFTS = range(1, 5)

#: Name of the tensor that holds the network's input.
INPUT = "input"


@dataclass(frozen=True)
class QuantizedInput:
    """The integer input: unsigned values of ``bits`` bits, shape ``(C, H, W)``.

    ``static`` inputs are the same at each of the T steps (an image); others come as
    ``[T, C, H, W]`` (event frames).  ``scale``: input float = scale * integer.
    """

    shape: tuple[int, int, int]
    bits: int
    static: bool = True
    scale: float = 1.0


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer; shapes: weight ``[Cout, Cin, KH, KW]``, the vectors ``[Cout]``.

    kind ``"conv"``: at each step and output pixel, X = conv(source) + bias
    (+ current where the shortcut spikes, if ``current`` is given), then
    H = leak(V) + X, spike = [H >= threshold], hard reset V = 0 or soft V = H - threshold,
    out = combine(spike, shortcut).  leak(V) = V - sum(V >> a for a in leak_shifts), the
    shifts arithmetic, all taken from the same V.  A dense layer is a convolution whose
    kernel covers its whole input.

    Membrane streams (MS-ResNet): with ``stream``, the stream of that earlier layer is added, X +=
    R; with ``keeps_stream``, X (before leak and reset, R included) is kept under this layer's name
    as a signed multi-bit stream for later layers.  So one layer is "convolution, shortcut sum and
    the spiking neuron that reads it", and an MS block is two of them.

    kind ``"maxpool"``: maximum over the window of a binary tensor; weight is ``None``,
    ``kernel`` says the window.

    kind ``"readout"``: result[c] = bias[c] + sum over all steps and output pixels of
    conv(source)[c]; no spikes.  The last layer of every network, and only it.
    """

    name: str
    kind: Literal["conv", "maxpool", "readout"]
    source: str
    weight: IntArray | None
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    bias: IntArray | None = None
    threshold: IntArray | None = None
    leak_shifts: tuple[int, ...] = ()
    reset: Literal["hard", "soft"] = "hard"
    shortcut: str | None = None
    combine: Combine = "pass"
    current: IntArray | None = None
    stream: str | None = None
    keeps_stream: bool = False
    #: float value of one integer unit of the membrane, per channel (for reports only)
    scale: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class TensorInfo:
    """Shape ``(C, H, W)`` and largest value of a tensor (1 for spikes, more for counts)."""

    shape: tuple[int, int, int]
    max_value: int

    @property
    def planes(self) -> int:
        """Bits a value needs: the number of bit-planes it is stored in."""
        return max(1, int(self.max_value).bit_length())


@dataclass(frozen=True)
class QuantizedNetwork:
    """An integer network: input, layers in execution order, T = ``steps``."""

    name: str
    steps: int
    input: QuantizedInput
    layers: tuple[QuantizedLayer, ...]
    weight_bits: int = 8
    family: str = ""
    meta: dict[str, object] = field(default_factory=dict)

    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and largest value of every tensor, by name, in execution order."""
        known = {INPUT: TensorInfo(self.input.shape, (1 << self.input.bits) - 1)}
        for layer in self.layers:
            source = known[layer.source]
            channels, height, width = source.shape
            kh, kw = layer.kernel
            sh, sw = layer.stride
            ph, pw = layer.padding
            out_h = (height + 2 * ph - kh) // sh + 1
            out_w = (width + 2 * pw - kw) // sw + 1
            out_c = channels if layer.weight is None else int(layer.weight.shape[0])
            largest = 1
            if layer.combine == "add" and layer.shortcut is not None:
                largest = 1 + known[layer.shortcut].max_value
            known[layer.name] = TensorInfo((out_c, out_h, out_w), largest)
        return known

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            (0 if layer.weight is None else int(layer.weight.size))
            + (0 if layer.bias is None else int(layer.bias.size))
            for layer in self.layers
        )
