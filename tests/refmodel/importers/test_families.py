"""Families: those there are, descriptions of one's own, and the names of large models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refmodel.errors import ImportRefused
from refmodel.importers.families import FAMILIES, Stages
from refmodel.importers.families.files import read_family
from refmodel.importers.state_dict import import_state_dict
from refmodel.importers.state_dict_options import StateDictOptions
from refmodel.network import ConvLayer, PoolLayer
from tests.reference import state_dicts
from tests.refmodel.importers.parameter_files import sew, write

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
