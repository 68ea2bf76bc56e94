"""What carries the bytes between host and device."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Protocol

from refmodel.errors import BoardError

#: Seconds after which a waiting read looks whether the port was closed.
_SLICE = 0.1


class Transport(Protocol):
    """A serial port, a simulated board, a pseudo-terminal."""

    def write(self, data: bytes, /) -> Any:
        """Sends all of ``data``. BoardError if the line is gone."""
        ...

    def read(self, timeout: float, /) -> bytes:
        """Bytes that have come, at least one; none only after ``timeout`` seconds without any. BoardError if gone."""
        ...

    def close(self) -> None:
        """Ends it; may come from another thread, whose write or read then raises BoardError."""
        ...


class SerialTransport:
    """A serial port of the operating system, by pyserial; nobody else can open it meanwhile."""

    def __init__(self, port: str, *, baud: int = 1_000_000) -> None:
        try:
            import serial
        except ImportError:
            raise BoardError("talking to a board needs pyserial: pip install pyserial") from None
        self._port = port
        self._closed = False
        # Of a line that is gone: SerialException is an OSError, termios.error is none; a closed port's number is None.
        self._errors: tuple[type[Exception], ...] = (OSError, TypeError, ValueError)
        try:
            import termios

            self._errors += (termios.error,)
        except ImportError:  # not on Windows
            pass
        try:
            self._serial = serial.Serial(port, baud, timeout=_SLICE, write_timeout=10, exclusive=True)
            self._serial.reset_input_buffer()
        except self._errors as error:
            raise BoardError(f"cannot open serial port {port}: {error}") from None
        try:
            self._serial.set_low_latency_mode(True)  # a USB chip may keep a short reply for 16 ms
        except (*self._errors, AttributeError, NotImplementedError):
            pass  # not every port and system has it

    def _gone(self, error: Exception) -> BoardError:
        if self._closed:
            return BoardError(f"serial port {self._port} was closed")
        return BoardError(f"serial port {self._port} failed: {error}; is the board still connected?")

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except self._errors as error:
            raise self._gone(error) from None

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            if self._closed:
                raise BoardError(f"serial port {self._port} was closed")
            try:
                got = self._serial.read(1)
                if got:
                    return got + self._serial.read(self._serial.in_waiting)
            except self._errors as error:
                raise self._gone(error) from None
            if time.monotonic() > deadline:
                return b""

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(*self._errors):  # it may be gone already
            self._serial.close()
