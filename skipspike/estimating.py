"""What a network costs on a board's core, without synthesis: exact clocks, or those to expect of huge networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from boards.registry import Board, get_board
from refmodel import golden, zoo
from refmodel.buffers import chunk_count
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import CompileError, ConfigError, SkipspikeError
from refmodel.external import streamed
from refmodel.lane_use import barrier_clocks
from refmodel.lowering import lower
from refmodel.needs import Limit, plan
from refmodel.network import GateLayer, Network
from refmodel.outline import outline
from refmodel.outlook import operations, outlook, walked_words
from refmodel.program import Program
from refmodel.quantized import QuantizedNetwork

from .cores import AUTO, BOARD, Mapped, limits_core, mapped
from .hardware import core_memory
from .mapping import search
from .models import chosen_bits, open_network, quantised, samples_of
from .progress import Progress, silent

#: Samples unless told otherwise.
DEFAULT_SAMPLES = 8
#: Inputs whose spikes are kept at the same time.
_BATCH = 8

#: Larger networks are estimated from densities: words that the exact model walks (about a minute's work), or
#: synaptic operations of an input, all steps and zeros included.
MOST_WORDS = 2_000_000
MOST_OPERATIONS = 4_000_000_000


def estimate(
    network: str | Path,
    *,
    board: str = "icebreaker",
    data: str | Path | None = None,
    samples: int | None = None,
    bits: int | None = None,
    analytic: bool = False,
    density: str | Mapping[str, float] | None = None,
    core: str | Path | CoreConfig = AUTO,
    bandwidth: float | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Clocks, frames a second and memories of a network on the core that a board gets for it.

    By default by the cycle model on real inputs: ``clocks`` are exact, one entry for each of the samples (8 by
    default); ``clocks_per_inference`` and the layers' figures are means over them.  ``lane_use``: part of the K event
    lanes' clocks in which an event entered the array.  A network that the core cannot run has ``fits`` false, a
    ``reason``, all ``limits``, and no figures.

    ``analytic``: clocks to expect of values of certain densities (``exact`` is false), also of networks that do not
    fit, for a core that has what they lack.  ``density``: rate of all neurons (``"0.2"``), or of some
    (``"input=0.3,stage1.*=0.1"``, or a mapping); implies ``analytic``.  Networks beyond ``MOST_WORDS`` or
    ``MOST_OPERATIONS`` are estimated so, too, unless ``data`` or ``samples`` ask for the exact model.

    ``core``: which core, as :func:`skipspike.cores.mapped` takes it; ``mapping`` says what was chosen, why, and what
    a search finds fastest and next.  ``bandwidth``: weights come from an external memory of so many MB/s (10^6 bytes),
    and so do spikes that the core's memory does not hold (:mod:`refmodel.external`); implies ``analytic``.
    """
    found = get_board(board)
    wanted = analytic or density is not None or bandwidth is not None
    if bandwidth is not None and not bandwidth > 0:
        raise SkipspikeError(f"bandwidth must be more than 0 MB/s, not {bandwidth:g}")
    if wanted and (data is not None or samples is not None):
        raise SkipspikeError("an analytic estimate takes densities and no data; leave out data and samples")
    sketch = open_network(network, sketch=True)
    exact = data is not None or samples is not None or has_attention(sketch)
    if wanted or (not exact and _is_huge(_shape(sketch, bits), found)):
        return _expected(_shape(sketch, bits), found, rates_of(density), core, bandwidth, progress)
    progress("quantising", None)
    whole = open_network(network) if _without_weights(network) else sketch
    net = quantised(whole, bits, limits_core(found, core))
    return _exact(net, found, data, samples, core, progress)


def rates_of(density: str | Mapping[str, float] | None) -> dict[str, float]:
    """Rates by layer name or pattern, from ``"0.2"`` or ``"input=0.3,stage1.*=0.1"``; raises SkipspikeError."""
    if density is None or isinstance(density, Mapping):
        return dict(density or {})
    rates: dict[str, float] = {}
    for item in density.split(","):
        pattern, equals, text = item.rpartition("=")
        try:
            rates[pattern if equals else "*"] = float(text)
        except ValueError:
            raise SkipspikeError(f"density {item!r}: write a rate from 0 to 1, or LAYER=RATE,...") from None
    return rates


def has_attention(net: Network | QuantizedNetwork) -> bool:
    """Whether a layer has SynA attention, for which there is only the exact model."""
    return any(isinstance(layer, GateLayer) or getattr(layer, "attention", None) for layer in net.layers)


def _without_weights(network: str | Path) -> bool:
    return str(network).startswith(zoo.PREFIX)


def _shape(net: Network | QuantizedNetwork, bits: int | None) -> QuantizedNetwork:
    return net if isinstance(net, QuantizedNetwork) else outline(net, chosen_bits(net, bits))


def _is_huge(shape: QuantizedNetwork, board: Board) -> bool:
    """Whether the exact model would take too long."""
    if operations(shape) > MOST_OPERATIONS:
        return True
    lowered = lower(shape)
    try:
        planned = plan(lowered, board.core)
    except (CompileError, ConfigError):
        return False
    return walked_words(planned.ops, chunk_count(lowered, board.core)) > MOST_WORDS


def _result(net: QuantizedNetwork, board: Board) -> dict[str, Any]:
    """What every estimate says, before there are figures."""
    return {
        "network": net.name,
        "board": board.name,
        "weight_bits": net.weight_bits,
        "exact": True,
        "samples": 0,
        "fits": True,
        "reason": None,
        "limits": [],
        "clocks_per_inference": None,
        "barrier_clocks": None,
        "stall_clocks": None,
        "frames_per_second": None,
        "bandwidth": None,
        "clocks": [],
        "layers": [],
        **_core(Mapped(board, board.core, BOARD, "")),
    }


