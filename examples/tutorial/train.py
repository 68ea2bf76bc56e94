"""Train a SEW-ResNet in SpikingJelly on scikit-learn's digits and export it to NIR.

A script as anyone would write it: nothing in it knows of Skipspike.  docs/tutorial.md goes on from its file.

Run: python examples/tutorial/train.py digits.nir          (needs spikingjelly, nir, nirtorch, scikit-learn)
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.functional.conv_bn_fusion import fuse_conv_bn_eval_modules
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 4


def conv_bn(inputs: int, outputs: int) -> list[nn.Module]:
    return [layer.Conv2d(inputs, outputs, 3, padding=1, bias=False), layer.BatchNorm2d(outputs)]


def spikes() -> nn.Module:
    return neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True)


class SewBlock(nn.Module):
    """O = SN(BN(conv(SN(BN(conv(S)))))) + S."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*conv_bn(channels, channels), spikes(), *conv_bn(channels, channels), spikes())

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + x


class SewNet(nn.Module):
    """Convolution, ``blocks`` SEW-ADD blocks, average pool, FC; input and output [T, N, ...]."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, channels), spikes())
        self.blocks = nn.Sequential(*(SewBlock(channels) for _ in range(blocks)))
        self.pool = layer.AvgPool2d(8)
        self.flatten = layer.Flatten()
        self.readout = layer.Linear(channels, 10)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.flatten(self.pool(self.blocks(self.stem(x)))))


def predict(net: nn.Module, images: Tensor) -> Tensor:
    """Scores [N, 10]: the mean over T of what comes out for the same image at each step."""
    functional.reset_net(net)
    return net(images.expand(STEPS, *images.shape)).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="NIR file to write")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    x, x_test, y, y_test = (torch.from_numpy(part) for part in split)

    net = SewNet(channels=16, blocks=4)
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    batches = len(x) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=options.epochs * batches)
    started = time.perf_counter()
    for epoch in range(options.epochs):
        net.train()
        for picked in torch.randperm(len(x))[: batches * 32].split(32):
            loss = F.cross_entropy(predict(net, x[picked]), y[picked])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s", flush=True)

    net.eval()
    with torch.no_grad():
        right = (predict(net, x_test).argmax(1) == y_test).float().mean().item()
    print(f"test accuracy: {100 * right:.2f} %")
    functional.reset_net(net)
    fused = fuse_conv_bn_eval_modules(net)
    export_to_nir(fused, x_test[:1].expand(STEPS, -1, -1, -1, -1), save_path=options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
