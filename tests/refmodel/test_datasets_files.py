"""IDX and NumPy files: whatever was stored comes back, and what is cut, bent or a bomb is refused at once."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from refmodel.datasets import load_data
from refmodel.datasets.idx import LIMIT, read_idx
from refmodel.errors import DataError

TYPES = {np.dtype("u1"): 0x08, np.dtype("i1"): 0x09, np.dtype("i2"): 0x0B, np.dtype("i4"): 0x0C}
X = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
Y = np.array([2, 0, 1], np.uint8)


def idx(array: NDArray[Any]) -> bytes:
    """The bytes of an IDX file."""
    head = bytes([0, 0, TYPES[array.dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(
    kind=st.sampled_from(list(TYPES)),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    packed=st.booleans(),
    seed=st.integers(0, 1 << 16),
)
def test_any_array_comes_back(kind: np.dtype, shape: list[int], packed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)
    content = gzip.compress(idx(array)) if packed else idx(array)
    got = read_idx(content, "x")
    assert got.dtype == kind and got.shape == array.shape and np.array_equal(got, array)
    assert got.flags.writeable


@given(cut=st.integers(0, 75), packed=st.booleans(), extra=st.integers(1, 9))
def test_neither_cut_nor_longer(cut: int, packed: bool, extra: int) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if packed else bytes
    for content in (pack(idx(X)[:cut]), pack(idx(X) + b"\0" * extra)):
        with pytest.raises(DataError):
            read_idx(content, "x")


@given(content=st.binary(max_size=40))
def test_any_bytes_are_an_array_or_an_error(content: bytes) -> None:
    for front in (b"", b"\0\0\x08\x01", b"\0\0\x08\x05\0\0\0\1", b"\x1f\x8b\x08\0\0\0\0\0"):
        try:
            assert read_idx(front + content, "x").size <= len(content)
        except DataError as error:
            assert str(error).startswith("x: ") and "\n" not in str(error)


HUGE = struct.pack(">5I", *[1 << 31] * 5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08\x01\0\0", "ends within its header"),
        (b"\0\0\x08\0", "not an IDX file of 1 to 5 axes (it starts with '00 00 08 00')"),
        (b"\0\0\x08\x06" + bytes(24), "not an IDX file of 1 to 5 axes"),
        (b"\0\0\x07\x01\0\0\0\1x", "not an IDX file"),
        (b"\1\0\x08\x01\0\0\0\1x", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\1" + bytes(4), "holds 32-bit reals; store integers"),
        (b"\0\0\x08\x05" + HUGE, "at most 1,073,741,824 are read"),
        (idx(X)[:-1], "3 x 4 x 5 values make 76 bytes, but the file has 75"),
        (gzip.compress(idx(X)[:-1], mtime=0), "3 x 4 x 5 values make 60 bytes, but it holds only 59"),
        (gzip.compress(idx(X) + b"0", mtime=0), "3 x 4 x 5 values make 60 bytes, but it holds more"),
        (gzip.compress(idx(X), mtime=0)[:-9], "cannot be read"),
        (gzip.compress(idx(X), mtime=0)[:-8] + bytes(8), "cannot be read"),
        (b"\x1f\x8b", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "some.idx"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(DataError) as caught:
            read_idx(source, "data 'some.idx'")
        assert expected in str(caught.value) and str(caught.value).startswith("data 'some.idx': ")


def zeros(megabytes: int) -> bytes:
    """So many zeros, compressed by gzip, after the header of an IDX file that claims as many or 100 bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as stream:
        stream.write(b"\0\0\x08\x01" + struct.pack(">I", megabytes << 20))
        for _ in range(megabytes):
            stream.write(bytes(1 << 20))
    return packed.getvalue()


def test_a_bomb_takes_no_memory() -> None:
    honest = zeros(100)
    assert len(honest) < 200_000
    modest = gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 100) + bytes(100 << 20))
    greedy = b"\0\0\x08\x01" + struct.pack(">I", LIMIT) + bytes(100)
    for content, expected in (
        (honest, "claim to hold 104,857,600; decompress it first"),
        (modest, "it holds more"),
        (greedy, "the file has 108"),
        (gzip.compress(greedy, mtime=0), "claim to hold"),
    ):
        tracemalloc.start()
        with pytest.raises(DataError, match=expected):
            read_idx(content, "x")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 23


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    ],
)
def test_labels_are_found_beside_images(tmp_path: Path, images: str, labels: str) -> None:
    for name, array in ((images, X), (labels, Y)):
        content = idx(array)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    x, y = load_data(tmp_path / images)
    assert np.array_equal(x, X[:, None]) and np.array_equal(y, Y) and y.dtype == np.int64


