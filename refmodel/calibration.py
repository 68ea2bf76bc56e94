"""What a float network's numbers really reach on sample data: sums, membranes, streams and tensors.

Nothing here proves anything: the quantiser uses it to choose how to round, never how wide a number may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import floatmodel
from .agreement import batch_images
from .errors import DataError, NetworkError
from .layers import ConvLayer, FloatArray, Neuron
from .network import Network

#: Lowest and highest value of every channel, ``[C]`` each.
Range = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What ``samples`` inputs made of the network ``name``; every array is ``[C]``, in float units.

    sums: lowest and highest X of each convolution, bias, current and stream included.  membranes: those of H, of MLF
    units the highest level's; not of layers with attention.  streams: mean square of every kept X.
    power: mean square of every tensor's values, the input's included.
    """

    name: str
    samples: int
    sums: dict[str, Range]
    membranes: dict[str, Range]
    streams: dict[str, FloatArray]
    mean: dict[str, FloatArray]
    power: dict[str, FloatArray]

    def demand_for(self, net: Network) -> None:
        """Raises NetworkError unless it was measured on a network with the layers of ``net``."""
        shapes = {name: info.shape[0] for name, info in net.tensors().items()}
        convs = {layer.name for layer in net.layers if isinstance(layer, ConvLayer)}
        if set(self.sums) != convs or any(shapes.get(name) != len(values) for name, values in self.power.items()):
            raise NetworkError(
                f"network {net.name!r}: the calibration was measured on {self.name!r}, whose layers are others; "
                "calibrate this network"
            )


def calibrate(net: Network, x: NDArray[Any], *, progress: Callable[[float], None] = lambda share: None) -> Calibration:
    """Run the float network on integers ``x``, ``[N, C, H, W]`` when static, else ``[N, T, C, H, W]``.

    A few inputs at a time.  ``progress`` is called with the share done.  Raises DataError for inputs that do not fit or
    none at all.
    """
    if len(x) == 0:
        raise DataError(f"network {net.name!r}: nothing to calibrate on; give at least one input")
    sums: dict[str, Range] = {}
    membranes: dict[str, Range] = {}
    streams: dict[str, FloatArray] = {}
    mean: dict[str, FloatArray] = {}
    power: dict[str, FloatArray] = {}
    batch = batch_images(net.tensors(), net.steps)
    for start in range(0, len(x), batch):
        progress(start / len(x))
        part = x[start : start + batch]
        found = floatmodel.run(net, part, keep=True, batch=batch)
        share = len(part) / len(x)
        for name, values in found.tensors.items():
            mean[name] = mean.get(name, 0.0) + share * np.mean(values, axis=(0, 1, 3, 4))
            power[name] = power.get(name, 0.0) + share * _mean_square(values)
        for name, values in found.streams.items():
            streams[name] = streams.get(name, 0.0) + share * _mean_square(values)
        for layer in net.layers:
            if not isinstance(layer, ConvLayer):
                continue
            drive = floatmodel._input(layer, found.tensors, found.streams)
            sums[layer.name] = _wider(sums.get(layer.name), drive)
            if layer.neuron is not None and layer.attention is None:
                driven = np.maximum(drive, 0.0) if layer.rectify else drive
                membranes[layer.name] = _wider(membranes.get(layer.name), _membranes(layer.neuron, driven))
    return Calibration(net.name, len(x), sums, membranes, streams, mean, power)


def _mean_square(values: FloatArray) -> FloatArray:
    """``[N, T, C, H, W]`` to ``[C]``."""
    return np.mean(values.astype(np.float64) ** 2, axis=(0, 1, 3, 4))


def _wider(known: Range | None, values: FloatArray) -> Range:
    low, high = values.min(axis=(0, 1, 3, 4)), values.max(axis=(0, 1, 3, 4))
    return (low, high) if known is None else (np.minimum(known[0], low), np.maximum(known[1], high))


def _membranes(neuron: Neuron, x: FloatArray) -> FloatArray:
    """H before reset, as :func:`refmodel.floatmodel.fire` has it, ``[N, T, ...]``; of the highest level."""
    threshold = neuron.thresholds[-1]
    gain = 1.0 / neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
    v = np.full_like(x[:, 0], neuron.v_reset)
    kept = np.empty_like(x)
    for t in range(x.shape[1]):
        rest = neuron.v_reset + neuron.leak * (v - neuron.v_reset) if neuron.kind != "step" else 0.0
        h = kept[:, t] = rest + gain * x[:, t]
        fired = h >= threshold if neuron.fire == "ge" else h > threshold
        v = {"hard": np.where(fired, neuron.v_reset, h), "soft": h - fired * threshold, "none": h}[neuron.reset]
    return kept
