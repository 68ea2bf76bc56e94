"""NIR graphs give the same values as their networks, and residual sums come back as blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")

from refmodel import floatmodel  # noqa: E402
from refmodel.errors import ImportRefused  # noqa: E402
from refmodel.importers.nir_import import import_nir  # noqa: E402
from refmodel.layers import ConvLayer, PoolLayer, ReadoutLayer, StreamLayer  # noqa: E402
from tests.refmodel.importers.nir_evaluator import Evaluator, convolve  # noqa: E402
from tests.refmodel.importers.nir_graphs import DT, Grapher, membrane_chain, random_graph, sew_chain  # noqa: E402

BITS, SCALE = 3, 0.5


def same_values(graph: Any, *, dt: float = DT, unit_r: bool = True, seed: int = 0, **options: Any) -> Any:
    """Import ``graph``, and compare the result and all spikes with the evaluator's; returns the Imported."""
    options = {"steps": 4, "static": False, "input_bits": BITS, "input_scale": SCALE, "dt": dt, **options}
    imported = import_nir(graph, **options)
    shape = imported.network.input.shape
    x = np.random.default_rng(seed).integers(0, 1 << BITS, (2, 4, *shape))
    found = floatmodel.run(imported.network, x, keep=True)
    input_shape = tuple(int(size) for size in next(iter(graph.inputs.values())).input_type["input"])
    for image, logits in zip(x, found.logits, strict=True):
        wanted = Evaluator(graph, dt, unit_r=unit_r, at_least=options.get("fire") == "ge").run(
            image.reshape(4, *input_shape) * SCALE
        )
        np.testing.assert_allclose(logits, wanted.reshape(4, -1).mean(axis=0), rtol=0, atol=1e-9)
    return imported


@pytest.mark.parametrize("chain", [sew_chain, membrane_chain])
@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_residual_chains(chain: Any, blocks: int) -> None:
    imported = same_values(chain(blocks))
    kind = "sew-add" if chain is sew_chain else "membrane"
    assert [(block.name, block.kind, block.shortcut) for block in imported.blocks] == [
        (f"b{index}", kind, "identity") for index in range(1, blocks + 1)
    ]
    assert [block.layers for block in imported.blocks] == [
        (f"b{index}.conv1", f"b{index}.conv2") for index in range(1, blocks + 1)
    ]


@pytest.mark.parametrize("chain", [sew_chain, membrane_chain])
def test_each_node_with_weights_becomes_one_layer(chain: Any) -> None:
    graph = chain(12)
    assert len(graph.edges) > 100
    imported = same_values(graph)
    weights = [name for name, node in graph.nodes.items() if hasattr(node, "weight")]
    assert sorted(layer.name for layer in imported.network.layers) == sorted(weights)
    assert imported.statistics["nodes"] == len(graph.nodes) and imported.statistics["edges"] == len(graph.edges)
    assert imported.statistics["parameters"] == sum(
        getattr(node, "weight", np.zeros(0)).size + getattr(node, "bias", np.zeros(0)).size
        for node in graph.nodes.values()
    )


def test_sew_projection() -> None:
    g = Grapher((2, 6, 6))
    stem = g.fire("sn", g.conv("conv", "input", 3))
    inner = g.fire("b1.sn1", g.conv("b1.conv1", stem, 4, stride=2))
    total = [g.fire("b1.sn2", g.conv("b1.conv2", inner)), g.fire("b1.sn3", g.conv("b1.down", stem, 4, 2, kernel=1))]
    inner = g.fire("b2.sn1", g.conv("b2.conv1", total))
    total = [*total, g.fire("b2.sn2", g.conv("b2.conv2", inner))]
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", total), 3)))
    assert [(block.name, block.kind, block.shortcut, len(block.layers)) for block in imported.blocks] == [
        ("b1", "sew-add", "projection", 3), ("b2", "sew-add", "identity", 2)
    ]  # fmt: skip


