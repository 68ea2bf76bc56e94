"""Float networks of the reference vectors' descriptions, made with NetworkBuilder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel.builder import NetworkBuilder
from refmodel.network import InputSpec, Network, Neuron
from tests.reference.equations import Description

Parameters = dict[str, NDArray[Any]]


def build(description: Description, parameters: Parameters) -> Network:
    """The network; its layers are named as the file's tensors."""
    spec = description["input"]
    shape = (spec["shape"][0], spec["shape"][1], spec["shape"][2])
    builder = NetworkBuilder(
        description["name"],
        description["steps"],
        InputSpec(shape, spec["bits"], spec["static"], signed=spec["signed"]),
        neuron=neuron(description["neuron"]),
    )
    x = "input"
    for layer in description["layers"]:
        x = _ADD.get(layer["op"], _add_block)(builder, x, layer, parameters, description)
    return builder.build()


def neuron(cell: Description) -> Neuron:
    """As the project states it: u = d u (1 - s) + x is a LIF with 1/tau = 1 - d whose input does not decay."""
    options: dict[str, Any] = {name: cell[name] for name in ("threshold", "reset", "fire", "v_reset") if name in cell}
    options["levels"] = tuple(cell.get("levels", ()))
    if cell["kind"] == "plif":
        return Neuron.plif(cell["w"], **options)
    if cell["kind"] == "decay":
        return Neuron("lif", tau=1 / (1 - cell["decay"]), decay_input=False, **options)
    if cell["kind"] == "lif":
        return Neuron("lif", tau=cell["tau"], decay_input=cell["decay_input"], **options)
    return Neuron(cell["kind"], **options)


def _pair(parameters: Parameters, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    return parameters[f"weight/{name}"], parameters[f"bias/{name}"]


def _add_conv(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters, _: Description) -> str:
    options = {name: layer[name] for name in ("stride", "padding", "keeps_stream", "name") if name in layer}
    return builder.conv(x, *_pair(parameters, layer["name"]), **options)


def _add_dense(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters, _: Description) -> str:
    return builder.dense(x, *_pair(parameters, layer["name"]), name=layer["name"])


def _add_pool(builder: NetworkBuilder, x: str, layer: Description, _p: Parameters, _: Description) -> str:
    method = {"maxpool": builder.maxpool, "sumpool": builder.sumpool, "avgpool": builder.avgpool}[layer["op"]]
    return method(x, layer["kernel"], layer.get("stride"), layer.get("padding", 0), name=layer["name"])


def _add_readout(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters, _: Description) -> str:
    return builder.readout(x, *_pair(parameters, "readout"), pool="none" if layer.get("flatten") else "global_average")


def _add_membrane(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters, _: Description) -> str:
    name = layer["name"]
    convs = (*_pair(parameters, f"{name}.dense1"), *_pair(parameters, f"{name}.dense2"))
    return builder.membrane_shortcut_block(x, *convs, current=layer["current"], name=name)


def _add_block(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters, whole: Description) -> str:
    op, name, count = layer["op"], layer["name"], layer.get("convs", 2)
    convs = [array for number in range(1, count + 1) for array in _pair(parameters, f"{name}.conv{number}")]
    options: dict[str, Any] = {"name": name, "stride": layer.get("stride", 1)}
    if layer.get("projection"):
        options["projection"] = _pair(parameters, f"{name}.projection")
    if op == "sew":
        if layer["combine"] == "iand_swapped":
            return _add_swapped(builder, x, layer, parameters)
        clamp = layer["combine"] == "clamp"
        options |= {"clamp": clamp, "combine": "add" if clamp else layer["combine"]}
    elif op == "ms":
        options["pool_projection"] = layer.get("projection") == "pool"
    elif op == "spiking_resnet" and not layer.get("projection"):
        options["current"] = float(whole.get("current", 1))
    bottleneck = count == 3
    method = {
        "plain": builder.plain_block,
        "sew": builder.sew_bottleneck if bottleneck else builder.sew_block,
        "spiking_resnet": builder.spiking_resnet_bottleneck if bottleneck else builder.spiking_resnet_block,
        "ms": builder.ms_bottleneck if bottleneck else builder.ms_block,
        "ds": builder.ds_bottleneck if bottleneck else builder.ds_block,
    }[op]
    return method(x, *convs, **options)


def _add_swapped(builder: NetworkBuilder, x: str, layer: Description, parameters: Parameters) -> str:
    """SpikingJelly's bottleneck with IAND, A * (1 - sc): its branch is the shortcut of a layer that makes sc.

    The branch's own spikes are the tensor ``<block>.branch``; the identity is a 1x1 convolution with neurons
    that fire at once.
    """
    name, stride = layer["name"], layer.get("stride", 1)
    y = builder.conv(x, *_pair(parameters, f"{name}.conv1"), name=f"{name}.conv1")
    y = builder.conv(y, *_pair(parameters, f"{name}.conv2"), stride=stride, name=f"{name}.conv2")
    y = builder.conv(y, *_pair(parameters, f"{name}.conv3"), name=f"{name}.branch")
    if layer.get("projection"):
        synapses, options = _pair(parameters, f"{name}.projection"), {}
        builder.conv(x, *synapses, stride=stride, name=f"{name}.projection")
    else:
        channels = builder.tensor(x).shape[0]
        synapses, options = (np.eye(channels)[:, :, None, None], None), {"neuron": Neuron("step", 1.0)}
    return builder.conv(
        x, *synapses, stride=stride, shortcut=y, combine="iand", name=f"{name}.conv3", **options
    )  # fmt: skip


_ADD = {
    "conv": _add_conv,
    "dense": _add_dense,
    "maxpool": _add_pool,
    "sumpool": _add_pool,
    "avgpool": _add_pool,
    "readout": _add_readout,
    "membrane": _add_membrane,
}
