"""Every reference vector: equations, float model, golden model, lowered network and the core agree exactly."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from refmodel import floatmodel, golden
from refmodel.features import with_features
from refmodel.lowering import lower
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from sim.cocotb_sim import simulate
from sim.job import Job
from tests.reference import vectors
from tests.reference.cases import EQUATIONS, SPIKINGJELLY
from tests.reference.equations import evaluate
from tests.reference.networks import build
from tests.reference.vectors import Vectors
from tests.sim.jobs import assert_exact
from tests.sim.shapes import SHAPES

FILES = {f"{path.parent.name}/{path.stem}": path for path in vectors.files()}
each = pytest.mark.parametrize("name", FILES)


@cache
def read(name: str) -> Vectors:
    return vectors.read(FILES[name])


@cache
def integers(name: str) -> QuantizedNetwork:
    """The integer network: parameters unchanged."""
    case = read(name)
    return quantize(build(case.network, case.arrays), 8, scale="unit")


def test_every_case_has_a_file() -> None:
    made = {f"spikingjelly/{case['name']}": case for case in SPIKINGJELLY}
    made |= {f"equations/{case['name']}": case for case in EQUATIONS}
    assert FILES.keys() == made.keys()
    for name, case in made.items():
        assert read(name).network == case
    assert sum(path.stat().st_size for path in FILES.values()) < 500_000


@each
def test_equations(name: str) -> None:
    """The transcription makes every file, also those that SpikingJelly made."""
    case = read(name)
    made = vectors.integers(case.network, evaluate(case.network, case.arrays))
    assert made.keys() == case.made.keys()
    for tensor, values in case.made.items():
        np.testing.assert_array_equal(made[tensor], values, err_msg=tensor)


@each
def test_float_model(name: str) -> None:
    case = read(name)
    result = floatmodel.run(build(case.network, case.arrays), case.arrays["x"], keep=True)
    terms = vectors.readout_terms(case.network, case.made)
    np.testing.assert_allclose(result.logits * terms, case.made["sums"], rtol=0, atol=1e-8)
    windows = vectors.average_windows(case.network)
    for tensor, values in case.made.items():
        kind, _, layer = tensor.partition("/")
        if kind == "spikes":
            np.testing.assert_array_equal(result.tensors[layer] * windows.get(layer, 1), values, err_msg=tensor)
        elif kind == "branch":
            np.testing.assert_array_equal(result.spikes[_owner(layer, result.spikes)], values, err_msg=tensor)
        elif kind == "stream":
            np.testing.assert_array_equal(result.streams[layer], values, err_msg=tensor)


@each
@pytest.mark.parametrize("lowered", [False, True])
def test_golden_model(name: str, lowered: bool) -> None:
    case, net = read(name), integers(name)
    if lowered:
        net = lower(net)
    layers = {layer.name: layer for layer in net.layers}
    result = golden.run(net, case.arrays["x"], keep=True)
    np.testing.assert_array_equal(result.results, case.made["sums"])
    for tensor, values in case.made.items():
        kind, _, layer = tensor.partition("/")
        if kind == "spikes" and not (lowered and layer not in result.tensors):  # pools may be folded into kernels
            np.testing.assert_array_equal(result.tensors[layer], values, err_msg=tensor)
        elif kind == "branch":
            own = layers[_owner(layer, result.membranes)]
            assert own.threshold is not None
            if own.levels is None and not lowered:  # else the membranes are those of one level
                fired = result.membranes[own.name] >= own.threshold[:, None, None]
                np.testing.assert_array_equal(fired, values, err_msg=tensor)
        elif kind == "stream":
            np.testing.assert_array_equal(result.streams[layer], values, err_msg=tensor)


def _owner(layer: str, made: Container[str]) -> str:
    """The layer whose neurons make a block's A: its last, or where that is the shortcut, the branch's."""
    branch = layer.rpartition(".")[0] + ".branch"
    return branch if branch in made else layer


def _simulate(names: list[str], shape: str, folder: Path) -> None:
    nets = tuple(integers(name) for name in names)
    config = replace(SHAPES[shape], acc_width=20)  # sums of the streams that projections read
    for net in nets:
        config = with_features(config, net)
    runs = tuple((number, read(name).arrays["x"][0]) for number, name in enumerate(names))
    outcomes = simulate(Job(config, nets, runs), folder)
    assert_exact(outcomes, len(names))
    for name, outcome in zip(names, outcomes, strict=True):
        assert outcome.prediction == int(np.argmax(read(name).made["sums"][0]))


def test_core(tmp_path: Path) -> None:
    """Every network on one core, one after the other, each clock compared."""
    _simulate(list(FILES), "k2p8all", tmp_path)


@pytest.mark.slow
def test_larger_core(tmp_path: Path) -> None:
    _simulate(list(FILES), "k4p16all", tmp_path)
