"""An evaluator of NIR graphs, apart from the importer: explicit Euler steps of the published equations, in float64.

Nodes are ``nir`` objects.  IF: v' = r I; LIF and LI: tau v' = (v_leak - v) + r I; a spike where v > v_threshold, then
v = v_reset; Threshold: 1 where I > threshold.  Values on edges that meet are added.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Evaluator:
    """One graph with its state; ``dt``: seconds a step; ``unit_r``: IF's r times dt is 1; ``at_least``: fires at >=."""

    def __init__(self, graph: nir.NIRGraph, dt: float, *, unit_r: bool = True, at_least: bool = False) -> None:
        self.graph, self.dt, self.unit_r, self.at_least = graph, dt, unit_r, at_least
        self.inner = {
            name: Evaluator(node, dt, unit_r=unit_r, at_least=at_least)
            for name, node in graph.nodes.items()
            if isinstance(node, nir.NIRGraph)
        }
        self.state: dict[str, Array] = {}
        self.spikes: dict[str, list[Array]] = {}

    def run(self, frames: Array) -> Array:
        """The Output's value at each step for ``frames``, one a step."""
        return np.stack([self.step(frame) for frame in frames])

    def step(self, frame: Array) -> Array:
        values: dict[str, Array] = {}
        result = np.zeros(0)
        waiting = dict(self.graph.nodes)
        while waiting:
            for name, node in list(waiting.items()):
                sources = [a for a, b in self.graph.edges if b == name]
                if any(source in waiting for source in sources):
                    continue
                total = frame if isinstance(node, nir.Input) else sum((values[s] for s in sources), np.zeros(()))
                values[name] = self.node(name, node, total)
                if isinstance(node, nir.Output):
                    result = values[name]
                del waiting[name]
        return result

    def node(self, name: str, node: Any, x: Array) -> Array:
        if isinstance(node, nir.NIRGraph):
            return self.inner[name].step(x)
        if isinstance(node, nir.Affine):
            return node.weight @ x + node.bias
        if isinstance(node, nir.Linear):
            return node.weight @ x
        if isinstance(node, nir.Conv1d):
            pads = node.padding if isinstance(node.padding, str) else (0, int(np.ravel(node.padding)[0]))
            steps = [(1, int(np.ravel(value)[0])) for value in (node.stride, node.dilation)]
            return convolve(x[:, None], node.weight[:, :, None], node.bias, steps[0], pads, steps[1], node.groups)[:, 0]
        if isinstance(node, nir.Conv2d):
            return convolve(x, node.weight, node.bias, node.stride, node.padding, node.dilation, node.groups)
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            kernel = tuple(int(size) for size in np.ravel(node.kernel_size))
            taps = np.ones((1, 1, *kernel)) / (np.prod(kernel) if isinstance(node, nir.AvgPool2d) else 1)
            planes = [convolve(plane[None], taps, None, node.stride, node.padding, (1, 1), 1)[0] for plane in x]
            return np.stack(planes)
        if isinstance(node, nir.Flatten):
            start, end = node.start_dim, node.end_dim % x.ndim
            return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
        if isinstance(node, nir.Scale):
            return node.scale * x
        if isinstance(node, nir.Threshold):
            return (x >= node.threshold if self.at_least else x > node.threshold).astype(float)
        if isinstance(node, nir.IF):
            v = self.state.get(name, np.asarray(node.v_reset) + 0 * x)
            v = v + (x if self.unit_r else node.r * self.dt * x)
            return self.fired(name, node, v)
        if isinstance(node, nir.LIF):
            v = self.state.get(name, np.asarray(node.v_reset) + 0 * x)
            v = v + self.dt / node.tau * (node.v_leak - v + node.r * x)
            return self.fired(name, node, v)
        if isinstance(node, nir.LI):
            return node.r / node.tau * x / (node.r / node.tau).flat[0]  # read as a sum
        assert isinstance(node, nir.Input | nir.Output), node
        return x

    def fired(self, name: str, node: Any, v: Array) -> Array:
        spikes = v >= node.v_threshold if self.at_least else v > node.v_threshold
        self.state[name] = np.where(spikes, node.v_reset, v)
        self.spikes.setdefault(name, []).append(spikes)
        return spikes.astype(float)


def convolve(x: Array, weight: Array, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    """Tap by tap, as the definition says; ``same`` puts the odd row and column after."""
    (sh, sw), (dh, dw) = (np.broadcast_to(np.ravel(value), 2) for value in (stride, dilation))
    kh, kw = weight.shape[2:]
    if isinstance(padding, str):
        total = ((kh - 1) * dh, (kw - 1) * dw) if padding == "same" else (0, 0)
        pads = [(size // 2, size - size // 2) for size in total]
    else:
        pads = [(int(size), int(size)) for size in np.broadcast_to(np.ravel(padding), 2)]
    x = np.pad(x, ((0, 0), *pads))
    height, width = (x.shape[1] - (kh - 1) * dh - 1) // sh + 1, (x.shape[2] - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((len(weight), height, width))
    per_in, per_out = x.shape[0] // groups, len(weight) // groups
    for o in range(len(weight)):
        group = x[o // per_out * per_in :][:per_in]
        for i in range(height):
            for j in range(width):
                window = group[:, i * sh : i * sh + (kh - 1) * dh + 1 : dh, j * sw : j * sw + (kw - 1) * dw + 1 : dw]
                out[o, i, j] = (weight[o] * window).sum()
    return out if bias is None else out + bias[:, None, None]
