"""Figures of a comparison, as SVG: the same result gives the same bytes.  Needs matplotlib (extra ``plots``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refmodel.comparison import Comparison
from refmodel.errors import SkipspikeError

from .hardware import new_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT = "#333333", "#dddddd"
_FLOAT, _INTEGER, _CORE, _DIFFERENT = "#0072b2", "#e69f00", "#009e73", "#c03a2b"
STYLE: Any = {
    "svg.hashsalt": "skipspike",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.facecolor": "none",
}
#: Most layers that are named on an axis, and most images of a scatter.
_NAMES, _POINTS = 40, 2000


def demand(folder: str | Path) -> None:
    """SkipspikeError where matplotlib is missing or ``folder`` is something else."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SkipspikeError(
            "plots need matplotlib, which is not installed; install it with `pip install 'skipspike[plots]'` or leave "
            "--plots out"
        )
    if Path(folder).exists() and not Path(folder).is_dir():
        raise SkipspikeError(f"plots go into a folder, but {str(folder)!r} is a file")


def draw(result: Mapping[str, Any], made: Comparison | None, folder: Path) -> list[Path]:
    """Write the figures of a result of :func:`skipspike.comparing.compare`; ``made``: None without a float network.

    ``accuracy.svg``, ``rates.svg`` and, with a float network, ``difference.svg`` (layer and step), ``own.svg``
    (in the network and alone) and ``margins.svg``.  Raises SkipspikeError if the folder cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    layers = [layer for layer in result["layers"] if layer["rate_int"] is not None]
    height = 1.6 + 0.2 * min(len(layers), _NAMES)
    figures: dict[str, tuple[tuple[float, float], Callable[[Figure, Axes], None]]] = {
        "accuracy": ((5.2, 3.2), lambda figure, axes: _accuracy(axes, result)),
        "rates": ((6.4, height), lambda figure, axes: _rates(axes, layers)),
    }
    if made is not None:
        figures["difference"] = ((2.8 + 0.5 * min(result["steps"], 16), height), lambda f, a: _difference(f, a, layers))
        figures["own"] = (
            (6.4, height),
            lambda figure, axes: _own(axes, [one for one in layers if one["own"] is not None]),
        )
        figures["margins"] = ((5.2, 4.4), lambda figure, axes: _margins(axes, made))
    with new_folder(folder) as partial, mpl.rc_context(rc=STYLE):
        for name, (size, fill) in figures.items():
            figure = Figure(figsize=size, layout="constrained")
            fill(figure, figure.add_subplot())
            figure.savefig(partial / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return [folder / f"{name}.svg" for name in figures]


def _accuracy(axes: Axes, result: Mapping[str, Any]) -> None:
    """Accuracy of each stage, and how many of its predictions are those of the stage before."""
    rtl = result["rtl"]
    stages: list[tuple[str, float | None, str]] = [
        (f"float\n{result['samples']} images", result["accuracy_float"], _FLOAT),
        (f"integer, {result['weight_bits']} bits\n{result['samples']} images", result["accuracy_int"], _INTEGER),
        ("same prediction,\nfloat and integer", result["agreement"], "#999999"),
    ]
    if rtl is not None:
        equal = np.mean(np.equal(rtl["predictions"], rtl["golden_predictions"]))
        stages.append((f"core\n{rtl['samples']} images", rtl["accuracy"], _CORE))
        stages.append(("same prediction,\ninteger and core", 100.0 * float(equal), "#999999"))
    shown = [(name, value, colour) for name, value, colour in stages if value is not None]
    names, values, colours = [list(column) for column in zip(*shown, strict=True)] if shown else ([], [], [])
    bars = axes.barh(range(len(names)), values, color=colours, height=0.6)
    axes.bar_label(bars, labels=[f"{value:.2f} %" for value in values], padding=4)
    axes.set(xlim=(0, 118), xticks=range(0, 101, 20), xlabel="percent", yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title(str(result["network"]), loc="left", fontweight="bold")


def _rates(axes: Axes, layers: list[dict[str, Any]]) -> None:
    """Firing rates, layer by layer from the top."""
    places = range(len(layers))
    if layers and layers[0]["rate_float"] is not None:
        rates = [100 * layer["rate_float"] for layer in layers]
        axes.plot(rates, places, "o-", color=_FLOAT, markersize=6, linewidth=1, label="float")
    rates = [100 * layer["rate_int"] for layer in layers]
    axes.plot(rates, places, "x--", color=_INTEGER, markersize=5, linewidth=1, label="integer")
    _name_layers(axes, layers)
    axes.set(xlabel="neuron steps that fire, percent", xlim=(0, None))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _own(axes: Axes, layers: list[dict[str, Any]]) -> None:
    """Spikes that differ, in the whole network and in each layer alone."""
    places = range(len(layers))
    inherited = [100 * (1 - layer["agreement"]) for layer in layers]
    own = [100 * layer["own"] for layer in layers]
    axes.plot(inherited, places, "o-", color=_DIFFERENT, markersize=6, linewidth=1, label="in the network")
    axes.plot(own, places, "s-", color=_CORE, markersize=5, linewidth=1, label="alone, fed with float's spikes")
    _name_layers(axes, layers)
    axes.set(xlabel="spikes that differ, percent", xlim=(0, None))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _difference(figure: Figure, axes: Axes, layers: list[dict[str, Any]]) -> None:
    """Part of each layer's neurons whose spikes differ at each step."""
    from matplotlib.ticker import MaxNLocator

    shares = 100 * np.array([layer["steps"] for layer in layers])
    mesh = axes.pcolormesh(shares, cmap="viridis", vmin=0, vmax=max(float(shares.max(initial=0)), 1e-3))
    mesh.set_edgecolor("face")
    _name_layers(axes, layers, 0.5)
    steps = shares.shape[1]
    ticks = range(0, steps, max(1, steps // 8))
    axes.set(xlabel="step", xticks=[step + 0.5 for step in ticks], xticklabels=list(ticks))
    axes.grid(visible=False)
    bar = figure.colorbar(mesh, ax=axes, label="spikes that differ, percent", aspect=30)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()


def _margins(axes: Axes, made: Comparison) -> None:
    """How far float's best class is above its second, in both networks: below 0 the integer network disagrees."""
    logits = made.logits_float[:_POINTS]
    if logits.shape[1] < 2:
        return
    images = np.arange(len(logits))
    order = np.argsort(-logits, axis=1, kind="stable")
    best, second = order[:, 0], order[:, 1]
    whole = made.logits_int[:_POINTS]
    x, y = logits[images, best] - logits[images, second], whole[images, best] - whole[images, second]
    same = made.predictions_float[:_POINTS] == made.predictions_int[:_POINTS]
    axes.axhline(0, color=_INK, linewidth=1)
    top = max(float(x.max(initial=0)), 1e-6)
    axes.plot([0, top], [0, top], color=_FAINT, linewidth=2)
    axes.scatter(x[same], y[same], s=10, color=_FLOAT, alpha=0.6, linewidths=0, label=f"same class ({same.sum()})")
    axes.scatter(x[~same], y[~same], s=24, color=_DIFFERENT, marker="x", label=f"another class ({(~same).sum()})")
    axes.set(xlabel="float's best class above its second: float", ylabel="the same two classes: integer")
    axes.legend(loc="upper left")


def _name_layers(axes: Axes, layers: list[dict[str, Any]], offset: float = 0.0) -> None:
    """The first layer on top; of many layers every so-manieth is named."""
    every = -(-len(layers) // _NAMES) or 1
    places = range(0, len(layers), every)
    axes.set_yticks([place + offset for place in places], [layers[place]["name"] for place in places])
    axes.set_ylim(len(layers) - 0.5 + offset, -0.5 + offset)
