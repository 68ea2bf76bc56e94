# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The host link: protocol 2 between a UART and the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from rtl_gen.layouts import load_layout

from .buffer import FrameBuffer
from .deframer import QUIET_TICKS, Deframer
from .executor import Executor
from .loader import Loader, LoaderPort, Serialiser, SerialPort
from .protocol import identity_bytes, keeps_state
from .slots import PHASE
from .words import WordRegister


class HostLink(wiring.Component):
    """Carries out the requests of protocol 2 (docs/host-link.md) between byte streams and the core.

    A frame is carried out only when all of it is there and its CRC is right. Two may wait or be under way: while
    one is carried out or waits for the core, the next one comes in, and replies go out at the same time. No state waits
    for ever: a frame without an end, and a command that waits for the core or a memory, are given up after at most the
    time-out, with an error reply.

    Parameters
    ----------
    config: the core's.
    timeout: clocks, rounded up to a power of two.
    clock_hz: the core's clock, for the identity.
    image: program that the store holds after configuration.
    boot: build ``boot``.

    Members
    -------
    rx: In(stream of 8 bits), always taken. rx_error: In(1), pulse: a byte was lost or broken.
    tx: Out(stream of 8 bits); valid in one clock of sixteen until it is taken.
    load: Out(stream of ``space``, ``addr``, ``data``); valid may fall without a transfer only when a stalled load
        times out.
    start: Out(1), pulse; core_reset: Out(1), pulse. resume: Out(1), with ``start``, the flag of RUN; of cores with a
        state memory only.
    busy, done, argmax, clocks, result_data: In, as the core has them; result_addr: Out.
    result: Out(1), the last run has ended and nothing began since. failed: Out(1), the last command failed.
    program_valid: Out(1), the store holds a program whose CRC was right.
    boot: In(LoaderPort), fills the store at start instead of the link; booting: In(1), the loader is ``boot``'s, and
        the link waits. fault: In(1), that failed. With ``boot`` only.
    """

    def __init__(
        self,
        config: CoreConfig,
        *,
        timeout: int,
        clock_hz: float = 0,
        image: Sequence[int] = (),
        boot: bool = False,
    ) -> None:
        if timeout < 64:
            raise BoardError(f"timeout must be at least 64 clocks, not {timeout!r}")
        self._config = config
        self._timeout_log2 = ceil_log2(timeout)
        self._clock_hz = round(clock_hz)
        self._image = tuple(image)
        result_bits = max(1, ceil_log2(config.result_depth))
        members: dict[str, Any] = {
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
            "result": Out(1),
            "failed": Out(1),
            "program_valid": Out(1),
        }
        if keeps_state(config):
            members |= {"resume": Out(1), "drifted": In(1)}
        if boot:
            members |= {"boot": In(LoaderPort()), "booting": In(1), "fault": In(1)}
        self._boot = boot
        super().__init__(members)

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def resumes(self) -> bool:
        """Whether there is ``resume``."""
        return keeps_state(self._config)

    @property
    def timeout(self) -> int:
        """Clocks after which a frame or a command is given up."""
        return 1 << self._timeout_log2

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.deframer = deframer = Deframer()
        identity = identity_bytes(config, clock_hz=self._clock_hz, timeout_log2=self._timeout_log2)
        m.submodules.buffer = buffer = FrameBuffer(identity=identity)
        m.submodules.executor = executor = Executor(config)
        m.submodules.loader = loader = Loader(config, image=self._image)
        m.submodules.words = words = WordRegister(config, argmax_bits=len(self.argmax))

        # The time-out is counted in quarters: one long counter for both who wait, and for the slots.
        quarter = Signal(self._timeout_log2 - ceil_log2(QUIET_TICKS) + 1)
        phase, tick = quarter[: PHASE.width], quarter[-1]
        m.d.sync += quarter.eq(quarter[:-1] + 1)

        connect(m, flipped(self.rx), deframer.rx)
        connect(m, deframer.o, buffer.i)
        connect(m, executor.tx, flipped(self.tx))
        connect(m, loader.load, flipped(self.load))
        m.d.comb += [
            deframer.rx_error.eq(self.rx_error),
            deframer.tick.eq(tick),
            executor.phase.eq(phase),
            executor.tick.eq(tick),
            executor.valid.eq(buffer.valid),
            buffer.addr.eq(executor.addr),
            executor.byte.eq(buffer.byte),
            buffer.release.eq(executor.release),
            executor.target.eq(loader.addr),
            executor.program_valid.eq(loader.program_valid),
            executor.status.eq(words.status),
            executor.value_bit.eq(words.value_bit),
            loader.phase.eq(phase),
            loader.advance.eq(executor.advance),
            loader.word.eq(words.word),
            words.step.eq(loader.shift | executor.word_step),
            words.enters.eq(loader.shift),
            words.bit.eq(loader.port.bit),
            words.space.eq(loader.port.space),
            words.take_status.eq(executor.take_status),
            words.take_value.eq(executor.take_value),
            words.argmax.eq(self.argmax),
            words.clocks.eq(self.clocks),
            words.value.eq(self.result_data),
            self.program_valid.eq(loader.program_valid),
        ]
        for name in ("beyond", "outside", "partial", "turning", "matches"):
            m.d.comb += getattr(executor, name).eq(getattr(loader, name))
        for name in ("start", "core_reset", "result_addr", "result", "failed"):
            m.d.comb += getattr(self, name).eq(getattr(executor, name))
        if self.resumes:
            m.d.comb += [self.resume.eq(executor.resume), executor.drifted.eq(self.drifted)]
        for name in ("busy", "done"):
            m.d.comb += getattr(executor, name).eq(getattr(self, name))
        if not self._boot:
            connect(m, executor.port, loader.port)
            return m
        m.submodules.serialiser = serialiser = Serialiser()
        connect(m, flipped(self.boot), serialiser.i)
        m.d.comb += [
            serialiser.phase.eq(phase),
            serialiser.turning.eq(loader.turning),
            executor.valid.eq(buffer.valid & ~self.booting),
            executor.fault.eq(self.fault),
        ]
        for name in SerialPort().members:
            ours, theirs = getattr(executor.port, name), getattr(serialiser.o, name)
            m.d.comb += getattr(loader.port, name).eq(Mux(self.booting, theirs, ours))
        return m
