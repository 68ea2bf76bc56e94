# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""Clock generation: PLL settings by pure functions, and the PLLs that make the core's clock and reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amaranth import ClockDomain, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import Out

from refmodel.errors import BoardError

_MHZ = 1_000_000


@dataclass(frozen=True)
class IcePllSettings:
    """SB_PLL40 parameters: out = in * (divf + 1) / (divr + 1) / 2**divq, with SIMPLE feedback."""

    input_hz: int
    output_hz: float
    vco_hz: float
    divr: int
    divf: int
    divq: int
    filter_range: int


@dataclass(frozen=True)
class EcpPllSettings:
    """EHXPLLL parameters: out = in * clkfb_div / clki_div, VCO = out * clkop_div, feedback from CLKOP."""

    input_hz: int
    output_hz: float
    vco_hz: float
    clki_div: int
    clkfb_div: int
    clkop_div: int


def ice40_pll(input_hz: int, output_hz: int) -> IcePllSettings:
    """Settings nearest to ``output_hz``.

    Limits of the iCE40 sysCLOCK PLL (Lattice FPGA-TN-02052 and the data sheets): input and phase detector 10 to
    133 MHz, VCO 533 to 1066 MHz, output 16 to 275 MHz, DIVR 0 to 15, DIVF 0 to 127, DIVQ 1 to 6.
    """
    if not 10 * _MHZ <= input_hz <= 133 * _MHZ:
        raise BoardError(f"the iCE40 PLL's input must be 10 to 133 MHz, not {input_hz / _MHZ:g} MHz")
    if not 16 * _MHZ <= output_hz <= 275 * _MHZ:
        raise BoardError(f"the iCE40 PLL's output must be 16 to 275 MHz, not {output_hz / _MHZ:g} MHz")
    best: tuple[float, int, int, int] | None = None
    for divr in range(16):
        pfd = input_hz / (divr + 1)
        if not 10 * _MHZ <= pfd <= 133 * _MHZ:
            continue
        for divf in range(128):
            vco = pfd * (divf + 1)
            if not 533 * _MHZ <= vco <= 1066 * _MHZ:
                continue
            for divq in range(1, 7):
                out = vco / (1 << divq)
                if 16 * _MHZ <= out <= 275 * _MHZ:
                    candidate = (abs(out - output_hz), divr, divf, divq)
                    best = candidate if best is None else min(best, candidate)
    if best is None:
        raise BoardError(f"the iCE40 PLL cannot make {output_hz / _MHZ:g} MHz from {input_hz / _MHZ:g} MHz")
    _, divr, divf, divq = best
    pfd = input_hz / (divr + 1)
    filter_range = 1 + sum(pfd >= bound * _MHZ for bound in (17, 26, 44, 66, 101))
    vco = pfd * (divf + 1)
    return IcePllSettings(input_hz, vco / (1 << divq), vco, divr, divf, divq, filter_range)


def ecp5_pll(input_hz: int, output_hz: int) -> EcpPllSettings:
    """Settings nearest to ``output_hz``.

    Limits of the ECP5 sysCLOCK PLL (Lattice FPGA-DS-02012): input 8 to 400 MHz, phase detector 10 to 400 MHz, VCO
    400 to 800 MHz, output 3.125 to 400 MHz; CLKI_DIV and CLKOP_DIV 1 to 128, CLKFB_DIV 1 to 80.
    """
    if not 8 * _MHZ <= input_hz <= 400 * _MHZ:
        raise BoardError(f"the ECP5 PLL's input must be 8 to 400 MHz, not {input_hz / _MHZ:g} MHz")
    if not 3.125 * _MHZ <= output_hz <= 400 * _MHZ:
        raise BoardError(f"the ECP5 PLL's output must be 3.125 to 400 MHz, not {output_hz / _MHZ:g} MHz")
    best: tuple[float, int, int, float, int] | None = None
    for clki_div in range(1, 129):
        pfd = input_hz / clki_div
        if not 10 * _MHZ <= pfd <= 400 * _MHZ:
            continue
        for clkfb_div in range(1, 81):
            out = pfd * clkfb_div
            if not 3.125 * _MHZ <= out <= 400 * _MHZ:
                continue
            for clkop_div in range(1, 129):
                vco = out * clkop_div
                if 400 * _MHZ <= vco <= 800 * _MHZ:
                    # Of equal settings, the VCO nearest the middle of its range has the most margin.
                    candidate = (abs(out - output_hz), clki_div, clkfb_div, abs(vco - 600 * _MHZ), clkop_div)
                    best = candidate if best is None else min(best, candidate)
    if best is None:
        raise BoardError(f"the ECP5 PLL cannot make {output_hz / _MHZ:g} MHz from {input_hz / _MHZ:g} MHz")
    _, clki_div, clkfb_div, _, clkop_div = best
    out = input_hz * clkfb_div / clki_div
    return EcpPllSettings(input_hz, out, out * clkop_div, clki_div, clkfb_div, clkop_div)


