"""Parameters by name: each must be there, finite and of the expected shape, and in the end all must have been used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImportRefused
from ..layers import FloatArray
from .families import Norm

#: A batch norm's parameters without its counter; all of one channel each.
_STATISTICS = ("running_mean", "running_var")
_COUNTER = "num_batches_tracked"
#: How many names a message lists.
_LISTED = 4


class Parameters:
    """Hands out the arrays of a state_dict as float64.  Everything raises ImportRefused by name."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._used: set[str] = set()
        self._counters: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __len__(self) -> int:
        return len(self._arrays)

    def any_below(self, path: str) -> bool:
        """Whether a parameter's name begins with ``path`` and a dot."""
        return any(name.startswith(f"{path}.") for name in self._arrays)

    def find(self, paths: str, parameter: str, prefix: str = "") -> str:
        """The first of the alternatives ``paths`` (a|b) that has ``parameter``; the first of all if none has."""
        options = [prefix + path for path in paths.split("|")]
        return next((path for path in options if f"{path}.{parameter}" in self._arrays), options[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a parameter that must be there."""
        return self._get(name, "").shape

    def take(self, name: str, expected: tuple[int | None, ...], what: str) -> FloatArray:
        """A parameter of the shape ``expected``, whose None are free."""
        text = f"[{', '.join('?' if size is None else str(size) for size in expected)}]"
        array = self._get(name, f"; expected {text}, {what}")
        fits = array.ndim == len(expected) and all(
            size is None or size == found for size, found in zip(expected, array.shape, strict=True)
        )
        if not fits:
            hint = ""
            if len(expected) == 4 and array.ndim == 4 and expected[1] and array.shape[1] < expected[1]:
                hint = "; grouped convolutions are not supported"
            raise ImportRefused(f"parameter {name!r} must have shape {text} ({what}), not {list(array.shape)}{hint}")
        if array.dtype.kind != "f":
            raise ImportRefused(f"parameter {name!r} must be floating point ({what}), not {array.dtype}")
        values = array.astype(np.float64)
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ImportRefused(
                f"parameter {name!r} has {count} NaN or infinite values; take a checkpoint of a stable training"
            )
        self._used.add(name)
        return values

    def scalar(self, name: str, what: str) -> float:
        """A parameter of one number, of shape [] or [1]."""
        found = self._get(name, f"; expected one number, {what}").shape
        return float(self.take(name, (1,) if found == (1,) else (), what).reshape(()))

    def scale_and_shift(
        self, path: str, norm: Norm, channels: int, affine: bool = True
    ) -> tuple[FloatArray, FloatArray]:
        """Batch norm as y = scale * x + shift, both [channels]."""
        mean, var = (self.take(f"{path}.{name}", (channels,), "a batch norm's statistics") for name in _STATISTICS)
        if f"{path}.{_COUNTER}" in self._arrays:
            self._counters.add(f"{path}.{_COUNTER}")
        gamma, beta = np.ones(channels), np.zeros(channels)
        if affine:
            gamma = self.take(f"{path}.weight", (channels,), "a batch norm's scale")
            beta = self.take(f"{path}.bias", (channels,), "a batch norm's shift")
        if (var < 0).any():
            raise ImportRefused(f"parameter '{path}.running_var' is negative in channel {int(np.argmax(var < 0))}")
        deviation = np.sqrt(var) + norm.epsilon if norm.outside_root else np.sqrt(var + norm.epsilon)
        if (deviation <= 0).any():
            raise ImportRefused(
                f"parameter '{path}.running_var' is 0 in channel {int(np.argmax(deviation <= 0))} and epsilon is 0"
            )
        scale = gamma * norm.scale / deviation
        return scale, beta - mean * scale

    def finish(self, family: str) -> str | None:
        """Refuse parameters that nothing used; returns a sentence on the counters that were ignored."""
        left = [name for name in self._arrays if name not in self._used and name not in self._counters]
        if left:
            more = f" and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
            listed = ", ".join(map(repr, left[:_LISTED]))
            raise ImportRefused(
                f"unexpected parameters, unknown to family {family!r}: {listed}{more}; give the right --family, "
                "or describe your own"
            )
        if not self._counters:
            return None
        return f"{len(self._counters)} counters {_COUNTER!r} of batch norms play no part in inference and were ignored."

    def _get(self, name: str, detail: str) -> NDArray[Any]:
        if name not in self._arrays:
            raise ImportRefused(f"missing parameter {name!r}{detail}; is the family right?")
        return self._arrays[name]
