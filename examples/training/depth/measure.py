"""What comes out of each block of a trained network, by the float model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel import floatmodel
from refmodel.network import ConvLayer, FloatArray, Network

#: Images evaluated at a time: every tensor of the network is kept for as many.
_BATCH = 30


@dataclass(frozen=True)
class BlockRates:
    """One block's output over all images, pixels, channels and steps; block 0 is the stem.

    fired: fraction of the block's last neurons' steps with a spike, before the combiner; output: fraction
    of the output's values that are not 0; mean: mean of the output; digit: share of the output's variance
    that the digit explains; all to four digits.
    """

    block: int
    fired: float
    output: float
    mean: float
    digit: float


def block_rates(network: Network, x: NDArray[Any], y: NDArray[Any]) -> list[BlockRates]:
    """Rates of the stem and of every block of ``network`` on images ``x`` [N, C, H, W] of classes ``y`` [N]."""
    convs = [layer.name for layer in network.layers if isinstance(layer, ConvLayer)]
    names = [convs[0], *(name for name in convs if name.endswith(".conv2"))]
    fired = dict.fromkeys(names, 0.0)
    output = dict.fromkeys(names, 0.0)
    counts: dict[str, list[FloatArray]] = {name: [] for name in names}
    for start in range(0, len(x), _BATCH):
        part = x[start : start + _BATCH]
        result = floatmodel.run(network, part, keep=True, batch=_BATCH)
        for name in names:
            weight = len(part) / len(x)
            fired[name] += weight * float(np.mean(result.spikes[name] > 0))
            output[name] += weight * float(np.mean(result.tensors[name] > 0))
            counts[name].append(result.tensors[name].mean(axis=1).reshape(len(part), -1))
    rows: list[BlockRates] = []
    for block, name in enumerate(names):
        rates = np.concatenate(counts[name])
        values = (fired[name], output[name], float(rates.mean()), explained_by(y, rates))
        rows.append(BlockRates(block, *(round(value, 4) for value in values)))
    return rows


def explained_by(y: NDArray[Any], rates: FloatArray) -> float:
    """Share of the variance of ``rates`` [N, neurons] over the images that their classes ``y`` [N] explain, 0..1.

    Between-class sum of squares / total, summed over neurons (eta squared). Classes that mean nothing
    explain (classes - 1) / (N - 1) of it on average. 0 when nothing varies.
    """
    centred = rates - rates.mean(axis=0)
    total = float((centred**2).sum())
    classes = [centred[y == label] for label in np.unique(y)]
    between = sum(len(members) * float((members.mean(axis=0) ** 2).sum()) for members in classes)
    return between / total if total > 0 else 0.0
