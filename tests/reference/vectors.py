"""Reference vectors: what is in a file, how one is drawn, written and read.

A file is an .npz without pickle, whose arrays are integers:

- ``network``: the description as JSON text (tests/reference/cases.py);
- ``x``: the inputs, [N, C, H, W] when static, else [N, T, C, H, W];
- ``weight/<layer>``, ``bias/<layer>``: with batch norms folded in;
- ``spikes/<layer>``: spikes or counts, [N, T, C, H, W]; of a block's last layer the block's output, of an average pool
  the sums of its windows;
- ``branch/<layer>``: of SEW blocks' last layers the own spikes A, before the merge;
- ``stream/<layer>``: membrane streams;
- ``sums``: [N, classes], the logits times T, and times the pixels if the readout averages them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.equations import Array, Description, Evaluator

FOLDER = Path(__file__).parent

#: Share of the possible spikes that every tensor must have, so that no layer is silent or saturated.
LIVELY = (0.06, 0.75)


@dataclass(frozen=True, eq=False)
class Vectors:
    """One network: its description, input and parameters (``arrays``), and its tensors (``made``)."""

    network: Description
    arrays: dict[str, NDArray[Any]]
    made: dict[str, NDArray[np.int64]]


def files() -> list[Path]:
    """Every vector file, those made with SpikingJelly first."""
    return sorted(FOLDER.glob("spikingjelly/*.npz")) + sorted(FOLDER.glob("equations/*.npz"))


def read(path: Path) -> Vectors:
    """A vector file."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].astype(np.int64) for name in file.files if name != "network"}
        network = json.loads(str(file["network"]))
    made = {name: arrays.pop(name) for name in list(arrays) if name.startswith(("spikes", "branch", "stream", "sums"))}
    return Vectors(network, arrays, made)


def write(folder: str, network: Description, arrays: dict[str, NDArray[Any]], tensors: dict[str, Array]) -> None:
    """Write ``<folder>/<name>.npz``; refuses tensors that are not integers."""
    made = integers(network, tensors)
    everything = {name: _small(array) for name, array in {**arrays, **made}.items()}
    path = FOLDER / folder / f"{network['name']}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, network=np.array(json.dumps(network)), **everything)  # pyright: ignore[reportArgumentType]


def integers(network: Description, tensors: dict[str, Array]) -> dict[str, NDArray[np.int64]]:
    """Evaluated tensors as a file holds them."""
    windows = average_windows(network)
    made = {
        name: whole(name, tensor * windows.get(name.removeprefix("spikes/"), 1))
        for name, tensor in tensors.items()
        if name != "logits"
    }
    return {**made, "sums": whole("sums", tensors["logits"] * readout_terms(network, made))}


def average_windows(network: Description) -> dict[str, int]:
    """Values in a window of each average pool."""
    return {layer["name"]: layer["kernel"] ** 2 for layer in network["layers"] if layer["op"] == "avgpool"}


def whole(name: str, tensor: Array) -> NDArray[np.int64]:
    """A tensor of integers as such."""
    rounded = np.rint(tensor)
    if not np.allclose(tensor, rounded, rtol=0, atol=1e-9):
        raise ValueError(f"{name}: not integers")
    return rounded.astype(np.int64)


def readout_terms(network: Description, made: dict[str, NDArray[np.int64]]) -> int:
    """How many terms the readout's mean has: steps, times pixels where it averages them."""
    readout = network["layers"][-1]
    last = [name for name in made if name.startswith("spikes/")][-1]
    return network["steps"] * (1 if readout.get("flatten") else math.prod(made[last].shape[3:]))


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """In the smallest integer type that holds it."""
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        if array.min() >= np.iinfo(kind).min and array.max() <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def lively(network: Description, inputs: int = 2) -> dict[str, NDArray[Any]]:
    """Random integer parameters and inputs with which every layer spikes, but not always, and ties happen."""
    low, high = LIVELY
    for seed in range(3000):
        arrays = _draw(np.random.default_rng(seed), network, inputs)
        evaluator = Evaluator(network, arrays)
        tensors = evaluator.run()
        rates = {n: t.mean() / max(1.0, t.max()) for n, t in tensors.items() if n.startswith(("spikes", "branch"))}
        counts = [t.max() for n, t in tensors.items() if n.startswith("spikes")]
        ties = sum(evaluator.ties.values()) > 0 or not network.get("ties", True)
        fine = all(low < rate < high for rate in rates.values()) and ties
        if fine and max(counts) >= network.get("most", 1) and len(np.unique(tensors["logits"])) > 1:
            return arrays
    raise ValueError(f"{network['name']}: no lively parameters found")


class _Drawer:
    def __init__(self, rng: np.random.Generator, network: Description) -> None:
        self.rng, self.network = rng, network
        self.arrays: dict[str, NDArray[np.int64]] = {}
        self.unit = network.get("unit", 1)
        self.most = min(3, 127 // self.unit)
        self.least = min(network.get("least", 2), self.most)

    def layer(self, name: str, shape: tuple[int, ...], unit: int | None = None) -> None:
        unit = self.unit if unit is None else unit
        self.arrays[f"weight/{name}"] = self.rng.integers(-self.least, self.most + 1, shape) * unit
        self.arrays[f"bias/{name}"] = self.rng.integers(-2, 3, shape[0]) * self.unit


def _draw(rng: np.random.Generator, network: Description, inputs: int) -> dict[str, NDArray[Any]]:
    spec, steps = network["input"], network["steps"]
    shape = tuple(spec["shape"]) if spec["static"] else (steps, *spec["shape"])
    half = 1 << (spec["bits"] - 1)
    low, high = (-half, half) if spec["signed"] else (0, 2 * half)
    drawer = _Drawer(rng, network)
    x = rng.integers(low, high, (inputs, *shape))
    channels, height, width = spec["shape"]
    for layer in network["layers"]:
        op, name = layer["op"], layer.get("name", layer["op"])
        stride = layer.get("stride", 1)
        if op == "conv":
            kernel, out = layer.get("kernel", 3), layer["channels"]
            padding = layer.get("padding", kernel // 2)
            drawer.layer(name, (out, channels, kernel, kernel), layer.get("unit"))
            channels = out
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        elif op == "dense":
            drawer.layer(name, (layer["channels"], channels * height * width))
            channels, height, width = layer["channels"], 1, 1
        elif op == "membrane":
            for number in (1, 2):
                drawer.layer(f"{name}.dense{number}", (channels, channels))
        elif op.endswith("pool"):
            kernel, padding = layer["kernel"], layer.get("padding", 0)
            stride = layer.get("stride", kernel)
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        elif op == "readout":
            features = channels * (height * width if layer.get("flatten") else 1)
            drawer.arrays["weight/readout"] = rng.integers(-7, 8, (3, features))
            drawer.arrays["bias/readout"] = rng.integers(-7, 8, 3)
        else:
            out = layer.get("channels", channels)
            if layer.get("convs", 2) == 2:
                shapes = [(out, channels, 3, 3), (out, out, 3, 3)]
            else:
                inner = layer["width"]
                shapes = [(inner, channels, 1, 1), (inner, inner, 3, 3), (out, inner, 1, 1)]
            for number, one in enumerate(shapes, 1):
                drawer.layer(f"{name}.conv{number}", one)
            if layer.get("projection"):
                drawer.layer(f"{name}.projection", (out, channels, 1, 1), layer.get("projection_unit"))
            channels, height, width = out, -(-height // stride), -(-width // stride)
    return {"x": x, **drawer.arrays}
