"""Faults put in on purpose: the comparison of every clock must find each of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring

import rtl_gen.core
import rtl_gen.engine
import rtl_gen.scan_front
from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.cycles import run_timing
from refmodel.layout import param_fields
from refmodel.program import Program
from refmodel.quantized import QuantizedNetwork
from rtl_gen.scanner import EventScanner
from rtl_gen.sequencer import LayerSequencer
from rtl_gen.synapses import SynapseArray
from rtl_gen.write_bus import WriteBus
from rtl_gen.writeback import WriteBack
from sim.amaranth_sim import simulate as simulate_amaranth
from sim.cocotb_sim import simulate
from sim.compare import Comparison, compare_run
from sim.job import Job
from tests.random_networks import random_input
from tests.sim.jobs import fitting_network
from tests.sim.shapes import SHAPES

CONFIG = dataclasses.replace(SHAPES["k2p8"], spike_depth=256, store_depth=1024)


def _network() -> tuple[QuantizedNetwork, np.ndarray, Program]:
    """A small network in which some neuron meets its threshold exactly."""
    rng = np.random.default_rng(8)
    options = {"sizes": (3, 4), "min_layers": 2, "max_layers": 3, "channels_choices": (5, 8), "kernels": ((3, 3),)}
    net = fitting_network(rng, CONFIG, **options, extras=())
    x = random_input(rng, net, 1)
    # The membrane of the first step does not depend on the threshold: make the two meet.
    first = net.layers[0]
    assert first.threshold is not None
    threshold = first.threshold.copy()
    threshold[0] = golden.run(net, x, keep=True).membranes[first.name][0, 0, 0].max()
    net = dataclasses.replace(net, layers=(dataclasses.replace(first, threshold=threshold), *net.layers[1:]))
    return net, x, compile_network(net, CONFIG)


# Faults in the image that the core gets: two wrong taps, a threshold one too high.


def _swapped_taps(program: Program) -> list[tuple[int, int, int]]:
    image, first = program.image, program.slabs[0].address + 1
    for other in range(first + 1, first + program.slabs[0].op.weights):
        if image[other] != image[first]:
            return [(0, first, image[first] ^ image[other]), (0, other, image[first] ^ image[other])]
    raise AssertionError("all taps are the same")


def _threshold_off_by_one(net: QuantizedNetwork, program: Program, x: np.ndarray) -> list[tuple[int, int, int]]:
    field = param_fields(CONFIG)[0]
    membranes = golden.run(net, x, keep=True).membranes
    for slab in program.slabs:
        layer = slab.op.layer
        if layer.kind != "conv" or layer.threshold is None:
            continue
        meets = (membranes[layer.name] == layer.threshold[None, None, :, None, None]).any(axis=(0, 1, 3, 4))
        for channel in np.flatnonzero(meets):
            group, lane = divmod(int(channel), CONFIG.output_lanes)
            if group == slab.group:
                address = slab.address + 1 + CONFIG.event_lanes * slab.op.weights + lane
                value = program.image[address] >> field.offset & ((1 << field.width) - 1)
                return [(0, address, ((value ^ (value + 1)) & ((1 << field.width) - 1)) << field.offset)]
    raise AssertionError("no neuron meets its threshold exactly")


def test_faults_in_the_image(tmp_path: Path) -> None:
    net, x, program = _network()
    for faults in ([], _swapped_taps(program), _threshold_off_by_one(net, program, x)):
        outcome = simulate(Job(CONFIG, (net,), ((0, x[0]),), tuple(faults)), tmp_path)[0]
        assert (outcome.mismatched > 0) == bool(faults)
        assert bool(outcome.first) == bool(faults)


# Faults in the gateware: the faulty part wraps the real one.


def _wrap(m: Module, outer, inner, **changed) -> None:
    """Connect a wrapper's ports straight to those of the part inside, but for ``changed`` outputs."""
    m.submodules.inner = inner
    for name, member in inner.signature.members.items():
        if member.is_signature:
            wiring.connect(m, wiring.flipped(getattr(outer, name)), getattr(inner, name))
        elif member.flow.name == "In":
            m.d.comb += getattr(inner, name).eq(changed.get(name, getattr(outer, name)))
        else:
            m.d.comb += getattr(outer, name).eq(changed.get(name, getattr(inner, name)))


class EventSkipped(EventScanner):
    """Loses the events of one weight."""

    def elaborate(self, platform) -> Module:
        m = Module()
        inner = EventScanner(config=self._config)
        event = Signal.like(inner.event)
        m.d.comb += [event.eq(inner.event), event.valid.eq(inner.event.valid & (inner.event.weight != 4))]
        _wrap(m, self, inner, event=event)
        return m


class StaleSlab(SynapseArray):
    """Loads one half of the banks only once."""

    def elaborate(self, platform) -> Module:
        m = Module()
        inner = SynapseArray(config=self._config)
        seen = Signal()
        before = Signal()
        m.d.sync += before.eq(self.run_half)
        with m.If(before & ~self.run_half):
            m.d.sync += seen.eq(1)
        _wrap(m, self, inner, write_lane=Mux(seen & self.write_half, 0, self.write_lane))
        return m


class LateStart(LayerSequencer):
    """Takes one clock more to start each slab's computation."""

    def elaborate(self, platform) -> Module:
        m = Module()
        inner = LayerSequencer(config=self._config)
        late = Signal()
        m.d.sync += late.eq(inner.slab_start)
        _wrap(m, self, inner, slab_start=late)
        return m


class StolenTurn(WriteBack):
    """Writes in any clock."""

    def elaborate(self, platform) -> Module:
        m = Module()
        _wrap(m, self, WriteBack(config=self._config), turn=Const(1))
        return m


class LostWord(WriteBus):
    """Loses what engine 1 writes."""

    def elaborate(self, platform) -> Module:
        m = Module()
        engines = Signal.like(self.engines)
        m.d.comb += [engines.eq(self.engines), engines[1].en.eq(0)]
        _wrap(m, self, WriteBus(config=self._config), engines=engines)
        return m


FAULTS = {
    "none": (None, None, None),
    "an event skipped": (rtl_gen.scan_front, "EventScanner", EventSkipped),
    "a stale slab": (rtl_gen.engine, "SynapseArray", StaleSlab),
    "a clock too late": (rtl_gen.core, "LayerSequencer", LateStart),
}


def _compare_amaranth(engines: int = 1) -> Comparison:
    net, x, program = _network()
    if engines > 1:
        program = compile_network(net, dataclasses.replace(CONFIG, engines=engines))
    result = golden.run(net, x, keep=True)
    timing = run_timing(program, result.tensors, keep=True)
    run = simulate_amaranth([(program, x[0])], limit=4 * int(timing.clocks[0]))[0]
    return compare_run(timing, result, 0, run.trace)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_gateware(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, part = FAULTS[fault]
    if module is not None:
        monkeypatch.setattr(module, name, part)
    comparison = _compare_amaranth()
    assert (comparison.mismatched > 0) == (module is not None), comparison.first


ENGINE_FAULTS = {
    "none": (rtl_gen.engine, "WriteBack", WriteBack),
    "a stolen turn": (rtl_gen.engine, "WriteBack", StolenTurn),
    "a lost word": (rtl_gen.core, "WriteBus", LostWord),
}


@pytest.mark.parametrize("fault", ENGINE_FAULTS)
def test_faults_of_engines(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, part = ENGINE_FAULTS[fault]
    monkeypatch.setattr(module, name, part)
    comparison = _compare_amaranth(engines=2)
    assert (comparison.mismatched > 0) == (fault != "none"), comparison.first
