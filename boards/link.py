# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The host link: a byte protocol between a UART and the core.

Protocol 1. Numbers are little-endian. A word of ``n`` bits travels as ``ceil(n / 8)`` bytes.

========  ==================================================  ==============================================
command   bytes after it                                      reply
========  ==================================================  ==============================================
``I``     none                                                ``I``, ``SKSP``, protocol (1), config (13)
``L``     space (1), address (2, or 3), count (2), words      ``K`` after the last word
``R``     none                                                ``R``, argmax, clocks (4), every result
``X``     none                                                ``K``; resets the core (its memories stay)
any       on an error                                         ``E``, code (1)
========  ==================================================  ==============================================

- Config: store width (2), store address bits (1), spike width (2), spike address bits (1), result depth (2),
  membrane width (1), CRC-32 of the whole CoreConfig (4).
- Space 0 is the resting store, 1 the spike memory. The address has 3 bytes if either memory needs it.
- argmax has as many bytes as a result number needs; results are ``result_depth`` sign-extended membranes.
- The reply to ``R`` comes when the core is done; meanwhile ``I`` and ``X`` work, ``L`` and ``R`` get error 2.
- Errors: 1 unknown command, 2 core busy, 3 time-out inside a command, 4 line error inside a command, 5 no such space.
- After an error the link discards bytes until the line has been quiet for the time-out, then sends the ``E`` reply:
  host and link are in step again. No state waits for ever.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from rtl_gen.layouts import load_layout

PROTOCOL = 1
IDENTITY = b"SKSP"

ERROR_UNKNOWN = 1
ERROR_BUSY = 2
ERROR_TIMEOUT = 3
ERROR_LINE = 4
ERROR_SPACE = 5


