"""Layers from the sums of a NIR graph: each node with weights becomes one layer, and nothing else has any.

A current sum's terms become layers that add to the stream of the term before; the neurons that read the sum belong to
its last term's layer, and add their spikes to those of the sum before theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ImportRefused
from ..layer_checks import Shape as Layout
from ..layers import ConvLayer, FloatArray, InputSpec, Layer, PoolLayer, ReadoutLayer, StreamLayer
from ..quantized import INPUT
from .nir_fold import channel_scale
from .nir_graph import Flat
from .nir_kernels import WEIGHTS_LIMIT
from .nir_neurons import Cell
from .nir_nodes import Convolution, Dense, Pooling, Port, Scaling, Spiking
from .nir_terms import Signals, Term


@dataclass(frozen=True, eq=False)
class Made:
    """Layers in no order; ``helpers``: those that only pass values on and stand for no node with weights."""

    layers: list[Layer]
    helpers: tuple[str, ...]


class LayerMaker:
    """Makes the layers of one graph; raises ImportRefused."""

    def __init__(
        self, flat: Flat, signals: Signals, cells: dict[str, Cell], spec: InputSpec, readout: str | None
    ) -> None:
        self.flat, self.signals, self.cells, self.spec, self.readout = flat, signals, cells, spec, readout
        self.layers: list[Layer] = []
        self.helpers: list[str] = []
        self.taken: set[str] = {INPUT}
        #: the name of each term's layer, None for spikes that another term's layer takes along
        self.names: dict[Term, str | None] = {}
        #: the layer in which each node's spikes, pools or input values are a tensor
        self.tensors: dict[str, str] = {}
        self.streams: dict[Term, str] = {}
        self.neuron_of: dict[Term, str] = {}
        self.streamed: set[Term] = set()
        self.gains: dict[Term, FloatArray] = {}

    def make(self) -> Made:
        self._attach()
        self._name()
        for name, node in self.flat.nodes.items():
            if isinstance(node, Pooling) and self.signals.classes[name] == "real":
                self._pool(node)
        for term in self.names:
            self._term(term)
        self._readout()
        return Made(self.layers, tuple(self.helpers))

    # which sums have neurons, which are read as streams

    def _attach(self) -> None:
        spiking = {name for name in self.signals.current_of if isinstance(self.flat.nodes[name], Spiking)}
        for name, members in self.signals.current_of.items():
            if name not in spiking:
                self.streamed.add(self.signals.currents.last[members])
        for name, members in self.signals.current_of.items():
            last = self.signals.currents.last[members]
            if name not in spiking:
                continue
            if last in self.neuron_of:
                raise ImportRefused(
                    f"node {name!r}: reads the same current as the neurons {self.neuron_of[last]!r}; "
                    "let one node's spikes go to both places, or give each its own weights"
                )
            self.neuron_of[last] = name
            if self.cells[name].gain is not None or self.cells[name].bias is not None:
                self._own(name, last)

    def _own(self, name: str, last: Term) -> None:
        """Weights that take a neuron's gain or bias must serve nothing else."""
        gain = self.cells[name].gain
        chain = [last] if gain is None else self.signals.currents.chain(last)
        for index, term in enumerate(chain):
            if self.signals.currents.following[term] != chain[max(0, index - 1) : index] or term in self.streamed:
                raise ImportRefused(
                    f"node {name!r}: its parameters differ between channels (or v_leak from v_reset), and the current "
                    f"of {term.name!r}, which would have to be changed for it, goes elsewhere, too"
                )
            if gain is not None:
                self.gains[term] = gain

    def _name(self) -> None:
        """Names in the order of the graph's nodes, so that suffixes are the same every time."""
        self.tensors = {name: INPUT for name, node in self.flat.nodes.items() if isinstance(node, Port)}
        ranks = {name: rank for rank, name in enumerate(self.flat.nodes)}
        terms = sorted(
            self.signals.currents.base,
            key=lambda term: (sorted(map(ranks.__getitem__, term.members)), term.kind),
        )
        for term in terms:
            if self._host(term) is not None:
                self.names[term] = None
                continue
            label = term.name
            if term.kind != "node":
                label = self.neuron_of.get(term) or f"{label}.identity"
            name = self.names[term] = self._fresh(label)
            if term.kind != "node":
                self.helpers.append(name)
        for term, neuron in self.neuron_of.items():
            name = self.names[term]
            assert name is not None
            self.tensors[neuron] = name

    def _fresh(self, name: str) -> str:
        fresh, count = name, 2
        while fresh in self.taken:
            fresh, count = f"{name}.{count}", count + 1
        self.taken.add(fresh)
        return fresh

    def _host(self, term: Term) -> Term | None:
        """The term whose layer takes ``term`` along as its shortcut current."""
        following = self.signals.currents.following[term]
        if (
            self._shortcut_current(term) is None
            or len(following) != 1
            or term in self.neuron_of
            or term in self.streamed
        ):
            return None
        host = following[0]
        neuron = self.neuron_of.get(host)
        if self._shortcut_current(host) is not None or host in self.gains:
            return None
        return None if neuron is not None and self.signals.spikes.base.get(neuron) is not None else host

    def _shortcut_current(self, term: Term) -> tuple[str, float] | None:
        """Node and factor of a term that is the same multiple of a neuron's own spikes everywhere."""
        if term.kind == "spikes":
            spikes, scale = term.members, 1.0
        else:
            node = self.flat.nodes[term.name]
            if not isinstance(node, Scaling) or np.ptp(node.scale) > 0:
                return None
            spikes, scale = self.signals.sources[node.name], float(node.scale.flat[0])
        name = next(iter(spikes))
        alone = len(spikes) == 1 and self.signals.classes[name] == "spikes" and self.signals.spikes.base[name] is None
        return (name, scale) if alone else None

    # tensors and streams that layers read

    def _source(self, name: str) -> str:
        """The tensor that node ``name`` reads."""
        if name in self.signals.tensor_of:
            return self._tensor(self.signals.tensor_of[name])
        term = self.signals.currents.last[self.signals.current_of[name]]
        if term not in self.streams:
            layer = self.names[term]
            assert layer is not None
            self.streams[term] = self._fresh(f"{name}.stream")
            self.layers.append(StreamLayer(self.streams[term], layer))
        return self.streams[term]

    def _tensor(self, members: frozenset[str]) -> str:
        name = self.signals.spikes.last[members] if members in self.signals.spikes.last else next(iter(members))
        return self.tensors[name]

    def _pool(self, node: Pooling) -> None:
        if (
            self.readout is not None
            and self.signals.readers[node.name] == [self.readout]
            and self._is_average(node.name)
        ):
            return
        name = self.tensors[node.name] = self._fresh(node.name)
        kind = "sum" if node.kind == "sum" else "average"
        self.layers.append(PoolLayer(name, self._source(node.name), node.kernel, node.stride, node.padding, kind))

    def _is_average(self, name: str) -> bool:
        """Whether a pool takes the mean of whole planes."""
        node = self.flat.nodes[name]
        plane = self.flat.layouts[self.flat.before[name][0]][1:] if self.flat.before[name] else None
        return (
            isinstance(node, Pooling)
            and node.kind == "average"
            and self.signals.classes[name] == "real"
            and (node.kernel, node.padding) == (plane, (0, 0))
        )

    # layers

    def _term(self, term: Term) -> None:
        name = self.names[term]
        if name is None:
            return
        source, weight, bias, stride, padding = self._synapses(term)
        options: dict[str, Any] = {}
        base = self.signals.currents.base[term]
        if base is not None and self.names[base] is None:
            taken = self._shortcut_current(base)
            assert taken is not None
            options["shortcut"], options["current"] = self.tensors[taken[0]], taken[1]
            base = self.signals.currents.base[base]
        if base is not None:
            options["stream"] = self.names[base]
        neuron = self.neuron_of.get(term)
        gain = self.gains.get(term)
        if gain is not None:
            weight = weight * gain[:, None, None, None]
            bias = None if bias is None else bias * gain
        if neuron is not None:
            cell = self.cells[neuron]
            if cell.bias is not None:
                bias = cell.bias if bias is None else bias + cell.bias
            spikes = self.signals.spikes.base.get(neuron)
            if spikes is not None:
                options["shortcut"], options["combine"] = self.tensors[spikes], "add"
        keeps = neuron is None or term in self.streamed or bool(self.signals.currents.following[term])
        self.layers.append(
            ConvLayer(
                name,
                source,
                weight,
                bias,
                stride,
                padding,
                neuron=None if neuron is None else self.cells[neuron].neuron,
                keeps_stream=keeps,
                **options,
            )
        )

    def _synapses(self, term: Term) -> tuple[str, FloatArray, FloatArray | None, tuple[int, int], tuple[int, int]]:
        """Source, weight, bias, stride and padding."""
        if term.kind != "node":
            members = term.members
            source = self._tensor(members)
            channels = self.flat.layouts[term.name][0]
            return source, self._diagonal(term.name, np.ones(channels)), None, (1, 1), (0, 0)
        name = term.name
        node, source = self.flat.nodes[name], self._source(name)
        layout: Layout = self.flat.layouts[self.flat.before[name][0]]
        if isinstance(node, Dense):
            return source, node.weight.reshape(-1, *layout), node.bias, (1, 1), (0, 0)
        if isinstance(node, Convolution):
            return source, node.weight, node.bias, node.stride, node.padding
        if isinstance(node, Pooling):
            taps = np.ones((1, 1, *node.kernel)) / (1 if node.kind == "sum" else node.kernel[0] * node.kernel[1])
            weight = self._diagonal(name, np.ones(layout[0]), node.kernel[0] * node.kernel[1]) * taps
            return source, weight, None, node.stride, node.padding
        assert isinstance(node, Scaling)
        scale = channel_scale(node)
        if scale is None:
            raise ImportRefused(
                f"node {name!r}: its scale differs between the pixels of a channel; use one value for each channel"
            )
        return source, self._diagonal(name, scale), None, (1, 1), (0, 0)

    def _diagonal(self, name: str, values: FloatArray, taps: int = 1) -> FloatArray:
        if len(values) ** 2 * taps > WEIGHTS_LIMIT:
            raise ImportRefused(
                f"node {name!r}: passing on its {len(values)} channels needs a layer of {len(values)} x {len(values)} "
                "weights; put a convolution there instead"
            )
        return np.diag(values)[:, :, None, None]

    def _readout(self) -> None:
        ports = [node for node in self.flat.nodes.values() if isinstance(node, Port)]
        output = next(port.name for port in ports if port.kind == "Output")
        reader = output if self.readout is None else self.readout
        members = self.signals.tensor_of.get(reader)
        pool = next(iter(members)) if members is not None and len(members) == 1 else None
        averaged = pool is not None and self.signals.readers[pool] == [reader] and self._is_average(pool)
        if averaged and pool is not None and self.readout is not None:
            source = self._source(pool)
        else:
            averaged, source = False, self._source(reader)
        if self.readout is None:
            size = int(np.prod(self.flat.layouts[output]))
            weight, bias = self._diagonal(output, np.ones(size))[:, :, 0, 0], None
        else:
            node = self.flat.nodes[self.readout]
            assert isinstance(node, Dense | Convolution)
            weight, bias = node.weight.reshape(len(node.weight), -1), node.bias
        name = self._fresh(reader)
        self.layers.append(ReadoutLayer(name, source, weight, bias, "global_average" if averaged else "none"))
