"""Program image: the words of a resting store, kept as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class StoreImage(Sequence[int]):
    """Words of ``width`` bits (a multiple of 8), read as integers; a slice of one is another.

    ``rows``: ``[words, width / 8]``, each word little-endian.  Millions of words take their bytes and no more.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        if rows.ndim != 2 or rows.dtype != np.uint8:
            raise ValueError(f"rows must be bytes [words, bytes of a word], not {rows.dtype} {rows.shape}")
        self._rows = rows

    @property
    def rows(self) -> NDArray[np.uint8]:
        return self._rows

    @property
    def width(self) -> int:
        return 8 * self._rows.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> StoreImage: ...
    def __getitem__(self, index: int | slice) -> int | StoreImage:
        if isinstance(index, slice):
            return StoreImage(self._rows[index])
        return int.from_bytes(self._rows[index].tobytes(), "little")

    def __iter__(self) -> Iterator[int]:
        size, raw = self._rows.shape[1], self.to_bytes()
        return (int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StoreImage):
            return np.array_equal(self._rows, other._rows)
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"StoreImage({len(self)} words of {self.width} bits)"

    def to_bytes(self) -> bytes:
        """The words one after the other, each little-endian."""
        return self._rows.tobytes()

    def to_hex(self) -> bytes:
        """A line of hexadecimal digits a word, for $readmemh."""
        digits = 2 * self._rows.shape[1]
        lines = np.full((len(self), digits + 1), ord("\n"), np.uint8)
        text = self._rows[:, ::-1].tobytes().hex().encode()
        lines[:, :digits] = np.frombuffer(text, np.uint8).reshape(-1, digits)
        return lines.tobytes()


def word_rows(words: Iterable[int], width: int) -> NDArray[np.uint8]:
    """Integers as bytes ``[words, width / 8]``; OverflowError for one of more than ``width`` bits."""
    size = width // 8
    return np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8).reshape(-1, size)


def lane_rows(values: NDArray[np.integer], bits: int, width: int) -> NDArray[np.uint8]:
    """Rows of lanes ``[words, lanes]``, lane 0 lowest, of ``bits`` (up to 8) bits each, as bytes of words.

    A value's low bits are taken: signed ones become two's complement.
    """
    low = values.astype(np.uint8)  # modulo 256
    if bits < 8:
        each = np.unpackbits(low[:, :, None], axis=2, count=bits, bitorder="little")
        low = np.packbits(each.reshape(len(low), -1), axis=1, bitorder="little")
    rows = np.zeros((len(low), width // 8), np.uint8)
    rows[:, : low.shape[1]] = low
    return rows
