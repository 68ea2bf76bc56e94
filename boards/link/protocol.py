"""Host link, protocol 2: the numbers that gateware and driver share (docs/host-link.md describes the protocol)."""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict

from refmodel.config import CoreConfig

PROTOCOL = 2
IDENTITY = b"SKSP"

#: Framing as in RFC 1662: flags around a frame; inside, FLAG and ESCAPE travel as ESCAPE and the byte ^ INVERT.
FLAG, ESCAPE, INVERT = 0x7E, 0x7D, 0x20
#: Most bytes of a request between its flags, CRC included, before escaping.
FRAME_BYTES = 228
CRC_BYTES = 4
#: Version, command, session, sequence.
HEADER_BYTES = 4
#: The same, error, state, expected sequence.
REPLY_HEADER_BYTES = 7
#: Argmax (2) and clocks (4), the body of STATUS and the start of that of RESULTS.
STATUS_BYTES = 6
ADDRESS_BYTES = 3
#: Requests that may wait for their replies.
WINDOW = 2


class Command(enum.IntEnum):
    """What a request asks for. From WRITE on, session and sequence are checked and success takes a number."""

    HELLO = 1  #: identity
    STATUS = 2
    OPEN = 3  #: takes the device: its session and sequence become the device's
    WRITE = 4
    COMMIT = 5
    RUN = 6
    RESULTS = 7
    RESET = 8


class Error(enum.IntEnum):
    """What a reply says went wrong; the first four are about frames that could not be read."""

    NONE = 0
    CRC = 1
    LENGTH = 2
    LINE = 3
    TIMEOUT = 4
    VERSION = 5
    SESSION = 6
    SEQUENCE = 7
    COMMAND = 8
    BUSY = 9
    RANGE = 10
    PROGRAM = 11
    RESULT = 12


class State(enum.IntFlag):
    """The state byte of a reply."""

    BUSY = 1
    RESULT = 2  #: the last run has ended and its results are there
    PROGRAM = 4  #: the store holds a program whose CRC was right
    FAULT = 8  #: filling the store at start failed
    DRIFTED = 16  #: a kept membrane has left the inner half of its range (cores with a state memory)


#: Flag of RUN: membranes start where the last run left them (cores with a state memory).
RESUME = 1


def keeps_state(config: CoreConfig) -> bool:
    """Whether the core has a state memory, and so an input ``resume``."""
    return getattr(config, "state_depth", 0) > 0


def byte_count(bits: int) -> int:
    """Bytes that carry ``bits`` bits, at least 1."""
    return max(1, -(-bits // 8))


def word_bytes(config: CoreConfig, space: int) -> int:
    """Bytes of a word of ``space`` (0 resting store, 1 spike memory) on the link."""
    return byte_count(config.spike_width if space else config.store_width)


def value_bytes(config: CoreConfig) -> int:
    """Bytes of one result."""
    return byte_count(config.membrane_width)


def config_digest(config: CoreConfig) -> int:
    """CRC-32 of every parameter of a core: host and board must mean the same one."""
    return zlib.crc32(json.dumps(asdict(config), sort_keys=True).encode())


def image_bytes(config: CoreConfig, image: Iterable[int]) -> bytes:
    """A program image as it travels and rests: its words in order, each in whole bytes, little-endian."""
    size = word_bytes(config, 0)
    return b"".join(int(word).to_bytes(size, "little") for word in image)


def image_crc(config: CoreConfig, image: Iterable[int]) -> int:
    """CRC-32 of a program image, as COMMIT compares it."""
    return zlib.crc32(image_bytes(config, image))


def identity_bytes(config: CoreConfig, *, clock_hz: int, timeout_log2: int) -> bytes:
    """Body of the reply to HELLO."""
    return (
        IDENTITY
        + config.store_width.to_bytes(2, "little")
        + bytes([config.store_addr_bits])
        + config.spike_width.to_bytes(2, "little")
        + bytes([config.spike_addr_bits])
        + config.result_depth.to_bytes(2, "little")
        + bytes([config.membrane_width])
        + config_digest(config).to_bytes(4, "little")
        + clock_hz.to_bytes(4, "little")
        + bytes([timeout_log2])
    )


#: Bytes of the body of the reply to HELLO.
IDENTITY_BYTES = 22
