"""Families: those there are, descriptions of one's own, and the names of large models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refmodel.errors import ImportRefused
from refmodel.importers.families import FAMILIES, Norm, Stages
from refmodel.importers.families.files import read_family
from refmodel.importers.state_dict import import_state_dict
from refmodel.importers.state_dict_options import StateDictOptions
from refmodel.layers import Neuron
from refmodel.network import ConvLayer, PoolLayer
from tests.reference import state_dicts
from tests.refmodel.importers.parameter_files import arrays_of, sew, write

#: SpikingJelly's SEW-ResNet as a description of one's own, in part.
DESCRIPTION = """
name = "mine"
title = "SEW-ResNet of mine"
steps = 2
size = 6
[neuron]
kind = "lif"
tau = 4
[stem]
units = [{ conv = "conv1", norm = "bn1" }]
stride = 1
pool = false
[stages]
path = "layer{stage}.{block}"
strides = [1, 2]
[[stages.blocks]]
join = "sew"
branch = [{ conv = "conv1", norm = "bn1" }, { conv = "conv2", norm = "bn2" }]
"""


def description(folder: Path, text: str = DESCRIPTION) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_families_have_names_of_their_own_and_a_source() -> None:
    assert all(name == one.name and one.source and one.title for name, one in FAMILIES.items())
    assert len(FAMILIES) == 12


def test_what_the_published_codes_compute_where_the_parameters_do_not_say_it() -> None:
    """Neurons, strides and batch norms, from each code; u = 0.25 u (1 - s) + x is tau 4/3 without decaying input."""
    decay = {"tau": 4 / 3, "decay_input": False}
    expected = {
        "spikingjelly-sew-resnet": (Neuron(), Norm(), (1, 2, 2, 2)),
        "spikingjelly-spiking-resnet": (Neuron(), Norm(), (1, 2, 2, 2)),
        "spikingjelly-ms-resnet": (Neuron("lif", 0.5, fire="ge", **decay), Norm(), (2, 2, 2, 2)),
        "sew-resnet": (Neuron(), Norm(), (1, 2, 2, 2)),
        "sew-spiking-resnet": (Neuron(), Norm(), (1, 2, 2, 2)),
        "ms-resnet": (Neuron("lif", 0.5, fire="gt", **decay), Norm(), (2, 2, 2, 2)),
        "ms-resnet104": (Neuron("lif", 0.5, fire="gt", **decay), Norm(), (2, 2, 2, 2)),
        "ds-resnet": (
            Neuron("lif", 0.6, fire="gt", levels=(1.6, 2.6), **decay), Norm(1e-5, 0.6, outside_root=True), (1, 2, 2)
        ),
    }  # fmt: skip
    expected["ds-resnet-events"] = expected["ds-resnet"]
    for name, (neuron, norm, strides) in expected.items():
        family = FAMILIES[name]
        assert (family.neuron, family.norm) == (neuron, norm), name
        assert isinstance(family.body, Stages) and family.body.strides == strides
    for name in ("sew-7b-net", "spiking-7b-net", "plain-7b-net"):
        assert FAMILIES[name].neuron == Neuron("lif", tau=2.0) and FAMILIES[name].events


@pytest.mark.parametrize("name", ["sew-iand-bottleneck", "sew-spiking", "sew-7b", "spiking-7b"])
def test_newer_containers_without_module_in_their_names(tmp_path: Path, name: str) -> None:
    pytest.importorskip("safetensors")
    reference = state_dicts.read(name)
    options = StateDictOptions(steps=4, input_shape=tuple(reference.options["input_shape"]))
    arrays = {key.replace(".module.", "."): value for key, value in arrays_of(name).items()}
    family = reference.options["family"]
    newer = import_state_dict(write(tmp_path / "net.safetensors", arrays), family, options).network
    older = import_state_dict(state_dicts.parameters(name), family, options).network
    for one, other in zip(newer.layers, older.layers, strict=True):
        np.testing.assert_array_equal(getattr(one, "weight", 0), getattr(other, "weight", 0))
        assert getattr(one, "neuron", 0) == getattr(other, "neuron", 0)


def test_a_family_of_ones_own_reads_what_the_one_it_copies_does(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = write(tmp_path / "net.safetensors", sew(blocks=2))
    options = {"steps": 2, "neuron": "lif", "tau": 4.0, "input_shape": (1, 6, 6)}
    theirs = import_state_dict(path, "spikingjelly-sew-resnet", StateDictOptions(**options)).network
    mine = import_state_dict(path, str(description(tmp_path))).network
    assert (mine.steps, mine.input, mine.family) == (theirs.steps, theirs.input, theirs.family)
    for one, other in zip(mine.layers, theirs.layers, strict=True):
        assert one.name == other.name
        if isinstance(one, ConvLayer) and isinstance(other, ConvLayer):
            assert one.neuron == other.neuron and one.shortcut == other.shortcut
            np.testing.assert_array_equal(one.weight, other.weight)


def test_a_family_as_an_object(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = write(tmp_path / "net.safetensors", sew())
    family = replace(FAMILIES["spikingjelly-sew-resnet"], name="smaller", size=8)
    found = import_state_dict(path, family)
    assert found.network.input.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('join = "sew"', 'join = "xor"', "join must be one of sew"),
        ('join = "sew"', "", "needs join"),
        ('name = "mine"', "", "needs name"),
        ("steps = 2", "steps = 0", "at least 1"),
        ("steps = 2", 'steps = "2"', "family.steps must be int"),
        ("steps = 2", "steps = true", "family.steps must be int"),
        ("steps = 2", "step = 2", "no 'step'"),
        ("tau = 4", "tau = 1", "tau must be above 1"),
        ("strides = [1, 2]", "strides = []", "a list with something in it"),
        ("strides = [1, 2]", "strides = [0]", "strides must be 1 to 8"),
        ('path = "layer{stage}.{block}"', 'path = "layer"', "{stage}"),
        ("stages", "chain", "family.chain has no 'strides'"),
        ("stages", "levels", "has one body"),
        ("steps = 2", "levels = 2", "it has name, title, source, stages or chain, stem"),
        ('{ conv = "conv2", norm = "bn2" }', "2", "must be a table"),
        ("[neuron]", "[neuron", "not TOML"),
    ],
)
def test_what_is_wrong_with_a_description_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in DESCRIPTION
    path = description(tmp_path, DESCRIPTION.replace(old, new))
    with pytest.raises(ImportRefused) as error:
        read_family(path)
    text = str(error.value)
    assert text.startswith(str(path)) and "\n" not in text
    assert words in text


def test_the_description_in_the_documentation_reads_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    text = (Path(__file__).parents[3] / "docs" / "importing.md").read_text(encoding="utf-8")
    found = read_family(description(tmp_path, text.split("```toml\n")[1].split("```")[0]))
    theirs = FAMILIES["spikingjelly-sew-resnet"]
    assert isinstance(found.body, Stages) and isinstance(theirs.body, Stages)
    assert found.body == replace(theirs.body, blocks=theirs.body.blocks[1:])
    assert found.neuron == Neuron("lif", tau=2.0) and found.norm == theirs.norm
    path = write(tmp_path / "net.safetensors", sew())
    assert import_state_dict(path, found, StateDictOptions(input_shape=(1, 6, 6))).network.family == "SEW-ADD"


def test_every_family_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "importing.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in FAMILIES)


def test_a_description_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="cannot be read"):
        read_family(tmp_path / "none.toml")


def test_paths_are_never_formats() -> None:
    """Braces other than the known ones stay as they are."""
    assert Stages("a{stage}.{block}.{0.__class__}", (), (1,)).at(0, 2) == "a1.2.{0.__class__}"


def test_the_names_of_sew_resnet18(tmp_path: Path) -> None:
    """Every name and shape of SpikingJelly's sew_resnet18, in a file without numbers worth keeping."""
    pytest.importorskip("safetensors")
    shapes = json.loads((state_dicts.FOLDER / "spikingjelly-sew-resnet18.json").read_text())
    arrays = {
        name: np.zeros(shape, np.int64 if name.endswith("tracked") else np.float16) for name, shape in shapes.items()
    }  # fmt: skip
    path = write(tmp_path / "net.safetensors", arrays)
    found = import_state_dict(path, "spikingjelly-sew-resnet", StateDictOptions(steps=4, connect="ADD"))
    assert [one.name for one in found.blocks] == [f"layer{stage}.{block}" for stage in range(1, 5) for block in (0, 1)]
    assert [one.shortcut for one in found.blocks] == ["identity"] * 2 + ["projection", "identity"] * 3
    assert len(found.network.layers) == 22 and isinstance(found.network.layers[1], PoolLayer)
    shape = found.network.tensors()["layer4.1.conv2"].shape
    assert shape == (512, 7, 7)
    # as many as there are, but for the batch norms' mean and variance, and their scale
    assert found.network.parameters == 11_684_712
