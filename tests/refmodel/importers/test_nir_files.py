"""Damaged and hostile .nir files: one ImportRefused, no other file opened, no more memory than declared and allowed."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

from refmodel.errors import ImportRefused  # noqa: E402
from refmodel.importers import nir_hdf5  # noqa: E402
from refmodel.importers.nir_import import import_nir  # noqa: E402
from tests.refmodel.importers.nir_graphs import sew_chain  # noqa: E402


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.nir"
    nir.write(path, sew_chain(2))
    return path


def refused(path: Path, text: str) -> None:
    with pytest.raises(ImportRefused, match=text) as caught:
        import_nir(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_nir_writes(file: Path) -> None:
    imported = import_nir(file)
    assert imported.network.name == "net"
    graph = nir.read(file)
    tree = nir_hdf5.read_tree(file)["node"]["nodes"]
    for name, node in graph.nodes.items():
        for key in ("weight", "bias", "r", "v_threshold"):
            if hasattr(node, key):
                np.testing.assert_array_equal(tree[name][key], getattr(node, key), strict=True)


@pytest.mark.parametrize("options", [
    {}, {"compression": "gzip", "compression_opts": 9}, {"compression": "gzip", "shuffle": True},
    {"chunks": (2, 1, 3, 2)},
    {"chunks": (1, 1, 1, 1), "compression": "gzip"},
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "f2", "i8"])
def test_ways_to_store_an_array(file: Path, options: dict[str, Any], dtype: str) -> None:
    weight = np.arange(36).reshape(2, 2, 3, 3).astype(dtype)
    replace(file, "conv0", "weight", data=weight, **options)
    np.testing.assert_array_equal(import_nir(file).network.layers[0].weight, weight.astype(float))  # type: ignore[union-attr]


def replace(path: Path, node: str, key: str, **options: Any) -> None:
    with h5py.File(path, "r+") as f:
        group = f["node"]["nodes"][node]
        del group[key]
        group.create_dataset(key, **options)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.1, 0.3, 0.5, 0.7, 0.9, -1])
def test_truncated(file: Path, kept: float) -> None:
    data = file.read_bytes()
    size = int(len(data) * kept) if isinstance(kept, float) else kept if kept >= 0 else len(data) + kept
    file.write_bytes(data[:size])
    refused(file, "not an HDF5 file" if size < 8 else "damaged or cut short")


@pytest.mark.parametrize("data", [
    b"hello", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(500),
])  # fmt: skip
def test_other_files(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    refused(file, "not an HDF5 file|damaged or cut short")


def test_flipped_bytes(file: Path) -> None:
    """Any byte changed: a network, or ImportRefused."""
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(15):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(changed))
        try:
            import_nir(file)
        except ImportRefused as error:
            assert "\n" not in str(error)


def test_hdf5_without_a_graph(file: Path) -> None:
    with h5py.File(file, "w") as f:
        f.create_dataset("version", data="1.0")
    refused(file, "holds no NIR graph")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.nir", "/node"), h5py.SoftLink("/version")])
def test_links(file: Path, link: Any) -> None:
    with h5py.File(file, "r+") as f:
        del f["node"]["nodes"]["conv0"]["weight"]
        f["node"]["nodes"]["conv0"]["weight"] = link
    refused(file, "'/node/nodes/conv0/weight' is a link to elsewhere .*never followed")


def test_groups_in_a_circle(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        f["node"]["nodes"]["again"] = f["node"]
    refused(file, "is another name of an object read before")


def test_deep_groups(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        group = f["node"]["nodes"]
        for _ in range(40):
            group = group.create_group("g")
    refused(file, "nested more than")


def test_external_storage(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(288))
    replace(file, "conv0", "weight", shape=(2, 2, 3, 3), dtype="f8", external=[(str(secret), 0, 288)])
    refused(file, "conv0/weight' is stored in other files")


def test_virtual_dataset(file: Path) -> None:
    layout = h5py.VirtualLayout((2, 2, 3, 3), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "w", (2, 2, 3, 3))
    with h5py.File(file, "r+") as f:
        group = f["node"]["nodes"]["conv0"]
        del group["weight"]
        group.create_virtual_dataset("weight", layout)
    refused(file, "conv0/weight' is stored in other files")


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_huge_declared_arrays(file: Path, options: dict[str, Any]) -> None:
    replace(file, "conv0", "weight", shape=(1 << 20, 1 << 20, 3, 3), dtype="f8", **options)
    refused(file, "conv0/weight' declares .*more than")


def test_many_arrays_of_allowed_size(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        for index in range(40):
            f["node"]["nodes"]["conv0"].create_dataset(f"more{index}", shape=(1 << 22,), dtype="f8", chunks=(1 << 22,))
    refused(file, "declares .*more than|stores 0 of its 1 chunks")


def test_missing_chunks(file: Path) -> None:
    replace(file, "conv0", "weight", shape=(2, 2, 3, 3), dtype="f8", chunks=(1, 2, 3, 3))
    refused(file, "conv0/weight' stores 0 of its 2 chunks")


def test_huge_chunks(file: Path) -> None:
    chunks = (1 << 14, 1 << 12, 3, 1)
    replace(file, "conv0", "weight", shape=(2, 2, 3, 3), maxshape=(None,) * 4, dtype="f8", chunks=chunks)
    refused(file, "has chunks of|declares|stores 0")


def test_zip_bomb(file: Path) -> None:
    """A chunk that says 288 bytes and expands to 64 MB, which the library's own filter would all expand."""
    with h5py.File(file, "r+") as f:
        group = f["node"]["nodes"]["conv0"]
        del group["weight"]
        made = group.create_dataset("weight", shape=(2, 2, 3, 3), dtype="f8", chunks=(2, 2, 3, 3), compression="gzip")
        made.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(1 << 26), 9))
    refused(file, "expands beyond its declared 288 bytes")


