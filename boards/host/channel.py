"""Frames to and from a device: over a transport, recorded to a file, or answered from a recording."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from refmodel.errors import BoardError

from .frames import Unframer, frame
from .transport import Transport

#: First line of a recording.
FORMAT = "skipspike link recording 1"
#: Bytes without a good frame among them after which nobody waits for one any longer.
_RUBBISH = 1 << 14


class Channel(Protocol):
    """What the driver talks to: contents of frames."""

    def send(self, contents: bytes, /) -> None:
        """Sends one frame."""
        ...

    def receive(self, timeout: float, /) -> bytes | None:
        """Contents of the next good frame, None after ``timeout`` seconds of silence."""
        ...

    def close(self) -> None: ...


class FrameChannel:
    """Frames over a transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._unframer = Unframer()
        self._waiting: list[bytes] = []

    def send(self, contents: bytes) -> None:
        self._transport.write(frame(contents))

    def receive(self, timeout: float) -> bytes | None:
        rubbish = 0  # bytes without a good frame
        while not self._waiting:
            got = self._transport.read(timeout)
            rubbish += len(got)
            if not got or rubbish > _RUBBISH:
                return None
            self._waiting = self._unframer.feed(got)
        return self._waiting.pop(0)

    def close(self) -> None:
        self._transport.close()


class Recorder:
    """Passes frames on and writes each with its time: one JSON array a line, ``[seconds, "out" or "in", hex]``.

    The file appears under its name when it is closed; a time-out is ``[seconds, "none", ""]``.
    """

    def __init__(self, channel: Channel, path: str | Path, header: Mapping[str, Any]) -> None:
        self._channel = channel
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".part")
        try:
            self._file = self._partial.open("w")
        except OSError as error:
            raise BoardError(f"cannot record to {self._path}: {error.strerror}") from None
        self._start = time.monotonic()
        self._file.write(json.dumps({"format": FORMAT, **header}, sort_keys=True) + "\n")

    def _note(self, kind: str, contents: bytes) -> None:
        if not self._file.closed:
            self._file.write(json.dumps([round(time.monotonic() - self._start, 6), kind, contents.hex()]) + "\n")

    def send(self, contents: bytes) -> None:
        self._note("out", contents)
        self._channel.send(contents)

    def receive(self, timeout: float) -> bytes | None:
        got = self._channel.receive(timeout)
        self._note("none" if got is None else "in", got or b"")
        return got

    def close(self) -> None:
        self._channel.close()
        if not self._file.closed:
            self._file.close()
            os.replace(self._partial, self._path)


class Replay:
    """Answers from a recording; BoardError as soon as the host sends something else than what was recorded."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            lines = self._path.read_text().splitlines()
            self.header: dict[str, Any] = json.loads(lines[0])
            if self.header["format"] != FORMAT:
                raise ValueError
            self._events = [(str(kind), bytes.fromhex(text)) for _, kind, text in map(json.loads, lines[1:])]
        except OSError as error:
            raise BoardError(f"cannot read recording {self._path}: {error.strerror}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise BoardError(f"{self._path} is not a recording of the host link") from None
        self._next = 0

    def _take(self, wanted: str) -> tuple[str, bytes]:
        if self._next == len(self._events):
            raise BoardError(f"recording {self._path} ends after {self._next} frames; more was {wanted} now")
        event = self._events[self._next]
        self._next += 1
        return event

    def send(self, contents: bytes) -> None:
        kind, recorded = self._take("sent")
        if (kind, recorded) != ("out", contents):
            was = f"sent {recorded[:24].hex()}" if kind == "out" else "waited for a reply"
            raise BoardError(
                f"recording {self._path} differs at frame {self._next}: the host then {was}, now it sends "
                f"{contents[:24].hex()}; replay with the same program, data and calls"
            )

    def receive(self, timeout: float) -> bytes | None:
        kind, recorded = self._take("awaited")
        if kind == "out":
            raise BoardError(
                f"recording {self._path} differs at frame {self._next}: the host then sent {recorded[:24].hex()}, "
                "now it waits for a reply"
            )
        return None if kind == "none" else recorded

    def close(self) -> None:
        pass
