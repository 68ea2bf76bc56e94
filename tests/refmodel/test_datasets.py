"""load_data: the bundled digits, and one clear DataError for everything a file can have wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refmodel.datasets import load_data
from refmodel.errors import DataError

X = np.zeros((3, 1, 2, 2), np.uint8)
Y = np.arange(3, dtype=np.uint8)


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_digits() -> None:
    x, y = load_data("digits")
    assert x.shape == (360, 1, 8, 8) and x.dtype == np.uint8
    assert x.min() == 0 and x.max() == 16
    assert y.shape == (360,) and np.bincount(y).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]


def test_digits_carry_source_and_licence() -> None:
    path = Path(__file__).parents[2] / "refmodel" / "data" / "digits_test.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert "UCI" in str(stored["source"]) and "CC BY 4.0" in str(stored["licence"])


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 6, 2, 4, 5)])
def test_own_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    got_x, got_y = load_data(write(tmp_path / "own.npz", x=x, y=Y))
    assert np.array_equal(got_x, x) and np.array_equal(got_y, Y) and got_y.dtype == np.int64


def message(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        load_data(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X}, "no array 'y'"),
        ({"y": Y}, "no array 'x'"),
        ({"x": X[0], "y": Y}, "3-dimensional"),
        ({"x": X, "y": np.eye(3, dtype=int)}, "one-hot"),
        ({"x": X.astype(float), "y": Y}, "'x' must be integers, not float64"),
        ({"x": X, "y": Y.astype(np.float32)}, "'y' must be integers, not float32"),
        ({"x": X, "y": Y.astype(str)}, "'y' must be integers"),
        ({"x": X > 0, "y": Y}, "'x' must be integers, not bool"),
        ({"x": X, "y": Y[:2]}, "3 inputs but y has 2 labels"),
        ({"x": X[:0], "y": Y[:0]}, "empty"),
        ({"x": X.astype(int) - 1, "y": Y}, "must not be negative"),
        ({"x": X.astype(object), "y": Y}, "Python objects"),
        ({"x": X, "y": np.array([{}, 1, 2])}, "Python objects"),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    assert expected in message(write(tmp_path / "bad.npz", **arrays))


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "no such file; use 'digits'" in message(tmp_path / "none.npz")
    assert "no such file" in message(tmp_path)
    assert "no such file" in message("digit")


def test_not_an_npz(tmp_path: Path) -> None:
    for name, content in (("text.npz", b"hello"), ("empty.npz", b""), ("pickle.npz", b"\x80\x04N.")):
        (tmp_path / name).write_bytes(content)
        assert "not an .npz file" in message(tmp_path / name)


def test_damaged_member(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write(tmp_path / "hurt.npz", x=rng.integers(0, 255, (3, 1, 20, 20), dtype=np.uint8), y=Y)
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in message(path)


def test_member_that_is_no_array(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"text")
        archive.writestr("y", b"text")
    assert "not a NumPy array" in message(path)
