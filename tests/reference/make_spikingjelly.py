"""Makes tests/reference/spikingjelly/*.npz: ``python -m tests.reference.make_spikingjelly [name ...]``.

Runs only where spikingjelly 2.0.0 and torch are installed (README.md says how).  SpikingJelly computes each network in
float64 and again in float32, with equal results.  Its convolutions are followed by real batch norms whose statistics
are powers of two and integers: folding them gives the integers of the vector file.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import ms_resnet, sew_resnet, spiking_resnet
from torch import nn

from tests.reference.cases import SPIKINGJELLY, Description
from tests.reference.vectors import lively, write

VERSION = "2.0.0"
Tensors = dict[str, torch.Tensor]


class Maker:
    """A SpikingJelly network of a description and its parameters; :meth:`run` records the tensors."""

    def __init__(self, network: Description, arrays: dict[str, NDArray[Any]]) -> None:
        self.network, self.arrays = network, arrays
        # SpikingJelly's identity shortcut is a current of 1: divide everything else.
        self.scale = float(network.get("current", 1))
        self.rng = np.random.default_rng(1)
        self.tensors: Tensors = {}
        self.channels = network["input"]["shape"][0]
        if any(one["op"] == "ms" for one in network["layers"]):
            self.net = self._ms_resnet()
        else:
            self.net = nn.Sequential(*[module for one in network["layers"] for module in self._modules(one)])
        functional.set_step_mode(self.net, "m")
        self.net.eval()

    def run(self, dtype: torch.dtype) -> dict[str, NDArray[np.float64]]:
        """All tensors, [N, T, C, H, W], and ``logits``."""
        self.tensors = {}
        functional.reset_net(self.net)
        x = torch.as_tensor(self.arrays["x"]).to(dtype)
        if x.ndim == 4:
            x = x[:, None].expand(-1, self.network["steps"], -1, -1, -1)
        with torch.no_grad():
            logits = self.net.to(dtype)(x.transpose(0, 1).contiguous())
        if logits.ndim == 3:  # [T, N, classes]
            logits = logits.mean(0)
        made = {name: tensor.transpose(0, 1).double().numpy() for name, tensor in self.tensors.items()}
        for name in made:
            if name.startswith("stream/"):
                made[name] = made[name] * self.scale
        return {**made, "logits": logits.double().numpy()}

    def _record(self, module: nn.Module, name: str) -> nn.Module:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            self.tensors[name] = output.detach().clone()

        module.register_forward_hook(hook)
        return module

    def _cell(self) -> tuple[Callable[..., nn.Module], dict[str, Any]]:
        """Class and options of the network's neurons."""
        cell = self.network["neuron"]
        rest = None if cell["reset"] == "soft" else cell.get("v_reset", 0.0) / self.scale
        options: dict[str, Any] = {"v_threshold": cell["threshold"] / self.scale, "v_reset": rest}
        if cell["kind"] == "if":
            return neuron.IFNode, options
        if cell["kind"] == "lif":
            return neuron.LIFNode, {**options, "tau": cell["tau"], "decay_input": cell["decay_input"]}
        return neuron.ParametricLIFNode, {**options, "init_tau": 1.0 + math.exp(-cell["w"])}

    def _neuron(self) -> nn.Module:
        kind, options = self._cell()
        return kind(**options)

    def _norm(self, channels: int) -> nn.Module:
        return layer.BatchNorm2d(channels, eps=0.0)

    def _load(self, conv: nn.Module, norm: nn.Module, name: str) -> None:
        """Parameters whose folding gives those of the file."""
        weight, bias = (self.arrays[f"{part}/{name}"] / self.scale for part in ("weight", "bias"))
        channels = len(weight)
        deviation = self.rng.choice([0.5, 1.0, 2.0], channels)
        gamma = self.rng.choice([-4.0, -1.0, 1.0, 2.0, 4.0], channels)
        mean = self.rng.integers(-5, 6, channels).astype(float)
        factor = gamma / deviation
        beta = bias + mean * factor
        raw = weight / factor[:, None, None, None]
        values = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": deviation**2}
        norm.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()}, strict=False)
        conv.load_state_dict({"weight": torch.as_tensor(raw)})

    def _modules(self, one: Description) -> list[nn.Module]:
        op, name = one["op"], one.get("name", one["op"])
        if op == "conv":
            kernel, channels = one.get("kernel", 3), one["channels"]
            padding = one.get("padding", kernel // 2)
            conv = layer.Conv2d(self.channels, channels, kernel, one.get("stride", 1), padding, bias=False)
            norm = self._norm(channels)
            self._load(conv, norm, name)
            self.channels = channels
            return [conv, norm, self._record(self._neuron(), f"spikes/{name}")]
        if op == "maxpool":
            pool = layer.MaxPool2d(one["kernel"], one.get("stride", one["kernel"]), one.get("padding", 0))
            return [self._record(pool, f"spikes/{name}")]
        if op == "avgpool":
            pool = layer.AvgPool2d(one["kernel"], one.get("stride", one["kernel"]), one.get("padding", 0))
            return [self._record(pool, f"spikes/{name}")]
        if op == "readout":
            weight, bias = self.arrays["weight/readout"], self.arrays["bias/readout"]
            linear = layer.Linear(weight.shape[1], len(weight))
            linear.load_state_dict({"weight": torch.as_tensor(weight), "bias": torch.as_tensor(bias)})
            pool = [] if one.get("flatten") else [layer.AdaptiveAvgPool2d((1, 1))]
            return [*pool, layer.Flatten(), linear]
        return self._plain(one) if op == "plain" else [self._residual(one)]

    def _plain(self, one: Description) -> list[nn.Module]:
        modules: list[nn.Module] = []
        for number in (1, 2):
            stride = one.get("stride", 1) if number == 1 else 1
            part = {"op": "conv", "name": f"{one['name']}.conv{number}", "channels": one.get("channels", self.channels)}
            modules += self._modules({**part, "stride": stride})
        return modules

    def _residual(self, one: Description) -> nn.Module:
        """SpikingJelly's BasicBlock or Bottleneck of SEW-ResNet or Spiking ResNet."""
        sew = one["op"] == "sew"
        family = sew_resnet if sew else spiking_resnet
        name, convs, stride = one["name"], one.get("convs", 2), one.get("stride", 1)
        channels = one.get("channels", self.channels)
        downsample = None
        if one.get("projection"):
            downsample = nn.Sequential(family.conv1x1(self.channels, channels, stride), self._norm(channels))
            self._load(downsample[0], downsample[1], f"{name}.projection")
        kind, options = self._cell()
        if sew:
            options["cnf"] = {"add": "ADD", "and": "AND", "iand": "IAND", "iand_swapped": "IAND"}[one["combine"]]
            if (one["combine"], convs) in (("iand", 3), ("iand_swapped", 2)):
                raise ValueError(f"{name}: SpikingJelly's block computes the other IAND")
        settings = {"stride": stride, "downsample": downsample, "norm_layer": self._norm, "spiking_neuron": kind}
        if convs == 2:
            made = family.BasicBlock(self.channels, channels, **settings, **options)
        else:
            planes = channels // family.Bottleneck.expansion
            base = 64 * one["width"] // planes
            made = family.Bottleneck(self.channels, planes, base_width=base, **settings, **options)
        for number in range(1, convs + 1):
            self._load(getattr(made, f"conv{number}"), getattr(made, f"bn{number}"), f"{name}.conv{number}")
            if number < convs:
                self._record(getattr(made, f"sn{number}"), f"spikes/{name}.conv{number}")
        if sew:
            self._record(getattr(made, f"sn{convs}"), f"branch/{name}.conv{convs}")
        if downsample is not None and sew:
            self._record(made.downsample_sn, f"spikes/{name}.projection")
        elif downsample is not None:
            self._record(downsample, f"stream/{name}.projection")
        self.channels = channels
        return self._record(made, f"spikes/{name}.conv{convs}")

    def _ms_resnet(self) -> nn.Module:
        """SpikingJelly's MSResNet of three stages, each of which starts with a block of stride 2."""
        stem, *blocks, _ = self.network["layers"]
        stages: list[list[Description]] = []
        for one in blocks:
            if one.get("stride", 1) == 2:
                stages.append([])
            stages[-1].append(one)
        kind, options = self._cell()
        net = ms_resnet.MSResNet(
            T=self.network["steps"],
            in_channels=self.channels,
            num_classes=len(self.arrays["weight/readout"]),
            layers=tuple(len(stage) for stage in stages),
            base_channels=stem["channels"],
            stem_kernel_size=stem.get("kernel", 3),
            stem_stride=1,
            stage_channels=tuple(stage[0]["channels"] for stage in stages),
            spiking_neuron=kind,
            **options,
        )
        for module in net.modules():
            if isinstance(module, layer.BatchNorm2d):
                module.eps = 0.0
        self._load(net.stem[0], net.stem[1], "stem")
        self._record(net.stem, "stream/stem")
        made = [*net.layer1, *net.layer2, *net.layer3]
        outputs = ["stem", *(f"{one['name']}.conv2" for one in blocks)]
        for one, block, incoming in zip(blocks, made, outputs, strict=False):
            name = one["name"]
            self._load(block.conv1, block.bn1, f"{name}.conv1")
            self._load(block.conv2, block.bn2, f"{name}.conv2")
            self._record(block.spike1, f"spikes/{incoming}")
            self._record(block.spike2, f"spikes/{name}.conv1")
            self._record(block, f"stream/{name}.conv2")
            if block.downsample is not None:
                self._load(block.downsample[0], block.downsample[1], f"{name}.projection")
                self._record(block.downsample, f"stream/{name}.projection")
        self._record(net.head_lif, f"spikes/{outputs[-1]}")
        head = {part: torch.as_tensor(self.arrays[f"{part}/readout"]) for part in ("weight", "bias")}
        net.head.load_state_dict(head)
        return net


def make(network: Description) -> None:
    """Write one vector file."""
    arrays = lively(network)
    maker = Maker(network, arrays)
    exact, single = maker.run(torch.float64), maker.run(torch.float32)
    for name, tensor in exact.items():
        if name != "logits" and not np.array_equal(tensor, single[name]):
            raise ValueError(f"{network['name']}: {name} differs in float32")
    write("spikingjelly", network, arrays, exact)


def main() -> None:
    found = importlib.metadata.version("spikingjelly")
    if found != VERSION:
        raise SystemExit(f"the vectors are those of spikingjelly {VERSION}, this is {found}")
    torch.set_num_threads(1)
    for network in SPIKINGJELLY:
        if not sys.argv[1:] or network["name"] in sys.argv[1:]:
            make(network)
            print(network["name"])


if __name__ == "__main__":
    main()
