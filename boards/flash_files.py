"""The flash image of a build folder: written beside the bitstream, and proven to hold what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refmodel.config import CoreConfig
from refmodel.errors import BoardError

from .build import RECORD
from .files import write_text
from .flash_image import flash_image, program_part, verify_flash
from .registry import Board, get_board
from .report import read_record

#: Bitstream and program in one file, and the program alone.
FLASH, PROGRAM = "flash.bin", "flash-program.bin"


def starts_from_flash(board: Board, config: CoreConfig) -> bool:
    """Whether the board finds its program in the flash when it starts."""
    return board.flash_offset is not None and (board.boot or config.store == "flash")


def write_flash(folder: Path, image: Sequence[int]) -> dict[str, Any]:
    """Writes both files to a finished build's folder and names them in ``build.json``; returns that entry.

    ``image``: the program, for the build's core. The same build and program give the same bytes.
    Raises BoardError for a board that does not start from flash, or a program that does not fit.
    """
    record = read_record(folder)
    board, config = get_board(str(record["board"])), CoreConfig(**record["config"])
    if board.flash_offset is None:
        raise BoardError(f"board {board.name!r} does not start from a flash that the FPGA can read")
    program = program_part(config, image)
    content = flash_image(_bitstream(folder, record), program, board.flash_offset)
    for name, data in ((PROGRAM, program), (FLASH, content)):
        partial = folder / f"{name}.part"
        partial.write_bytes(data)
        os.replace(partial, folder / name)
    record["flash"] = {
        "file": FLASH,
        "offset": board.flash_offset,
        "sha256": hashlib.sha256(content).hexdigest(),
        "program_file": PROGRAM,
        "program_sha256": hashlib.sha256(program).hexdigest(),
        "program_words": len(image),
    }
    write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record["flash"]


def verify_folder(folder: Path, file: Path | None = None) -> dict[str, Any]:
    """Proof that a flash image holds the bitstream and the program of a build folder, byte by byte.

    ``file``: the image, by default the folder's own; or what was read back from a board's flash: a bitstream's worth or
    a whole chip. Raises BoardError, which names the first difference.
    """
    record = read_record(folder)
    entry = record.get("flash")
    if not isinstance(entry, dict):
        raise BoardError(f"{folder} holds no flash image: its board does not start from flash")
    config, offset = CoreConfig(**record["config"]), int(entry["offset"])
    path = file or folder / str(entry["file"])
    content, program = _read(path), _read(folder / "program.bin")
    size = config.store_width // 8
    if len(program) % size:
        raise BoardError(f"{folder / 'program.bin'} holds no whole words: build again")
    image = [int.from_bytes(program[at : at + size], "little") for at in range(0, len(program), size)]
    bitstream = _bitstream(folder, record)
    found = verify_flash(content, bitstream, config, image, offset)
    return {
        "file": str(path),
        "board": str(record["board"]),
        "bitstream_bytes": len(bitstream),
        "bitstream_sha256": str(record["sha256"]),
        "program_offset": found.start,
        "program_words": len(found.words),
        "program_crc": f"{found.crc:08x}",
        "core_digest": f"{found.digest:08x}",
    }


def _bitstream(folder: Path, record: dict[str, Any]) -> bytes:
    path = folder / str(record["bitstream"])
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise BoardError(f"{path} is not the bitstream that build.json records: build again")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BoardError(f"{path} cannot be read ({error.strerror}): build again") from None