def _hold_reset(m: Module, *, clk: Signal, lock: Signal, rst: Signal, clocks: int) -> None:
    """Holds ``rst`` for ``clocks`` clocks of ``clk`` after ``lock``, and again whenever the lock is lost."""
    m.domains.hold = hold = ClockDomain("hold", reset_less=True, local=True)
    m.d.comb += hold.clk.eq(clk)
    locked = Signal()
    counter = Signal(range(clocks + 1))
    released = Signal()
    m.submodules.lock_sync = FFSynchronizer(lock, locked, o_domain="hold")
    with m.If(~locked):
        m.d.hold += [counter.eq(0), released.eq(0)]
    with m.Elif(counter == clocks):
        m.d.hold += released.eq(1)
    with m.Else():
        m.d.hold += counter.eq(counter + 1)
    m.d.comb += rst.eq(~released)


class IcePll(wiring.Component):
    """SB_PLL40 in SIMPLE feedback; constrains its output for nextpnr.

    Reset is held until 15 us after LOCK: iCE40 block RAMs read as zero for about 3 us after configuration
    (icestorm issue 76), and the PLL may lock sooner.

    Parameters
    ----------
    settings: from :func:`ice40_pll`.
    port: I/O port of the oscillator, as ``platform.request(..., dir="-")`` gives it.
    kind: "pad" if the pin is the PLL's own (its input is then not usable elsewhere), "core" otherwise.

    Members
    -------
    clk: Out(1), the made clock, on a global net.
    rst: Out(1), synchronous to ``clk``, high until the clock may be used.
    """

    def __init__(self, settings: IcePllSettings, *, port: Any, kind: Literal["pad", "core"] = "pad") -> None:
        if kind not in ("pad", "core"):
            raise BoardError(f"kind of the iCE40 PLL must be 'pad' or 'core', not {kind!r}")
        self._settings = settings
        self._port = port
        self._kind = kind
        super().__init__({"clk": Out(1), "rst": Out(1)})

    @property
    def settings(self) -> IcePllSettings:
        return self._settings

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        settings = self._settings
        lock = Signal()
        common = dict(
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(settings.divr, 4),
            p_DIVF=Const(settings.divf, 7),
            p_DIVQ=Const(settings.divq, 3),
            p_FILTER_RANGE=Const(settings.filter_range, 3),
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=self.clk,
            o_LOCK=lock,
        )
        if self._kind == "pad":
            m.submodules.pll = Instance("SB_PLL40_PAD", i_PACKAGEPIN=self._port.io, **common)
        else:
            m.submodules.buffer = buffer = io.Buffer("i", self._port)
            m.submodules.pll = Instance("SB_PLL40_CORE", i_REFERENCECLK=buffer.i, **common)
        platform.add_clock_constraint(self.clk, settings.output_hz)
        _hold_reset(m, clk=self.clk, lock=lock, rst=self.rst, clocks=int(15e-6 * settings.output_hz))
        return m


class EcpPll(wiring.Component):
    """EHXPLLL with feedback from CLKOP; constrains its output for nextpnr.

    Parameters
    ----------
    settings: from :func:`ecp5_pll`.
    port: I/O port of the oscillator, as ``platform.request(..., dir="-")`` gives it.

    Members
    -------
    clk: Out(1), the made clock.
    rst: Out(1), synchronous to ``clk``, high until 16 clocks after LOCK.
    """

    #: Clocks from a stable LOCK to the end of reset.
    HOLD = 16

    def __init__(self, settings: EcpPllSettings, *, port: Any) -> None:
        self._settings = settings
        self._port = port
        super().__init__({"clk": Out(1), "rst": Out(1)})

    @property
    def settings(self) -> EcpPllSettings:
        return self._settings

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        settings = self._settings
        lock = Signal()
        m.submodules.buffer = buffer = io.Buffer("i", self._port)
        m.submodules.pll = Instance(
            "EHXPLLL",
            # Analogue settings: those of Lattice's own generator for this range, as ecppll writes them.
            a_FREQUENCY_PIN_CLKI=f"{settings.input_hz / _MHZ:g}",
            a_FREQUENCY_PIN_CLKOP=f"{settings.output_hz / _MHZ:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=settings.clki_div,
            p_CLKFB_DIV=settings.clkfb_div,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=settings.clkop_div,
            p_CLKOP_CPHASE=settings.clkop_div - 1,
            p_CLKOP_FPHASE=0,
            i_CLKI=buffer.i,
            i_CLKFB=self.clk,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=self.clk,
            o_LOCK=lock,
        )
        platform.add_clock_constraint(self.clk, settings.output_hz)
        _hold_reset(m, clk=self.clk, lock=lock, rst=self.rst, clocks=self.HOLD)
        return m
