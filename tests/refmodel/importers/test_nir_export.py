"""Exported networks come back as they were, other readers read them, and what NIR cannot say is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

from refmodel import bundled, floatmodel, modelfile  # noqa: E402
from refmodel.builder import NetworkBuilder  # noqa: E402
from refmodel.errors import ImportRefused, NetworkError  # noqa: E402
from refmodel.importers.nir_export import export_nir  # noqa: E402
from refmodel.importers.nir_import import import_nir  # noqa: E402
from refmodel.network import InputSpec, Network, Neuron  # noqa: E402
from tests.refmodel.importers.nir_evaluator import Evaluator  # noqa: E402

RNG = np.random.default_rng(0)
NEURONS = {
    "if": Neuron("if"),
    "if, reset": Neuron("if", threshold=0.75, v_reset=-0.5, fire="gt"),
    "lif": Neuron("lif", tau=4 / 3, decay_input=True, v_reset=0.25, fire="gt"),
    "lif, input as it is": Neuron("lif", threshold=0.9, tau=3.7, decay_input=False),
    "step": Neuron("step", threshold=0.5),
}


def w(*shape: int) -> Any:
    return RNG.integers(-4, 6, shape) / 4


def builder(neuron: Neuron | None = None, *, signed: bool = False) -> tuple[NetworkBuilder, str]:
    net = NetworkBuilder(
        "small", 3, InputSpec((2, 6, 6), 4, static=False, scale=0.125, signed=signed), neuron=neuron, family="test",
        meta={"note": "kept"},
    )  # fmt: skip
    return net, net.conv("input", w(3, 2, 3, 3), w(3), keeps_stream=True, name="conv1")


def sew(neuron: Neuron | None = None) -> Network:
    net, x = builder(neuron)
    x = net.sew_block(x, w(3, 3, 3, 3), w(3), w(3, 3, 3, 3), None)
    x = net.sew_block(x, w(4, 3, 3, 3), w(4), w(4, 4, 3, 3), w(4), stride=2, projection=(w(4, 3, 1, 1), w(4)))
    x = net.sew_block(x, w(4, 4, 3, 3), w(4), w(4, 4, 3, 3), w(4))
    net.readout(x, w(3, 4), w(3))
    return net.build()


def membrane() -> Network:
    net, x = builder(NEURONS["lif, input as it is"])
    x = net.ms_block(x, w(3, 3, 3, 3), w(3), w(3, 3, 3, 3), w(3))
    x = net.ms_block(x, w(4, 3, 3, 3), w(4), w(4, 4, 3, 3), w(4), stride=2, projection=(w(4, 3, 1, 1), w(4)))
    net.readout(net.stream(x), w(3, 4 * 9), pool="none")
    return net.build()


def spiking() -> Network:
    net, x = builder(signed=True)
    x = net.spiking_resnet_block(x, w(3, 3, 3, 3), w(3), w(3, 3, 3, 3), w(3), current=0.75)
    x = net.spiking_resnet_block(x, w(3, 3, 3, 3), w(3), w(3, 3, 3, 3), w(3))
    x = net.avgpool(x, 2)
    x = net.conv(x, w(4, 3, 1, 3), w(4), padding=(0, 1), name="flat/kernel")
    net.readout(net.sumpool(x, 3), w(3, 4))
    return net.build()


def dense() -> Network:
    net, x = builder()
    x = net.dense(x, w(5, 108), w(5))
    x = net.membrane_shortcut_block(x, w(5, 5), w(5), w(5, 5), None, current=0.5)
    net.readout(x, w(3, 5))
    return net.build()


NETWORKS = {
    "sew": sew(), "membrane": membrane(), "spiking": spiking(), "dense": dense(),
    **{name: sew(neuron) for name, neuron in NEURONS.items()},
    **{name: bundled.load_network(name) for name in ("digits-dense", "digits-ms-8", "digits-sew-add-8")},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_export_then_import_is_the_same_network(name: str, tmp_path: Path) -> None:
    """Bit for bit, and also the same values from the graph alone, without its metadata."""
    network = NETWORKS[name]
    notes = export_nir(network, tmp_path / "net.nir")
    square = name != "spiking"
    assert square == (not any("type_check=False" in note for note in notes))
    imported = import_nir(tmp_path / "net.nir")
    assert modelfile.dumps(imported.network) == modelfile.dumps(network)
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]
    graph = nir.read(tmp_path / "net.nir", type_check=square)
    graph.metadata = {}
    low, high = network.input.tensor.min_value, network.input.tensor.max_value
    steps = () if network.input.static else (network.steps,)
    x = np.random.default_rng(1).integers(low, high + 1, (3, *steps, *network.input.shape))
    fire = next(layer.neuron.fire for layer in network.layers if getattr(layer, "neuron", None))  # type: ignore[union-attr]
    spec = network.input
    plain = import_nir(
        graph, steps=network.steps, fire=fire, input_bits=spec.bits, input_scale=spec.scale, signed=spec.signed,
        static=spec.static,
    )  # fmt: skip
    found = floatmodel.run(plain.network, x).logits
    np.testing.assert_allclose(found, floatmodel.run(network, x).logits, rtol=0, atol=1e-9)
    if not network.input.static:
        frames = x[0].reshape(network.steps, *graph.nodes["input"].input_type["input"]) * spec.scale
        evaluated = Evaluator(graph, 1e-4, at_least=fire == "ge").run(frames).mean(axis=0)
        np.testing.assert_allclose(found[0], evaluated, rtol=0, atol=1e-9)


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.nir", "b.nir"):
        export_nir(NETWORKS["sew"], tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_options_override_the_metadata(tmp_path: Path) -> None:
    export_nir(NETWORKS["sew"], tmp_path / "net.nir")
    imported = import_nir(tmp_path / "net.nir", steps=7)
    assert (imported.network.steps, imported.network.input) == (7, NETWORKS["sew"].input)
    assert any("T = 7 steps (as asked" in sentence for sentence in imported.assumptions)
    assert any("own description was not used" in sentence for sentence in imported.assumptions)


@pytest.mark.parametrize("change", ["weight", "edge", "metadata", "version", "dt"])
def test_metadata_counts_only_for_its_own_graph(change: str, tmp_path: Path) -> None:
    """A graph that was edited is read as it is."""
    path = tmp_path / "net.nir"
    export_nir(NETWORKS["sew"], path)
    changes = {"version": ('"version": 1', '"version": 2'), "dt": ('"dt": 0.0001', '"dt": 0.0')}
    with h5py.File(path, "r+") as f:
        if change == "weight":
            f["node"]["nodes"]["block1.conv1.neuron"]["v_threshold"][...] = 2.0
        elif change == "edge":
            readers = (b"block2.conv1", b"block2.projection")
            edges = [
                edge
                for edge in f["node"]["edges"][()].tolist()
                if not (edge[0] == b"conv1.neuron" and edge[1] in readers)
            ]
            del f["node"]["edges"]
            f["node"].create_dataset("edges", data=edges)
        else:
            text = f["node"]["metadata"]["skipspike"][()].decode()
            del f["node"]["metadata"]["skipspike"]
            text = text[:-5] if change == "metadata" else text.replace(*changes[change])
            f["node"]["metadata"].create_dataset("skipspike", data=text)
    imported = import_nir(path)
    layers = {layer.name: layer for layer in imported.network.layers}
    assert imported.network.family == "NIR"
    if change == "weight":
        assert layers["block1.conv1"].neuron.threshold == 2.0  # type: ignore[union-attr]
    if change == "edge":
        assert layers["block1.conv2"].shortcut is None
    if change in ("metadata", "version", "dt"):
        assert imported.network.input.bits == 8  # nothing of it is used


def _conv(**options: Any) -> Network:
    net, x = builder()
    net.readout(net.conv(x, w(3, 3, 3, 3), name="bad", **options), w(3, 3))
    return net.build()


def _pooled() -> Network:
    net, x = builder()
    net.readout(net.maxpool(x, 2, name="bad"), w(3, 3))
    return net.build()


@pytest.mark.parametrize(("network", "what"), [
    (lambda: _conv(shortcut="conv1", combine="and"), "the combiner AND"),
    (lambda: _conv(shortcut="conv1", combine="iand"), "the combiner IAND"),
    (lambda: _conv(shortcut="conv1", combine="or"), "the combiner OR"),
    (lambda: _conv(neuron=Neuron(reset="soft")), "a reset of kind 'soft'"),
    (lambda: _conv(neuron=Neuron(reset="none")), "a reset of kind 'none'"),
    (lambda: _conv(neuron=Neuron(levels=(2.0,))), "MLF units"), (lambda: _conv(rectify=True), "a rectified current"),
    (lambda: _conv(shortcut="conv1", current=1.0, stream="first"), "a signal that is added twice"),
    (_pooled, "max pooling"),
])  # fmt: skip
def test_what_nir_cannot_express(network: Any, what: str, tmp_path: Path) -> None:
    if "twice" in what:
        net, x = builder()
        y = net.conv(x, w(3, 3, 3, 3), shortcut=x, current=1.0, keeps_stream=True)
        net.readout(net.conv(y, w(3, 3, 3, 3), shortcut=x, current=1.0, stream=y, name="bad"), w(3, 3))
        made = net.build()
    else:
        made = network()
    with pytest.raises(NetworkError, match=f"layer 'bad': NIR cannot express {what}; "):
        export_nir(made, tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_nothing_reads(tmp_path: Path) -> None:
    net, x = builder()
    net.conv(x, w(3, 3, 3, 3), name="bad")
    net.readout(x, w(3, 3))
    with pytest.raises(NetworkError, match="layer 'bad': nothing reads it"):
        export_nir(net.build(), tmp_path / "net.nir")


def test_attention_is_refused(tmp_path: Path) -> None:
    from refmodel.attention import Attention

    attention = Attention("time", np.ones((1, 3)), np.ones((3, 1)))
    with pytest.raises(NetworkError, match="layer 'bad': NIR cannot express attention"):
        export_nir(_conv(attention=attention), tmp_path / "net.nir")


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"must end in .nir; use net.nir"):
        export_nir(NETWORKS["sew"], tmp_path / "net.h5")
    with pytest.raises(ImportRefused, match="cannot be written"):
        export_nir(NETWORKS["sew"], tmp_path / "none" / "net.nir")
    with pytest.raises(NetworkError, match="dt must be a positive"):
        export_nir(NETWORKS["sew"], tmp_path / "net.nir", dt=0.0)


def test_notes(tmp_path: Path) -> None:
    notes = "\n".join(export_nir(NETWORKS["sew"], tmp_path / "net.nir"))
    assert "fire at >=" in notes and "T = 3" in notes and "0.125 times the 4-bit integer" in notes
    network = replace(NETWORKS["if, reset"], input=InputSpec((2, 6, 6), 4, static=False))
    notes = "\n".join(export_nir(network, tmp_path / "net.nir", dt=1e-3))
    assert "fire at >=" not in notes and "dt = 0.001" in notes
