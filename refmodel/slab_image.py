"""A slab as it rests in the store: header, weights, parameters, attention, descriptor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bounds import LayerBounds
from .config import CoreConfig
from .image import lane_rows, word_rows
from .layout import descriptor_image, header_fields, pack, param_fields
from .limits import stored_threshold
from .program import Op, Slab


def slab_rows(config: CoreConfig, slab: Slab, bounds: LayerBounds) -> NDArray[np.uint8]:
    """The slab's words as bytes ``[words, store_width / 8]``."""
    op, group, width = slab.op, slab.group, config.store_width
    header = {"weights_last": op.weights - 1}
    if slab.attention_words:
        header["attention_words"] = len(slab.attention_words)
    weights = _slab_weights(config, op, group).reshape(-1, config.output_lanes)
    descriptor = descriptor_image(config, slab.descriptor, slab.starts)
    parts = (
        word_rows([pack(header_fields(config), header)], width),
        lane_rows(weights, config.weight_bits, width),
        word_rows(_slab_params(config, op, group, bounds), width),
        word_rows([*slab.attention_words, *descriptor], width),
    )
    return np.concatenate(parts)


def _slab_weights(config: CoreConfig, op: Op, group: int) -> NDArray[np.integer]:
    """``[K, words, P]``: event lane k owns channels k*W .. k*W+W-1 of every group of P."""
    lanes, events, per_word = config.output_lanes, config.event_lanes, config.channels_per_word
    if not op.scans:
        return np.zeros((events, 1, lanes), np.int64)
    if op.pool:
        return np.eye(lanes, dtype=np.int64).reshape(events, per_word, lanes)
    weight = op.layer.weight
    assert weight is not None
    _, cin, kh, kw = weight.shape
    part = weight[group * lanes : (group + 1) * lanes]
    padded = np.zeros((lanes, op.words * lanes, kh, kw), np.int16)  # weights have at most 8 bits
    padded[: part.shape[0], :cin] = part
    split = padded.reshape(lanes, op.words, events, per_word, kh, kw)
    words = split.transpose(2, 4, 5, 1, 3, 0).reshape(events, -1, lanes)
    return np.concatenate([words, -words], axis=1) if op.top_tag else words


def _slab_params(config: CoreConfig, op: Op, group: int, bounds: LayerBounds) -> list[int]:
    lanes, layer = config.output_lanes, op.layer
    count = op.out.shape[0]
    unreachable = (1 << (config.membrane_width - 1)) - 1
    zero = np.zeros(count, np.int64)
    bias = zero if layer.bias is None else layer.bias
    both = bias if layer.current is None else bias + layer.current
    threshold = zero + unreachable if layer.kind == "readout" else stored_threshold(layer, bounds)
    words = []
    for lane in range(lanes):
        channel = group * lanes + lane
        if channel < count:
            values = {
                "threshold": int(threshold[channel]),
                "bias": int(bias[channel]),
                "bias_shortcut": int(both[channel]),
            }
        else:
            values = {"threshold": unreachable}
        words.append(pack(param_fields(config), values))
    return words
