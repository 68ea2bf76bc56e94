"""Loops over integers, compiled to machine code by numba, or plain Python where there is no numba.

numba and the code are loaded at the first call.  The code is kept in a cache beside the source, or in the user's own
cache directory, so that only the first process compiles; where neither can be written, each process does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Compiled:
    """A function of arrays and integers without Python objects; while compiled code runs, other threads do, too."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.plain = function
        self._machine: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._machine is None:
            self._machine = _machine_code(self.plain)
        return self._machine(*arguments)


def compiled(function: Callable[..., Any]) -> Compiled:
    """Decorator: machine code of ``function``, made when it is first called."""
    return Compiled(function)


def _machine_code(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        import numba
    except ImportError:
        return function
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no directory that a cache could be written to
        return numba.njit(nogil=True)(function)
