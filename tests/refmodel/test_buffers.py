"""Buffer plans: run word by word, nothing is ever read that another tensor has overwritten."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel.buffers import Buffer, chunk_count, input_is_shared, last_uses, plan_buffers
from refmodel.config import CoreConfig
from refmodel.errors import CompileError
from refmodel.quantized import INPUT, QuantizedInput, QuantizedLayer, QuantizedNetwork
from tests.random_networks import random_quantized_network

CONFIGS = (
    CoreConfig(spike_depth=1 << 16),
    CoreConfig(event_lanes=1, output_lanes=4, time_lanes=2, neuron_units=1, max_planes=6, spike_depth=1 << 16),
    CoreConfig(event_lanes=4, output_lanes=16, time_lanes=8, neuron_units=2, spike_depth=1 << 16),
)
Word = tuple[str, int, int, int, int]  # tensor, chunk, plane, pixel, group


def address(buffer: Buffer, chunk: int, plane: int, pixel: int, group: int) -> int:
    return buffer.base + chunk * buffer.chunk_step + plane * buffer.plane_step + pixel * buffer.groups + group


class Memory:
    """Which word of which tensor lies at each address."""

    def __init__(self, net: QuantizedNetwork, config: CoreConfig):
        self.buffers, self.infos = plan_buffers(net, config), net.tensors()
        self.config, self.chunks = config, chunk_count(net, config)
        self.shared = input_is_shared(net, config)
        self.at: dict[int, Word] = {}

    def words(self, name: str) -> Iterator[Word]:
        info = self.infos[name]
        chunks = 1 if name == INPUT and self.shared else self.chunks
        groups = -(-info.shape[0] // self.config.output_lanes)
        for chunk in range(chunks):
            for plane in range(info.planes):
                for pixel in range(info.shape[1] * info.shape[2]):
                    for group in range(groups):
                        yield name, chunk, plane, pixel, group

    def write(self, word: Word) -> None:
        where = address(self.buffers[word[0]], *word[1:])
        assert 0 <= where < self.config.spike_depth
        self.at[where] = word

    def read(self, word: Word) -> None:
        name, chunk, *rest = word
        where = address(self.buffers[name], chunk, *rest)
        stored = (name, 0, *rest) if name == INPUT and self.shared else word
        assert self.at.get(where) == stored, f"{word} was overwritten by {self.at.get(where)}"


def run(net: QuantizedNetwork, config: CoreConfig) -> Memory:
    """Run ``net``: a slab reads its source until its end, a pixel's shortcut before its result is written."""
    memory = Memory(net, config)
    for word in memory.words(INPUT):
        memory.write(word)
    for layer in net.layers:
        for word in memory.words(layer.source):
            memory.read(word)
        if layer.name in memory.buffers:
            results = sorted(memory.words(layer.name), key=lambda w: (w[4], w[3], w[1], w[2]))
            for name, chunk, plane, pixel, group in results:
                if plane == 0 and layer.shortcut is not None:
                    for sc_plane in range(memory.infos[layer.shortcut].planes):
                        memory.read((layer.shortcut, chunk, sc_plane, pixel, group))
                memory.write((name, chunk, plane, pixel, group))
        for word in memory.words(layer.source):  # still there: a later slab reads it again
            memory.read(word)
        if layer.name in memory.buffers:
            for word in memory.words(layer.name):
                memory.read(word)
    return memory


def places(net: QuantizedNetwork, config: CoreConfig, name: str) -> set[int]:
    """Addresses of a tensor's own words."""
    memory = Memory(net, config)
    return {address(memory.buffers[name], *word[1:]) for word in memory.words(name)}


