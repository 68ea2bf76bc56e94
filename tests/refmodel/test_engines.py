"""Rows of engines, their turns on the write bus, and runs of the same network on more of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.engines import engine_rows, first_write
from refmodel.layout import engine_start, start_words
from refmodel.lowering import lower
from tests.random_networks import random_input, random_quantized_network
from tests.sim.jobs import fitting_network
from tests.sim.shapes import SHAPES


def test_every_row_has_one_engine() -> None:
    rng = np.random.default_rng(0)
    several = 0
    for shape in ("k2p8e2", "k4p16e4", "k1p4t2e3"):
        config = SHAPES[shape]
        for _ in range(4):
            for op in compile_network(fitting_network(rng, config), config).ops:
                shares = [op.share(engine) for engine in range(config.engines)]
                rows = [row for first, count in shares for row in range(first, first + count)]
                assert rows == list(range(op.out.shape[1]))
                assert [count > 0 for _, count in shares] == [number < op.engines for number in range(config.engines)]
                assert max(count for _, count in shares) == op.rows
                assert op.layer.kind != "readout" or op.engines == 1
                assert op.engines == 1 or op.engines * op.writes + 2 <= config.slots_per_chunk
                several += op.engines > 1
    assert several > 10


def test_layers_with_streams_of_equally_many_rows_divide_them_alike() -> None:
    """Even where one of them writes more planes than all engines have time for."""
    rng, config = np.random.default_rng(3), dataclasses.replace(SHAPES["k4p16e4"], engines=8, neuron_units=4)
    seen = 0
    for _ in range(20):
        net = lower(random_quantized_network(rng, steps=4, extras={"streams", "stream_tensors"}))
        rows, infos = engine_rows(net, config), net.tensors()
        touching: dict[int, set[int]] = {}
        for layer in net.layers:
            if layer.keeps_stream or layer.stream is not None or layer.kind in ("stream", "apply"):
                touching.setdefault(infos[layer.name].shape[1], set()).add(rows[layer.name])
        assert all(len(found) == 1 for found in touching.values())
        seen += len(touching)
    assert seen > 5


@pytest.mark.parametrize(("shape", "engines"), [("k2p8e2", 2), ("k1p4t2e3", 2), ("k1p4t2e3", 3), ("k4p16e4", 4)])
def test_no_two_engines_write_in_one_clock(shape: str, engines: int) -> None:
    config = SHAPES[shape]
    taken = np.arange(60)
    owner: dict[int, int] = {}
    for engine in range(engines):
        clocks = first_write(config, engines, engine, taken)
        assert (clocks > taken).all() and (clocks <= taken + engines).all()
        for clock in (clocks + engine_start(config, engine)).tolist():
            assert owner.setdefault(clock, engine) == engine
    assert len(owner) > 50
    # The first of engine 0 comes in the clock after its start.
    assert first_write(config, engines, 0, np.array([0]))[0] == 1


def test_start_fields_of_two_words_are_among_the_shapes() -> None:
    assert {start_words(SHAPES[shape]) for shape in ("k2p8e2", "k4p16e4", "k1p4t2e3")} == {1, 2}


def test_more_engines_take_fewer_clocks_and_the_same_events() -> None:
    rng = np.random.default_rng(1)
    base = CoreConfig(spike_depth=4096, store_depth=4096, bank_depth=512)
    net = fitting_network(rng, base, sizes=(8, 9), min_layers=3, max_layers=4)
    tensors, x = None, random_input(rng, net, 3)
    clocks, events = [], []
    for engines in (1, 2, 4):
        program = compile_network(net, dataclasses.replace(base, engines=engines))
        tensors = tensors or golden.run(program.network, x, keep=True).tensors
        timing = run_timing(program, tensors)
        clocks.append(timing.clocks.mean())
        events.append(timing.layer_events())
    assert clocks[0] > clocks[1] > clocks[2]
    assert np.array_equal(events[0], events[1]) and np.array_equal(events[0], events[2])
