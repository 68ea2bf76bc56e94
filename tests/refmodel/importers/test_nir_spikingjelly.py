"""Graphs that SpikingJelly exported, with the weights of bundled networks (tests/reference/nir)."""

from __future__ import annotations

import lzma
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")

from refmodel import bundled, floatmodel, golden
from refmodel.datasets import load_data
from refmodel.importers.imported import Imported
from refmodel.importers.nir_blocks import find_blocks
from refmodel.importers.nir_import import import_nir
from refmodel.quantize import quantize

FOLDER = Path(__file__).parents[2] / "reference" / "nir"
#: Nodes, edges, largest fan-in and kind of block of each file.
FILES = {
    "digits-sew-add-8": (39, 74, 9, "sew-add"),
    "digits-sew-add-24": (103, 402, 25, "sew-add"),
    "digits-ms-24": (103, 402, 25, "membrane"),
}


@pytest.fixture(scope="module", params=FILES)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Imported, float]:
    """Name, network and seconds of processor time."""
    name = request.param
    path = tmp_path_factory.mktemp("nir") / f"{name}.nir"
    path.write_bytes(lzma.decompress((FOLDER / f"{name}.nir.xz").read_bytes()))
    start = time.process_time()
    # SpikingJelly fires at >=; the membrane-stream network was trained with >
    fire = "gt" if name == "digits-ms-24" else "ge"
    imported = import_nir(path, input_bits=5, input_scale=1 / 16, fire=fire)
    return name, imported, time.process_time() - start


def test_the_graph_and_its_blocks(found: tuple[str, Imported, float]) -> None:
    name, imported, seconds = found
    nodes, edges, fan_in, kind = FILES[name]
    statistics = imported.statistics
    assert (statistics["nodes"], statistics["edges"], statistics["largest_fan_in"]) == (nodes, edges, fan_in)
    assert seconds < 5
    known = find_blocks(bundled.load_network(name))
    assert [(b.kind, b.shortcut, len(b.layers)) for b in imported.blocks] == [(kind, "identity", 2)] * len(known)
    assert [b.name for b in imported.blocks] == [b.name for b in known]


def test_the_layers_are_those_of_the_bundled_network(found: tuple[str, Imported, float]) -> None:
    name, imported, _ = found
    known = bundled.load_network(name)
    names = {old.name: new.name for old, new in zip(known.layers, imported.network.layers, strict=True)}
    for old, new in zip(known.layers, imported.network.layers, strict=True):
        for option, value in vars(old).items():
            other = getattr(new, option)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, other)
            elif option in ("name", "source", "shortcut", "stream"):
                assert names.get(value, value) == other
            elif not (option == "keeps_stream" and old is known.layers[-2]):  # that of the last block, which none reads
                assert value == other, (old.name, option)


def test_spikingjelly_computes_the_same(found: tuple[str, Imported, float]) -> None:
    name, imported, _ = found
    x = np.random.default_rng(0).integers(0, 17, (32, 1, 8, 8))
    np.testing.assert_allclose(
        floatmodel.run(imported.network, x).logits, np.load(FOLDER / f"{name}.npy"), rtol=0, atol=1e-9
    )


def test_spikingjellys_own_ms_resnet(tmp_path: Path) -> None:
    """Projections convolve the membrane stream."""
    path = tmp_path / "ms-resnet.nir"
    path.write_bytes(lzma.decompress((FOLDER / "ms-resnet.nir.xz").read_bytes()))
    imported = import_nir(path, fire="ge")
    assert [(b.name, b.kind, b.shortcut) for b in imported.blocks] == [
        ("layer1_0", "membrane", "projection"), ("layer2_0", "membrane", "projection"),
        ("layer2_1", "membrane", "identity"), ("layer3_0", "membrane", "projection"),
    ]  # fmt: skip
    x = np.random.default_rng(0).integers(0, 256, (32, 2, 16, 16))
    found, wanted = floatmodel.run(imported.network, x).logits, np.load(FOLDER / "ms-resnet.npy")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    assert np.ptp(wanted, axis=0).min() > 0.01  # the images make a difference


@pytest.mark.slow
def test_accuracy_on_the_digits(found: tuple[str, Imported, float]) -> None:
    """Eight bits are within a point of the float network on the 360 test images."""
    _, imported, _ = found
    x, labels = load_data("digits")
    assert len(x) == 360
    spikes = floatmodel.run(imported.network, x).predictions
    integers = golden.run(quantize(imported.network, 8), x).predictions
    assert abs(np.mean(spikes == labels) - np.mean(integers == labels)) <= 0.01
    assert np.mean(integers == labels) > 0.96
