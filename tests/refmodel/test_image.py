"""The program image as bytes, read as integers."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel.image import StoreImage, lane_rows, word_rows

WORDS = (0, 1, 0x8000, (1 << 48) - 1, 0x123456789ABC)
stored = StoreImage(word_rows(WORDS, 48))


def test_reads_as_a_sequence_of_integers() -> None:
    assert tuple(stored) == WORDS and len(stored) == 5 and stored.width == 48
    assert stored[3] == WORDS[3] and stored[-1] == WORDS[-1] and tuple(stored[1:3]) == WORDS[1:3]
    assert stored == WORDS and stored == list(WORDS) and stored == StoreImage(word_rows(WORDS, 48))
    assert stored != WORDS[:-1] and stored != (*WORDS[:-1], 5) and stored != StoreImage(word_rows(WORDS, 56))
    assert 0x8000 in stored and stored.index(0x8000) == 2
    with pytest.raises(IndexError):
        stored[5]


def test_bytes_and_lines() -> None:
    assert stored.to_bytes() == b"".join(word.to_bytes(6, "little") for word in WORDS)
    assert stored.to_hex() == "".join(f"{word:012x}\n" for word in WORDS).encode()
    with pytest.raises(OverflowError):
        word_rows([1 << 48], 48)
    with pytest.raises(ValueError, match="bytes"):
        StoreImage(np.zeros((2, 3)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("bits", range(2, 9))
def test_lanes_pack_from_the_lowest_bit(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (20, 8))
    values[0] = -(1 << (bits - 1))
    packed = [sum((int(v) & ((1 << bits) - 1)) << (lane * bits) for lane, v in enumerate(row)) for row in values]
    for kind in (np.int64, np.int16):
        assert tuple(StoreImage(lane_rows(values.astype(kind), bits, 80))) == tuple(packed)
    assert StoreImage(lane_rows(-values, bits, 80))[0] == packed[0]  # the lowest is its own negative
