"""Files of parameters: what is read, and what hostile or broken ones are answered with."""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refmodel.errors import ImportRefused
from refmodel.importers import state_dict_files
from refmodel.importers.state_dict_files import read_tensors
from refmodel.importers.state_dict_torch import check_archive


def write_safetensors(path: Path, header: dict[str, Any], data: bytes) -> Path:
    """A file laid out by hand: eight bytes of length, JSON, numbers."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(path: Path) -> str:
    with pytest.raises(ImportRefused) as error:
        read_tensors(path)
    text = str(error.value)
    assert text.startswith(str(path)) and "\n" not in text
    return text


class Payload:
    """Unpickled without care, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


# .safetensors


def test_a_safetensors_file_gives_its_arrays(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    values = np.arange(6, dtype=np.float32)
    header = {"a.w": entry("F32", [2, 3], 0, 24), "__metadata__": {"format": "pt"}}
    read = read_tensors(write_safetensors(tmp_path / "a.safetensors", header, values.tobytes()))
    np.testing.assert_array_equal(read.arrays["a.w"], values.reshape(2, 3))
    assert read.notes == ()


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": entry("F32", [2, 3], 0, 24)}, bytes(20)),  # cut short
        ({"a": entry("F32", [2, 3], 0, 24)}, bytes(30)),  # more than it says
        ({"a": entry("F32", [2, 4], 0, 24)}, bytes(24)),  # a shape of another size
        ({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)),  # overlapping
        ({"a": entry("F32", [2], 8, 16)}, bytes(16)),  # a hole
        ({"a": entry("F32", [1 << 40, 1 << 40], 0, 8)}, bytes(8)),
        ({"a": entry("F32", [-2], 0, 8)}, bytes(8)),
        ({"a": {"shape": [2]}}, bytes(8)),
    ],
)  # fmt: skip
def test_unsound_safetensors_are_refused(tmp_path: Path, header: dict[str, Any], data: bytes) -> None:
    pytest.importorskip("safetensors")
    assert "not a sound safetensors file" in refused(write_safetensors(tmp_path / "a.safetensors", header, data))


def test_headers_that_lie_about_their_length_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "a.safetensors"
    for data in (b"\x01", struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 9) + b"{ not json"):
        path.write_bytes(data)
        refused(path)


def test_types_that_numpy_lacks_are_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = write_safetensors(tmp_path / "a.safetensors", {"fc.weight": entry("BF16", [2], 0, 4)}, bytes(4))
    assert "'fc.weight'" in refused(path) and "BF16" in refused(path)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    assert "no tensors" in refused(write_safetensors(tmp_path / "a.safetensors", {}, b""))


# any file


