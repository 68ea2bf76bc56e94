"""What a board's flash holds: the bitstream, and further up the program that the board starts with.

======  =====  ==============================================================
offset  bytes  of the program part; numbers are little-endian
======  =====  ==============================================================
0       4      "SKSF"
4       1      version (1)
5       1      0
6       2      bytes of a store word
8       4      digest of the core's configuration (``config_digest``)
12      4      words
16             the program image, each word little-endian
after   4      CRC-32 (as of zlib) of the image's bytes
======  =====  ==============================================================
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from refmodel.image import StoreImage

from .link import config_digest
from .registry.ice40 import PROGRAM_OFFSET

MAGIC = b"SKSF"
VERSION = 1
#: Bytes before the image's first word.
HEADER_BYTES = 16
#: Bytes of the header that a core knows in advance, all but the number of words.
FIXED_BYTES = 12
CRC_BYTES = 4
#: What an erased flash reads as.
ERASED = 0xFF


def fixed_header(config: CoreConfig) -> bytes:
    """The part of the header that does not depend on the program."""
    word_bytes = config.store_width // 8
    return MAGIC + bytes([VERSION, 0]) + word_bytes.to_bytes(2, "little") + config_digest(config).to_bytes(4, "little")


def program_part(config: CoreConfig, image: Sequence[int]) -> bytes:
    """The program as it lies in the flash; BoardError for an image that is larger than the core's store."""
    if len(image) > config.store_depth:
        raise BoardError(f"the program has {len(image)} words, the core's store {config.store_depth}")
    if isinstance(image, StoreImage):
        content = image.to_bytes()
    else:
        content = b"".join(word.to_bytes(config.store_width // 8, "little") for word in image)
    crc = zlib.crc32(content).to_bytes(CRC_BYTES, "little")
    return fixed_header(config) + len(image).to_bytes(4, "little") + content + crc


def flash_image(bitstream: bytes, program: bytes, offset: int = PROGRAM_OFFSET) -> bytes:
    """One file for the whole flash; BoardError if the bitstream reaches into the program."""
    if len(bitstream) > offset:
        raise BoardError(f"the bitstream has {len(bitstream)} bytes and would reach into the program at {offset:#x}")
    return bitstream + bytes([ERASED]) * (offset - len(bitstream)) + program


@dataclass(frozen=True)
class ProgramPart:
    """A program part, read.  start, stop: where it lies in the file.  words: the image."""

    start: int
    stop: int
    word_bytes: int
    digest: int
    words: tuple[int, ...]
    crc: int


def read_program(flash: bytes, offset: int = PROGRAM_OFFSET) -> ProgramPart:
    """The program in what a flash holds; BoardError says what is wrong with it: it is not there, not whole, damaged."""
    header = flash[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES or header[:4] != MAGIC:
        raise BoardError(f"the flash image holds no program at {offset:#x}")
    if header[4] != VERSION:
        raise BoardError(f"the program at {offset:#x} has format {header[4]}, not {VERSION}")
    word_bytes, digest = int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:12], "little")
    words = int.from_bytes(header[12:16], "little")
    start = offset + HEADER_BYTES
    end = start + words * word_bytes
    if word_bytes == 0 or end + CRC_BYTES > len(flash):
        raise BoardError(f"the program at {offset:#x} is cut short: {words} words of {word_bytes} bytes do not fit")
    content, crc = flash[start:end], int.from_bytes(flash[end : end + CRC_BYTES], "little")
    if zlib.crc32(content) != crc:
        raise BoardError(
            f"the program at {offset:#x} is damaged: its CRC-32 is {zlib.crc32(content):08x}, not {crc:08x}"
        )
    image = tuple(int.from_bytes(content[i : i + word_bytes], "little") for i in range(0, len(content), word_bytes))
    return ProgramPart(offset, end + CRC_BYTES, word_bytes, digest, image, crc)


def verify_flash(
    flash: bytes, bitstream: bytes, config: CoreConfig, image: Sequence[int], offset: int = PROGRAM_OFFSET
) -> ProgramPart:
    """Proof that ``flash`` holds exactly this bitstream and this program, and nothing else.

    BoardError names the first thing that differs.
    """
    if flash[: len(bitstream)] != bitstream:
        at = next(i for i, byte in enumerate(bitstream) if i >= len(flash) or flash[i] != byte)
        raise BoardError(f"the flash image does not hold the bitstream: byte {at:#x} differs")
    between = flash[len(bitstream) : offset]
    if between != bytes([ERASED]) * (offset - len(bitstream)):
        raise BoardError(f"the flash image holds something between the bitstream and the program at {offset:#x}")
    found = read_program(flash, offset)
    if found.digest != config_digest(config) or found.word_bytes != config.store_width // 8:
        raise BoardError(f"the program at {offset:#x} is for another core: build both again")
    if found.words != tuple(image):
        at = next((i for i, pair in enumerate(zip(found.words, image, strict=False)) if pair[0] != pair[1]), None)
        where = f"word {at} differs" if at is not None else f"it has {len(found.words)} words, not {len(image)}"
        raise BoardError(f"the program at {offset:#x} is another one: {where}")
    if set(flash[found.stop :]) - {ERASED}:
        raise BoardError("the flash image holds something behind the program")
    return found
