"""Frames of files, arrays and generators, gathered into calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from refmodel.errors import DataError
from refmodel.event_frames import calls_of, frames_of
from tests.refmodel.test_state_plan import one_layer

FRAMES = np.random.default_rng(0).integers(0, 2, (10, 2, 1, 1)).astype(np.uint8)
NET = one_layer((50, -70), 60)


def test_a_file_an_array_and_a_generator_give_the_same_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.savez(tmp_path / "b.npz", x=FRAMES.reshape(2, 5, 2, 1, 1), y=np.zeros(2, int))
    np.savez_compressed(tmp_path / "c.npz", x=FRAMES.astype(">i4"))
    sources = [tmp_path / "a.npy", str(tmp_path / "b.npz"), tmp_path / "c.npz", FRAMES, iter(FRAMES)]
    sources += [iter([FRAMES[:3], FRAMES[3], FRAMES[4:]])]
    for source in sources:
        found = list(frames_of(source))
        assert all(frame.shape == (2, 1, 1) for frame in found) and np.array_equal(found, FRAMES)


def test_calls_take_steps_frames_each() -> None:
    with pytest.raises(DataError, match="10 frames are no whole number of calls of 4 steps, 2 are left"):
        list(calls_of(NET, FRAMES))
    dropped, padded = list(calls_of(NET, FRAMES, "drop")), list(calls_of(NET, FRAMES, "pad"))
    assert [(call.first, call.frames) for call in padded] == [(0, 4), (4, 4), (8, 2)] and len(dropped) == 2
    assert np.array_equal(np.concatenate([call.x for call in padded])[:10], FRAMES) and not padded[2].x[2:].any()
    static = dataclasses.replace(NET, input=dataclasses.replace(NET.input, static=True))
    assert [call.x.shape for call in calls_of(static, FRAMES)] == [(2, 1, 1)] * 10


def test_a_generator_is_asked_only_for_what_is_needed() -> None:
    asked = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            asked.append(1)
            yield FRAMES[0]

    calls = calls_of(NET, endless())
    assert [next(calls).first, next(calls).first] == [0, 4]
    assert len(asked) == 8


def test_a_file_is_not_read_at_once(tmp_path: Path) -> None:
    """A file of 16 GiB, of which only the first frames are there to be read."""
    path = tmp_path / "sparse.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 33, 2, 1, 1)}
        )
        file.truncate(file.tell() + (2 << 33))
    calls = calls_of(NET, path)
    assert next(calls).x.shape == next(calls).x.shape == (4, 2, 1, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FRAMES[:0], "has none"),
        (FRAMES[:, 0, 0], r"must be integers \[C, H, W\] or \[F, C, H, W\], not uint8\(10, 1\)"),
        (FRAMES * 0.5, "not float64"),
        (FRAMES * 2, "values of 0 to 2, but network 'one' takes 0 to 1"),
        (FRAMES[:, :1], r"frame 0 for network 'one': samples have the shape \(4, 1, 1, 1\)"),
        (iter([FRAMES[0], FRAMES[0, :1]] * 2), "frames 0 to 3 differ in shape"),
        ("nowhere.npy", "nowhere.npy"),
    ],
)
def test_refusals(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(calls_of(NET, source))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="rest must be one of refuse, pad, drop"):
        list(calls_of(NET, FRAMES, "some"))  # pyright: ignore[reportArgumentType]


def test_bad_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", z=FRAMES)
    np.save(tmp_path / "column.npy", np.asfortranarray(FRAMES.reshape(5, 2, 2, 1)))
    np.save(tmp_path / "flat.npy", FRAMES.reshape(-1))
    np.save(tmp_path / "cut.npy", FRAMES)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    cases = {
        "other.npz": "no array 'x'",
        "column.npy": "in Fortran's order",
        "flat.npy": "of shape 20",
        "cut.npy": "claims",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message):
            list(frames_of(tmp_path / name))
