"""Random integer networks for tests: legal, of every layer kind, and neither silent nor saturated.

A network is grown layer by layer on a few calibration images; each channel's threshold is searched
until it fires at a rate drawn from ``rates``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from refmodel import legality
from refmodel.quantized import (
    Combine,
    QuantizedInput,
    QuantizedNetwork,
)
from tests.network_grower import KERNELS, Grower, Pair, draw_input

_LEAKS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (3,), (4,), (1, 1), (1, 2), (2, 3), (3, 4), (4, 4))


#: Features beyond spikes, SEW blocks and binary pooling that random networks may have.
EXTRAS = (
    "no_reset", "stateless", "rectify", "leak_factor", "levels", "streams", "stream_tensors", "count_pools", "signed",
    "attention",
)  # fmt: skip


def random_input(rng: np.random.Generator, net: QuantizedNetwork, n: int) -> NDArray[np.int64]:
    """``n`` inputs of ``net``: ``[N, C, H, W]`` when static, else ``[N, T, C, H, W]``; about half zeros."""
    return draw_input(rng, net.input, net.steps, n)


def random_quantized_network(
    rng: np.random.Generator,
    *,
    steps: int,
    channels_choices: Sequence[int] = (1, 3, 5, 8, 11, 16),
    max_layers: int = 6,
    min_layers: int = 1,
    sizes: Pair = (3, 10),
    input_bits: Sequence[int] = (1, 2, 4, 8),
    static: bool | None = None,
    weight_bits: int = 8,
    acc_width: int = 18,
    membrane_width: int = 24,
    max_fan_in: int = 400,
    classes: Pair = (2, 10),
    kernels: Sequence[Pair] = KERNELS,
    strides: Sequence[int] = (1, 1, 2, 3),
    leaks: Sequence[tuple[int, ...]] = _LEAKS,
    combines: Sequence[Combine] = ("add", "and", "iand", "or"),
    soft_reset: bool = True,
    maxpool: bool = True,
    current: bool = True,
    dense: bool = True,
    input_as_spikes: bool = False,
    extras: Collection[str] = (),
    stream_bits: int = 8,
    rates: tuple[float, float] = (0.05, 0.6),
    name: str = "random",
) -> QuantizedNetwork:
    """A random legal network with ``min_layers`` to ``max_layers`` layers before its readout.

    Parameters
    ----------
    sizes: smallest and largest input height and width (drawn apart: not square).
    static: None draws it.
    acc_width, membrane_width: weights are small enough that no sum or membrane overflows them.
    max_fan_in: largest Cin * KH * KW, which also limits dense layers and full-kernel readouts.
    leaks, combines, ...: what to choose from; an empty ``combines`` makes no SEW blocks.
    input_as_spikes: let the input be a shortcut, and pooled when it is binary.
    extras: features of :data:`EXTRAS` to mix in.
    stream_bits: most bits of a stream's tensor.
    """
    unknown = set(extras) - set(EXTRAS)
    assert not unknown, unknown
    channels = int(rng.choice([c for c in channels_choices if c <= max_fan_in]))
    shape = (channels, int(rng.integers(sizes[0], sizes[1] + 1)), int(rng.integers(sizes[0], sizes[1] + 1)))
    is_static = bool(rng.integers(2)) if static is None else static
    is_signed = "signed" in extras and bool(rng.integers(2))
    spec = QuantizedInput(shape, int(rng.choice(list(input_bits))) + is_signed, is_static, signed=is_signed)
    grower = Grower(rng, spec, steps, channels_choices, max_fan_in, weight_bits, acc_width, membrane_width)
    grower.leaks, grower.soft_reset, grower.rates, grower.kernels = leaks, soft_reset, rates, kernels
    grower.input_as_spikes = input_as_spikes and not is_signed
    grower.extras, grower.stream_bits = frozenset(extras), stream_bits
    wanted = int(rng.integers(min_layers, max_layers + 1))
    actions = (
        ["conv"] + ["combine", "combine", "block"] * bool(combines) + ["current"] * current + ["maxpool"] * maxpool
    )
    actions += ["stream"] * 2 * ("streams" in extras) + ["sumpool"] * ("count_pools" in extras)
    actions += ["gate"] * ("attention" in extras)
    actions += ["project"] * ("stream_tensors" in extras)
    while len(grower.layers) < wanted:
        action = str(rng.choice(actions)) if grower.layers or grower.input_as_spikes else "conv"
        room = wanted - len(grower.layers)
        if action == "combine" and grower.shortcut_layer(combines=combines):
            continue
        if action == "block" and room >= 3:
            grower.projection_block(combines, int(rng.choice(list(strides))))
            continue
        if action == "current" and grower.shortcut_layer(combines=()):
            continue
        if action in ("maxpool", "sumpool") and grower.pool(action):
            continue
        if action == "gate" and grower.gated_shortcut():
            continue
        if action == "stream" and grower.stream_layer():
            continue
        if action == "project" and room >= 3 and grower.stream_projection():
            continue
        if dense and room == 1 and rng.random() < 0.4 and grower.dense():
            continue
        grower.conv(int(rng.choice(list(strides))))
    grower.readout(int(rng.integers(classes[0], classes[1] + 1)), full=dense and rng.random() < 0.5)
    net = QuantizedNetwork(name, steps, spec, tuple(grower.layers), weight_bits, "random")
    legality.validate(net)
    return net


def scaled(net: QuantizedNetwork, factor: int) -> QuantizedNetwork:
    """``net`` with all its integers times ``factor`` (and 16-bit weights): the same spikes where no shift rounds."""

    def times(array: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return None if array is None else array * factor

    layers = [
        dataclasses.replace(
            layer, weight=times(layer.weight), bias=times(layer.bias),
            threshold=times(layer.threshold), current=times(layer.current),
        )
        for layer in net.layers
    ]  # fmt: skip
    return dataclasses.replace(net, layers=tuple(layers), weight_bits=16)


def uniform(net: QuantizedNetwork) -> QuantizedNetwork:
    """``net`` with one threshold and one current a layer (their medians), as float networks have them."""

    def level(array: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return None if array is None else np.full_like(array, int(np.median(array)))

    layers = [
        dataclasses.replace(layer, threshold=level(layer.threshold), current=level(layer.current))
        for layer in net.layers
    ]
    return dataclasses.replace(net, layers=tuple(layers))


def with_streams(rng: np.random.Generator, net: QuantizedNetwork) -> QuantizedNetwork:
    """``net`` with membrane streams between some of its convolutions of equal shape."""
    shapes = net.tensors()
    layers = list(net.layers)
    for index, layer in enumerate(layers):
        earlier = [
            i
            for i in range(index)
            if layer.kind == layers[i].kind == "conv" and shapes[layers[i].name].shape == shapes[layer.name].shape
        ]
        if earlier and rng.random() < 0.7:
            chosen = int(rng.choice(earlier))
            layers[chosen] = dataclasses.replace(layers[chosen], keeps_stream=True)
            layers[index] = dataclasses.replace(layer, stream=layers[chosen].name, keeps_stream=bool(rng.integers(2)))
    return dataclasses.replace(net, layers=tuple(layers))
