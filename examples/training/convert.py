"""Between the PyTorch networks and refmodel.network.Network, whose BN is folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, ReadoutLayer

from .blocks import Block, MsBlock, PlainBlock, Pool, SewBlock, SpikingBlock
from .layers import SpikingLayer
from .networks import SpikingNetwork
from .rounding import quantised_readout


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().numpy()


def _weights(layer: SpikingLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weight, bias = layer.synapses()
    return _array(weight), _array(bias)


def to_network(model: SpikingNetwork, spec: InputSpec, name: str, family: str, meta: dict[str, object]) -> Network:
    """The model as a Network; folds the model's BN. Fine-tuned weights are written as their integers' grid."""
    layers = model.spiking_layers()
    for layer in layers:
        layer.fold()
    builder = NetworkBuilder(name, model.steps, spec, neuron=layers[0].neuron, family=family, meta=meta)
    streams = any(isinstance(part, MsBlock) for part in model.body)
    x = "input"
    for part in model.body:
        if isinstance(part, Block):
            x = _add_block(builder, x, part)
        elif isinstance(part, Pool):
            x = builder.maxpool(x, 2)
        else:
            assert isinstance(part, SpikingLayer)
            padding = part.conv.padding
            assert isinstance(padding, tuple)
            x = builder.conv(x, *_weights(part), padding=(padding[0], padding[1]), keeps_stream=streams)
    weight, bias = model.readout.weight, model.readout.bias
    if model.bits is not None:
        weight, bias = quantised_readout(model.readout, model.bits)
    builder.readout(x, _array(weight), _array(bias))
    return builder.build()


def _add_block(builder: NetworkBuilder, x: str, block: Block) -> str:
    weights = (*_weights(block.conv1), *_weights(block.conv2))
    stride = block.conv1.conv.stride
    assert isinstance(stride, tuple)
    shape: dict[str, Any] = {"stride": (stride[0], stride[1])}
    if isinstance(block, PlainBlock):
        return builder.plain_block(x, *weights, **shape)
    shape["projection"] = None if block.projection is None else _weights(block.projection)
    if isinstance(block, SewBlock):
        return builder.sew_block(x, *weights, combine=block.combine, **shape)
    if isinstance(block, SpikingBlock):
        current = block.current if block.projection is None else 1.0
        return builder.spiking_resnet_block(x, *weights, current=current, **shape)
    assert isinstance(block, MsBlock)
    return builder.ms_block(x, *weights, **shape)


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
        target.drop_norm()
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
