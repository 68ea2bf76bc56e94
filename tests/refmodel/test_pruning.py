"""Natural pruning: what goes, what stays, and that the results are the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.errors import NetworkError
from refmodel.pruning import PruneReport, closed_gates, prune, silence
from refmodel.quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork
from refmodel.reach import channel_reach
from tests.random_networks import EXTRAS, random_input, random_quantized_network

NEVER = 1 << 22


def damaged(rng: np.random.Generator, net: QuantizedNetwork, share: float) -> QuantizedNetwork:
    """``net`` with neurons that can never fire and weights of 0, in channels and in whole layers."""

    def hurt(layer: QuantizedLayer) -> QuantizedLayer:
        if layer.kind == "conv" and layer.threshold is not None:
            dead = rng.random(len(layer.threshold)) < (1.0 if rng.random() < share else share)
            levels = None if layer.levels is None else np.where(dead, NEVER, layer.levels)
            layer = dataclasses.replace(layer, threshold=np.where(dead, NEVER, layer.threshold), levels=levels)
        if layer.weight is not None and rng.random() < 0.5:
            unread = rng.random(layer.weight.shape[1]) < share
            layer = dataclasses.replace(layer, weight=layer.weight * ~unread[:, None, None])
        return layer

    return dataclasses.replace(net, layers=tuple(hurt(layer) for layer in net.layers))


def same(net: QuantizedNetwork, pruned: QuantizedNetwork, report: PruneReport, x: np.ndarray) -> None:
    """Same results, and the same values in layers that kept their channels."""
    before, after = golden.run(net, x, keep=True), golden.run(pruned, x, keep=True)
    assert (before.results == after.results).all()
    for layer in pruned.layers[:-1]:
        if layer.name not in report.channels and layer.spikes and layer.name in before.tensors:
            was, now = before.tensors[layer.name], after.tensors[layer.name]
            assert was.shape == now.shape and (was == now).all(), layer.name


@pytest.mark.parametrize("group", range(8))
def test_random_networks_compute_the_same(group: int) -> None:
    smaller = 0
    for seed in range(10):
        rng = np.random.default_rng([group, seed])
        net = random_quantized_network(
            rng, steps=int(rng.integers(1, 5)), min_layers=3, max_layers=9, sizes=(3, 6), max_fan_in=200,
            extras=EXTRAS, input_as_spikes=bool(rng.integers(2)),
        )  # fmt: skip
        net = damaged(rng, net, float(rng.choice([0.1, 0.3, 0.6])))
        pruned, report = prune(net)
        smaller += pruned.parameters < net.parameters
        assert report.parameters == (net.parameters, pruned.parameters)
        same(net, pruned, report, random_input(rng, net, 3))
        again, nothing = prune(pruned)
        assert again.layers == pruned.layers
        assert not nothing.layers and not nothing.channels and not nothing.shortcuts
    assert smaller >= 5


@pytest.mark.parametrize("seed", range(20))
def test_reach_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(rng, steps=4, min_layers=4, max_layers=8, sizes=(3, 6), extras=EXTRAS)
    net = damaged(rng, net, 0.2)
    result = golden.run(net, random_input(rng, net, 4), keep=True)
    reach = channel_reach(net)
    for name, values in result.tensors.items():
        channels = np.moveaxis(values.astype(np.int64), 2, 0).reshape(values.shape[2], -1)
        assert (channels.min(axis=1) >= reach[name].low).all() and (channels.max(axis=1) <= reach[name].high).all()
    for name, values in result.streams.items():
        channels = np.moveaxis(values, 2, 0).reshape(values.shape[2], -1)
        assert (channels.min(axis=1) >= reach[name].input_low).all()
        assert (channels.max(axis=1) <= reach[name].input_high).all()


@pytest.mark.parametrize(
    ("options", "threshold", "fires"),
    [
        ({}, 21, True),  # 3 a step: 3, 6, ... 21 in 7 steps
        ({}, 22, False),
        ({"leak_shifts": (1,)}, 5, True),  # 3, 2 + 3 = 5, 3 + 3
        ({"leak_shifts": (1,)}, 6, True),
        ({"leak_shifts": (1,)}, 7, False),
        ({"leak_factor": (1, 1)}, 5, True),  # 3, 1 + 3, 2 + 3
        ({"leak_factor": (1, 1)}, 6, False),
        ({"stateless": True}, 3, True),
        ({"stateless": True}, 4, False),
    ],
)
def test_reach_of_a_membrane_is_what_it_can_get_to(options, threshold: int, fires: bool) -> None:
    one = np.ones((1, 1, 1, 1), np.int64)
    layers = (
        QuantizedLayer("a", "conv", "input", 3 * one, (1, 1), threshold=np.array([threshold]), **options),
        QuantizedLayer("out", "readout", "a", one, (1, 1)),
    )
    net = QuantizedNetwork("one", 7, QuantizedInput((1, 1, 1), 1), layers)
    assert bool(channel_reach(net)["a"].high[0]) == fires
    assert bool(golden.run(net, np.ones((1, 1, 1, 1), np.int64)).results[0, 0]) == fires


def sew_network(rng: np.random.Generator, blocks: int = 3, combine="add") -> QuantizedNetwork:
    """Stem and SEW blocks with a projection each, 6 channels; every neuron can fire."""

    def conv(name: str, source: str, cin: int, size: int, **options) -> QuantizedLayer:
        weight = rng.integers(1, 9, (6, cin, size, size))
        pads = (size // 2, size // 2)
        return QuantizedLayer(
            name, "conv", source, weight, (size, size), padding=pads, threshold=rng.integers(5, 30, 6), **options
        )

    layers, x = [conv("stem", "input", 2, 3)], "stem"
    for block in range(blocks):
        layers.append(conv(f"b{block}.conv1", x, 6, 3))
        layers.append(conv(f"b{block}.projection", x, 6, 1))
        layers.append(
            conv(f"b{block}.conv2", f"b{block}.conv1", 6, 3, shortcut=f"b{block}.projection", combine=combine)
        )
        x = f"b{block}.conv2"
    layers.append(QuantizedLayer("out", "readout", x, rng.integers(-9, 9, (3, 6, 1, 1)), (1, 1)))
    return QuantizedNetwork("sew", 2, QuantizedInput((2, 5, 5), 1), tuple(layers))


def with_layer(net: QuantizedNetwork, name: str, **changes) -> QuantizedNetwork:
    layers = [dataclasses.replace(layer, **changes) if layer.name == name else layer for layer in net.layers]
    return dataclasses.replace(net, layers=tuple(layers))


def test_a_closed_shortcut_takes_its_projection_with_it() -> None:
    rng = np.random.default_rng(1)
    net = sew_network(rng)
    untouched, nothing = prune(net)
    assert untouched.layers == net.layers and nothing.parameters == (net.parameters, net.parameters)
    closed = silence(net, ["b1.projection"])
    pruned, report = prune(closed)
    assert (report.layers, report.shortcuts) == (("b1.projection",), ("b1.conv2",))
    same(closed, pruned, report, random_input(rng, net, 3))
    config = CoreConfig(bank_depth=256)
    assert len(compile_network(pruned, config).image) < len(compile_network(net, config).image)


def test_a_silent_branch_leaves_the_shortcut() -> None:
    rng = np.random.default_rng(2)
    net = sew_network(rng, combine="or")
    quiet = silence(net, ["b1.conv1"])
    quiet = with_layer(quiet, "b1.conv2", threshold=np.full(6, NEVER))
    pruned, report = prune(quiet)
    assert (report.layers, report.bypassed) == (("b1.conv1", "b1.conv2"), ("b1.conv2",))
    assert [layer.source for layer in pruned.layers if layer.name.startswith("b2.")][:2] == ["b1.projection"] * 2
    same(quiet, pruned, report, random_input(rng, net, 3))


def test_a_silent_channel_goes_from_layer_and_readers() -> None:
    rng = np.random.default_rng(3)
    net = sew_network(rng, blocks=1)
    net = with_layer(net, "b0.conv1", threshold=np.where(np.arange(6) % 3 == 1, NEVER, 9))
    pruned, report = prune(net)
    assert report.channels == {"b0.conv1": 2}
    before, after = ({layer.name: np.array(layer.weight) for layer in a.layers} for a in (net, pruned))
    kept = [0, 2, 3, 5]
    assert (after["b0.conv1"] == before["b0.conv1"][kept]).all()
    assert (after["b0.conv2"] == before["b0.conv2"][:, kept]).all()
    same(net, pruned, report, random_input(rng, net, 3))


def test_channels_of_a_shortcut_go_only_together() -> None:
    """A silent channel of a projection stays, since its reader's channel spikes; silent in both it goes from both."""
    rng = np.random.default_rng(4)
    net = sew_network(rng, blocks=1)

    def never(layer: QuantizedLayer, *channels: int) -> QuantizedLayer:
        assert layer.threshold is not None
        return dataclasses.replace(layer, threshold=np.where(np.isin(np.arange(6), channels), NEVER, layer.threshold))

    stem, conv1, projection, conv2, out = net.layers
    net = dataclasses.replace(net, layers=(stem, conv1, never(projection, 1, 4), never(conv2, 2, 4), out))
    pruned, report = prune(net)
    assert report.channels == {"b0.projection": 1, "b0.conv2": 1}
    same(net, pruned, report, random_input(rng, net, 3))


