"""Set bits of a word, found by trees."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Mux, Value


def without_lowest(bits: Value) -> Value:
    """``bits`` without its lowest set bit."""
    return Value.cast(Cat(bits[i] & bits[:i].any() if i else 0 for i in range(len(bits))))


def at_least(bits: Value, count: int) -> Value:
    """Whether ``count`` bits or more are set, ``count`` >= 1."""
    return _reached(bits, count)[-1]


def _reached(bits: Value, most: int) -> list[Value]:
    """Whether 1, 2, .. ``most`` bits or more are set."""
    if len(bits) == 1:
        return [Value.cast(bits[0]), *(Const(0, 1) for _ in range(most - 1))]
    half = len(bits) // 2
    low, high = (_reached(Value.cast(part), most) for part in (bits[:half], bits[half:]))
    found = []
    for count in range(1, most + 1):
        parts = [low[count - 1], high[count - 1], *(low[i - 1] & high[count - i - 1] for i in range(1, count))]
        found.append(Value.cast(Cat(parts)).any())
    return found


def lowest(bits: Value) -> Value:
    """Number of the lowest set bit; the last one's if none is set."""
    return _lowest(bits, [Const(i, max(1, (len(bits) - 1).bit_length())) for i in range(len(bits))])[1]


def choose_lowest(bits: Value, values: Sequence[Value]) -> Value:
    """The one of ``values`` that belongs to the lowest set bit; the last one if none is set."""
    return _lowest(bits, values)[1]


def _lowest(bits: Value, values: Sequence[Value]) -> tuple[Value, Value]:
    """Whether a bit is set, and the value of the lowest."""
    if len(bits) == 1:
        return Value.cast(bits[0]), values[0]
    half = 1 << (len(bits) - 1).bit_length() - 1
    found, low = _lowest(bits[:half], values[:half])
    more, high = _lowest(bits[half:], values[half:])
    return found | more, Mux(found, low, high)
