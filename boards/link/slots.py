"""The rhythm of the link: slots of sixteen clocks, in the second half of which one byte passes, a bit a clock."""

from __future__ import annotations

from typing import Any

from amaranth import unsigned

#: Number of a clock in its slot; it never stops. Bit 3: the byte passes; the lower ones: the number of its bit.
PHASE = unsigned(4)
SLOT = 16


def passing(phase: Any) -> Any:
    """Whether bits pass in this clock."""
    return phase[3]


def slot_ends(phase: Any) -> Any:
    """Whether this is a slot's last clock."""
    return phase.all()
