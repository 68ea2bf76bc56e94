# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The resting store: the memory that holds the program image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

#: One SB_SPRAM256KA: words, bits of a word, and how many an UP5K has.
SPRAM_DEPTH = 16384
SPRAM_WIDTH = 16
SPRAM_COUNT = 4


def spram_tiles(config: CoreConfig) -> tuple[int, int]:
    """SPRAM blocks as (rows of 16,384 words, columns of 16 bits); ConfigError if the UP5K lacks them."""
    rows = -(-config.store_depth // SPRAM_DEPTH)
    columns = -(-config.store_width // SPRAM_WIDTH)
    if rows * columns > SPRAM_COUNT:
        raise ConfigError(
            f"a store of {config.store_depth} words of {config.store_width} bits needs {rows * columns} SPRAM blocks, "
            f"an UP5K has {SPRAM_COUNT}; use store_depth={SPRAM_DEPTH} and at most "
            f"{SPRAM_COUNT * SPRAM_WIDTH // config.weight_bits} output lanes at {config.weight_bits} bits a weight"
        )
    return rows, columns


class ResidentStore(wiring.Component):
    """A memory of ``store_depth`` words that is written by the loader and read by the weight streamer.

    It is used as a single-port memory: reading and writing never happen in the same clock, and the word read in a
    clock with ``write.we`` is undefined. ``read.data`` is the word at the ``read.addr`` of ``LATENCY`` clocks ago.
    The streams around it have flow control; the store neither provides nor respects back pressure.

    Parameters
    ----------
    config: ``store``, ``store_depth``, ``store_width``.
    init: first words of the store after configuration (the rest is 0); not possible with SPRAM on hardware.

    Members
    -------
    write: In, ``we`` (1), ``addr`` (store_addr_bits), ``data`` (store_width).
    read: In, ``addr`` (store_addr_bits), and ``data`` (store_width) back.

    Raises
    ------
    ConfigError: more initial words than the store has, a word too wide, more SPRAM than the device has, a device
    without SPRAM, or initial contents for SPRAM on hardware.
    """

    #: Clocks from ``read.addr`` to ``read.data``.
    LATENCY = 1

    def __init__(self, config: CoreConfig, *, init: Sequence[int] = ()) -> None:
        if len(init) > config.store_depth:
            raise ConfigError(
                f"the program image has {len(init)} words, the store {config.store_depth}; use a larger store_depth"
            )
        for index, word in enumerate(init):
            if not 0 <= word < 1 << config.store_width:
                raise ConfigError(f"word {index} of the program image must fit {config.store_width} bits, not {word!r}")
        if config.store == "spram":
            spram_tiles(config)
        self._config = config
        self._init = tuple(init)
        addr, data = config.store_addr_bits, config.store_width
        super().__init__(
            {
                "write": In(wiring.Signature({"we": Out(1), "addr": Out(addr), "data": Out(data)})),
                "read": In(wiring.Signature({"addr": Out(addr), "data": In(data)})),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def init(self) -> tuple[int, ...]:
        return self._init

    def elaborate(self, platform: Any) -> Module:
        if self._config.store == "spram" and isinstance(platform, SiliconBluePlatform):
            return self._elaborate_spram(platform)
        return self._elaborate_memory()

    def _elaborate_memory(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._config.store_width,
            depth=self._config.store_depth,
            init=self._init,
            # Reads and writes never meet: without this, Yosys spends two flip-flops a bit on keeping them apart.
            attrs={"no_rw_check": 1},
        )
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.en.eq(self.write.we),
            write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
            read.en.eq(1),
            read.addr.eq(self.read.addr),
            self.read.data.eq(read.data),
        ]
        return m

    def _elaborate_spram(self, platform: SiliconBluePlatform) -> Module:
        device = str(platform.device)
        if device not in ("iCE40UP5K", "iCE40UP3K"):
            raise ConfigError(f"store='spram' needs an iCE40 UltraPlus, {device} has no SPRAM; use store='bram'")
        if self._init:
            raise ConfigError(
                "SPRAM has no contents after configuration: load the program over the host link, or use store='bram'"
            )
        m = Module()
        config = self._config
        rows, columns = spram_tiles(config)
        addr = Signal(config.store_addr_bits)
        m.d.comb += addr.eq(Mux(self.write.we, self.write.addr, self.read.addr))
        low = addr[:14]
        row = addr[14:]
        row_of_data = Signal(len(row))
        m.d.sync += row_of_data.eq(row)
        words = []
        for r in range(rows):
            selected = (row == r) if rows > 1 else Const(1)
            word = Signal(columns * SPRAM_WIDTH, name=f"word{r}")
            data = Signal(columns * SPRAM_WIDTH, name=f"data{r}")
            m.d.comb += data.eq(self.write.data)
            for c in range(columns):
                bits = slice(c * SPRAM_WIDTH, (c + 1) * SPRAM_WIDTH)
                m.submodules[f"spram{r}_{c}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal("sync"),
                    i_ADDRESS=low,
                    i_DATAIN=data[bits],
                    i_MASKWREN=Const(0b1111, 4),
                    i_WREN=self.write.we & selected,
                    i_CHIPSELECT=Const(1),
                    i_STANDBY=Const(0),
                    i_SLEEP=Const(0),
                    i_POWEROFF=Const(1),  # active low
                    o_DATAOUT=word[bits],
                )
            words.append(word)
        result = words[0]
        for r in range(1, rows):
            result = Mux(row_of_data == r, words[r], result)
        m.d.comb += self.read.data.eq(result)
        return m
