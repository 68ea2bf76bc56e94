"""Files that are there in full or not at all."""

from __future__ import annotations

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a file under a temporary name and renames it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)