def _core(chosen: Mapped, words: dict[str, int] | None = None) -> dict[str, Any]:
    """What a result says of its core; ``words``: used of each memory."""
    config = chosen.config
    return {
        "lanes": config.lanes,
        "clock_hz": chosen.board.clock_hz,
        "core": asdict(config),
        "mapping": {
            "choice": chosen.choice,
            "why": chosen.why,
            "search": None if chosen.search is None else chosen.search.summary(),
        },
        "memory": _memory(chosen.board, config, words or {}),
    }


def _memory(board: Board, config: CoreConfig, words: dict[str, int]) -> dict[str, Any]:
    """Words used of each memory, bits of the core's memories, and what the board has."""
    return {
        **words,
        "core": core_memory(config),
        "board": {
            "brams": board.brams,
            "bram_bits": board.bram_total_kbit * 1024,
            "sprams": board.sprams,
            "spram_bits": board.sprams * 256 * 1024,
        },
    }


def _limits(limits: tuple[Limit, ...]) -> list[dict[str, Any]]:
    return [{**asdict(limit), "text": str(limit)} for limit in limits]


def _expected(
    shape: QuantizedNetwork,
    board: Board,
    rates: dict[str, float],
    core: str | Path | CoreConfig,
    bandwidth: float | None,
    progress: Progress,
) -> dict[str, Any]:
    """Clocks to expect, on a larger core where this one does not do."""
    result = _result(shape, board) | {"exact": False, "bandwidth": bandwidth}
    rate = None if bandwidth is None else 1e6 * bandwidth / board.clock_hz
    # With weights outside the board's own core need not hold them: it is no reason to search.
    policy = BOARD if rate is not None and core == AUTO else core
    options = {"rates": rates or None, "expected": True, "bytes_per_clock": rate}
    try:
        chosen = mapped(board, shape, policy, progress, **options)
        progress("expecting clocks", None)
        clock = chosen.board.clock_hz
        if bandwidth is None:
            found = outlook(shape, chosen.config, rates)
        else:
            found = streamed(shape, chosen.config, 1e6 * bandwidth / clock, rates)
            result["spikes_outside"] = found.spikes_outside
    except (CompileError, ConfigError) as error:
        return result | {"fits": False, "reason": str(error)}
    result |= _core(chosen, found.memory)
    result["clocks_per_inference"] = found.clocks
    result["frames_per_second"] = clock / found.clocks
    result["layers"] = [asdict(layer) for layer in found.layers]
    result["limits"] = _limits(found.limits)
    if found.limits:
        result |= {"fits": False, "reason": "; ".join(str(limit) for limit in found.limits)}
    return result


def _exact(
    net: QuantizedNetwork,
    board: Board,
    data: str | Path | None,
    samples: int | None,
    core: str | Path | CoreConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Clocks on real inputs."""
    x, _ = samples_of(net, data, samples, DEFAULT_SAMPLES, progress)
    result = _result(net, board) | {"samples": len(x)}
    config = board.core
    try:
        chosen = mapped(board, net, core, progress)
        config = chosen.config
        program = compile_network(net, config)
    except (CompileError, ConfigError) as error:
        return result | {"fits": False, "reason": str(error), "limits": _all_limits(net, config)}
    if chosen.choice == BOARD and core == AUTO:
        chosen = _with_search(chosen, net, progress)
    clocks, layer_clocks, layer_events, barriers, stalls = _times(program, x, progress)
    result |= _core(chosen, program.memory())
    mean = float(clocks.mean())
    result["clocks_per_inference"] = mean
    result["frames_per_second"] = chosen.board.clock_hz / mean
    result["clocks"] = clocks.tolist()
    result["barrier_clocks"] = float(barriers.sum(axis=0).mean())
    result["stall_clocks"] = float(stalls.mean())
    lanes = config.engines * config.event_lanes
    result["layers"] = [
        {
            "name": op.layer.name,
            "clocks": float(layer_clocks[index].mean()),
            "events": float(layer_events[index].mean()),
            "lane_use": float(layer_events[index].sum() / (lanes * layer_clocks[index].sum())),
            "barrier_clocks": float(barriers[index].mean()),
        }
        for index, op in enumerate(program.ops)
    ]
    return result


def _with_search(chosen: Mapped, net: QuantizedNetwork, progress: Progress) -> Mapped:
    """The board's own core, with what a search would find beside it."""
    try:
        return replace(chosen, search=search(chosen.board, net, finalists=1, progress=progress))
    except (CompileError, ConfigError):
        return chosen


def _all_limits(net: QuantizedNetwork, config: CoreConfig) -> list[dict[str, Any]]:
    """Everything that a refused network needs; nothing where no core of the shape will do."""
    try:
        return _limits(plan(lower(net), config).limits)
    except (CompileError, ConfigError):
        return []


def _times(program: Program, x: np.ndarray, progress: Progress) -> tuple[np.ndarray, ...]:
    """Clocks ``[N]``; clocks, events and barrier clocks of every layer ``[layer, N]``; clocks of waiting ``[1, N]``."""
    parts = []
    for start in range(0, len(x), _BATCH):
        progress("cycle model", start / len(x))
        spikes = golden.run(program.network, x[start : start + _BATCH], keep=True)
        timing = run_timing(program, spikes.tensors)
        barriers = barrier_clocks(program, spikes.tensors)
        parts.append((timing.clocks, timing.layer_clocks(), timing.layer_events(), barriers, timing.stalls()[None]))
    clocks, *layers = zip(*parts, strict=True)
    return np.concatenate(clocks), *(np.concatenate(part, axis=1) for part in layers)
