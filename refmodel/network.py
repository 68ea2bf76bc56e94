"""Float networks: what training makes, the float model evaluates and the quantiser reads.

A :class:`Network` is a list of layers in execution order; each reads one named tensor and makes
one tensor of its own name, [T, C, H, W].  Batch norm is already folded into weight and bias.
Make one with :class:`refmodel.builder.NetworkBuilder`, or write the dataclasses directly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .quantized import COMBINES, INPUT, Combine, TensorInfo

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class InputSpec:
    """The input: unsigned integers of ``bits`` bits, shape ``(C, H, W)``; float = ``scale`` * integer.

    ``static`` inputs are the same at each of the T steps; others come as ``[T, C, H, W]``.
    """

    shape: tuple[int, int, int]
    bits: int
    static: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise NetworkError(f"input: shape must be three positive sizes (C, H, W), not {self.shape!r}")
        if not 1 <= self.bits <= 16:
            raise NetworkError(f"input: bits must be 1 to 16, not {self.bits!r}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise NetworkError(f"input: scale must be a positive number, not {self.scale!r}")
        object.__setattr__(self, "shape", shape)


@dataclass(frozen=True)
class Neuron:
    """A spiking neuron (SEW paper, eq. 1-5; the LIF's two conventions are SpikingJelly's).

    charge: ``if``: H = V + X; ``lif``: H = V + (X - (V - v_reset)) / tau with ``decay_input``,
    else H = V - (V - v_reset) / tau + X.  Fire: ``ge``: S = [H >= threshold], ``gt``: S = [H > threshold].
    Reset: ``hard``: V = v_reset where it fired; ``soft``: V = H - S * threshold.
    The membrane starts at ``v_reset``, which a soft reset requires to be 0.
    """

    kind: Literal["if", "lif"] = "if"
    threshold: float = 1.0
    tau: float = 2.0
    decay_input: bool = True
    reset: Literal["hard", "soft"] = "hard"
    v_reset: float = 0.0
    fire: Literal["ge", "gt"] = "ge"

    def __post_init__(self) -> None:
        for option, allowed in (("kind", ("if", "lif")), ("reset", ("hard", "soft")), ("fire", ("ge", "gt"))):
            if getattr(self, option) not in allowed:
                raise NetworkError(f"neuron: {option} must be one of {allowed}, not {getattr(self, option)!r}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise NetworkError(f"neuron: threshold must be a positive number, not {self.threshold!r}")
        if self.kind == "lif" and not (math.isfinite(self.tau) and self.tau > 1):
            raise NetworkError(f"neuron: tau must be above 1, not {self.tau!r}; for no leak use kind='if'")
        if not (math.isfinite(self.v_reset) and self.v_reset < self.threshold):
            raise NetworkError(f"neuron: v_reset must be below threshold={self.threshold!r}, not {self.v_reset!r}")
        if self.reset == "soft" and self.v_reset != 0:
            raise NetworkError(f"neuron: a soft reset has no v_reset; use v_reset=0, not {self.v_reset!r}")


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """X = conv(source) + bias (+ ``current`` where the shortcut spikes); SN; combine with the shortcut.

    Shapes: weight ``[Cout, Cin, KH, KW]``, bias ``[Cout]`` or None.  A dense layer is a convolution
    whose kernel covers its source.  The shortcut enters either the combiner (SEW, table 1) or, when
    ``current`` is given, X: the identity shortcut of Spiking ResNet and the membrane shortcut.
    """

    name: str
    source: str
    weight: FloatArray
    bias: FloatArray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    neuron: Neuron = Neuron()
    shortcut: str | None = None
    combine: Combine = "pass"
    current: float | None = None

    def __post_init__(self) -> None:
        _freeze_arrays(self)


@dataclass(frozen=True)
class MaxPoolLayer:
    """Maximum over the window of a binary tensor; zero padding."""

    name: str
    source: str
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


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


Layer = ConvLayer | MaxPoolLayer | ReadoutLayer


@dataclass(frozen=True, eq=False)
class Network:
    """A float network: input, layers in execution order, T = ``steps``.  Validated when made.

    ``meta`` holds anything JSON can carry.  Raises NetworkError.
    """

    name: str
    steps: int
    input: InputSpec
    layers: tuple[Layer, ...]
    family: str = ""
    meta: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        self.validate()

    def validate(self) -> None:
        """Check every layer; raises NetworkError that names the first bad one."""
        if self.steps < 1:
            raise NetworkError(f"network {self.name!r}: steps must be at least 1, not {self.steps!r}")
        if not self.layers or not isinstance(self.layers[-1], ReadoutLayer):
            raise NetworkError(f"network {self.name!r}: the last layer must be a readout; add one")
        self.tensors()

    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and largest value of every tensor, by name, in execution order.

        The readout's entry is that of the quantised network: its running total, before pooling.
        """
        known = {INPUT: TensorInfo(self.input.shape, (1 << self.input.bits) - 1)}
        for index, layer in enumerate(self.layers):
            if isinstance(layer, ReadoutLayer) and index != len(self.layers) - 1:
                raise NetworkError(f"layer {layer.name!r}: a readout must be the last layer, not number {index + 1}")
            known[layer.name] = check_layer(layer, known, self.input)
        return known

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            layer.weight.size + (0 if layer.bias is None else layer.bias.size)
            for layer in self.layers
            if not isinstance(layer, MaxPoolLayer)
        )


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