def test_spiking_resnet() -> None:
    """Spikes and currents into one neuron: a current; a projection: a membrane stream."""
    g = Grapher((2, 6, 6))
    x = g.fire("sn", g.conv("conv", "input", 3))
    y = g.conv("b1.conv2", g.fire("b1.sn1", g.conv("b1.conv1", x)))
    x = g.fire("b1.sn2", [y, x])
    y = g.conv("b2.conv2", g.fire("b2.sn1", g.conv("b2.conv1", x, 4, stride=2)))
    x = g.fire("b2.sn2", [y, g.conv("b2.down", x, 4, 2, kernel=1)])
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", x), 3)))
    assert [(block.name, block.kind, block.shortcut) for block in imported.blocks] == [
        ("b1", "spiking-resnet", "identity"), ("b2", "spiking-resnet", "projection")
    ]  # fmt: skip
    layers = {layer.name: layer for layer in imported.network.layers}
    assert layers["b1.conv2"].current == 1.0 and layers["b2.down"].neuron is None


def test_membrane_projection_convolves_the_stream() -> None:
    g = Grapher((2, 6, 6))
    stream = [g.conv("conv", "input", 3)]
    for block in (1, 2):
        inner = g.fire(f"b{block}.sn2", g.conv(f"b{block}.conv1", g.fire(f"b{block}.sn1", stream)))
        stream.append(g.conv(f"b{block}.conv2", inner))
    down = g.conv("b3.down", stream, 4, 2, kernel=1)
    inner = g.fire("b3.sn2", g.conv("b3.conv1", g.fire("b3.sn1", stream), 4, 2))
    stream = [down, g.conv("b3.conv2", inner)]
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", g.fire("sn", stream)), 3)))
    assert [(block.name, block.kind, block.shortcut) for block in imported.blocks] == [
        ("b1", "membrane", "identity"), ("b2", "membrane", "identity"), ("b3", "membrane", "projection")
    ]  # fmt: skip
    assert [layer.source for layer in imported.network.layers if isinstance(layer, StreamLayer)] == ["b2.conv2"]


def test_equal_neurons_on_one_current_are_one() -> None:
    """Membrane blocks whose projection has neurons of its own."""
    g = Grapher((2, 4, 4))
    stem = g.conv("conv", "input")
    inner = g.fire("sn2", g.conv("c1", g.fire("sn1", stem), 3))
    total = [g.conv("down", g.fire("twin", stem), 3, kernel=1), g.conv("c2", inner)]
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", g.fire("sn3", total)), 3)))
    assert any("'twin' is 'sn1'" in sentence for sentence in imported.assumptions)


def test_sums_without_intermediate_readers() -> None:
    """Three branches of one stem, read only together."""
    g = Grapher((2, 4, 4))
    x = g.fire("sn", g.conv("conv", "input"))
    branches = [g.fire(f"s{i}", g.conv(f"c{i}", x, 3)) for i in range(3)]
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", branches), 3)))
    assert [layer.combine for layer in imported.network.layers[2:4]] == ["add", "add"]


def test_scale_nodes_become_weights_or_a_current() -> None:
    g = Grapher((2, 4, 4))
    x = g.fire("sn", g.scale("s0", g.conv("conv", "input"), np.array([0.5, 2.0])[:, None, None]))
    y = g.conv("c1", g.scale("s1", x, np.array([2.0, 4.0])[:, None, None]))
    x = g.fire("sn1", [y, g.scale("s2", x, 0.75)])
    y = g.fire("sn2", [g.conv("c2", x), g.scale("s3", x, np.array([0.25, 0.5])[:, None, None])])
    imported = same_values(g.build(g.affine("fc", g.scale("s4", g.flatten("flat", y), np.arange(32) / 4), 3)))
    layers = {layer.name: layer for layer in imported.network.layers}
    assert set(layers) == {"conv", "c1", "c2", "s3", "fc"}
    assert layers["c1"].current == 0.75 and layers["c2"].stream == "s3"