def test_short_chunk(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        group = f["node"]["nodes"]["conv0"]
        del group["weight"]
        made = group.create_dataset("weight", shape=(2, 2, 3, 3), dtype="f8", chunks=(2, 2, 3, 3), compression="gzip")
        made.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(100)))
    refused(file, "not of its declared 288 bytes")


@pytest.mark.parametrize("options", [
    {"compression": "lzf"}, {"fletcher32": True}, {"scaleoffset": 4},
])  # fmt: skip
def test_other_filters(file: Path, options: dict[str, Any]) -> None:
    replace(file, "conv0", "weight", data=np.ones((2, 2, 3, 3)), chunks=(2, 2, 3, 3), **options)
    refused(file, "filtered by more than gzip and shuffle")


@pytest.mark.parametrize("dtype", [
    h5py.vlen_dtype(np.float64), h5py.ref_dtype, np.dtype([("a", "f8")]), h5py.enum_dtype({"a": 1, "b": 2}, "i4"),
    np.dtype("c16"), np.dtype("V8"),
])  # fmt: skip
def test_other_elements(file: Path, dtype: Any) -> None:
    replace(file, "conv0", "weight", shape=(2,), dtype=dtype)
    if dtype == h5py.enum_dtype({"a": 1, "b": 2}, "i4"):
        refused(file, "conv0")  # read as integers, of the wrong rank
    else:
        refused(file, "only numbers and text are read")


def test_much_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(file, "r+") as f:
        f["node"].create_dataset("more", data=["x" * 5000] * 10, dtype=h5py.string_dtype())
    import_nir(file)
    monkeypatch.setattr(nir_hdf5, "TEXT_LIMIT", 40_000)
    refused(file, "takes the file's text beyond 40000 bytes")


def test_text_that_is_not_utf8(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        del f["node"]["nodes"]["conv0"]["type"]
        f["node"]["nodes"]["conv0"].create_dataset("type", data=np.bytes_(b"\xff\xfe"))
    refused(file, "is not UTF-8")


@pytest.mark.parametrize(("key", "value", "text"), [
    ("weight", "text", "weight must be an array of numbers"), ("type", 3.0, "has no type"),
    ("stride", np.array([1.5, 1.0]), "stride must be integers"),
    ("stride", np.array([0, 1]), "stride must be 2 integers"),
    ("padding", "circular", "padding must be"), ("groups", 3, "groups must divide"), ("bias", np.zeros((0,)), "bias"),
])  # fmt: skip
def test_wrong_parameters(file: Path, key: str, value: Any, text: str) -> None:
    replace(file, "conv0", key, data=value)
    refused(file, f"node 'conv0': {text}")


@pytest.mark.parametrize("edges", [np.zeros((3, 2)), ["conv0"], [["conv0", "sn0", "fc"]]])
def test_wrong_edges(file: Path, edges: Any) -> None:
    with h5py.File(file, "r+") as f:
        del f["node"]["edges"]
        f["node"].create_dataset("edges", data=edges)
    refused(file, "an edge must be two names")


def test_fixed_length_text_is_read(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        del f["node"]["nodes"]["conv0"]["type"]
        f["node"]["nodes"]["conv0"].create_dataset("type", data=np.bytes_(b"Conv2d"))
    import_nir(file)


def test_without_h5py(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(file, r"pip install 'skipspike\[nir\]'")
