"""State_dicts of small models as .safetensors, written by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference import state_dicts

Arrays = dict[str, NDArray[Any]]
_TYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64"}


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Arrays as a .safetensors file."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": _TYPES[str(array.dtype)], "shape": list(array.shape), "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def arrays_of(name: str) -> Arrays:
    """The parameters of a reference."""
    from safetensors.numpy import load_file

    return load_file(state_dicts.parameters(name))


def norm(path: str, channels: int, rng: np.random.Generator) -> Arrays:
    """A batch norm."""
    return {
        f"{path}.weight": rng.uniform(0.5, 1.5, channels),
        f"{path}.bias": rng.normal(0.2, 0.3, channels),
        f"{path}.running_mean": rng.normal(0.0, 0.3, channels),
        f"{path}.running_var": rng.uniform(0.5, 2.0, channels),
        f"{path}.num_batches_tracked": np.array(7),
    }


def sew(channels: int = 4, inputs: int = 1, kernel: int = 3, blocks: int = 1) -> Arrays:
    """SpikingJelly's SEW-ResNet of one stage of basic blocks with identity shortcuts, 3 classes."""
    rng = np.random.default_rng(3)
    made: Arrays = {"conv1.weight": rng.normal(0, 0.5, (channels, inputs, kernel, kernel))}
    made |= norm("bn1", channels, rng)
    for block in range(blocks):
        for number in (1, 2):
            path = f"layer1.{block}"
            made[f"{path}.conv{number}.weight"] = rng.normal(0, 0.3, (channels, channels, 3, 3))
            made |= norm(f"{path}.bn{number}", channels, rng)
    return made | {"fc.weight": rng.normal(0, 1, (3, channels)), "fc.bias": rng.normal(0, 1, 3)}
