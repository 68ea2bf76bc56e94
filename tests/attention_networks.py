"""Small random float networks with SynA attention in every place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refmodel import floatmodel
from refmodel.attention import Attention, Axis, scores
from refmodel.builder import NetworkBuilder
from refmodel.network import InputSpec, Network, Neuron

Array = NDArray[np.float64]
STEPS, SIZE = 5, 6
LIF = Neuron("lif")


def images(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """``n`` inputs of :func:`syna_network`."""
    return rng.integers(0, 16, (n, 2, SIZE, SIZE))


class Grower:
    """Random synapses and attentions for a network under construction."""

    def __init__(self, seed: int, neuron: Neuron = LIF) -> None:
        self.rng = np.random.default_rng(seed)
        spec = InputSpec((2, SIZE, SIZE), 4, scale=1 / 8)
        self.builder = NetworkBuilder("syna", STEPS, spec, neuron=neuron, family="SynA")
        self.images = images(self.rng, 8)

    def synapses(self, outputs: int, inputs: int, size: int = 3) -> tuple[Array, Array]:
        weight = self.rng.normal(0, 4 / (inputs * size * size) ** 0.5, (outputs, inputs, size, size))
        return weight, self.rng.normal(0.5, 0.3, outputs)

    def attention(self, axis: Axis, channels: int, neuron: Neuron | None = None) -> Attention:
        """Weights of both signs, more of them positive."""
        size = STEPS if axis == "time" else channels
        first, second = self.rng.normal(0.2, 0.3, (3, size)), self.rng.normal(0.2, 0.4, (size, 3))
        return Attention(axis, first, second, neuron)

    def inhibition(self, x: str, axis: Axis) -> Attention:
        """Gates for the spikes ``x`` of which some are open: the scores lie about the threshold."""
        channels = self.builder.tensor(x).shape[0]
        made = self.attention(axis, channels)
        bench = NetworkBuilder("probe", STEPS, self.builder.input)
        for layer in self.builder._layers:
            bench.add(layer)
        bench.readout(x, np.zeros((2, channels)))
        values = scores(floatmodel.run(bench.build(), self.images, keep=True).tensors[x], made)
        return Attention(axis, made.first, made.second * 2 / np.abs(values).mean(), LIF)


def syna_network(seed: int, axis: Axis = "time") -> Network:
    """Stem, an identity block, a block that projects, gates on all of it, a dense layer with attention."""
    grow = Grower(seed)
    builder = grow.builder
    x = builder.conv("input", *grow.synapses(4, 2), attention=grow.attention(axis, 4), name="stem")
    x = builder.syna_block(
        x, *grow.synapses(4, 4), *grow.synapses(4, 4), attention1=grow.attention(axis, 4),
        attention2=grow.attention("channel", 4), inhibition=grow.inhibition(x, axis), name="b1",
    )  # fmt: skip
    x = builder.syna_block(
        x, *grow.synapses(6, 4), *grow.synapses(6, 6), attention1=grow.attention("time", 6, Neuron(threshold=0.3)),
        attention2=grow.attention(axis, 6), stride=2, projection=grow.synapses(6, 4, 1), name="b2",
    )  # fmt: skip
    x = builder.gate(x, grow.inhibition(x, "channel"), name="gate")
    x = builder.dense(x, grow.rng.normal(0, 0.7, (8, 54)), attention=grow.attention("channel", 8), name="dense")
    builder.readout(x, grow.rng.normal(0, 1, (3, 8)), grow.rng.normal(0, 0.2, 3))
    return builder.build()
