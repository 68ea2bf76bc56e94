"""Fits the area model: synthesises cores of many shapes and writes ``area_model.json``.

``python -m boards.area_fit`` takes about 20 minutes of one CPU the first time; every synthesis is kept by its content
(:class:`boards.sizes.Cache`), so that another run costs only what has changed.  ``--cached`` synthesises nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel.config import CoreConfig
from refmodel.errors import SkipspikeError, ToolError

from .area_model import FORMAT, MODEL, adder_bits, block_features, features, memory_blocks, weigh
from .bench_table import table_lines
from .core_table import with_section
from .files import write_text
from .registry import get_board
from .sizes import FAMILIES, Cache, Family, Size, cache_folder, subject, synthesise, tool_versions

#: The board of each family whose core the shapes vary.
_BASES: dict[Family, str] = {"ice40": "icebreaker", "ecp5": "ulx3s_85f"}
#: Memories as small as they get: they are counted, not fitted, and slow synthesis down.
_SMALL = {"spike_depth": 512, "bank_depth": 64, "store_depth": 512, "max_planes": 4}
#: Routed cores: the table of ``skipspike bench cores``, and which of the boards' devices its devices stand for.
_CORES = Path(__file__).resolve().parents[1] / "docs" / "cores.json"
_DEVICES = {"up5k": ("up5k",), "hx8k": ("hx8k",), "ecp5-25f": ("LFE5U-12F", "LFE5U-25F"), "ecp5-85f": ("LFE5U-85F",)}
#: What stands in until that table has rows of a device: the boards' cores as built, seed 1.
_BUILT: tuple[dict[str, Any], ...] = (
    {"device": "up5k", "lanes": 64, "fmax_hz": 33_900_000},
    {"device": "LFE5U-85F", "lanes": 256, "fmax_hz": 73_500_000},
)
#: The page that has the model's errors.
_PAGE = Path(__file__).resolve().parents[1] / "docs" / "mapping.md"
#: What the fitted cores have other than the base: K, P, Tp, NU, Q, and more.
_CHAIN: dict[str, Any] = {"adder": "chain"}
_SHAPES: dict[Family, tuple[dict[str, Any], ...]] = {
    "ice40": (
        {},
        {"event_lanes": 4, "acc_width": 14, "membrane_width": 18},
        {"event_lanes": 2, "output_lanes": 8, "time_lanes": 2},
        {"event_lanes": 1, "output_lanes": 8, "time_lanes": 4},
        {"event_lanes": 2, "output_lanes": 8, "weight_bits": 4, "acc_width": 12, "membrane_width": 16},
        {"event_lanes": 2, "output_lanes": 16, "time_lanes": 1, "neuron_units": 2, "bank_lanes": 2},
        {"event_lanes": 4, "output_lanes": 16, "time_lanes": 2, "neuron_units": 2, "acc_width": 14},
        {"event_lanes": 2, "output_lanes": 8, "time_lanes": 4, "neuron_units": 2, "leak_terms": 2},
        {"event_lanes": 2, "output_lanes": 8, "time_lanes": 4, "leak_terms": 0, "membrane_width": 18},
        {"event_lanes": 4, "output_lanes": 8, "time_lanes": 4, "weight_bits": 4, "acc_width": 14, "bank_lanes": 4},
        {"event_lanes": 2, "output_lanes": 8, "time_lanes": 4, "stream_width": 12, "stream_depth": 512},
        {"event_lanes": 8, "output_lanes": 8, "time_lanes": 2, "scan_words": 2, "acc_width": 14},
        {"engines": 2, "event_lanes": 2, "output_lanes": 8, "time_lanes": 1},
    ),
    "ecp5": (
        _CHAIN,
        {},
        _CHAIN | {"event_lanes": 2, "output_lanes": 16},
        _CHAIN | {"event_lanes": 4, "output_lanes": 8, "neuron_units": 2, "acc_width": 14, "membrane_width": 18},
        _CHAIN | {"event_lanes": 4, "output_lanes": 8, "neuron_units": 1, "leak_terms": 0, "acc_width": 14},
        _CHAIN | {"event_lanes": 4, "output_lanes": 32, "time_lanes": 1, "neuron_units": 4, "bank_lanes": 4},
        _CHAIN | {"event_lanes": 8, "output_lanes": 16, "time_lanes": 4, "neuron_units": 2, "spike_depth": 2048},
        {"event_lanes": 8, "output_lanes": 8, "time_lanes": 2, "neuron_units": 1},
        _CHAIN | {"event_lanes": 2, "output_lanes": 16, "time_lanes": 8, "neuron_units": 2, "acc_width": 16},
        _CHAIN | {"event_lanes": 4, "output_lanes": 16, "weight_bits": 4, "bank_lanes": 8, "acc_width": 14},
        _CHAIN | {"event_lanes": 4, "output_lanes": 16, "time_lanes": 2, "neuron_units": 4, "leak_terms": 1},
        _CHAIN | {"event_lanes": 4, "output_lanes": 16, "stream_width": 16, "stream_depth": 512},
        _CHAIN | {"event_lanes": 4, "output_lanes": 16, "leak_bits": 8, "leak_terms": 0},
        _CHAIN | {"event_lanes": 4, "output_lanes": 32, "time_lanes": 4, "neuron_units": 4, "acc_width": 14},
        _CHAIN | {"engines": 2, "acc_width": 14, "membrane_width": 18},
        _CHAIN | {"engines": 4, "event_lanes": 2, "output_lanes": 8, "neuron_units": 1, "leak_terms": 0},
    ),
}
#: Pull of every coefficient towards 0, in parts of what its feature takes at most: keeps a fit of few points steady.
_RIDGE = 1e-2


#: Part of the clock that a core is taken to lose each time its lanes double, beyond those that are routed.
_FALL = 0.08


def points(family: Family) -> list[CoreConfig]:
    """The cores that are synthesised."""
    base = replace(get_board(_BASES[family]).core, **_SMALL)
    if family == "ice40":
        base = replace(base, store="bram")
    return list(dict.fromkeys(replace(base, **shape) for shape in _SHAPES[family]))


def fit_non_negative(matrix: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x >= 0 with the least squares of ``matrix @ x - values`` (Lawson and Hanson's active set)."""
    count = matrix.shape[1]
    x = np.zeros(count)
    passive = np.zeros(count, bool)
    tolerance = 1e-10 * np.abs(matrix.T @ values).max(initial=1.0)
    for _ in range(10 * count):
        gradient = matrix.T @ (values - matrix @ x)
        free = np.where(passive, -np.inf, gradient)
        if free.max() <= tolerance:
            break
        passive[int(free.argmax())] = True
        while True:
            z = np.zeros(count)
            z[passive] = np.linalg.lstsq(matrix[:, passive], values, rcond=None)[0]
            if z[passive].min() > 0:
                x = z
                break
            low = passive & (z <= 0)
            step = (x[low] / np.maximum(x[low] - z[low], 1e-30)).min()
            x = x + step * (z - x)
            passive &= x > 1e-12
            x[~passive] = 0.0
            if not passive.any():
                break
    return x


