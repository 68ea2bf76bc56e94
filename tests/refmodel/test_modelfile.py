"""Model files: round trip, determinism, and one named error for every damage."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refmodel import modelfile
from refmodel.builder import NetworkBuilder
from refmodel.errors import ModelFileError, NetworkError
from refmodel.network import ConvLayer, InputSpec, Network, ReadoutLayer
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork
from tests.attention_networks import syna_network
from tests.float_networks import random_float_network
from tests.float_twins import as_float
from tests.random_networks import EXTRAS, random_quantized_network, scaled, uniform

LEAKS = ((), (1,), (3,), (1, 2))
SEEDS = st.integers(0, 2**32 - 1)


def float_network(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    net = random_quantized_network(
        rng, steps=2, soft_reset=False, weight_bits=7, max_fan_in=60, sizes=(2, 4), leaks=LEAKS
    )
    return as_float(rng, scaled(uniform(net), 256))


def quantized_network(seed: int = 0) -> QuantizedNetwork:
    return quantize(float_network(seed), 16, scale="unit", max_threshold=1 << 40)


def systems_network(seed: int = 29) -> Network:
    """With streams, stream tensors, pools, MLF units, layers without neurons, signed inputs."""
    return random_float_network(np.random.default_rng(seed), exact=False, layers=10, steps=2)


FLOAT_BYTES = modelfile.dumps(float_network())
QUANTIZED_BYTES = modelfile.dumps(quantized_network())
SYSTEMS_BYTES = modelfile.dumps(systems_network())
QUANTIZED_SYSTEMS_BYTES = modelfile.dumps(quantize(systems_network(), leak="multiply", leak_bits=9))
SYNA_BYTES = modelfile.dumps(syna_network(3))
QUANTIZED_SYNA_BYTES = modelfile.dumps(quantize(syna_network(3)))
ALL_BYTES = [
    FLOAT_BYTES, QUANTIZED_BYTES, SYSTEMS_BYTES, QUANTIZED_SYSTEMS_BYTES, SYNA_BYTES, QUANTIZED_SYNA_BYTES
]  # fmt: skip


def same(left: object, right: object) -> bool:
    """Deep equality of networks, arrays and types included."""
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, tuple | list):
        return isinstance(right, type(left)) and len(left) == len(right) and all(map(same, left, right))
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, entry.name), getattr(right, entry.name)) for entry in dataclasses.fields(left)
        )
    return left == right


def test_floats_take_four_bytes_where_that_loses_nothing() -> None:
    """Weights of a framework's float32 take half the room, and come back as they were."""
    builder = NetworkBuilder("net", 2, InputSpec((1, 4, 4), 2))
    single = np.random.default_rng(0).normal(size=(3, 1, 3, 3)).astype(np.float32).astype(np.float64)
    x = builder.conv("input", single, np.array([1.0, -0.0, float(np.float32(3e38))]), name="a")
    readout = np.array([[1.0, 0.5, 1e300], [0.1, 1e-45, 2.0]])
    builder.readout(x, readout, name="out")
    data = modelfile.dumps(builder.build())
    with np.load(io.BytesIO(data)) as members:
        kinds = {name: members[name].dtype.str for name in members if name != "header"}
    assert sorted(kinds.values()) == ["<f4", "<f4", "<f8"]
    loaded = modelfile.loads(data)
    assert isinstance(loaded, Network)
    first, out = loaded.layers
    assert isinstance(first, ConvLayer) and isinstance(out, ReadoutLayer) and first.bias is not None
    assert first.weight.dtype == out.weight.dtype == np.float64
    assert first.weight.tobytes() == single.tobytes() and out.weight.tobytes() == readout.tobytes()
    assert first.bias.tobytes() == np.array([1.0, -0.0, float(np.float32(3e38))]).tobytes()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_round_trip(seed: int) -> None:
    for net in (
        float_network(seed),
        quantized_network(seed),
        random_quantized_network(np.random.default_rng(seed), steps=2, max_fan_in=60),
        random_quantized_network(np.random.default_rng(seed), steps=2, max_fan_in=60, extras=EXTRAS),
        systems_network(seed),
        quantize(systems_network(seed), leak="multiply", leak_bits=9),
    ):
        data = modelfile.dumps(net)
        loaded = modelfile.loads(data)
        assert same(loaded, net)
        assert modelfile.dumps(loaded) == data