def test_other_suffixes_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert ".safetensors" in refused(tmp_path / "a.pkl")
    assert "cannot be read" in refused(tmp_path / "a.pt")
    (tmp_path / "b.pt").mkdir()
    assert "folder" in refused(tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(b"")
    assert "empty" in refused(tmp_path / "c.pt")


def test_files_and_tensors_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    path = write_safetensors(tmp_path / "a.safetensors", {"a": entry("F32", [64], 0, 256)}, bytes(256))
    monkeypatch.setattr(state_dict_files, "MOST_TENSORS", 0)
    assert "1 tensors" in refused(path)
    monkeypatch.setattr(state_dict_files, "SIZE_LIMIT", 100)
    assert "limit of 100" in refused(path)


# .pt and .pth, before torch sees them


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", {"a/data.pkl": b"N.", "a/data/0": bytes(5 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    assert "unpacks to" in refused(path)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(500)
    path = archive(tmp_path / "a.pt", {"a/data.pkl": b"N.", "a/data/0": noise}, zipfile.ZIP_BZIP2)
    assert "compressed" in refused(path)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Overlapping members: the directory names one member a hundred times."""
    made = archive(tmp_path / "a.pt", {"a/data.pkl": b"N.", "a/data/0": bytes(5000)})
    data = made.read_bytes()
    with zipfile.ZipFile(made) as file:
        start = file.start_dir
    end = data.rindex(b"PK\x05\x06")
    directory = data[start:end]
    count = 2 * 100
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, 100 * len(directory), start, 0)
    made.write_bytes(data[:start] + directory * 100 + tail)
    with pytest.raises(ImportRefused, match="unpacks to"):
        check_archive(made)


@pytest.mark.parametrize("members", [{"a/data/0": b""}, {"a/data.pkl": b"N.", "b/data.pkl": b"N."}])
def test_other_zips_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    assert "no file of torch.save" in refused(archive(tmp_path / "a.pt", members))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for data in (b"\x80\x02}q\x00.", b"PK\x03\x04 cut", bytes(100)):
        path.write_bytes(data)
        assert "no whole zip" in refused(path)


# .pt and .pth, with torch


def saved(path: Path, value: Any) -> Path:
    torch = pytest.importorskip("torch")
    torch.save(value, path)
    return path


def test_a_state_dict_of_torch_gives_its_arrays(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    values = {"w": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16, requires_grad=True)}
    read = read_tensors(saved(tmp_path / "a.pt", values))
    np.testing.assert_array_equal(read.arrays["w"], np.arange(6.0).reshape(2, 3).T)
    assert read.arrays["b"].dtype == np.float32


def test_every_way_to_cut_a_file_short_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = saved(tmp_path / "a.pt", {"w": torch.ones(50)})
    data = path.read_bytes()
    for length in range(1, len(data), 97):
        path.write_bytes(data[:length])
        refused(path)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    proof = tmp_path / "proof"
    path = saved(tmp_path / "a.pt", {"w": torch.ones(2), "evil": Payload(proof)})
    assert "mkdir" in refused(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the payload works where code is run"


def test_a_damaged_pickle_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    saved(tmp_path / "a.pt", {"w": torch.ones(2)})
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        members = {one.filename: file.read(one) for one in file.infolist()}
    for data in (b"", b"\x80\x02", b"garbage", b"\x80\x02K\x01."):
        broken = {name: data if name.endswith("data.pkl") else value for name, value in members.items()}
        refused(archive(tmp_path / "b.pt", broken))


def test_changed_numbers_are_found(tmp_path: Path) -> None:
    """torch itself would load them."""
    torch = pytest.importorskip("torch")
    path = saved(tmp_path / "a.pt", {"w": torch.full((50,), 1.5)})
    data = path.read_bytes()
    place = data.index(torch.full((50,), 1.5).numpy().tobytes())
    path.write_bytes(data[: place + 10] + b"\x01" + data[place + 11 :])
    assert not (torch.load(path, weights_only=True)["w"] == 1.5).all()
    assert "checksum" in refused(path)


def test_checkpoints_are_unwrapped_and_that_is_said(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {"module.fc.weight": torch.ones(2, 2), "module.fc.bias": torch.ones(2)}
    arguments = argparse.Namespace(lr=0.1, resume="")
    optimiser = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint = {"model": state, "optimizer": optimiser, "epoch": 3, "args": arguments}
    read = read_tensors(saved(tmp_path / "a.pth", checkpoint))
    assert sorted(read.arrays) == ["fc.bias", "fc.weight"]
    assert "'model'" in read.notes[0] and "optimizer, epoch, args" in read.notes[0]
    assert "'module.'" in read.notes[1]


@pytest.mark.parametrize("key", [key for key in state_dict_files.WRAPPERS if key != "model"])
def test_other_names_of_the_parameters(tmp_path: Path, key: str) -> None:
    torch = pytest.importorskip("torch")
    assert "w" in read_tensors(saved(tmp_path / "a.pt", {key: {"w": torch.ones(2)}, "epoch": 1})).arrays


def test_what_holds_no_single_state_dict_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    state = {"w": torch.ones(2)}
    assert "found: 'model', 'net'" in refused(saved(path, {"model": state, "net": state}))
    assert "found: none" in refused(saved(path, {"weights": state}))
    assert "holds list" in refused(saved(path, [torch.ones(2)]))
    assert "'epoch' is no tensor" in refused(saved(path, {**state, "epoch": 3}))
    assert "holds Tensor" in refused(saved(path, torch.ones(2)))


def test_tensors_that_are_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    """A view of one number, a billion times."""
    torch = pytest.importorskip("torch")
    assert "limit" in refused(saved(tmp_path / "a.pt", {"w": torch.zeros(1).expand(1 << 29)}))


def test_sparse_and_complex_tensors_are_refused_by_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert "'w'" in refused(saved(tmp_path / "a.pt", {"w": torch.eye(3).to_sparse()}))
    assert "'w'" in refused(saved(tmp_path / "a.pt", {"w": torch.zeros(2, dtype=torch.complex64)}))


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    text = refused(saved(tmp_path / "a.pt", torch.nn.Linear(2, 2)))
    assert "state_dict" in text and "Linear" in text


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    """torch would hand it to its compiler."""
    members = {"a/data.pkl": b"N.", "a/constants.pkl": b"N."}
    assert "TorchScript" in refused(archive(tmp_path / "a.pt", members))


def test_an_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    path = saved(tmp_path / "a.pt", {"w": torch.ones(2)})
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    assert "2.6" in refused(path)


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.pt", {"a/data.pkl": b"N."})
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert "skipspike[pytorch]" in refused(path)


def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    data = np.ones(1, np.float32).tobytes()
    header = {"_orig_mod.module.a": entry("F32", [1], 0, 4)}
    read = read_tensors(write_safetensors(tmp_path / "a.safetensors", header, data))
    assert list(read.arrays) == ["a"] and len(read.notes) == 2
    header = {"module.a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 4, 8)}
    read = read_tensors(write_safetensors(tmp_path / "b.safetensors", header, data * 2))
    assert sorted(read.arrays) == ["b", "module.a"]


def test_bytes_in_between_do_not_help(tmp_path: Path) -> None:
    """A self-extracting beginning hides nothing: sizes are those of the directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(1 << 20))
    path = tmp_path / "a.pt"
    path.write_bytes(bytes(100) + buffer.getvalue())
    assert "unpacks to" in refused(path)
