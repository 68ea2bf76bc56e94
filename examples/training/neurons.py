"""The integrate-and-fire neuron over T steps as one autograd function.

H[t] = V[t-1] + X[t]; S[t] = [H[t] >= 1]; V[t] = H[t] (1 - S[t])   (SEW paper, eq. 1-5, IF)

Backward: arctangent surrogate for the step (alpha = 2), the reset detached.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

ALPHA = 2.0


class _IntegrateAndFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: Tensor) -> Tensor:  # type: ignore[override]
        charged, spikes = torch.empty_like(currents), torch.empty_like(currents)
        membrane = torch.zeros_like(currents[0])
        for t in range(currents.shape[0]):
            torch.add(membrane, currents[t], out=charged[t])
            torch.ge(charged[t], 1.0, out=spikes[t])
            membrane = torch.where(spikes[t] > 0, 0.0, charged[t])
        ctx.save_for_backward(charged, spikes)
        return spikes

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> Tensor:  # type: ignore[override]
        charged, spikes = ctx.saved_tensors
        surrogate = (charged - 1.0).mul_(math.pi / 2 * ALPHA).square_().add_(1.0).reciprocal_().mul_(ALPHA / 2)
        surrogate.mul_(grad_spikes)
        keep = 1.0 - spikes
        grad = torch.empty_like(charged)
        carried = torch.zeros_like(charged[0])
        for t in reversed(range(charged.shape[0])):
            carried = torch.addcmul(surrogate[t], carried, keep[t])
            grad[t] = carried
        return grad


def integrate_and_fire(currents: Tensor) -> Tensor:
    """Spikes [T, N, C, H, W] (0.0 or 1.0) of input currents of the same shape; threshold 1, hard reset to 0."""
    result = _IntegrateAndFire.apply(currents)
    assert isinstance(result, Tensor)
    return result
