"""The training loop: AdamW, one-cycle rate, deterministic for a seed and a thread count."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from refmodel.network import InputSpec

from .data import Augmentation, pixels
from .digits import Split
from .networks import SpikingNetwork


@dataclass(frozen=True)
class Recipe:
    """How to train; ``rate`` is the peak of the one-cycle schedule, ``readout_rate`` so many times that for the FC.

    ``half``: convolutions calculate in bfloat16, which processors with matrix units do several times as fast.
    """

    epochs: int = 30
    rate: float = 5e-3
    readout_rate: float = 1.0
    decay: float = 1e-2
    batch: int = 64
    seed: int = 0
    half: bool = False
    change: Augmentation = field(default_factory=Augmentation)


@torch.no_grad()
def accuracy(model: SpikingNetwork, split: Split, spec: InputSpec, batch: int = 120) -> float:
    """Percent of ``split`` the model gets right, in evaluation mode."""
    model.eval()
    hits = 0
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    for chunk, labels in zip(x.split(batch), y.split(batch), strict=True):
        hits += int((model(pixels(chunk, spec)).argmax(1) == labels).sum())
    return 100.0 * hits / len(split.y)


@torch.no_grad()
def settle(model: SpikingNetwork, train: Split, spec: InputSpec, batch: int = 120) -> None:
    """Take BN's mean and variance over all of ``train``, for the weights as they are.

    The running statistics that training leaves are those of its last few batches; in a deep network their
    noise adds up.
    """
    norms = [layer.norm for layer in model.spiking_layers() if layer.norm is not None]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
    model.train()
    for chunk in torch.from_numpy(train.x).split(batch):
        model(pixels(chunk, spec))


def fit(model: SpikingNetwork, train: Split, validation: Split, spec: InputSpec, recipe: Recipe) -> None:
    """Train in place; the last epoch's weights stay, whatever the validation figures were."""
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y.astype(np.int64))
    order = torch.Generator().manual_seed(recipe.seed)
    rates = [recipe.rate, recipe.rate * recipe.readout_rate]
    groups = [
        {"params": list(part.parameters()), "lr": rate}
        for part, rate in zip((model.body, model.readout), rates, strict=True)
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay)
    batches = len(y) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=recipe.epochs * batches)
    if recipe.half:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    started = time.process_time()
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        shuffled = torch.randperm(len(y), generator=order)
        total = 0.0
        for picked in shuffled[: batches * recipe.batch].split(recipe.batch):
            images = pixels(recipe.change(x[picked], order), spec)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
                loss = F.cross_entropy(model(images).float(), y[picked])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        line = f"epoch {epoch:3d}/{recipe.epochs}  loss {total / batches:.4f}"
        if len(validation.y) and (epoch % 2 == 0 or epoch == recipe.epochs):
            line += f"  validation {accuracy(model, validation, spec):.2f} %"
        print(f"{line}  {time.process_time() - started:.0f} s CPU", flush=True)
