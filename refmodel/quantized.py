"""Integer networks: what the quantiser makes, the golden model runs and the compiler maps.

A :class:`QuantizedNetwork` is a list of layers in execution order. Every layer reads one
named tensor and makes one tensor of its own name; a layer may also read a *shortcut*
tensor, either in its combiner (SEW) or in its membrane (the membrane shortcut).
All numbers are integers: nothing after the quantiser knows a float.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .attention import IntegerAttention

IntArray = NDArray[np.int64]

#: Combiners: what a layer does with its own spikes ``A`` and the shortcut ``S``
#: (SEW paper, table 1): pass A; add A+S; and A*S; iand (1-A)*S; or A+S-A*S.
Combine = Literal["pass", "add", "and", "iand", "or"]
COMBINES: tuple[Combine, ...] = ("pass", "add", "and", "iand", "or")

#: A leak is at most so many terms V >> a, with a in this range.
MAX_LEAK_TERMS = 2
LEAK_SHIFTS = range(1, 5)

#: Most fraction bits of a leak by multiplication, and most neurons of an MLF unit.
MAX_LEAK_BITS = 15
MAX_LEVELS = 4

#: Most bits of an input, dropped ones included, and most pixels a side that fold into channels.
MAX_INPUT_BITS = 16
MAX_FOLD = 8

#: Name of the tensor that holds the network's input.
INPUT = "input"


@dataclass(frozen=True)
class QuantizedInput:
    """The integer input: values of ``bits`` bits, shape ``(C, H, W)``; two's complement if ``signed``.

    ``static`` inputs are the same at each of the T steps (an image); others come as
    ``[T, C, H, W]`` (event frames).  ``scale``: input float = scale * integer.

    ``fold``, ``drop_bits``: how :mod:`refmodel.preparation` makes the input from stored data; ``shape`` and
    ``bits`` are those after it.
    """

    shape: tuple[int, int, int]
    bits: int
    static: bool = True
    scale: float = 1.0
    signed: bool = False
    fold: int = 1
    drop_bits: int = 0


def preparation_problem(shape: tuple[int, ...], bits: int, fold: int, drop_bits: int) -> str | None:
    """What is wrong with ``fold`` and ``drop_bits`` of an input of shape ``(C, H, W)``; None if nothing is."""
    if not 1 <= fold <= MAX_FOLD:
        return f"fold must be 1 to {MAX_FOLD}, not {fold!r}"
    if shape[0] % (fold * fold):
        return f"fold={fold} makes a multiple of {fold * fold} channels, but the shape {tuple(shape)} has {shape[0]}"
    if not 0 <= drop_bits <= MAX_INPUT_BITS - bits:
        limit = MAX_INPUT_BITS - bits
        return f"drop_bits must be 0 to {limit} ({MAX_INPUT_BITS} less the {bits} bits that stay), not {drop_bits!r}"
    return None


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer; shapes: weight ``[Cout, Cin, KH, KW]``, the vectors ``[Cout]``.

    kind ``"conv"``: at each step and output pixel, X = conv(source) + bias
    (+ current where the shortcut spikes, if ``current`` is given), then
    H = leak(V) + X, spike = [H >= threshold], hard reset V = 0 or soft V = H - threshold,
    out = combine(spike, shortcut).  leak(V) = V - sum(V >> a for a in leak_shifts), the
    shifts arithmetic, all taken from the same V; or with ``leak_factor`` = (m, f) it is
    (V * m) >> f.  A dense layer is a convolution whose kernel covers its whole input.
    reset ``"none"`` leaves V = H; ``stateless`` forgets: H = X at each step; ``rectify``
    integrates max(X, 0).

    MLF units (``levels``, ``[K-1, Cout]``): K neurons with the thresholds ``threshold``,
    ``levels[0]``, ...; each has its own membrane and takes the same X; A is the number that fired.

    ``attention`` (SynA): X' = relu((X * gate) >> 8) is integrated in X's place, the gates being those
    that the attention makes of X (:mod:`refmodel.attention`).

    Membrane streams (MS-ResNet): with ``stream``, the stream of that earlier layer is added, X +=
    R; with ``keeps_stream``, X (before leak and reset, R included) is kept under this layer's name
    as a signed multi-bit stream for later layers.  So one layer is "convolution, shortcut sum and
    the spiking neuron that reads it", and an MS block is two of them.  A convolution without
    ``threshold`` has no neurons and no tensor: it only keeps its stream (projections).

    kind ``"stream"``: the stream of layer ``source`` as a tensor, two's complement values of
    ``bits`` bits, stream >> ``shift``: what a projection of a stream convolves.

    kind ``"maxpool"``, ``"sumpool"``: maximum, sum over the window of each channel; weight is
    ``None``, ``kernel`` says the window, padding is 0.

    kind ``"window"``: combine([sum over the window >= threshold], shortcut), without memory: what
    the pools become on hardware (:mod:`refmodel.lowering`), and with ``attention`` and a kernel of one
    pixel a gated shortcut (SynA's IA).

    kind ``"apply"``: neurons on X' = relu((R * gate) >> 8), R the stream of layer ``source``: the second
    half of a layer with attention on hardware.

    kind ``"readout"``: result[c] = bias[c] + sum over all steps and output pixels of
    conv(source)[c]; no spikes.  The last layer of every network, and only it.
    """

    name: str
    kind: Literal["conv", "maxpool", "sumpool", "window", "stream", "apply", "readout"]
    source: str
    weight: IntArray | None
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    bias: IntArray | None = None
    threshold: IntArray | None = None
    levels: IntArray | None = None
    leak_shifts: tuple[int, ...] = ()
    leak_factor: tuple[int, int] | None = None
    reset: Literal["hard", "soft", "none"] = "hard"
    stateless: bool = False
    rectify: bool = False
    shortcut: str | None = None
    combine: Combine = "pass"
    current: IntArray | None = None
    stream: str | None = None
    keeps_stream: bool = False
    bits: int = 0
    shift: int = 0
    attention: IntegerAttention | None = None
    #: float value of one integer unit of the membrane, per channel (for reports only)
    scale: NDArray[np.float64] | None = None

    @property
    def spikes(self) -> bool:
        """Whether it makes a tensor: all do but the readout and layers that only keep a stream."""
        return self.kind != "readout" and (self.kind not in ("conv", "window") or self.threshold is not None)


