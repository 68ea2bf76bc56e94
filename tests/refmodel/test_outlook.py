"""The outlook against the exact cycle model, on random spikes of known density and on real ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from boards.registry import get_board
from refmodel import golden, zoo
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import RunTiming, op_items, run_timing
from refmodel.densities import Values, random_inputs, tensor_values
from refmodel.features import with_features
from refmodel.lowering import lower
from refmodel.needs import plan
from refmodel.outlook import operations, outlook, tile_kinds, walked_words
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from tests.random_networks import EXTRAS, random_quantized_network
from tests.sim.shapes import SHAPES

#: No density tells the gates of an attention.
PLAIN = set(EXTRAS) - {"attention"}

SAMPLES = 2
#: Largest error of a network's clocks on independent random spikes, and of a layer's, of its own or 100 clocks.
NETWORK_ERROR, LAYER_ERROR = 0.025, 0.12


def larger(net: QuantizedNetwork, config: CoreConfig) -> CoreConfig:
    """``config`` with all that ``net`` needs."""
    config = with_features(config, net)
    return plan(lower(net), config).config


def drawn(net: QuantizedNetwork, config: CoreConfig, rates: dict[str, float], seed: int) -> RunTiming:
    """Exact clocks on independent random values of every tensor that is read."""
    rng, program, values = np.random.default_rng(seed), compile_network(net, config), tensor_values(net, rates)
    infos, layers = program.network.tensors(), {layer.name: layer for layer in program.network.layers}
    tensors: dict[str, NDArray[np.integer]] = {}
    for op in program.ops:
        name = op.layer.source
        if name in tensors or op.extracts:
            continue
        if name in values:
            found = values[name]
        else:  # made by lowering: [x >= k]
            mask = layers[name]
            assert mask.threshold is not None
            one = values[mask.source].at_least(int(mask.threshold[0]))
            found = Values(np.array([1 - one, one]), values[mask.source].static)
        size = (SAMPLES, 1 if found.static else net.steps, *infos[name].shape)
        if found.probability is None:
            low, high = infos[name].min_value, infos[name].max_value
            made = rng.integers(low, high + 1, size)
        else:
            made = rng.choice(len(found.probability), size, p=found.probability / found.probability.sum())
        tensors[name] = np.broadcast_to(made, (SAMPLES, net.steps, *infos[name].shape))
    return run_timing(program, tensors)


CASES = {
    "tutorial-ms": {"n_features": 48, "n_blocks": 3},
    "sew-resnet18": {"width": 1 / 8, "size": 8},
    "sew-resnet50": {"width": 1 / 16, "size": 8, "combine": "and"},
    "spiking-resnet18": {"width": 1 / 8, "size": 8, "steps": 6},
    "ms-resnet18": {"width": 1 / 16, "size": 16},
    "7b-net": {"width": 1 / 4, "size": 8, "steps": 6},
    "ds-resnet14": {"width": 1 / 16, "size": 8},
}


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s_85f"])
@pytest.mark.parametrize("name", CASES)
def test_expected_clocks_are_those_of_random_spikes(name: str, board: str) -> None:
    core = get_board(board).core
    net = quantize(zoo.build(name, **CASES[name]), max_sum=(1 << (core.acc_width - 1)) - 1)
    rates = {"*": 0.1 if board == "icebreaker" else 0.3}
    config = larger(net, core)
    found, exact = outlook(net, config, rates), drawn(net, config, rates, 1)
    assert found.limits == () and found.config == config
    assert found.clocks == pytest.approx(exact.clocks.mean(), rel=NETWORK_ERROR)
    assert sum(layer.clocks for layer in found.layers) == pytest.approx(found.clocks)
    clocks, events = exact.layer_clocks().mean(axis=1), exact.layer_events().mean(axis=1)
    for layer, wanted, entered in zip(found.layers, clocks, events, strict=True):
        assert layer.clocks == pytest.approx(wanted, rel=LAYER_ERROR, abs=100 * LAYER_ERROR), layer.name
        assert layer.events == pytest.approx(entered, rel=0.3, abs=100), layer.name  # few spikes, seen by many taps
    assert sum(layer.events for layer in found.layers) == pytest.approx(events.sum(), rel=0.05, abs=100)


@pytest.mark.parametrize("shape", SHAPES)
def test_random_networks_on_other_cores(shape: str) -> None:
    """Odd kernels, strides, sizes, leaks and every kind of layer."""
    rng = np.random.default_rng(len(shape))
    for _ in range(3):
        net = random_quantized_network(rng, steps=int(rng.integers(1, 10)), sizes=(3, 8), max_layers=5, extras=PLAIN)
        config = larger(net, SHAPES[shape])
        found, exact = outlook(net, config, {"*": 0.3}), drawn(net, config, {"*": 0.3}, 2)
        assert found.clocks == pytest.approx(exact.clocks.mean(), rel=0.04)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_without_chance_all_but_the_order_of_tiles_is_exact(rate: float) -> None:
    """Silent and full tensors: what is left is where a window meets the edge, and the tile before it."""
    core = get_board("ulx3s_85f").core
    net = quantize(zoo.build("sew-resnet18", width=1 / 8, size=8), max_sum=(1 << (core.acc_width - 1)) - 1)
    config, rates = larger(net, core), {"*": rate, "input": 0.0}
    exact = drawn(net, config, rates, 3)
    assert len(set(exact.clocks.tolist())) == 1
    assert outlook(net, config, rates).clocks == pytest.approx(exact.clocks[0], rel=0.005)


def test_measured_rates_come_close_on_real_spikes() -> None:
    """Real spikes are not independent; with their rates the network's clocks are still within some percent."""
    core = get_board("ulx3s_85f").core
    for name in ("sew-resnet18", "ds-resnet14", "7b-net"):
        source = zoo.build(name, **CASES[name])
        net = quantize(source, max_sum=(1 << (core.acc_width - 1)) - 1)
        config = larger(net, core)
        program = compile_network(net, config)
        x = random_inputs(source.input, source.steps, 4, np.random.default_rng(5))
        exact = run_timing(program, golden.run(program.network, x, keep=True).tensors).clocks.mean()
        fired = golden.run(net, x).fired
        rates = {layer.name: fired[layer.name] for layer in net.layers if layer.kind == "conv"}
        assert outlook(net, config, rates).clocks == pytest.approx(exact, rel=0.1), name


