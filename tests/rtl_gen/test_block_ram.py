"""How memories are cut into block RAMs."""

from __future__ import annotations

import random

import pytest

from rtl_gen.block_ram import MODES, block_count, sections, slice_width


@pytest.mark.parametrize("family", MODES)
def test_sections_cover_a_memory_at_multiples_of_their_size(family):
    rng = random.Random(family)
    for _ in range(500):
        depth, width = rng.randrange(2, 40000), rng.randrange(1, 300)
        start = 0
        for words in (cut := sections(family, depth, width)):
            assert start % (1 << (words - 1).bit_length()) == 0
            start += words
        assert start == depth
        assert all(words.bit_count() == 1 for words in cut[:-1])


@pytest.mark.parametrize("family", MODES)
def test_a_block_ram_holds_its_slice(family):
    for words, bits in MODES[family]:
        assert slice_width(family, words) == bits
        assert block_count(family, words, 7 * bits) == 7
        assert block_count(family, words, 6 * bits + 1) == 7
    deepest, bits = MODES[family][-1]
    assert slice_width(family, 4 * deepest) == bits
    assert block_count(family, 4 * deepest, bits) == 4


@pytest.mark.parametrize(
    ("family", "depth", "width", "cut", "blocks"),
    [
        ("ecp5", 8192, 128, (8192,), 64),  # 2048 x 9 takes 60, and two LUTs a bit
        ("ecp5", 2560, 128, (2048, 512), 19),
        ("ecp5", 1536, 128, (1536,), 15),  # 3 block RAMs are not worth 128 LUTs
        ("ecp5", 32768, 64, (32768,), 128),
        ("ice40", 1536, 64, (1024, 512), 24),
        ("ice40", 300, 64, (300,), 8),
    ],
)
def test_known_memories(family, depth, width, cut, blocks):
    assert sections(family, depth, width) == cut
    assert block_count(family, depth, width) == blocks
