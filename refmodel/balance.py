"""Lane balance: the order of a network's hidden channels that keeps event lanes equally busy.

Event lane k takes channels k*W .. k*W+W-1 of each group of P, and a bit-plane of a tile lasts as long as its slowest
lane.  Which channel is which number is free: another order of a tensor's channels, in all that writes and reads it,
changes no result.  Where the channels do not fill the last group, channels that are always 0 take the places left, so
that the others spread over all lanes; a core would compute these places anyway.  Tensors that a shortcut, a stream
or a pool joins share one order; the input's and the readout's channels stay, and those of layers with attention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import golden
from .config import CoreConfig
from .lowering import lower
from .quantized import INPUT, IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo

Floats = NDArray[np.float32]

#: Key of a balanced network's ``meta``: the lanes that it is balanced for.
KEY = "balanced"

#: Windows sampled of each reader of a tensor; of all readers of tensors that share an order, and times channels.
_WINDOWS, _MOST_WINDOWS, _MOST_COUNTS = 1500, 12000, 1_500_000
#: Values of tensors in memory at a time.
_MOST_VALUES = 30_000_000
#: Partners tried for all channels together, and rounds over all channels.
_PARTNERS, _ROUNDS = 8192, 12


@dataclass(frozen=True)
class Balance:
    """A network with its hidden channels in another order.

    orders: by tensor, the channel that came to each place, -1 for one that is always 0, where any moved.
    before, after: expected events of the slowest lanes in an inference, on the samples, input layers left out.
    """

    network: QuantizedNetwork
    orders: dict[str, IntArray]
    before: float
    after: float


def balance(net: QuantizedNetwork, x: NDArray[np.integer], config: CoreConfig, *, seed: int = 0) -> Balance:
    """``net`` with orders of channels chosen for ``config`` by what its neurons do on inputs ``x`` (as golden.run).

    Sampled windows of every convolution are counted; channels of different lanes change places as long as that
    lowers the sum over windows of the slowest lane's events.  ``net`` should be pruned already
    (:func:`refmodel.pruning.prune`): its ``meta["balanced"]`` says for which lanes, and that it must not be later.
    """
    lowered = lower(net)
    classes = _classes(net, lowered)
    infos = lowered.tensors()
    rng = np.random.default_rng(seed)
    rows: dict[str, list[tuple[Floats, Floats]]] = {}
    most = max(1, _MOST_VALUES // (net.steps * sum(int(np.prod(info.shape)) for info in infos.values())))
    for start in range(0, len(x), most):
        part = x[start : start + most]
        tensors = golden.run(lowered, part, keep=True).tensors
        for layer in lowered.layers:
            if layer.kind in ("conv", "readout") and classes[layer.source] != INPUT:
                found = _windows(layer, tensors[layer.source], infos, config, len(part) / len(x), rng)
                rows.setdefault(classes[layer.source], []).append(found)
    orders: dict[str, IntArray] = {}
    before = after = 0.0
    for name, parts in rows.items():
        events, weights = np.concatenate([e for e, _ in parts]), np.concatenate([w for _, w in parts])
        limit = min(_MOST_WINDOWS, _MOST_COUNTS // events.shape[1])
        if len(events) > limit:
            kept = rng.permutation(len(events))[:limit]
            weights = weights[kept] * np.float32(len(events) / limit)
            events = events[kept]
        order, old, new = _best_order(events, weights, config, rng)
        before, after = before + old, after + new
        if new < old:
            orders[name] = order
    lanes = {"event_lanes": config.event_lanes, "output_lanes": config.output_lanes}
    made = reordered(
        replace(net, meta={**net.meta, KEY: lanes}),
        {name: orders[top] for name, top in classes.items() if top in orders},
    )
    names = (INPUT, *(layer.name for layer in net.layers))
    return Balance(made, {name: orders[classes[name]] for name in names if classes[name] in orders}, before, after)


def reordered(net: QuantizedNetwork, orders: dict[str, IntArray]) -> QuantizedNetwork:
    """``net`` with the channels of tensors in other orders: place i holds what was channel ``orders[name][i]``.

    A place with -1 gets a channel that is always 0.  Tensors joined by a shortcut, a stream or a pool must have the
    same order.
    """
    return replace(net, layers=tuple(_reordered(layer, orders) for layer in net.layers))


def _reordered(layer: QuantizedLayer, orders: dict[str, IntArray]) -> QuantizedLayer:
    out, source = orders.get(layer.name), orders.get(layer.source)
    weight, levels, scale = layer.weight, layer.levels, layer.scale
    if weight is not None and source is not None:
        weight = _taken(weight.swapaxes(0, 1), source, 0).swapaxes(0, 1)
    if weight is not None:
        weight = np.ascontiguousarray(weight if out is None else _taken(weight, out, 0))
    if out is None:
        return replace(layer, weight=weight)
    if levels is not None:  # each above the one before
        levels = np.stack([_taken(level, out, number) for number, level in enumerate(levels, 2)])
    return replace(
        layer,
        weight=weight,
        bias=None if layer.bias is None else _taken(layer.bias, out, 0),
        current=None if layer.current is None else _taken(layer.current, out, 0),
        threshold=None if layer.threshold is None else _taken(layer.threshold, out, 1),
        levels=levels,
        scale=None if scale is None else np.where(out < 0, 1.0, scale[np.maximum(out, 0)]),
    )


def _taken(values: IntArray, order: IntArray, missing: int) -> IntArray:
    """``values`` along their first axis in another order; ``missing`` where that is -1."""
    made = values[np.maximum(order, 0)]
    made[order < 0] = missing
    return made


def _classes(*nets: QuantizedNetwork) -> dict[str, str]:
    """The tensor that stands for all that share an order, by tensor; ``INPUT`` for those that keep theirs."""
    parent: dict[str, str] = {INPUT: INPUT}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        a, b = top(one), top(other)
        parent[b if a == INPUT else a] = a if a == INPUT else b

    for net in nets:
        for layer in net.layers:
            joined: list[str | None] = [layer.name, layer.shortcut, layer.stream]
            if layer.weight is None:
                joined.append(layer.source)
            if layer.kind == "readout" or layer.attention is not None:
                joined.append(INPUT)
            for name in joined:
                if name is not None:
                    join(layer.name, name)
    return {name: top(name) for name in list(parent)}


def _windows(
    layer: QuantizedLayer,
    values: NDArray[np.integer],
    infos: dict[str, TensorInfo],
    config: CoreConfig,
    share: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Events of each channel in sampled windows ``[M, C]``, and for how many in an inference each stands ``[M]``.

    values: the source ``[N, T, C, H, W]``, of ``share`` of all inputs.  A window is one of one input, chunk of steps,
    bit-plane and output pixel.
    """
    source, out = infos[layer.source], infos[layer.name]
    n, steps, channels, height, width = values.shape
    chunks = -(-steps // config.time_lanes)
    padded = np.zeros((n, chunks * config.time_lanes, channels, height, width), values.dtype)
    padded[:, :steps] = values
    joined = np.bitwise_or.reduce(padded.reshape(n, chunks, config.time_lanes, *values.shape[2:]), axis=2)
    total = n * chunks * source.planes * out.shape[1] * out.shape[2]
    count = min(total, int(np.ceil(_WINDOWS * share)))
    picked = rng.choice(total, count, replace=False)
    one, chunk, plane, y, x = np.unravel_index(picked, (n, chunks, source.planes, *out.shape[1:]))
    events = np.zeros((count, channels), np.float32)
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            py, px = y * layer.stride[0] + ky - layer.padding[0], x * layer.stride[1] + kx - layer.padding[1]
            inside = (py >= 0) & (py < height) & (px >= 0) & (px < width)
            words = joined[one[inside], chunk[inside], :, py[inside], px[inside]]
            events[inside] += (words >> plane[inside, None]) & 1
    groups = -(-out.shape[0] // config.output_lanes)
    return events, np.full(count, groups * total / n * share / count, np.float32)


def _best_order(
    events: Floats, weights: Floats, config: CoreConfig, rng: np.random.Generator
) -> tuple[IntArray, float, float]:
    """The order of channels, and the expected events of the slowest lanes before and after."""
    channels = events.shape[1]
    places = -(-channels // config.output_lanes) * config.output_lanes
    lanes = np.arange(places) % config.output_lanes // config.channels_per_word
    events = np.pad(events, ((0, 0), (0, places - channels)))
    busy = np.argsort(-(weights @ events), kind="stable")
    found = [_improved(events, weights, start, rng) for start in (lanes, _by_rate(busy, events, weights, lanes))]
    best, after = min(found, key=lambda one: one[1])
    order = np.empty(places, np.int64)
    for lane in range(config.event_lanes):
        order[lanes == lane] = np.flatnonzero(best == lane)
    last = int(np.flatnonzero(order < channels)[-1])
    order = np.where(order < channels, order, -1)[: last + 1]
    return order, _slowest(events, weights, lanes), after


def _slowest(events: Floats, weights: Floats, lanes: IntArray) -> float:
    return float(weights @ _lane_sums(events, lanes).max(axis=1))


def _lane_sums(events: Floats, lanes: IntArray) -> Floats:
    return events @ (lanes[:, None] == np.arange(lanes.max() + 1)).astype(np.float32)


def _by_rate(busy: IntArray, events: Floats, weights: Floats, lanes: IntArray) -> IntArray:
    """Busiest channel first, to the lane that is least busy of those with a place left."""
    rates = weights @ events
    room = np.bincount(lanes)
    load = np.zeros(len(room))
    chosen = np.empty_like(lanes)
    for channel in busy:
        lane = int(np.argmin(np.where(room > 0, load, np.inf)))
        chosen[channel], room[lane], load[lane] = lane, room[lane] - 1, load[lane] + rates[channel]
    return chosen


def _improved(events: Floats, weights: Floats, lanes: IntArray, rng: np.random.Generator) -> tuple[IntArray, float]:
    """Channels of different lanes change places while that lowers the cost."""
    lanes = lanes.copy()
    cost = _slowest(events, weights, lanes)
    partners = max(8, _PARTNERS // len(lanes))
    for _ in range(_ROUNDS):
        start = cost
        for one in rng.permutation(len(lanes)):
            others = np.flatnonzero(lanes != lanes[one])
            if len(others) == 0:
                return lanes, cost
            if len(others) > partners:
                others = rng.choice(others, partners, replace=False)
            costs = _swapped(events, weights, lanes, int(one), others)
            best = int(np.argmin(costs))
            if costs[best] < cost * (1 - 1e-6):
                other = others[best]
                lanes[one], lanes[other] = lanes[other], lanes[one]
                cost = float(costs[best])
        if cost >= start * 0.999:
            break
    return lanes, _slowest(events, weights, lanes)


def _swapped(events: Floats, weights: Floats, lanes: IntArray, one: int, others: IntArray) -> Floats:
    """Costs if ``one`` changed places with each of ``others``, ``[len(others)]``."""
    sums = _lane_sums(events, lanes)
    own, theirs = lanes[one], lanes[others]
    rest = np.empty_like(sums)  # of the lanes beside the two
    for lane in range(sums.shape[1]):
        beside = [k for k in range(sums.shape[1]) if k not in (lane, own)]
        rest[:, lane] = sums[:, beside].max(axis=1) if beside else 0
    gained = events[:, others] - events[:, one, None]
    slowest = np.maximum(sums[:, own, None] + gained, sums[:, theirs] - gained)
    return weights @ np.maximum(slowest, rest[:, theirs])