@pytest.mark.parametrize("axis", ["time", "channel"])
def test_round_trip_of_attention(axis) -> None:
    net = syna_network(4, axis)
    for one in (net, quantize(net)):
        data = modelfile.dumps(one)
        loaded = modelfile.loads(data)
        assert same(loaded, one)
        assert modelfile.dumps(loaded) == data


def test_save_and_load(tmp_path: Path) -> None:
    net = quantized_network()
    net.meta["note"] = {"accuracy": 0.97, "tags": ["a", None, True]}
    path = tmp_path / "net.skn"
    modelfile.save(net, path)
    modelfile.save(net, str(path))
    assert same(modelfile.load(path), net)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.skn"]
    with np.load(path, allow_pickle=False) as arrays:
        assert json.loads(arrays["header"].tobytes())["version"] == 1


def test_bytes_are_deterministic() -> None:
    assert modelfile.dumps(float_network()) == FLOAT_BYTES
    assert modelfile.dumps(quantized_network()) == QUANTIZED_BYTES


def test_save_refuses(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="must end in .skn"):
        modelfile.save(float_network(), tmp_path / "net.npz")
    with pytest.raises(ModelFileError, match="cannot be written"):
        modelfile.save(float_network(), tmp_path / "missing" / "net.skn")
    net = float_network()
    net.meta["array"] = np.zeros(2)
    with pytest.raises(NetworkError, match="meta must be what JSON can carry"):
        modelfile.save(net, tmp_path / "net.skn")
    assert list(tmp_path.iterdir()) == []


def test_load_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="none.skn: cannot be read"):
        modelfile.load(tmp_path / "none.skn")
    with pytest.raises(ModelFileError, match="cannot be read"):
        modelfile.load(tmp_path)
    for content in (b"", b"hello", b"PK", b"PK\x05\x06" + bytes(18), bytes(200)):
        (tmp_path / "x.skn").write_bytes(content)
        with pytest.raises(ModelFileError, match="x.skn: "):
            modelfile.load(tmp_path / "x.skn")


def refused(data: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        modelfile.loads(data, "file.skn")
    text = str(caught.value)
    assert text.startswith("file.skn: ") and "\n" not in text
    return text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALL_BYTES), st.data())
def test_any_flipped_or_missing_byte_is_found(data: bytes, draw: st.DataObject) -> None:
    if draw.draw(st.booleans()):
        place = draw.draw(st.integers(0, len(data) - 1))
        mask = draw.draw(st.integers(1, 255))
        refused(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
    else:
        refused(data[: draw.draw(st.integers(0, len(data) - 1))])


def signed(body: bytes) -> bytes:
    """``body`` with a right checksum: damage that only the inner checks can find."""
    return body + hashlib.sha256(body).hexdigest().encode()


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([data[:-64] for data in ALL_BYTES]), st.data())
def test_damage_with_a_right_checksum_never_raises_anything_else(body: bytes, draw: st.DataObject) -> None:
    """A forged file either still describes a legal network or is a ModelFileError."""
    damaged = bytearray(body)
    for _ in range(draw.draw(st.integers(1, 3))):
        # header JSON, array headers and the zip directory are near both ends
        near_end = draw.draw(st.booleans())
        place = draw.draw(st.integers(0, min(len(body), 3000) - 1))
        damaged[-1 - place if near_end else place] = draw.draw(st.integers(0, 255))
    if draw.draw(st.booleans()):
        del damaged[draw.draw(st.integers(0, len(damaged) - 1)) :]
    try:
        net = modelfile.loads(signed(bytes(damaged)), "file.skn")
    except ModelFileError as error:
        assert str(error).startswith("file.skn: ") and "\n" not in str(error)
    else:
        assert isinstance(net, Network | QuantizedNetwork)


