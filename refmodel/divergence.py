"""Why an integer layer's spikes differ from the float layer's where all that they read is still the same.

In an image's first layer that differs, both networks have read the same spikes, so membranes differ by what
quantising did to this layer alone (and to the membrane stream that it adds).  Everything is told in units, the float
value of one integer of the channel's membrane: H' = (H - v_reset) / unit against the integer H.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .attention import Attention, integer_gates, lif_gates, scores
from .floatmodel import FloatResult
from .golden import GoldenResult
from .layers import ConvLayer, FloatArray, GateLayer
from .membranes import (
    Drive,
    float_drive,
    float_history,
    integer_drive,
    integer_history,
    integer_leak,
    integer_thresholds,
)
from .quantize_layers import fold_neuron
from .quantized import QuantizedLayer

#: Margins of all neurons that are kept of one batch, evenly picked, and of differing ones in all.
_PICKED = 4096
_MOST_MARGINS = 1 << 20


@dataclass(frozen=True)
class Difference:
    """One neuron at the first step at which its spikes differ, with the reason.

    place: image, step, channel, y, x.  level: of an MLF unit, from 0.  float_membrane, float_threshold: H and
    threshold as the float network has them.  float_units, threshold_units: the same from rest and in units.
    integer_membrane is None for gates of spikes, whose integers differ in form.

    moved: by how many units the integer membrane's distance from its threshold is above the float one's, by cause:
    ``weights`` (with the bits dropped from a stream that is convolved), ``bias``, ``current``, ``stream``, ``gates``,
    ``rectification``, ``leak``, ``reset``, ``threshold``.  They add up to the whole difference.
    """

    layer: str
    image: int
    step: int
    channel: int
    y: int
    x: int
    level: int
    unit: float
    float_membrane: float
    float_threshold: float
    float_units: float
    threshold_units: float
    float_fires: bool
    integer_membrane: int | None
    integer_threshold: int
    integer_fires: bool
    moved: dict[str, float]

    def __str__(self) -> str:
        fires = {True: "spike", False: "no spike"}
        text = (
            f"image {self.image}, layer {self.layer!r}, step {self.step}, channel {self.channel}, "
            f"(y, x) = ({self.y}, {self.x}): float H {self.float_membrane:.6g} against {self.float_threshold:g}, "
            f"{fires[self.float_fires]}; integer "
        )
        if self.integer_membrane is None:
            return text + f"gate: {fires[self.integer_fires]}"
        text += f"{self.integer_membrane} against {self.integer_threshold}, {fires[self.integer_fires]}; "
        causes = ", ".join(f"{name} {units:+.2f}" for name, units in self.moved.items() if abs(units) >= 0.005)
        return text + f"in units, float {self.float_units:.2f} against {self.threshold_units:.2f}, moved by {causes}"


@dataclass(frozen=True)
class Margins:
    """How near to their thresholds the neurons are whose spikes differ first, in units, over the images of a layer.

    count: neurons that differ.  median, largest: |float H - threshold| at their first different step; relative: that
    median over the median threshold.  all_median: the median of all neuron steps before any difference.
    error_rms, error_largest: |float H - integer H| of the same, what quantising does to a membrane.
    """

    count: int
    median: float
    largest: float
    relative: float
    all_median: float
    error_rms: float
    error_largest: float


@dataclass
class Divergence:
    """Running sums over the images in which a layer is the first to differ."""

    example: Difference | None = None
    _near: list[FloatArray] = field(default_factory=list)
    _thresholds: list[FloatArray] = field(default_factory=list)
    _all: list[FloatArray] = field(default_factory=list)
    _count: int = 0
    _squares: float = 0.0
    _steps: int = 0
    _errors: float = 0.0
    _largest: float = 0.0

    def add(
        self,
        layer: ConvLayer | GateLayer,
        made: QuantizedLayer,
        real: FloatResult,
        whole: GoldenResult,
        images: NDArray[np.intp],
        start: int,
    ) -> None:
        """Take in ``images`` of a batch that begins with image ``start``, in all of which the layer differs first."""
        if isinstance(layer, GateLayer):
            found = _gate_difference(layer, made, real, whole, images)
        else:
            found = self._neurons(layer, made, real, whole, images)
        if found is not None and (self.example is None or found.step < self.example.step):
            self.example = _moved_to(found, start)

    def _neurons(
        self,
        layer: ConvLayer,
        made: QuantizedLayer,
        real: FloatResult,
        whole: GoldenResult,
        images: NDArray[np.intp],
    ) -> Difference | None:
        assert layer.neuron is not None and made.scale is not None
        drives = float_drive(layer, real, images), integer_drive(made, whole, images)
        mine = float_history(layer.neuron, drives[0].driven)
        theirs = integer_history(made, drives[1].driven)
        units = made.scale[:, None, None]
        ladder = np.array(layer.neuron.thresholds)[:, None, None, None, None, None] - layer.neuron.v_reset
        membranes = (mine.membranes - layer.neuron.v_reset) / units
        thresholds = np.broadcast_to(ladder / units, membranes.shape)
        differs = mine.spikes != theirs.spikes
        earlier = np.zeros_like(differs)
        earlier[:, :, 1:] = np.logical_or.accumulate(differs, axis=2)[:, :, :-1]
        first, clean = differs & ~earlier, ~earlier
        margins = np.abs(membranes - thresholds)
        errors = np.abs(membranes - theirs.membranes)[clean]
        self._squares += float(np.square(errors).sum())
        self._steps += errors.size
        self._errors = max(self._errors, float(errors.max(initial=0.0)))
        near = margins[first]
        self._count += near.size
        self._largest = max(self._largest, float(near.max(initial=0.0)))
        room = _MOST_MARGINS - sum(part.size for part in self._near)
        self._near.append(near[:room])
        self._thresholds.append(thresholds[first][:room])
        every = margins[clean]
        if sum(part.size for part in self._all) < _MOST_MARGINS:
            self._all.append(every[:: max(1, every.size // _PICKED)].copy())
        if not first.any():
            return None
        level, index, step, channel, y, x = _earliest(first)
        place = (level, index, step, channel, y, x)
        return Difference(
            layer=layer.name,
            image=int(images[index]),
            step=step,
            channel=channel,
            y=y,
            x=x,
            level=level,
            unit=float(made.scale[channel]),
            float_membrane=float(mine.membranes[place]),
            float_threshold=float(layer.neuron.thresholds[level]),
            float_units=float(membranes[place]),
            threshold_units=float(thresholds[place]),
            float_fires=bool(mine.spikes[place]),
            integer_membrane=int(theirs.membranes[place]),
            integer_threshold=int(integer_thresholds(made)[level, channel]),
            integer_fires=bool(theirs.spikes[place]),
            moved=_causes(layer, made, drives, place),
        )

    def margins(self) -> Margins | None:
        """None where no neuron was seen to differ (gates of spikes)."""
        if self._count == 0:
            return None
        near, thresholds = np.concatenate(self._near), np.abs(np.concatenate(self._thresholds))
        median = float(np.median(near))
        typical = float(np.median(thresholds))
        return Margins(
            count=self._count,
            median=median,
            largest=self._largest,
            relative=median / typical if typical else 0.0,
            all_median=float(np.median(np.concatenate(self._all))),
            error_rms=float(np.sqrt(self._squares / max(1, self._steps))),
            error_largest=self._errors,
        )


def _earliest(first: NDArray[np.bool_]) -> tuple[int, ...]:
    """The place ``(K, N, T, C, H, W)`` of the earliest step, in it the lowest image, channel, row, column, level."""
    in_order = np.moveaxis(first, (2, 1), (0, 1))  # T, N, K, C, H, W
    in_order = np.moveaxis(in_order, 2, -1)  # T, N, C, H, W, K
    step, image, channel, y, x, level = (int(i) for i in np.unravel_index(int(np.argmax(in_order)), in_order.shape))
    return level, image, step, channel, y, x


def _causes(
    layer: ConvLayer, made: QuantizedLayer, drives: tuple[Drive, Drive], place: tuple[int, ...]
) -> dict[str, float]:
    """What moved the integer membrane of one neuron away from the float one, in units; see :class:`Difference`.

    With D = H' - H, the leak's float factor a and X' = X / units: D(t) = a D(t-1) + (a V - leak(V)) + X'(t) - X(t),
    0 after a hard reset, less the thresholds' difference after a soft one.
    """
    level, index, last, channel, y, x = place
    neuron = layer.neuron
    assert neuron is not None and made.scale is not None
    gain = fold_neuron(neuron)[1]
    units = float(made.scale[channel]) * gain
    threshold = int(integer_thresholds(made)[level, channel])
    apart = (neuron.thresholds[level] - neuron.v_reset) / float(made.scale[channel]) - threshold
    at = (index, slice(None), channel, y, x)
    real, whole = drives
    steps = {name: real.terms[name][at] / units for name in real.terms}
    for name, values in whole.terms.items():
        steps[name] = steps.get(name, 0.0) - values[at]
    total = real.driven[at] / units - whole.driven[at]
    changed = "gates" if layer.attention is not None else "rectification"
    steps[changed] = total - sum(steps.values())
    moved = dict.fromkeys((*steps, "leak", "reset"), 0.0)
    v = 0
    for t in range(last + 1):
        leaked = int(integer_leak(made, np.array(v)))
        for name in moved:
            moved[name] *= neuron.leak
        moved["leak"] += neuron.leak * v - leaked
        for name, values in steps.items():
            moved[name] += float(values[t])
        h = leaked + int(whole.driven[at][t])
        fired = h >= threshold
        v = h
        if t < last and fired and made.reset == "hard":
            v, moved = 0, dict.fromkeys(moved, 0.0)
        elif t < last and fired and made.reset == "soft":
            v = h - threshold
            moved["reset"] -= apart
    given = {name: -value for name, value in moved.items()}
    return {name: value for name, value in {**given, "threshold": apart}.items() if abs(value) > 1e-9}


def _gate_difference(
    layer: GateLayer, made: QuantizedLayer, real: FloatResult, whole: GoldenResult, images: NDArray[np.intp]
) -> Difference | None:
    """Spikes that pass a gate in one network only: the gate's own LIF is what differs."""
    assert made.attention is not None
    mine, theirs = real.tensors[layer.name][images] > 0, whole.tensors[layer.name][images] > 0
    differs = mine != theirs
    if not differs.any():
        return None
    _, index, step, channel, y, x = _earliest(differs[None])
    attention: Attention = layer.attention
    assert attention.neuron is not None
    entry = step if attention.axis == "time" else channel
    source = real.tensors[layer.source][images[index : index + 1]]
    margin = float(lif_gates(scores(source, attention), attention)[1][0, entry])
    gates = integer_gates(whole.tensors[layer.source][images[index : index + 1]], made.attention)
    threshold = attention.neuron.threshold
    unit = made.attention.unit
    return Difference(
        layer=layer.name,
        image=int(images[index]),
        step=step,
        channel=channel,
        y=y,
        x=x,
        level=0,
        unit=unit,
        float_membrane=margin + threshold,
        float_threshold=threshold,
        float_units=(margin + threshold) / unit if unit else 0.0,
        threshold_units=threshold / unit if unit else 0.0,
        float_fires=bool(mine[index, step, channel, y, x]),
        integer_membrane=None,
        integer_threshold=made.attention.threshold,
        integer_fires=bool(gates[0, entry] > 0),
        moved={},
    )


def _moved_to(found: Difference, start: int) -> Difference:
    """The difference with its image counted from the first of all."""
    return Difference(**{**vars(found), "image": found.image + start})
