"""Needs: everything that a network needs of a core and the core does not have, not only the first.

The compiler refuses a network at the first limit.  Here a core without limits is planned for instead, and what
the plan takes is compared with the core that there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bounds import LayerBounds, bits_needed, network_bounds
from .buffers import chunk_count, plan_buffers
from .compiler import _ops as make_ops
from .config import CoreConfig
from .layout import descriptor_words
from .limits import stored_threshold
from .program import Op
from .quantized import QuantizedNetwork
from .state_plan import state_words
from .streams import stream_words
from .window_fields import address_span, depth_for_span


@dataclass(frozen=True)
class Limit:
    """One thing that a core has too little of.

    setting: the field of CoreConfig; what: what it counts, for people.
    bits: size of a memory with so many words, else None; layer: the one that needs most, None for the network.
    """

    setting: str
    what: str
    needed: int
    present: int
    bits: int | None = None
    layer: str | None = None

    def __str__(self) -> str:
        layer = "" if self.layer is None else f" for layer '{self.layer}'"
        bits = "" if self.bits is None else f" ({self.bits} bits)"
        return f"{self.what}: {self.needed}{bits} needed{layer}, {self.present} present ({self.setting})"


@dataclass(frozen=True)
class Plan:
    """What a lowered network takes.

    ops: its layers as a core runs them.  config: the core with all that ``limits`` say it lacks, the core itself
    without limits.  memory: words needed, words there are (of the core itself) and bits a word of each memory.
    """

    ops: tuple[Op, ...]
    config: CoreConfig
    limits: tuple[Limit, ...]
    memory: dict[str, int]


#: What a layer can need of a core, by setting.
_WHAT = {
    "bank_depth": "weights of a slab in an event lane's bank",
    "source_planes": "bits of a tensor that a layer reads",
    "max_planes": "bits of a tensor that a layer writes or adds to",
    "dim_bits": "bits of an image side",
    "kernel_bits": "bits of a kernel's size, stride and padding",
    "result_depth": "classes",
    "leak_terms": "shifts of a leak",
    "leak_shift_max": "places that a leak shifts by",
    "leak_bits": "fraction bits of a leak by multiplication",
    "rectify": "rectified inputs",
    "signed_sources": "signed tensors that a layer reads",
    "acc_width": "bits of a synaptic sum",
    "membrane_width": "bits of a membrane",
    "stream_width": "bits of a membrane stream",
    "chunk_bits": "bits of the number of time chunks",
    "spike_depth": "words of the spike memory",
    "stream_depth": "words of the stream memory",
    "state_depth": "words of the state memory",
    "store_depth": "words of the resting store",
}


def plan(lowered: QuantizedNetwork, config: CoreConfig) -> Plan:
    """What a lowered network needs of ``config``.

    Widths of sums, membranes and streams are those of its weights; of an outline without weights the quantiser
    makes them fit.  Raises CompileError where no core of this shape will do.
    """
    room = _roomy(config)
    bounds = network_bounds(lowered)
    ops = tuple(make_ops(lowered, room, bounds))
    most: dict[str, tuple[int, str | None]] = {}

    def need(setting: str, value: int, layer: str | None = None) -> None:
        if value > most.get(setting, (0, None))[0]:
            most[setting] = (value, layer)

    for op in ops:
        for setting, value in _op_needs(config, op, bounds[op.layer.name]).items():
            need(setting, value, op.layer.name)
    need("chunk_bits", (chunk_count(lowered, config) - 1).bit_length())
    spike_words = max(buffer.base + buffer.words for buffer in plan_buffers(lowered, room).values())
    need("spike_depth", spike_words)
    need("stream_depth", stream_words(lowered, room))
    if config.state_depth:
        need("state_depth", state_words(lowered, config))
    larger = _with(config, most)
    need("store_depth", 1 + sum(_slabs(op) * _slab_words(larger, op) for op in ops))
    larger = _with(config, most)
    limits = [
        Limit(setting, _WHAT[setting], value, _present(config, setting), _memory_bits(larger, setting, value), layer)
        for setting, (value, layer) in most.items()
        if value > _present(config, setting)
    ]
    limits.sort(key=lambda limit: list(_WHAT).index(limit.setting), reverse=True)
    return Plan(ops, larger, tuple(limits), _memory(config, larger, most, spike_words))


def _roomy(config: CoreConfig) -> CoreConfig:
    """A core of the same shape with every option, and as much of everything as can be described."""
    return replace(
        config,
        acc_width=47, membrane_width=48, bank_depth=1 << 40, spike_depth=1 << 40, store_depth=1 << 40,
        max_planes=config.slots_per_chunk - 2, source_planes=32, result_depth=1 << 20, dim_bits=12, kernel_bits=12,
        chunk_bits=12, leak_terms=2, leak_shift_max=4, leak_bits=15, rectify=True, signed_sources=True, stream_width=48,
        stream_depth=1 << 40, state_depth=1 << 40 if config.state_depth else 0,
    )  # fmt: skip


def _op_needs(config: CoreConfig, op: Op, bounds: LayerBounds) -> dict[str, int]:
    """The settings that a layer needs of a core of this shape, at least."""
    layer = op.layer
    needs = {
        "bank_depth": op.weights,
        "spike_depth": depth_for_span(address_span(config, op)),
        "dim_bits": max(*op.source.shape[1:], *op.out.shape[1:]).bit_length(),
        "kernel_bits": max(*layer.stride, *layer.padding, max(layer.kernel) - 1).bit_length(),
        "leak_terms": len(layer.leak_shifts),
        "leak_shift_max": max(layer.leak_shifts, default=0),
        "leak_bits": layer.leak_factor[1] if layer.leak_factor else 0,
        "rectify": int(layer.rectify),
        "signed_sources": int(op.top_tag > 0),
    }
    if not op.extracts:
        needs["source_planes"] = op.source.planes
        needs["acc_width"] = bits_needed(bounds.sum_low, bounds.sum_high)
    if op.writes and not op.extracts:
        needs["max_planes"] = max(op.out_planes, op.sc_planes)
    if layer.kind == "readout":
        needs["result_depth"] = op.out.shape[0]
    if layer.keeps_stream:
        needs["stream_width"] = max(2, bits_needed(bounds.input_low, bounds.input_high))
    low, high = bounds.membrane_low, bounds.membrane_high
    needs["membrane_width"] = bits_needed(low, high)
    if layer.kind != "readout":
        threshold = stored_threshold(layer, bounds)
        needs["membrane_width"] = max(needs["membrane_width"], bits_needed(low - threshold, high - threshold))
        bias = np.zeros(1, np.int64) if layer.bias is None else layer.bias
        both = bias if layer.current is None else bias + layer.current
        needs["acc_width"] = max(needs.get("acc_width", 0), bits_needed(bias, bias), bits_needed(both, both))
    return needs


def _present(config: CoreConfig, setting: str) -> int:
    return config.most_source_planes if setting == "source_planes" else int(getattr(config, setting))


def _with(config: CoreConfig, most: dict[str, tuple[int, str | None]]) -> CoreConfig:
    """``config`` with everything that it has too little of raised to what is needed."""
    raised: dict[str, int] = {}
    for setting, (value, _) in most.items():
        if value > _present(config, setting):
            raised[setting] = 1 << (value - 1).bit_length() if setting == "bank_depth" else value
    if "acc_width" in raised or "stream_width" in raised:
        widest = max(raised.get("acc_width", 0), raised.get("stream_width", 0), config.membrane_width)
        raised["membrane_width"] = max(widest, raised.get("membrane_width", 0))
    flags = {setting: bool(raised.pop(setting)) for setting in ("rectify", "signed_sources") if setting in raised}
    return replace(config, **raised, **flags)


def _slabs(op: Op) -> int:
    return op.groups * (op.out_planes if op.extracts else 1)


def _slab_words(config: CoreConfig, op: Op) -> int:
    """Store words of a slab: header, weights, parameters, descriptor."""
    return 1 + config.event_lanes * op.weights + config.output_lanes + descriptor_words(config)


def _memory_bits(config: CoreConfig, setting: str, words: int) -> int | None:
    """Bits of a memory of so many words; of the weight banks, all of them; of all engines."""
    width = {
        "store_depth": config.store_width,
        "spike_depth": config.engines * config.spike_width,
        "stream_depth": config.engines * config.neuron_units * config.stream_width,
        "state_depth": config.neuron_units * config.membrane_width,
        "bank_depth": 2 * config.engines * config.event_lanes * config.output_lanes * config.weight_bits,
    }.get(setting)
    return None if width is None else words * width


def _memory(
    config: CoreConfig, larger: CoreConfig, most: dict[str, tuple[int, str | None]], spike_words: int
) -> dict[str, int]:
    """As :meth:`refmodel.program.Program.memory`; ``spike_words`` are used of the spike memory."""
    return {
        "store_words": most["store_depth"][0],
        "store_depth": config.store_depth,
        "store_width": larger.store_width,
        "spike_words": spike_words,
        "spike_depth": config.spike_depth,
        "spike_width": larger.spike_width,
        "stream_words": most.get("stream_depth", (0, None))[0],
        "stream_depth": config.stream_depth if config.stream_width else 0,
        "stream_width": larger.neuron_units * larger.stream_width,
        "state_words": most.get("state_depth", (0, None))[0],
        "state_depth": config.state_depth,
        "state_width": larger.neuron_units * larger.membrane_width if config.state_depth else 0,
        "bank_words": most["bank_depth"][0],
        "bank_depth": config.bank_depth,
    }