def fit(rows: Sequence[dict[str, float]], values: Sequence[float], relative: bool) -> dict[str, float]:
    """Coefficients by name; ``relative``: errors count in parts of the value."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    matrix = np.array([[row[name] for name in names] for row in rows])
    target = np.array(values, float)
    weight = 1.0 / target if relative else np.ones(len(target))
    scale = (matrix * weight[:, None]).max(axis=0)
    scaled = matrix * weight[:, None] / scale
    ridge = _RIDGE * np.eye(len(names))
    x = fit_non_negative(np.vstack([scaled, ridge]), np.concatenate([target * weight, np.zeros(len(names))]))
    return {name: float(f"{value:.6g}") for name, value in zip(names, x / scale, strict=True) if value > 0}


def _errors(rows: Sequence[dict[str, float]], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Relative errors (expected over measured - 1): of the fit, and of each point by a fit to the others."""
    whole = fit(rows, values, relative=True)
    inside = [weigh(whole, row) / value - 1 for row, value in zip(rows, values, strict=True)]
    outside = []
    for index, row in enumerate(rows):
        others = [other for number, other in enumerate(rows) if number != index]
        rest = [value for number, value in enumerate(values) if number != index]
        outside.append(weigh(fit(others, rest, relative=True), row) / values[index] - 1)
    return inside, outside


def fit_family(family: Family, measured: Sequence[tuple[CoreConfig, Size]]) -> dict[str, Any]:
    """A family's part of the model."""
    rows = [features(config) for config, _ in measured]
    cells = [float(size.cells) for _, size in measured]
    inside, outside = _errors(rows, cells)
    extra = [size.bram - memory_blocks(family, config) for config, size in measured]
    block_rows = [block_features(family, config) for config, _ in measured]
    blocks = fit(block_rows, [max(0, value) for value in extra], relative=False)
    short = [value - weigh(blocks, row) for value, row in zip(extra, block_rows, strict=True)]
    root = float(np.sqrt(np.mean(np.square(outside))))
    return {
        "cells": fit(rows, cells, relative=True),
        "blocks": blocks,
        "error_rms": round(float(np.sqrt(np.mean(np.square(inside)))), 4),
        "error_most": round(max(abs(e) for e in inside), 4),
        "left_out_rms": round(root, 4),
        "margin": math.ceil(1e4 * max(0.03, *(1 / (1 + e) - 1 for e in inside))) / 1e4,
        "block_margin": max(0, round(max(short))),
        "points": [
            {
                "config": _told(config),
                "adder_bits": adder_bits(config),
                "cells": size.cells,
                "brams": size.bram,
                "counted_brams": memory_blocks(family, config),
                "expected": round(size.cells * (1 + error)),
                "error": round(error, 4),
                "left_out_error": round(left, 4),
            }
            for (config, size), error, left in zip(measured, inside, outside, strict=True)
        ],
    }


