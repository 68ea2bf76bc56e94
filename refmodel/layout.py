"""Word layouts, opcodes and latencies that the compiler, the cycle model and the gateware share.

Everything that both sides must agree on is written here, once: the gateware imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .config import CoreConfig


class Flag(IntEnum):
    """Boundary carried by the last scanned word of a bit-plane."""

    NONE = 0
    SHIFT = 1  #: end of a bit-plane: double the sums, the next plane weighs half
    DRAIN = 2  #: end of a tile's chunk: hand the sums to the neuron stage
    DRAIN_LAST = 3  #: the same, and the slab ends here


class ArrayOp(IntEnum):
    """What a synapse stage does with its sums when a bundle's events have been added."""

    ADD = 0  #: keep the sums
    SHIFT = 1  #: end of a bit-plane: double them (Horner's rule)
    DRAIN = 2  #: end of a tile's chunk: hand them to the neuron stage and start from 0


class CombineOp(IntEnum):
    """Function of the combiner; PASS is ADD without shortcut planes."""

    ADD = 0
    AND = 1
    IAND = 2
    OR = 3


class LoadKind(IntEnum):
    """What the sequencer does with the store word that arrives in this clock."""

    NONE = 0
    WEIGHT = 1
    PARAM = 2
    DESCRIPTOR = 3
    ATTENTION = 4


#: Clocks from the one after a slab's start to its first item being pushed into the lanes' queues.
FETCH_LATENCY = 5
#: Clocks from a barrier to the first stage's bundle that carries its op, and from an event to its bundle.
BARRIER_TO_BUNDLE = 0
#: Clocks from a slab's start to the first weight of the next one.
LOAD_OVERHEAD = 4
#: Fields that are read in the clock in which a slab starts and never again. They come last, and the sequencer does
#: not keep those in the descriptor's last word.
START_FIELDS = frozenset(
    (
        "src",
        "origin_y",
        "slack_y",
        "tag_y",
        "out_y_last",
        "dst",
        "sc",
        "stream_in",
        "stream_out",
        "state",
        "spare",
        "enable",
    )
)
#: Clocks from a neuron slot's start to its input being written to the stream memory.
SLOT_TO_STREAM = 3


def slot_to_spike(config: CoreConfig) -> int:
    """Clocks from a neuron slot's start to its spike and membrane being known; streams and gates take one each."""
    return 4 + (config.stream_width > 0) + (config.attention is not None)


def slot_to_state(config: CoreConfig) -> int:
    """Clocks from a neuron slot's start to its membrane, leak included, being written to the state memory."""
    one_clock = config.slots_per_step > config.NEURON_LOOP and config.leak_terms < 2 and not config.leak_bits
    return slot_to_spike(config) + (2 if one_clock else 3)


def slot_to_writeback(config: CoreConfig) -> int:
    """Clocks from the last slot's start to the write-back unit taking the spikes."""
    return slot_to_spike(config) + 1


def array_latency(config: CoreConfig) -> int:
    """Clocks from a DRAIN bundle in the first stage's register to its snapshot being readable."""
    return 2 + (config.event_lanes if config.adder == "chain" else config.tree_levels)


def drain_clocks(config: CoreConfig) -> int:
    """Clocks that a sum waits between its snapshot and its neuron slot.

    In a long array a register at each stage does without a wide multiplexer across the whole array.  It needs a stage
    for each slot of a step.
    """
    return int(config.stages > 4 and config.neuron_units == config.bank_lanes)


def barrier_to_slot(config: CoreConfig) -> int:
    """Clocks from a drain barrier to the first neuron slot of its chunk.

    Slot i takes output lanes i*NU .. i*NU+NU-1.  With NU <= Q they lie in stage i or before, which
    is readable by then, and is read for the last time before the next chunk can reach it.
    """
    return BARRIER_TO_BUNDLE + array_latency(config) + drain_clocks(config)


def readout_clocks(classes: int) -> int:
    """Clocks of a run after its last slab: the readout's search takes two a class."""
    return 2 * classes + 3


@dataclass(frozen=True)
class Field:
    """One field of a descriptor or header: ``width`` bits at bit ``offset``."""

    name: str
    width: int
    offset: int


def _fields(*pairs: tuple[str, int]) -> tuple[Field, ...]:
    fields, offset = [], 0
    for name, width in pairs:
        fields.append(Field(name, width, offset))
        offset += width
    return tuple(fields)


