"""What long verbs say about themselves."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is being done and how far it is: 0 to 1, or None where nobody knows.
Progress = Callable[[str, float | None], None]


def silent(step: str, fraction: float | None) -> None:
    """Says nothing."""
    del step, fraction


def within(progress: Progress, prefix: str) -> Progress:
    """``progress`` for a part of a job: its steps begin with ``prefix``."""
    return lambda step, fraction: progress(f"{prefix}{step}", fraction)