def test_two_files_of_any_kind(tmp_path: Path) -> None:
    (tmp_path / "a.idx").write_bytes(idx(X))
    (tmp_path / "b.idx").write_bytes(idx(Y))
    np.save(tmp_path / "a.npy", np.asfortranarray(X[:, None].astype(">u2")))
    np.save(tmp_path / "b.npy", Y)
    for images in ("a.idx", "a.npy"):
        for labels in ("b.idx", "b.npy"):
            x, y = load_data(f"{tmp_path / images},{tmp_path / labels}")
            assert np.array_equal(x, X[:, None]) and np.array_equal(y, Y) and x.dtype.isnative


@pytest.mark.parametrize("shape", [(3, 1, 4, 5), (2, 3, 1, 4, 5)])
def test_an_array_alone_has_no_labels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    np.save(tmp_path / "x.npy", x)
    got, y = load_data(tmp_path / "x.npy")
    assert np.array_equal(got, x) and y.tolist() == [-1] * len(x)


def refusal(name: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pairs_that_are_none(tmp_path: Path) -> None:
    images, labels = tmp_path / "images.idx", tmp_path / "other.idx"
    images.write_bytes(idx(X))
    labels.write_bytes(idx(Y[:2]))
    assert "its labels, labels.idx or labels.idx.gz, are not beside it; give IMAGES,LABELS" in refusal(images)
    assert "an IDX file holds images or labels, not both" in refusal(labels)
    assert "x has 3 inputs but y has 2 labels" in refusal(f"{images},{labels}")
    assert "'none.idx': no such file" in refusal(f"{images},none.idx")
    assert "no such file" in refusal(f"{images},{images},{labels}")
    assert "y must be [N] class numbers, not 3-dimensional" in refusal(f"{images},{images}")
    assert "x must be [N, C, H, W] or [N, T, C, H, W], not 1-dimensional" in refusal(f"{labels},{labels}")
    np.save(tmp_path / "y.npy", np.array([0, -1, 1]))
    assert "y must not be negative, but holds -1" in refusal(f"{images},{tmp_path / 'y.npy'}")
    np.save(tmp_path / "y.npy", np.array([0, 1 << 63, 1], np.uint64))
    assert "class numbers up to 65535" in refusal(f"{images},{tmp_path / 'y.npy'}")
    np.save(tmp_path / "none.npy", X[:0, None])
    assert "is empty" in refusal(tmp_path / "none.npy")
    np.save(tmp_path / "one.npy", np.int64(1))
    assert "0-dimensional" in refusal(tmp_path / "one.npy")
    np.save(tmp_path / "real.npy", X[:, None] / 2)
    assert "the array must be integers, not float64" in refusal(tmp_path / "real.npy")


def npy(kind: str, shape: str, values: int = 0, version: int = 1) -> bytes:
    """An .npy file with so many bytes of values, whatever its header claims."""
    content = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(content))
    return b"\x93NUMPY" + bytes([version, 0]) + size + content + bytes(values)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (npy("|u1", "(1 << 40, 1, 4, 4)"), "damaged header"),
        (npy("|u1", "(1099511627776, 1, 4, 4)"), "at most 1,073,741,824 are read"),
        (npy("<i8", "(8000000, 1, 4, 1)", 80), "values, 256,000,000 bytes, but the file has 80"),
        (npy("|u1", "(-3, -1, 1, 1)", 3), "claims -3 x -1"),
        (npy("|O", "(3, 1, 1, 1)", 24), "Python objects"),
        (npy("<m8[s]", "(3, 1, 1, 1)", 24), "must be integers, not timedelta"),
        (npy("|u1", "(3, 1, 1, 1)", 3, version=3), "damaged header (version 3.0)"),
        (npy("|u1", "(3, 1, 1, 1)", 4), "but the file has 4"),
        (npy("|u1", "(3, 1, 1, 1)")[:40], "damaged header"),
        (npy("|u1", "3"), "damaged header"),
        (b"\x93NUMPY", "not a NumPy array"),
    ],
)
def test_claims_of_arrays_are_checked_first(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", npy("|u1", "(3,)", 3))
    tracemalloc.start()
    for name in ("x.npy", "x.npz"):
        assert expected in refusal(tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23


def test_an_encrypted_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=X[:, None], y=Y)
    content = bytearray(path.read_bytes())
    for start in (content.find(b"PK\x03\x04") + 6, content.find(b"PK\x01\x02") + 8):
        content[start] |= 1
    path.write_bytes(content)
    assert "cannot be read" in refusal(path)


def test_an_archive_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=X[:, None], y=Y)
    content = path.read_bytes()
    for size in range(4, len(content), 7):
        path.write_bytes(content[:size])
        assert "cannot be read" in refusal(path)
