"""How deep memories are cut into block RAMs, so that few multiplexers join them."""

from __future__ import annotations

from typing import Any, Literal

from amaranth.vendor import LatticePlatform, SiliconBluePlatform

Family = Literal["ice40", "ecp5"]

#: Words and bits of a word that one block RAM can be, the widest first.
MODES: dict[Family, tuple[tuple[int, int], ...]] = {
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
}
#: Words of ECP5's LUT RAM: a small memory that needs no more may be built of it.
LUT_RAM = 16
#: LUTs of a multiplexer that may be spent to save a block RAM: devices have many more a block RAM.
_LUTS_A_BLOCK = 16


def family_of(platform: Any) -> Family | None:
    """The family a platform is of; None: a portable memory will do."""
    if isinstance(platform, SiliconBluePlatform):
        return "ice40"
    return "ecp5" if isinstance(platform, LatticePlatform) else None


def slice_width(family: Family, depth: int) -> int:
    """Bits of ``depth`` words that one block RAM holds, or the fewest it can be read in."""
    modes = MODES[family]
    return next((bits for words, bits in modes if depth <= words), modes[-1][1])


def _blocks(family: Family, depth: int, width: int) -> int:
    return -(-width // slice_width(family, depth)) * -(-depth // MODES[family][-1][0])


def sections(family: Family, depth: int, width: int) -> tuple[int, ...]:
    """Words of a memory's sections: all, or powers of two and a rest where that saves block RAMs enough.

    A section is built of slices as deep as itself, which need no multiplexer; one joins the sections.  Each starts at
    a multiple of its size (the rest: of the least power of two that holds it).
    """
    best, parts = (depth,), []
    left = depth
    for bit in reversed(range(depth.bit_length())):
        if left >> bit & 1 and left > 1 << bit:
            parts.append(1 << bit)
            left -= 1 << bit
            best = min(best, (*parts, left), key=lambda cut: _cost(family, cut, width))
    return best


def _cost(family: Family, cut: tuple[int, ...], width: int) -> int:
    return sum(_blocks(family, words, width) for words in cut) * _LUTS_A_BLOCK + (len(cut) - 1) * width


def block_count(family: Family, depth: int, width: int) -> int:
    """Block RAMs of a memory that is built of such sections."""
    return sum(_blocks(family, words, width) for words in sections(family, depth, width))
