"""Frames of the host link, protocol 2, as bytes: made and read (docs/host-link.md)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from boards.link.protocol import (
    ADDRESS_BYTES,
    CRC_BYTES,
    ESCAPE,
    FLAG,
    FRAME_BYTES,
    HEADER_BYTES,
    IDENTITY,
    IDENTITY_BYTES,
    INVERT,
    PROTOCOL,
    REPLY_HEADER_BYTES,
    STATUS_BYTES,
    Command,
    State,
    image_crc,
    value_bytes,
    word_bytes,
)
from refmodel.config import CoreConfig
from refmodel.errors import BoardError

#: Most bytes of words in one WRITE.
WRITE_BYTES = FRAME_BYTES - CRC_BYTES - HEADER_BYTES - ADDRESS_BYTES - 1
#: Most numbers that one RESULTS may ask for: the last one is named by its low eight bits.
RESULTS_COUNT = 256


def frame(contents: bytes) -> bytes:
    """Flag, contents and CRC with escapes, flag."""
    whole = contents + zlib.crc32(contents).to_bytes(CRC_BYTES, "little")
    escaped = whole.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPE ^ INVERT]))
    escaped = escaped.replace(bytes([FLAG]), bytes([ESCAPE, FLAG ^ INVERT]))
    return bytes([FLAG]) + escaped + bytes([FLAG])


class Unframer:
    """Takes the contents of good frames out of a stream of bytes; others are counted in ``bad`` and dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self.bad = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Contents of the frames that ``data`` completes."""
        *frames, self._rest = (self._rest + data).split(bytes([FLAG]))
        good = []
        for one in frames:
            if not one:
                continue
            contents = _unescape(one)
            if len(contents) > CRC_BYTES and zlib.crc32(contents) == 0x2144DF1C:  # of bytes and their own CRC
                good.append(contents[:-CRC_BYTES])
            else:
                self.bad += 1
        return good


def _unescape(data: bytes) -> bytes:
    first, *parts = data.split(bytes([ESCAPE]))
    return first + b"".join(bytes([part[0] ^ INVERT]) + part[1:] for part in parts if part)


@dataclass(frozen=True)
class Request:
    """A command with its arguments; the driver adds session and sequence."""

    command: Command
    arguments: bytes = b""

    def contents(self, session: int, sequence: int) -> bytes:
        """What goes into a frame."""
        return bytes([PROTOCOL, self.command, session, sequence]) + self.arguments


@dataclass(frozen=True)
class Reply:
    """What a device answered; ``command`` is 0 if it could not read the frame."""

    command: int
    session: int
    sequence: int
    error: int
    state: State
    expected: int
    body: bytes


def read_reply(contents: bytes) -> Reply:
    """The reply in a good frame; BoardError if it is none of this protocol."""
    if contents[0] != PROTOCOL:
        raise BoardError(f"the board speaks protocol {contents[0]}, this host {PROTOCOL}; rebuild the bitstream")
    if len(contents) < REPLY_HEADER_BYTES:
        raise BoardError(f"the board sent a reply of {len(contents)} bytes, shorter than any; is it a Skipspike core?")
    _, command, session, sequence, error, state, expected = contents[:REPLY_HEADER_BYTES]
    return Reply(command, session, sequence, error, State(state & 31), expected, contents[REPLY_HEADER_BYTES:])


@dataclass(frozen=True)
class Identity:
    """What a board says it is; ``timeout`` in seconds, 0 if it does not know its clock."""

    store_width: int
    store_addr_bits: int
    spike_width: int
    spike_addr_bits: int
    result_depth: int
    membrane_width: int
    digest: int
    clock_hz: int
    timeout_log2: int

    @property
    def timeout(self) -> float:
        return (1 << self.timeout_log2) / self.clock_hz if self.clock_hz else 0.0


def read_identity(body: bytes) -> Identity:
    """The body of the reply to HELLO."""
    known = len(IDENTITY)
    if len(body) != IDENTITY_BYTES or body[:known] != IDENTITY:
        raise BoardError(f"this is not a Skipspike core: it calls itself {body[:known]!r}")
    numbers, at = [], known
    for size in (2, 1, 2, 1, 2, 1, 4, 4, 1):
        numbers.append(int.from_bytes(body[at : at + size], "little"))
        at += size
    return Identity(*numbers)


@dataclass(frozen=True)
class Status:
    """Body of STATUS: of the last run, meaningful when the state says RESULT."""

    argmax: int
    clocks: int


def read_status(body: bytes) -> Status:
    """The body of the reply to STATUS, or the start of that of RESULTS."""
    if len(body) < STATUS_BYTES:
        raise BoardError(f"the board sent {len(body)} bytes of status, not {STATUS_BYTES}")
    return Status(int.from_bytes(body[:2], "little"), int.from_bytes(body[2:6], "little"))


def read_values(config: CoreConfig, body: bytes, count: int) -> tuple[int, ...]:
    """The numbers in the reply to RESULTS."""
    size = value_bytes(config)
    if len(body) != STATUS_BYTES + count * size:
        raise BoardError(f"the board sent {len(body)} bytes for {count} results, not {STATUS_BYTES + count * size}")
    return tuple(
        int.from_bytes(body[at : at + size], "little", signed=True) for at in range(STATUS_BYTES, len(body), size)
    )


def write_request(config: CoreConfig, space: int, address: int, words: Sequence[int]) -> Request:
    """WRITE of ``words`` to consecutive addresses of ``space`` (0 resting store, 1 spike memory)."""
    if space not in (0, 1):
        raise BoardError(f"space must be 0 (store) or 1 (spikes), not {space!r}")
    depth, width = (config.spike_depth, config.spike_width) if space else (config.store_depth, config.store_width)
    if not 0 <= address <= address + len(words) <= depth:
        raise BoardError(f"{len(words)} words at address {address} exceed the memory of {depth} words")
    size = word_bytes(config, space)
    if len(words) * size > WRITE_BYTES:
        raise BoardError(f"one WRITE carries at most {WRITE_BYTES // size} words, not {len(words)}")
    parts = [address.to_bytes(ADDRESS_BYTES, "little"), bytes([space])]
    for index, word in enumerate(words):
        if not 0 <= word < 1 << width:
            raise BoardError(f"word {index} of the write must fit {width} bits, not {word!r}")
        parts.append(int(word).to_bytes(size, "little"))
    return Request(Command.WRITE, b"".join(parts))


def write_requests(config: CoreConfig, space: int, words: Iterable[tuple[int, int]]) -> Iterator[Request]:
    """WRITEs for (address, word) pairs; runs of consecutive addresses share frames."""
    most = WRITE_BYTES // word_bytes(config, space)
    first, burst = 0, []
    for address, word in words:
        if burst and (address != first + len(burst) or len(burst) == most):
            yield write_request(config, space, first, burst)
            burst = []
        if not burst:
            first = address
        burst.append(word)
    if burst:
        yield write_request(config, space, first, burst)


def commit_request(config: CoreConfig, image: Sequence[int]) -> Request:
    """COMMIT of a program image."""
    return Request(Command.COMMIT, image_crc(config, image).to_bytes(CRC_BYTES, "little"))


def results_request(first: int, count: int) -> Request:
    """RESULTS for ``count`` numbers from ``first`` on."""
    if not 1 <= count <= RESULTS_COUNT:
        raise BoardError(f"one RESULTS reads 1 to {RESULTS_COUNT} numbers, not {count}")
    last = (first + count - 1) & 0xFF
    return Request(Command.RESULTS, first.to_bytes(ADDRESS_BYTES, "little") + bytes([last]))