def _told(config: CoreConfig) -> dict[str, Any]:
    """What of a configuration the model sees, other than the defaults."""
    usual = asdict(CoreConfig())
    return {name: value for name, value in asdict(config).items() if value != usual[name]}


def measure(
    family: Family, cache: Cache, *, cached_only: bool, jobs: int, timeout: float
) -> list[tuple[CoreConfig, Size]]:
    """Sizes of the cores, one line on stderr each.  A core that cannot be made or synthesised is left out."""
    from rtl_gen.core import Core

    tools = tool_versions(family)

    def one(config: CoreConfig) -> tuple[CoreConfig, Size] | None:
        try:
            what = subject(Core(config=config), family)
            size = cache.get(what, tools)
            if size is None and not cached_only:
                size = synthesise(what, timeout=timeout)
                cache.put(what, tools, size)
        except ToolError as error:
            print(f"{family} {_told(config)}: {error}", file=sys.stderr)
            return None
        print(f"{family} {_told(config)}: {'not kept' if size is None else asdict(size)}", file=sys.stderr, flush=True)
        return None if size is None else (config, size)

    with ThreadPoolExecutor(jobs) as pool:
        return [found for found in pool.map(one, points(family)) if found is not None]


def clock_points(table: Path = _CORES) -> list[dict[str, Any]]:
    """Routed cores: device, lanes and Fmax of seed 1."""
    try:
        rows = json.loads(table.read_text())["rows"]
    except (OSError, ValueError, KeyError):
        rows = []
    found = [
        {"device": device, "lanes": row["lanes"], "fmax_hz": row["fmax_hz"]}
        for row in rows
        if row.get("fmax_hz")
        for device in _DEVICES.get(row["device"], ())
    ]
    measured = {point["device"] for point in found}
    return [*found, *(dict(point) for point in _BUILT if point["device"] not in measured)]


def markdown(model: Mapping[str, Any]) -> str:
    """Errors of the model, and the routed cores, as tables."""
    percent = ("error_rms", "error_most", "left_out_rms", "margin")
    rows = [
        [
            family,
            len(made["points"]),
            f"{min(p['cells'] for p in made['points']):,} to {max(p['cells'] for p in made['points']):,}",
            *(f"{100 * made[name]:.1f} %" for name in percent),
        ]
        for family, made in sorted(model["families"].items())
    ]
    columns = ("family", ">cores", ">cells", ">error, rms", ">most", ">left out, rms", ">margin")
    clocks = [[p["device"], p["lanes"], f"{p['fmax_hz'] / 1e6:.1f} MHz"] for p in model["clocks"]["points"]]
    tables = (table_lines(columns, rows), table_lines(("device", ">lanes", ">Fmax"), clocks))
    return "\n\n".join("\n".join(lines) for lines in tables)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and fits; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m boards.area_fit", description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, help="this family alone")
    parser.add_argument("--cached", action="store_true", help="synthesise nothing: fit to what is kept")
    parser.add_argument("--jobs", type=int, default=1, help="syntheses at the same time")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds a tool may take")
    parser.add_argument("--cache", type=Path, default=None, help="folder of kept results")
    parser.add_argument("--out", type=Path, default=MODEL, help="where the model is written")
    options = parser.parse_args(arguments)
    cache = Cache(options.cache or cache_folder())
    try:
        model = json.loads(options.out.read_text() if options.out.exists() else MODEL.read_text())
    except (OSError, ValueError):
        model = {}
    model = {"format": FORMAT, "tools": {}, "families": {}, "clocks": {}} | model
    model["clocks"] = {"fall": _FALL, "points": clock_points()}
    try:
        for family in FAMILIES if options.family is None else (options.family,):
            measured = measure(family, cache, cached_only=options.cached, jobs=options.jobs, timeout=options.timeout)
            if len(measured) < 6:
                raise ToolError(f"{family}: only {len(measured)} cores measured, too few to fit")
            model["families"][family] = made = fit_family(family, measured)
            model["tools"] |= tool_versions(family)
            print(
                f"{family}: {len(measured)} cores, error {100 * made['error_rms']:.1f} % (most "
                f"{100 * made['error_most']:.1f} %, each left out {100 * made['left_out_rms']:.1f} %), margin "
                f"{100 * made['margin']:.1f} %"
            )
        write_text(options.out, json.dumps(model, indent=1, sort_keys=True) + "\n")
        if options.out == MODEL and _PAGE.exists():
            write_text(_PAGE, with_section(_PAGE.read_text(), "area", markdown(model)))
    except (SkipspikeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
