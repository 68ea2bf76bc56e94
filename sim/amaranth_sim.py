"""The system test in Amaranth's own simulator."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth import ClockDomain, Module
from amaranth.sim import Simulator
from numpy.typing import NDArray

from refmodel.program import Program
from refmodel.trace import trace_words

from .outside import simulated_core

#: Words of the random program that scrambles the core before the first run.
_SCRAMBLE = 100


@dataclass(frozen=True)
class Run:
    """What a simulated core did with one input."""

    trace: NDArray[np.uint32]
    results: list[int]
    argmax: int
    clocks: int
    stalls: int = 0
    drifted: bool = False


def simulate(
    jobs: Sequence[tuple[Program, NDArray[np.integer]]],
    *,
    seed: int = 1,
    core: Any | None = None,
    limit: int = 1_000_000,
    vcd: str | None = None,
    resumes: Collection[int] = (),
) -> list[Run]:
    """Load and run each (program, input) in turn on one core, from a random state.

    Before the first one the core runs a random program on random spikes for a while and is
    then reset, which leaves memories and data registers as random as hardware wakes up.
    A program is loaded only when it differs from the one before.  ``resumes``: numbers of the jobs whose membranes
    begin where the job before left them.
    """
    config = jobs[0][0].config
    dut: Any = core or simulated_core(config)
    top = Module()
    top.domains.sync = sync = ClockDomain()
    top.submodules.core = dut
    rng = random.Random(seed)
    runs: list[Run] = []

    async def bench(ctx) -> None:
        for addr in range(config.spike_depth):
            await load(ctx, 1, addr, rng.getrandbits(config.spike_width))
        for addr in range(min(config.store_depth, _SCRAMBLE)):
            await load(ctx, 0, addr, rng.getrandbits(config.store_width) & ~1)  # no end header
        ctx.set(dut.load.valid, 0)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(3 * _SCRAMBLE)
        ctx.set(sync.rst, 1)
        await ctx.tick()
        ctx.set(sync.rst, 0)
        loaded = None
        for number, (program, x) in enumerate(jobs):
            if program is not loaded:
                for addr, word in enumerate(program.image):
                    await load(ctx, 0, addr, word)
                loaded = program
            addresses, words = program.input_words(x)
            for addr, word in zip(addresses.tolist(), words, strict=True):
                await load(ctx, 1, addr, word)
            ctx.set(dut.load.valid, 0)
            ctx.set(dut.start, 1)
            if config.state_depth:
                ctx.set(dut.resume, number in resumes)
            await ctx.tick()
            ctx.set(dut.start, 0)
            rows = []
            while not ctx.get(dut.done):
                rows.append(ctx.get(dut.probe))
                await ctx.tick()
                if len(rows) > limit:
                    raise TimeoutError(f"the core did not finish within {limit} clocks")
            rows.append(ctx.get(dut.probe))
            await ctx.tick()
            clocks, argmax = ctx.get(dut.clocks), ctx.get(dut.argmax)
            results = []
            for c in range(program.classes):
                ctx.set(dut.result_addr, c)
                await ctx.tick().repeat(2)
                results.append(ctx.get(dut.result_data))
            if config.streams_store and ctx.get(dut.fault):
                raise AssertionError("the core did not use its memory outside as it must")
            stalls = ctx.get(dut.stalls) if config.streams_store else 0
            drifted = bool(config.state_depth and ctx.get(dut.drifted))
            runs.append(Run(_pack(rows, trace_words(config)), results, argmax, clocks, stalls, drifted))

    async def load(ctx, space: int, addr: int, word: int) -> None:
        ctx.set(dut.load.payload, {"space": space, "addr": addr, "data": word})
        ctx.set(dut.load.valid, 1)
        await ctx.tick().until(dut.load.ready)

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if vcd is not None:
        with simulator.write_vcd(vcd):
            simulator.run()
    else:
        simulator.run()
    return runs


def _pack(rows: list[int], words: int) -> NDArray[np.uint32]:
    raw = b"".join(row.to_bytes(words * 4, "little") for row in rows)
    return np.frombuffer(raw, "<u4").reshape(len(rows), words).astype(np.uint32)
