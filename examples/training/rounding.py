"""Weights on the grid of their integers, for fine-tuning: the arithmetic of refmodel's quantiser, differentiable.

``unit`` [Cout] is the float value of one integer unit of a channel's membrane, as in refmodel/scales.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from refmodel.network import Neuron

#: What is written is so much larger than it is in integers: floats of sums that are ties must not fall short.
MARGIN = 1.0 + 2.0**-20


def rounded(x: Tensor) -> Tensor:
    """Round to nearest even, with the gradient of the identity (straight-through estimator)."""
    return x + (torch.round(x) - x).detach()


def shared_unit(weights: Iterable[Tensor], bits: int) -> Tensor:
    """The unit with which each channel's largest weight, over all ``weights`` [Cout, Cin, KH, KW], just fits."""
    peaks = torch.stack([weight.detach().abs().amax(dim=(1, 2, 3)) for weight in weights]).amax(dim=0)
    return peaks.clamp_min(1e-8) / (2 ** (bits - 1) - 1)


def tie_free(unit: Tensor, neuron: Neuron) -> Tensor:
    """The unit to write a channel's integers with, so that floats and integers fire alike.

    An integer sum that just reaches its threshold must reach it in floats, too: for ``ge`` the unit is a
    millionth more than threshold / integer threshold. For ``gt`` no sum equals the threshold.
    """
    if neuron.fire == "gt":
        return unit
    return MARGIN * neuron.threshold / torch.ceil(neuron.threshold / unit)


def quantised(weight: Tensor, bias: Tensor, unit: Tensor, neuron: Neuron, input_scale: float) -> tuple[Tensor, Tensor]:
    """Weight [Cout, Cin, KH, KW] and bias [Cout] that the integer network has, in float units.

    ``input_scale``: float value of one integer of the input. Quantising them again gives the same integers.
    """
    grid, written = unit / input_scale, tie_free(unit, neuron)
    whole_weight, whole_bias = rounded(weight / grid[:, None, None, None]), rounded(bias / unit)
    return whole_weight * (written / input_scale)[:, None, None, None], whole_bias * written


def quantised_readout(readout: nn.Linear, bits: int) -> tuple[Tensor, Tensor]:
    """Weight on its integers' grid, one scale for all classes so that argmax is kept; bias as it is.

    The integer bias counts in steps of a T*H*W-th of the weights': its rounding needs no training.
    """
    scale = readout.weight.detach().abs().max() / (2 ** (bits - 1) - 1)
    return rounded(readout.weight / scale) * scale, readout.bias