def rebuilt(change, data: bytes = QUANTIZED_BYTES, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The file with its members changed by ``change(members)``, a dict of name to bytes, and a right checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = bytes(64)
    return signed(buffer.getvalue()[:-64])


def with_header(edit) -> bytes:
    def change(members: dict[str, bytes]) -> None:
        header = json.loads(modelfile._from_npy("header", members["header.npy"]).tobytes())
        header = edit(header) or header
        text = json.dumps(header).encode() if not isinstance(header, bytes) else header
        members["header.npy"] = modelfile._npy(np.frombuffer(text, np.uint8))

    return rebuilt(change)


def array_member(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.endswith("weight.npy"))


def with_array(content: bytes) -> bytes:
    return rebuilt(lambda members: members.__setitem__(array_member(members), content))


def layer(header: dict) -> dict:
    return header["network"]["layers"][0]


def in_systems(edit, data: bytes = SYSTEMS_BYTES) -> bytes:
    """The network of other systems with ``edit(layers by type)``, the first of each type."""

    def change(members: dict[str, bytes]) -> None:
        header = json.loads(modelfile._from_npy("header", members["header.npy"]).tobytes())
        found: dict[str, dict] = {"network": header["network"]}
        for entry in header["network"]["layers"]:
            found.setdefault(entry["type"] if entry["type"] != "layer" else entry["kind"], entry)
            if entry.get("keeps_stream"):
                found.setdefault("kept", entry)
            if (entry.get("neuron") or {}).get("levels"):
                found.setdefault("mlf", entry)
            if entry.get("leak_factor"):
                found.setdefault("leak", entry)
        edit(found)
        members["header.npy"] = modelfile._npy(np.frombuffer(json.dumps(header).encode(), np.uint8))

    return rebuilt(change, data)


def in_syna(kind: str, edit) -> bytes:
    """The network with attention, with ``edit`` of the first layer of that type."""
    return in_systems(lambda found: edit(found[kind]["attention"], found[kind]), SYNA_BYTES)


def with_attention_array(values: np.ndarray) -> bytes:
    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith("attention.first.npy"))
        members[name] = modelfile._npy(values)

    return rebuilt(change, SYNA_BYTES)


