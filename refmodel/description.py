"""Networks as plain data: how a model file's header describes them.

Every dataclass is ``{"type": ..., its fields}``, every array ``{"array": member name}`` with the array
itself beside the description.  Decoding trusts nothing: each field has one type, and what the
network's own checks do not see is checked here.  Errors are ModelFileError and name the place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import SHIFTS, Attention, IntegerAttention
from .errors import ModelFileError
from .network import ConvLayer, GateLayer, InputSpec, Network, Neuron, PoolKind, PoolLayer, ReadoutLayer, StreamLayer
from .quantized import QuantizedInput, QuantizedLayer, QuantizedNetwork

#: Arrays by the name that the description gives them.
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Codec:
    """encode(value, arrays, path) and decode(json, arrays, path); ``path`` names the place in errors and members."""

    encode: Callable[[Any, Arrays, str], Any]
    decode: Callable[[Any, Arrays, str], Any]


def _plain(convert: Callable[[Any], Any], what: str, fine: Callable[[Any], bool]) -> Codec:
    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        if not fine(value):
            raise ModelFileError(f"{path} must be {what}, not {str(value)[:40]!r}")
        return convert(value)

    return Codec(lambda value, arrays, path: convert(value), decode)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


_INTEGER = _plain(int, "an integer", lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) < 1 << 31)
_NUMBER = _plain(float, "a finite number", _is_number)
_FLAG = _plain(bool, "true or false", lambda v: isinstance(v, bool))
_TEXT = _plain(str, "a string", lambda v: isinstance(v, str))
_META = _plain(dict, "an object", lambda v: isinstance(v, dict))


def _tuple(item: Codec, length: int | None = None) -> Codec:
    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise ModelFileError(f"{path} must be a list{'' if length is None else f' of {length}'}")
        return tuple(item.decode(entry, arrays, f"{path}.{index}") for index, entry in enumerate(value))

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        return [item.encode(entry, arrays, f"{path}.{index}") for index, entry in enumerate(value)]

    return Codec(encode, decode)


def _optional(item: Codec) -> Codec:
    return Codec(
        lambda value, arrays, path: None if value is None else item.encode(value, arrays, path),
        lambda value, arrays, path: None if value is None else item.decode(value, arrays, path),
    )


def _array(kind: type) -> Codec:
    """Both in the smallest type that holds them exactly; float64 and int64 again when loaded."""

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        stored = "<f4" if kind is np.float64 and _is_single(value) else "<f8"
        if kind is np.int64:
            low, high = int(value.min()), int(value.max())
            stored = next(t for t in ("|i1", "<i2", "<i4", "<i8") if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
        member = path.lstrip(".")
        arrays[member] = np.asarray(value, dtype=stored)
        return {"array": member}

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        member = value.get("array") if isinstance(value, dict) and len(value) == 1 else None
        if not isinstance(member, str) or member not in arrays:
            raise ModelFileError(f"{path} names array {str(member)[:40]!r}, which is missing from the file")
        array = arrays.pop(member)
        if array.dtype.kind != ("i" if kind is np.int64 else "f"):
            raise ModelFileError(f"array {member!r} has dtype {array.dtype}, but {path} needs {np.dtype(kind).name}")
        return array.astype(kind)

    return Codec(encode, decode)


def _is_single(value: NDArray[Any]) -> bool:
    """Whether float32 holds every number as it is."""
    with np.errstate(over="ignore", under="ignore"):
        return bool((value.astype(np.float32) == value).all())


def _record(kind: Callable[..., Any], name: str, later: dict[str, Codec] | None = None, /, **fields: Codec) -> Codec:
    """A dataclass; ``later``: fields that came after the first files, written unless they hold their default."""
    added = later or {}
    defaults = {entry.name: entry.default for entry in (dataclass_fields(kind) if isinstance(kind, type) else ())}
    assert all(defaults[key] is not MISSING for key in added)

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        used = {key: codec for key, codec in added.items() if not _is_default(getattr(value, key), defaults[key])}
        written = {**fields, **used}
        out = {key: codec.encode(getattr(value, key), arrays, f"{path}.{key}") for key, codec in written.items()}
        return {"type": name, **out}

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        known = {**fields, **added}
        fine = isinstance(value, dict) and {"type", *fields} <= set(value) <= {"type", *known}
        if not fine or value["type"] != name:
            optional = f" and perhaps {', '.join(added)}" if added else ""
            raise ModelFileError(f"{path} must be a {name} with fields {', '.join(fields)}{optional}")
        present = {key: codec for key, codec in known.items() if key in value}
        return kind(**{key: codec.decode(value[key], arrays, f"{path}.{key}") for key, codec in present.items()})

    return Codec(encode, decode)


def _is_default(value: Any, default: Any) -> bool:
    return not isinstance(value, np.ndarray) and value == default


def _layer_type(layer: Any) -> str:
    if isinstance(layer, PoolLayer):
        return _POOLS[layer.kind]
    return {ConvLayer: "conv", GateLayer: "gate", StreamLayer: "stream", ReadoutLayer: "readout"}[type(layer)]


def _union(**kinds: Codec) -> Codec:
    """A layer of a float network: records told apart by "type"."""

    def encode(value: Any, arrays: Arrays, path: str) -> Any:
        return kinds[_layer_type(value)].encode(value, arrays, path)

    def decode(value: Any, arrays: Arrays, path: str) -> Any:
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in kinds:
            raise ModelFileError(f"{path} must be one of {', '.join(kinds)}, not {str(name)[:40]!r}")
        return kinds[name].decode(value, arrays, path)

    return Codec(encode, decode)


_PAIR = _tuple(_INTEGER, 2)
_FLOATS, _INTEGERS = _array(np.float64), _array(np.int64)
_INPUT = {"shape": _tuple(_INTEGER, 3), "bits": _INTEGER, "static": _FLAG, "scale": _NUMBER}
_LATER_INPUT = {"signed": _FLAG, "fold": _INTEGER, "drop_bits": _INTEGER}
_NETWORK = {"name": _TEXT, "steps": _INTEGER, "family": _TEXT, "meta": _META}
_NEURON = _record(
    Neuron, "neuron", {"levels": _tuple(_NUMBER)},
    kind=_TEXT, threshold=_NUMBER, tau=_NUMBER, decay_input=_FLAG, reset=_TEXT, v_reset=_NUMBER, fire=_TEXT,
)  # fmt: skip
_ATTENTION = _record(
    Attention, "attention", {"neuron": _optional(_NEURON)}, axis=_TEXT, first=_FLOATS, second=_FLOATS
)
_CONV = _record(
    ConvLayer, "conv",
    {"stream": _optional(_TEXT), "keeps_stream": _FLAG, "rectify": _FLAG, "attention": _optional(_ATTENTION)},
    name=_TEXT, source=_TEXT, weight=_FLOATS, bias=_optional(_FLOATS), stride=_PAIR, padding=_PAIR,
    neuron=_optional(_NEURON), shortcut=_optional(_TEXT), combine=_TEXT, current=_optional(_NUMBER),
)  # fmt: skip
_GATE = _record(GateLayer, "gate", name=_TEXT, source=_TEXT, attention=_ATTENTION)
_POOLS: dict[PoolKind, str] = {"max": "maxpool", "sum": "sumpool", "average": "avgpool"}
_POOL_RECORDS = {
    name: _record(
        partial(PoolLayer, kind=kind), name, name=_TEXT, source=_TEXT, kernel=_PAIR, stride=_PAIR, padding=_PAIR
    )
    for kind, name in _POOLS.items()
}
_STREAM = _record(StreamLayer, "stream", name=_TEXT, source=_TEXT, max_bits=_optional(_INTEGER))
_READOUT = _record(
    ReadoutLayer, "readout", name=_TEXT, source=_TEXT, weight=_FLOATS, bias=_optional(_FLOATS), pool=_TEXT
)
_INTEGER_ATTENTION = _record(
    IntegerAttention, "attention", axis=_TEXT, kind=_TEXT, first_average=_INTEGERS, first_max=_INTEGERS,
    second=_INTEGERS, **{name: _INTEGER for name in SHIFTS}, leak=_INTEGER, threshold=_INTEGER, unit=_NUMBER,
    score_error=_NUMBER,
)  # fmt: skip
_QUANTIZED_LAYER = _record(
    QuantizedLayer, "layer",
    {
        "levels": _optional(_INTEGERS), "leak_factor": _optional(_PAIR), "stateless": _FLAG, "rectify": _FLAG,
        "stream": _optional(_TEXT), "keeps_stream": _FLAG, "bits": _INTEGER, "shift": _INTEGER,
        "attention": _optional(_INTEGER_ATTENTION),
    },
    name=_TEXT, kind=_TEXT, source=_TEXT, weight=_optional(_INTEGERS), kernel=_PAIR,
    stride=_PAIR, padding=_PAIR, bias=_optional(_INTEGERS), threshold=_optional(_INTEGERS),
    leak_shifts=_tuple(_INTEGER), reset=_TEXT, shortcut=_optional(_TEXT), combine=_TEXT,
    current=_optional(_INTEGERS), scale=_optional(_FLOATS),
)  # fmt: skip
#: The two kinds of network by the description's type.
RECORDS: dict[str, Codec] = {
    "float": _record(
        Network, "float", **_NETWORK, input=_record(InputSpec, "input", _LATER_INPUT, **_INPUT),
        layers=_tuple(_union(conv=_CONV, **_POOL_RECORDS, gate=_GATE, stream=_STREAM, readout=_READOUT)),
    ),
    "quantized": _record(
        QuantizedNetwork, "quantized", **_NETWORK, weight_bits=_INTEGER,
        input=_record(QuantizedInput, "input", _LATER_INPUT, **_INPUT), layers=_tuple(_QUANTIZED_LAYER),
    ),
}  # fmt: skip
