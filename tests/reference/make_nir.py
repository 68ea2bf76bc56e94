"""Makes tests/reference/nir/*.nir.xz and *.npy: ``python -m tests.reference.make_nir``.

Runs only where spikingjelly 2.0.0, torch, nir and nirtorch are installed (nir/README.md says how).  The networks are
SpikingJelly modules with the weights of bundled networks; SpikingJelly's own exporter makes the NIR graphs.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import lzma
import tempfile
from pathlib import Path

import nir
import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.functional.conv_bn_fusion import fuse_conv_bn_eval_modules
from spikingjelly.activation_based.model.ms_resnet import MSResNet
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn

from refmodel import bundled
from refmodel.network import ConvLayer, Network, Neuron, ReadoutLayer

VERSION = "2.0.0"
FOLDER = Path(__file__).parent / "nir"
NETWORKS = ("digits-sew-add-8", "digits-sew-add-24", "digits-ms-24")


def synapses(made: ConvLayer) -> nn.Module:
    cout, cin, size, _ = made.weight.shape
    conv = layer.Conv2d(cin, cout, size, stride=made.stride, padding=made.padding)
    assert made.bias is not None
    return loaded(conv, made.weight, made.bias)


def loaded(module: nn.Module, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    module.weight.data = torch.tensor(weight, dtype=torch.float32)
    module.bias.data = torch.tensor(bias, dtype=torch.float32)
    return module


def neurons(made: Neuron | None) -> nn.Module:
    assert made is not None and made.reset == "hard"
    if made.kind == "if":
        return neuron.IFNode(v_threshold=made.threshold, v_reset=made.v_reset)
    return neuron.LIFNode(made.tau, made.decay_input, v_threshold=made.threshold, v_reset=made.v_reset)


class SewBlock(nn.Module):
    """O = SN(C(SN(C S))) + S."""

    def __init__(self, first: ConvLayer, second: ConvLayer) -> None:
        super().__init__()
        self.conv1, self.sn1 = synapses(first), neurons(first.neuron)
        self.conv2, self.sn2 = synapses(second), neurons(second.neuron)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sn2(self.conv2(self.sn1(self.conv1(x)))) + x


class MsBlock(nn.Module):
    """y = C(SN(C(SN x))) + x; the neurons in front of the convolutions."""

    def __init__(self, before: ConvLayer, first: ConvLayer, second: ConvLayer) -> None:
        super().__init__()
        self.sn1, self.conv1 = neurons(before.neuron), synapses(first)
        self.sn2, self.conv2 = neurons(first.neuron), synapses(second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.sn2(self.conv1(self.sn1(x)))) + x


def modules(network: Network) -> nn.Module:
    """The same network of SpikingJelly's modules."""
    stem, *convs, readout = network.layers
    assert isinstance(stem, ConvLayer) and isinstance(readout, ReadoutLayer) and readout.bias is not None
    pairs = list(zip(convs[::2], convs[1::2], strict=True))
    net = nn.Sequential()
    net.add_module("conv", synapses(stem))
    if stem.keeps_stream:
        befores = [stem, *(second for _, second in pairs)]
        for index, (before, (first, second)) in enumerate(zip(befores, pairs, strict=False), start=1):
            net.add_module(f"block{index}", MsBlock(before, first, second))
        net.add_module("sn", neurons(pairs[-1][1].neuron))
    else:
        net.add_module("sn", neurons(stem.neuron))
        for index, (first, second) in enumerate(pairs, start=1):
            net.add_module(f"block{index}", SewBlock(first, second))
    net.add_module("pool", layer.AvgPool2d(network.input.shape[1]))
    net.add_module("flatten", layer.Flatten())
    classes, channels = readout.weight.shape
    net.add_module("fc", loaded(layer.Linear(channels, classes), readout.weight, readout.bias))
    functional.set_step_mode(net, "m")
    return net.eval()


class MsResNet(nn.Module):
    """SpikingJelly's own MS-ResNet, small, every block with a projection of the membrane stream; BN not yet fused."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        net = MSResNet(4, 2, 5, layers=(1, 2, 1), base_channels=4, stem_kernel_size=3, stem_stride=1)
        self.stem, self.layer1, self.layer2, self.layer3 = net.stem, net.layer1, net.layer2, net.layer3
        self.sn, self.pool, self.flatten, self.fc = net.head_lif, layer.AvgPool2d(2), layer.Flatten(), net.head
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.uniform_(-0.2, 0.4)
        functional.set_step_mode(self, "m")
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(self.flatten(self.pool(self.sn(x))))


def export(name: str, net: nn.Module, x: np.ndarray, steps: int) -> None:
    """The graph of ``net``, and the logits it computes for the images ``x``, [N, C, H, W]."""
    graph = export_to_nir(net, torch.zeros(steps, 1, *x.shape[1:]))
    functional.reset_net(net)
    graph.edges.sort()  # the exporter's order differs from run to run
    path = FOLDER / f"{name}.nir.xz"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.nir"
        nir.write(file, graph)
        path.write_bytes(lzma.compress(file.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    with torch.no_grad():
        frames = torch.tensor(x, dtype=torch.float64).expand(steps, *x.shape)
        np.save(FOLDER / f"{name}.npy", net.double()(frames).mean(0).numpy())
    print(f"{path.name}: {len(graph.nodes)} nodes, {len(graph.edges)} edges, {path.stat().st_size} bytes")


def main() -> None:
    found = importlib.metadata.version("spikingjelly")
    if found != VERSION:
        raise SystemExit(f"spikingjelly {VERSION} is needed, not {found}")
    FOLDER.mkdir(exist_ok=True)
    for name in NETWORKS:
        network = bundled.load_network(name)
        x = np.random.default_rng(0).integers(0, 17, (32, *network.input.shape))
        export(name, modules(network), x * network.input.scale, network.steps)
    x = np.random.default_rng(0).integers(0, 256, (32, 2, 16, 16)) / 255
    export("ms-resnet", fuse_conv_bn_eval_modules(MsResNet()), x, 4)


if __name__ == "__main__":
    main()
