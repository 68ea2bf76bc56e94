"""Amaranth layouts of the shared words, made from ``refmodel.layout``."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth import signed, unsigned
from amaranth.lib import data

from refmodel import layout
from refmodel.config import CoreConfig

#: Attributes of a memory whose ports never read a word in the clock in which it is written, or
#: whose reader ignores it then: spares the logic that would return the old word.
COLLISION_FREE = {"no_rw_check": 1}

#: Fields that are two's complement numbers.
_SIGNED = {"origin_x", "origin_y", "slack_y", "threshold", "bias", "bias_shortcut"}


def struct(fields: Iterable[layout.Field]) -> data.StructLayout:
    """A StructLayout with the same fields at the same bits."""
    return data.StructLayout(
        {field.name: signed(field.width) if field.name in _SIGNED else unsigned(field.width) for field in fields}
    )


def descriptor_layout(config: CoreConfig) -> data.StructLayout:
    """A slab's descriptor."""
    return struct(layout.descriptor_fields(config))


def param_layout(config: CoreConfig) -> data.StructLayout:
    """A channel's parameters."""
    return struct(layout.param_fields(config))


def header_layout(config: CoreConfig) -> data.StructLayout:
    """A slab's header."""
    return struct(layout.header_fields(config))


def probe_layout(config: CoreConfig) -> data.StructLayout:
    """The trace of one clock."""
    return struct(layout.probe_fields(config))


def row_bits(config: CoreConfig) -> int:
    """Bits that number the rows of the occupancy memory: ``scan_words`` spike words a row."""
    return max(0, config.spike_addr_bits - (config.scan_words - 1).bit_length())


def item_layout(config: CoreConfig) -> data.StructLayout:
    """Words of an occupancy row to scan, as the walker makes them; event lanes queue only the occupied words.

    row: of the occupancy memory.  words: bit i is word ``row * scan_words + i``.  delta: weight tag of a word minus its
    address.  flag: boundary behind the last word.  shortcut: the word belongs to the shortcut.
    """
    return data.StructLayout(
        {
            "row": row_bits(config),
            "words": config.scan_words,
            "delta": config.tag_bits,
            "flag": 2,
            "shortcut": 1,
        }
    )


def counts_words(config: CoreConfig) -> bool:
    """Whether the occupancy memory also says which slices have several channels with a spike.

    Wide words take too long to count when they have been read; narrow ones do without the bits.
    """
    return config.channels_per_word > 4


def lane_item_layout(config: CoreConfig) -> data.StructLayout:
    """An item as a lane queues it: ``words`` are those with spikes; ``several``: with more than one channel's."""
    members = {name: field.shape for name, field in item_layout(config)}
    return data.StructLayout(members | ({"several": config.scan_words} if counts_words(config) else {}))


def event_layout(config: CoreConfig) -> data.StructLayout:
    """An event: weight address in the slab, mask over time."""
    return data.StructLayout({"valid": 1, "weight": config.weight_addr_bits, "mask": config.time_lanes})


def bundle_layout(config: CoreConfig) -> data.StructLayout:
    """What enters the synapse array in a clock: an event a lane and the array op."""
    return data.StructLayout({"events": data.ArrayLayout(event_layout(config), config.event_lanes), "op": 2})


def write_layout(config: CoreConfig) -> data.StructLayout:
    """A write to the spike memory: a word of P channels x Tp steps."""
    return data.StructLayout({"en": 1, "addr": config.spike_addr_bits, "data": config.spike_width})


def load_layout(config: CoreConfig) -> data.StructLayout:
    """A host write: ``space`` 0 is the resting store, 1 the spike memory."""
    return data.StructLayout(
        {
            "space": 1,
            "addr": max(config.store_addr_bits, config.spike_addr_bits),
            "data": max(config.store_width, config.spike_width),
        }
    )


def store_write_layout(config: CoreConfig) -> data.StructLayout:
    """A word for a memory outside that holds the program."""
    return data.StructLayout({"addr": config.store_addr_bits, "data": config.store_width})
