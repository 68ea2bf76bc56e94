"""The host's side of the link: encoders and decoders of protocol 1 (see ``boards.link``) and the driver."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from refmodel.config import CoreConfig
from refmodel.errors import BoardError

from . import link

#: Most words the driver puts into one ``L`` command.
MAX_BURST = 1024

_ERRORS = {
    link.ERROR_UNKNOWN: "the board does not know this command; build the bitstream with this version of Skipspike",
    link.ERROR_BUSY: "the core is busy; wait for its result or reset it",
    link.ERROR_TIMEOUT: "the board waited in vain for the rest of a command",
    link.ERROR_LINE: "the board received a broken byte; check cable and baud rate",
    link.ERROR_SPACE: "the board has no such memory space",
}


class Transport(Protocol):
    """What carries the bytes: a serial port, a simulated board, a pseudo-terminal."""

    def write(self, data: bytes, /) -> Any:
        """Sends all of ``data``."""
        ...

    def read(self, count: int, timeout: float, /) -> bytes:
        """Up to ``count`` bytes; fewer only if ``timeout`` seconds pass without the rest."""
        ...


class ProgramLike(Protocol):
    """The part of ``refmodel.program.Program`` the driver needs."""

    @property
    def config(self) -> CoreConfig: ...

    @property
    def image(self) -> Sequence[int]: ...

    @property
    def classes(self) -> int: ...

    def input_words(self, x: Any, /) -> tuple[Iterable[Any], Iterable[int]]: ...


@dataclass(frozen=True)
class Identity:
    """What a board says it is."""

    protocol: int
    store_width: int
    store_addr_bits: int
    spike_width: int
    spike_addr_bits: int
    result_depth: int
    membrane_width: int
    digest: int


@dataclass(frozen=True)
class Inference:
    """One result: every readout channel (counts or potentials), the winner, and the clocks it took."""

    values: tuple[int, ...]
    argmax: int
    clocks: int


def encode_load(config: CoreConfig, space: int, addr: int, words: Sequence[int]) -> bytes:
    """An ``L`` command: ``words`` to consecutive addresses of ``space`` (0 store, 1 spikes)."""
    if space not in (0, 1):
        raise BoardError(f"space must be 0 (store) or 1 (spikes), not {space!r}")
    depth, width = (config.store_depth, config.store_width) if space == 0 else (config.spike_depth, config.spike_width)
    if not 0 <= addr <= addr + len(words) <= depth:
        raise BoardError(f"{len(words)} words at address {addr} exceed the memory of {depth} words")
    if len(words) > 0xFFFF:
        raise BoardError(f"one load carries at most 65535 words, not {len(words)}")
    size = link.byte_count(width)
    parts = [b"L", bytes([space]), addr.to_bytes(link.address_bytes(config), "little")]
    parts.append(len(words).to_bytes(2, "little"))
    for index, word in enumerate(words):
        if not 0 <= word < 1 << width:
            raise BoardError(f"word {index} of the load must fit {width} bits, not {word!r}")
        parts.append(word.to_bytes(size, "little"))
    return b"".join(parts)


def encode_words(config: CoreConfig, space: int, words: Iterable[tuple[int, int]]) -> list[bytes]:
    """``L`` commands for (address, word) pairs; runs of consecutive addresses share a command."""
    commands: list[bytes] = []
    first, burst = 0, []
    for addr, word in words:
        if burst and (addr != first + len(burst) or len(burst) == MAX_BURST):
            commands.append(encode_load(config, space, first, burst))
            burst = []
        if not burst:
            first = addr
        burst.append(word)
    if burst:
        commands.append(encode_load(config, space, first, burst))
    return commands


def decode_identity(reply: bytes) -> Identity:
    """The bytes after the tag of a reply to ``I``."""
    known = len(link.IDENTITY)
    if len(reply) != identity_length() or reply[:known] != link.IDENTITY:
        raise BoardError(f"this is not a Skipspike core: it calls itself {reply[:known]!r}")
    if reply[known] != link.PROTOCOL:
        raise BoardError(f"the board speaks protocol {reply[known]}, this host {link.PROTOCOL}; rebuild the bitstream")

    def number(start: int, size: int) -> int:
        return int.from_bytes(reply[known + start : known + start + size], "little")

    return Identity(
        protocol=number(0, 1),
        store_width=number(1, 2),
        store_addr_bits=number(3, 1),
        spike_width=number(4, 2),
        spike_addr_bits=number(6, 1),
        result_depth=number(7, 2),
        membrane_width=number(9, 1),
        digest=number(10, 4),
    )


def identity_length() -> int:
    """Bytes of an identity after its tag."""
    return len(link.IDENTITY) + 14


def result_length(config: CoreConfig) -> int:
    """Bytes of a result after its tag."""
    return link.argmax_bytes(config) + 4 + config.result_depth * link.byte_count(config.membrane_width)


def decode_result(config: CoreConfig, reply: bytes) -> Inference:
    """The bytes after the tag of a reply to ``R``."""
    if len(reply) != result_length(config):
        raise BoardError(f"a result has {result_length(config)} bytes, not {len(reply)}")
    head = link.argmax_bytes(config)
    size = link.byte_count(config.membrane_width)
    values = tuple(
        int.from_bytes(reply[start : start + size], "little", signed=True)
        for start in range(head + 4, len(reply), size)
    )
    return Inference(
        values=values,
        argmax=int.from_bytes(reply[:head], "little"),
        clocks=int.from_bytes(reply[head : head + 4], "little"),
    )


class SerialTransport:
    """A serial port of the operating system, by pyserial."""

    def __init__(self, port: str, *, baud: int = 1_000_000) -> None:
        try:
            import serial
        except ImportError:
            raise BoardError("talking to a board needs pyserial: pip install pyserial") from None
        try:
            self._serial = serial.Serial(port, baud, timeout=0)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise BoardError(f"cannot open serial port {port}: {error}") from None
        self._serial.reset_input_buffer()

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
            self._serial.flush()
        except OSError as error:
            raise BoardError(f"the serial port failed: {error}; is the board still connected?") from None

    def read(self, count: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        got = b""
        try:
            while len(got) < count:
                self._serial.timeout = max(0.0, deadline - time.monotonic())
                some = self._serial.read(count - len(got))
                if not some:
                    break
                got += some
        except OSError as error:
            raise BoardError(f"the serial port failed: {error}; is the board still connected?") from None
        return got

    def close(self) -> None:
        self._serial.close()


class UartHost:
    """Drives one core over a transport; the same calls work on a board and on a simulated one.

    Parameters
    ----------
    transport: carries the bytes.
    config: the core's configuration.
    timeout: seconds to wait for the reply to a command; also the longest run of :meth:`infer`.
    """

    def __init__(self, transport: Transport, config: CoreConfig, *, timeout: float = 2.0) -> None:
        self._transport = transport
        self._config = config
        self._timeout = timeout
        self._program: ProgramLike | None = None

    @property
    def config(self) -> CoreConfig:
        return self._config

    def _read(self, count: int) -> bytes:
        got = self._transport.read(count, self._timeout)
        if len(got) < count:
            raise BoardError(
                f"the board sent {len(got)} of {count} bytes within {self._timeout:g} s; "
                "check power, cable, baud rate and that the bitstream is loaded"
            )
        return got

    def _command(self, command: bytes, tag: bytes, length: int) -> bytes:
        self._transport.write(command)
        got = self._read(1)
        if got == b"E":
            code = self._read(1)[0]
            raise BoardError(_ERRORS.get(code, f"the board reports error {code}, which this host does not know"))
        if got != tag:
            raise BoardError(f"the board answered {got!r} where {tag!r} was due; call reset() to get back in step")
        return self._read(length) if length else b""

    def identify(self) -> Identity:
        """Asks the board what it is; BoardError if its core is not the one of ``config``."""
        identity = decode_identity(self._command(b"I", b"I", identity_length()))
        if identity.digest != link.config_digest(self._config):
            raise BoardError("the board's core has another configuration; load the bitstream built for this one")
        return identity

    def reset(self) -> None:
        """Gets back in step and stops a run: discards what is under way and resets the core."""
        while self._transport.read(256, 0.25):
            pass
        try:
            self._command(b"X", b"K", 0)
        except BoardError:
            # The command may have ended a half-sent one: that brought an error, and the link back in step.
            while self._transport.read(256, 0.25):
                pass
            self._command(b"X", b"K", 0)

    def load_words(self, space: int, words: Iterable[tuple[int, int]]) -> None:
        """Writes (address, word) pairs to ``space`` (0 store, 1 spikes)."""
        for command in encode_words(self._config, space, words):
            self._command(command, b"K", 0)

    def load_program(self, program: ProgramLike) -> None:
        """Loads a program's image into the resting store."""
        if program.config != self._config:
            raise BoardError("the program was compiled for another core configuration; compile it for this one")
        self.load_words(0, enumerate(program.image))
        self._program = program

    def run(self) -> Inference:
        """Runs the loaded program on the loaded input."""
        return decode_result(self._config, self._command(b"R", b"R", result_length(self._config)))

    def infer(self, x: Any) -> Inference:
        """Loads input ``x`` (as the program's ``input_words`` takes it), runs, and keeps the program's classes."""
        if self._program is None:
            raise BoardError("no program is loaded: call load_program first")
        addresses, words = self._program.input_words(x)
        self.load_words(1, ((int(addr), word) for addr, word in zip(addresses, words, strict=True)))
        result = self.run()
        return replace(result, values=result.values[: self._program.classes])
