"""Makes the SpikingJelly part of tests/reference/state_dicts: ``python -m tests.reference.make_state_dicts``.

Runs only where spikingjelly 2.0.0, torch and safetensors are installed (README.md says how).  The networks are
SpikingJelly's own classes, narrower than its named ones, so that files stay small; names and forward are theirs.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import ms_resnet, sew_resnet, spiking_resnet
from torch import nn

from tests.reference import state_dicts

SHAPE = (3, 11, 11)
STEPS = 4
SAMPLES = 2
STRIDES = (1, 2, 2, 2)


def narrow(
    code: Any, block: Any, blocks: tuple[int, ...], channels: tuple[int, ...], kernel: int, cell: Any, **options: Any
) -> nn.Module:
    """A SEWResNet or SpikingResNet of few channels, with the class's own blocks, stages and forward."""
    kind = code.SEWResNet if code is sew_resnet else code.SpikingResNet
    net = kind.__new__(kind)
    nn.Module.__init__(net)
    net._norm_layer, net.inplanes, net.dilation, net.groups, net.base_width = layer.BatchNorm2d, channels[0], 1, 1, 64
    stem = {"kernel_size": 7, "stride": 2, "padding": 3} if kernel == 7 else {"kernel_size": 3, "padding": 1}
    net.conv1 = layer.Conv2d(SHAPE[0], channels[0], bias=False, **stem)
    net.bn1 = layer.BatchNorm2d(channels[0])
    plain = {key: value for key, value in options.items() if key != "cnf"}
    net.sn1 = cell(**plain)
    net.maxpool = layer.MaxPool2d(kernel_size=3, stride=2, padding=1) if kernel == 7 else nn.Identity()
    for number, (count, width, stride) in enumerate(zip(blocks, channels, STRIDES, strict=True), start=1):
        made = net._make_layer(block, width, count, stride=stride, spiking_neuron=cell, **options)
        setattr(net, f"layer{number}", made)
    net.avgpool = layer.AdaptiveAvgPool2d((1, 1))
    net.fc = layer.Linear(channels[-1] * block.expansion, 5)
    functional.set_step_mode(net, "m")
    return net


def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Logits of static inputs."""
    functional.reset_net(net)
    made = net(x[None].expand(STEPS, *x.shape).contiguous())
    return made.mean(0) if made.ndim == 3 else made


def write(name: str, net: nn.Module, blocks: Any, options: dict[str, Any]) -> None:
    """Record the stem's neurons, and each block's neurons and output."""
    spiking: dict[nn.Module, str] = {}
    streams: dict[nn.Module, str] = {}
    membranes = isinstance(net, ms_resnet.MSResNet)
    if membranes:
        streams[net.stem] = "stem"
    else:
        spiking[net.sn1] = "stem"
    outputs = "stem"
    for path, block in net.named_modules():
        if not isinstance(block, blocks):
            continue
        count = 3 if hasattr(block, "conv3") else 2
        if membranes:
            spiking[block.spike1], spiking[block.spike2] = outputs, f"{path}.conv1"
            outputs = f"{path}.conv2"
            continue
        for number in range(1, count):
            spiking[getattr(block, f"sn{number}")] = f"{path}.conv{number}"
        spiking[block] = f"{path}.conv{count}"
        swapped = count == 3 and options.get("connect") == "IAND"
        if swapped:
            spiking[block.sn3] = f"{path}.branch"
        elif hasattr(block, "downsample_sn"):
            spiking[block.downsample_sn] = f"{path}.projection"
    if membranes:
        spiking[net.head_lif] = outputs
        streams[net.get_submodule(outputs.rpartition(".")[0])] = outputs
    norms = {module: module for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    x = np.random.default_rng(len(name)).integers(0, 256, (SAMPLES, *SHAPE), dtype=np.uint8)
    chosen = {"input_shape": SHAPE, "input_scale": 1 / 255, "steps": STEPS, **options}
    state_dicts.make(name, net, norms, spiking, streams, chosen, x, run)


def main() -> None:
    torch.set_num_threads(1)
    basic, bottleneck = sew_resnet.BasicBlock, sew_resnet.Bottleneck
    both = (basic, bottleneck)
    sew = {"family": "spikingjelly-sew-resnet"}
    integrate = {"v_threshold": 0.75}
    net = narrow(sew_resnet, basic, (2, 2, 1, 1), (4, 4, 6, 6), 7, neuron.IFNode, cnf="ADD", **integrate)
    write("spikingjelly-sew-add", net, both, {**sew, "connect": "ADD", "threshold": 0.75})
    soft = {"v_threshold": 0.8, "v_reset": None, "decay_input": False}
    net = narrow(sew_resnet, basic, (1, 2, 1, 1), (4, 4, 6, 6), 3, neuron.ParametricLIFNode, cnf="AND", **soft)
    options = {"connect": "AND", "threshold": 0.8, "reset": "soft", "decay_input": False}
    write("spikingjelly-sew-and-plif", net, both, {**sew, **options})
    leaky = {"tau": 1.6, "v_threshold": 0.5, "v_reset": -0.25}
    net = narrow(sew_resnet, basic, (2, 1, 1, 1), (4, 4, 6, 6), 3, neuron.LIFNode, cnf="IAND", **leaky)
    lif = {"neuron": "lif", "tau": 1.6, "threshold": 0.5, "v_reset": -0.25}
    write("spikingjelly-sew-iand-lif", net, both, {**sew, "connect": "IAND", **lif})
    net = narrow(sew_resnet, bottleneck, (2, 1, 1, 1), (2, 2, 3, 3), 3, neuron.IFNode, cnf="IAND", **integrate)
    normal = {"mean": [0.5, 0.4, 0.45], "std": [0.25, 0.2, 0.3]}
    write("spikingjelly-sew-iand-bottleneck", net, both, {**sew, "connect": "IAND", "threshold": 0.75, **normal})

    both = (spiking_resnet.BasicBlock, spiking_resnet.Bottleneck)
    spiking = {"family": "spikingjelly-spiking-resnet"}
    net = narrow(spiking_resnet, both[0], (2, 1, 1, 1), (4, 4, 6, 6), 7, neuron.ParametricLIFNode)
    write("spikingjelly-spiking-plif", net, both, spiking)
    net = narrow(spiking_resnet, both[1], (2, 1, 1, 1), (2, 2, 3, 3), 3, neuron.IFNode)
    write("spikingjelly-spiking-bottleneck", net, both, spiking)

    small = {"base_channels": 4, "stage_channels": (4, 6, 8), "num_classes": 5, "T": STEPS}
    net = ms_resnet.MSResNet(in_channels=3, layers=(2, 1, 1), stem_kernel_size=3, stem_stride=1, **small)
    write("spikingjelly-ms", net, ms_resnet._MSBlock, {"family": "spikingjelly-ms-resnet"})
    net = ms_resnet.MSResNet(
        in_channels=3, layers=(1, 2, 1), stem_kernel_size=7, spiking_neuron=neuron.ParametricLIFNode, **small
    )  # fmt: skip
    options = {"decay_input": True, "threshold": 1.0, **normal}
    write("spikingjelly-ms-plif", net, ms_resnet._MSBlock, {"family": "spikingjelly-ms-resnet", **options})

    whole = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode)
    shapes = {name: list(value.shape) for name, value in whole.state_dict().items()}
    (state_dicts.FOLDER / "spikingjelly-sew-resnet18.json").write_text(json.dumps(shapes, indent=0) + "\n")


if __name__ == "__main__":
    main()
