"""Exporting float networks to NIR: what NIR can say as a graph that any NIR reader takes, and the rest as metadata.

Spikes and currents add where edges meet.  NIR fires strictly above the threshold and resets to v_reset; it has no
AND, IAND or OR, no max pooling, soft reset, MLF units, attention or rectified currents: those are refused.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..description import RECORDS, Arrays
from ..errors import ImportRefused, NetworkError
from ..layers import ConvLayer, FloatArray, GateLayer, Layer, Neuron, PoolLayer, ReadoutLayer, StreamLayer
from ..network import Network
from ..quantized import INPUT
from .nir_metadata import KEY, Kept, dumped

SUFFIX = ".nir"


@dataclass(frozen=True, eq=False)
class NirTree:
    """``tree``: the graph as the dictionaries that NIR files hold; ``notes``: what other programs will not see."""

    tree: dict[str, Any]
    notes: tuple[str, ...]


def export_nir(network: Network, path: str | os.PathLike[str], *, dt: float = 1e-4) -> tuple[str, ...]:
    """Write ``network`` to ``path`` (.nir) and return notes for the user, one sentence each.

    ``dt``: seconds a step; IF gets r = 1/dt, LIF tau = dt * the network's.  The file is written under a temporary
    name, which is then renamed.  Raises NetworkError, which names the layer that NIR cannot express, or
    ImportRefused when the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ImportRefused(f"{path}: a NIR file must end in {SUFFIX}; use {path.with_suffix(SUFFIX).name}")
    if not (math.isfinite(dt) and dt > 0):
        raise NetworkError(f"dt must be a positive number of seconds, not {dt!r}")
    made = nir_tree(network, dt)
    try:
        import nir
    except ImportError:
        raise ImportRefused(
            f"{path}: reading and writing NIR files needs h5py and nir; install them with: pip install 'skipspike[nir]'"
        ) from None
    nodes = {name: _node(nir, fields) for name, fields in made.tree["nodes"].items()}
    # nir 1.0.8 works out wrong shapes for kernels that are not square, and would refuse them
    square = all(len(set(fields["weight"].shape[2:])) == 1 for fields in _convolutions(made.tree))
    edges = [tuple(edge) for edge in made.tree["edges"]]
    graph = nir.NIRGraph(nodes, edges, metadata=dict(made.tree["metadata"]), type_check=square)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            nir.write(temporary, graph)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be written: {error.strerror or error}") from error
    if square:
        return made.notes
    return (*made.notes, "Its kernels are not all square: nir.read needs type_check=False (nir 1.0.8).")


