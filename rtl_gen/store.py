# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The resting store: the memory that holds the program image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError

from .block_ram import family_of, sections, slice_width
from .layouts import COLLISION_FREE

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


def store_latency(config: CoreConfig, platform: Any) -> int:
    """Clocks with ``read.en`` from a store's ``read.addr`` to its ``read.data``.

    Without a register behind the memory a word has only what is left of its clock to reach the banks: on ECP5 that
    is too little. On iCE40 it is enough, and the register would take a logic cell a bit. Words from outside come out
    of a register of their own.
    """
    if config.streams_store:
        return 1
    return 1 if isinstance(platform, SiliconBluePlatform) else 2


class ResidentStore(wiring.Component):
    """A memory of ``store_depth`` words that is written by the loader and read by the weight streamer.

    It is used as a single-port memory: reading and writing never happen in the same clock, and the word read in a
    clock with ``write.we`` is undefined. ``read.data`` is the word at the ``read.addr`` of :func:`store_latency`
    enabled clocks ago; while ``read.en`` is low it stays, and so does what is under way.
    The streams around it have flow control; the store neither provides nor respects back pressure.

    Parameters
    ----------
    config: ``store``, ``store_depth``, ``store_width``.
    init: first words of the store after configuration (the rest is 0); not possible with SPRAM on hardware.

    Members
    -------
    write: In, ``we`` (1), ``addr`` (store_addr_bits), ``data`` (store_width).
    read: In, ``en`` (1), ``addr`` (store_addr_bits), and ``data`` (store_width) back.

    Raises
    ------
    ConfigError: more initial words than the store has, a word too wide, more SPRAM than the device has, a device
    without SPRAM, or initial contents for SPRAM on hardware.
    """

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
                "read": In(wiring.Signature({"en": Out(1), "addr": Out(addr), "data": In(data)})),
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
        return self._elaborate_memory(platform)

    def _elaborate_memory(self, platform: Any) -> Module:
        m = Module()
        depth, width = self._config.store_depth, self._config.store_width
        family = family_of(platform)
        cut = sections(family, depth, width) if family else (depth,)
        found, start = Signal(width), depth
        for words in reversed(cut):
            start -= words
            # The upper bits of an address tell its section: those of a section's last word and beyond.
            bits = (words - 1).bit_length()
            here: Value = Const(1)
            data = Signal(width, name=f"data{start}")
            if len(cut) > 1:
                here = self.write.addr[bits:] == start >> bits
            self._slices(m, start, words, slice_width(family, words) if family else width, here, data)
            if start + words == depth:
                m.d.comb += found.eq(data)
                continue
            selected, others = Signal(name=f"selected{start}"), found
            with m.If(self.read.en):
                m.d.sync += selected.eq(self.read.addr[bits:] == start >> bits)
            found = Signal(width, name=f"found{start}")
            m.d.comb += found.eq(Mux(selected, data, others))
        if store_latency(self._config, platform) == 2:
            behind = Signal(width, reset_less=True)
            with m.If(self.read.en):
                m.d.sync += behind.eq(found)
            found = behind
        m.d.comb += self.read.data.eq(found)
        return m

    def _slices(self, m: Module, start: int, words: int, part: int, write_here: Value, data: Signal) -> None:
        """Words ``start`` and on, ``part`` bits to a memory: as many as one block RAM has of so many words."""
        init = self._init[start : start + words]
        for low in range(0, len(data), part):
            bits = slice(low, min(low + part, len(data)))
            m.submodules[f"words{start}_bits{low}"] = memory = Memory(
                shape=bits.stop - bits.start,
                depth=words,
                init=[word >> low & ((1 << bits.stop - bits.start) - 1) for word in init],
                attrs=COLLISION_FREE,  # reads and writes never meet
            )
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(self.write.we & write_here),
                write.addr.eq(self.write.addr),
                write.data.eq(self.write.data[bits]),
                read.en.eq(self.read.en),
                read.addr.eq(self.read.addr),
                data[bits].eq(read.data),
            ]

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
        with m.If(self.read.en):
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
                    i_CHIPSELECT=self.write.we | self.read.en,  # what was read stays without it
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
