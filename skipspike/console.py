"""The terminal: progress on stderr, results on stdout and nothing else there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

#: Seconds between two lines of progress of one step where stderr is no terminal.
_INTERVAL = 20.0


class ProgressLines:
    """Progress as lines on stderr: one at the start of a step, and one every 20 s with its share or its time."""

    def __init__(self) -> None:
        self._step = ""
        self._fraction: float | None = None
        self._began = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._remind, daemon=True).start()

    def __call__(self, step: str, fraction: float | None) -> None:
        self._fraction = fraction
        if step != self._step:
            self._step, self._began = step, time.monotonic()
            note(step)

    def _remind(self) -> None:
        while not self._ended.wait(_INTERVAL):
            seconds = time.monotonic() - self._began
            if self._step and seconds >= _INTERVAL / 2:
                share = "" if self._fraction is None else f", {self._fraction:.0%}"
                note(f"  {seconds:.0f} s{share}")

    def close(self) -> None:
        """Say no more."""
        self._ended.set()


class ProgressBar:
    """Progress as one bar on a terminal's stderr; it goes away at the end."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._step = ""
        self._task = self._bar.add_task("", total=None)

    def __call__(self, step: str, fraction: float | None) -> None:
        if step != self._step:
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(step, total=None)
            self._step = step
        if fraction is not None:
            self._bar.update(self._task, total=1.0, completed=fraction)

    def close(self) -> None:
        """Take the bar down."""
        self._bar.stop()


@contextlib.contextmanager
def working() -> Iterator[ProgressLines | ProgressBar]:
    """Progress to use while a verb works; whatever is printed meanwhile, by tools too, goes to stderr."""
    with _stdout_to_stderr():
        shown = ProgressBar() if sys.stderr.isatty() else ProgressLines()
        try:
            yield shown
        finally:
            shown.close()


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    saved = None
    sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError, AttributeError):  # under a test's stand-in there is no descriptor
        if sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2:
            saved = os.dup(1)
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def print_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    sys.stdout.flush()


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; columns whose name begins with ">" are right-aligned."""
    made = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return made


def show(*parts: Any) -> None:
    """Tables and lines on stdout; as wide as they need where it is no terminal."""
    if sys.stdout.isatty():
        console = Console(file=sys.stdout, highlight=False, markup=False)
        for part in parts:
            console.print(part)
        return
    console = Console(file=io.StringIO(), highlight=False, markup=False, width=400)
    with console.capture() as text:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)