def test_everything_silent_leaves_the_bias() -> None:
    rng = np.random.default_rng(5)
    net = sew_network(rng, combine="and")
    net = with_layer(net, "out", bias=np.array([3, -1, 2]))
    quiet = silence(net, ["stem"])
    pruned, report = prune(quiet)
    assert golden.run(pruned, random_input(rng, net, 1)).results.tolist() == [[3, -1, 2]]
    assert pruned.parameters < net.parameters / 10
    same(quiet, pruned, report, random_input(rng, net, 2))


@pytest.mark.parametrize("silent", ["shortcut", "branch"])
@pytest.mark.parametrize("combine", ["add", "and", "iand", "or"])
def test_combiners_of_a_layer_that_keeps_its_stream(combine, silent: str) -> None:
    """The stream is read, so the layer stays; what it and its shortcut spike is told apart all the same."""
    rng = np.random.default_rng(8)
    net = sew_network(rng, blocks=2, combine=combine)
    net = with_layer(net, "b0.conv2", keeps_stream=True)
    net = with_layer(net, "b1.conv2", stream="b0.conv2")
    name = "b0.projection" if silent == "shortcut" else "b0.conv2"
    net = with_layer(net, name, threshold=np.full(6, NEVER))
    pruned, report = prune(net)
    assert "b0.conv2" in [layer.name for layer in pruned.layers]
    same(net, pruned, report, random_input(rng, net, 5))


