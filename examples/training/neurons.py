"""Spiking neurons over T steps as one autograd function.

H[t] = leak V[t-1] + X[t]; S[t] = [H[t] >= threshold], or > with ``fire="gt"``; V[t] = H[t] (1 - S[t]).
IF: leak 1 (SEW paper, eq. 1-5). LIF: leak 1 - 1/tau, the input not decayed (MS-ResNet). MLF: several
thresholds, each with a membrane of its own; the output is the number of them that fired (DS-ResNet).

Backward: arctangent surrogate for each step function (alpha = 2), the reset detached.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refmodel.network import Neuron

ALPHA = 2.0

#: The neurons that training knows, by the names that ``--neuron`` takes.
NEURONS = {
    "if": Neuron(),
    "lif": Neuron("lif", threshold=0.5, tau=4 / 3, decay_input=False, fire="gt"),
    "mlf": Neuron("lif", threshold=0.6, levels=(1.6, 2.6), tau=4 / 3, decay_input=False, fire="gt"),
}


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: Tensor, threshold: float, leak: float, strict: bool) -> Tensor:  # type: ignore[override]
        charged, spikes = torch.empty_like(currents), torch.empty_like(currents)
        membrane = torch.zeros_like(currents[0])
        reached = torch.gt if strict else torch.ge
        for t in range(currents.shape[0]):
            torch.add(currents[t], membrane, alpha=leak, out=charged[t])
            reached(charged[t], threshold, out=spikes[t])
            membrane = torch.addcmul(charged[t], charged[t], spikes[t], value=-1.0)
        ctx.save_for_backward(charged, spikes)
        ctx.threshold, ctx.leak = threshold, leak
        return spikes

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        charged, spikes = ctx.saved_tensors
        surrogate = (charged - ctx.threshold).mul_(math.pi / 2 * ALPHA).square_().add_(1.0).reciprocal_()
        surrogate.mul_(ALPHA / 2).mul_(grad_spikes)
        keep = ctx.leak * (1.0 - spikes)
        grad = torch.empty_like(charged)
        carried = torch.zeros_like(charged[0])
        for t in reversed(range(charged.shape[0])):
            carried = torch.addcmul(surrogate[t], carried, keep[t])
            grad[t] = carried
        return grad, None, None, None


def fire(currents: Tensor, neuron: Neuron) -> Tensor:
    """Output [T, N, C, H, W] of ``neuron`` for input currents of the same shape: 0.0, 1.0, ... up to its levels.

    Membranes start at 0 and are reset to 0. ``neuron`` is one of NEURONS.
    """
    total = torch.zeros(())
    for threshold in neuron.thresholds:
        total = total + _Fire.apply(currents, threshold, neuron.leak, neuron.fire == "gt")
    return total
