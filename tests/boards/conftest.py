# amaranth: UnusedElaboratable=no
"""A stand-in for the core, and a simulated board that the host's driver talks to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from amaranth import ClockDomain, Elaboratable, Module, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect
from amaranth.sim import Simulator
from amaranth.utils import ceil_log2

from boards.host import FrameChannel, LinkDriver
from boards.link import HostLink
from boards.top import connect_core
from boards.uart import UartRx, UartTx
from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from rtl_gen.layouts import load_layout

PERIOD = 1e-6


class StubCore(wiring.Component):
    """Result i = word i of the spike memory + word i of the store, cut to the membrane; argmax = 1; runs a while.

    A run takes ``run_clocks`` clocks (or as many as there are results), or for ever if store word 0 is all ones.
    """

    def __init__(self, *, config: CoreConfig, store_init: Any = (), run_clocks: int = 40) -> None:
        self._config = config
        self._store_init = store_init
        self._run_clocks = max(run_clocks, config.result_depth + 4)
        bits = max(1, ceil_log2(config.result_depth))
        super().__init__(
            {
                "load": In(stream.Signature(load_layout(config))),
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "result_addr": In(bits),
                "result_data": Out(signed(config.membrane_width)),
                "argmax": Out(bits),
                "clocks": Out(32),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.store = store = Memory(shape=config.store_width, depth=config.store_depth, init=self._store_init)
        m.submodules.spikes = spikes = Memory(shape=config.spike_width, depth=config.spike_depth, init=[])
        write, read = spikes.write_port(), spikes.read_port()
        store_write, store_read = store.write_port(), store.read_port()
        m.submodules.results = results = Memory(
            shape=signed(config.membrane_width), depth=max(2, config.result_depth), init=[]
        )
        result_write, result_read = results.write_port(), results.read_port()
        load = self.load.payload
        index, behind = Signal(range(self._run_clocks)), Signal(range(self._run_clocks))  # of a word that is read
        reading = Signal()
        m.d.sync += [behind.eq(index), reading.eq(self.busy)]
        m.d.comb += [
            self.load.ready.eq(~self.busy),
            store_write.en.eq(self.load.valid & self.load.ready & ~load.space),
            store_write.addr.eq(load.addr),
            store_write.data.eq(load.data),
            write.en.eq(self.load.valid & self.load.ready & load.space),
            write.addr.eq(load.addr),
            write.data.eq(load.data),
            index.eq(self.clocks),
            store_read.en.eq(1),
            store_read.addr.eq(index),
            read.en.eq(1),
            read.addr.eq(index),
            result_write.en.eq(reading & (behind < config.result_depth)),
            result_write.addr.eq(behind),
            result_write.data.eq(store_read.data + read.data),
            result_read.en.eq(1),
            result_read.addr.eq(self.result_addr),
            self.result_data.eq(result_read.data),
            self.argmax.eq(1),
        ]
        stuck = Signal()
        with m.If(store_write.en & (load.addr == 0)):
            m.d.sync += stuck.eq(load.data[: config.store_width].all())
        m.d.sync += self.done.eq(0)
        with m.If(self.busy):
            m.d.sync += self.clocks.eq(self.clocks + 1)
            with m.If((self.clocks >= self._run_clocks) & ~stuck):
                m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        with m.Elif(self.start):
            m.d.sync += [self.busy.eq(1), self.clocks.eq(0)]
        return m


class LinkBench(Elaboratable):
    """Link and stub core, with byte streams (``divisor`` None) or UARTs outside."""

    def __init__(
        self, config: CoreConfig, *, timeout: int, divisor: int | None = None, core: Any = None, image: Any = ()
    ) -> None:
        self.link = HostLink(config, timeout=timeout, image=image)
        self.core = core or StubCore(config=config)
        self.divisor = divisor
        self.rx = stream.Signature(8).create()
        self.tx = stream.Signature(8).create()
        self.rx_error = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.link = link = self.link
        m.submodules.core = ResetInserter(link.core_reset)(self.core)
        connect_core(m, link, self.core)
        if self.divisor is None:
            connect(m, self.rx, link.rx)
            connect(m, link.tx, wiring.flipped(self.tx))
            m.d.comb += link.rx_error.eq(self.rx_error)
            return m
        m.submodules.near_tx = near_tx = UartTx(divisor=self.divisor)
        m.submodules.near_rx = near_rx = UartRx(divisor=self.divisor)
        m.submodules.far_tx = far_tx = UartTx(divisor=self.divisor)
        m.submodules.far_rx = far_rx = UartRx(divisor=self.divisor)
        connect(m, self.rx, far_tx.i)
        connect(m, near_rx.o, link.rx)
        connect(m, link.tx, near_tx.i)
        connect(m, far_rx.o, wiring.flipped(self.tx))
        m.d.comb += [
            near_rx.rx.eq(far_tx.tx),
            far_rx.rx.eq(near_tx.tx),
            link.rx_error.eq(near_rx.framing | near_rx.overrun),
        ]
        return m


class SimTransport:
    """A transport of ``boards.host`` into a simulated bench: reading advances the simulation.

    ``damage``, if set, sees what the host writes and returns what arrives; ``lose`` the same for what the board sends,
    byte by byte, as True for those that are lost.
    """

    def __init__(self, bench: LinkBench) -> None:
        self._to_board: deque[int] = deque()
        self._from_board: deque[int] = deque()
        self._now = 0.0
        self.broken = False  # report a line error in the next clock
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.lose: Callable[[int], bool] = lambda byte: False
        self.closed = False
        self._sim = Simulator(bench)
        self._sim.add_clock(PERIOD)

        async def feed(ctx: Any) -> None:
            while True:
                ctx.set(bench.rx_error, self.broken)
                self.broken = False
                if self._to_board:
                    ctx.set(bench.rx.payload, self._to_board[0])
                    ctx.set(bench.rx.valid, 1)
                    _, _, taken = await ctx.tick().sample(bench.rx.ready)
                    if taken:
                        self._to_board.popleft()
                else:
                    ctx.set(bench.rx.valid, 0)
                    await ctx.tick()

        async def drain(ctx: Any) -> None:
            ctx.set(bench.tx.ready, 1)
            while True:
                _, _, valid, payload = await ctx.tick().sample(bench.tx.valid, bench.tx.payload)
                if valid and not self.lose(payload):
                    self._from_board.append(payload)

        self._sim.add_testbench(feed, background=True)
        self._sim.add_testbench(drain, background=True)

    def write(self, data: bytes) -> None:
        if self.closed:
            raise BoardError("closed")
        self._to_board.extend(self.damage(data))

    def read(self, timeout: float) -> bytes:
        """``timeout`` is in thousands of clocks."""
        self.clocks(round(timeout * 1000), until_byte=True)
        got = bytes(self._from_board)
        self._from_board.clear()
        return got

    def clocks(self, count: int, *, until_byte: bool = False) -> None:
        """Advances the simulation, and stops at the first byte from the board if that is wanted."""
        deadline = self._now + count * PERIOD
        while self._now < deadline and not (until_byte and self._from_board):
            self._now += 20 * PERIOD
            self._sim.run_until(self._now)

    def close(self) -> None:
        self.closed = True


def open_driver(transport: SimTransport, config: CoreConfig, *, timeout: float = 3.0, **options: Any) -> LinkDriver:
    """A driver that has taken the simulated board."""
    driver = LinkDriver(FrameChannel(transport), config, timeout=timeout, **options)
    driver.open()
    return driver


@pytest.fixture
def small_config() -> CoreConfig:
    return CoreConfig(store_depth=64, spike_depth=32, result_depth=5, max_planes=4)


@pytest.fixture(scope="session")
def stub_core() -> type[StubCore]:
    return StubCore


@pytest.fixture
def link_bench() -> type[LinkBench]:
    return LinkBench


@pytest.fixture
def sim_transport() -> type[SimTransport]:
    return SimTransport


@pytest.fixture
def driver_of() -> Callable[..., LinkDriver]:
    return open_driver
