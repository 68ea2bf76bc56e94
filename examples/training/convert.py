"""Between the PyTorch networks and refmodel.network.Network, whose BN is folded."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, Neuron, ReadoutLayer

from .blocks import Block, SpikingLayer, SpikingNetwork, quantised, quantised_readout
from .digits import MAX_PIXEL

#: Pixels 0..16: five bits, each unit worth 1/16.
INPUT = InputSpec(shape=(1, 8, 8), bits=5, static=True, scale=1.0 / MAX_PIXEL)


def _array(values: Tensor | None) -> NDArray[np.float64]:
    assert values is not None
    return values.detach().double().numpy()


def _weights(layer: SpikingLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    layer.fold()
    weight, bias = layer.conv.weight, layer.conv.bias
    if layer.bits is not None:
        assert bias is not None
        weight, bias = quantised(weight, bias, layer.bits, layer.input_scale)
    return _array(weight), _array(bias)


def to_network(model: SpikingNetwork, name: str, family: str, meta: dict[str, object]) -> Network:
    """The model as a Network; folds the model's BN. Fine-tuned weights are written as their integers' grid."""
    builder = NetworkBuilder(name, model.steps, INPUT, neuron=Neuron(), family=family, meta=meta)
    x = "input"
    for part in model.body:
        if isinstance(part, Block):
            (w1, b1), (w2, b2) = _weights(part.conv1), _weights(part.conv2)
            if part.combine == "plain":
                x = builder.plain_block(x, w1, b1, w2, b2)
            else:
                x = builder.sew_block(x, w1, b1, w2, b2, combine=part.combine)
        else:
            assert isinstance(part, SpikingLayer)
            x = builder.conv(x, *_weights(part), padding=part.conv.padding)  # pyright: ignore[reportArgumentType]
    weight, bias = model.readout.weight, model.readout.bias
    if model.bits is not None:
        weight, bias = quantised_readout(model.readout, model.bits)
    builder.readout(x, _array(weight), _array(bias))
    return builder.build()


def from_network(network: Network, model: SpikingNetwork) -> None:
    """Load a network's folded weights into a model of the same shape, whose BN they replace."""
    sources = [layer for layer in network.layers if isinstance(layer, ConvLayer)]
    targets = model.spiking_layers()
    if len(sources) != len(targets):
        raise NetworkError(
            f"network {network.name!r} has {len(sources)} spiking layers, but the model {len(targets)}; "
            "give the --network, --blocks and --channels it was trained with"
        )
    for source, target in zip(sources, targets, strict=True):
        target.norm = None
        target.conv.bias = nn.Parameter(torch.zeros(target.conv.out_channels))
        _load(source, target.conv)
    readout = network.layers[-1]
    assert isinstance(readout, ReadoutLayer)
    _load(readout, model.readout)


def _load(source: ConvLayer | ReadoutLayer, target: nn.Conv2d | nn.Linear) -> None:
    if source.weight.shape != tuple(target.weight.shape):
        raise NetworkError(
            f"layer {source.name!r} has weights {source.weight.shape}, but the model {tuple(target.weight.shape)}; "
            "give the --network, --blocks and --channels it was trained with"
        )
    with torch.no_grad():
        target.weight.copy_(torch.from_numpy(source.weight.copy()))
        bias = np.zeros(source.weight.shape[0]) if source.bias is None else source.bias
        target.bias.copy_(torch.from_numpy(bias.copy()))  # pyright: ignore[reportOptionalMemberAccess]
