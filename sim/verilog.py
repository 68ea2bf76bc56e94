"""The core's Verilog for simulation."""

from __future__ import annotations

from amaranth.back import verilog

from refmodel.config import CoreConfig

from .harness import harness, randomise_power_up
from .outside import simulated_core


def simulation_sources(
    config: CoreConfig, *, stimulus_depth: int, seed: int, words: int | None = None
) -> dict[str, str]:
    """``core.v`` (with the probe, and a random power-up state made from ``seed``) , its
    memories' files, and ``harness.v``.  words: as of :func:`sim.outside.simulated_core`."""
    text = verilog.convert(simulated_core(config, words=words), name="core", emit_src=False, strip_internal_attrs=True)
    return {**randomise_power_up(text, seed), "harness.v": harness(config, stimulus_depth)}
