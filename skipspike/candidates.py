"""Candidates of a search: shapes of core, what of a network they need, and whether they fit a board."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from boards.area_model import BLOCK_MODES, LINK_CELLS, Area, area, fmax
from boards.registry import Board
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError
from refmodel.external import line_words
from refmodel.quantized import QuantizedNetwork
from refmodel.tailoring import Shape, shape_of, smallest, tailored
from rtl_gen.store import spram_tiles

#: Axes that are searched.  More event lanes than 16 wait for one another too long.
_EVENT_LANES, _OUTPUT_LANES, TIME_LANES = (1, 2, 4, 8, 16), (8, 16, 32, 64, 128, 256), (1, 2, 4, 8, 16)
#: Part of the device's logic cells that place and route still handles.
FILL = {"ice40": 0.93, "ecp5": 0.85}
#: Part of the expected Fmax that a clock may be.
CLOCK_MARGIN = 0.7
BLOCKS = "block RAMs"
#: Fields of a core that the network decides, whatever the shape.
_WIDTHS = ("acc_width", "membrane_width", "leak_terms", "leak_shift_max", "leak_bits", "rectify", "signed_sources")


@dataclass(frozen=True)
class Candidate:
    """A core that fits: ``bound`` (clocks of the barrier bound), ``clocks`` of the cycle model, None if not run."""

    config: CoreConfig
    clock_hz: int
    fmax_hz: float
    area: Area
    bound: float
    clocks: float | None = None

    @property
    def shape(self) -> Shape:
        return shape_of(self.config)

    @property
    def seconds(self) -> float:
        """Time of an inference."""
        return (self.bound if self.clocks is None else self.clocks) / self.clock_hz

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "shape": self.shape.settings,
            "lanes": self.config.lanes,
            "clocks": self.clocks,
            "bound_clocks": self.bound,
            "frames_per_second": 1 / self.seconds,
            "clock_hz": self.clock_hz,
            "fmax_hz_expected": round(self.fmax_hz),
            "cells": self.area.cells,
            "brams": self.area.brams,
            "core": asdict(self.config),
        }


def shapes(board: Board, steps: int, weight_bits: int) -> Iterator[Shape]:
    """Every shape of one engine that can be built for T steps; a bank's lanes fill a block RAM's word."""
    word = BLOCK_MODES[board.family][0][1] // weight_bits
    natural = 1 << (word.bit_length() - 1)
    for k, p, tp in product(_EVENT_LANES, _OUTPUT_LANES, TIME_LANES):
        if k > p or (tp > 1 and tp // 2 >= steps):
            continue
        for units in (1, 2, 4, 8, 16, 32, 64):
            if p // units >= CoreConfig.NEURON_LOOP:
                yield Shape(k, p, tp, units, min(p, max(units, natural)))


class Room:
    """What a board has, and whether cores fit it."""

    def __init__(
        self,
        board: Board,
        lowered: QuantizedNetwork,
        clock_of: Callable[[int], float] | None,
        *,
        proven: bool,
        external: bool,
    ) -> None:
        self.board, self.lowered, self.clock_of = board, lowered, clock_of
        self.proven, self.external = proven, external
        # On ECP5 a chain of adders takes one LUT a bit.
        self.base = replace(board.core, adder="chain") if board.family == "ecp5" else board.core
        self.bits = max(2, lowered.weight_bits)
        self.cells = int(board.luts * FILL[board.family]) - LINK_CELLS[board.family]
        self._widths = self._known_widths()
        self._made: dict[Shape, CoreConfig] = {}

    def least(self, shape: Shape) -> CoreConfig:
        """A core of a shape with memories as small as they get.  Raises ConfigError where there is none."""
        return replace(smallest(self.base, shape, self.bits, proven=self.proven), **self._widths)

    def _known_widths(self) -> dict[str, Any]:
        """What a core needs for the network in any shape, from that of the first shape that runs it."""
        for shape in shapes(self.board, self.lowered.steps, self.bits):
            with contextlib.suppress(CompileError, ConfigError):
                made = tailored(self.lowered, self.base, shape, proven=self.proven, external=self.external)
                return {name: getattr(made, name) for name in _WIDTHS}
        return {}

    @property
    def planned(self) -> int:
        """Cores planned so far, which is what takes time."""
        return len(self._made)

    def clock(self, lanes: int) -> tuple[int, float]:
        """Clock of a core of so many lanes, the board's at most, and the Fmax expected; Hz."""
        if self.clock_of is not None:
            given = self.clock_of(lanes)
            return min(self.board.clock_hz, int(given)), given
        expected = fmax(self.board.device, lanes)
        usable = int(expected * CLOCK_MARGIN / 1e6) * 1_000_000
        return min(self.board.clock_hz, max(usable, 16_000_000)), expected

    def cells_short(self, config: CoreConfig) -> str | None:
        """Why the logic does not fit."""
        most = area(self.board.family, config).cells_most
        if most <= self.cells:
            return None
        return f"takes about {most} logic cells, of which {self.cells} can be used"

    def fit(self, shape: Shape, clocks: float) -> Candidate | str:
        """The core of a shape for the network, or why it does not fit."""
        try:
            # Memories of several engines are hardly smaller than so many of one: planned once, they say that most of
            # the shapes with as many lanes as there is logic for have no room.
            config = self._tailored(replace(shape, engines=1))
            if shape.engines > 1:
                several = [
                    self._memories_short(one) for one in self._placements(replace(config, engines=shape.engines))
                ]
                if all(several):
                    return several[-1]
                config = self._tailored(shape)
        except (CompileError, ConfigError) as error:
            return f"cannot run it ({error})"
        reason = ""
        for placed in self._placements(config):
            reason = self._short(placed)
            if not reason:
                clock, expected = self.clock(shape.lanes)
                return Candidate(placed, clock, expected, area(self.board.family, placed), clocks)
        return reason

    def _tailored(self, shape: Shape) -> CoreConfig:
        if shape not in self._made:
            self._made[shape] = tailored(self.lowered, self.base, shape, proven=self.proven, external=self.external)
        return self._made[shape]

    def _placements(self, config: CoreConfig) -> Iterator[CoreConfig]:
        """Where the memories can lie, the preferred first."""
        if self.external:
            rows = -(-line_words(self.lowered, config) // 64) * 64
            yield replace(config, store="bram")
            if rows < config.spike_depth:  # spikes outside, too
                yield replace(config, store="bram", spike_depth=rows)
            return
        own = self.board.core
        if own.streams_store:
            yield replace(config, store=own.store, store_depth=own.store_depth, store_fifo=own.store_fifo)
            return
        if self.board.sprams:
            yield replace(config, store="spram")
        yield replace(config, store="bram")

    def _short(self, config: CoreConfig) -> str:
        """What a core has too little of on the board; empty if it fits."""
        if config.store == "spram":
            try:
                rows, columns = spram_tiles(config)
            except ConfigError as error:
                return f"needs a larger store ({error})"
            if rows * columns > self.board.sprams:
                return f"needs {rows * columns} SPRAM blocks of {self.board.sprams}"
        short = self.cells_short(config)
        return short or self._memories_short(config)

    def _memories_short(self, config: CoreConfig) -> str:
        """How many block RAMs there are too few; empty if there are enough."""
        needed = area(self.board.family, config).brams_most
        return f"needs {needed} {BLOCKS} of {self.board.brams}" if needed > self.board.brams else ""
