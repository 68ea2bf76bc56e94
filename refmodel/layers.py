"""The parts of a float network: its input, neurons and layers, as frozen dataclasses.

What they must satisfy together is :mod:`refmodel.layer_checks`'s business.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .quantized import MAX_LEVELS, Combine, TensorInfo, bits_range, preparation_problem

if TYPE_CHECKING:
    from .attention import Attention

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]
PoolKind = Literal["max", "sum", "average"]


@dataclass(frozen=True)
class InputSpec:
    """The input: integers of ``bits`` bits, shape ``(C, H, W)``; float = ``scale`` * integer.

    The integers are unsigned, or two's complement if ``signed``.  ``static`` inputs are the same at
    each of the T steps; others come as ``[T, C, H, W]``.

    ``fold``, ``drop_bits``: how :mod:`refmodel.preparation` makes them from stored data: blocks of ``fold`` x
    ``fold`` pixels become channels, and the lowest ``drop_bits`` bits are dropped.  ``shape`` and ``bits`` are
    those after it.
    """

    shape: tuple[int, int, int]
    bits: int
    static: bool = True
    scale: float = 1.0
    signed: bool = False
    fold: int = 1
    drop_bits: int = 0

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise NetworkError(f"input: shape must be three positive sizes (C, H, W), not {self.shape!r}")
        if not 1 <= self.bits <= 16:
            raise NetworkError(f"input: bits must be 1 to 16, not {self.bits!r}")
        if self.signed and self.bits < 2:
            raise NetworkError("input: a signed input has 2 to 16 bits, not 1; use signed=False or more bits")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise NetworkError(f"input: scale must be a positive number, not {self.scale!r}")
        problem = preparation_problem(shape, self.bits, self.fold, self.drop_bits)
        if problem:
            raise NetworkError(f"input: {problem}")
        object.__setattr__(self, "shape", shape)

    @property
    def tensor(self) -> TensorInfo:
        """Shape and range of the input's integers."""
        low, high = bits_range(self.bits, self.signed)
        return TensorInfo(self.shape, high, low)


