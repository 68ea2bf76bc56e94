"""Mapping: the core for a board and a network, searched over shapes with the cycle model and the area model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.registry import Board
from refmodel import golden
from refmodel.barrier import BarrierBound
from refmodel.buffers import chunk_count, stored_tensors, tensors_read
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.densities import random_inputs, tensor_values
from refmodel.errors import CompileError, ConfigError, DataError
from refmodel.external import streamed
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.outlook import operations, outlook, walked_words
from refmodel.quantized import INPUT, QuantizedNetwork
from refmodel.tailoring import Shape

from .candidates import BLOCKS, TIME_LANES, Candidate, Room, shapes
from .models import data_of, samples_of
from .progress import Progress, silent

#: Engines, ascending.
_ENGINES = (1, 2, 3, 4, 6, 8)
#: Shapes that run through the cycle model, and inputs of it.
_FINALISTS, SAMPLES = 3, 2
#: Cores that are planned at most: where so many do not fit, nothing much does.
_TRIES = 100
#: Of neuron units, the fewest whose bound is within this of the best; of equal cores, the smallest.
_EQUAL = 1.015
#: Shapes with fewer lanes than this part of the largest that fits are no match for it.
_LEAST = 1 / 8
#: Networks beyond these take expected clocks instead of the cycle model's: words that it walks, operations.
_MOST_WORDS, _MOST_OPERATIONS = 400_000, 1_500_000_000


@dataclass(frozen=True)
class Search:
    """What a search found: the fastest core, the next, and why not others.

    examined: shapes looked at.  too_large: those of them whose logic or memories are more than the board has.
    barred: the shape with the least bound of those, and why it does not fit.  exact: clocks are the cycle model's.
    """

    best: Candidate
    runner_up: Candidate | None
    examined: int
    too_large: int
    barred: tuple[Shape, float, str] | None
    exact: bool

    @property
    def why(self) -> str:
        """The choice in words."""
        text = f"the fastest of {self.examined} shapes, {self.too_large} of which do not fit"
        if self.barred is not None and self.barred[1] < self.best.bound:
            text += f"; {self.barred[0]} would be faster but {self.barred[2]}"
        return text

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        barred = None
        if self.barred is not None:
            barred = {"shape": self.barred[0].settings, "bound_clocks": self.barred[1], "reason": self.barred[2]}
        return {
            "exact": self.exact,
            "examined": self.examined,
            "too_large": self.too_large,
            "barred": barred,
            "best": self.best.summary(),
            "runner_up": None if self.runner_up is None else self.runner_up.summary(),
        }


def search(
    board: Board,
    net: QuantizedNetwork,
    *,
    rates: Mapping[str, float] | None = None,
    expected: bool = False,
    bytes_per_clock: float | None = None,
    finalists: int = _FINALISTS,
    axes: tuple[int, int, int] | None = None,
    clock_of: Callable[[int], float] | None = None,
    progress: Progress = silent,
) -> Search:
    """The fastest core of ``board`` for ``net``, the same every time.

    Shapes are ranked by the barrier bound on the spikes of a few inputs (bundled data or random ones), and the best
    that fit run through the cycle model.  Networks too large for that, outlines (``expected``) and given ``rates``
    take expected clocks of densities.  bytes_per_clock: weights come from an external memory, which then is the
    store.  finalists: 0 ranks by the bound alone.  axes: K, P, Tp to keep to, with one engine.
    clock_of: clock in Hz that a core of so many lanes can have, in place of ``CLOCK_MARGIN`` of the Fmax to expect.
    Raises CompileError where no core of the board runs the network.
    """
    lowered = lower(net)
    expected = expected or is_outline(net)
    if bytes_per_clock is None:
        _check_memory(board, net, lowered)
    exact = not expected and rates is None and bytes_per_clock is None and _walkable(net, lowered, board.core)
    progress("searching cores", None)
    x = None
    if exact:
        x = search_inputs(net)
        bound = BarrierBound(lowered, tensors=golden.run(lowered, x, keep=True).tensors)
    else:
        bound = BarrierBound(lowered, values=tensor_values(net, rates))
    room = Room(board, lowered, clock_of, proven=not expected, external=bytes_per_clock is not None)
    examined, ranked = _ranked(board, lowered, bound, room, bytes_per_clock, axes)
    found: list[Candidate] = []
    barred: tuple[Shape, float, str] | None = None
    too_large = examined - sum(len(group) for group in ranked)
    for group in ranked:
        if room.planned >= _TRIES or (len(found) >= max(2, finalists) and group[0][0] > found[-1].seconds):
            break
        for seconds, shape, clocks in group:
            made = room.fit(shape, clocks)
            if isinstance(made, Candidate):
                found.append(made)
                found.sort(key=lambda one: one.seconds)
                break
            too_large += 1
            if barred is None or seconds < barred[1] / board.clock_hz:
                barred = (shape, clocks, made)
            if room.planned >= _TRIES or BLOCKS in made:  # more neuron units do not make memories smaller
                break
    if not found:
        reason = "" if barred is None else f": {barred[0]} {barred[2]}"
        raise CompileError(f"network '{net.name}' fits no core of {board.name}{reason}; use a larger board")
    best = found[:finalists]
    for number, one in enumerate(best):
        progress("cycle model of shapes", number / len(best))
        best[number] = replace(one, clocks=_clocks(net, one.config, x, rates, bytes_per_clock))
    order = sorted([*best, *found[finalists:]], key=lambda one: (one.clocks is None, one.seconds))
    quickest = order[0]
    for one in order[1:]:
        if one.clocks is not None and one.seconds < order[0].seconds * _EQUAL and one.area.cells < quickest.area.cells:
            quickest = one
    others = [one for one in order if one is not quickest]
    return Search(quickest, others[0] if others else None, examined, too_large, barred, exact)


def is_outline(net: QuantizedNetwork) -> bool:
    """Whether the weights are views of one zero (:mod:`refmodel.outline`), which prove nothing."""
    weights = [layer.weight for layer in net.layers if layer.weight is not None]
    return bool(weights) and not any(any(weight.strides) for weight in weights)


def _check_memory(board: Board, net: QuantizedNetwork, lowered: QuantizedNetwork) -> None:
    """Raises CompileError where the weights, or what one layer reads and writes, are more than all memories."""
    bits = net.weight_bits * sum(layer.weight.size for layer in net.layers if layer.weight is not None)
    room = 1024 * (board.bram_total_kbit + 256 * board.sprams)
    if bits > room:
        raise CompileError(
            f"network '{net.name}' has {bits} bits of weights, {board.name} has memories of {room} bits; use fewer "
            "channels or weight bits, or a larger board"
        )
    infos, stored = lowered.tensors(), stored_tensors(lowered)
    for layer in lowered.layers:
        names = [*tensors_read(layer), *([layer.name] if layer.name in stored else [])]
        steps = {INPUT: 1} if lowered.input.static else {}
        spikes = sum(
            int(np.prod(infos[name].shape)) * infos[name].planes * steps.get(name, lowered.steps) for name in set(names)
        )
        if spikes > 1024 * board.bram_total_kbit:
            raise CompileError(
                f"layer '{layer.name}' reads and writes {spikes} bits of spikes, {board.name} has block RAM of "
                f"{1024 * board.bram_total_kbit} bits; use fewer channels, pixels or steps, or a larger board"
            )


def search_inputs(net: QuantizedNetwork) -> NDArray[np.integer]:
    """Inputs that a search runs, which no other option changes: bundled digits where they fit, else random ones."""
    if data_of(net, None) == "digits":
        with contextlib.suppress(DataError):  # made for other images
            return samples_of(net, "digits", SAMPLES)[0]
    return random_inputs(net.input, net.steps, SAMPLES, np.random.default_rng(0))


def _walkable(net: QuantizedNetwork, lowered: QuantizedNetwork, core: CoreConfig) -> bool:
    """Whether the cycle model takes seconds at most."""
    if operations(net) > _MOST_OPERATIONS:
        return False
    try:
        ops = plan(lowered, core).ops
    except (CompileError, ConfigError):
        return True
    return walked_words(ops, chunk_count(lowered, core)) <= _MOST_WORDS


def _ranked(
    board: Board,
    lowered: QuantizedNetwork,
    bound: BarrierBound,
    room: Room,
    bytes_per_clock: float | None,
    axes: tuple[int, int, int] | None,
) -> tuple[int, list[list[tuple[float, Shape, float]]]]:
    """How many shapes there are, and those not too large: seconds, shape, clocks; by K, P, Tp, E and by preference."""
    examined = 0
    candidates: list[tuple[Shape, CoreConfig]] = []
    steps = lowered.steps if axes is None else max(TIME_LANES)
    single = axes is not None or room.base.streams_store or room.base.state_depth > 0
    engines = [1] if single else _engine_counts(lowered)
    for shape in shapes(board, steps, room.bits):
        if axes is not None and axes != (shape.event_lanes, shape.output_lanes, shape.time_lanes):
            continue
        try:
            config = room.least(shape)
        except ConfigError:
            continue
        examined += len(engines)
        for count in engines:  # more of them take more
            several = replace(config, engines=count)
            if room.cells_short(several) is not None:
                break
            candidates.append((replace(shape, engines=count), several))
    least = _LEAST * max((shape.lanes for shape, _ in candidates), default=0)
    groups: dict[tuple[int, int, int, int], list[tuple[float, Shape, float]]] = {}
    for shape, config in candidates:
        if shape.lanes < least:
            continue
        clocks = bound.clocks(config, bytes_per_clock)
        key = (shape.event_lanes, shape.output_lanes, shape.time_lanes, shape.engines)
        groups.setdefault(key, []).append((clocks / room.clock(shape.lanes)[0], shape, clocks))
    return examined, sorted((_preferred(group) for group in groups.values()), key=lambda group: group[0])


def _engine_counts(lowered: QuantizedNetwork) -> list[int]:
    """Numbers of engines that can have rows of their own in some layer."""
    rows = max((info.shape[1] for info in lowered.tensors().values()), default=1)
    return [count for count in _ENGINES if count <= rows]


def _preferred(group: list[tuple[float, Shape, float]]) -> list[tuple[float, Shape, float]]:
    """The fewest neuron units that are as good as the best first, then the others by time."""
    best = min(group)[0] * _EQUAL
    return sorted(group, key=lambda one: (one[0] > best, one[1].neuron_units if one[0] <= best else one[0]))


def _clocks(
    net: QuantizedNetwork,
    config: CoreConfig,
    x: NDArray[np.integer] | None,
    rates: Mapping[str, float] | None,
    bytes_per_clock: float | None,
) -> float:
    """Mean clocks by the cycle model, or those to expect."""
    if x is None:
        if bytes_per_clock is None:
            return outlook(net, config, rates).clocks
        return streamed(net, config, bytes_per_clock, rates).clocks
    program = compile_network(net, config)
    return float(run_timing(program, golden.run(program.network, x, keep=True).tensors).clocks.mean())