def in_place(net: QuantizedNetwork, config: CoreConfig) -> set[str]:
    buffers = plan_buffers(net, config)
    owners: dict[int, str] = {}
    found = set()
    for name, buffer in buffers.items():
        if buffer.region in owners:
            found.add(name)
        owners[buffer.region] = name
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_word_is_lost_before_its_last_reader(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = CONFIGS[int(rng.integers(len(CONFIGS)))]
    net = random_quantized_network(
        rng,
        steps=int(rng.integers(1, 2 * config.time_lanes + 2)),
        sizes=(2, 5),
        max_layers=8,
        input_bits=(1, 2),
        input_as_spikes=bool(rng.integers(2)),
    )
    run(net, config)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_tensors_that_live_together_lie_apart(seed: int) -> None:
    """From the layer that makes it to the last that reads it; only a layer and its shortcut may share a place."""
    rng = np.random.default_rng(seed)
    config = CONFIGS[int(rng.integers(len(CONFIGS)))]
    net = random_quantized_network(rng, steps=int(rng.integers(1, 9)), sizes=(2, 5), max_layers=8, input_as_spikes=True)
    buffers, last = plan_buffers(net, config), last_uses(net)
    made = {INPUT: -1} | {layer.name: index for index, layer in enumerate(net.layers)}
    shortcuts = {layer.name: layer.shortcut for layer in net.layers}
    for a in buffers:
        for b in buffers:
            if made[a] >= made[b] or made[b] > last[a]:
                continue
            handed_over = shortcuts[b] == a and last[a] == made[b]
            assert handed_over or not places(net, config, a) & places(net, config, b), (a, b)


def conv(name: str, source: str, outputs: int, inputs: int, **options) -> QuantizedLayer:
    weight = np.ones((outputs, inputs, 1, 1), np.int64)
    return QuantizedLayer(name, "conv", source, weight, (1, 1), threshold=np.ones(outputs, np.int64), **options)


def chain(*layers: QuantizedLayer, steps: int = 4, bits: int = 1, static: bool = True) -> QuantizedNetwork:
    last = layers[-1]
    assert last.weight is not None
    readout = QuantizedLayer("r", "readout", last.name, np.ones((2, last.weight.shape[0], 1, 1), np.int64), (1, 1))
    return QuantizedNetwork("net", steps, QuantizedInput((3, 4, 5), bits, static), (*layers, readout))


def test_the_last_reader_of_a_shortcut_writes_over_it() -> None:
    config = CONFIGS[0]
    first, second = conv("a", "input", 8, 3), conv("b", "a", 8, 8)
    block = conv("c", "b", 8, 8, shortcut="a", combine="add")
    net = chain(first, second, block, conv("d", "c", 8, 8))
    assert in_place(net, config) == {"c"}
    buffers = plan_buffers(net, config)
    assert buffers["a"].base == buffers["c"].base and buffers["a"].planes == buffers["c"].planes == 2
    run(net, config)


@pytest.mark.parametrize(
    "why",
    ["the shortcut is the source", "the shortcut is read again", "the shortcut is the input", "no shortcut at all"],
)
def test_not_in_place_when(why: str) -> None:
    config, first = CONFIGS[0], conv("a", "input", 8, 3)
    if why == "the shortcut is the source":
        net = chain(first, conv("b", "a", 8, 8, shortcut="a", combine="or"))
    elif why == "the shortcut is read again":
        layers = (conv("b", "a", 8, 8), conv("c", "b", 8, 8, shortcut="a", combine="and"))
        net = chain(first, *layers, conv("d", "c", 8, 8, shortcut="a", combine="or"))
        assert in_place(net, config) == {"d"}
        run(net, config)
        return
    elif why == "the shortcut is the input":
        net = chain(first, conv("b", "a", 3, 8, shortcut="input", combine="iand"))
    else:
        net = chain(first, conv("b", "a", 8, 8))
    assert in_place(net, config) == set()
    run(net, config)


def test_one_chunk_of_a_static_input_serves_all() -> None:
    for steps, static, chunks in ((8, True, 1), (9, True, 3), (8, False, 2), (4, True, 1), (3, True, 1)):
        net = chain(conv("a", "input", 3, 3), steps=steps, static=static, bits=2)
        buffer = plan_buffers(net, CONFIGS[0])[INPUT]
        assert buffer.chunks == chunks
        assert buffer.words == chunks * 2 * 20
        assert (buffer.chunk_step == 0) == (steps == 8 and static)
        run(net, CONFIGS[0])


def test_places_are_used_again() -> None:
    """A long chain needs room for two tensors, however long it is."""
    net = chain(conv("l0", "input", 8, 3), *(conv(f"l{i}", f"l{i - 1}", 8, 8) for i in range(1, 12)))
    buffers = plan_buffers(net, CONFIGS[0])
    assert max(b.base + b.words for b in buffers.values()) == 2 * 20


def test_planes_of_a_sum_wait_for_the_layer_that_makes_it() -> None:
    """The input lies where the sum's upper plane comes later: room for two planes of input and one of spikes."""
    config = CONFIGS[0]
    first, second = conv("a", "input", 8, 3), conv("b", "a", 8, 8)
    net = chain(first, second, conv("c", "b", 8, 8, shortcut="a", combine="add"), bits=2)
    buffers = plan_buffers(net, config)
    assert buffers["a"].planes == 2
    assert max(b.base + b.words for b in buffers.values()) == 3 * 20
    run(net, config)


def test_refuses_what_does_not_fit() -> None:
    net = chain(conv("a", "input", 8, 3), conv("b", "a", 8, 8))
    plan_buffers(net, dataclasses.replace(CONFIGS[0], spike_depth=40))
    with pytest.raises(CompileError, match="'net' needs 40 words of spike memory, this core has 39;.*spike_depth"):
        plan_buffers(net, dataclasses.replace(CONFIGS[0], spike_depth=39))
