"""Event frames for streaming: frames of a file, an array or a generator, gathered into the calls of a network."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .datasets import load_data
from .datasets.npy import MAGIC, read_frames
from .errors import DataError
from .preparation import prepare, raw_shape
from .quantized import QuantizedNetwork, bits_range

Array = NDArray[np.integer[Any]]
#: A file or data set by name, an array ``[..., C, H, W]``, or anything that yields frames or blocks of such a shape.
Frames = str | Path | Array | Iterable[Array]
#: What becomes of frames at the end that are too few for a call: an error, frames of zeros behind them, or nothing.
Rest = Literal["refuse", "pad", "drop"]
RESTS: tuple[Rest, ...] = ("refuse", "pad", "drop")


@dataclass(frozen=True, eq=False)
class Call:
    """The input of one call.

    x: prepared, ``[T, C, H, W]``, of a network with a static input ``[C, H, W]``.  first: number of its first frame.
    frames: how many of its frames are the source's; the others are padding.
    """

    x: Array
    first: int
    frames: int


def frames_of(source: Frames) -> Iterator[Array]:
    """Frames ``[C, H, W]``, raw, one after the other.

    An .npy file, or the array ``x`` of an .npz file, is read frame by frame and may be larger than memory.  A
    generator is asked for a frame when it is needed.  Leading axes, such as [N, T, C, H, W], follow each other.
    Raises DataError for what holds no frames.
    """
    if isinstance(source, str | Path):
        yield from _file_frames(source)
        return
    blocks = [source] if isinstance(source, np.ndarray) else source
    for block in blocks:
        found = np.asarray(block)
        if found.ndim < 3 or found.dtype.kind not in "iub":
            raise DataError(f"frames must be integers [C, H, W] or [F, C, H, W], not {found.dtype}{found.shape}")
        yield from found.reshape(-1, *found.shape[-3:])


def calls_of(net: QuantizedNetwork, source: Frames, rest: Rest = "refuse") -> Iterator[Call]:
    """The calls that the frames of ``source`` make: T frames each; one each where the network's input is static.

    Raises DataError for frames that the network does not take, and with ``rest="refuse"`` at the end for frames that
    are too few for a call; every whole call has come before.
    """
    if rest not in RESTS:
        raise DataError(f"rest must be one of {', '.join(RESTS)}, not {rest!r}")
    size = 1 if net.input.static else net.steps
    waiting: list[Array] = []
    number = 0
    for number, frame in enumerate(frames_of(source), 1):
        waiting.append(frame)
        if len(waiting) == size:
            yield _call(net, waiting, number - size, size)
            waiting = []
    if not number:
        raise DataError("the source of frames has none")
    if not waiting or rest == "drop":
        return
    if rest == "refuse":
        raise DataError(
            f"{number} frames are no whole number of calls of {size} steps, {len(waiting)} are left; "
            "use rest='pad' (zeros behind them) or rest='drop'"
        )
    kept = len(waiting)
    yield _call(net, waiting + [np.zeros_like(waiting[0])] * (size - kept), number - kept, kept)


def _call(net: QuantizedNetwork, frames: list[Array], first: int, count: int) -> Call:
    if any(frame.shape != frames[0].shape for frame in frames):
        raise DataError(f"frames {first} to {first + count - 1} differ in shape; all must have {raw_shape(net.input)}")
    x = frames[0] if net.input.static else np.stack(frames)
    try:
        x = prepare(net.input, x[None], net.steps)[0]
    except DataError as error:
        raise DataError(f"frame {first} for network {net.name!r}: {error}") from None
    low, high = bits_range(net.input.bits, net.input.signed)
    if int(x.min()) < low or int(x.max()) > high:
        raise DataError(
            f"frame {first}: values of {int(x.min())} to {int(x.max())}, but network {net.name!r} takes {low} to "
            f"{high} ({net.input.bits} bits); scale the frames"
        )
    return Call(x, first, count)


def _file_frames(source: str | Path) -> Iterator[Array]:
    path, where = Path(source), f"frames {str(source)!r}"
    try:
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(MAGIC))
            if start == MAGIC or zipfile.is_zipfile(path):
                yield from read_frames(path, where)
                return
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: {error}") from None
    x, _ = load_data(source)
    yield from x.reshape(-1, *x.shape[-3:])
