"""What networks are trained on: the digits, MNIST, Fashion-MNIST, and how their pixels become a network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from refmodel.datasets import load_data
from refmodel.network import InputSpec

from .digits import MAX_PIXEL, Split, digits_split

#: Data sets by name; those but the digits are fetched by refmodel.datasets.
NAMES = ("digits", "mnist", "fashion-mnist")
CLASSES = 10
#: Bits and side of the fetched sets' pixels.
PIXEL_BITS, SIDE = 8, 28


@dataclass(frozen=True)
class TrainingData:
    """Images as they are stored, and what a network sees of them."""

    name: str
    train: Split
    test: Split
    spec: InputSpec


def input_spec(name: str, fold: int = 1, drop_bits: int = 0) -> InputSpec:
    """Input of a network for data ``name``, pixels scaled to 0..1.

    ``fold`` x ``fold`` pixels become channels, each without its ``drop_bits`` lowest bits
    (:mod:`refmodel.preparation`).
    """
    if name == "digits":
        # Pixels 0..16: five bits, each unit worth 1/16.
        if (fold, drop_bits) != (1, 0):
            raise ValueError("digits are neither folded nor shortened")
        return InputSpec(shape=(1, 8, 8), bits=5, static=True, scale=1.0 / MAX_PIXEL)
    bits, side = PIXEL_BITS - drop_bits, SIDE // fold
    return InputSpec(
        shape=(fold * fold, side, side), bits=bits, scale=1.0 / ((1 << bits) - 1), fold=fold, drop_bits=drop_bits
    )


def training_data(name: str, fold: int = 1, drop_bits: int = 0) -> TrainingData:
    """Training and test images of data ``name``; DataError if they cannot be fetched."""
    spec = input_spec(name, fold, drop_bits)
    if name == "digits":
        return TrainingData(name, *digits_split(), spec)
    return TrainingData(name, _split(f"{name}:train"), _split(name), spec)


def _split(name: str) -> Split:
    x, y = load_data(name)
    return Split(x.astype(np.uint8), y.astype(np.uint8))


def pixels(raw: Tensor, spec: InputSpec) -> Tensor:
    """Float images [N, C, H, W] of stored ones, uint8 [N, 1, H * fold, W * fold]."""
    return F.pixel_unshuffle((raw >> spec.drop_bits).float(), spec.fold) * spec.scale


@dataclass(frozen=True)
class Augmentation:
    """Changes of the training images: mirrored at random, moved by up to ``shift`` pixels each way."""

    mirror: bool = False
    shift: int = 0

    def __call__(self, raw: Tensor, random: torch.Generator) -> Tensor:
        """Changed images, uint8 [N, C, H, W] as ``raw``; pixels moved in from outside are 0."""
        count, _, height, width = raw.shape
        columns = torch.arange(width).expand(count, width)
        if self.mirror:
            flipped = torch.rand(count, generator=random) < 0.5
            columns = torch.where(flipped[:, None], columns.flip(1), columns)
        rows = torch.arange(height).expand(count, height)
        if self.shift:
            raw = F.pad(raw, (self.shift,) * 4)
            moves = torch.randint(0, 2 * self.shift + 1, (2, count, 1), generator=random)
            rows, columns = rows + moves[0], columns + moves[1]
        images = torch.arange(count)[:, None, None]
        return raw[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
