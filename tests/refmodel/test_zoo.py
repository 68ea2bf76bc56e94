"""The zoo: layouts against published parameter counts, living spikes, options and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refmodel import floatmodel, golden, modelfile, zoo
from refmodel.densities import AND_RATE, RATE, random_inputs
from refmodel.errors import NetworkError
from refmodel.layers import ConvLayer, ReadoutLayer, StreamLayer
from refmodel.network import Network
from refmodel.quantize import quantize
from refmodel.zoo.weights import MOST_OPERATIONS, SAMPLES, operations

#: A small form of every network.
SMALL: dict[str, dict[str, float]] = {
    "tutorial-ms": {"n_features": 32, "n_blocks": 6},
    "tutorial-sew": {"n_features": 32, "n_blocks": 6},
    "7b-net": {"width": 1 / 4, "size": 16, "steps": 6},
    "wide-7b-net": {"width": 1 / 8, "size": 16, "steps": 6},
    "sew-cifar10": {"width": 1 / 4, "size": 16},
    "or-resnet18": {"width": 1 / 8, "size": 16, "steps": 6},
    "or-resnet18-gesture": {"width": 1 / 8, "size": 64, "steps": 6},
    "ds-resnet20-gesture": {"width": 1 / 4, "size": 16, "steps": 4},
}
SMALL |= {name: {"width": 1 / 8, "size": 8} for name in zoo.names() if name not in SMALL}


def rates(net: Network) -> dict[str, float]:
    x = random_inputs(net.input, net.steps, 2, np.random.default_rng(7))
    result = floatmodel.run(net, x, keep=True)
    convolutions = {layer.name for layer in net.layers if isinstance(layer, ConvLayer)}
    return {name: float((spikes > 0).mean()) for name, spikes in result.spikes.items() if name in convolutions}


def test_every_network_has_a_small_form() -> None:
    assert set(SMALL) == set(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_spikes_neither_die_nor_saturate(name: str) -> None:
    net = zoo.build(name, **SMALL[name])
    assert operations(net) * SAMPLES[0] < MOST_OPERATIONS
    found = rates(net)
    assert min(found.values()) > 0.03, found
    assert max(found.values()) < 0.4, found
    assert np.median(list(found.values())) == pytest.approx(RATE, abs=0.04)


@pytest.mark.parametrize("combine", ["add", "and", "iand", "or"])
def test_combiners(combine: str) -> None:
    net = zoo.build("sew-resnet18", width=1 / 8, size=16, combine=combine)
    assert net.family == f"SEW-{combine.upper()}"
    merging = [layer for layer in net.layers if isinstance(layer, ConvLayer) and layer.shortcut]
    assert len(merging) == 8 and {layer.combine for layer in merging} == {combine}
    found = rates(net)
    assert found["stage2.block1.conv2"] == pytest.approx(AND_RATE if combine == "and" else RATE, abs=0.06)
    integer = golden.run(quantize(net), random_inputs(net.input, net.steps, 2, np.random.default_rng(7)))
    assert integer.active["stage4.block2.conv2"] > 0.02, "some spikes reach the end"


def test_without_following_along_spikes_live_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refmodel.zoo.weights.MOST_OPERATIONS", 0)
    for name in ("sew-resnet34", "spiking-resnet18", "ds-resnet20", "or-resnet18-gesture", "or-resnet18"):
        found = rates(zoo.build(name, **SMALL[name]))
        assert min(found.values()) > 0.01 and max(found.values()) < 0.9, (name, found)


#: Parameters with batch norm, two for a channel, as torchvision's ResNets and the papers count them.
PUBLISHED = {
    "sew-resnet18": 11_689_512,
    "sew-resnet34": 21_797_672,
    "sew-resnet50": 25_557_032,
    "sew-resnet101": 44_549_160,
    "sew-resnet152": 60_192_808,
}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_imagenet_layouts(depth: int) -> None:
    for family in ("sew", "spiking"):
        net = zoo.sketch(f"{family}-resnet{depth}")
        channels = sum(len(layer.weight) for layer in net.layers if isinstance(layer, ConvLayer))
        assert net.parameters + channels == PUBLISHED[f"sew-resnet{depth}"]
        tensors = net.tensors()
        shapes = [tensors[f"stage{stage}.block1.conv2"].shape[1] for stage in (1, 2, 3, 4)]
        assert shapes == [56, 28, 14, 7]
        assert tensors["conv1"].shape == (64, 112, 112) and net.steps == 4
    most = max(info.max_value for name, info in zoo.sketch("sew-resnet152").tensors().items() if "stage3" in name)
    assert most == 37, "36 ADD blocks after a projection"


def test_small_networks_have_the_papers_parameters() -> None:
    assert round(zoo.sketch("7b-net").parameters / 1e6, 2) == 0.13
    assert round(zoo.sketch("wide-7b-net", stem_kernel=1).parameters / 1e6, 2) == 1.19, "as released, not as printed"
    seven = zoo.sketch("7b-net")
    assert seven.tensors()["pool7"].shape == (32, 1, 1) and seven.tensors()["pool7"].max_value == 8
    assert isinstance(seven.layers[-1], ReadoutLayer) and seven.layers[-1].weight.shape == (11, 32)
    cifar = zoo.sketch("sew-cifar10")
    assert [name for name in cifar.tensors() if name.startswith("pool")] == [f"pool{n}" for n in (2, 4, 6, 8, 10)]


def test_ms_and_ds_layouts() -> None:
    for depth, convolutions in ((18, 17), (34, 33), (104, 105)):
        net = zoo.sketch(f"ms-resnet{depth}")
        plain = [x for x in net.layers if isinstance(x, ConvLayer) and "projection" not in x.name]
        assert len(plain) == convolutions
        assert net.tensors()["stage4.block1.conv1"].shape == (512, 7, 7) and net.steps == 6
        assert all(layer.max_bits == 8 for layer in net.layers if isinstance(layer, StreamLayer))
    for depth in (14, 20, 32, 44, 68):
        net = zoo.sketch(f"ds-resnet{depth}")
        plain = [x for x in net.layers if isinstance(x, ConvLayer) and "projection" not in x.name]
        assert len(plain) == depth - 1
        assert {layer.neuron.thresholds for layer in plain if layer.neuron} == {(0.6, 1.6, 2.6)}
    assert zoo.sketch("ds-resnet20", levels=2).tensors()["conv1"].max_value == 2
    gesture = zoo.sketch("ds-resnet20-gesture")
    assert gesture.steps == 40 and gesture.input.shape == (2, 32, 32)
    assert gesture.tensors()["stage3.block3.conv2"].shape == (64, 8, 8)


def test_or_merges_where_stages_begin() -> None:
    net = zoo.sketch("or-resnet18")
    merging = [x.name for x in net.layers if isinstance(x, ConvLayer) and x.combine == "or"]
    assert merging == [f"stage{stage}.block1.conv2" for stage in (2, 3, 4)]


def test_tutorial_stacks() -> None:
    for name in ("tutorial-ms", "tutorial-sew"):
        net = zoo.sketch(name, n_features=16, n_blocks=9)
        blocks = [layer for layer in net.layers if isinstance(layer, ConvLayer)]
        assert len(blocks) == 18 and {layer.weight.shape[:2] for layer in blocks} == {(16, 16)}
    assert {layer.current for layer in blocks[1::2]} == {None}
    assert {x.current for x in zoo.sketch("tutorial-ms").layers[1:-1:2] if isinstance(x, ConvLayer)} == {1.0}


def test_stems() -> None:
    assert "maxpool" not in zoo.sketch("sew-resnet18", size=63).tensors()
    assert "maxpool" in zoo.sketch("sew-resnet18", size=64).tensors()
    assert "maxpool" in zoo.sketch("sew-resnet18", size=32, stem="imagenet").tensors()
    assert len(zoo.sketch("sew-resnet18", size=63).layers[-1].weight) == 10  # type: ignore[union-attr]


def test_the_width_scales_channels() -> None:
    net = zoo.sketch("sew-resnet18", width=1 / 8, size=32)
    assert [net.tensors()[f"stage{stage}.block1.conv1"].shape[0] for stage in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert zoo.sketch("sew-resnet18", width=1 / 1000).tensors()["conv1"].shape[0] == 4


def test_the_same_options_give_the_same_network(tmp_path) -> None:
    paths = [tmp_path / f"{number}.skn" for number in range(3)]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        modelfile.save(zoo.build("sew-resnet18", width=1 / 8, size=8, seed=seed), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_sketches_hold_no_weights() -> None:
    net = zoo.sketch("spiking-resnet152")
    assert net.parameters == zoo.sketch("sew-resnet152").parameters
    for layer in net.layers:
        if isinstance(layer, ConvLayer | ReadoutLayer):
            assert set(layer.weight.strides) == {0} and math.prod(layer.weight.shape) > 0


def test_reading_names() -> None:
    name, options = zoo.read("zoo:sew-resnet18,width=1/8,size=32,combine=iand")
    assert (name, options["width"], options["size"], options["combine"]) == ("sew-resnet18", 0.125, 32, "iand")
    assert zoo.read("sew-resnet18,width=0.125,size=32,combine=iand") == (name, options)
    assert set(options) == set(zoo.entry("sew-resnet18").defaults)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sew-resnet20", ["sew-resnet20", "sew-resnet18", "ms-resnet104", "ds-resnet68"]),
        ("sew-resnet18,depth=3", ["depth", "width", "combine"]),
        ("sew-resnet18,width=big", ["width", "number", "big"]),
        ("sew-resnet18,size=8.5", ["size", "whole number"]),
        ("sew-resnet18,size=0", ["size", "at least 1"]),
        ("sew-resnet18,width=-1", ["width"]),
        ("sew-resnet18,width=1/0", ["width"]),
        ("sew-resnet18,width=nan", ["width"]),
        ("sew-resnet18,combine=xor", ["combine", "iand"]),
        ("sew-resnet18,stem=none", ["stem", "cifar"]),
        ("sew-resnet18,size", ["size", "option=value"]),
        ("sew-resnet18,size=8,size=9", ["size", "once"]),
        ("ds-resnet20,levels=4", ["levels", "3"]),
        ("tutorial-ms,tau=0.5", ["tau"]),
    ],
)
def test_bad_names_and_options(text: str, words: list[str]) -> None:
    with pytest.raises(NetworkError) as caught:
        name, options = zoo.read(text)
        zoo.sketch(name, **options)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_options_in_python_have_types() -> None:
    with pytest.raises(NetworkError, match="size must be a whole number"):
        zoo.sketch("sew-resnet18", size=16.0)
    assert zoo.sketch("sew-resnet18", width=1, size=16).name == "sew-resnet18"
