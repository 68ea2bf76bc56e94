"""Program: what the compiler makes and a core runs.

A program is a list of *slabs*, in execution order: one per op and group of P output
channels.  In the resting store a slab is a header word, its weights (event lane by event
lane), the P channels' parameters and its descriptor; a last header ends the program.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .buffers import Buffer
from .config import CoreConfig
from .errors import DataError
from .image import StoreImage
from .layout import descriptor_words
from .quantized import INPUT, QuantizedLayer, QuantizedNetwork, TensorInfo, bits_range
from .state_plan import StatePlace
from .streams import StreamBuffer


@dataclass(frozen=True)
class Op:
    """One layer as the core runs it: geometry in words, the same for all its groups."""

    index: int
    layer: QuantizedLayer
    source: TensorInfo
    out: TensorInfo
    groups: int  # groups of P output channels
    words: int  # channel words a tap
    shared_taps: bool
    sc_planes: int
    out_planes: int
    weights: int  # weight words an event lane and slab
    discard: bool  # no tensor is written
    top_tag: int  # tag of the first word of a signed source's top plane
    attention_words: tuple[int, ...] = ()  # of the attention whose pools this op fills
    rows: int = 0  # output rows of an engine; 0: one engine has all of them

    @property
    def engines(self) -> int:
        """Engines that run."""
        return -(-self.out.shape[1] // self.rows) if self.rows else 1

    def share(self, engine: int) -> tuple[int, int]:
        """First output row of an engine, and how many it has."""
        height = self.out.shape[1]
        first = min(engine * self.rows, height)
        return first, min(self.rows, height - first) if self.rows else height

    @property
    def pool(self) -> bool:
        """Channel by channel: a slab reads the words of its own group only."""
        return self.layer.kind == "window"

    @property
    def extracts(self) -> bool:
        """A membrane stream becomes a tensor, one bit-plane a slab; nothing is scanned."""
        return self.layer.kind == "stream"

    @property
    def scans(self) -> bool:
        """Whether it reads a tensor; the others read a membrane stream only."""
        return self.layer.kind not in ("stream", "apply")

    @property
    def scores(self) -> bool:
        """Its inputs are pooled for an attention, whose gates are made after its last slab."""
        return self.layer.attention is not None and self.scans

    @property
    def writes(self) -> int:
        """Planes that a slab writes."""
        return 0 if self.discard or self.layer.kind == "readout" else 1 if self.extracts else self.out_planes


@dataclass(frozen=True)
class Slab:
    """One op x output group (x bit-plane, where a stream becomes a tensor): its descriptor, and where it rests.

    starts: the start fields of engines 1 and on; engine 0's are the descriptor's.
    """

    op: Op
    group: int
    address: int
    descriptor: dict[str, int]
    plane: int = 0
    starts: tuple[dict[str, int], ...] = ()

    @property
    def computes(self) -> bool:
        """Gates are made when it has ended."""
        return self.op.scores and self.group == self.op.groups - 1

    @property
    def attention_words(self) -> tuple[int, ...]:
        """Words that the attention unit loads with it."""
        return self.op.attention_words if self.computes else ()


@dataclass(frozen=True)
class Program:
    """A compiled network for one core configuration.

    ``original`` is what was compiled, ``network`` the same lowered (:mod:`refmodel.lowering`): what the core runs.

    keeps_state: whether runs leave their membranes in the state memory, each layer's at its place of ``state``.
    state_steps: steps for which they are proven to fit; None: endlessly, if ``state_watched`` as long as the core does
    not say ``drifted``.
    """

    config: CoreConfig
    network: QuantizedNetwork
    ops: tuple[Op, ...]
    slabs: tuple[Slab, ...]
    buffers: dict[str, Buffer]
    streams: dict[str, StreamBuffer]
    image: StoreImage
    chunks: int
    original: QuantizedNetwork
    keeps_state: bool = False
    state: dict[str, StatePlace] = field(default_factory=dict)
    state_steps: int | None = None
    state_watched: bool = False

    @property
    def classes(self) -> int:
        return self.ops[-1].out.shape[0]

    def memory(self) -> dict[str, int]:
        """Words used and present of each memory of the core."""
        return {
            "store_words": len(self.image),
            "store_depth": self.config.store_depth,
            "store_width": self.config.store_width,
            "spike_words": max(b.base + b.words for b in self.buffers.values()),
            "spike_depth": self.config.spike_depth,
            "spike_width": self.config.spike_width,
            "stream_words": max((s.base + s.words for s in self.streams.values()), default=0),
            "stream_depth": self.config.stream_depth if self.config.stream_width else 0,
            "stream_width": self.config.neuron_units * self.config.stream_width,
            "state_words": sum(place.words for place in self.state.values()),
            "state_depth": self.config.state_depth,
            "state_width": self.config.neuron_units * self.config.membrane_width if self.config.state_depth else 0,
            "bank_words": max(op.weights for op in self.ops),
            "bank_depth": self.config.bank_depth,
        }

    def slab_words(self, slab: Slab) -> int:
        """Store words of a slab: header, weights, parameters, attention, descriptor."""
        config = self.config
        words = 1 + config.event_lanes * slab.op.weights + config.output_lanes + descriptor_words(config)
        return words + len(slab.attention_words)

    def input_words(self, x: NDArray[np.integer]) -> tuple[NDArray[np.int64], list[int]]:
        """Spike-memory addresses and words of one input.

        ``x``: integers, ``[C, H, W]`` for a static input, else ``[T, C, H, W]``.
        Raises DataError for a wrong shape or a value out of range.
        """
        net, config = self.network, self.config
        expected = net.input.shape if net.input.static else (net.steps, *net.input.shape)
        if tuple(x.shape) != tuple(expected):
            raise DataError(f"network '{net.name}' takes an input of shape {tuple(expected)}, not {tuple(x.shape)}")
        low, high = bits_range(net.input.bits, net.input.signed)
        if x.size and (int(x.min()) < low or int(x.max()) > high):
            raise DataError(
                f"network '{net.name}' takes inputs of {low} to {high}, "
                f"not {int(x.min())} to {int(x.max())}; scale the data to {net.input.bits} bits"
            )
        steps = np.broadcast_to(x, (net.steps, *net.input.shape)) if net.input.static else x
        buffer = self.buffers[INPUT]
        tp, lanes = config.time_lanes, config.output_lanes
        channels, height, width = net.input.shape
        padded = np.zeros((buffer.chunks * tp, buffer.groups * lanes, height, width), np.int64)
        used = min(net.steps, buffer.chunks * tp)
        padded[:used, :channels] = steps[:used]
        addresses, words = [], []
        split = padded.reshape(buffer.chunks, tp, buffer.groups, lanes, height, width)
        for chunk in range(buffer.chunks):
            for plane in range(net.input.bits):
                bits = (split[chunk] >> plane) & 1  # [Tp, G, P, H, W]
                flat = bits.transpose(3, 4, 1, 2, 0).reshape(height * width * buffer.groups, -1)
                packed = np.packbits(flat.astype(np.uint8), axis=1, bitorder="little")
                words += [int.from_bytes(row.tobytes(), "little") for row in packed]
                start = buffer.base + chunk * buffer.chunk_step + plane * buffer.plane_step
                addresses.append(np.arange(start, start + len(flat)))
        return np.concatenate(addresses), words

    def image_bytes(self) -> bytes:
        """The image as bytes, each store word little-endian."""
        return self.image.to_bytes()

    def write(self, folder: Path) -> list[Path]:
        """Write ``program.bin`` (the image), ``program.hex`` (for $readmemh) and ``program.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        raw = self.image_bytes()
        summary = {
            "network": self.network.name,
            "image_words": len(self.image),
            "image_sha256": hashlib.sha256(raw).hexdigest(),
            "memory": self.memory(),
            "slabs": [
                {"layer": s.op.layer.name, "group": s.group, "address": s.address, "words": self.slab_words(s)}
                for s in self.slabs
            ],
            "buffers": {name: {"base": b.base, "words": b.words} for name, b in self.buffers.items()},
        }
        contents = {
            "program.bin": raw,
            "program.hex": self.image.to_hex(),
            "program.json": (json.dumps(summary, indent=1) + "\n").encode(),
        }
        paths = []
        for name, content in contents.items():
            path = folder / name
            partial = folder / (name + ".part")
            partial.write_bytes(content)
            partial.replace(path)
            paths.append(path)
        return paths
