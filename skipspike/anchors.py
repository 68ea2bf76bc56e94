"""Networks of the literature on large ECP5 cores beside what others' processors are said to reach, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boards.registry import get_board
from refmodel import zoo
from refmodel.densities import Values, tensor_values
from refmodel.external import Streamed, streamed
from refmodel.outline import outline
from refmodel.outlook import operations
from refmodel.quantized import QuantizedLayer, QuantizedNetwork
from refmodel.tailoring import shape_of

from .candidates import Candidate
from .mapping import search
from .progress import Progress, silent

#: The board; the clock that a core of 1,024 lanes is taken to run at, smaller ones too, and the part of it that is lost
#: each time the lanes double.
BOARD, CLOCK_HZ, LANES, FALL = "ulx3s_85f", 90_000_000, 1024, 0.08
#: External memories, MB/s: 16 bits of DDR3 at 800 MT/s; the ULX3S's own 16 bits of SDRAM at 133 MHz.
BANDWIDTHS = (1600.0, 266.0)
#: Rates of all neurons: what tables take, and what the clocks are also given for.
RATE, RATES = 0.15, (0.05, 0.15, 0.25)
#: FireFly v2: input and output channels, pixels of a row, and steps that it takes in one clock, all of it dense.
FIREFLY = {"inputs": 16, "outputs": 16, "pixels": 8, "steps": 4}
FIREFLY_HZ = 250_000_000
#: What its authors' formula says of SEW-ResNet-18 for CIFAR-10.
FIREFLY_PUBLISHED = 598.0
#: The residual processor of Hou et al. (2025): milliseconds an image, 0.69 million parameters, T = 1.
RIVAL_MS = 3.98


@dataclass(frozen=True)
class Case:
    """A network, its weight bits and K, P, Tp of the core of 1,024 lanes that it runs on."""

    title: str
    network: str
    bits: int
    lanes: tuple[int, int, int]


#: Slabs of 512 input channels and 64 output channels, two of which the banks hold, are more than all block RAM of an
#: ECP5-85F: SEW-ResNet-18 takes weights of 4 bits, and 32 output channels at a time.  7B-Net has 32 channels.
LAYERED = (
    Case("7B-Net, 128x128 event frames, T = 16", "zoo:7b-net", 8, (4, 32, 8)),
    Case("SEW-ResNet-18, CIFAR-10 (32x32), T = 4", "zoo:sew-resnet18,size=32", 4, (8, 32, 4)),
)
SMALL = (
    Case("0.69 million parameters, 32x32, T = 1", "zoo:sew-resnet18,size=32,width=0.248,steps=1", 8, (4, 64, 4)),
    Case("0.69 million parameters, 32x32, T = 4", "zoo:sew-resnet18,size=32,width=0.248,steps=4", 8, (4, 64, 4)),
)


def anchors(progress: Progress = silent) -> dict[str, Any]:
    """Every table: ``networks`` (layers, cores, FireFly v2), ``rates`` and ``small``; figures are expected ones."""
    networks = []
    for case in LAYERED:
        progress(case.title, None)
        networks.append(_layered(case))
    small = []
    for case in SMALL:
        progress(case.title, None)
        small.append(_small(case))
    return {
        "board": BOARD,
        "bandwidths": list(BANDWIDTHS),
        "rate": RATE,
        "firefly": {
            **FIREFLY,
            "lanes": math.prod(FIREFLY.values()),
            "clock_hz": FIREFLY_HZ,
            "published": FIREFLY_PUBLISHED,
        },
        "rival_ms": RIVAL_MS,
        "networks": networks,
        "small": small,
    }


def _outline(case: Case) -> QuantizedNetwork:
    name, options = zoo.read(case.network)
    return outline(zoo.sketch(name, **options), case.bits)


def _cores(case: Case, net: QuantizedNetwork, rate: float) -> list[tuple[str, Candidate]]:
    """The core of 1,024 lanes, and the fastest that a search finds, with weights from the first memory."""
    board = replace(get_board(BOARD), clock_hz=CLOCK_HZ)
    options: dict[str, Any] = {
        "rates": _rates(rate),
        "expected": True,
        "bytes_per_clock": BANDWIDTHS[0] * 1e6 / CLOCK_HZ,
        "clock_of": clock_of,
    }
    fixed = search(board, net, axes=case.lanes, **options).best
    return [("1,024 lanes", fixed), ("fastest found", search(board, net, **options).best)]


def clock_of(lanes: int) -> float:
    """The clock in Hz that a core of so many lanes is taken to run at."""
    return CLOCK_HZ * (1 - FALL) ** max(0.0, math.log2(lanes / LANES))


def _rates(rate: float) -> dict[str, float]:
    """The same for all neurons; inputs keep their own density, which no pattern means."""
    return {"*": rate}


def _run(net: QuantizedNetwork, core: Candidate, bandwidth: float, rate: float) -> Streamed:
    return streamed(net, core.config, bandwidth * 1e6 / core.clock_hz, _rates(rate))


def _core_row(
    net: QuantizedNetwork, name: str, core: Candidate, bandwidth: float, found: Streamed, spikes: float
) -> dict[str, Any]:
    """Figures of a network on a core; ``spikes``: additions that its spikes ask for."""
    rate = core.clock_hz / found.clocks
    return {
        "core": name,
        "shape": shape_of(core.config).settings,
        "lanes": core.config.lanes,
        "clock_hz": core.clock_hz,
        "cells": core.area.cells,
        "brams": core.area.brams,
        "bandwidth": bandwidth,
        "spikes_outside": found.spikes_outside,
        "clocks": round(found.clocks),
        "frames_per_second": rate,
        "milliseconds": 1000 / rate,
        "gsops_dense": operations(net) * rate / 1e9,
        "gsops_spikes": spikes * rate / 1e9,
        "waiting_layers": [layer.name for layer in found.layers if layer.bound],
    }


def _layered(case: Case) -> dict[str, Any]:
    net = _outline(case)
    work = spike_operations(net, _rates(RATE))
    spikes = sum(work.values())
    cores = _cores(case, net, RATE)
    rows, details = [], []
    for name, core in cores:
        for bandwidth in BANDWIDTHS:
            found = _run(net, core, bandwidth, RATE)
            rows.append(_core_row(net, name, core, bandwidth, found, spikes))
            if bandwidth == BANDWIDTHS[0]:
                details.append(_by_layer(found, core.config.event_lanes))
    rates = [
        {"rate": rate, **{name: core.clock_hz / _run(net, core, BANDWIDTHS[0], rate).clocks for name, core in cores}}
        for rate in RATES
    ]
    firefly = {layer.name: firefly_clocks(net, layer) for layer in net.layers if layer.weight is not None}
    total = sum(firefly.values())
    layers = [
        {
            "layer": layer.name,
            "operations": dense_operations(net, layer.name),
            "spike_operations": round(work.get(layer.name, 0.0)),
            "cores": [found[layer.name] for found in details],
            "firefly_clocks": firefly.get(layer.name),
        }
        for layer in net.layers
    ]
    return {
        "title": case.title,
        "network": case.network,
        "weight_bits": case.bits,
        "parameters": net.parameters,
        "operations": operations(net),
        "spike_operations": round(spikes),
        "layers": layers,
        "cores": rows,
        "rates": rates,
        "firefly": {
            "clocks": total,
            "frames_per_second": FIREFLY_HZ / total,
            "gsops_dense": operations(net) * FIREFLY_HZ / total / 1e9,
            "gsops_spikes": spikes * FIREFLY_HZ / total / 1e9,
        },
    }


def _by_layer(found: Streamed, event_lanes: int) -> dict[str, dict[str, Any]]:
    """Clocks, waiting and lane use of every layer, the passes of a pool together."""
    result: dict[str, dict[str, Any]] = {}
    for layer in found.layers:
        entry = result.setdefault(layer.name.split("/")[0], {"clocks": 0.0, "wait": 0.0, "events": 0.0})
        for key in entry:
            entry[key] += getattr(layer, key)
    for entry in result.values():
        entry["lane_use"] = entry.pop("events") / (event_lanes * entry["clocks"])
    return result


def _small(case: Case) -> dict[str, Any]:
    net = _outline(case)
    spikes = sum(spike_operations(net, _rates(RATE)).values())
    rows = [
        _core_row(net, name, core, bandwidth, _run(net, core, bandwidth, RATE), spikes)
        for name, core in _cores(case, net, RATE)
        for bandwidth in BANDWIDTHS
    ]
    return {
        "title": case.title,
        "network": case.network,
        "weight_bits": case.bits,
        "parameters": net.parameters,
        "operations": operations(net),
        "spike_operations": round(spikes),
        "cores": rows,
    }


def dense_operations(net: QuantizedNetwork, name: str) -> int:
    """Synaptic operations of a layer over all steps, as if every value were not 0; 0 for what has no weights."""
    layer = next((layer for layer in net.layers if layer.name == name), None)
    if layer is None or layer.weight is None:
        return 0
    _, height, width = net.tensors()[name].shape
    return net.steps * layer.weight.size * height * width


def spike_operations(net: QuantizedNetwork, rates: Mapping[str, float]) -> dict[str, float]:
    """Additions that the expected spikes ask for, by layer: every set bit times the weights that it meets."""
    values, infos = tensor_values(net, rates), net.tensors()
    result = {}
    for layer in net.layers:
        if layer.weight is not None:
            source: Values = values[layer.source]
            bits = sum(source.bit(plane) for plane in range(infos[layer.source].planes))
            taps = _taps(layer, infos[layer.source].shape, infos[layer.name].shape)
            result[layer.name] = net.steps * bits * taps * layer.weight.shape[0] * layer.weight.shape[1]
    return result


def _taps(layer: QuantizedLayer, source: tuple[int, int, int], out: tuple[int, int, int]) -> float:
    """Taps of all windows that lie inside the image."""
    count = 1.0
    for axis in (0, 1):
        first = np.arange(out[1 + axis]) * layer.stride[axis] - layer.padding[axis]
        last = np.minimum(first + layer.kernel[axis], source[1 + axis])
        count *= float(np.maximum(last - np.maximum(first, 0), 0).sum())
    return count


def firefly_clocks(net: QuantizedNetwork, layer: QuantizedLayer) -> int:
    """Clocks of a layer on FireFly v2, whatever its spikes: k*k taps x groups of 16 input and of 16 output channels x
    rows x groups of 8 pixels of a row x groups of 4 steps, a layer with a stride at the resolution of its input.

    The formula is put together from the published lane count and kinds of parallelism; for SEW-ResNet-18 it gives
    1 % fewer frames a second than its authors' own.
    """
    assert layer.weight is not None
    infos = net.tensors()
    outputs, inputs = layer.weight.shape[:2]
    _, height, width = infos[layer.source if layer.kind != "readout" else layer.name].shape
    return (
        layer.kernel[0] * layer.kernel[1]
        * math.ceil(inputs / FIREFLY["inputs"])
        * math.ceil(outputs / FIREFLY["outputs"])
        * height
        * math.ceil(width / FIREFLY["pixels"])
        * math.ceil(net.steps / FIREFLY["steps"])
    )  # fmt: skip


def core_text(row: Mapping[str, Any]) -> str:
    """A row's core in words."""
    shape = row["shape"]
    k, p, tp, units = (shape[name] for name in ("event_lanes", "output_lanes", "time_lanes", "neuron_units"))
    engines = f"E={shape['engines']}, " if shape.get("engines", 1) > 1 else ""
    return f"{engines}K={k}, P={p}, Tp={tp}, NU={units}"
