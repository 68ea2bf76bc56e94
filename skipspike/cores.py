"""The core that a board gets for a network: its own, one found by search, or one of a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from boards import area_model
from boards.area_model import BLOCK_MODES, blocks
from boards.files import write_text
from boards.registry import Board
from refmodel.config import CoreConfig
from refmodel.errors import CompileError, ConfigError, SkipspikeError
from refmodel.features import with_features
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.quantized import QuantizedNetwork

from .mapping import Search, search
from .progress import Progress, silent

#: Choices of a core by name: the board's if it runs the network, else a search; always the board's; always a search.
AUTO, BOARD, SEARCH = "auto", "board", "search"
#: Memories grow by so many words: a block RAM's in its widest form.
_STEP = {family: modes[0][0] for family, modes in BLOCK_MODES.items()}


@dataclass(frozen=True)
class Mapped:
    """A board with the core that it gets.

    board: with the clock that the core is expected to reach, the board's own at most.
    choice: "board", "search" or "file".  search: what the search found, None without one.
    """

    board: Board
    config: CoreConfig
    choice: str
    why: str
    search: Search | None = None


def mapped(
    board: Board,
    net: QuantizedNetwork,
    core: str | Path | CoreConfig = AUTO,
    progress: Progress = silent,
    **options: Any,
) -> Mapped:
    """The core of ``board`` for ``net``; ``options`` as of :func:`skipspike.mapping.search`.

    core: "auto": the board's usual core (:func:`usual_core`) if it runs the network, else the fastest that a search
    finds (:mod:`skipspike.mapping`); "board" and "search" insist on one of them; a JSON file holds a core, or a
    result of ``estimate --json``; or a configuration.  The same arguments give the same core.
    Raises CompileError where nothing fits, SkipspikeError for a file without a core.
    """
    if isinstance(core, CoreConfig):
        return Mapped(board, core, "file", "given")
    if core not in (AUTO, BOARD, SEARCH):
        config, clock = read_core(core)
        return Mapped(replace(board, clock_hz=clock or board.clock_hz), config, "file", f"as {core} says")
    if core != SEARCH:
        try:
            config = usual_core(board, net)
            lacks = "" if core == BOARD else _lacks(net, config)
        except (CompileError, ConfigError) as error:
            if core == BOARD:
                raise
            config, lacks = board.core, str(error)
        if not lacks:
            return Mapped(board, config, "board", "the board's own core runs the network")
        try:
            found = search(board, net, progress=progress, **options)
        except (CompileError, ConfigError):
            usual_core(board, net)  # says what is missing, if it knows
            return Mapped(board, config, "board", f"no core of the board runs it: {lacks}")
        return _of_search(board, found, f"the board's own core does not run the network ({lacks}); {found.why}")
    found = search(board, net, progress=progress, **options)
    return _of_search(board, found, found.why)


def _of_search(board: Board, found: Search, why: str) -> Mapped:
    return Mapped(replace(board, clock_hz=found.best.clock_hz), found.best.config, "search", why, found)


def limits_core(board: Board, core: str | Path | CoreConfig = AUTO) -> CoreConfig:
    """The core for whose sums a network is quantised: the board's, with a given core's accumulators if they are
    narrower.  SkipspikeError for a file without a core."""
    if core in (AUTO, BOARD, SEARCH):
        return board.core
    config = core if isinstance(core, CoreConfig) else read_core(core)[0]
    return replace(board.core, acc_width=min(board.core.acc_width, config.acc_width))


def core_for(board: Board, net: QuantizedNetwork, core: str | Path | CoreConfig = AUTO) -> CoreConfig:
    """The core that ``board`` gets for ``net``; see :func:`mapped`."""
    return mapped(board, net, core).config


def read_core(path: str | Path) -> tuple[CoreConfig, int | None]:
    """Core and clock (Hz, if it says) of a JSON file: the fields of CoreConfig, or a result of ``estimate``."""
    known = {field.name for field in fields(CoreConfig)}
    try:
        content: Any = json.loads(Path(path).read_text())
    except OSError as error:
        raise SkipspikeError(
            f"core {str(path)!r}: {error.strerror or error}; use {AUTO}, {BOARD}, {SEARCH} or a JSON file with a core"
        ) from None
    except ValueError:
        raise SkipspikeError(f"core {str(path)!r} is no JSON file") from None
    clock = None
    if isinstance(content, dict) and isinstance(content.get("core"), dict):
        content, clock = content["core"], content.get("clock_hz")
    if not isinstance(content, dict) or "event_lanes" not in content:
        raise SkipspikeError(f"core {str(path)!r} holds no core: it needs the fields of CoreConfig")
    strange = sorted(set(content) - known)
    if strange:
        raise SkipspikeError(f"core {str(path)!r} has fields that no core has: {', '.join(strange)}")
    try:
        return CoreConfig(**content), int(clock) if clock else None
    except TypeError as error:
        raise SkipspikeError(f"core {str(path)!r} cannot be read: {error}") from None


def write_core(path: str | Path, config: CoreConfig, clock_hz: int) -> Path:
    """A file that :func:`read_core` takes; returns its path."""
    path = Path(path)
    write_text(path, json.dumps({"core": asdict(config), "clock_hz": clock_hz}, indent=1) + "\n")
    return path


def _lacks(net: QuantizedNetwork, config: CoreConfig) -> str:
    """What ``config`` has too little of for ``net``; empty if nothing."""
    try:
        return "; ".join(str(limit) for limit in plan(lower(net), config).limits)
    except (CompileError, ConfigError) as error:
        return str(error)


def usual_core(board: Board, net: QuantizedNetwork) -> CoreConfig:
    """The board's core, with what ``net`` needs more of as far as the board has it.

    Optional parts are added (:mod:`refmodel.features`); spike memory, weight banks and a store in block RAM grow if
    the blocks that the board's usual core leaves free will do, and stay as they are otherwise.  Raises CompileError
    where there are too few for the membrane streams.
    """
    config = with_features(board.core, net)
    left = board.brams - board.core_brams - state_blocks(board, config)
    if config.stream_width and board.core.stream_width == 0:
        width = config.neuron_units * config.stream_width
        needed = blocks(board.family, config.stream_depth, width)
        if needed > left:
            raise CompileError(
                f"network '{net.name}' has membrane streams of {config.stream_depth} words of {width} bits, which take "
                f"{needed} block RAMs; {board.name} has {left} left beside its core: use fewer channels, pixels, steps "
                "or weight bits, or a larger board"
            )
        left -= needed
    larger = _with_room(board, config, net)
    return larger if memory_blocks(board, larger) - memory_blocks(board, config) <= left else config


def _with_room(board: Board, config: CoreConfig, net: QuantizedNetwork) -> CoreConfig:
    """``config`` with memories as deep as ``net`` needs them; as it is where no core of the shape will do."""
    try:
        needed = {limit.setting: limit.needed for limit in plan(lower(net), config).limits}
    except (CompileError, ConfigError):
        return config
    step = _STEP[board.family]
    depths: dict[str, int] = {}
    for setting in ("spike_depth", "store_depth", "state_depth"):
        if setting in needed and (setting != "store_depth" or config.store == "bram"):
            depths[setting] = -(-needed[setting] // step) * step
    if "bank_depth" in needed:
        depths["bank_depth"] = 1 << (needed["bank_depth"] - 1).bit_length()
    return replace(config, **depths) if depths else config


def state_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of a core's state memory, which no board's usual core has."""
    return memory_blocks(board, config) - memory_blocks(board, replace(config, state_depth=0))


def memory_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of the memories that grow."""
    return area_model.memory_blocks(board.family, config)
