"""Adders with a gate: one LUT a bit where the family's carry chain allows it, portable logic elsewhere."""

from __future__ import annotations

from typing import Any, Literal

from amaranth import Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.vendor import LatticePlatform, SiliconBluePlatform

#: How adders are built: Lattice's CCU2C, SB_CARRY with SB_LUT4, or as Amaranth writes them.
Form = Literal["portable", "ecp5", "ice40"]

#: SB_LUT4 (I3, I2, I1, I0): I1 ^ I2 ^ I3 where I0, else I1.
_ICE40_GATED = sum(1 << i for i in range(16) if ((i >> 1) ^ (i >> 2) ^ (i >> 3) if i & 1 else i >> 1) & 1)


def adder_form(platform: Any) -> Form:
    """The form of adders for a platform; portable if it is None or of another family."""
    if isinstance(platform, SiliconBluePlatform):
        return "ice40"
    if isinstance(platform, LatticePlatform) and platform.device.upper().startswith(("LFE5U", "LAE5U")):
        return "ecp5"
    return "portable"


def gated_sum(m: Module, a: Value, b: Value, gate: Value, width: int, form: Form, name: str) -> Value:
    """``a + b`` where ``gate`` is 1, else ``a``: signed, ``width`` bits, combinational; not in the form "ecp5"."""
    if form == "ice40":
        return _gated_ice40(m, a, b, gate, width, name)
    return (a + Mux(gate, b, 0))[:width].as_signed()


def _gated_ice40(m: Module, a: Value, b: Value, gate: Value, width: int, name: str) -> Signal:
    """Of SB_LUT4 and SB_CARRY: the carry always adds, the LUT takes the sum or ``a``."""
    total = Signal(signed(width), name=name)
    carry: Value = Const(0, 1)
    for i in range(width):
        bits = {"i_I1": a[min(i, len(a) - 1)], "i_I2": b[min(i, len(b) - 1)], "i_I3": carry}
        lut = Instance("SB_LUT4", p_LUT_INIT=Const(_ICE40_GATED, 16), i_I0=gate, **bits, o_O=total[i])
        m.submodules[f"{name}_lut{i}"] = lut
        if i + 1 < width:
            following = Signal(name=f"{name}_carry{i}")
            m.submodules[f"{name}_carry{i}"] = Instance(
                "SB_CARRY", i_I0=bits["i_I1"], i_I1=bits["i_I2"], i_CI=carry, o_CO=following
            )
            carry = following
    return total


class CarryChain:
    """Adders one behind the other in one chain of ECP5's CCU2C, a LUT a bit and one for the whole chain.

    A CCU2C has two bits, each with S = LUT4(D, C, B, A) ^ carry; the next carry is the carry where LUT4 is 1, else
    LUT2(B, A), which is the lowest four bits of INIT.  The first bit of a chain makes the carry 0, whatever comes in.

    Adders need no such bit between them: those of weights add unsigned numbers that cannot overflow.  A signed weight
    of n bits enters as weight + 2**(n - 1), which inverts its top bit, and a masked one as 2**(n - 1); inverting is
    free in a LUT.  A sum's new top bit is the carry itself, taken by a bit that lets none through.

    Parameters
    ----------
    name: of the cells in ``m``.
    """

    _START = 0x0000  # 0 and carry 0; as a sum's top bit: the carry, and carry 0

    def __init__(self, m: Module, name: str):
        self._m = m
        self._name = name
        self._bits: list[tuple[int, list[Value], Value | None]] = [(self._START, [], None)]

    def _bit(self, init: int, out: Value, *pins: Value) -> None:
        self._bits.append((init, list(pins), out))

    def pair(self, a: Value, b: Value, gate_a: Value, gate_b: Value) -> Signal:
        """The sum of two signed weights of n bits as :meth:`gated` gives it, each where its gate is 1.

        With both gates 0 the sum is anything: the register that takes it is to be set to 2**n, the sum of nothing.
        """
        total = Signal(len(a) + 1, name=f"{self._name}_pair")
        for i in range(len(a)):
            # Bit by bit, with D and C the gates: A + B, A, B; and not A + not B where they are the top bits.
            self._bit(0x6AC7 if i == len(a) - 1 else 0x6AC8, total[i], a[i], b[i], gate_b, gate_a)
        self._bit(self._START, total[-1])
        return total

    def gated(self, a: Signal, b: Value, gate: Value, most: int) -> Signal:
        """``a`` plus ``b + offset`` where ``gate`` is 1, else plus the offset, 2**(len(b) - 1).

        ``a``: an unsigned sum, longer than ``b``.  ``most``: the largest sum, which fixes its length.  Returns the
        unsigned sum.
        """
        total = Signal(most.bit_length(), name=f"{self._name}_sum{len(self._bits)}")
        for i, out in enumerate(total):
            if i >= len(a):
                self._bit(self._START, out)
            elif i >= len(b):
                self._bit(0xAAAA, out, a[i])  # A
            elif i < len(b) - 1:
                self._bit(0x6AAA, out, a[i], b[i], gate)  # A + (B and C)
            else:
                self._bit(0x95AA, out, a[i], b[i], gate)  # A + not (B and C)
        return total

    def doubling(self, part: Signal, acc: Signal, keep: Value) -> Signal:
        """``part + acc`` where ``keep`` is 1, else ``part + 2 * acc``, signed, modulo the length of ``acc``.

        ``part``: signed, or an unsigned sum with an offset of half its range.  The last of a chain: it may overflow.
        """
        total = Signal(signed(len(acc)), name=f"{self._name}_total")
        for i, out in enumerate(total):
            a = part[min(i, len(part) - 1)]
            inverted = not part.shape().signed and i >= len(part) - 1
            if i == 0:
                self._bit(0x6AAA, out, a, acc[0], keep)  # A + (B and C)
            else:
                # A + (B if D else C); not A + (B if D else C)
                self._bit(0x99A5 if inverted else 0x665A, out, a, acc[i], acc[i - 1], keep)
        return total

    def close(self) -> None:
        """Makes the cells; nothing can be added afterwards."""
        bits = self._bits + [(self._START, [], None)] * (len(self._bits) % 2)
        carry: Signal | None = None
        for cell in range(len(bits) // 2):
            ports: dict[str, Any] = {"p_INJECT1_0": "NO", "p_INJECT1_1": "NO"}
            for half, (init, pins, out) in enumerate(bits[2 * cell : 2 * cell + 2]):
                ports[f"p_INIT{half}"] = Const(init, 16)
                for pin, value in zip("ABCD", [*pins, *[Const(1, 1)] * (4 - len(pins))], strict=True):
                    ports[f"i_{pin}{half}"] = value
                if out is not None:
                    ports[f"o_S{half}"] = out
            if carry is not None:
                ports["i_CIN"] = carry
            if 2 * cell + 2 < len(bits):
                carry = Signal(name=f"{self._name}_carry{cell}")
                ports["o_COUT"] = carry
            self._m.submodules[f"{self._name}_cell{cell}"] = Instance("CCU2C", **ports)