FORGERIES = {
    "attention axis": (lambda: in_syna("conv", lambda a, _: a.update(axis="space")), "axis must be 'time' or"),
    "attention axis list": (lambda: in_syna("conv", lambda a, _: a.update(axis=[1])), "axis must be a string"),
    "attention type": (lambda: in_syna("conv", lambda a, _: a.update(type="conv")), "must be a attention with fields"),
    "attention field": (lambda: in_syna("gate", lambda a, _: a.update(ratio=4)), "must be a attention with fields"),
    "attention kept": (lambda: in_syna("conv", lambda _, c: c.update(keeps_stream=True)), "either attention or a memb"),
    "attention swapped": (
        lambda: in_syna("conv", lambda a, _: a.update(first=a["second"], second=a["first"])), "there are 5"
    ),
    "attention missing": (lambda: in_syna("gate", lambda _, g: g.update(attention=None)), "must be a attention with"),
    "gate neuron": (lambda: in_syna("gate", lambda a, _: a.pop("neuron")), "give the attention a neuron"),
    "gate reset": (lambda: in_syna("gate", lambda a, _: a["neuron"].update(reset="soft")), "hard reset"),
    "gate levels": (lambda: in_syna("gate", lambda a, _: a["neuron"].update(levels=[2.0])), "one threshold"),
    "gate source": (lambda: in_syna("gate", lambda _, g: g.update(source="input")), "gates are for binary"),
    "gate weight": (lambda: in_syna("gate", lambda _, g: g.update(weight=1)), "must be a gate with fields"),
    "attention nan": (lambda: with_attention_array(np.full((3, 5), np.nan)), "NaN"),
    "attention integers": (lambda: with_attention_array(np.ones((3, 5), "<i2")), "has dtype int16"),
    "attention shape": (lambda: with_attention_array(np.ones((3, 5, 1))), "weights must be first [R, A]"),
    "no attention weights": (lambda: with_attention_array(np.ones((0, 5))), "weights must be first [R, A]"),
    "levels": (lambda: in_systems(lambda f: f["mlf"]["neuron"].update(levels=[0.0])), "levels must ascend"),
    "levels text": (lambda: in_systems(lambda f: f["mlf"]["neuron"].update(levels="3")), "levels must be a list"),
    "levels infinite": (lambda: in_systems(lambda f: f["mlf"]["neuron"].update(levels=[1e308])), "finite number"),
    "many levels": (lambda: in_systems(lambda f: f["mlf"]["neuron"].update(levels=[1e6 + i for i in range(99)])), "at"),
    "reset": (lambda: in_systems(lambda f: f["conv"]["neuron"].update(reset="maybe")), "reset must be one of"),
    "kept text": (lambda: in_systems(lambda f: f["kept"].update(keeps_stream="yes")), "keeps_stream must be true or"),
    "unkept": (lambda: in_systems(lambda f: f["stream"].update(source="conv99")), "no earlier layer 'conv99' keeps"),
    "stream bits": (lambda: in_systems(lambda f: f["stream"].update(max_bits=1)), "max_bits must be 2 to 32"),
    "stream flag": (lambda: in_systems(lambda f: f["stream"].update(max_bits=True)), "max_bits must be an integer"),
    "signed number": (lambda: in_systems(lambda f: f["network"]["input"].update(signed=1)), "signed must be true or"),
    "pool type": (lambda: in_systems(lambda f: f["avgpool"].update(type="minpool")), "must be one of conv, maxpool"),
    "pool kind": (lambda: in_systems(lambda f: f["avgpool"].update(kind="sum")), "must be a avgpool with fields"),
    "quantized bits": (lambda: in_systems(lambda f: f["stream"].update(bits=40), QUANTIZED_SYSTEMS_BYTES), "2 to 32"),
    "quantized shift": (lambda: in_systems(lambda f: f["stream"].update(shift=-1), QUANTIZED_SYSTEMS_BYTES), "shift"),
    "leak factor": (
        lambda: in_systems(lambda f: f["leak"].update(leak_factor=[9, 3]), QUANTIZED_SYSTEMS_BYTES), "leak_factor must"
    ),
    "leak factor list": (
        lambda: in_systems(lambda f: f["leak"].update(leak_factor=[9]), QUANTIZED_SYSTEMS_BYTES), "list of 2"
    ),
    "version": (lambda: with_header(lambda h: h.update(version=2)), "version 2"),
    "format": (lambda: with_header(lambda h: h.update(format="x")), "format"),
    "extra": (lambda: with_header(lambda h: h.update(extra=1)), "describes no"),
    "kind": (lambda: with_header(lambda h: h["network"].update(type="spiking")), "describes no"),
    "list": (lambda: with_header(lambda h: [1]), "not a model file"),
    "no json": (lambda: with_header(lambda h: b"{"), "file.skn"),
    "no text": (lambda: with_header(lambda h: b"\xff\xfe"), "file.skn"),
    "nan": (lambda: with_header(lambda h: h["network"]["input"].update(scale=float("nan"))), "NaN"),
    "deep": (lambda: with_header(lambda h: b"[" * 100000 + b"]" * 100000), "nested too deeply"),
    "steps": (lambda: with_header(lambda h: h["network"].update(steps="2")), "network.steps must be an integer"),
    "true": (lambda: with_header(lambda h: h["network"].update(steps=True)), "network.steps must be an integer"),
    "zero steps": (lambda: with_header(lambda h: h["network"].update(steps=0)), "steps must be at least 1"),
    "missing field": (lambda: with_header(lambda h: h["network"].pop("meta") and None), "with fields"),
    "unknown field": (lambda: with_header(lambda h: layer(h).update(groups=2)), "layers.0 must be a layer with fields"),
    "source": (lambda: with_header(lambda h: layer(h).update(source="x")), "unknown source"),
    "stride": (lambda: with_header(lambda h: layer(h).update(stride=[1])), "stride must be a list of 2"),
    "huge stride": (lambda: with_header(lambda h: layer(h).update(stride=[0, 1])), "stride"),
    "array name": (lambda: with_header(lambda h: layer(h).update(weight={"array": "x"})), "missing from the file"),
    "no array": (lambda: with_header(lambda h: layer(h).update(weight=3)), "missing from the file"),
    "unused": (lambda: rebuilt(lambda m: m.update({"x.npy": m[array_member(m)]})), "does not use: x"),
    "missing member": (lambda: rebuilt(lambda m: m.pop(array_member(m))), "missing from the file"),
    "no header": (lambda: rebuilt(lambda m: m.pop("header.npy")), "no header"),
    "text member": (lambda: rebuilt(lambda m: m.update({"x.txt": b""})), "no arrays"),
    "compressed": (lambda: rebuilt(lambda m: None, compression=zipfile.ZIP_DEFLATED), "compressed"),
    "pickle": (lambda: with_array(_object_array()), "no .npy array"),
    "float weights": (lambda: with_array(modelfile._npy(np.ones((1, 1, 1, 1)))), "has dtype float64"),
    "short": (lambda: with_array(modelfile._npy(np.ones((9, 9), "<i2"))[:-1]), "its shape needs"),
    "huge": (
        lambda: with_array(modelfile._npy(np.ones(1, "<i2")).replace(b"(1,), }" + b" " * 13, b"(99999999999999,), }")),
        "needs",
    ),
    "shape": (lambda: with_array(modelfile._npy(np.ones((1, 1), "<i2"))), "weight must be"),
    "unsigned": (lambda: with_array(modelfile._npy(np.ones((1, 1, 1, 1), "|u1"))), "has dtype uint8"),
}


