"""Fetched data sets: a small one, served by this machine, through download, checksums, cache and every failure."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refmodel.datasets import NAMES, is_name, load_data, registry
from refmodel.datasets.archives import data_of_deb
from refmodel.datasets.fetch import at_hand, cache_folder
from refmodel.datasets.registry import FETCHED, DataSet
from refmodel.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = {"t10k": RNG.integers(0, 256, (4, 28, 28), np.uint8), "train": RNG.integers(0, 256, (7, 28, 28), np.uint8)}
LABELS = {"t10k": np.arange(4, dtype=np.uint8), "train": np.arange(7, dtype=np.uint8)}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


FILES = {f"{part}-images-idx3-ubyte": idx(x) for part, x in IMAGES.items()}
FILES |= {f"{part}-labels-idx1-ubyte": idx(y) for part, y in LABELS.items()}


def tar(kind: str, folder: str, packed: bool) -> bytes:
    """A tar archive of the files in ``folder``, with another file that nobody wants."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{kind}") as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in {**FILES, "readme": b"hello"}.items():
            data = gzip.compress(content) if packed and name != "readme" else content
            info = tarfile.TarInfo(f"{folder}/{name}{'.gz' if packed and name != 'readme' else ''}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def deb(data: bytes, name: str = "data.tar.xz") -> bytes:
    """A Debian package: an ar archive of three members."""
    out = b"!<arch>\n"
    for member, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (name, data)):
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