@dataclass(frozen=True)
class Neuron:
    """A spiking neuron (SEW paper, eq. 1-5; the LIF's two conventions are SpikingJelly's).

    charge: ``if``: H = V + X; ``lif``: H = V + (X - (V - v_reset)) / tau with ``decay_input``,
    else H = V - (V - v_reset) / tau + X; ``step``: H = X, without memory.
    Fire: ``ge``: S = [H >= threshold], ``gt``: S = [H > threshold].
    Reset: ``hard``: V = v_reset where it fired; ``soft``: V = H - S * threshold; ``none``: V = H.
    The membrane starts at ``v_reset``, which must be 0 unless the reset is hard.

    An MLF unit (DS-ResNet) has further thresholds, ``levels``, ascending and above ``threshold``:
    K = 1 + len(levels) membranes take the same X, level k fires and resets at its own threshold,
    and the unit's output is the number of levels that fired, 0..K.
    """

    kind: Literal["if", "lif", "step"] = "if"
    threshold: float = 1.0
    tau: float = 2.0
    decay_input: bool = True
    reset: Literal["hard", "soft", "none"] = "hard"
    v_reset: float = 0.0
    fire: Literal["ge", "gt"] = "ge"
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        resets = ("hard", "soft", "none")
        for option, allowed in (("kind", ("if", "lif", "step")), ("reset", resets), ("fire", ("ge", "gt"))):
            if getattr(self, option) not in allowed:
                raise NetworkError(f"neuron: {option} must be one of {allowed}, not {getattr(self, option)!r}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise NetworkError(f"neuron: threshold must be a positive number, not {self.threshold!r}")
        if self.kind == "lif" and not (math.isfinite(self.tau) and self.tau > 1):
            raise NetworkError(
                f"neuron: tau must be above 1, not {self.tau!r}; for no leak use kind='if', for no memory kind='step'"
            )
        if not (math.isfinite(self.v_reset) and self.v_reset < self.threshold):
            raise NetworkError(f"neuron: v_reset must be below threshold={self.threshold!r}, not {self.v_reset!r}")
        if self.reset != "hard" and self.v_reset != 0:
            raise NetworkError(f"neuron: reset={self.reset!r} has no v_reset; use v_reset=0, not {self.v_reset!r}")
        if self.kind == "step" and (self.v_reset != 0 or self.reset != "hard"):
            raise NetworkError("neuron: kind='step' has no memory; leave reset='hard' and v_reset=0")
        levels = tuple(float(level) for level in self.levels)
        if len(levels) >= MAX_LEVELS:
            raise NetworkError(
                f"neuron: an MLF unit has at most {MAX_LEVELS} levels: threshold and {MAX_LEVELS - 1} in levels, "
                f"not {len(levels)}"
            )
        ladder = (self.threshold, *levels)
        if not all(math.isfinite(high) and low < high for low, high in itertools.pairwise(ladder)):
            raise NetworkError(f"neuron: levels must ascend from threshold={self.threshold!r}, not {self.levels!r}")
        object.__setattr__(self, "levels", levels)

    @classmethod
    def plif(cls, w: float, **options: Any) -> Neuron:
        """A trained parametric LIF: 1/tau = sigmoid(``w``), decaying input (PLIF; SEW paper, section 3)."""
        if not math.isfinite(w) or w < -700:
            raise NetworkError(f"neuron: a PLIF's w must be a number above -700, not {w!r}")
        return cls("lif", tau=1.0 + math.exp(-w), decay_input=True, **options)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All K thresholds, ascending."""
        return (self.threshold, *self.levels)

    @property
    def leak(self) -> float:
        """What one step multiplies V - v_reset by: 1 - 1/tau, 1 without leak, 0 without memory."""
        return {"if": 1.0, "lif": 1.0 - 1.0 / self.tau, "step": 0.0}[self.kind]


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """X = conv(source) + bias (+ ``current`` where the shortcut spikes) (+ a stream); SN; combine.

    Shapes: weight ``[Cout, Cin, KH, KW]``, bias ``[Cout]`` or None.  A dense layer is a convolution
    whose kernel covers its source.  The shortcut enters either the combiner (SEW, table 1) or, when
    ``current`` is given, X: the identity shortcut of Spiking ResNet and the membrane shortcut.

    Membrane streams (MS-ResNet): ``stream`` names an earlier layer whose kept X, real-valued
    ``[T, C, H, W]``, is added to this X; ``keeps_stream`` keeps this X under the layer's own name.
    ``rectify`` lets the neurons integrate max(X, 0); the kept X is the one before.  ``neuron`` None:
    no neurons and no tensor of spikes, only the stream.

    ``attention`` (SynA's MA): the neurons integrate X' = relu(gate * X) in X's place, with the gates that
    the attention makes of X, the shortcut's current and the stream included (:mod:`refmodel.attention`).
    """

    name: str
    source: str
    weight: FloatArray
    bias: FloatArray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    neuron: Neuron | None = Neuron()
    shortcut: str | None = None
    combine: Combine = "pass"
    current: float | None = None
    stream: str | None = None
    keeps_stream: bool = False
    rectify: bool = False
    attention: Attention | None = None

    def __post_init__(self) -> None:
        _freeze_arrays(self)


@dataclass(frozen=True, eq=False)
class GateLayer:
    """relu(gate * S) of binary spikes S: SynA's IA on a shortcut.

    ``attention`` has a neuron, whose spikes are the gates, 0 or 1 for each step or channel, so the result is binary.
    """

    name: str
    source: str
    attention: Attention


@dataclass(frozen=True)
class PoolLayer:
    """Maximum, sum or average over the window of each channel; padding counts as zeros, also in the average."""

    name: str
    source: str
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    kind: PoolKind = "max"


@dataclass(frozen=True)
class StreamLayer:
    """The membrane stream that layer ``source`` keeps, as a tensor of real values: what a projection convolves.

    On integers the tensor has the bits that its worst case needs, but at most ``max_bits``: the lowest
    are dropped.  None lets the quantiser choose (:mod:`refmodel.stream_shift`).
    """

    name: str
    source: str
    max_bits: int | None = None


@dataclass(frozen=True, eq=False)
class ReadoutLayer:
    """logits = mean over T of FC(x_t); the last layer.

    ``global_average``: x_t is the mean over pixels, weight ``[classes, C]``; ``none``: x_t is the
    whole tensor flattened in C, H, W order, weight ``[classes, C*H*W]``.  bias ``[classes]`` or None.
    """

    name: str
    source: str
    weight: FloatArray
    bias: FloatArray | None = None
    pool: Literal["global_average", "none"] = "global_average"

    def __post_init__(self) -> None:
        _freeze_arrays(self)


Layer = ConvLayer | GateLayer | PoolLayer | StreamLayer | ReadoutLayer


def _freeze_arrays(layer: ConvLayer | ReadoutLayer) -> None:
    for option in ("weight", "bias"):
        value = getattr(layer, option)
        if value is None:
            continue
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise NetworkError(f"layer {layer.name!r}: {option} must be an array of numbers: {error}") from None
        array.flags.writeable = False
        object.__setattr__(layer, option, array)
