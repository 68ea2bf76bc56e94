"""The float network description: shapes, builder, refusals by name."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import ConvLayer, InputSpec, MaxPoolLayer, Network, Neuron, ReadoutLayer
from refmodel.quantize import quantize
from refmodel.quantized import TensorInfo

IMAGE = InputSpec((1, 4, 6), 4)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape)


def conv(name: str = "a", source: str = "input", weight: object = None, **options) -> ConvLayer:
    return ConvLayer(name, source, ones(1, 1, 3, 3) if weight is None else weight, padding=(1, 1), **options)  # type: ignore[arg-type]


def network(*layers, spec: InputSpec = IMAGE) -> Network:
    return Network("net", 2, spec, layers)


def build_all() -> Network:
    """One of each builder method."""
    builder = NetworkBuilder("all", 4, InputSpec((2, 8, 8), 3, scale=0.5), neuron=Neuron("lif"), family="test")
    x = builder.conv("input", ones(4, 2, 3, 3), ones(4), name="stem")
    x = builder.maxpool(x, 2)
    x = builder.plain_block(x, ones(4, 4, 3, 3), None, ones(4, 4, 3, 3), ones(4))
    x = builder.spiking_resnet_block(x, ones(4, 4, 3, 3), None, ones(4, 4, 3, 3), None, current=0.7)
    x = builder.sew_block(x, ones(4, 4, 3, 3), None, ones(4, 4, 3, 3), None, combine="add")
    x = builder.sew_block(
        x, ones(6, 4, 3, 3), None, ones(6, 6, 3, 3), ones(6), combine="iand", stride=2,
        projection=(ones(6, 4, 1, 1), None),
    )  # fmt: skip
    x = builder.dense(x, ones(5, 6 * 2 * 2), ones(5))
    builder.readout(x, ones(3, 5), ones(3), pool="none")
    return builder.build()


def test_builder_makes_the_layers_in_order() -> None:
    net = build_all()
    assert list(net.tensors()) == [
        "input", "stem", "pool2", "block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2", "block3.conv1",
        "block3.conv2", "block4.conv1", "block4.projection", "block4.conv2", "dense12", "readout",
    ]  # fmt: skip
    assert net.tensors()["block3.conv2"] == TensorInfo((4, 4, 4), 2)
    assert net.tensors()["block4.conv2"] == TensorInfo((6, 2, 2), 1)
    assert network(conv(bias=ones(1)), OUT).parameters == 9 + 1 + 2
    assert net.family == "test"


def test_tensors_are_those_of_the_quantised_network() -> None:
    net = build_all()
    assert quantize(net).tensors() == net.tensors()
    pooled = network(conv(), ReadoutLayer("out", "a", ones(2, 1)))
    assert quantize(pooled).tensors() == pooled.tensors()


def test_arrays_are_copied_and_frozen() -> None:
    weight = ones(1, 1, 3, 3)
    layer = conv(weight=weight)
    weight[:] = np.nan
    assert np.isfinite(layer.weight).all()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[:] = 0


OUT = ReadoutLayer("out", "a", ones(2, 1))
WIDE = conv("b", "a", ones(2, 1, 3, 3))
REFUSALS = {
    "empty": (lambda: network(), "last layer must be a readout"),
    "no readout": (lambda: network(conv()), "last layer must be a readout"),
    "readout not last": (lambda: network(conv(), OUT, ReadoutLayer("x", "a", ones(2, 1))), "'out'.*last"),
    "steps": (lambda: Network("net", 0, IMAGE, (conv(), OUT)), "steps"),
    "unknown source": (lambda: network(conv(source="x"), OUT), "'a': unknown source 'x'"),
    "later source": (lambda: network(conv(source="b"), conv("b"), OUT), "unknown source 'b'"),
    "unknown shortcut": (lambda: network(conv(shortcut="x", combine="add"), OUT), "unknown shortcut 'x'"),
    "duplicate": (lambda: network(conv(), conv(), OUT), "'a': the name"),
    "named input": (lambda: network(conv("input"), OUT), "'input': the name"),
    "nan": (lambda: network(conv(weight=np.full((1, 1, 3, 3), np.nan)), OUT), "NaN"),
    "infinite bias": (lambda: network(conv(bias=np.array([np.inf])), OUT), "infinite"),
    "words": (lambda: network(conv(weight="no"), OUT), "'a': weight must be an array"),
    "axes": (lambda: network(conv(weight=ones(1, 3, 3)), OUT), r"weight must be \[Cout"),
    "channels": (lambda: network(conv(weight=ones(1, 2, 3, 3)), OUT), "grouped"),
    "bias": (lambda: network(conv(bias=ones(2)), OUT), "'a': bias"),
    "kernel": (lambda: network(conv(weight=ones(1, 1, 9, 9)), OUT), "larger than its source"),
    "padding": (lambda: network(conv(weight=ones(1, 1, 1, 1)), OUT), "padding must be smaller"),
    "stride": (lambda: network(conv(stride=(0, 1)), OUT), "stride"),
    "tau": (lambda: Neuron("lif", tau=1.0), "tau must be above 1"),
    "threshold": (lambda: Neuron(threshold=0.0), "threshold must be"),
    "v_reset": (lambda: Neuron(v_reset=1.0), "v_reset"),
    "soft v_reset": (lambda: Neuron(reset="soft", v_reset=-1.0), "soft"),
    "neuron kind": (lambda: Neuron("plif"), "kind"),  # type: ignore[arg-type]
    "combine alone": (lambda: network(conv(combine="or"), OUT), "'a'.*need a shortcut"),
    "current alone": (lambda: network(conv(current=1.0), OUT), "'a'.*need a shortcut"),
    "shortcut alone": (lambda: network(conv(), conv("b", "a", shortcut="a"), OUT), "'b': a shortcut needs either"),
    "both uses": (lambda: network(conv(), conv("b", "a", shortcut="a", combine="or", current=1.0), OUT), "either"),
    "bad combine": (lambda: network(conv(), conv("b", "a", shortcut="a", combine="xor"), OUT), "'b': combine"),
    "nan current": (lambda: network(conv(), conv("b", "a", shortcut="a", current=np.nan), OUT), "'b': current"),
    "shapes": (lambda: network(conv(), WIDE, conv("c", "a", shortcut="b", combine="or"), OUT), "'c'.*projection"),
    "and on counts": (lambda: network(conv(shortcut="input", combine="and"), OUT), "AND needs a binary"),
    "iand on counts": (lambda: network(conv(shortcut="input", combine="iand"), OUT), "IAND needs a binary"),
    "or on counts": (lambda: network(conv(shortcut="input", combine="or"), OUT), "OR needs a binary"),
    "current on counts": (lambda: network(conv(shortcut="input", current=1.0), OUT), "current needs a binary"),
    "pool on counts": (lambda: network(MaxPoolLayer("p", "input", (2, 2), (2, 2)), OUT), "'p': max pooling"),
    "scaled shortcut": (
        lambda: network(conv(shortcut="input", combine="add"), OUT, spec=InputSpec((1, 4, 6), 1, scale=0.5)), "scale 1"
    ),
    "readout shape": (
        lambda: network(conv(), ReadoutLayer("out", "a", ones(2, 9))), r"'out': weight must be \[classes, 1\]"
    ),
    "flat readout shape": (lambda: network(conv(), ReadoutLayer("out", "a", ones(2, 1), pool="none")), "24"),
    "readout pool": (lambda: network(conv(), ReadoutLayer("out", "a", ones(2, 1), pool="max")), "pool must be"),  # type: ignore[arg-type]
    "input bits": (lambda: InputSpec((1, 2, 2), 0), "bits"),
    "input shape": (lambda: InputSpec((1, 0, 2), 1), "shape"),
    "input scale": (lambda: InputSpec((1, 2, 2), 1, scale=0.0), "scale"),
    "dense": (lambda: NetworkBuilder("n", 1, IMAGE).dense("input", ones(2, 23)), r"\[Cout, 24\]"),
    "builder source": (lambda: NetworkBuilder("n", 1, IMAGE).dense("x", ones(2, 24)), "no tensor 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_refusals(case: str) -> None:
    make, message = REFUSALS[case]
    with pytest.raises(NetworkError, match=message):
        make()