@dataclass(frozen=True)
class TensorInfo:
    """Shape ``(C, H, W)``, largest (1 for spikes, more for counts) and smallest value of a tensor."""

    shape: tuple[int, int, int]
    max_value: int
    min_value: int = 0

    @property
    def signed(self) -> bool:
        """Whether values are two's complement: the top bit-plane counts negative."""
        return self.min_value < 0

    @property
    def planes(self) -> int:
        """Bits a value needs: the number of bit-planes it is stored in."""
        if self.signed:
            return max(int(self.max_value).bit_length(), int(-self.min_value - 1).bit_length()) + 1
        return max(1, int(self.max_value).bit_length())


def bits_range(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest value of so many bits."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


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
        low, high = bits_range(self.input.bits, self.input.signed)
        known = {INPUT: TensorInfo(self.input.shape, high, low)}
        for layer in self.layers:
            known[layer.name] = made_tensor(layer, known)
        return known

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            (0 if layer.weight is None else int(layer.weight.size))
            + (0 if layer.bias is None else int(layer.bias.size))
            for layer in self.layers
        )


def made_tensor(layer: QuantizedLayer, known: dict[str, TensorInfo]) -> TensorInfo:
    """The tensor a legal layer makes; that of a convolution without neurons holds nothing but a shape."""
    source = known[layer.source]
    if layer.kind == "stream":
        low, high = bits_range(layer.bits, True)
        return TensorInfo(source.shape, high, low)
    channels, height, width = source.shape  # of an apply: its stream's
    kh, kw = layer.kernel
    sh, sw = layer.stride
    ph, pw = layer.padding
    shape = (
        channels if layer.weight is None else int(layer.weight.shape[0]),
        (height + 2 * ph - kh) // sh + 1,
        (width + 2 * pw - kw) // sw + 1,
    )
    if layer.kind == "maxpool":
        return TensorInfo(shape, source.max_value)
    if layer.kind == "sumpool":
        return TensorInfo(shape, source.max_value * kh * kw)
    if layer.kind in ("conv", "window") and not layer.spikes:
        return TensorInfo(shape, 0)
    largest = 1 if layer.levels is None else 1 + len(layer.levels)
    if layer.combine == "add" and layer.shortcut is not None:
        largest += known[layer.shortcut].max_value
    return TensorInfo(shape, largest)
