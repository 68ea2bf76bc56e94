"""Small NIR graphs for tests: parts with exact numbers, and random graphs of all supported nodes."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

DT = 1e-4


class Grapher:
    """Builds a graph node by node; weights are multiples of 1/4, so that all sums are exact."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, Any] = {"input": nir.Input(input_type=np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, tuple[int, ...]] = {"input": shape}

    def add(self, name: str, node: Any, sources: Any, shape: tuple[int, ...]) -> str:
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [(source, name) for source in ([sources] if isinstance(sources, str) else sources)]
        return name

    def shape(self, sources: Any) -> tuple[int, ...]:
        return self.shapes[sources if isinstance(sources, str) else sources[0]]

    def values(self, *shape: int, low: int = -4, high: int = 6) -> Any:
        return self.rng.integers(low, high + 1, shape) / 4

    def conv(self, name: str, sources: Any, channels: int | None = None, stride: int = 1, kernel: int = 3) -> str:
        cin, height, width = self.shape(sources)
        cout = cin if channels is None else channels
        node = nir.Conv2d(
            (height, width), self.values(cout, cin, kernel, kernel), stride, kernel // 2, 1, 1, self.values(cout)
        )
        pads = kernel // 2 * 2
        size = [(length + pads - kernel) // stride + 1 for length in (height, width)]
        return self.add(name, node, sources, (cout, *size))

    def affine(self, name: str, sources: Any, outputs: int, bias: bool = True) -> str:
        weight = self.values(outputs, self.shape(sources)[0])
        node = nir.Affine(weight, self.values(outputs)) if bias else nir.Linear(weight)
        return self.add(name, node, sources, (outputs,))

    def flatten(self, name: str, sources: Any) -> str:
        shape = self.shape(sources)
        return self.add(name, nir.Flatten(np.array(shape), 0, -1), sources, (int(np.prod(shape)),))

    def fire(self, name: str, sources: Any, kind: str = "if", threshold: float = 1.0) -> str:
        shape = self.shape(sources)
        full = {key: np.full(shape, value) for key, value in (("one", 1.0), ("th", threshold), ("zero", 0.0))}
        if kind == "if":
            node = nir.IF(r=full["one"] / DT, v_threshold=full["th"], v_reset=full["zero"])
        elif kind == "lif":
            node = nir.LIF(tau=full["one"] * 2 * DT, r=full["one"] * 2, v_leak=full["zero"], v_threshold=full["th"],
                           v_reset=full["zero"])  # fmt: skip
        else:
            node = nir.Threshold(full["th"])
        return self.add(name, node, sources, shape)

    def scale(self, name: str, sources: Any, scale: Any) -> str:
        shape = self.shape(sources)
        return self.add(name, nir.Scale(np.broadcast_to(scale, shape).copy()), sources, shape)

    def pool(self, name: str, sources: Any, kind: str = "avg", kernel: int = 2) -> str:
        channels, height, width = self.shape(sources)
        pair = np.array((kernel, kernel))
        node = (nir.AvgPool2d if kind == "avg" else nir.SumPool2d)(pair, pair, np.array((0, 0)))
        return self.add(name, node, sources, (channels, height // kernel, width // kernel))

    def build(self, sources: Any, check: bool = True) -> nir.NIRGraph:
        self.add("output", nir.Output(output_type=np.array(self.shape(sources))), sources, self.shape(sources))
        return nir.NIRGraph(dict(self.nodes), list(self.edges), type_check=check)


def sew_chain(blocks: int, shape: tuple[int, int, int] = (2, 5, 5), seed: int = 0) -> nir.NIRGraph:
    """Stem, SEW-ADD blocks of two convolutions, Flatten, Affine."""
    g = Grapher(shape, seed)
    total = [g.fire("sn0", g.conv("conv0", "input"))]
    for block in range(1, blocks + 1):
        inner = g.fire(f"b{block}.sn1", g.conv(f"b{block}.conv1", total))
        total = [*total, g.fire(f"b{block}.sn2", g.conv(f"b{block}.conv2", inner))]
    return g.build(g.affine("fc", g.flatten("flat", total), 4))


def membrane_chain(blocks: int, shape: tuple[int, int, int] = (2, 5, 5), seed: int = 0) -> nir.NIRGraph:
    """Stem, MS blocks whose currents add up, Flatten, Affine."""
    g = Grapher(shape, seed)
    total = [g.conv("conv0", "input")]
    for block in range(1, blocks + 1):
        inner = g.fire(f"b{block}.sn2", g.conv(f"b{block}.conv1", g.fire(f"b{block}.sn1", total)))
        total = [*total, g.conv(f"b{block}.conv2", inner)]
    return g.build(g.affine("fc", g.flatten("flat", g.fire("sn", total)), 4))


def random_graph(seed: int, nodes: int = 14) -> nir.NIRGraph:
    """A random feed-forward graph of small planes: all kinds of nodes, sums of what has equal shapes."""
    g = Grapher((2, 4, 4), seed)
    rng = g.rng
    for index in range(int(rng.integers(3, nodes))):
        by_shape: dict[tuple[int, ...], list[str]] = {}
        for name, shape in g.shapes.items():
            by_shape.setdefault(shape, []).append(name)
        anchor = list(g.shapes)[-1 if rng.random() < 0.6 else int(rng.integers(len(g.shapes)))]
        same = by_shape[g.shapes[anchor]]
        extra = [name for name in same if name != anchor and rng.random() < 0.3][:3]
        if rng.random() < 0.35:  # as residual networks do: what another node reads, and one more
            reader = str(rng.choice([b for _, b in g.edges])) if g.edges else ""
            known = [a for a, b in g.edges if b == reader]
            if known and g.shape(known) == g.shapes[anchor]:
                extra = [name for name in known if name != anchor]
        sources = [anchor, *extra]
        name, shape = f"n{index}", g.shapes[anchor]
        kind = rng.choice(["conv", "conv", "fire", "fire", "fire", "scale", "pool", "flat"])
        if kind == "fire":
            g.fire(name, sources, str(rng.choice(["if", "if", "lif", "step"])), float(rng.choice([0.5, 1.0, 2.0])))
        elif kind == "scale":
            g.scale(name, sources, rng.choice([0.5, 1.0, 2.0], (shape[0], *[1] * (len(shape) - 1))))
        elif len(shape) == 1:
            g.affine(name, sources, int(rng.integers(2, 5)), bool(rng.random() < 0.5))
        elif kind == "pool" and min(shape[1:]) >= 2:
            g.pool(name, sources, str(rng.choice(["avg", "sum"])))
        elif kind == "flat":
            g.flatten(name, sources)
        else:
            stride = 2 if min(shape[1:]) >= 4 and rng.random() < 0.3 else 1
            g.conv(name, sources, int(rng.choice([shape[0], 2, 3])), stride, int(rng.choice([1, 3])))
    read = {a for a, _ in g.edges}
    loose = [name for name in g.shapes if name not in read]
    if len(loose) == 1 and rng.random() < 0.5:
        return g.build(loose)
    flat = [name if len(g.shapes[name]) == 1 else g.flatten(f"{name}.flat", name) for name in loose]
    ends = [g.affine(f"{name}.end", name, 3) for name in flat]
    return g.build(ends)
