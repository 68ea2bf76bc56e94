"""Area of a core from its parameters: logic cells and block RAMs, by a model fitted to synthesised cores.

Every feature is a count that the gateware's structure suggests (bits of adders, accumulators, neuron units, words),
so that a fit to small cores holds for large ones; the coefficients, none negative, are those of ``area_model.json``,
which :mod:`boards.area_fit` makes anew.  Block RAMs of the large memories are counted, not fitted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from refmodel.layout import descriptor_bits

from .sizes import Family

#: Fit points, coefficients and errors.
MODEL = Path(__file__).with_name("area_model.json")
FORMAT = 1
#: Words and bits of a word that one block RAM can be.
BLOCK_MODES: dict[Family, tuple[tuple[int, int], ...]] = {
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
}
#: Logic cells of pins, PLL, UART and host link beside a core: UART and host link alone are 713 on iCE40, 581 on ECP5.
LINK_CELLS: dict[Family, int] = {"ice40": 730, "ecp5": 600}


def blocks(family: Family, depth: int, width: int) -> int:
    """Block RAMs of a memory of ``depth`` words of ``width`` bits."""
    return min(-(-depth // words) * -(-width // bits) for words, bits in BLOCK_MODES[family])


def adder_bits(config: CoreConfig) -> int:
    """Bits of the adders over the K weights of one (output lane, time lane), masks included."""
    k, width = config.event_lanes, config.weight_bits
    if config.adder == "chain":
        return width + sum(width + (lane - 1).bit_length() for lane in range(2, k + 1))
    levels = (k - 1).bit_length()
    return k * width + sum((k >> level) * (width + level) for level in range(1, levels + 1))


def features(config: CoreConfig) -> dict[str, float]:
    """What the logic cells of a core grow with; nearly all of them are its engines'."""
    engines = config.engines
    sites = engines * config.output_lanes * config.time_lanes
    units = engines * config.neuron_units
    return {
        "core": 1.0,
        "descriptor": float(engines * descriptor_bits(replace(config, engines=1))),
        "adders": float(sites * adder_bits(config)),
        "accumulators": float(sites * config.acc_width),
        "words": float(sites),
        "lanes": float(engines * config.event_lanes),
        "stages": float(engines * config.stages * config.event_lanes * (config.weight_addr_bits + config.time_lanes)),
        "neurons": float(units * (config.membrane_width + config.acc_width)),
        "leaks": float(units * config.leak_terms * config.membrane_width * config.leak_shift_max.bit_length()),
        "multipliers": float(units * config.leak_bits),
        "parameters": float(units * config.param_width * -(-config.slots_per_step // 8)),
        # a stream's registers and adder; of a state memory the registers on both its sides
        "streams": float(units * (config.stream_width + (config.membrane_width if config.state_depth else 0))),
        "attention": float(config.attention is not None),
    }


def block_features(family: Family, config: CoreConfig) -> dict[str, float]:
    """What the block RAMs grow with that :func:`memory_blocks` does not count."""
    bits, engines = BLOCK_MODES[family][0][1], config.engines
    return {
        "core": 1.0,
        "parameters": float(engines * config.neuron_units * -(-config.param_width // bits)),
        "shortcuts": float(engines * config.event_lanes * -(-config.spike_width // config.event_lanes // bits)),
    }


def memory_blocks(family: Family, config: CoreConfig) -> int:
    """Block RAMs of spike and occupancy memory, weight banks, stream and state memory, all of which each engine has,
    and of a store of block RAM."""
    from rtl_gen.spike_memory import ice40_blocks

    lanes, rows = config.event_lanes, -(-config.spike_depth // config.scan_words)
    slice_width = config.spike_width // lanes
    if family == "ice40":
        spikes = lanes * ice40_blocks(config.spike_depth, slice_width)
        occupancy = -(-rows // 256) * -(-lanes * config.scan_words // 16)
    else:
        spikes = lanes * blocks(family, config.spike_depth, slice_width)
        # A word's bits are written alone, and a block RAM writes 9 bits at least.
        occupancy = -(-rows // 512) * -(-config.scan_words * -(-lanes // 9) // 4)
    streams = config.neuron_units * config.stream_width
    own = (
        spikes
        + occupancy
        + lanes * config.stages * blocks(family, 2 * config.bank_depth, config.bank_lanes * config.weight_bits)
        + (blocks(family, config.stream_depth, streams) if streams else 0)
        + (blocks(family, config.state_depth, config.neuron_units * config.membrane_width) if config.state_depth else 0)
    )
    store = blocks(family, config.store_depth, config.store_width) if config.store == "bram" else 0
    return config.engines * own + store


@dataclass(frozen=True)
class Area:
    """What a core takes: ``cells`` and ``brams`` expected, ``cells_most`` and ``brams_most`` with the fit's margin."""

    cells: int
    brams: int
    cells_most: int
    brams_most: int


@cache
def _model() -> dict[str, Any]:
    try:
        model = json.loads(MODEL.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{MODEL} cannot be read ({str(error).splitlines()[0]}): fit it again") from None
    if model.get("format") != FORMAT:
        raise BoardError(f"{MODEL} is no area model of format {FORMAT}: fit it again")
    return model


def weigh(coefficients: Mapping[str, float], counts: Mapping[str, float]) -> float:
    """Sum of the counts, each times its coefficient."""
    return sum(coefficients.get(name, 0.0) * value for name, value in counts.items())


def area(family: Family, config: CoreConfig) -> Area:
    """What a core of ``config`` takes without host link.  Raises BoardError if there is no model."""
    fitted = _model()["families"][family]
    cells = weigh(fitted["cells"], features(config))
    counted = memory_blocks(family, config)
    more = weigh(fitted["blocks"], block_features(family, config))
    return Area(
        cells=round(cells),
        brams=counted + round(more),
        cells_most=math.ceil(cells * (1 + fitted["margin"])),
        brams_most=counted + math.ceil(more - 1e-6) + fitted["block_margin"],
    )


def fmax(device: str, lanes: int) -> float:
    """Clock in Hz that a core of so many lanes is expected to reach after place and route.

    From routed cores of the device: the nearest on either side, in proportion to the logarithm of the lanes; beyond
    them it falls by ``fall`` each time the lanes double.
    """
    clocks = _model()["clocks"]
    every = [(p["device"], p["lanes"], p["fmax_hz"]) for p in clocks["points"]]
    points = sorted(p[1:] for p in every if p[0] == device)
    if not points:  # another size of the family will do
        points = sorted(p[1:] for p in every if p[0][:5] == device[:5])
    if not points:
        raise BoardError(f"the area model has no routed core of {device}: fit it again")
    at = math.log2(lanes)
    below = [p for p in points if p[0] <= lanes]
    above = [p for p in points if p[0] >= lanes]
    if below and above:
        (low, slow), (high, fast) = below[-1], above[0]
        part = 0.0 if high == low else (at - math.log2(low)) / (math.log2(high) - math.log2(low))
        return slow + part * (fast - slow)
    near, clock = (below or above)[-1 if below else 0]
    return clock if lanes < near else clock * (1 - clocks["fall"]) ** (at - math.log2(near))
