"""Programs: input words put back together, the files, and the figures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel.compiler import compile_network
from refmodel.errors import DataError
from refmodel.layout import descriptor_words
from refmodel.program import Program
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from tests.random_networks import random_input
from tests.sim.shapes import SHAPES


def program_of(shape: str, steps: int, spec: QuantizedInput) -> Program:
    channels = spec.shape[0]
    layers = (
        QuantizedLayer(
            "a", "conv", "input", np.ones((5, channels, 1, 1), np.int64), (1, 1), threshold=np.ones(5, np.int64)
        ),
        QuantizedLayer("r", "readout", "a", np.ones((3, 5, 1, 1), np.int64), (1, 1)),
    )
    config = dataclasses.replace(SHAPES[shape], spike_depth=1 << 14)
    return compile_network(QuantizedNetwork("net", steps, spec, layers), config)


SMALL = program_of("k2p8", 4, QuantizedInput((3, 4, 4), 2))
FRAMES = program_of("k2p8", 4, QuantizedInput((3, 4, 4), 2, static=False))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_input_words_hold_the_input(seed: int) -> None:
    """Bit p*Tp + t of the word of (chunk, plane, pixel, group) is bit ``plane`` of channel group*P + p at that step."""
    rng = np.random.default_rng(seed)
    shape = str(rng.choice(list(SHAPES)))
    spec = QuantizedInput(
        (int(rng.integers(1, 20)), int(rng.integers(1, 5)), int(rng.integers(1, 5))),
        int(rng.integers(1, 6)),
        bool(rng.integers(2)),
    )
    program = program_of(shape, int(rng.integers(1, 12)), spec)
    net, config, buffer = program.network, program.config, program.buffers["input"]
    x = random_input(rng, net, 1)[0]
    addresses, words = program.input_words(x)
    assert len(set(addresses.tolist())) == len(words) == buffer.words
    assert addresses.min() == buffer.base and addresses.max() == buffer.base + buffer.words - 1
    memory = dict(zip(addresses.tolist(), words, strict=True))
    channels, height, width = spec.shape
    lanes, tp = config.output_lanes, config.time_lanes
    for t in range(net.steps):
        frame = x if spec.static else x[t]
        value = np.zeros_like(frame)
        for plane in range(spec.bits):
            for c in range(channels):
                for y in range(height):
                    for col in range(width):
                        where = buffer.base + t // tp * buffer.chunk_step + plane * buffer.plane_step
                        word = memory[where + (y * width + col) * buffer.groups + c // lanes]
                        value[c, y, col] |= (word >> (c % lanes * tp + t % tp) & 1) << plane
        assert np.array_equal(value, frame)
    # Nothing else is set: no channel past C, no step past T unless a whole chunk is stored once.
    stored = range(net.steps) if buffer.chunk_step else range(tp)
    assert sum(word.bit_count() for word in words) == sum(
        int(value).bit_count() for t in stored for value in (x if spec.static else x[t]).ravel()
    )


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 4, 4), (3, 4), (1, 3, 4, 4)])
def test_input_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"'net' takes an input of shape \(3, 4, 4\), not"):
        SMALL.input_words(np.zeros(shape, np.int64))


def test_frames_of_another_shape() -> None:
    FRAMES.input_words(np.zeros((4, 3, 4, 4), np.int64))
    for shape in ((3, 4, 4), (5, 3, 4, 4)):
        with pytest.raises(DataError, match=r"takes an input of shape \(4, 3, 4, 4\), not"):
            FRAMES.input_words(np.zeros(shape, np.int64))


@pytest.mark.parametrize("value", [-1, 4])
def test_input_out_of_range(value: int) -> None:
    x = np.zeros((3, 4, 4), np.int64)
    x[1, 2, 3] = value
    with pytest.raises(DataError, match="takes inputs of 0 to 3, not .* scale the data to 2 bits"):
        SMALL.input_words(x)


def test_files(tmp_path: Path) -> None:
    paths = SMALL.write(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in paths)
    raw, text, summary = (paths[i].read_bytes() for i in range(3))
    size = SMALL.config.store_width // 8
    words = [int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)]
    assert tuple(words) == SMALL.image == tuple(int(line, 16) for line in text.decode().splitlines())
    assert raw == SMALL.image_bytes()
    report = json.loads(summary)
    assert report["image_words"] == len(SMALL.image)
    assert report["image_sha256"] == hashlib.sha256(raw).hexdigest()
    assert [slab["layer"] for slab in report["slabs"]] == ["a", "r"]
    ends = [slab["address"] + slab["words"] for slab in report["slabs"]]
    assert ends == [report["slabs"][1]["address"], len(SMALL.image) - 1]
    assert set(report["buffers"]) == {"input", "a"}


def test_memory_figures() -> None:
    config = SMALL.config
    figures = SMALL.memory()
    # Two slabs of a header, 2 lanes x 4 weights, 8 channels and a descriptor; the end header.
    assert figures["store_words"] == 2 * (1 + 8 + 8 + descriptor_words(config)) + 1
    assert figures["spike_words"] == 2 * 16 + 16
    assert figures["bank_words"] == 4
    assert (figures["store_depth"], figures["spike_depth"], figures["bank_depth"]) == (2048, 1 << 14, 512)
    assert SMALL.classes == 3
