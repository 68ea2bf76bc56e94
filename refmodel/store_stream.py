"""Clocks of a program whose words come in order from a memory outside the FPGA.

The sequencer reads an image once a run, word after word from address 0 (docs/weight-stores.md), so a memory outside is
a stream that starts anew at every run.  A word's transfer begins when the one before has ended and no more than
``store_fifo`` words are under way or waiting; the sequencer pulls a word when it wants it and it is there.  All is
deterministic: this module and the gateware agree in every clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import CoreConfig
from .errors import ConfigError
from .jit import compiled
from .layout import descriptor_words

#: Clocks from the pull of a word to the one in which another may begin in its place.
PULL_TO_BEGIN = 2

#: SPI flash: clocks of a bit (the SPI clock is half the core's) and bits before the first one of the data: command,
#: address, dummy byte of a fast read (0x0B).
FLASH_BIT_CLOCKS = 2
FLASH_COMMAND_BITS = 40
#: Clocks for which the flash is deselected before a run's read; chips ask for 50 ns.
FLASH_DESELECT = 4

#: SDRAM, in clocks of a core at 50 to 90 MHz: all the parts that the ULX3S was made with allow these.
SDRAM_CLOCK_HZ = (50e6, 90e6)
SDRAM_BITS = 16
SDRAM_COLUMNS = 512
SDRAM_CAS_LATENCY = 2
SDRAM_RCD = 2  #: row opened to column read or written
SDRAM_RP = 2  #: rows closed to row opened or refresh
SDRAM_RFC = 6  #: refresh to anything
SDRAM_WR = 2  #: last word written to rows closed
SDRAM_MRD = 2  #: mode set to anything
SDRAM_REFRESH = 320  #: from one refresh falling due to the next


@dataclass(frozen=True)
class StreamTiming:
    """A memory outside, in clocks.

    first: from the run's start pulse to word 0 at the earliest.  word: a word's transfer.  latency: from the clock
    after a transfer to the first one in which the word may be pulled.  depth: words under way or waiting at most.
    row_words: words of a row; row_open: opening one where none is open; row_change: from one to the next.
    interval: between refreshes falling due, the first of them at ``first``; 0: none.  refresh: one refresh, which
    closes the row.
    """

    first: int
    word: int
    latency: int
    depth: int
    row_words: int = 1 << 40
    row_open: int = 0
    row_change: int = 0
    interval: int = 0
    refresh: int = 0


def sdram_word_columns(config: CoreConfig) -> tuple[int, int]:
    """Columns of 16 bits that a store word has, and by how many columns words lie apart (a power of two)."""
    columns = config.store_width // SDRAM_BITS
    return columns, 1 << (columns - 1).bit_length()


def sdram_settle(config: CoreConfig) -> int:
    """Clocks that the controller leaves at a run's start to what it is about: a word read or written, a refresh."""
    return sdram_word_columns(config)[0] + 20


def stream_timing(config: CoreConfig) -> StreamTiming:
    """Timing of the core's memory outside; ConfigError for a core with a resting store."""
    if config.store == "flash":
        return StreamTiming(
            first=2 + FLASH_DESELECT + FLASH_BIT_CLOCKS * FLASH_COMMAND_BITS,
            word=FLASH_BIT_CLOCKS * config.store_width,
            latency=3,
            depth=config.store_fifo,
        )
    if config.store == "sdram":
        columns, step = sdram_word_columns(config)
        return StreamTiming(
            first=2 + sdram_settle(config),
            word=columns,
            latency=2 + SDRAM_CAS_LATENCY,
            depth=config.store_fifo,
            row_words=SDRAM_COLUMNS // step,
            row_open=SDRAM_RCD,
            row_change=SDRAM_RP + SDRAM_RCD,
            interval=SDRAM_REFRESH,
            refresh=SDRAM_RP + SDRAM_RFC,
        )
    raise ConfigError(f"store={config.store!r} is inside the FPGA: its words are there at once")


@dataclass(frozen=True)
class StreamedStarts:
    """When the slabs of N runs start, relative to the start pulse.

    start: ``[S, N]``.  closing: ``[N]`` clock in which the end header was pulled.  pulls: ``[words of the image, N]``
    that of every word, or None.  waits: ``[S + 1, N]`` clocks in which the sequencer stood still for the words of a
    slab; the last row is the end header's.
    """

    start: NDArray[np.int64]
    closing: NDArray[np.int64]
    pulls: NDArray[np.int64] | None
    waits: NDArray[np.int64]


def streamed_starts(
    config: CoreConfig, loads: Sequence[int], lengths: NDArray[np.int64], *, keep: bool = False
) -> StreamedStarts:
    """Starts of slabs that have ``loads`` words between header and descriptor.

    lengths: ``[S, N]`` clocks from a slab's start to the first one in which it is known to have ended.
    """
    timing = stream_timing(config)
    slabs, images = lengths.shape
    words = sum(loads) + slabs * (1 + descriptor_words(config)) + 1
    pulls = np.zeros((words, images if keep else 1), np.int64)
    start, waits = np.zeros((slabs, images), np.int64), np.zeros((slabs + 1, images), np.int64)
    closing = np.zeros(images, np.int64)
    _pull(
        np.array(loads, np.int64), lengths, descriptor_words(config), timing.first, timing.word, timing.latency,
        timing.depth, timing.row_words, timing.row_open, timing.row_change, timing.interval, timing.refresh,
        PULL_TO_BEGIN, start, waits, closing, pulls,
    )  # fmt: skip
    return StreamedStarts(start, closing, pulls if keep else None, waits)


@compiled
def _pull(
    loads: NDArray[np.int64],
    lengths: NDArray[np.int64],
    descriptor: int,
    first: int,
    transfer: int,
    latency: int,
    depth: int,
    row_words: int,
    row_open: int,
    row_change: int,
    interval: int,
    refresh: int,
    pull_to_begin: int,
    start: NDArray[np.int64],
    waits: NDArray[np.int64],
    closing: NDArray[np.int64],
    pulls: NDArray[np.int64],
) -> None:
    """Walks every image's words in order; ``pulls`` keeps all images, or the present one only."""
    slabs, images = lengths.shape
    for image in range(images):
        kept = pulls[:, image if pulls.shape[1] > 1 else 0]
        ready, row, due = first, -1, first if interval > 0 else 1 << 60
        begun = idle = 0  # of the slab before: its start, and the clock from which it is known to have ended
        j = 0
        for slab in range(slabs + 1):
            before = loads[slab] + 2 if slab < slabs else 1  # words up to the descriptor's first one; an end header
            count = before + descriptor - 1 if slab < slabs else 1
            now = begun
            for k in range(count):
                want = now + (2 if k == 1 else 1)  # the header is looked at for a clock
                if k == before:  # the slab before must have ended
                    want = max(now + 1, idle) + 1
                room = kept[j - depth] + pull_to_begin if j >= depth else 0
                while due <= ready or room > ready:
                    if due <= ready:
                        ready += refresh
                        due += interval
                        row = -1
                    else:
                        ready = min(room, due)
                if row < 0:
                    ready += row_open
                elif j // row_words != row:
                    ready += row_change
                row = j // row_words
                ready += transfer
                now = max(want, ready + latency)
                waits[slab, image] += now - want
                kept[j] = now
                j += 1
            if slab < slabs:
                begun = (now if descriptor > 1 else max(now + 1, idle)) + 2
                start[slab, image] = begun
                idle = begun + lengths[slab, image]
            else:
                closing[image] = now
