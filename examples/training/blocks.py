"""Spiking layers and networks in plain PyTorch; T is folded into the batch for convolutions.

Every layer is a convolution: a dense layer's kernel covers its whole input, as in refmodel.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .neurons import integrate_and_fire

Combine = Literal["plain", "add", "and", "iand", "or"]


class SpikingLayer(nn.Module):
    """IF(BN(conv(x))), or with BN folded IF(conv(x) + bias), the weights optionally quantised.

    ``input_scale`` is what one integer of the input is worth: 1 for spikes, 1/16 for the pixels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int, input_scale: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs)
        self.input_scale = input_scale
        self.bits: int | None = None

    def fold(self) -> None:
        """Fold the BN's running statistics into weight and bias, for good."""
        if self.norm is None:
            return
        norm, self.norm = self.norm, None
        assert norm.running_var is not None and norm.running_mean is not None
        with torch.no_grad():
            gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            weight = self.conv.weight.double() * gain[:, None, None, None]
            bias = norm.bias.double() - norm.running_mean.double() * gain
            self.conv.weight.copy_(weight.float())
            self.conv.bias = nn.Parameter(bias.float())

    def currents(self, x: Tensor) -> Tensor:
        """Currents of ``x`` [T', N, C, H, W] in units of the threshold."""
        steps, batch = x.shape[:2]
        flat = x.flatten(0, 1)
        if self.norm is not None:
            flat = self.norm(self.conv(flat))
        elif self.bits is None:
            flat = self.conv(flat)
        else:
            weight, bias = quantised(self.conv.weight, self.conv.bias, self.bits, self.input_scale)
            flat = F.conv2d(flat, weight, bias, padding=self.conv.padding)  # pyright: ignore[reportArgumentType]
        return flat.unflatten(0, (steps, batch))

    def forward(self, x: Tensor, steps: int) -> Tensor:
        currents = self.currents(x)
        return integrate_and_fire(currents if len(currents) == steps else currents.expand(steps, -1, -1, -1, -1))


def _round(x: Tensor) -> Tensor:
    """Round, with the gradient of the identity (straight-through estimator)."""
    return x + (torch.round(x) - x).detach()


def integers(weight: Tensor, bias: Tensor | None, bits: int, input_scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, bias and threshold as integers (differentiable), the arithmetic of refmodel/quantize.py.

    s_c = max|w_c| / (2^(bits-1) - 1); round(w/s), round(b/(s q)), ceil(1/(s q)) with q = input_scale.
    """
    assert bias is not None
    scale = weight.detach().abs().amax(dim=(1, 2, 3)).clamp_min(1e-8) / (2 ** (bits - 1) - 1)
    unit = scale * input_scale
    threshold = torch.ceil(1.0 / unit)
    return _round(weight / scale[:, None, None, None]), _round(bias / unit), threshold


def quantised(weight: Tensor, bias: Tensor | None, bits: int, input_scale: float) -> tuple[Tensor, Tensor]:
    """Weight and bias that the integer network has, in units of the threshold.

    They are a millionth larger than integer / threshold, so that a sum that equals the threshold in
    integers reaches it in floats too, and quantising them again gives the same integers.
    """
    whole_weight, whole_bias, threshold = integers(weight, bias, bits, input_scale)
    unit = (1.0 + 2.0**-20) / threshold
    return whole_weight * (unit / input_scale)[:, None, None, None], whole_bias * unit


def quantised_readout(readout: nn.Linear, bits: int) -> tuple[Tensor, Tensor]:
    """Weight on its integers' grid, one scale for all classes so that argmax is kept; bias as it is.

    The integer bias counts in steps of a T*H*W-th of the weights': its rounding needs no training.
    """
    scale = readout.weight.detach().abs().max() / (2 ** (bits - 1) - 1)
    return _round(readout.weight / scale) * scale, readout.bias


class Block(nn.Module):
    """Two spiking layers A and a combiner with the shortcut S (SEW paper, table 1)."""

    def __init__(self, channels: int, combine: Combine) -> None:
        super().__init__()
        self.conv1 = SpikingLayer(channels, channels, 3, 1)
        self.conv2 = SpikingLayer(channels, channels, 3, 1)
        self.combine: Combine = combine

    def forward(self, x: Tensor, steps: int) -> Tensor:
        a = self.conv2(self.conv1(x, steps), steps)
        if self.combine == "add":
            return a + x
        if self.combine == "and":
            return a * x
        if self.combine == "iand":
            return (1.0 - a) * x
        return a + x - a * x if self.combine == "or" else a


class SpikingNetwork(nn.Module):
    """Spiking layers and blocks, average pool over space, FC, mean over the T steps.

    Input [N, C, H, W], the same image at each step; output [N, classes].
    """

    def __init__(self, body: list[SpikingLayer | Block], features: int, classes: int, steps: int) -> None:
        super().__init__()
        self.body = nn.ModuleList(body)
        self.readout = nn.Linear(features, classes)
        self.steps = steps
        self.bits: int | None = None

    def forward(self, image: Tensor) -> Tensor:
        x = image.unsqueeze(0)
        for part in self.body:
            x = part(x, self.steps)
        features = x.mean(dim=(0, 3, 4))
        if self.bits is None:
            return self.readout(features)
        return F.linear(features, *quantised_readout(self.readout, self.bits))

    def quantise(self, bits: int) -> None:
        """Fold BN for good and train on with weights of ``bits`` bits (straight-through estimator)."""
        self.bits = bits
        for layer in self.spiking_layers():
            layer.fold()
            layer.bits = bits

    def spiking_layers(self) -> list[SpikingLayer]:
        return [module for module in self.modules() if isinstance(module, SpikingLayer)]


def residual_network(
    *, combine: Combine, blocks: int, channels: int, steps: int, classes: int, input_scale: float
) -> SpikingNetwork:
    """Stem conv3x3 on one input plane, ``blocks`` blocks, GAP, FC; stride 1 throughout."""
    body: list[SpikingLayer | Block] = [SpikingLayer(1, channels, 3, 1, input_scale)]
    body += [Block(channels, combine) for _ in range(blocks)]
    return SpikingNetwork(body, channels, classes, steps)


def dense_network(
    *, size: int, width: int, layers: int, steps: int, classes: int, input_scale: float
) -> SpikingNetwork:
    """``layers`` dense IF layers of ``width`` neurons on a ``size`` x ``size`` image."""
    body: list[SpikingLayer | Block] = [SpikingLayer(1, width, size, 0, input_scale)]
    body += [SpikingLayer(width, width, 1, 0) for _ in range(layers - 1)]
    return SpikingNetwork(body, width, classes, steps)
