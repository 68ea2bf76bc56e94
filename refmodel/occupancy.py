"""How tensors look to the event lanes: channels with a spike in a word, and their time masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig


def pad_tensor(values: NDArray[np.integer], config: CoreConfig, chunks: int) -> NDArray[np.integer]:
    """``[N, T, C, H, W]`` to ``[N, chunks, Tp, G, P, H, W]``, padded with zeros."""
    n, t, c, h, w = values.shape
    groups = -(-c // config.output_lanes)
    padded = np.zeros((n, chunks * config.time_lanes, groups * config.output_lanes, h, w), values.dtype)
    padded[:, :t, :c] = values
    return padded.reshape(n, chunks, config.time_lanes, groups, config.output_lanes, h, w)


def time_masks(values: NDArray[np.integer], config: CoreConfig, chunks: int, planes: int) -> NDArray[np.uint16]:
    """Time masks of every channel and bit-plane: ``[N, chunks, planes, H, W, G, K, channels of a word]``.

    Bit t of a mask says that the channel has bit ``plane`` set at step t of the chunk.
    """
    padded = pad_tensor(values, config, chunks)
    n, _, steps, groups, _, h, w = padded.shape
    masks = np.zeros((n, chunks, planes, groups, config.output_lanes, h, w), np.uint16)
    for plane in range(planes):
        for step in range(steps):
            masks[:, :, plane] |= (((padded[:, :, step] >> plane) & 1) << step).astype(np.uint16)
    split = masks.reshape(n, chunks, planes, groups, config.event_lanes, config.channels_per_word, h, w)
    return split.transpose(0, 1, 2, 6, 7, 3, 4, 5)


def event_counts(masks: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Events of every word and lane: ``[N, chunks, planes, H, W, G, K]``."""
    return (masks != 0).sum(axis=-1)
