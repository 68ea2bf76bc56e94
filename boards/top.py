# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The whole design for one board: clock, host link and core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth import ClockDomain, Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import io
from amaranth.lib.wiring import connect

from refmodel.config import CoreConfig

from .link import HostLink
from .memories import add_flash, add_sdram
from .pll import EcpPll, IcePll, ecp5_pll, ice40_pll
from .registry import Board
from .uart import UartRx, UartTx, baud_divisor

#: Makes the core; ``rtl_gen.core.Core`` unless a test brings its own.
CoreFactory = Callable[..., Any]


def _default_core(*, config: CoreConfig, store_init: Sequence[int]) -> Any:
    from rtl_gen.core import Core

    return Core(config=config, store_init=store_init)


class BoardTop(Elaboratable):
    """Top level for ``board``: no ports of its own, it requests the board's resources.

    Components: ``pll`` (clock and reset), ``uart_rx``, ``uart_tx``, ``link``, ``core``, and the board's LEDs for
    ready, busy and error (:class:`boards.registry.Led`).

    Parameters
    ----------
    board: the board.
    config: the core's configuration; the board's default if not given.
    store_init: program image that the resting store holds after configuration.
    baud: speed of the host link; the board's default if not given.
    timeout: seconds after which the host link gives up a frame or a command; rounded up to 2**n clocks.
    core: makes the core from ``(config=..., store_init=...)``.
    boot: look for a program in the flash at start, on a board that has such a flash; as ``board.boot`` says if not
        given. A store in the flash always does.
    """

    def __init__(
        self,
        board: Board,
        config: CoreConfig | None = None,
        store_init: Sequence[int] = (),
        *,
        baud: int | None = None,
        timeout: float = 0.08,
        core: CoreFactory = _default_core,
        boot: bool | None = None,
    ) -> None:
        self._board = board
        self._config = config or board.core
        self._store_init = tuple(store_init)
        settings = ice40_pll if board.family == "ice40" else ecp5_pll
        self._pll_settings: Any = settings(board.input_clock_hz, board.clock_hz)
        self._divisor = baud_divisor(self.clock_hz, baud or board.baud)
        self._timeout = timeout
        self._core = core
        self._boot = (board.boot if boot is None else boot) or self._config.store == "flash"

    @property
    def board(self) -> Board:
        return self._board

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def boot(self) -> bool:
        """Whether it looks for a program in the flash at start."""
        return self._boot

    @property
    def clock_hz(self) -> float:
        """Clock of the core that the PLL really makes."""
        return self._pll_settings.output_hz

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        oscillator = platform.request(platform.default_clk, dir="-")
        m.submodules.pll = pll = (
            IcePll(self._pll_settings, port=oscillator, kind=self._board.pll)
            if self._board.family == "ice40"
            else EcpPll(self._pll_settings, port=oscillator)
        )
        m.domains.sync = sync = ClockDomain("sync")
        m.d.comb += [sync.clk.eq(pll.clk), sync.rst.eq(pll.rst)]

        pins = platform.request("uart", 0, dir="-")
        m.submodules.rx_buffer = rx_buffer = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx_buffer = io.Buffer("o", pins.tx)
        m.submodules.uart_rx = rx = UartRx(divisor=self._divisor)
        m.submodules.uart_tx = tx = UartTx(divisor=self._divisor)
        m.submodules.link = link = HostLink(
            self._config,
            timeout=round(self._timeout * self.clock_hz),
            clock_hz=self.clock_hz,
            image=self._store_init,
            boot=self._boot,
        )
        m.d.comb += [rx.rx.eq(rx_buffer.i), tx_buffer.o.eq(tx.tx), link.rx_error.eq(rx.framing | rx.overrun)]
        connect(m, rx.o, link.rx)
        connect(m, link.tx, tx.i)

        core = self._core(config=self._config, store_init=self._store_init)
        core_reset = Signal()
        m.d.sync += core_reset.eq(link.core_reset)
        m.submodules.core = ResetInserter(core_reset)(core)
        connect_core(m, link, core)

        starting = Signal()  # a memory beside the FPGA is not ready yet
        if self._config.store == "sdram":
            m.d.comb += starting.eq(add_sdram(m, platform, self._config, core, self.clock_hz))
        elif self._boot:
            m.d.comb += starting.eq(add_flash(m, platform, self._config, core, link, self._board.flash_offset))

        # Looked at by boards.simulated: while it is high, time must pass.
        active = Signal()
        m.d.comb += active.eq(core.busy | starting)

        self._show(m, platform, {"ready": ~active & ~link.failed, "busy": active, "error": link.failed})
        return m

    def _show(self, m: Module, platform: Any, status: dict[str, Any]) -> None:
        """The core's state on the board's LEDs."""
        ports: dict[tuple[str, int], Any] = {}
        for led in self._board.leds:
            key = (led.resource, led.number)
            if key not in ports:
                ports[key] = platform.request(*key, dir="-")
            port = ports[key] if led.part is None else getattr(ports[key], led.part)
            m.submodules[f"{led.use}_led"] = buffer = io.Buffer("o", port)
            m.d.comb += buffer.o.eq(status[led.use])


def connect_core(m: Module, link: HostLink, core: Any) -> None:
    """Wires the host link to a core (``rtl_gen.core.Core`` or a stand-in with its interface)."""
    m.d.comb += [
        core.load.valid.eq(link.load.valid),
        core.load.payload.space.eq(link.load.payload.space),
        core.load.payload.addr.eq(link.load.payload.addr),
        core.load.payload.data.eq(link.load.payload.data),
        link.load.ready.eq(core.load.ready),
        core.start.eq(link.start),
        core.result_addr.eq(link.result_addr),
        link.busy.eq(core.busy),
        link.done.eq(core.done),
        link.result_data.eq(core.result_data),
        link.argmax.eq(core.argmax),
        link.clocks.eq(core.clocks),
    ]
    if link.resumes:
        m.d.comb += [core.resume.eq(link.resume), link.drifted.eq(core.drifted)]