def byte_count(bits: int) -> int:
    """Bytes that carry ``bits`` bits, at least 1."""
    return max(1, -(-bits // 8))


def address_bytes(config: CoreConfig) -> int:
    """Bytes of an address in ``L``."""
    return max(2, byte_count(max(config.store_addr_bits, config.spike_addr_bits)))


def argmax_bytes(config: CoreConfig) -> int:
    """Bytes of the argmax in the reply to ``R``."""
    return byte_count(ceil_log2(config.result_depth))


def config_digest(config: CoreConfig) -> int:
    """CRC-32 of every parameter of a core: host and board must mean the same one."""
    return zlib.crc32(json.dumps(asdict(config), sort_keys=True).encode())


def identity_bytes(config: CoreConfig) -> bytes:
    """Reply to ``I``, its tag included."""
    return (
        b"I"
        + IDENTITY
        + bytes([PROTOCOL])
        + config.store_width.to_bytes(2, "little")
        + bytes([config.store_addr_bits])
        + config.spike_width.to_bytes(2, "little")
        + bytes([config.spike_addr_bits])
        + config.result_depth.to_bytes(2, "little")
        + bytes([config.membrane_width])
        + config_digest(config).to_bytes(4, "little")
    )


class _Reply(enum.Enum, shape=2):
    """What the link is sending."""

    SHORT = 0  #: ``K``, or ``E`` and a code
    IDENTITY = 1
    HEAD = 2  #: ``R``, argmax and clocks
    RESULT = 3


class HostLink(wiring.Component):
    """Carries out the commands of protocol 1 (see this module) between byte streams and the core.

    Parameters
    ----------
    config: the core's.
    timeout: clocks without a byte after which a command is given up; rounded up to a power of two.

    Members
    -------
    rx: In(stream of 8 bits), always taken within a few clocks while the core takes words.
    rx_error: In(1), pulse of the receiver: a byte was lost or broken.
    tx: Out(stream of 8 bits).
    load: Out(stream of ``space``, ``addr``, ``data``); valid may fall without a transfer only when a stalled load
        times out.
    start: Out(1), pulse; core_reset: Out(1), pulse.
    busy, done, argmax, clocks, result_data: In, as the core has them; result_addr: Out.
    """

    def __init__(self, config: CoreConfig, *, timeout: int) -> None:
        if timeout < 16:
            raise BoardError(f"timeout must be at least 16 clocks, not {timeout!r}")
        self._config = config
        self._timeout = timeout
        result_bits = max(1, ceil_log2(config.result_depth))
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "rx_error": In(1),
                "tx": Out(stream.Signature(8)),
                "load": Out(stream.Signature(load_layout(config))),
                "start": Out(1),
                "core_reset": Out(1),
                "busy": In(1),
                "done": In(1),
                "result_addr": Out(result_bits),
                "result_data": In(signed(config.membrane_width)),
                "argmax": In(result_bits),
                "clocks": In(32),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def timeout(self) -> int:
        return self._timeout

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        store_bytes, spike_bytes = byte_count(config.store_width), byte_count(config.spike_width)
        header_bytes = 1 + address_bytes(config) + 2
        result_bytes = byte_count(config.membrane_width)
        identity = identity_bytes(config)

        # The header shifts in from the top: space, address, count.
        header = Signal(8 * header_bytes)
        space = header[0]
        addr = header[8 : 8 + 8 * address_bytes(config)]
        count = header[-16:]
        # A word shifts in from its top byte, which is another one for each space.
        word = Signal(8 * max(store_bytes, spike_bytes))
        left = Signal(range(max(header_bytes, len(word) // 8) + 1))
        result = Signal(range(config.result_depth))
        error = Signal(3)
        running = Signal()
        finished = Signal()

        # The time-out is a power of two: a counter that stops at its top bit is the cheapest.
        timer = Signal(ceil_log2(self._timeout) + 1)
        expired = timer[-1]
        with m.If(~expired):
            m.d.sync += timer.eq(timer + 1)
        with m.If((self.rx.valid & self.rx.ready) | (self.tx.valid & self.tx.ready)):
            m.d.sync += timer.eq(0)

        with m.If(self.done):
            m.d.sync += [running.eq(0), finished.eq(running)]

        m.d.comb += [
            self.load.p.space.eq(space),
            self.load.p.addr.eq(addr),
            self.load.p.data.eq(word),
            self.result_addr.eq(result),
        ]

        # A reply is one of these rows of bytes.
        padding = Const(0, 8 * argmax_bytes(config) - len(self.argmax))
        value = Signal(signed(8 * result_bytes))
        m.d.comb += value.eq(self.result_data)
        rows = {
            _Reply.SHORT: Cat(Mux(error.any(), Const(ord("E"), 8), Const(ord("K"), 8)), error, Const(0, 5)),
            _Reply.IDENTITY: Const(int.from_bytes(identity, "little"), 8 * len(identity)),
            _Reply.HEAD: Cat(Const(ord("R"), 8), self.argmax, padding, self.clocks),
            _Reply.RESULT: value,
        }
        lengths = {kind: len(row) // 8 for kind, row in rows.items()}
        reply = Signal(_Reply)
        index = Signal(range(max(lengths.values())))
        last = Signal()
        with m.Switch(reply):
            for kind, row in rows.items():
                with m.Case(kind):
                    m.d.comb += [
                        self.tx.payload.eq(row.as_unsigned().word_select(index[: ceil_log2(lengths[kind])], 8)),
                        last.eq(index == lengths[kind] - 1),
                    ]
                    if kind is _Reply.SHORT:
                        m.d.comb += last.eq(index[0] | (error == 0))

        def fail(code: int) -> None:
            m.d.sync += [error.eq(code), timer.eq(0)]
            m.next = "DRAIN"

        def send(kind: _Reply) -> None:
            m.d.sync += [reply.eq(kind), index.eq(0)]
            m.next = "REPLY"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [result.eq(0), error.eq(0)]
                with m.If(finished):
                    m.d.sync += finished.eq(0)
                    send(_Reply.HEAD)
                with m.Elif(self.rx.valid):
                    m.d.comb += self.rx.ready.eq(1)
                    with m.Switch(self.rx.payload):
                        with m.Case(ord("I")):
                            send(_Reply.IDENTITY)
                        with m.Case(ord("L")):
                            m.d.sync += left.eq(header_bytes)
                            m.next = "HEADER"
                            with m.If(self.busy | running):
                                fail(ERROR_BUSY)
                        with m.Case(ord("R")):
                            with m.If(self.busy | running):
                                fail(ERROR_BUSY)
                            with m.Else():
                                m.d.comb += self.start.eq(1)
                                m.d.sync += running.eq(1)
                        with m.Case(ord("X")):
                            m.d.comb += self.core_reset.eq(1)
                            m.d.sync += [running.eq(0), finished.eq(0)]
                            send(_Reply.SHORT)
                        with m.Default():
                            fail(ERROR_UNKNOWN)

            with m.State("HEADER"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(self.rx_error):
                    fail(ERROR_LINE)
                with m.Elif(self.rx.valid):
                    m.d.sync += [header.eq(Cat(header[8:], self.rx.payload)), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "NEXT"
                with m.Elif(expired):
                    fail(ERROR_TIMEOUT)

            with m.State("NEXT"):
                m.d.sync += left.eq(Mux(space, spike_bytes, store_bytes))
                m.next = "WORD"
                with m.If(count == 0):
                    send(_Reply.SHORT)
                with m.If(header[1:8].any()):
                    fail(ERROR_SPACE)

            with m.State("WORD"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(self.rx_error):
                    fail(ERROR_LINE)
                with m.Elif(self.rx.valid):
                    m.d.sync += [word.eq(Cat(word[8:], self.rx.payload)), left.eq(left - 1)]
                    for chosen, size in ((0, store_bytes), (1, spike_bytes)):
                        if 8 * size < len(word):
                            with m.If(space == chosen):
                                m.d.sync += word[8 * (size - 1) : 8 * size].eq(self.rx.payload)
                    with m.If(left == 1):
                        m.next = "STORE"
                with m.Elif(expired):
                    fail(ERROR_TIMEOUT)

            with m.State("STORE"):
                m.d.comb += self.load.valid.eq(1)
                with m.If(self.load.ready):
                    m.d.sync += [addr.eq(addr + 1), count.eq(count - 1)]
                    m.next = "NEXT"
                with m.Elif(expired):
                    fail(ERROR_TIMEOUT)

            with m.State("REPLY"):
                m.d.comb += self.tx.valid.eq(1)
                with m.If(self.tx.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(last):
                        m.next = "IDLE"
                        with m.If(reply == _Reply.HEAD):
                            send(_Reply.RESULT)
                        with m.If((reply == _Reply.RESULT) & (result != config.result_depth - 1)):
                            m.d.sync += [result.eq(result + 1), index.eq(0)]
                            m.next = "READ"

            with m.State("READ"):  # the clock in which the core reads the next result
                m.next = "REPLY"

            with m.State("DRAIN"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(expired & ~self.rx.valid):
                    send(_Reply.SHORT)
        return m
