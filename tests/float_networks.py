"""Random float networks of every layer and neuron kind, grown with the builder.

With ``exact``, weights, biases and currents are integers (those of spikes multiples of 64), and
T <= 4 steps of the leaks 1/4, 1/2 and 3/4 stay integers: :func:`refmodel.quantize.quantize` with
``scale="unit"`` must then change nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refmodel.builder import NetworkBuilder
from refmodel.layer_checks import RealTensor
from refmodel.network import InputSpec, Network, Neuron
from refmodel.quantized import INPUT

#: What leaks of up to 2 fraction bits may divide in 3 steps.
UNIT = 64


def random_float_network(rng: np.random.Generator, *, exact: bool, layers: int = 8, steps: int = 4) -> Network:
    """A network of about ``layers`` layers before its readout."""
    signed = bool(rng.integers(2))
    scale = 1.0 if exact or rng.random() < 0.5 else 0.25
    spec = InputSpec((int(rng.integers(1, 4)), 6, 7), int(rng.integers(2, 5)), bool(rng.integers(2)), scale, signed)
    grower = _Grower(rng, NetworkBuilder("random", steps, spec, family="random"), exact)
    grower.conv(INPUT)
    while len(grower.made) < layers:
        grower.grow()
    return grower.readout()


def random_frames(rng: np.random.Generator, net: Network, n: int) -> NDArray[np.int64]:
    """``n`` inputs of ``net``: ``[N, C, H, W]`` when static, else ``[N, T, C, H, W]``."""
    spec = net.input.tensor
    shape = (n, *spec.shape) if net.input.static else (n, net.steps, *spec.shape)
    return rng.integers(spec.min_value, spec.max_value + 1, shape)


class _Grower:
    def __init__(self, rng: np.random.Generator, builder: NetworkBuilder, exact: bool) -> None:
        self.rng, self.builder, self.exact = rng, builder, exact
        self.made: list[str] = []
        self.sources = [INPUT]
        #: bits that a source's values need beyond those of spikes, so that sums stay far from 62 bits
        self.streams: list[str] = []
        self.averages: dict[str, int] = {}

    def grow(self) -> None:
        action = str(self.rng.choice(["conv", "conv", "conv", "combine", "current", "add_stream", "pool", "stream"]))
        if action == "conv":
            self.conv(self._source())
        elif action == "pool":
            self.pool()
        elif action == "stream" and self.streams:
            chosen = str(self.rng.choice(self.streams))
            bits = None if self.exact or self.rng.random() < 0.5 else int(self.rng.integers(5, 12))
            name = self.builder.stream(chosen, bits)
            self.made.append(name)
            self.conv(name)
        elif action == "add_stream" and self.streams:
            chosen = str(self.rng.choice(self.streams))
            self.conv(self._spikes(chosen), like=chosen, stream=chosen)
        elif action in ("combine", "current"):
            shortcut = self._shortcut(binary=action == "current")
            if shortcut is not None:
                self.shortcut(shortcut, action)

    def _source(self) -> str:
        return str(self.rng.choice(self.sources[-3:]))

    def _spikes(self, like: str) -> str:
        """A source whose same-size convolution has the shape of ``like``: not real-valued."""
        size = self.builder.tensor(like).shape[1:]
        return str(self.rng.choice([
            name for name in self.sources
            if self.builder.tensor(name).shape[1:] == size and not isinstance(self.builder.tensor(name), RealTensor)
        ] or [self._any(like)]))  # fmt: skip

    def _any(self, like: str) -> str:
        """A fresh tensor of the size of ``like``, by a convolution of the stream itself."""
        name = self.builder.stream(like)
        self.made.append(name)
        return self.conv(name, like=like)

    def _shortcut(self, binary: bool) -> str | None:
        infos = {name: self.builder.tensor(name) for name in self.sources}
        found = [
            name for name, info in infos.items()
            if not isinstance(info, RealTensor) and not info.signed and (info.max_value == 1 or not binary)
            and (name != INPUT or self.builder.input.scale == 1)
        ]  # fmt: skip
        return str(self.rng.choice(found)) if found else None

    def shortcut(self, shortcut: str, action: str) -> None:
        source = self._spikes(shortcut)
        if action == "current":
            self.conv(source, like=shortcut, shortcut=shortcut, current=float(self._integers(())))
            return
        binary = self.builder.tensor(shortcut).max_value == 1
        combine = str(self.rng.choice(["add", "and", "iand", "or"])) if binary else "add"
        self.conv(source, like=shortcut, shortcut=shortcut, combine=combine, mlf=combine == "add")

    def conv(self, source: str, like: str | None = None, mlf: bool = True, **options) -> str:
        """A convolution; of the shape of ``like`` when given."""
        rng = self.rng
        info = self.builder.tensor(source)
        kernel = int(rng.choice([1, 3]))
        outputs = int(rng.integers(1, 5))
        stride = 1 if like or min(info.shape[1:]) < 4 else int(rng.integers(1, 3))
        if like is not None:
            outputs = self.builder.tensor(like).shape[0]
        real = isinstance(info, RealTensor)
        window = self.averages.get(source, 1)
        step = (window * UNIT if real and window > 1 else 1) if real else UNIT
        weight = self._values((outputs, info.shape[0], kernel, kernel), step)
        bias = self._values((outputs,), UNIT) if rng.random() < 0.7 else None
        without = like is None and rng.random() < 0.15
        keeps = without or (len(self.streams) < 6 and rng.random() < 0.4)
        spread = float(np.sqrt(info.shape[0]) * kernel * max(info.max_value, 1)) * UNIT * 2
        neuron = None if without else self._neuron(spread, mlf)
        if without:
            options["neurons"] = False
        name = self.builder.conv(
            source, weight, bias, stride=stride, neuron=neuron, keeps_stream=keeps,
            rectify=not without and bool(rng.random() < 0.2), **options,
        )  # fmt: skip
        self.made.append(name)
        if not without:
            self.sources.append(name)
        if keeps:
            self.streams.append(name)
        return name

    def pool(self) -> None:
        found = [
            name for name in self.sources
            if not isinstance(self.builder.tensor(name), RealTensor) and not self.builder.tensor(name).signed
            and min(self.builder.tensor(name).shape[1:]) >= 3
        ]  # fmt: skip
        if not found:
            return
        make = [self.builder.maxpool, self.builder.sumpool, self.builder.avgpool][int(self.rng.integers(3))]
        padding = int(self.rng.integers(2))
        name = make(str(self.rng.choice(found)), 2, int(self.rng.integers(1, 3)), padding)
        self.made.append(name)
        self.sources.append(name)
        if make == self.builder.avgpool:
            self.averages[name] = 4

    def readout(self) -> Network:
        source = self.sources[-1]
        info = self.builder.tensor(source)
        pooled = bool(self.rng.integers(2))
        features = info.shape[0] if pooled else int(np.prod(info.shape))
        self.builder.readout(
            source, self._values((3, features), self.averages.get(source, 1)), None,
            pool="global_average" if pooled else "none",
        )  # fmt: skip
        return self.builder.build()

    def _integers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return self.rng.integers(-3, 4, shape).astype(np.float64) * UNIT

    def _values(self, shape: tuple[int, ...], step: int) -> NDArray[np.float64]:
        if self.exact:
            return self.rng.integers(-3, 4, shape).astype(np.float64) * step
        return self.rng.normal(0, 2.0 * UNIT * self.rng.uniform(0.2, 5), shape)

    def _neuron(self, spread: float, mlf: bool) -> Neuron:
        """Thresholds are halves of odd integers where float noise could decide a tie, else integers."""
        rng = self.rng
        kind = str(rng.choice(["if", "lif", "lif", "step"]))
        reset = "hard" if kind == "step" else str(rng.choice(["hard", "hard", "soft", "none"]))
        fire = str(rng.choice(["ge", "gt"]))
        taus = [2.0, 4.0] if reset == "soft" else [2.0, 4.0, 4 / 3]
        tau = float(rng.choice(taus)) if self.exact else float(rng.uniform(1.1, 9))
        soft = reset == "soft"
        # a soft reset by 64 n stays a multiple of what the leaks divide by
        base = np.sort(rng.choice(np.arange(1, 40), 3, replace=False)) * max(1.0, spread / 40 / UNIT) // 1 * UNIT
        edges = base * (tau if soft and kind == "lif" else 1.0) + (0.0 if soft else 0.5)
        edges = np.unique(edges)
        levels = tuple(float(edge) for edge in edges[1:]) if mlf and rng.random() < 0.3 else ()
        v_reset = float(rng.choice([-UNIT, 0, 0])) if reset == "hard" and kind != "step" else 0.0
        decay = bool(rng.integers(2)) and tau in (2.0, 4.0)
        return Neuron(kind, float(edges[0]), tau, decay, reset, v_reset, fire, levels)
