"""How far an integer network follows the float network it was made from, layer by layer, on given inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import floatmodel, golden
from .errors import DataError, NetworkError
from .network import Network
from .quantized import IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo

#: Most images at a time, and bytes that a batch's kept values may take.
_MOST_IMAGES = 64
_BATCH_BYTES = 1 << 27
#: What both models keep of one neuron step, about: float spikes and values, integer values and membranes.
_STEP_BYTES = 40


@dataclass(frozen=True)
class LayerAgreement:
    """One spiking layer, over all inputs; own spikes before the combiner, of pools and gates whether values are not 0.

    neuron_steps: neurons x steps of one input.  rate_float, rate_int: fraction of neuron steps that fired.
    agreement: fraction of neuron steps whose spikes are the same (of MLF units: as many levels).
    count_difference: mean over neurons and inputs of |spikes of all steps, float - integer|.
    first_step, first_sample: the earliest step at which any spike differs and the first input where it does at that
    step; None where all agree.
    """

    name: str
    neuron_steps: int
    rate_float: float
    rate_int: float
    agreement: float
    count_difference: float
    first_step: int | None
    first_sample: int | None


@dataclass(frozen=True, eq=False)
class Agreement:
    """layers: every layer with spikes, in execution order; predictions ``[N]`` of the float and the integer network."""

    layers: tuple[LayerAgreement, ...]
    predictions_float: IntArray
    predictions_int: IntArray

    @property
    def predictions(self) -> float:
        """Fraction of inputs for which both networks predict the same class."""
        return float(np.mean(self.predictions_float == self.predictions_int))

    @property
    def first(self) -> LayerAgreement | None:
        """The first layer, in execution order, with a spike that differs; None if all agree."""
        return next((layer for layer in self.layers if layer.first_step is not None), None)


def measure_agreement(
    net: Network, qnet: QuantizedNetwork, x: NDArray[Any], *, progress: Callable[[float], None] = lambda share: None
) -> Agreement:
    """Run both networks on integers ``x``, ``[N, C, H, W]`` when the input is static, else ``[N, T, C, H, W]``.

    A few inputs at a time, so memory does not grow with N.  ``progress`` is called with the share done.  ``qnet`` is
    what :func:`refmodel.quantize.quantize` makes of ``net``, before pruning or lowering.  Raises NetworkError if it is
    of another network, DataError for inputs that do not fit or none at all.
    """
    if len(x) == 0:
        raise DataError(f"network {net.name!r}: no inputs to compare on; give at least one")
    tensors = qnet.tensors()
    names = spiking_layers(net, qnet, tensors)
    counts = {name: SpikeCounts(int(np.prod(tensors[name].shape)), net.steps) for name in names}
    layers = {layer.name: layer for layer in qnet.layers}
    batch = batch_images(tensors, net.steps)
    floats: list[IntArray] = []
    wholes: list[IntArray] = []
    for start in range(0, len(x), batch):
        progress(start / len(x))
        part = x[start : start + batch]
        real, whole = floatmodel.run(net, part, keep=True, batch=batch), golden.run(qnet, part, keep=True)
        floats.append(real.predictions)
        wholes.append(whole.predictions)
        for name in names:
            counts[name].add(real.spikes[name], own_spikes(layers[name], whole), start)
    return Agreement(
        tuple(counts[name].result(name, len(x)) for name in names), np.concatenate(floats), np.concatenate(wholes)
    )


def batch_images(tensors: dict[str, TensorInfo], steps: int) -> int:
    """So many images at a time keep all values of both models within about 128 MB."""
    values = steps * sum(int(np.prod(info.shape)) for info in tensors.values())
    return max(1, min(_MOST_IMAGES, _BATCH_BYTES // (_STEP_BYTES * values)))


def spiking_layers(net: Network, qnet: QuantizedNetwork, tensors: dict[str, TensorInfo]) -> list[str]:
    """Names of the layers with spikes, which both networks must have in the same shapes."""
    mine = net.tensors()
    spiking = [layer.name for layer in qnet.layers if layer.spikes and layer.kind != "stream"]
    same = (net.steps, [layer.name for layer in net.layers]) == (qnet.steps, [layer.name for layer in qnet.layers])
    if not same or any(mine[name].shape != tensors[name].shape for name in spiking):
        raise NetworkError(
            f"network {qnet.name!r}: its layers are not those of the float network {net.name!r}; "
            "quantise that network, and compare before pruning"
        )
    return spiking


def own_spikes(layer: QuantizedLayer, whole: golden.GoldenResult) -> NDArray[Any]:
    """A before the combiner, ``[N, T, C, H, W]``: bool, or of MLF units how many levels fired."""
    if layer.threshold is None:
        return whole.tensors[layer.name] != 0
    if layer.levels is None:
        return whole.membranes[layer.name] >= layer.threshold[:, None, None]
    out = whole.tensors[layer.name]
    return out - whole.tensors[layer.shortcut] if layer.combine == "add" and layer.shortcut is not None else out


@dataclass
class SpikeCounts:
    """Running totals of one layer."""

    neurons: int
    steps: int
    fired: list[int] = field(default_factory=lambda: [0, 0])
    differing: int = 0
    count_difference: int = 0
    first: tuple[int, int] | None = None

    def add(self, real: NDArray[Any], whole: NDArray[Any], start: int) -> None:
        self.fired[0] += int(np.count_nonzero(real))
        self.fired[1] += int(np.count_nonzero(whole))
        differs = real != whole
        self.differing += int(np.count_nonzero(differs))
        totals = real.sum(axis=1, dtype=np.int64) - whole.sum(axis=1, dtype=np.int64)
        self.count_difference += int(np.abs(totals).sum())
        where = differs.reshape(*differs.shape[:2], -1).any(axis=2)
        if where.any():
            step = int(np.argmax(where.any(axis=0)))
            found = step, start + int(np.argmax(where[:, step]))
            self.first = found if self.first is None else min(self.first, found)

    def result(self, name: str, samples: int) -> LayerAgreement:
        total = samples * self.neurons * self.steps
        step, sample = (None, None) if self.first is None else self.first
        return LayerAgreement(
            name=name,
            neuron_steps=self.neurons * self.steps,
            rate_float=self.fired[0] / total,
            rate_int=self.fired[1] / total,
            agreement=1 - self.differing / total,
            count_difference=self.count_difference / (samples * self.neurons),
            first_step=step,
            first_sample=sample,
        )
