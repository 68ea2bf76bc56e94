"""The core's Verilog for simulation."""

from __future__ import annotations

from amaranth.back import verilog

from refmodel.config import CoreConfig

from .harness import harness, randomise_power_up
from .outside import simulated_core


def simulation_sources(config: CoreConfig, *, stimulus_depth: int, seed: int) -> dict[str, str]:
    """``core.v`` (with the probe, and a random power-up state made from ``seed``) , its
    memories' files, and ``harness.v``."""
    text = verilog.convert(simulated_core(config), name="core", emit_src=False, strip_internal_attrs=True)
    return {**randomise_power_up(text, seed), "harness.v": harness(config, stimulus_depth)}
