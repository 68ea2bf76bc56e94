"""A float network beside its integer one on given inputs: predictions, every layer's spikes, and where they part.

Both models run on a few inputs at a time and everything is summed up on the way, so memory does not grow with
the number of inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import floatmodel, golden
from .agreement import LayerAgreement, SpikeCounts, batch_images, own_spikes, spiking_layers
from .divergence import Difference, Divergence, Margins
from .errors import DataError
from .isolated import isolated_differences
from .layers import ConvLayer, FloatArray, GateLayer
from .network import Network
from .quantized import IntArray, QuantizedNetwork
from .rounding import Misfit, misfits, units_of

#: Images in which each layer is looked at alone.
OWN_IMAGES = 16


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """One layer; everything about spikes is None, 0 or empty for a layer that only keeps a membrane stream.

    agreement: rates and agreement of its spikes (:class:`refmodel.agreement.LayerAgreement`).
    steps ``[T]``: fraction of its neurons whose spikes differ at each step, mean over images.
    images: images in which any of its spikes differs; first_in: those in which no earlier layer differs.
    example, margins: about the images of ``first_in`` (:mod:`refmodel.divergence`).
    own: fraction of its neuron steps that differ where it is fed with the float network's spikes, in the first images
    (:mod:`refmodel.isolated`).  stream_error: RMS of the kept stream's difference over the RMS of the float stream.
    """

    name: str
    agreement: LayerAgreement | None
    steps: FloatArray
    images: int
    first_in: int
    example: Difference | None
    margins: Margins | None
    own: float | None
    stream_error: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """layers: those with spikes or streams, in execution order.

    logits ``[N, classes]`` in the float network's units, predictions ``[N]``.  first_layer ``[N]``: position in
    ``layers`` of the first that differs in that image, -1 where no spike does.  misfits: of each layer with weights the
    number that is furthest from its float value (:mod:`refmodel.rounding`).
    """

    layers: tuple[LayerComparison, ...]
    logits_float: FloatArray
    logits_int: FloatArray
    predictions_float: IntArray
    predictions_int: IntArray
    first_layer: IntArray
    misfits: tuple[Misfit, ...]

    @property
    def first(self) -> LayerComparison | None:
        """The first layer, in execution order, with a spike that differs in any image; None if all agree."""
        return next((layer for layer in self.layers if layer.images), None)

    @property
    def agreement(self) -> float:
        """Fraction of images for which both networks predict the same class."""
        return float(np.mean(self.predictions_float == self.predictions_int))


def compare(
    net: Network, qnet: QuantizedNetwork, x: NDArray[Any], *, progress: Callable[[float], None] = lambda share: None
) -> Comparison:
    """Run ``net`` and ``qnet``, the same network quantised and neither pruned nor lowered, on integers ``x``.

    ``x``: ``[N, C, H, W]`` when the input is static, else ``[N, T, C, H, W]``.  ``progress`` is called with the share
    done.  Raises NetworkError if ``qnet`` is of another network or does not say its scales, DataError for inputs that
    do not fit or none at all.
    """
    if len(x) == 0:
        raise DataError(f"network {net.name!r}: no inputs to compare on; give at least one")
    tensors = qnet.tensors()
    spiking = set(spiking_layers(net, qnet, tensors))
    streaming = {layer.name for layer in net.layers if isinstance(layer, ConvLayer) and layer.keeps_stream}
    tallies = [
        _Tally(
            net,
            qnet,
            layer.name,
            SpikeCounts(int(np.prod(tensors[layer.name].shape)), net.steps) if layer.name in spiking else None,
            layer.name in streaming,
        )
        for layer in net.layers
        if layer.name in spiking | streaming
    ]
    found = tuple(misfits(net, qnet))
    scale = qnet.layers[-1].scale
    assert scale is not None, "misfits refuses it"
    batch = batch_images(tensors, net.steps)
    few = floatmodel.run(net, x[: min(OWN_IMAGES, batch)], keep=True)
    own = isolated_differences(net, qnet, few)
    del few
    logits: list[FloatArray] = []
    results: list[IntArray] = []
    firsts: list[IntArray] = []
    for start in range(0, len(x), batch):
        progress(start / len(x))
        part = x[start : start + batch]
        real, whole = floatmodel.run(net, part, keep=True, batch=batch), golden.run(qnet, part, keep=True)
        first = np.full(len(part), -1, np.int64)
        for number, tally in enumerate(tallies):
            tally.add(real, whole, first, number, start)
        logits.append(real.logits)
        results.append(whole.results)
        firsts.append(first)
    floats, wholes = np.concatenate(logits), np.concatenate(results)
    return Comparison(
        layers=tuple(tally.result(len(x), own) for tally in tallies),
        logits_float=floats,
        logits_int=wholes * scale,
        predictions_float=np.argmax(floats, axis=1).astype(np.int64),
        predictions_int=np.argmax(wholes, axis=1).astype(np.int64),
        first_layer=np.concatenate(firsts),
        misfits=found,
    )


class _Tally:
    """Running sums of one layer; ``counts``: where it has spikes, ``keeps``: whether it keeps a stream."""

    def __init__(
        self, net: Network, qnet: QuantizedNetwork, name: str, counts: SpikeCounts | None, keeps: bool
    ) -> None:
        self.name, self.counts = name, counts
        self.layer = next(layer for layer in net.layers if layer.name == name)
        self.made = next(layer for layer in qnet.layers if layer.name == name)
        #: float value of one unit of the stream
        self.units = units_of(self.layer, self.made) if keeps and isinstance(self.layer, ConvLayer) else None
        self.divergence = Divergence()
        self.steps = np.zeros(net.steps)
        self.images = self.first_in = 0
        self.squares = [0.0, 0.0]

    def add(
        self, real: floatmodel.FloatResult, whole: golden.GoldenResult, first: IntArray, number: int, start: int
    ) -> None:
        """Take in a batch; ``first`` is filled where this layer, ``number``, is the first that differs."""
        if self.units is not None:
            stream = real.streams[self.name]
            error = stream - whole.streams[self.name] * self.units[:, None, None]
            self.squares[0] += float(np.square(error).sum())
            self.squares[1] += float(np.square(stream).sum())
        if self.counts is None:
            return
        mine, theirs = real.spikes[self.name], own_spikes(self.made, whole)
        self.counts.add(mine, theirs, start)
        differs = mine != theirs
        self.steps += differs.mean(axis=(2, 3, 4)).sum(axis=0)
        images = differs.any(axis=(1, 2, 3, 4))
        self.images += int(images.sum())
        fresh = np.flatnonzero(images & (first < 0))
        first[fresh] = number
        self.first_in += len(fresh)
        if len(fresh) and isinstance(self.layer, ConvLayer | GateLayer):
            self.divergence.add(self.layer, self.made, real, whole, fresh, start)

    def result(self, count: int, own: dict[str, float]) -> LayerComparison:
        spikes = self.counts is not None
        error, size = self.squares
        return LayerComparison(
            name=self.name,
            agreement=self.counts.result(self.name, count) if self.counts is not None else None,
            steps=self.steps / count if spikes else np.zeros(0),
            images=self.images,
            first_in=self.first_in,
            example=self.divergence.example,
            margins=self.divergence.margins(),
            own=own.get(self.name),
            stream_error=None if self.units is None else (error / size) ** 0.5 if size else 0.0,
        )