def test_more_spikes_take_longer_and_are_counted() -> None:
    net = quantize(zoo.build("sew-resnet18", width=1 / 4, size=8))
    config = larger(net, get_board("ulx3s_85f").core)
    found = [outlook(net, config, {"*": rate}) for rate in (0.1, 0.3, 0.6)]
    assert found[0].clocks < found[1].clocks < found[2].clocks
    assert [layer.density for layer in found[1].layers][1] == pytest.approx(0.3)
    assert outlook(net, config, {"*": 0.3}) == found[1], "the same every time"
    use = [layer.lane_use for layer in found[2].layers]
    assert min(use) > 0 and max(use) <= 1


def test_what_a_core_lacks_changes_the_core_and_nothing_else() -> None:
    net = quantize(zoo.build("sew-resnet18", width=1 / 8, size=8))
    config = larger(net, get_board("ulx3s_85f").core)
    small = dataclasses.replace(config, spike_depth=16, store_depth=16)
    found = outlook(net, small)
    assert {limit.setting for limit in found.limits} == {"spike_depth", "store_depth"}
    assert found.config.spike_depth == plan(lower(net), small).memory["spike_words"]
    # descriptors are shorter or longer with the addresses, all else takes the same time
    assert found.clocks == pytest.approx(outlook(net, config).clocks, rel=0.01)


def test_walked_words_are_the_exact_models() -> None:
    rng = np.random.default_rng(4)
    for _ in range(6):
        net = random_quantized_network(rng, steps=5, sizes=(3, 8), extras=PLAIN)
        program = compile_network(net, larger(net, SHAPES["k2p8all"]))
        walked = 0
        for op in program.ops:
            counts = np.maximum(op_items(program, op).count, 1)
            walked += int(counts.sum()) * (op.groups if op.pool else 1)
        assert walked_words(program.ops, program.chunks) == walked
        for op in program.ops:
            assert sum(tiles for _, _, tiles in tile_kinds(op)) == op.out.shape[1] * op.out.shape[2]


def test_operations_count_every_tap() -> None:
    net = quantize(zoo.build("sew-cifar10", width=1 / 8, size=4))
    first, second = net.layers[0], net.layers[1]
    assert first.weight is not None and second.weight is not None
    tensors = net.tensors()
    pixels = {layer.name: tensors[layer.name].shape[1] * tensors[layer.name].shape[2] for layer in net.layers}
    everything = sum(layer.weight.size * pixels[layer.name] for layer in net.layers if layer.weight is not None)
    assert operations(net) == net.steps * everything > 0
