"""The flash image: where things lie, and that a difference of one bit anywhere is found and named."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from dataclasses import asdict
from pathlib import Path

import pytest

from boards.flash_files import FLASH, PROGRAM, verify_folder, write_flash
from boards.flash_image import flash_image, program_part, read_program, verify_flash
from boards.registry import get_board
from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from refmodel.image import StoreImage, word_rows

CONFIG = CoreConfig(store="spram", store_depth=100)
OFFSET = 0x100000
_RNG = random.Random(1)
BITSTREAM = _RNG.randbytes(104_090)
IMAGE = [_RNG.getrandbits(CONFIG.store_width) for _ in range(20)]


def test_layout() -> None:
    part = program_part(CONFIG, IMAGE)
    size = CONFIG.store_width // 8
    content = b"".join(word.to_bytes(size, "little") for word in IMAGE)
    assert part[:8] == b"SKSF\x01\x00" + size.to_bytes(2, "little")
    assert part[12:16] == (20).to_bytes(4, "little")
    assert part[16:] == content + zlib.crc32(content).to_bytes(4, "little")
    assert part == program_part(CONFIG, StoreImage(word_rows(IMAGE, CONFIG.store_width)))
    whole = flash_image(BITSTREAM, part)
    assert whole[: len(BITSTREAM)] == BITSTREAM and whole[OFFSET:] == part
    assert set(whole[len(BITSTREAM) : OFFSET]) == {0xFF}
    found = verify_flash(whole, BITSTREAM, CONFIG, IMAGE)
    assert found.words == tuple(IMAGE) and found.start == OFFSET
    # A chip read back whole has erased bytes behind.
    assert verify_flash(whole + b"\xff" * 1000, BITSTREAM, CONFIG, IMAGE) == found


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (0, "byte 0x0 differs"),
        (104_089, "byte 0x19699 differs"),
        (104_090, "something between"),
        (OFFSET - 1, "something between"),
        (OFFSET, "no program at 0x100000"),
        (OFFSET + 4, "format 0, not 1"),
        (OFFSET + 6, "damaged|cut short"),
        (OFFSET + 8, "for another core"),
        (OFFSET + 12, "damaged|cut short"),
        (OFFSET + 15, "cut short"),
        (OFFSET + 16, "damaged"),
        (OFFSET + 16 + 20 * CONFIG.store_width // 8, "damaged"),
        (OFFSET + 16 + 20 * CONFIG.store_width // 8 + 4, "behind the program"),
    ],
)
def test_finds_a_bit(at: int, message: str) -> None:
    whole = bytearray(flash_image(BITSTREAM, program_part(CONFIG, IMAGE)) + b"\xff" * 8)
    whole[at] ^= 1
    with pytest.raises(BoardError, match=message):
        verify_flash(bytes(whole), BITSTREAM, CONFIG, IMAGE)


def test_finds_another_program() -> None:
    whole = flash_image(BITSTREAM, program_part(CONFIG, IMAGE))
    with pytest.raises(BoardError, match="word 3 differs"):
        verify_flash(whole, BITSTREAM, CONFIG, [*IMAGE[:3], IMAGE[3] ^ 1, *IMAGE[4:]])
    with pytest.raises(BoardError, match="it has 20 words, not 19"):
        verify_flash(whole, BITSTREAM, CONFIG, IMAGE[:-1])
    with pytest.raises(BoardError, match="no program"):
        read_program(whole[:OFFSET])
    with pytest.raises(BoardError, match="cut short"):
        read_program(whole[:-1])


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(BoardError, match="101 words, the core's store 100"):
        program_part(CONFIG, [0] * 101)
    with pytest.raises(BoardError, match="reach into the program at 0x100000"):
        flash_image(bytes(OFFSET + 1), b"")


def _folder(path: Path) -> Path:
    """A folder as a build leaves it."""
    (path / "top.bin").write_bytes(BITSTREAM)
    size = CONFIG.store_width // 8
    (path / "program.bin").write_bytes(b"".join(word.to_bytes(size, "little") for word in IMAGE))
    record = {"format": 1, "status": "built", "board": "icebreaker", "config": asdict(CONFIG), "bitstream": "top.bin"}
    record["sha256"] = hashlib.sha256(BITSTREAM).hexdigest()
    (path / "build.json").write_text(json.dumps(record))
    return path


def test_build_folder(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with pytest.raises(BoardError, match="holds no flash image"):
        verify_folder(folder)
    entry = write_flash(folder, IMAGE)
    content = (folder / FLASH).read_bytes()
    assert entry["offset"] == OFFSET == get_board("icebreaker").flash_offset
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert content[OFFSET:] == (folder / PROGRAM).read_bytes() == program_part(CONFIG, IMAGE)
    assert json.loads((folder / "build.json").read_text())["flash"] == entry
    assert verify_folder(folder)["program_words"] == 20
    back = tmp_path / "back.bin"
    back.write_bytes(content + b"\xff" * 100)
    assert verify_folder(folder, back)["file"] == str(back)
    back.write_bytes(content[:-1] + b"\x00")
    with pytest.raises(BoardError, match="damaged"):
        verify_folder(folder, back)
    (folder / "top.bin").write_bytes(BITSTREAM[:-1])
    with pytest.raises(BoardError, match=r"not the bitstream that build\.json records"):
        verify_folder(folder)


def test_board_without_such_a_flash(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    record = json.loads((folder / "build.json").read_text())
    (folder / "build.json").write_text(json.dumps({**record, "board": "ulx3s_12f"}))
    with pytest.raises(BoardError, match="does not start from a flash"):
        write_flash(folder, IMAGE)