def _convolutions(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [fields for fields in tree["nodes"].values() if fields["type"] == "Conv2d"]


def _node(nir: Any, fields: dict[str, Any]) -> Any:
    values = {key: value for key, value in fields.items() if key != "type"}
    if fields["type"] == "Input":
        return nir.Input(input_type=values["shape"])
    if fields["type"] == "Output":
        return nir.Output(output_type=values["shape"])
    return getattr(nir, fields["type"])(**values)


def nir_tree(network: Network, dt: float) -> NirTree:
    """The graph of ``network``, metadata included; raises NetworkError, which names the layer."""
    return _Exporter(network, dt).make()


@dataclass(eq=False)
class _Exporter:
    network: Network
    dt: float
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    #: nodes whose sum each tensor is, and each stream
    tensors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    streams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: the node with each layer's weight and bias
    weights: dict[str, str] = field(default_factory=dict)

    def make(self) -> NirTree:
        self.shapes = {name: info.shape for name, info in self.network.tensors().items()}
        self.flat, self.spiking = self._all_dense(), self._read()
        self._add(INPUT, "Input", shape=np.array(self._nir_shape(INPUT)))
        self.tensors[INPUT] = (INPUT,)
        for layer in self.network.layers:
            self._layer(layer)
        tree = {"type": "NIRGraph", "nodes": self.nodes, "edges": [list(edge) for edge in self.edges]}
        return NirTree({**tree, "metadata": {KEY: dumped(self._kept())}}, self._notes())

    def _read(self) -> set[str]:
        """The layers whose spikes are read; raises NetworkError for one of which nothing is."""
        tensors, streams, spiking = set[str](), set[str](), set[str]()
        for layer in reversed(self.network.layers):
            if layer.name not in tensors and layer.name not in streams and not isinstance(layer, ReadoutLayer):
                raise NetworkError(f"layer {layer.name!r}: nothing reads it, so NIR has no place for it; remove it")
            if isinstance(layer, ConvLayer):
                if layer.name in tensors:
                    spiking.add(layer.name)
                if layer.shortcut is not None and (layer.current is not None or layer.name in tensors):
                    tensors.add(layer.shortcut)
                if layer.stream is not None:
                    streams.add(layer.stream)
            (streams if isinstance(layer, StreamLayer) else tensors).add(layer.source)
        return spiking

    def _all_dense(self) -> bool:
        """Whether all layers that make or read a single pixel cover their source, so that it can be a vector."""
        return all(
            isinstance(layer, ReadoutLayer | StreamLayer) or self._covers(layer)
            for layer in self.network.layers
            if (1, 1) in (self.shapes[layer.source][1:], self.shapes[layer.name][1:])
        )

    def _covers(self, layer: Layer) -> bool:
        return (
            isinstance(layer, ConvLayer)
            and layer.weight.shape[2:] == self.shapes[layer.source][1:]
            and (layer.padding, self.shapes[layer.name][1:]) == ((0, 0), (1, 1))
        )

    def _nir_shape(self, tensor: str) -> tuple[int, ...]:
        shape = self.shapes[tensor]
        return shape[:1] if self.flat and shape[1:] == (1, 1) else shape

    def _add(self, name: str, kind: str, sources: tuple[str, ...] = (), **fields: Any) -> str:
        name = name.replace("/", "_")
        while name in self.nodes:
            name += "_"
        self.nodes[name] = {"type": kind, **fields}
        self.edges += [(source, name) for source in sources]
        return name

    def _layer(self, layer: Layer) -> None:
        if isinstance(layer, ConvLayer):
            self._conv(layer)
        elif isinstance(layer, StreamLayer):
            self.tensors[layer.name] = self.streams[layer.source]
        elif isinstance(layer, PoolLayer):
            if layer.kind == "max":
                raise _cannot(layer, "max pooling", "use average pooling, or convolutions with a stride")
            kind = "SumPool2d" if layer.kind == "sum" else "AvgPool2d"
            sizes = {"kernel_size": layer.kernel, "stride": layer.stride, "padding": layer.padding}
            arrays = {key: np.array(value) for key, value in sizes.items()}
            self.tensors[layer.name] = (self._add(layer.name, kind, self.tensors[layer.source], **arrays),)
        elif isinstance(layer, ReadoutLayer):
            self._readout(layer)
        else:
            assert isinstance(layer, GateLayer)
            raise _cannot(layer, "gates (attention)", "keep the network as a model file")

    def _conv(self, layer: ConvLayer) -> None:
        if layer.attention is not None:
            raise _cannot(layer, "attention", "keep the network as a model file")
        if layer.rectify:
            raise _cannot(layer, "a rectified current", "remove rectify")
        sources = self.tensors[layer.source]
        if self.flat and self._covers(layer):
            sources = self._flattened(layer.name, layer.source, sources)
            weight = layer.weight.reshape(len(layer.weight), -1)
            node = self._dense(layer.name, sources, weight, layer.bias)
        else:
            height, width = self.shapes[layer.source][1:]
            bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias
            node = self._add(
                layer.name, "Conv2d", sources, input_shape=(height, width), weight=layer.weight, stride=layer.stride,
                padding=layer.padding, dilation=(1, 1), groups=1, bias=bias,
            )  # fmt: skip
        self.weights[layer.name] = node
        current = (node,)
        if layer.current is not None and layer.shortcut is not None:
            current += self._shortcut_current(layer, layer.shortcut, layer.current)
        if layer.stream is not None:
            current += self.streams[layer.stream]
        if len(set(current)) < len(current):
            raise _cannot(layer, "a signal that is added twice", "scale the shortcut in a layer of its own")
        self.streams[layer.name] = current
        if layer.neuron is None or layer.name not in self.spiking:
            return
        made: tuple[str, ...] = (self._neuron(layer, layer.neuron, current),)
        if layer.combine == "add" and layer.shortcut is not None:
            made += self.tensors[layer.shortcut]
        elif layer.combine != "pass":
            raise _cannot(layer, f"the combiner {layer.combine.upper()}", "train with combine='add'")
        self.tensors[layer.name] = made

    def _dense(self, name: str, sources: tuple[str, ...], weight: FloatArray, bias: FloatArray | None) -> str:
        if bias is None:
            return self._add(name, "Linear", sources, weight=weight)
        return self._add(name, "Affine", sources, weight=weight, bias=bias)

    def _flattened(self, name: str, tensor: str, sources: tuple[str, ...]) -> tuple[str, ...]:
        shape = self._nir_shape(tensor)
        if len(shape) == 1:
            return sources
        flatten = {"input_type": {"input": np.array(shape)}, "start_dim": 0, "end_dim": -1}
        return (self._add(f"{name}.flatten", "Flatten", sources, **flatten),)

    def _shortcut_current(self, layer: ConvLayer, shortcut: str, current: float) -> tuple[str, ...]:
        if current == 1:
            return self.tensors[shortcut]
        scale = np.full(self._nir_shape(shortcut), current)
        return (self._add(f"{layer.name}.current", "Scale", self.tensors[shortcut], scale=scale),)

    def _neuron(self, layer: ConvLayer, neuron: Neuron, current: tuple[str, ...]) -> str:
        if neuron.levels:
            raise _cannot(layer, "MLF units", "keep the network as a model file")
        if neuron.reset != "hard":
            raise _cannot(layer, f"a reset of kind {neuron.reset!r}", "NIR resets to v_reset; train with reset='hard'")
        shape, name = self._nir_shape(layer.name), f"{layer.name}.neuron"

        def full(value: float) -> FloatArray:
            return np.full(shape, float(value))

        if neuron.kind == "step":
            return self._add(name, "Threshold", current, threshold=full(neuron.threshold))
        both = {"v_threshold": full(neuron.threshold), "v_reset": full(neuron.v_reset)}
        if neuron.kind == "if":
            return self._add(name, "IF", current, r=full(1.0 / self.dt), **both)
        r = 1.0 if neuron.decay_input else neuron.tau
        return self._add(
            name, "LIF", current, tau=full(neuron.tau * self.dt), r=full(r), v_leak=full(neuron.v_reset), **both
        )

    def _readout(self, layer: ReadoutLayer) -> None:
        sources, shape = self.tensors[layer.source], self.shapes[layer.source]
        if layer.pool == "global_average":
            if shape[1:] != (1, 1):
                sizes = {"kernel_size": np.array(shape[1:]), "stride": np.array(shape[1:]), "padding": np.array((0, 0))}
                sources = (self._add(f"{layer.name}.pool", "AvgPool2d", sources, **sizes),)
            pooled = (shape[0], 1, 1)
            if shape[1:] != (1, 1) or not self.flat:
                fields = {"input_type": {"input": np.array(pooled)}, "start_dim": 0, "end_dim": -1}
                sources = (self._add(f"{layer.name}.flatten", "Flatten", sources, **fields),)
        else:
            sources = self._flattened(layer.name, layer.source, sources)
        self.weights[layer.name] = self._dense(layer.name, sources, layer.weight, layer.bias)
        self._add("output", "Output", (self.weights[layer.name],), shape=np.array((len(layer.weight),)))

    def _kept(self) -> Kept:
        arrays: Arrays = {}
        description = RECORDS["float"].encode(self.network, arrays, "")
        places: dict[str, Any] = {}
        for index, layer in enumerate(self.network.layers):
            if isinstance(layer, ConvLayer | ReadoutLayer):
                for option in ("weight", "bias"):
                    value, entry = getattr(layer, option), description["layers"][index][option]
                    if value is not None:
                        places[entry["array"]] = [self.weights[layer.name], option, list(value.shape)]
        spec = self.network.input
        settings = {
            "dt": self.dt, "steps": self.network.steps, "input_bits": spec.bits, "input_scale": spec.scale,
            "signed": spec.signed, "static": spec.static, "fold": spec.fold, "drop_bits": spec.drop_bits,
            "if_r": "unit", "reset": "hard",
        }  # fmt: skip
        fires = {n.fire for n in (getattr(layer, "neuron", None) for layer in self.network.layers) if n is not None}
        if len(fires) == 1:
            settings["fire"] = fires.pop()
        return Kept(settings, description, places)

    def _notes(self) -> tuple[str, ...]:
        spec, notes = self.network.input, []
        convs = [layer for layer in self.network.layers if isinstance(layer, ConvLayer)]
        fires = [conv.name for conv in convs if conv.neuron is not None and conv.neuron.fire == "ge"]
        if fires:
            notes.append(
                f"NIR neurons fire where V > threshold; {len(fires)} layers ({fires[0]!r} first) fire at >=, which "
                "only skipspike reads back: others differ where a membrane equals its threshold."
            )
        notes.append(
            f"Not in the graph, only in its metadata: T = {self.network.steps}, dt = {self.dt:g} s, and the mean over "
            "T at the end."
        )
        if spec.scale != 1:
            notes.append(f"The graph's input is the real value, {spec.scale:.9g} times the {spec.bits}-bit integer.")
        return tuple(notes)


def _cannot(layer: Layer, what: str, way_out: str) -> NetworkError:
    return NetworkError(f"layer {layer.name!r}: NIR cannot express {what}; {way_out}")
