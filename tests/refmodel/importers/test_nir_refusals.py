"""What is refused, by the name of its node, with nothing made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")

from refmodel.errors import ImportRefused, SkipspikeError  # noqa: E402
from refmodel.importers.nir_import import import_nir  # noqa: E402
from tests.refmodel.importers.nir_graphs import DT, Grapher  # noqa: E402


def graph() -> Grapher:
    """input, conv, sn, flat, fc; not yet closed."""
    g = Grapher((2, 4, 4))
    g.affine("fc", g.flatten("flat", g.fire("sn", g.conv("conv", "input"))), 3)
    return g


def refused(g: Grapher | Any, text: str, **options: Any) -> None:
    made = g.build("fc", check=False) if isinstance(g, Grapher) else g
    with pytest.raises(ImportRefused, match=text) as caught:
        import_nir(made, **options)
    assert isinstance(caught.value, SkipspikeError) and "\n" not in str(caught.value)


def lif(**values: Any) -> Any:
    default = {"tau": 2 * DT, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{key: np.full((2, 4, 4), value) for key, value in {**default, **values}.items()})


def iff(**values: Any) -> Any:
    default = {"r": 1 / DT, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.IF(**{key: np.full((2, 4, 4), value) for key, value in {**default, **values}.items()})


def conv(size: int = 4, inputs: int = 2, kernel: int = 3, stride: int = 1, padding: int = 1, biases: int = 2) -> Any:
    weight = np.ones((2, inputs, kernel, kernel))
    return nir.Conv2d((size, size), weight, stride, padding, 1, 1, np.zeros(biases))


def test_the_graph_without_a_fault() -> None:
    import_nir(graph().build("fc"))


@pytest.mark.parametrize("back", [("sn", "conv"), ("conv", "conv"), ("fc", "fc")])
def test_recurrent_edge(back: tuple[str, str]) -> None:
    g = graph()
    g.edges.append(back)
    refused(g, f"node '{back[0] if back[0] == back[1] else '(conv|sn)'}': recurrent")


@pytest.mark.parametrize(("kind", "node"), [
    ("CubaLIF", lambda o: nir.CubaLIF(o, o, o, 0 * o, o)), ("CubaLI", lambda o: nir.CubaLI(o, o, o, 0 * o)),
    ("Delay", lambda o: nir.Delay(o)), ("I", lambda o: nir.I(o)),
])  # fmt: skip
def test_nodes_the_core_lacks(kind: str, node: Any) -> None:
    g = graph()
    g.nodes["sn"] = node(np.ones((2, 4, 4)))
    refused(g, f"node 'sn': {kind} nodes are not supported")


def test_unknown_node() -> None:
    tree = graph().build("fc").to_dict()
    tree["nodes"]["sn"]["type"] = "Izhikevich"

    class Other:
        def to_dict(self) -> Any:
            return tree

    refused(Other(), "node 'sn': Izhikevich nodes are not supported")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "key"), [("conv", "weight"), ("conv", "bias"), ("fc", "weight"), ("sn", "r")])
def test_values_that_are_no_numbers(value: float, name: str, key: str) -> None:
    g = graph()
    getattr(g.nodes[name], key).flat[1] = value
    refused(g, f"node '{name}': {key} has NaN or infinite values")


@pytest.mark.parametrize("tau", [0.0, -DT])
def test_tau_must_be_positive(tau: float) -> None:
    g = graph()
    g.nodes["sn"] = lif(tau=tau)
    refused(g, "node 'sn': tau must be positive")


def test_tau_must_not_be_shorter_than_the_step() -> None:
    g = graph()
    g.nodes["sn"] = lif()
    import_nir(g.build("fc"), dt=2 * DT)
    refused(graph_with(lif()), "node 'sn': tau=0.0002 is shorter than the step dt=0.0003; use a smaller dt", dt=3 * DT)


def graph_with(neuron: Any) -> Grapher:
    g = graph()
    g.nodes["sn"] = neuron
    return g


@pytest.mark.parametrize(("neuron", "text"), [
    (lif(tau=np.arange(2, 34).reshape(2, 4, 4) * DT), "tau differs between the pixels"),
    (lif(tau=np.array([2, 3]).reshape(2, 1, 1) * DT), "tau differs between its channels"),
    (iff(v_threshold=np.arange(1, 33).reshape(2, 4, 4)), "v_threshold differs between the pixels"),
    (iff(v_threshold=0.0), "its threshold must be positive"),
    (iff(v_threshold=-1.0), "its threshold must be positive"),
    (iff(r=-1.0), "r must be positive"), (iff(r=0.0), "r must be positive"),
    (iff(v_reset=1.0), "v_reset must be below threshold"),
    (iff(v_reset=np.array([0.0, 0.5]).reshape(2, 1, 1)), "v_reset differs between its channels"),
])  # fmt: skip
def test_neurons_that_cannot_be(neuron: Any, text: str) -> None:
    refused(graph_with(neuron), f"node 'sn': {text}")


def test_soft_reset_has_no_v_reset() -> None:
    refused(graph_with(iff(v_reset=-1.0)), "node 'sn': a soft reset has no v_reset", reset="soft")


def test_unit_r_must_be_one_value() -> None:
    g = graph()
    g.nodes["sn2"] = iff(r=1.0)
    g.nodes["sn"] = iff(r=2.0)
    g.edges = [("input", "conv"), ("conv", "sn"), ("sn", "sn2"), ("sn2", "flat"), ("flat", "fc")]
    refused(g, "node 'sn': r=2, but r=1 in 'sn2'")


def test_duplicate_edge() -> None:
    tree = graph().build("fc").to_dict()
    tree["edges"] = [*tree["edges"], ("conv", "sn")]

    class Twice:
        def to_dict(self) -> Any:
            return tree

    refused(Twice(), "node 'sn': duplicate edge from 'conv'")


def test_signal_that_arrives_twice() -> None:
    g = Grapher((4,))
    x = g.fire("sn", g.affine("fc0", "input", 4))
    g.affine("fc", [x, g.flatten("flat", x)], 3)
    refused(g, "node 'fc': a signal reaches it twice")


@pytest.mark.parametrize("end", ["sn", "nowhere"])
def test_edges_to_nowhere(end: str) -> None:
    tree = graph().build("fc").to_dict()
    tree["nodes"].pop("sn")
    tree["edges"] = [*tree["edges"], ("conv", end)]

    class Loose:
        def to_dict(self) -> Any:
            return tree

    refused(Loose(), "edge .* there is no node 'sn'")


@pytest.mark.parametrize("kind", ["Input", "Output"])
def test_ports(kind: str) -> None:
    g = graph()
    made = g.build("fc", check=False)
    name = kind.lower()
    node = made.nodes.pop(name)
    made.edges[:] = [edge for edge in made.edges if name not in edge]
    refused(made, f"the graph has no {kind} nodes")
    made.nodes[name], made.nodes["other"] = node, node
    refused(made, f"the graph has 2 {kind} nodes")


def test_loose_nodes() -> None:
    g = graph()
    g.conv("dead", "sn")
    refused(g, "node 'dead': nothing reads it")
    g = graph()
    g.add("sourceless", nir.Affine(np.ones((3, 2)), np.zeros(3)), [], (3,))
    g.edges.append(("sourceless", "output"))
    refused(g, "node 'sourceless': nothing leads into it")


@pytest.mark.parametrize(("name", "node", "text"), [
    ("fc", nir.Affine(np.ones((3, 31)), np.zeros(3)), "node 'fc': shape mismatch: its weight takes .31,., .*32"),
    ("fc", nir.Linear(np.ones((4, 32))), "node 'output': shape mismatch"),
    ("conv", conv(inputs=3), "node 'conv': shape mismatch.*3 channels"),
    ("conv", conv(size=5), "node 'conv': shape mismatch: its input"),
    ("conv", conv(biases=3), "node 'conv': bias .* shape mismatch"),
    ("conv", conv(kernel=7, padding=0), "node 'conv': shape mismatch: kernel"),
    ("conv", conv(stride=2), "node 'sn': shape mismatch"),
    ("conv", nir.Affine(np.ones((4, 32)), np.zeros(4)), "node 'conv': shape mismatch.*put a Flatten node"),
    ("conv", nir.Conv1d(4, np.ones((2, 2, 3)), 1, 1, 1, 1, np.zeros(2)), "node 'conv': shape mismatch: .* 2 axes"),
    ("flat", nir.Flatten(np.array((2, 4, 5)), 0, -1), "node 'flat': shape mismatch"),
    ("sn", nir.Scale(np.ones((2, 4, 3))), "node 'sn': shape mismatch: scale"),
])  # fmt: skip
def test_shape_mismatch(name: str, node: Any, text: str) -> None:
    g = graph()
    g.nodes[name] = node
    refused(g, text)


def test_sum_of_two_shapes() -> None:
    g = graph()
    g.edges.append(("input", "flat"))
    g.nodes["conv"] = nir.Conv2d((4, 4), np.ones((3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3))
    g.nodes["sn"] = nir.Threshold(np.ones((3, 4, 4)))
    refused(g, r"node 'flat': shape mismatch: it adds .*\(2, 4, 4\) and .*\(3, 4, 4\)")


@pytest.mark.parametrize(("name", "key"), [
    ("conv", "weight"), ("conv", "stride"), ("conv", "padding"), ("fc", "bias"), ("sn", "r"), ("sn", "v_threshold"),
    ("input", "shape"), ("flat", "start_dim"),
])  # fmt: skip
def test_missing_parameter(name: str, key: str) -> None:
    tree = graph().build("fc").to_dict()
    tree["nodes"][name].pop(key)

    class Missing:
        def to_dict(self) -> Any:
            return tree

    refused(Missing(), f"node '{name}': .* without its parameter '{key}'")


def test_sums_that_do_not_grow() -> None:
    """{a, b} and {b, c}: neither contains the other."""
    g = Grapher((4,))
    a, b, c = (g.fire(f"s{i}", g.affine(f"f{i}", "input", 4)) for i in range(3))
    total = [g.affine("x", [a, b], 4), g.affine("y", [b, c], 4)]
    g.affine("fc", g.fire("s3", total), 3)
    refused(g, "node 's[0-2]': its signal goes into two different sums, for '[xy]' and '[xy]'")


def test_different_neurons_on_one_current() -> None:
    g = Grapher((4,))
    x = g.affine("f", "input", 4)
    g.affine("fc", [g.fire("s", x), g.fire("t", x, threshold=2.0)], 3)
    refused(g, "node 't': reads the same current as the neurons 's'")


def test_li_that_is_not_last() -> None:
    g = graph_with(nir.LI(tau=np.ones((2, 4, 4)), r=np.ones((2, 4, 4)), v_leak=np.zeros((2, 4, 4))))
    refused(g, "node 'sn': an LI node has no spikes", li="sum")


@pytest.mark.parametrize(("options", "text"), [
    ({"dt": 0.0}, "dt must be a positive"), ({"dt": float("nan")}, "dt must be"), ({"steps": 0}, "steps must be"),
    ({"fire": "le"}, "fire must be one of"), ({"reset": "none"}, "reset must be one of"), ({"if_r": "x"}, "if_r must"),
    ({"li": "x"}, "li must be"), ({"input_bits": 0}, "bits must be"), ({"input_scale": -1.0}, "scale must be"),
    ({"input_shape": (0,)}, "input_shape must be"), ({"input_shape": (2, 5, 5)}, "shape mismatch"),
    ({"input_shape": (1, 1, 2, 2)}, "must be .N,., .C, L. or .C, H, W."),
])  # fmt: skip
def test_options(options: Any, text: str) -> None:
    refused(graph(), text, **options)


def test_grouped_weights_have_a_limit() -> None:
    g = Grapher((1, 4, 4))
    g.nodes["input"] = nir.Input(np.array((9000, 1, 1)))
    g.nodes["conv"] = nir.Conv2d((1, 1), np.ones((9000, 1, 1, 1)), 1, 0, 1, 9000, np.zeros(9000))
    g.edges = [("input", "conv")]
    g.shapes["conv"] = (9000, 1, 1)
    refused(g.build("conv", check=False), "node 'conv': its weights written out")


def test_shapes_have_a_limit() -> None:
    """One value for all neurons could stand for any number of them."""
    g = Grapher((1, 4, 4))
    g.nodes["input"] = nir.Input(np.array((1, 100_000, 100_000)))
    one = np.ones((1,))
    g.add("sn", nir.IF(one, one, 0 * one), "input", (1, 100_000, 100_000))
    refused(g.build("sn", check=False), "node 'input': its shape .* has more than")
    g = Grapher((1, 4, 4))
    g.add("pool", nir.SumPool2d(*(np.array((size, size)) for size in (1000, 1, 999))), "input", (1, 1003, 1003))
    refused(g.build("pool", check=False), "node 'pool': kernel_size .1000, 1000. is more than")


def test_a_path_that_is_no_graph() -> None:
    with pytest.raises(ImportRefused, match="path or a nir.NIRGraph"):
        import_nir(3)
    with pytest.raises(ImportRefused, match="cannot be read: No such file"):
        import_nir("/nonexistent/net.nir")
