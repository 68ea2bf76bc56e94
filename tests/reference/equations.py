"""The equations of every system in float64, transcribed one by one; nothing of the project is used.

Notation: S block input, A residual branch, SN spiking neuron, C convolution with its batch norm folded in,
sc shortcut, T steps.  Tensors are [N, T, C, H, W].  A network is a description as in tests/reference/cases.py
and its arrays by name: ``weight/<layer>``, ``bias/<layer>`` and the input ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Description = dict[str, Any]


def convolve(x: Array, weight: Array, bias: Array | None, stride: int, padding: int) -> Array:
    """out[c, i, j] = bias[c] + sum over d, k, l of weight[c, d, k, l] * x[d, i*stride + k - padding, ...]."""
    _, _, rows, columns = weight.shape
    x = np.pad(x, [(0, 0)] * 3 + [(padding, padding)] * 2)
    height = (x.shape[3] - rows) // stride + 1
    width = (x.shape[4] - columns) // stride + 1
    out = np.zeros((*x.shape[:2], len(weight), height, width))
    for k in range(rows):
        for m in range(columns):
            window = x[:, :, :, k : k + height * stride : stride, m : m + width * stride : stride]
            out += np.einsum("cd,ntdhw->ntchw", weight[:, :, k, m], window[..., :height, :width])
    return out if bias is None else out + bias[:, None, None]


def pool(x: Array, kernel: int, stride: int, padding: int, reduce: Callable[[list[Array]], Array]) -> Array:
    """``reduce`` over the window's values, zeros in the padding."""
    x = np.pad(x, [(0, 0)] * 3 + [(padding, padding)] * 2)
    height, width = ((size - kernel) // stride + 1 for size in x.shape[3:])
    rows = [slice(k, k + (height - 1) * stride + 1, stride) for k in range(kernel)]
    columns = [slice(m, m + (width - 1) * stride + 1, stride) for m in range(kernel)]
    return reduce([x[:, :, :, row, column] for row in rows for column in columns])


def charge(neuron: Description, v: Array, x: Array) -> Array:
    """H from V and X (SEW paper, eq. 1-3; PLIF; the decay u of MS-ResNet and MLF after its reset)."""
    kind, rest = neuron["kind"], neuron.get("v_reset", 0.0)
    if kind == "if":
        return v + x
    if kind == "step":
        return x
    if kind == "decay":
        return neuron["decay"] * v + x
    if kind == "plif":
        return v + (x - (v - rest)) / (1.0 + math.exp(-neuron["w"]))
    if neuron["decay_input"]:
        return v + (x - (v - rest)) / neuron["tau"]
    return v - (v - rest) / neuron["tau"] + x


class Evaluator:
    """Runs a description; ``tensors`` holds ``spikes/``, ``stream/`` and ``branch/<layer>``, and ``logits``.

    ``ties`` counts, per layer, how often a membrane stood exactly at its threshold.
    """

    def __init__(self, network: Description, arrays: dict[str, NDArray[Any]]) -> None:
        self.network, self.arrays = network, arrays
        self.tensors: dict[str, Array] = {}
        self.ties: dict[str, int] = {}

    def run(self) -> dict[str, Array]:
        """Every recorded tensor."""
        x = np.asarray(self.arrays["x"], np.float64)
        if x.ndim == 4:  # a static image, the same at each step
            x = np.repeat(x[:, None], self.network["steps"], axis=1)
        stream: Array | None = None
        for layer in self.network["layers"]:
            op = layer["op"]
            if op == "readout":
                self.tensors["logits"] = self.readout(layer, x)
            elif op == "ms":
                assert stream is not None
                x, stream = self.ms(layer, x, stream)
            elif op == "conv":
                x, stream = self.conv(layer, x)
            else:
                x = getattr(self, op)(layer, x)
        return self.tensors

    def fire(self, layer: Description, name: str, x: Array) -> Array:
        """SN: charge, fire, reset, step after step (SEW paper, eq. 1-5); an MLF unit counts its K levels."""
        neuron = layer.get("neuron", self.network["neuron"])
        out = np.zeros_like(x)
        for threshold in (neuron["threshold"], *neuron.get("levels", ())):
            out += self.level(neuron, name, threshold, x)
        return out

    def level(self, neuron: Description, name: str, threshold: float, x: Array) -> Array:
        out = np.zeros_like(x)
        rest = neuron.get("v_reset", 0.0)
        v = np.full(x[:, 0].shape, rest)
        for t in range(x.shape[1]):
            h = charge(neuron, v, x[:, t])
            s = (h >= threshold) if neuron["fire"] == "ge" else (h > threshold)
            self.ties[name] = self.ties.get(name, 0) + int(np.sum(h == threshold))
            if neuron["reset"] == "hard":
                v = s * rest + (1 - s) * h
            elif neuron["reset"] == "soft":
                v = h - s * threshold
            else:
                v = h
            out[:, t] = s
        return out

    def current(self, name: str, x: Array, stride: int = 1, padding: int | None = None) -> Array:
        """BN(C x)."""
        weight = np.asarray(self.arrays[f"weight/{name}"], np.float64)
        bias = self.arrays.get(f"bias/{name}")
        half = weight.shape[-1] // 2 if padding is None else padding
        return convolve(x, weight, None if bias is None else np.asarray(bias, np.float64), stride, half)

    def spikes(self, layer: Description, name: str, x: Array) -> Array:
        self.tensors[f"spikes/{name}"] = self.fire(layer, name, x)
        return self.tensors[f"spikes/{name}"]

    def conv(self, layer: Description, x: Array) -> tuple[Array, Array]:
        """SN(BN(C x)), and the stream BN(C x)."""
        name = layer["name"]
        drive = self.current(name, x, layer.get("stride", 1), layer.get("padding"))
        if layer.get("keeps_stream"):
            self.tensors[f"stream/{name}"] = drive
        return self.spikes(layer, name, drive), drive

    def dense(self, layer: Description, x: Array) -> Array:
        """SN(W flatten(x) + b)."""
        return self.spikes(layer, layer["name"], self.linear(layer["name"], x.reshape(*x.shape[:2], -1, 1, 1)))

    def linear(self, name: str, x: Array) -> Array:
        """W x + b, x [N, T, C, 1, 1]."""
        weight = np.asarray(self.arrays[f"weight/{name}"], np.float64)
        out = np.einsum("cd,ntdhw->ntchw", weight, x)
        return out + self.arrays[f"bias/{name}"][:, None, None] if f"bias/{name}" in self.arrays else out

    def _pool(self, layer: Description, x: Array, reduce: Callable[[list[Array]], Array]) -> Array:
        kernel = layer["kernel"]
        made = pool(x, kernel, layer.get("stride", kernel), layer.get("padding", 0), reduce)
        self.tensors[f"spikes/{layer['name']}"] = made
        return made

    def maxpool(self, layer: Description, x: Array) -> Array:
        return self._pool(layer, x, lambda window: np.max(window, axis=0))

    def sumpool(self, layer: Description, x: Array) -> Array:
        return self._pool(layer, x, lambda window: np.sum(window, axis=0))

    def avgpool(self, layer: Description, x: Array) -> Array:
        return self._pool(layer, x, lambda window: np.mean(window, axis=0))

    def branch(self, layer: Description, x: Array) -> Array:
        """The last convolution's sum: BN(C3(SN(BN(C3 S)))), or the bottleneck's C1, C3, C1."""
        name, convs = layer["name"], layer.get("convs", 2)
        strided = 1 if convs == 2 else 2  # which convolution takes the block's stride
        for number in range(1, convs):
            stride = layer.get("stride", 1) if number == strided else 1
            x = self.spikes(layer, f"{name}.conv{number}", self.current(f"{name}.conv{number}", x, stride))
        return self.current(f"{name}.conv{convs}", x)

    def _last(self, layer: Description) -> str:
        return f"{layer['name']}.conv{layer.get('convs', 2)}"

    def plain(self, layer: Description, x: Array) -> Array:
        """O = SN(BN(C3(SN(BN(C3 S)))))."""
        return self.spikes(layer, self._last(layer), self.branch(layer, x))

    def spiking_resnet(self, layer: Description, x: Array) -> Array:
        """O = SN(BN(C3(SN(BN(C3 S)))) + sc(S)), sc the identity or BN(C1 stride): a current.

        A network whose parameters are all multiplied by ``current`` has that times the identity.
        """
        total = self.branch(layer, x)
        if layer.get("projection"):
            shortcut = self.current(f"{layer['name']}.projection", x, layer.get("stride", 1))
            self.tensors[f"stream/{layer['name']}.projection"] = shortcut
        else:
            shortcut = self.network.get("current", 1) * x
        return self.spikes(layer, self._last(layer), total + shortcut)

    def sew(self, layer: Description, x: Array) -> Array:
        """O = g(A, sc(S)) (SEW paper, eq. 8, table 1), sc the identity or SN(BN(C1 stride)).

        OR is also that of OR-Spiking ResNet; ``clamp``: min(A + S, 1); ``iand_swapped``: A * (1 - S).
        """
        name = layer["name"]
        a = self.fire(layer, self._last(layer), self.branch(layer, x))
        s = x
        if layer.get("projection"):
            s = self.spikes(layer, f"{name}.projection", self.current(f"{name}.projection", x, layer.get("stride", 1)))
        self.tensors[f"branch/{self._last(layer)}"] = a
        made = {
            "add": lambda: a + s,
            "and": lambda: a * s,
            "iand": lambda: (1 - a) * s,
            "iand_swapped": lambda: a * (1 - s),
            "or": lambda: a + s - a * s,
            "clamp": lambda: np.minimum(a + s, 1),
        }[layer["combine"]]()
        self.tensors[f"spikes/{self._last(layer)}"] = made
        return made

    def ds(self, layer: Description, x: Array) -> Array:
        """O = MLF(BN(C3(MLF(BN(C3 S))))) + sc, sc the identity or MLF(BN(C1 stride)) (DS-ResNet)."""
        return self.sew({**layer, "combine": "add"}, x)

    def ms(self, layer: Description, x: Array, stream: Array) -> tuple[Array, Array]:
        """y = BN(C3(SN(BN(C3(SN x))))) + sc(x), sc the identity, BN(C1 stride) or BN(C1(AvgPool)) (MS-ResNet).

        ``x`` is SN of the incoming stream; the result is SN y and y.
        """
        name, stride = layer["name"], layer.get("stride", 1)
        total = self.branch(layer, x)
        if layer.get("projection") == "pool":
            pooled = pool(stream, stride, stride, 0, lambda window: np.mean(window, axis=0))
            stream = self.current(f"{name}.projection", pooled)
        elif layer.get("projection"):
            stream = self.current(f"{name}.projection", stream, stride)
        if layer.get("projection"):
            self.tensors[f"stream/{name}.projection"] = stream
        y = total + stream
        self.tensors[f"stream/{self._last(layer)}"] = y
        return self.spikes(layer, self._last(layer), y), y

    def membrane(self, layer: Description, x: Array) -> Array:
        """Membrane shortcut of dense layers: V' = leak(V) + W2 SN(W1 S) + current * S; SN fires on it."""
        name = layer["name"]
        y = self.spikes(layer, f"{name}.dense1", self.linear(f"{name}.dense1", x))
        return self.spikes(layer, f"{name}.dense2", self.linear(f"{name}.dense2", y) + layer["current"] * x)

    def readout(self, layer: Description, x: Array) -> Array:
        """[N, classes]: the mean over T of FC(mean over pixels) or, ``flatten``, of FC(all pixels)."""
        x = x.reshape(*x.shape[:2], -1) if layer.get("flatten") else x.mean(axis=(3, 4))
        weight = np.asarray(self.arrays["weight/readout"], np.float64)
        return (x @ weight.T + self.arrays["bias/readout"]).mean(axis=1)


def evaluate(network: Description, arrays: dict[str, NDArray[Any]]) -> dict[str, Array]:
    """All tensors of a described network on ``arrays["x"]``."""
    return Evaluator(network, arrays).run()