@pytest.mark.parametrize(
    ("options", "threshold", "fires"),
    [
        ({"current": 4}, 5, True),
        ({"current": 4}, 6, False),
        ({"current": -4, "bias": 2}, 3, True),
        ({"rectify": True, "bias": -9}, 0, True),
        ({"rectify": True, "bias": -9}, 1, False),
        ({"bias": -9}, 0, False),
    ],
)
def test_reach_of_an_input(options, threshold: int, fires: bool) -> None:
    """X = source + bias + current * shortcut, at one step."""
    one = np.ones((1, 1, 1, 1), np.int64)
    vectors = {name: np.array([value]) if name in ("bias", "current") else value for name, value in options.items()}
    shortcut = {"shortcut": "input"} if "current" in options else {}
    layers = (
        QuantizedLayer("a", "conv", "input", one, (1, 1), threshold=np.array([threshold]), **vectors, **shortcut),
        QuantizedLayer("out", "readout", "a", one, (1, 1)),
    )
    assert bool(channel_reach(QuantizedNetwork("one", 1, QuantizedInput((1, 1, 1), 1), layers))["a"].high[0]) == fires


def test_closed_gates() -> None:
    gates = {"a": np.zeros((4, 3)), "b": np.eye(3), "c": np.zeros((4, 0))}
    assert closed_gates(gates) == ["a", "c"]


def test_refusals() -> None:
    net = sew_network(np.random.default_rng(6))
    for name in ("nothing", "out"):
        with pytest.raises(NetworkError, match=f"layer '{name}'.*(: only a layer with neurons|; there are)"):
            silence(net, [name])
    broken = dataclasses.replace(net, steps=0)
    with pytest.raises(NetworkError, match="steps must be at least 1"):
        prune(broken)


def test_report_reads_well() -> None:
    rng = np.random.default_rng(7)
    net = silence(sew_network(rng), ["b1.projection"])
    assert str(prune(net)[1]).startswith("1 layers removed (0 replaced by their shortcut), 1 shortcuts, 0 channels")