def descriptor_fields(config: CoreConfig) -> tuple[Field, ...]:
    """Fields of a slab's descriptor, least significant first.

    Addresses and steps are modulo the spike memory's address space; ``*_last`` fields hold
    a count minus one.  With several engines those of ``START_FIELDS`` stand for one engine; see
    :func:`descriptor_image`.
    """
    addr, dim, tag = config.spike_addr_bits, config.dim_bits, config.tag_bits
    kernel = config.kernel_bits
    planes = (config.max_planes - 1).bit_length()
    source_planes = (config.most_source_planes - 1).bit_length()
    steps = max(1, (config.time_lanes - 1).bit_length())
    groups = max(1, (-(-config.result_depth // config.output_lanes) - 1).bit_length())
    stream = config.stream_addr_bits
    streams = (
        ("stream_in", stream),
        ("stream_out", stream),
        ("stream_step", stream),  # from a tile's last slot to the next tile's first
        ("reads_stream", 1),
        ("keeps_stream", 1),
        ("extract", 1),  # a neuron's spike is a bit of its input: the stream as a tensor
        ("extract_bit", max(1, (config.stream_width - 1).bit_length())),
    )
    options: list[tuple[str, int]] = []
    if config.leak_bits:
        options += [("leak_factor", config.leak_bits + 1), ("leak_multiply", 1)]
    if config.rectify:
        options += [("rectify", 1)]
    if config.attention is not None:
        options += [
            ("gated", 1),  # neurons integrate gated inputs
            ("score", 1),  # sums and maxima of the inputs are made
            ("computes", 1),  # and gates when the slab has ended
            ("pool_channels", 1),  # by channel, not by step
            ("pool_first", 1),  # the slab's sums start from nothing
            ("pool_base", config.attention.entry_bits(config)),
            ("lanes_last", (config.output_lanes - 1).bit_length()),
        ]
    if config.engines > 1:
        options += [("turns_last", (config.engines - 1).bit_length())]  # engines that run, which write in turns
        options += [("enable", 1)]  # this engine runs
    if config.signed_sources:
        options += [("top_tag", tag)]  # tag of a top bit-plane's first word: negated weights
    fields = (
        # The window's words; see rtl_gen/walker.py. Positions along an image row count words.
        ("src", addr),  # word 0 of pixel (0, 0), top plane, chunk 0
        ("line_words", addr),  # words of an image row
        ("kernel_last", addr),  # words of a window row minus 1; with shared taps: from the first tap to the last
        ("origin_x", addr + 1),  # minus the padding, two's complement
        ("line_last", addr),  # the last word of an image row; where taps share weights: of its last pixel the first
        ("stride_x", addr),
        ("tap_words", addr),  # from a tap to the next where taps share their weights
        ("kernel_y_last", kernel),
        ("origin_y", kernel + 1),  # minus the padding, two's complement
        ("slack_y", dim + 2),  # image rows below the first window, two's complement
        ("stride_y", kernel),
        ("first_row", addr),  # offset of the first window that does not begin above the image
        ("row_step", addr),  # from a row of windows to the next
        ("tag_y", tag + 1),  # weight words above the image in the first row of windows
        ("tag_y_step", tag + 1),
        ("plane_step", addr),
        ("chunk_step", addr),
        ("out_x_last", dim),
        ("out_y_last", dim),
        ("planes_last", max(1, source_planes)),
        ("chunks_last", config.chunk_bits),
        ("shared_taps", 1),  # every tap uses the same weights
        ("dst", addr),
        ("dst_plane_step", addr),
        ("dst_chunk_step", addr),
        ("dst_pixel_step", addr),
        ("out_planes_last", max(1, planes)),
        ("sc", addr),
        ("sc_plane_step", addr),
        ("sc_chunk_step", addr),
        ("sc_pixel_step", addr),
        ("sc_planes", planes + 1),
        ("combine", 2),
        ("use_current", 1),
        ("readout", 1),
        ("discard", 1),  # nothing is written
        ("soft_reset", 1),
        ("no_reset", 1),
        ("stateless", 1),  # every step starts with an empty membrane
        ("leak_a", 3),  # 0: no term
        ("leak_b", 3),
        ("last_step", steps),  # last valid step of the last chunk
        ("result_group", groups),
        *options,
        *(streams if config.stream_width else ()),
        *((("state", config.state_addr_bits), ("keeps_state", 1)) if config.state_depth else ()),
    )
    return _fields(*_start_fields_last(config, fields))


def _start_fields_last(config: CoreConfig, fields: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
    """``fields`` with those of ``START_FIELDS`` last, where the bits that fill up the last word may be spared.

    With several engines they begin with a word.
    """
    kept = [field for field in fields if field[0] not in START_FIELDS]
    start = [field for field in fields if field[0] in START_FIELDS]
    kept_bits, start_bits = sum(width for _, width in kept), sum(width for _, width in start)
    if config.engines > 1:
        spare = -kept_bits % config.store_width
    else:
        last = (kept_bits + start_bits - 1) // config.store_width * config.store_width  # where the last word begins
        spare = max(0, min(last, last + config.store_width - start_bits) - kept_bits)
    return [*kept, *([("spare", spare)] if spare else []), *start]


def descriptor_bits(config: CoreConfig) -> int:
    fields = descriptor_fields(config)
    return fields[-1].offset + fields[-1].width


def start_words(config: CoreConfig) -> int:
    """Words of the fields of ``START_FIELDS``, which each of several engines has of its own."""
    bits = sum(field.width for field in descriptor_fields(config) if field.name in START_FIELDS - {"spare"})
    return -(-bits // config.store_width)


def descriptor_words(config: CoreConfig) -> int:
    """Store words of a descriptor, those of all engines included."""
    return -(-descriptor_bits(config) // config.store_width) + (config.engines - 1) * start_words(config)


def engine_start(config: CoreConfig, engine: int) -> int:
    """Clock in which an engine starts, counted from its slab's start, the clock after the descriptor's last word.

    Each of several engines starts in the clock after the last word of its own start fields.
    """
    return (engine + 1 - config.engines) * start_words(config)


def descriptor_image(config: CoreConfig, values: dict[str, int], others: tuple[dict[str, int], ...]) -> list[int]:
    """A descriptor's store words; ``values`` are also engine 0's, ``others`` the start fields of the other engines."""
    fields, width = descriptor_fields(config), config.store_width
    parts = [pack(fields, values)]
    words = -(-descriptor_bits(config) // width)
    first = words - start_words(config)  # in which the start fields begin
    image = [parts[0] >> number * width & ((1 << width) - 1) for number in range(words)]
    for other in others:
        own = pack(fields, other)
        image += [own >> number * width & ((1 << width) - 1) for number in range(first, words)]
    return image


def header_fields(config: CoreConfig) -> tuple[Field, ...]:
    """A slab's first store word; ``end`` closes the program and then ``classes_last`` counts."""
    return _fields(
        ("end", 1),
        ("weights_last", config.weight_addr_bits),
        ("classes_last", max(1, (config.result_depth - 1).bit_length())),
        *([("attention_words", config.attention.weight_bits + 1)] if config.attention is not None else ()),
    )


def param_fields(config: CoreConfig) -> tuple[Field, ...]:
    """A channel's parameters: threshold, bias, and bias where the shortcut spikes (all signed)."""
    return _fields(
        ("threshold", config.membrane_width),
        ("bias", config.acc_width),
        ("bias_shortcut", config.acc_width),
    )


def pack(fields: tuple[Field, ...], values: dict[str, int]) -> int:
    """Pack named values into one word; a missing field is 0, signed values wrap to the width."""
    unknown = set(values) - {field.name for field in fields}
    if unknown:
        raise KeyError(f"unknown fields {sorted(unknown)}")
    word = 0
    for field in fields:
        word |= (int(values.get(field.name, 0)) & ((1 << field.width) - 1)) << field.offset
    return word


def load_kind_bits(config: CoreConfig) -> int:
    """Bits of a :class:`LoadKind`."""
    return 2 if config.attention is None else 3


def probe_fields(config: CoreConfig) -> tuple[Field, ...]:
    """The trace: what the core shows of every clock when it is built with ``probe=True``.

    Payload fields are 0 in clocks in which their valid bit is 0.  Those of engine 1 begin with ``e1_``, and so on; the
    writes to the spike memory are those of all engines.
    """
    streams: list[tuple[str, int]] = []
    if config.stream_width:
        streams = [("stream_valid", 1), ("stream_addr", config.stream_addr_bits)]
        streams += [(f"stream{u}_value", config.stream_width) for u in range(config.neuron_units)]
    states: list[tuple[str, int]] = []
    if config.state_depth:
        states = [("state_valid", 1), ("state_addr", config.state_addr_bits)]
        states += [(f"state{u}_value", config.membrane_width) for u in range(config.neuron_units)]
    fields = [
        *_engine_fields(config),
        ("write_valid", 1),
        ("write_addr", config.spike_addr_bits),
        ("write_data", config.spike_width),
        ("load_kind", load_kind_bits(config)),
        ("load_addr", config.store_addr_bits),
        *streams,
        *states,
        ("done", 1),
    ]
    for engine in range(1, config.engines):
        fields += [(probe_prefix(engine) + name, width) for name, width in [*_engine_fields(config), *streams]]
    return _fields(*fields)


def probe_prefix(engine: int) -> str:
    """What the names of an engine's own probe fields begin with: nothing for engine 0."""
    return f"e{engine}_" if engine else ""


def _engine_fields(config: CoreConfig) -> list[tuple[str, int]]:
    """What each engine shows of its events and neurons."""
    fields: list[tuple[str, int]] = []
    for k in range(config.event_lanes):
        fields += [
            (f"event{k}_valid", 1),
            (f"event{k}_weight", config.weight_addr_bits),
            (f"event{k}_mask", config.time_lanes),
        ]
    fields += [("array_op", 2), ("neuron_valid", 1)]
    for u in range(config.neuron_units):
        fields += [(f"neuron{u}_spike", 1), (f"neuron{u}_membrane", config.membrane_width)]
    return fields


def probe_bits(config: CoreConfig) -> int:
    fields = probe_fields(config)
    return fields[-1].offset + fields[-1].width