class Server:
    """Serves the files of a folder, and counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, directory=str(folder), **options)

            def log_request(self, code: Any = "-", size: Any = "-") -> None:
                asked.append(self.path)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with both data sets made small, and a cache folder of this test alone."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SKIPSPIKE_DATA", str(tmp_path / "cache"))
    served = Server(folder)
    contents = {
        "mnist": ("small.tgz", tar("gz", "package/data", False)),
        "fashion-mnist": ("small.deb", deb(tar("xz", "./usr/share/datasets/fashion-mnist", True))),
    }
    for name, (file, content) in contents.items():
        (folder / file).write_bytes(content)
        small = replace(
            FETCHED[name],
            url=f"{served.url}/{file}",
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            checksums={file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()},
            installed=str(tmp_path / "installed") if FETCHED[name].installed else None,
        )
        monkeypatch.setitem(registry.FETCHED, name, small)
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.mark.parametrize("name", list(FETCHED))
def test_fetched_once_and_kept(server: Server, name: str) -> None:
    steps: list[tuple[str, float | None]] = []
    x, y = load_data(name, lambda step, fraction: steps.append((step, fraction)))
    assert np.array_equal(x[:, 0], IMAGES["t10k"]) and x.shape == (4, 1, 28, 28) and x.dtype == np.uint8
    assert np.array_equal(y, LABELS["t10k"]) and y.dtype == np.int64
    assert steps[-1] == (f"fetching {FETCHED[name].archive}", 1.0)
    x, y = load_data(f"{name}:train")
    assert np.array_equal(x[:, 0], IMAGES["train"]) and np.array_equal(y, LABELS["train"])
    assert len(server.asked) == 1
    assert at_hand(FETCHED[name]) == cache_folder() / name
    kept = {path.name.removesuffix(".gz") for path in (cache_folder() / name).iterdir()}
    assert kept == set(FILES)


def test_without_the_network_what_is_kept_is_enough(server: Server) -> None:
    load_data("mnist")
    server.http.shutdown()
    server.http.server_close()
    (cache_folder() / FETCHED["mnist"].archive).unlink()
    assert len(load_data("mnist:train")[0]) == 7


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", list(FETCHED))
def test_a_damaged_file_is_replaced(server: Server, name: str) -> None:
    load_data(name)
    kept = sorted((cache_folder() / name).iterdir())
    for path in kept:
        spoil(path)
    assert at_hand(FETCHED[name]) is None
    assert np.array_equal(load_data(name)[0][:, 0], IMAGES["t10k"]) and len(server.asked) == 1
    spoil(kept[0])
    spoil(cache_folder() / FETCHED[name].archive)
    for part in ("", ":train"):
        load_data(name + part)
    assert len(server.asked) == 2 and at_hand(FETCHED[name]) is not None


def refusal(name: str) -> str:
    with pytest.raises(DataError) as caught:
        load_data(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_file_than_expected(server: Server) -> None:
    (server.folder / "small.tgz").write_bytes(b"<html>please log in</html>")
    text = refusal("mnist")
    assert f"{FETCHED['mnist'].url} sends has another checksum (SHA-256) than {FETCHED['mnist'].sha256}" in text
    assert not any(path.is_file() for path in cache_folder().rglob("*"))


def test_a_server_that_has_it_not(server: Server) -> None:
    (server.folder / "small.tgz").unlink()
    assert "(the server answers 404)" in refusal("mnist")


def test_offline(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    text = refusal("fashion-mnist")
    one = FETCHED["fashion-mnist"]
    assert text == (
        f"data 'fashion-mnist': cannot fetch {one.url} (no connection); save it as {cache_folder() / one.archive} "
        "(SKIPSPIKE_DATA names another folder) and try again; `apt-get install dataset-fashion-mnist` does as well"
    )


def test_put_there_by_hand(server: Server) -> None:
    cache_folder().mkdir()
    (server.folder / "small.tgz").rename(cache_folder() / FETCHED["mnist"].archive)
    assert len(load_data("mnist")[0]) == 4 and not server.asked


def test_files_put_there_compressed(server: Server) -> None:
    (cache_folder() / "mnist").mkdir(parents=True)
    for name, content in FILES.items():
        (cache_folder() / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
    assert len(load_data("mnist:train")[0]) == 7 and not server.asked


def test_the_operating_systems_package(server: Server) -> None:
    folder = Path(str(FETCHED["fashion-mnist"].installed))
    folder.mkdir()
    for name, content in FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    assert len(load_data("fashion-mnist")[0]) == 4 and not server.asked
    assert at_hand(FETCHED["fashion-mnist"]) == folder
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"another file"))
    assert load_data("fashion-mnist")[1].tolist() == [0, 1, 2, 3] and len(server.asked) == 1


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKIPSPIKE_DATA", str(tmp_path / "file" / "cache"))
    assert f"{tmp_path / 'file' / 'cache'} cannot be written (Not a directory)" in refusal("mnist")


def test_several_at_once(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        for x, _ in pool.map(load_data, ["mnist", "mnist:train"] * 8):
            assert np.array_equal(x[:, 0], IMAGES["t10k" if len(x) == 4 else "train"])
    assert at_hand(FETCHED["mnist"]) is not None
    assert not [path for path in cache_folder().rglob("*") if path.name.startswith((".", "tmp"))]


def test_an_archive_without_the_files(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FETCHED, "mnist", replace(FETCHED["mnist"], inside="elsewhere"))
    assert "t10k-images-idx3-ubyte is not what it should be" in refusal("mnist")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", deb(b"", "else.tar"), deb(b"x")[:70], deb(b"x").replace(b"`\n", b"~\n"), deb(b"x")[:-70] + b"9" * 60],
)
def test_what_is_no_debian_package(content: bytes) -> None:
    with pytest.raises(ValueError, match="Debian package"):
        data_of_deb(content)


def test_a_debian_package() -> None:
    assert data_of_deb(deb(b"content")) == b"content" and data_of_deb(deb(b"even")) == b"even"


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SKIPSPIKE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "skipspike" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "skipspike" / "data"
    monkeypatch.setenv("SKIPSPIKE_DATA", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def test_names() -> None:
    assert NAMES == ("digits", "mnist", "mnist:train", "fashion-mnist", "fashion-mnist:train")
    assert all(map(is_name, NAMES)) and is_name("mnist:test")
    assert not any(map(is_name, ("", "random", "digits:train", "mnist:", "mnist:val", "MNIST")))
    assert "'mnist:val': no such part; use one of 'digits', 'mnist', 'mnist:train'" in refusal("mnist:val")


def test_what_is_registered() -> None:
    for one in FETCHED.values():
        assert isinstance(one, DataSet) and one.url.startswith("https://") and "%" not in one.archive
        digests = [one.sha256, *one.checksums.values()]
        assert all(len(bytes.fromhex(digest)) == 32 for digest in digests) and len(set(digests)) == 5
        assert {name for part, _ in one.samples for name in one.files(part)} == set(one.checksums)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mean"), [("mnist", 33.79), ("fashion-mnist", 73.15)])
def test_the_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mean: float) -> None:
    """Downloads 12 and 31 MB."""
    monkeypatch.setenv("SKIPSPIKE_DATA", str(tmp_path))
    x, y = load_data(name)
    assert x.shape == (10_000, 1, 28, 28) and y.shape == (10_000,) and set(y.tolist()) == set(range(10))
    assert x.mean() == pytest.approx(mean, abs=0.01) and x.max() == 255
    x, y = load_data(f"{name}:train")
    assert x.shape == (60_000, 1, 28, 28) and y.shape == (60_000,)
