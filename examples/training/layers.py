"""One spiking layer in plain PyTorch: convolution, batch norm, neuron; T is folded into the batch.

Every layer is a convolution: a dense layer's kernel covers its whole input, as in refmodel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refmodel.network import Neuron

from .neurons import fire
from .rounding import quantised, shared_unit


class SpikingLayer(nn.Module):
    """SN(BN(conv(x))), or with BN folded SN(conv(x) + bias), the weights optionally quantised.

    ``input_scale`` is what one integer of the input is worth: 1 for spikes, 1/16 for the digits' pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        padding: int,
        neuron: Neuron,
        input_scale: float = 1.0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs)
        self.neuron = neuron
        self.input_scale = input_scale
        self.bits: int | None = None
        #: Layers whose sums meet in one membrane stream, and which therefore share their units.
        self.sharers: tuple[SpikingLayer, ...] = (self,)

    def drop_norm(self) -> None:
        """Do without BN: a bias instead, 0 at first."""
        self.norm = None
        self.conv.bias = nn.Parameter(torch.zeros(self.conv.out_channels))

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

    def synapses(self) -> tuple[Tensor, Tensor]:
        """Weight and bias in use once BN is folded: the floats, or what their integers are worth."""
        weight, bias = self.conv.weight, self.conv.bias
        assert self.norm is None and bias is not None
        if self.bits is None:
            return weight, bias
        unit = shared_unit((layer.conv.weight * layer.input_scale for layer in self.sharers), self.bits)
        return quantised(weight, bias, unit, self.neuron, self.input_scale)

    def currents(self, x: Tensor, steps: int) -> Tensor:
        """Currents [T, N, C, H, W] of ``x`` [T or 1, N, Cin, Hin, Win]; T = 1 is the same at each of the steps."""
        given, batch = x.shape[:2]
        flat = x.flatten(0, 1)
        if self.norm is not None:
            flat = self.norm(self.conv(flat))
        else:
            weight, bias = self.synapses()
            flat = F.conv2d(flat, weight, bias, self.conv.stride, self.conv.padding)  # pyright: ignore[reportArgumentType]
        currents = flat.unflatten(0, (given, batch))
        return currents if given == steps else currents.expand(steps, -1, -1, -1, -1)

    def forward(self, x: Tensor, steps: int) -> Tensor:
        return fire(self.currents(x, steps), self.neuron)
