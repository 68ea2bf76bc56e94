"""Layers of a state_dict's parameters: convolutions with batch norms folded, their neurons, pools."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..builder import NetworkBuilder
from ..errors import ImportRefused
from ..layers import FloatArray, Neuron
from .families import Norm, Pool, Unit
from .imported import ImportedBlock
from .state_dict_parameters import Parameters

#: Weight and bias of a convolution with its batch norm in it.
Folded = tuple[FloatArray, FloatArray | None]
#: Limits of a PLIF's w: beyond them 1 + exp(-w) is infinite, or 1 in floats.
_LOWEST_W, _HIGHEST_W = -700.0, 30.0


class LayerMaker:
    """Adds convolutions and pools to a builder.

    ``plif``: neurons have their own tau, in a parameter ``w`` each.  ``names``: the layers so far; ``fused``:
    convolutions that had a bias and no batch norm; ``blocks``: the residual blocks so far; ``taus``: neurons with a tau
    of their own.
    """

    def __init__(
        self, builder: NetworkBuilder, parameters: Parameters, norm: Norm, neuron: Neuron, plif: bool, connect: str
    ) -> None:
        self.builder, self.parameters = builder, parameters
        self.norm, self.neuron, self.plif, self.connect = norm, neuron, plif, connect
        self.names: list[str] = []
        self.fused: list[str] = []
        self.blocks: list[ImportedBlock] = []
        self.taus = 0

    def neuron_at(self, path: str, prefix: str = "") -> Neuron:
        """The neuron at a path (alternatives a|b) below ``prefix``."""
        if not self.plif:
            return self.neuron
        name = f"{self.parameters.find(path, 'w', prefix)}.w"
        w = self.parameters.scalar(name, "of a PLIF neuron")
        if not _LOWEST_W < w < _HIGHEST_W:
            raise ImportRefused(f"parameter {name!r} is {w:g}: its 1/tau = sigmoid(w) must lie between 0 and 1")
        self.taus += 1
        return replace(self.neuron, tau=1.0 + math.exp(-w))

    def folded(self, unit: Unit, prefix: str, inputs: int, outputs: int | None = None) -> Folded:
        """A unit's convolution on ``inputs`` channels with its batch norm folded."""
        path = self.parameters.find(unit.conv, "weight", prefix)
        weight = self.parameters.take(f"{path}.weight", (outputs, inputs, None, None), "a convolution's weights")
        if any(size % 2 == 0 for size in weight.shape[2:]):
            raise ImportRefused(
                f"parameter '{path}.weight' has a kernel of {weight.shape[2]}x{weight.shape[3]}; kernels must be odd: "
                "their padding is half of them"
            )
        channels = len(weight)
        bias = None
        if f"{path}.bias" in self.parameters:
            bias = self.parameters.take(f"{path}.bias", (channels,), "a convolution's bias")
        if not unit.norm:
            return weight, bias
        norm = self.parameters.find(unit.norm, "running_var", prefix)
        if bias is not None and not self.parameters.any_below(norm):
            self.fused.append(path)
            return weight, bias
        scale, shift = self.parameters.scale_and_shift(norm, self.norm, channels)
        return weight * scale[:, None, None, None], shift if bias is None else shift + bias * scale

    def conv(self, folded: Folded, x: str, name: str, stride: int = 1, **options: Any) -> str:
        """A convolution, padded by half its kernel unless the options of the builder say otherwise."""
        self.names.append(self.builder.conv(x, *folded, stride=stride, name=name, **options))
        return name

    def stream(self, x: str, name: str, max_bits: int | None = None) -> str:
        """The membrane stream of a layer as a tensor."""
        self.names.append(self.builder.stream(x, max_bits, name=name))
        return name

    def pool(self, x: str, pool: Pool, name: str) -> str:
        """A maximum over windows."""
        self.names.append(self.builder.maxpool(x, pool.kernel, pool.stride, pool.padding, name=name))
        return name