@pytest.mark.parametrize("kind", ["avg", "sum"])
def test_pools(kind: str) -> None:
    """Pools of spikes are pools, pools of currents convolutions of a stream, whole planes the readout's mean."""
    g = Grapher((2, 8, 8))
    x = g.fire("sn", g.pool("p0", g.conv("conv", "input"), kind))
    x = g.fire("sn1", g.conv("c1", g.pool("p1", x, kind)))
    graph = g.build(g.affine("fc", g.flatten("flat", g.pool("p2", x, kind)), 3))
    imported = same_values(graph)
    layers = {layer.name: layer for layer in imported.network.layers}
    assert isinstance(layers["p0"], ConvLayer) and isinstance(layers["p1"], PoolLayer)
    assert isinstance(layers["fc"], ReadoutLayer)
    assert (layers["fc"].pool, "p2" in layers) == (("global_average", False) if kind == "avg" else ("none", True))


def test_a_pool_of_windows_before_the_last_weights() -> None:
    g = Grapher((2, 4, 4))
    x = g.pool("pool", g.fire("sn", g.conv("conv", "input")))
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", x), 3)))
    assert [layer.name for layer in imported.network.layers] == ["conv", "pool", "fc"]


def test_a_final_neurons_spikes_are_counted() -> None:
    g = Grapher((5,))
    imported = same_values(g.build(g.fire("last", g.affine("fc", "input", 3))))
    assert imported.network.layers[-1].name == "output"


@pytest.mark.parametrize(("kernel", "names"), [(4, ["conv", "last"]), (3, ["conv", "last", "output.stream", "output"])])
def test_a_final_convolution(kernel: int, names: list[str]) -> None:
    """One whose kernel covers its source is the readout; the stream of another is read as it is."""
    g = Grapher((2, 4, 4))
    x = g.fire("sn", g.conv("conv", "input"))
    conv = nir.Conv2d((4, 4), g.values(3, 2, kernel, kernel), 1, 0, 1, 1, g.values(3))
    graph = g.build(g.add("last", conv, x, (3, 5 - kernel, 5 - kernel)))
    assert [layer.name for layer in same_values(graph).network.layers] == names


def test_neurons_on_the_input() -> None:
    g = Grapher((2, 4, 4))
    x = g.fire("encode", "input", threshold=2.0)
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", x), 3)))
    assert [layer.name for layer in imported.network.layers] == ["encode", "fc"]
    assert any("pass values on unchanged" in sentence for sentence in imported.assumptions)


