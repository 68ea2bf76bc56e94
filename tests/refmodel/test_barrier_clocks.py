"""What the slowest event lanes alone would take, against a count by hand."""

from __future__ import annotations

import numpy as np

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.lane_use import barrier_clocks
from tests.random_networks import random_input, random_quantized_network


def _by_hand(values: np.ndarray, layer, config: CoreConfig, out: tuple[int, int], groups: int, planes: int) -> int:
    """Of one image ``[T, C, H, W]``: for every tile, chunk and plane the events of the slowest lane."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    steps, channels, in_h, in_w = values.shape
    lanes, of_lane, total = config.event_lanes, config.channels_per_word, 0
    for y in range(out[0]):
        for x in range(out[1]):
            top, left = y * sh - ph, x * sw - pw
            window = values[:, :, max(0, top) : min(in_h, top + kh), max(0, left) : min(in_w, left + kw)]
            for first in range(0, steps, config.time_lanes):
                for plane in range(planes):
                    fired = (window[first : first + config.time_lanes] >> plane & 1).any(axis=0).sum(axis=(1, 2))
                    lane = np.arange(channels) % config.output_lanes // of_lane
                    total += int(np.bincount(lane, fired, lanes).max())
    return groups * total


def test_it_counts_the_slowest_lane_of_each_tile_chunk_and_plane() -> None:
    rng = np.random.default_rng(5)
    config = CoreConfig(event_lanes=4, store_depth=4096)
    found = 0
    for _ in range(4):
        net = random_quantized_network(rng, steps=6, max_layers=4, sizes=(3, 4), channels_choices=(1, 5, 9))
        program = compile_network(net, config)
        x = random_input(rng, net, 2)
        tensors = golden.run(program.network, x, keep=True).tensors
        bounds = barrier_clocks(program, tensors)
        assert bounds.shape == (len(program.ops), 2)
        assert (bounds.sum(axis=0) <= run_timing(program, tensors).clocks).all()
        for op in program.ops:
            if op.layer.kind != "conv" or op.source.signed:
                continue
            for image in range(2):
                values = np.asarray(tensors[op.layer.source])[image].astype(np.int64)
                expected = _by_hand(values, op.layer, config, op.out.shape[1:], op.groups, op.source.planes)
                assert bounds[op.index, image] == expected
                found += 1
    assert found > 8
