"""The float network description: shapes, builder, refusals by name."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel.attention import Attention
from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.network import (
    ConvLayer,
    GateLayer,
    InputSpec,
    Network,
    Neuron,
    PoolLayer,
    ReadoutLayer,
    RealTensor,
    StreamLayer,
)
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


def test_tensors_of_every_kind() -> None:
    mlf = Neuron(threshold=0.6, levels=(1.6, 2.6))
    net = network(
        conv("a", neuron=mlf, keeps_stream=True),
        conv("b", "a", neuron=mlf, shortcut="a", combine="add"),
        PoolLayer("sum", "b", (2, 3), (2, 3), kind="sum"),
        PoolLayer("max", "b", (2, 2), (2, 2)),
        PoolLayer("mean", "b", (2, 2), (2, 2), kind="average"),
        StreamLayer("s", "a"),
        conv("projection", "s", neuron=None, keeps_stream=True),
        conv("c", "a", stream="projection"),
        ReadoutLayer("out", "c", ones(2, 1)),
        spec=InputSpec((1, 4, 6), 4, signed=True),
    )
    assert net.tensors() == {
        "input": TensorInfo((1, 4, 6), 7, -8),
        "a": TensorInfo((1, 4, 6), 3),
        "b": TensorInfo((1, 4, 6), 6),
        "sum": TensorInfo((1, 2, 2), 36),
        "max": TensorInfo((1, 2, 3), 6),
        "mean": RealTensor((1, 2, 3), 24),
        "s": RealTensor((1, 4, 6), 1, -1),
        "projection": TensorInfo((1, 4, 6), 0),
        "c": TensorInfo((1, 4, 6), 1),
        "out": TensorInfo((2, 4, 6), 1),
    }


def test_neurons() -> None:
    assert Neuron.plif(0.0).tau == 2.0 and Neuron.plif(0.0).decay_input
    assert Neuron.plif(np.log(3.0), threshold=0.5, reset="soft").leak == pytest.approx(0.25)
    assert Neuron.plif(0.0, threshold=0.5, reset="soft").reset == "soft"
    assert Neuron(levels=(2, 3)).thresholds == (1.0, 2.0, 3.0)
    assert (Neuron().leak, Neuron("lif", tau=4.0).leak, Neuron("step").leak) == (1.0, 0.75, 0.0)


OUT = ReadoutLayer("out", "a", ones(2, 1))
KEPT = conv("a", keeps_stream=True)
SILENT = conv("a", neuron=None, keeps_stream=True)
AVERAGE = PoolLayer("p", "a", (2, 2), (2, 2), kind="average")
MLF = Neuron(levels=(2.0,))
BY_TIME = Attention("time", ones(1, 2), ones(2, 1), Neuron())
BY_CHANNEL = Attention("channel", ones(1, 3), ones(3, 1), Neuron())


def signed(*layers) -> Network:
    return network(*layers, spec=InputSpec((1, 4, 6), 4, signed=True))


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
    "v_reset without reset": (lambda: Neuron(reset="none", v_reset=-1.0), "none"),
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
    "pool kind": (lambda: network(PoolLayer("p", "input", (2, 2), (2, 2), kind="min"), OUT), "'p': kind must be"),  # type: ignore[arg-type]
    "pool of an average": (
        lambda: network(conv(), AVERAGE, PoolLayer("q", "p", (1, 1), (1, 1)), OUT), "'q': pooling.*'p' is real-valued"
    ),
    "signed pool": (lambda: signed(PoolLayer("p", "input", (2, 2), (2, 2)), OUT), "'p': pooling.*signed"),
    "signed shortcut": (lambda: signed(conv(shortcut="input", combine="add"), OUT), "'a': shortcut 'input'.*signed"),
    "real shortcut": (
        lambda: network(KEPT, StreamLayer("s", "a"), conv("b", "a", shortcut="s", combine="add"), OUT),
        "'b': shortcut 's' is real-valued",
    ),
    "no neurons": (lambda: network(conv(neuron=None), OUT), "'a': without neurons it must keep its stream"),
    "rectified nothing": (lambda: network(conv(neuron=None, keeps_stream=True, rectify=True), OUT), "'a': rectify"),
    "silent source": (lambda: network(SILENT, OUT), "'out': source 'a' has no neurons.*StreamLayer"),
    "silent pool": (lambda: network(SILENT, PoolLayer("p", "a", (1, 1), (1, 1)), OUT), "'p': source 'a' has no neur"),
    "silent shortcut": (
        lambda: network(SILENT, conv("b", shortcut="a", current=1.0), OUT), "'b': shortcut 'a' has no neurons"
    ),
    "silent combine": (
        lambda: network(conv(), conv("b", "a", neuron=None, keeps_stream=True, shortcut="a", combine="add"), OUT),
        "'b': ADD combines spikes",
    ),
    "unkept stream": (lambda: network(conv(), conv("b", "a", stream="a"), OUT), "'b': no earlier layer 'a' keeps"),
    "later stream": (lambda: network(conv(stream="a", keeps_stream=True), OUT), "'a': no earlier layer 'a' keeps"),
    "unkept stream tensor": (lambda: network(conv(), StreamLayer("s", "a"), OUT), "'s': no earlier layer 'a' keeps"),
    "stream shape": (
        lambda: network(KEPT, conv("b", "a", ones(2, 1, 3, 3), stream="a"), OUT), "'b': stream 'a' has shape.*project"
    ),
    "stream bits": (lambda: network(KEPT, StreamLayer("s", "a", 33), OUT), "'s': max_bits must be 2 to 32"),
    "mlf and": (
        lambda: network(conv(), conv("b", "a", neuron=MLF, shortcut="a", combine="and"), OUT), "'b': AND needs binary"
    ),
    "attention steps": (
        lambda: Network("net", 3, IMAGE, (conv(attention=BY_TIME), OUT)),
        "'a': its attention is for 2 time steps, but there are 3; use first",
    ),
    "attention channels": (
        lambda: network(conv(), GateLayer("g", "a", BY_CHANNEL), OUT), "'g': its attention is for 3 channels.* are 1"
    ),
    "attention kept": (
        lambda: network(conv(attention=BY_TIME, keeps_stream=True), OUT), "'a': .*either attention or a membrane"
    ),
    "attention on nothing": (
        lambda: network(conv(attention=BY_TIME, neuron=None, keeps_stream=True), OUT), "'a': attention gates what neur"
    ),
    "attention of words": (lambda: network(conv(attention="time"), OUT), "'a': attention must be an Attention"),
    "gates of counts": (
        lambda: network(GateLayer("g", "input", BY_TIME), OUT), "'g': gates are for binary.*'input' counts up to 15"
    ),
    "gates of reals": (
        lambda: network(KEPT, StreamLayer("s", "a"), GateLayer("g", "s", BY_TIME), OUT), "'g': .*'s' is real-valued"
    ),
    "gates of a scaled input": (
        lambda: network(GateLayer("g", "input", BY_TIME), OUT, spec=InputSpec((1, 4, 6), 1, scale=0.5)), "real-valued"
    ),
    "gates of nothing": (lambda: network(SILENT, GateLayer("g", "a", BY_TIME), OUT), "'g': source 'a' has no neurons"),
    "gates between 0 and 1": (
        lambda: network(conv(), GateLayer("g", "a", Attention("time", ones(1, 2), ones(2, 1))), OUT),
        "'g': .* gates of 0 and 1; give the attention a neuron",
    ),
    "levels order": (lambda: Neuron(levels=(2.0, 2.0)), "levels must ascend"),
    "levels below": (lambda: Neuron(levels=(0.5,)), "levels must ascend"),
    "levels nan": (lambda: Neuron(levels=(float("nan"),)), "levels must ascend"),
    "levels many": (lambda: Neuron(levels=(2.0, 3.0, 4.0, 5.0)), "at most 4 levels"),
    "step memory": (lambda: Neuron("step", reset="soft"), "no memory"),
    "plif": (lambda: Neuron.plif(float("nan")), "PLIF's w"),
    "plif without decay": (lambda: Neuron.plif(50.0), "tau must be above 1"),
    "signed bit": (lambda: InputSpec((1, 2, 2), 1, signed=True), "signed input"),
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
