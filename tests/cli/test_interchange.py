"""The verbs ``import`` and ``export``: results, and refusals that write nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from refmodel import bundled, floatmodel, modelfile
from refmodel.errors import SkipspikeError
from refmodel.importers.families import FAMILIES
from refmodel.network import Network
from skipspike import api
from skipspike.cli import app
from tests.reference import state_dicts
from tests.refmodel.importers.parameter_files import sew, write
from tests.refmodel.importers.test_state_dict_files import Payload, archive

FAMILY = ["--family", "spikingjelly-sew-resnet", "--input-shape", "1,6,6"]


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return result


def refused(*arguments: str, folder: Path, code: int = 1) -> str:
    """The one line of an error; nothing new is in the folder."""
    before = sorted(folder.iterdir())
    result = run(*arguments, code=code)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and result.stderr.rstrip().endswith(lines[0])
    assert sorted(folder.iterdir()) == before
    return lines[0]


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    """A small SEW-ResNet's parameters."""
    pytest.importorskip("safetensors")
    return write(tmp_path / "small.safetensors", sew())


def test_a_state_dict_becomes_a_model_file(parameters: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.skn"
    found = json.loads(run("import", str(parameters), "-o", str(out), *FAMILY, "--connect", "IAND", "--json").stdout)
    assert found["file"] == str(out) and found["network"] == "small" and found["family"] == "SEW-IAND"
    assert found["layers"] == 4 and found["steps"] == 4
    assert found["structure"] == [{"kind": "sew-iand", "shortcut": "identity", "count": 1}]
    assert found["blocks"][0]["layers"] == ["layer1.0.conv1", "layer1.0.conv2"]
    net = modelfile.load(out)
    assert isinstance(net, Network) and net.meta["assumptions"] == found["assumptions"]


def test_every_assumption_is_a_line(parameters: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.skn"
    lines = run("import", str(parameters), "-o", str(out), *FAMILY).stdout.splitlines()
    net = modelfile.load(out)
    said = [line.removeprefix("assumed: ") for line in lines if line.startswith("assumed: ")]
    assert said == net.meta["assumptions"] and len(said) > 8
    assert lines[0].startswith("small (SEW-ADD): 4 layers, 351 parameters, T = 4, images 1x6x6 of 8 bits")
    assert lines[1] == "blocks: 1 sew-add (identity)"
    assert lines[-1] == f"written: {out}"


def test_all_options_reach_the_importer(tmp_path: Path) -> None:
    """A reference with most of them, through the command line."""
    pytest.importorskip("safetensors")
    name = "spikingjelly-sew-iand-lif"
    reference = state_dicts.read(name)
    out = tmp_path / "net.skn"
    run(
        "import", str(state_dicts.parameters(name)), "-o", str(out), "--family", "spikingjelly-sew-resnet",
        "--connect", "IAND", "--neuron", "lif", "--tau", "1.6", "--threshold", "0.5", "--v-reset", "-0.25",
        "--decay-input", "--fire", "ge", "--reset", "hard", "--steps", "4", "--epsilon", "1e-5", "--static",
        "--input-shape", "3,11,11", "--input-bits", "8", "--input-scale", str(1 / 255), "--name", "mine",
        "--mean", "0,0,0", "--std", "1", "--stem-stride", "1", "--no-stem-pool",
    )  # fmt: skip
    net = modelfile.load(out)
    assert isinstance(net, Network) and net.name == "mine"
    np.testing.assert_allclose(floatmodel.run(net, reference.x).logits, reference.logits, atol=1e-9)


def test_an_imported_network_runs_like_any_other(parameters: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "small.skn")
    run("import", str(parameters), "-o", out, *FAMILY)
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(0).integers(0, 256, (8, 1, 6, 6)), y=np.zeros(8, np.int64))
    found = json.loads(run("evaluate", out, "--data", str(data), "--json").stdout)
    assert found["samples"] == 8 and set(found["predictions"]) <= {0, 1, 2}
    assert json.loads(run("estimate", out, "--data", str(data), "--json").stdout)["fits"]


def test_families_are_listed() -> None:
    found = json.loads(run("import", "--list-families", "--json").stdout)["families"]
    assert [one["name"] for one in found] == list(FAMILIES)
    text = run("import", "--list-families").stdout
    assert all(name in text for name in FAMILIES)


def test_an_old_file_is_replaced_only_by_a_whole_one(parameters: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.skn"
    run("import", str(parameters), "-o", str(out), *FAMILY)
    first = out.read_bytes()
    refused("import", str(parameters), "-o", str(out), "--family", "ds-resnet", folder=tmp_path)
    assert out.read_bytes() == first
    run("import", str(parameters), "-o", str(out), *FAMILY, "--connect", "AND")
    assert out.read_bytes() != first


# refusals


def test_parameters_that_are_wrong_are_named(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    out = str(tmp_path / "out.skn")
    missing, bad, more = sew(), sew(), sew() | {"layer1.0.extra.weight": np.zeros(3)}
    del missing["layer1.0.bn2.running_var"]
    bad["fc.weight"][0, 0] = np.nan
    for arrays, words in (
        (missing, "missing parameter 'layer1.0.bn2.running_var'"),
        (bad, "'fc.weight' has 1 NaN"),
        (more, "unexpected parameters, unknown to family 'spikingjelly-sew-resnet': 'layer1.0.extra.weight'"),
    ):
        path = write(tmp_path / "net.safetensors", arrays)
        assert words in refused("import", str(path), "-o", out, *FAMILY, folder=tmp_path)


def test_files_that_are_wrong(parameters: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.skn")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(parameters.read_bytes()[:-10])
    assert "not a sound safetensors file" in refused("import", str(cut), "-o", out, *FAMILY, folder=tmp_path)
    bomb = archive(tmp_path / "bomb.pt", {"a/data.pkl": bytes(5 << 20)}, zipfile.ZIP_DEFLATED)
    assert "unpacks to" in refused("import", str(bomb), "-o", out, *FAMILY, folder=tmp_path)
    assert "cannot be read" in refused("import", str(tmp_path / "no.pt"), "-o", out, *FAMILY, folder=tmp_path)
    other = tmp_path / "net.pkl"
    other.write_bytes(b"\x80\x02}q\x00.")
    assert ".safetensors, .pt, .pth" in refused("import", str(other), "-o", out, *FAMILY, folder=tmp_path)


def test_torch_files_that_are_wrong(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    out, path, proof = str(tmp_path / "out.skn"), tmp_path / "net.pt", tmp_path / "proof"
    torch.save({"w": torch.ones(100), "evil": Payload(proof)}, path)
    assert "mkdir" in refused("import", str(path), "-o", out, *FAMILY, folder=tmp_path)
    assert not proof.exists()
    torch.save({"w": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:300])
    assert "no whole zip" in refused("import", str(path), "-o", out, *FAMILY, folder=tmp_path)


def test_a_torch_file_becomes_the_same_network(parameters: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "small.pth"
    state = {f"module.{name}": torch.as_tensor(value) for name, value in sew().items()}
    torch.save({"model": state, "epoch": 3}, path)
    one = api.import_network(parameters, out=tmp_path / "a.skn", family="spikingjelly-sew-resnet")
    other = api.import_network(path, out=tmp_path / "b.skn", family="spikingjelly-sew-resnet")
    assert other["assumptions"][2:] == one["assumptions"]
    first, second = modelfile.load(tmp_path / "a.skn"), modelfile.load(tmp_path / "b.skn")
    for left, right in zip(first.layers, second.layers, strict=True):
        np.testing.assert_array_equal(getattr(left, "weight", 0), getattr(right, "weight", 0))


def test_families_options_and_names_that_are_wrong(parameters: Path, tmp_path: Path) -> None:
    out, file = str(tmp_path / "out.skn"), str(parameters)
    assert "no family 'vgg'" in refused("import", file, "-o", out, "--family", "vgg", folder=tmp_path)
    assert "give --family" in refused("import", file, "-o", out, folder=tmp_path)
    assert ".skn file" in refused("import", file, "-o", str(tmp_path / "out.npz"), *FAMILY, folder=tmp_path)
    assert "--dt is for files that end in .nir" in refused(
        "import", file, "-o", out, *FAMILY, "--dt", "0.1", folder=tmp_path
    )
    assert "--family is for files that end in .safetensors" in refused(
        "import", str(tmp_path / "a.nir"), "-o", out, "--family", "sew-resnet", folder=tmp_path
    )
    assert "--connect is for files" in refused(
        "import", str(tmp_path / "a.nir"), "-o", out, "--connect", "AND", folder=tmp_path
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--out"),
        (["-o", "a.skn", "--connect", "XOR"], "XOR"),
        (["-o", "a.skn", "--input-shape", "3x4x4"], "--input-shape"),
        (["-o", "a.skn", "--mean", "a,b"], "--mean"),
        (["-o", "a.skn", "--steps", "0"], "--steps"),
    ],
)
def test_wrong_usage(options: list[str], words: str, tmp_path: Path) -> None:
    assert words in refused("import", "a.pt", *options, folder=tmp_path, code=2)


# NIR


def test_export_and_import_give_the_same_network(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    graph, out = str(tmp_path / "net.nir"), tmp_path / "net.skn"
    lines = run("export", "digits-sew-add-8", "-o", graph).stdout.splitlines()
    assert lines[0] == "digits-sew-add-8: 18 layers" and lines[-1] == f"written: {graph}"
    found = json.loads(run("import", graph, "-o", str(out), "--json").stdout)
    assert found["structure"] == [{"kind": "sew-add", "shortcut": "identity", "count": 8}]
    net, original = modelfile.load(out), bundled.load_network("digits-sew-add-8")
    assert isinstance(net, Network) and net.input == original.input and net.steps == original.steps
    x = np.random.default_rng(0).integers(0, 17, (4, 1, 8, 8))
    np.testing.assert_array_equal(floatmodel.run(net, x).logits, floatmodel.run(original, x).logits)


def test_options_of_nir(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    graph, out = str(tmp_path / "net.nir"), tmp_path / "net.skn"
    run("export", "digits-sew-add-8", "-o", graph, "--dt", "0.001")
    options = ["--steps", "6", "--fire", "gt", "--input-bits", "5", "--events", "--dt", "0.001"]
    run("import", graph, "-o", str(out), *options)
    net = modelfile.load(out)
    assert isinstance(net, Network) and net.steps == 6 and not net.input.static


def test_what_nir_cannot_say_is_not_exported(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    graph = str(tmp_path / "net.nir")
    assert "digits-sew-and-6" not in refused("export", "digits-nope", "-o", graph, folder=tmp_path).split("(")[0]
    assert "layer" in refused("export", "digits-sew-and-6", "-o", graph, folder=tmp_path)
    assert ".nir file" in refused("export", "digits-sew-add-8", "-o", str(tmp_path / "a.onnx"), folder=tmp_path)
    quantised = str(tmp_path / "q.skn")
    api.prune("digits-dense", out=quantised, samples=1)
    assert "is quantised" in refused("export", quantised, "-o", graph, folder=tmp_path)


def test_a_graph_that_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    path = tmp_path / "net.nir"
    path.write_bytes(b"not a graph")
    assert str(path) in refused("import", str(path), "-o", str(tmp_path / "out.skn"), folder=tmp_path)


def test_the_functions_raise_one_kind_of_error(tmp_path: Path) -> None:
    with pytest.raises(SkipspikeError):
        api.import_network(tmp_path / "net.pt", out=tmp_path / "net.skn")
    with pytest.raises(SkipspikeError):
        api.export_network("digits-nope", out=tmp_path / "net.nir")