def _object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("case", FORGERIES, ids=str)
def test_forged_files_are_refused_by_cause(case: str) -> None:
    make, message = FORGERIES[case]
    assert message in refused(make())


def test_size_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The directory's sizes are checked before a member is read, the file's before it is."""
    monkeypatch.setattr(modelfile, "SIZE_LIMIT", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("read a member"))
    assert "more than the limit of 1000" in refused(QUANTIZED_BYTES)
    (tmp_path / "big.skn").write_bytes(QUANTIZED_BYTES)
    with pytest.raises(ModelFileError, match="big.skn: .* more than the limit"):
        modelfile.load(tmp_path / "big.skn")


def test_a_bomb_is_refused_from_its_directory() -> None:
    body = bytearray(QUANTIZED_BYTES[:-64])
    entry = body.rindex(b"PK\x01\x02")
    body[entry + 24 : entry + 28] = (1 << 31).to_bytes(4, "little")
    assert "more than the limit" in refused(signed(bytes(body)))


def test_files_hold_no_field_that_is_as_it_always_was() -> None:
    """Files of networks without the later features are as they were, and their fields may be missing."""
    for data in (FLOAT_BYTES, QUANTIZED_BYTES):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text = modelfile._from_npy("header", archive.read("header.npy")).tobytes().decode()
        for name in ("levels", "rectify", "stateless", "leak_factor", "keeps_stream", "signed", "shift", "attention"):
            assert f'"{name}"' not in text
    # a default that is written all the same is no damage
    explicit = modelfile.loads(in_systems(lambda f: f["network"]["input"].update(signed=False), FLOAT_BYTES))
    assert same(explicit, float_network())


def test_illegal_quantized_networks_are_not_written() -> None:
    net = quantized_network()
    broken = QuantizedNetwork("net", 0, net.input, net.layers)
    with pytest.raises(NetworkError, match="steps"):
        modelfile.dumps(broken)
