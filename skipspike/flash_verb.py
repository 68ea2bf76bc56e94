"""The verb ``verify-flash``: what a flash image holds is what a build made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Json
from .console import show


def verify_flash(folder: str | Path, file: str | Path | None = None) -> dict[str, Any]:
    """Compare a flash image, by default the build folder's own, with the folder's bitstream and program.

    Raises SkipspikeError, which names the first difference.
    """
    from boards.flash_files import verify_folder

    return verify_folder(Path(folder), None if file is None else Path(file))


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds the verb."""

    @group.command("verify-flash")
    def _verify_flash(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a build.")],
        file: Annotated[
            Path | None, typer.Option("--file", metavar="FILE", help="Image read back from a board's flash.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Prove that a flash image holds a build's bitstream and program."""
        finish(lambda _: verify_flash(folder, file), _show, as_json)


def _show(result: dict[str, Any]) -> None:
    show(
        f"{result['file']} holds the bitstream ({result['bitstream_bytes']} bytes, sha256 "
        f"{result['bitstream_sha256'][:16]}) and, at {result['program_offset']:#x}, the program "
        f"({result['program_words']} words, CRC-32 {result['program_crc']}, core {result['core_digest']})"
    )
