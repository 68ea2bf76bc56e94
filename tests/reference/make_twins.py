"""Makes the part of tests/reference/state_dicts that is not SpikingJelly's: ``python -m tests.reference.make_twins``.

Needs torch and safetensors.  The models are written here from their papers' equations, in plain PyTorch; their modules
have the names of the published code, so that a state_dict has its parameter names.  Steps and samples share the first
axis, [T * N, C, H, W].
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.reference import state_dicts

STEPS, SAMPLES, SIDE = 4, 2, 9
#: Of tdBN.
EPSILON = 0.05
#: Recorded modules and the imported network's layers.
Record = dict[nn.Module, str]


def over_time(x: torch.Tensor, charge: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], th: float, strict: bool):
    """Spikes [T * N, ...] of a neuron with a hard reset to 0: H = charge(V, X)."""
    frames = x.unflatten(0, (STEPS, -1))
    v, spikes = torch.zeros_like(frames[0]), []
    for frame in frames:
        h = charge(v, frame)
        s = (h > th if strict else h >= th).to(x)
        v = h * (1 - s)
        spikes.append(s)
    return torch.cat(spikes)


class Seen(nn.Module):
    """Passes its input on; what passes is recorded, [T, N, C, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(0, (STEPS, -1))


class Neuron(nn.Module):
    """``kind``: if (SEW, IF with threshold 1), plif (H = V + (X - V) sigmoid(w)), decay (u = 0.25 u (1 - s) + x),
    mlf (three decays, at 0.6, 1.6, 2.6, added)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.seen = kind, Seen()
        if kind == "plif":
            self.w = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "if":
            made = over_time(x, lambda v, i: v + i, 1.0, False)
        elif self.kind == "plif":
            made = over_time(x, lambda v, i: v + (i - v) * torch.sigmoid(self.w), 1.0, False)
        else:
            levels = [0.5] if self.kind == "decay" else [0.6, 1.6, 2.6]
            made = sum(over_time(x, lambda v, i: 0.25 * v + i, level, True) for level in levels)
            assert isinstance(made, torch.Tensor)
        self.seen(made)
        return made


class Normed(nn.Module):
    """Batch norm over steps and samples whose parameters are under ``bn``, as published wrappers have them.

    ``td``: 0.6 * (x - mean) / (sqrt(var) + eps) * gamma + beta, with eps outside the root.
    """

    def __init__(self, channels: int, td: bool, affine: bool = True) -> None:
        super().__init__()
        # an eps so large that its place shows
        self.bn, self.td = nn.BatchNorm2d(channels, eps=EPSILON if td else 1e-5, affine=affine), td

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.td:
            return self.bn(x)
        mean, var = self.bn.running_mean, self.bn.running_var
        assert mean is not None and var is not None
        x = 0.6 * (x - mean[:, None, None]) / (var.sqrt()[:, None, None] + self.bn.eps)
        return x * self.bn.weight[:, None, None] + self.bn.bias[:, None, None] if self.bn.affine else x


class Contained(nn.Module):
    """Modules under ``module``, as the first SeqToANNContainer keeps them."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.module = nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


def connect(how: str, a: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """SEW paper, table 1."""
    return {"ADD": a + s, "AND": a * s, "IAND": (1 - a) * s}[how]


class SewBlock(nn.Module):
    """conv1..: Contained(C, BN); downsample: Sequential(Contained(C1, BN), SN).  ``how`` None: Spiking ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int, how: str | None, bottleneck: bool) -> None:
        super().__init__()
        wide = outputs * (4 if bottleneck else 1)
        shapes = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        if bottleneck:
            shapes = [(inputs, outputs, 1, 1), (outputs, outputs, 3, stride), (outputs, wide, 1, 1)]
        self.how, self.count, self.seen = how, len(shapes), Seen()
        for number, (i, o, k, s) in enumerate(shapes, start=1):
            setattr(self, f"conv{number}", Contained(conv(i, o, k, s), nn.BatchNorm2d(o)))
            setattr(self, f"sn{number}", Neuron("if"))
        self.downsample = None
        if stride != 1 or inputs != wide:
            normed = Contained(conv(inputs, wide, 1, stride), nn.BatchNorm2d(wide))
            self.downsample = normed if how is None else nn.Sequential(normed, Neuron("if"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = x
        for number in range(1, self.count):
            y = getattr(self, f"sn{number}")(getattr(self, f"conv{number}")(y))
        y = getattr(self, f"conv{self.count}")(y)
        last = getattr(self, f"sn{self.count}")
        made = last(y + shortcut) if self.how is None else connect(self.how, last(y), shortcut)
        self.seen(made)
        return made


class Staged(nn.Module):
    """conv1, bn1, sn1, a pool, layer1.., fc: the SEW-ResNet code's names."""

    def __init__(self, how: str | None, bottleneck: bool, counts: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1, self.bn1, self.sn1 = conv(3, channels[0], 7, 2), nn.BatchNorm2d(channels[0]), Neuron("if")
        self.seen, self.stages, inputs = Seen(), len(counts), channels[0]
        for number, (count, width) in enumerate(zip(counts, channels, strict=True), start=1):
            blocks = []
            for block in range(count):
                stride = 2 if number > 1 and not block else 1
                blocks.append(SewBlock(inputs, width, stride, how, bottleneck))
                inputs = width * (4 if bottleneck else 1)
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.sn1(self.bn1(self.conv1(x))), 3, 2, 1)
        self.seen(x)
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


def unit(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(Contained(conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs)), Neuron("plif"))


class GestureBlock(nn.Module):
    """conv: two units; ``how`` None: the second without its neuron, which is ``sn`` behind the sum; plain: no sum."""

    def __init__(self, channels: int, inner: int, how: str | None) -> None:
        super().__init__()
        self.how, self.seen = how, Seen()
        second = unit(inner, channels, 3)
        if how is None:
            self.sn = second[1]
            second = second[0]
        self.conv = nn.Sequential(unit(channels, inner, 3), second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.how is None:
            y = self.sn(x + y)
        elif self.how != "plain":
            y = connect(self.how, y, x)
        made = y
        self.seen(made)
        return made


class Gesture(nn.Module):
    """conv: units, blocks and pools in a row, all numbered; out."""

    def __init__(self, how: str | None) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2, 2)
        row = [unit(2, 4, 1), GestureBlock(4, 6, how), pool, GestureBlock(4, 4, how), pool]
        row += [unit(4, 6, 3), GestureBlock(6, 6, how), GestureBlock(6, 4, how), pool, nn.Flatten(1)]
        self.conv, self.out = nn.Sequential(*row), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.conv(x))


class MsBlock(nn.Module):
    """residual_function: SN, C3, BN, SN, C3, BN; shortcut: C1, BN, or with ``average`` a pool before them."""

    def __init__(self, inputs: int, outputs: int, stride: int, average: bool) -> None:
        super().__init__()
        self.seen = Seen()
        self.residual_function = nn.Sequential(
            Neuron("decay"), conv(inputs, outputs, 3, stride), Normed(outputs, False),
            Neuron("decay"), conv(outputs, outputs, 3), Normed(outputs, False),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            pool = [nn.AvgPool2d(2, 2)] if average else []
            projection = conv(inputs, outputs, 1, 1 if average else stride)
            self.shortcut = nn.Sequential(*pool, projection, Normed(outputs, False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.residual_function(x) + self.shortcut(x)
        self.seen(made)
        return made


class Ms(nn.Module):
    """conv1, conv2_x.., fc: the MS-ResNet code's names; ``deep``: three convolutions first, averages in shortcuts."""

    def __init__(self, deep: bool, counts: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        first, self.seen = channels[0], Seen()
        stem = [conv(3, first, 7, 2)]
        if deep:
            stem = [conv(3, first, 3, 2, True), conv(first, first, 3, 1, True), conv(first, first, 3, 1, True)]
        self.conv1, inputs = nn.Sequential(*stem, Normed(first, False)), first
        for number, (count, width) in enumerate(zip(counts, channels, strict=True), start=2):
            blocks = []
            for block in range(count):
                blocks.append(MsBlock(inputs, width, 1 if block else 2, deep))
                inputs = width
            setattr(self, f"conv{number}_x", nn.Sequential(*blocks))
        self.mem_update, self.fc, self.stages = Neuron("decay"), nn.Linear(inputs, 5), len(counts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        self.seen(x)
        for number in range(2, self.stages + 2):
            x = getattr(self, f"conv{number}_x")(x)
        return self.fc(self.mem_update(x).mean((2, 3)))


class DsBlock(nn.Module):
    """conv1, bn1, conv2, bn2, shortcut: C1, tdBN, MLF."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), Normed(outputs, True)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), Normed(outputs, True)
        self.first, self.second, self.shortcut, self.seen = Neuron("mlf"), Neuron("mlf"), nn.Sequential(), Seen()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), Normed(outputs, True), Neuron("mlf"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.second(self.bn2(self.conv2(self.first(self.bn1(self.conv1(x)))))) + self.shortcut(x)
        self.seen(made)
        return made


class Row(nn.Module):
    """Blocks under ``execute``."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.execute = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.execute(x)


class Ds(nn.Module):
    """conv1, bn1, layer1 to layer3, voting; ``events``: bn0 on the input."""

    def __init__(self, events: bool) -> None:
        super().__init__()
        inputs = 2 if events else 3
        self.bn0 = Normed(inputs, True, affine=False) if events else nn.Identity()
        self.conv1, self.bn1, self.sn1 = conv(inputs, 4, 3), Normed(4, True), Neuron("mlf")
        self.layer1 = Row(DsBlock(4, 4, 1), DsBlock(4, 4, 1))
        self.layer2, self.layer3 = Row(DsBlock(4, 6, 2)), Row(DsBlock(6, 6, 2))
        self.voting = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sn1(self.bn1(self.conv1(self.bn0(x))))
        return self.voting(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Logits of [N, C, H, W] or [N, T, C, H, W]."""
    frames = x[None].expand(STEPS, *x.shape) if x.ndim == 4 else x.transpose(0, 1)
    return net(frames.flatten(0, 1)).unflatten(0, (STEPS, -1)).mean(0)


def main() -> None:
    torch.set_num_threads(1)
    for how, bottleneck, name in (("IAND", True, "sew-iand-bottleneck"), (None, False, "sew-spiking")):
        net = Staged(how, bottleneck, (2, 1, 1), (2, 2, 3) if bottleneck else (4, 4, 6))
        spiking: Record = {net.sn1.seen: "stem", net.seen: "stem.pool"}
        for path, block in _blocks(net, SewBlock):
            for number in range(1, block.count):
                spiking[getattr(block, f"sn{number}").seen] = f"{path}.conv{number}"
            spiking[block.seen] = f"{path}.conv{block.count}"
            if how is not None and block.downsample is not None:
                spiking[block.downsample[1].seen] = f"{path}.projection"
        options = {"connect": how} if how else {}
        _write(name, net, spiking, {}, {"family": "sew-resnet" if how else "sew-spiking-resnet", **options})

    for how, name in (("ADD", "sew-7b"), (None, "spiking-7b"), ("plain", "plain-7b")):
        net = Gesture(how)
        spiking = {}
        row: list[Any] = list(net.conv)
        for number, module in enumerate(row):
            if isinstance(module, GestureBlock):
                spiking[row[number].conv[0][1].seen] = f"conv.{number}.conv1"
                spiking[module.seen] = f"conv.{number}.conv2"
            elif isinstance(module, nn.Sequential):
                spiking[module[1].seen] = f"conv.{number}"
        options = {"connect": how} if how == "ADD" else {}
        _write(name, net, spiking, {}, {"family": f"{name}-net", **options}, events=True)

    for deep, name in ((False, "ms-resnet"), (True, "ms-resnet104")):
        net = Ms(deep, (2, 1), (4, 6))
        spiking, streams, before = {}, {net.seen: "stem"}, "stem"
        for path, block in _blocks(net, MsBlock):
            spiking[block.residual_function[0].seen] = before
            spiking[block.residual_function[3].seen] = f"{path}.conv1"
            before = f"{path}.conv2"
            streams[block.seen] = before
        spiking[net.mem_update.seen] = before
        normal = {"mean": [0.5], "std": [0.25]} if deep else {}
        # averages over windows of 2 need even sizes
        _write(name, net, spiking, streams, {"family": name, **normal}, side=16)

    for events, name in ((False, "ds-resnet"), (True, "ds-resnet-events")):
        net = Ds(events)
        spiking = {net.sn1.seen: "stem"}
        for path, block in _blocks(net, DsBlock):
            spiking[block.first.seen] = f"{path}.conv1"
            spiking[block.seen] = f"{path}.conv2"
            if len(block.shortcut):
                spiking[block.shortcut[2].seen] = f"{path}.projection"
        _write(name, net, spiking, {}, {"family": name, "epsilon": EPSILON}, events)


def _blocks(net: nn.Module, kind: type[nn.Module]) -> list[tuple[str, Any]]:
    return [(path, module) for path, module in net.named_modules() if isinstance(module, kind)]


def _write(
    name: str,
    net: nn.Module,
    spiking: Record,
    streams: Record,
    options: dict[str, Any],
    events: bool = False,
    side: int = SIDE,
) -> None:
    norms: dict[nn.Module, nn.Module] = {module: module.bn for module in net.modules() if isinstance(module, Normed)}
    inside = set(norms.values())
    norms |= {one: one for one in net.modules() if isinstance(one, nn.BatchNorm2d) and one not in inside}
    rng = np.random.default_rng(len(name))
    if events:
        x = rng.integers(0, 4, (SAMPLES, STEPS, 2, 10, 11)) * (rng.random((SAMPLES, STEPS, 2, 10, 11)) < 0.4)
        chosen = {"input_shape": (2, 10, 11), "input_scale": 1.0, "input_bits": 2, "events": True}
    else:
        x = rng.integers(0, 256, (SAMPLES, 3, side, side))
        chosen = {"input_shape": (3, side, side), "input_scale": 1 / 255}
    chosen |= {"steps": STEPS, **options}
    state_dicts.make(name, net, norms, spiking, streams, chosen, x.astype(np.uint8), run)


if __name__ == "__main__":
    main()
