"""How tensors look to the event lanes: channels with a spike in a word, and their time masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .jit import compiled


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


def events_type(config: CoreConfig) -> type[np.unsignedinteger]:
    """Smallest type that holds the events of a lane's part of a word."""
    return np.uint8 if config.channels_per_word < 1 << 8 else np.uint16


def word_events(values: NDArray[np.integer], config: CoreConfig, chunks: int, planes: int) -> NDArray[np.integer]:
    """Events of every word and lane: ``[chunks * planes, H * W * G, K, N]``, of the smallest unsigned type.

    ``values`` are ``[N, T, C, H, W]``; word ``(y * W + x) * G + g`` holds channels ``g * P .. g * P + P - 1``.
    """
    n, _, channels, height, width = values.shape
    if values.dtype == bool:
        values = values.view(np.uint8)
    groups = -(-channels // config.output_lanes)
    events = np.zeros((chunks * planes, height * width * groups, config.event_lanes, n), events_type(config))
    bits_kind = np.uint8 if planes <= 8 else np.uint16 if planes <= 16 else np.uint32
    for chunk in range(chunks):
        part = values[:, chunk * config.time_lanes : (chunk + 1) * config.time_lanes]
        bits = np.bitwise_or.reduce(part, axis=1).astype(bits_kind, copy=False)
        images_last = np.ascontiguousarray(bits.reshape(n, channels, height * width).transpose(1, 2, 0))
        rows = events[chunk * planes : (chunk + 1) * planes]
        _count(images_last, config.output_lanes, config.channels_per_word, rows)
    return events


@compiled
def _count(bits: NDArray[np.integer], lanes: int, per_word: int, events: NDArray[np.integer]) -> None:
    """Add the channels that have a bit set, ``bits`` ``[C, H * W, N]``, to ``events`` ``[planes, words, K, N]``."""
    channels, pixels, images = bits.shape
    groups = -(-channels // lanes)
    for channel in range(channels):
        group, lane = channel // lanes, channel % lanes // per_word
        for pixel in range(pixels):
            source = bits[channel, pixel]
            for plane in range(len(events)):
                counts = events[plane, pixel * groups + group, lane]
                for image in range(images):
                    counts[image] += source[image] >> plane & 1