@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same", "valid"])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (2, 1), (1, 2), (2, (1, 2))])
def test_convolutions(padding: Any, kernel: tuple[int, int], groups: int, dilation: Any) -> None:
    rng = np.random.default_rng(1)
    weight = rng.integers(-4, 5, (4, 2 // groups * 1, *kernel)) / 4
    stride = 1 if isinstance(padding, str) else (2, 1)
    conv = nir.Conv2d(None, weight, stride, padding, dilation, groups, rng.integers(-2, 3, 4) / 4)
    x = rng.random((2, 9, 7))
    made = convolve(x, weight, None, conv.stride, conv.padding, conv.dilation, groups).shape
    neuron = nir.IF(r=np.ones(made), v_threshold=np.ones(made), v_reset=np.zeros(made))
    nodes = {"input": nir.Input(np.array((2, 9, 7))), "c": conv, "n": neuron, "output": nir.Output(np.array(made))}
    edges = [("input", "c"), ("c", "n"), ("n", "output")]
    same_values(nir.NIRGraph(nodes, edges, type_check=False))


def test_conv1d() -> None:
    rng = np.random.default_rng(1)
    conv = nir.Conv1d(9, rng.integers(-4, 5, (4, 1, 3)) / 4, 2, 1, 2, 2, rng.integers(-2, 3, 4) / 4)
    neuron = nir.IF(r=np.ones((4, 4)), v_threshold=np.ones((4, 4)), v_reset=np.zeros((4, 4)))
    nodes = {"input": nir.Input(np.array((2, 9))), "c": conv, "n": neuron, "output": nir.Output(np.array((4, 4)))}
    edges = [("input", "c"), ("c", "n"), ("n", "output")]
    imported = same_values(nir.NIRGraph(nodes, edges, type_check=False))
    assert imported.network.input.shape == (2, 1, 9)


def test_subgraphs() -> None:
    """A block as a graph in the graph: names joined by dots, sums across its border."""
    inner = Grapher((2, 4, 4), seed=3)
    block = inner.build(inner.fire("sn2", inner.conv("conv2", inner.fire("sn1", inner.conv("conv1", "input")))))
    g = Grapher((2, 4, 4))
    x = g.fire("sn", g.conv("conv", "input"))
    y = g.add("block1", block, x, (2, 4, 4))
    imported = same_values(g.build(g.affine("fc", g.flatten("flat", [x, y]), 3)))
    assert [block.layers for block in imported.blocks] == [("block1.conv1", "block1.conv2")]


NEURONS = {
    "lif, r 1": {"tau": 2 * DT, "r": 1.0},
    "lif, r tau": {"tau": 4 * DT, "r": 4.0},
    "lif, other r": {"tau": 2 * DT, "r": 0.5},
    "lif, leak": {"tau": 2 * DT, "r": 1.0, "v_leak": 0.25},
    "lif, leak is reset": {"tau": 2 * DT, "r": 2.0, "v_leak": -0.5, "v_reset": -0.5},
    "lif, leak and reset": {"tau": 2 * DT, "r": 2.0, "v_leak": 0.5, "v_reset": 0.25},
    "lif without memory": {"tau": DT, "r": 1.0, "v_leak": 0.25},
    "lif, thresholds": {"tau": 2 * DT, "r": 1.0, "v_threshold": [0.5, 1.0, 2.0]},
    "lif, all": {"tau": 2 * DT, "r": [1, 2, 0.5], "v_threshold": [0.5, 1, 2], "v_reset": [0.25, 0.5, 1], "v_leak": 0.5},
    "if": {"r": 1 / DT},
    "if, thresholds": {"r": 1 / DT, "v_threshold": [0.5, 1.0, 2.0]},
    "if, reset": {"r": 1 / DT, "v_reset": -0.5},
}


def neuron_graph(parameters: dict[str, Any]) -> Any:
    """Three channels, a stream of two convolutions into the neurons."""
    g = Grapher((2, 4, 4))
    y = [g.conv("c1", "input", 3), g.conv("c2", g.fire("s", g.conv("c0", "input", 3)))]
    values = {"v_threshold": 1.0, "v_reset": 0.0, **({"v_leak": 0.0} if "tau" in parameters else {}), **parameters}
    channels = {key: np.asarray(value, float).reshape(-1, 1, 1) for key, value in values.items()}
    full = {key: np.broadcast_to(value, (3, 4, 4)).copy() for key, value in channels.items()}
    n = g.add("n", (nir.LIF if "tau" in values else nir.IF)(**full), y, (3, 4, 4))
    return g.build(g.affine("fc", g.flatten("flat", n), 3))


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("fire", ["gt", "ge"])
def test_neurons(name: str, fire: str) -> None:
    same_values(neuron_graph(NEURONS[name]), fire=fire)


@pytest.mark.parametrize("changed", [{"v_threshold": [0.5, 1.0, 2.0]}, {"tau": 2 * DT, "r": 1.0, "v_leak": 0.25}])
def test_a_current_that_goes_elsewhere_cannot_be_scaled(changed: dict[str, Any]) -> None:
    """The stream goes on to another block, unscaled."""
    g = Grapher((2, 4, 4))
    stream = [g.conv("c1", "input", 3), g.conv("c2", g.fire("s", g.conv("c0", "input", 3)))]
    g.fire("n", stream)
    x = g.fire("last", [*stream, g.conv("c3", "n")])
    values = {"v_threshold": 1.0, "v_reset": 0.0, "r": 1 / DT, **changed}
    channels = {key: np.asarray(value, float).reshape(-1, 1, 1) for key, value in values.items()}
    full = {key: np.broadcast_to(value, (3, 4, 4)).copy() for key, value in channels.items()}
    g.nodes["n"] = (nir.LIF if "tau" in values else nir.IF)(**full)
    graph = g.build(g.affine("fc", g.flatten("flat", x), 3))
    with pytest.raises(ImportRefused, match="node 'n': its parameters differ .*'c[12]'.* goes elsewhere"):
        import_nir(graph)


@pytest.mark.parametrize("r", [2.0, [2.0, 4.0, 8.0]])
def test_if_with_scaled_r(r: Any) -> None:
    """V += r dt I; the stem's r = 1/dt is 1 again."""
    same_values(neuron_graph({"r": np.array(r) / DT}), unit_r=False, if_r="scaled")


def test_li_as_a_sum() -> None:
    g = Grapher((5,))
    x = g.fire("sn", g.affine("fc0", "input", 4))
    y = g.affine("fc", x, 3)
    node = nir.LI(tau=np.full(3, 2 * DT), r=np.array([1.0, 2.0, 4.0]), v_leak=np.zeros(3))
    graph = g.build(g.add("li", node, y, (3,)))
    imported = same_values(graph, li="sum")
    assert any("'li'" in sentence for sentence in imported.assumptions)
    with pytest.raises(ImportRefused, match=r"node 'li'.*li='sum'"):
        import_nir(graph)


def test_defaults_and_their_sentences() -> None:
    imported = import_nir(sew_chain(1))
    net = imported.network
    assert (net.steps, net.input.bits, net.input.scale, net.input.static) == (4, 8, 1 / 255, True)
    neuron = net.layers[0].neuron  # type: ignore[union-attr]
    assert (neuron.kind, neuron.fire, neuron.reset) == ("if", "gt", "hard")
    text = "\n".join(imported.assumptions)
    for word in ("T = 4", "1/dt", "> threshold", "hard", "8 bits", "mean over the T steps"):
        assert word in text


def test_dt_is_read_off_the_if_neurons() -> None:
    g = Grapher((5,))
    x = g.fire("sn", g.affine("fc0", "input", 4))
    x = g.fire("sn1", g.affine("fc1", x, 4), "lif")
    imported = import_nir(g.build(g.affine("fc", x, 3)))
    assert imported.network.layers[1].neuron.tau == 2.0  # type: ignore[union-attr]
    assert any("dt = 0.0001 s a step (from the IF neurons" in sentence for sentence in imported.assumptions)


def test_soft_reset() -> None:
    imported = import_nir(sew_chain(1), reset="soft")
    assert all(layer.neuron.reset == "soft" for layer in imported.network.layers if isinstance(layer, ConvLayer))


RANDOM = 120


def test_random_graphs() -> None:
    """A random graph is refused, naming a node, or its network has the same values; enough of them are not refused."""
    fine = 0
    for seed in range(RANDOM):
        graph = random_graph(seed)
        try:
            import_nir(graph)
        except ImportRefused as error:
            assert "node '" in str(error), seed
            continue
        same_values(graph, seed=seed)
        fine += 1
    assert fine > RANDOM // 4


def test_time_is_linear_in_the_edges() -> None:
    """Work counted in layers made: none is added however many edges there are."""
    for blocks in (3, 30):
        imported = import_nir(sew_chain(blocks, (1, 2, 2)))
        assert len(imported.network.layers) == 2 * blocks + 2
        assert imported.statistics["edges"] >= (blocks + 1) * (blocks + 2) // 2
        assert imported.statistics["largest_fan_in"] == blocks + 1
        assert math.prod(imported.network.input.shape) == 4