def window_shape(name: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Output (H, W) of a window that slides over a padded (H, W); raises NetworkError."""
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise NetworkError(
            f"layer {name!r}: kernel and stride must be at least 1 and padding at least 0, "
            f"not kernel={kernel}, stride={stride}, padding={padding}"
        )
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise NetworkError(f"layer {name!r}: padding must be smaller than the kernel {kernel}, not {padding}")
    out_h = (size[0] + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (size[1] + 2 * padding[1] - kernel[1]) // stride[1] + 1
    if out_h < 1 or out_w < 1:
        raise NetworkError(
            f"layer {name!r}: kernel {kernel} is larger than its source {size} with padding {padding}; "
            "use a smaller kernel or more padding"
        )
    return out_h, out_w


def check_layer(layer: Layer, known: dict[str, TensorInfo], spec: InputSpec) -> TensorInfo:
    """Check ``layer`` against the tensors ``known`` so far and infer its tensor; raises NetworkError."""
    where = f"layer {layer.name!r}"
    if not layer.name or layer.name in known:
        raise NetworkError(f"{where}: the name is empty or already taken; give each layer its own")
    for option in ("source", "shortcut"):
        tensor = getattr(layer, option, None)
        if tensor is not None and tensor not in known:
            raise NetworkError(f"{where}: unknown {option} {tensor!r}; it must be one of {', '.join(known)}")
    source = known[layer.source]
    channels, height, width = source.shape
    if isinstance(layer, MaxPoolLayer):
        if source.max_value > 1:
            raise NetworkError(
                f"{where}: max pooling needs a binary source, but {layer.source!r} counts up to {source.max_value}; "
                "pool before the add or use a strided convolution"
            )
        if layer.source == INPUT and spec.scale != 1.0:
            raise NetworkError(f"{where}: pooling the input needs input scale 1, not {spec.scale}")
        shape = window_shape(layer.name, (height, width), layer.kernel, layer.stride, layer.padding)
        return TensorInfo((channels, *shape), 1)
    if not np.isfinite(layer.weight).all() or (layer.bias is not None and not np.isfinite(layer.bias).all()):
        raise NetworkError(f"{where}: weight or bias has NaN or infinite values; was the training stable?")
    outputs = layer.weight.shape[0] if layer.weight.ndim else 0
    if outputs < 1 or (layer.bias is not None and layer.bias.shape != (outputs,)):
        found = None if layer.bias is None else layer.bias.shape
        raise NetworkError(f"{where}: bias must be None or of shape ({outputs},), not {found}")
    if isinstance(layer, ReadoutLayer):
        if layer.pool not in ("global_average", "none"):
            raise NetworkError(f"{where}: pool must be 'global_average' or 'none', not {layer.pool!r}")
        features = channels if layer.pool == "global_average" else channels * height * width
        if layer.weight.shape != (outputs, features):
            raise NetworkError(
                f"{where}: weight must be [classes, {features}] for pool={layer.pool!r} on {source.shape}, "
                f"not {list(layer.weight.shape)}"
            )
        return TensorInfo((outputs, height, width) if layer.pool == "global_average" else (outputs, 1, 1), 1)
    if layer.weight.ndim != 4 or layer.weight.shape[1] != channels:
        raise NetworkError(
            f"{where}: weight must be [Cout, {channels}, KH, KW] for source {layer.source!r}, "
            f"not {list(layer.weight.shape)}; grouped convolutions are not supported"
        )
    kernel = (layer.weight.shape[2], layer.weight.shape[3])
    out_h, out_w = window_shape(layer.name, (height, width), kernel, layer.stride, layer.padding)
    largest = _check_shortcut(layer, (outputs, out_h, out_w), known, spec)
    return TensorInfo((outputs, out_h, out_w), largest)


def _check_shortcut(
    layer: ConvLayer, shape: tuple[int, int, int], known: dict[str, TensorInfo], spec: InputSpec
) -> int:
    """Check the shortcut of a convolution and return the layer's largest output value."""
    where = f"layer {layer.name!r}"
    if layer.combine not in COMBINES:
        raise NetworkError(f"{where}: combine must be one of {', '.join(COMBINES)}, not {layer.combine!r}")
    if layer.current is not None and not math.isfinite(layer.current):
        raise NetworkError(f"{where}: current must be a finite number, not {layer.current!r}")
    if layer.shortcut is None:
        if layer.combine != "pass" or layer.current is not None:
            raise NetworkError(f"{where}: combine={layer.combine!r}, current={layer.current} need a shortcut")
        return 1
    if (layer.combine == "pass") == (layer.current is None):
        raise NetworkError(
            f"{where}: a shortcut needs either a combine or a current, "
            f"not combine={layer.combine!r} with current={layer.current}"
        )
    shortcut = known[layer.shortcut]
    if shortcut.shape != shape:
        raise NetworkError(
            f"{where}: shortcut {layer.shortcut!r} has shape {shortcut.shape}, but the layer makes {shape}; "
            "use a projection on the shortcut"
        )
    if layer.combine != "add" and shortcut.max_value > 1:
        use = "current" if layer.combine == "pass" else layer.combine.upper()
        raise NetworkError(
            f"{where}: {use} needs a binary shortcut, but {layer.shortcut!r} counts up to {shortcut.max_value}; "
            "use combine='add' or a projection"
        )
    if layer.shortcut == INPUT and spec.scale != 1.0:
        raise NetworkError(f"{where}: the input as shortcut needs input scale 1, not {spec.scale}")
    return 1 + shortcut.max_value if layer.combine == "add" else 1
