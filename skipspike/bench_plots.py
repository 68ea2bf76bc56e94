"""Figures of measured cores, as SVG: the same table gives the same bytes.  Needs matplotlib (extra ``plots``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boards.core_anchors import ANCHORS
from boards.core_devices import DEVICES
from refmodel.errors import SkipspikeError

from .hardware import new_folder
from .plots import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Where the figures go beside the page.
FOLDER = "benchmarks"
_COLOURS = {"up5k": "#e69f00", "hx8k": "#d55e00", "ecp5-25f": "#0072b2", "ecp5-85f": "#009e73"}
_OTHER, _INK, _FAINT = "#999999", "#333333", "#dddddd"
_MARKS = ("o", "s", "^", "D", "v")
#: Lines of equal GSOP/s per 1,000 LUT.
_RATIOS = (0.01, 0.1, 1.0, 10.0)
#: Panels of a row of rooflines, and the least and most spikes a weight read that they show.
_PANELS, _LEAST, _MOST = 3, 0.125, 8.0


def demand() -> None:
    """SkipspikeError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SkipspikeError(
            "the plots of --docs need matplotlib, which is not installed; install it with `pip install "
            "'skipspike[plots]'`"
        )


def draw(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``speed.svg`` and ``roofline.svg`` of a table of cores (with ``achieved``) to ``folder``, made anew.

    Raises SkipspikeError if the folder cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = table["rows"]
    lines = -(-len(rows) // _PANELS)
    with new_folder(folder) as partial, mpl.rc_context(rc=STYLE):
        speed = Figure(figsize=(7.2, 4.8), layout="constrained")
        _speed(speed.add_subplot(), rows)
        roofs = Figure(figsize=(3.1 * min(len(rows), _PANELS), 1.0 + 2.6 * lines), layout="constrained")
        grid = roofs.subplots(lines, min(len(rows), _PANELS), squeeze=False)
        for number, panel in enumerate(grid.flat):
            if number < len(rows):
                _roof(panel, rows[number], table["achieved"])
            else:
                panel.set_visible(False)
        for panel in grid[-1]:
            panel.set_xlabel("additions a weight read")
        handles, names = grid.flat[0].get_legend_handles_labels()
        roofs.legend(handles, names, loc="outside upper left", ncols=2)
        roofs.supylabel("GSOP/s: additions that spikes ask for", fontsize=10)
        for name, figure in (("speed", speed), ("roofline", roofs)):
            figure.savefig(partial / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return [folder / f"{name}.svg" for name in ("speed", "roofline")]


def _speed(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Peak speed against size, other systems beside it."""
    axes.set(xscale="log", yscale="log", xlim=(1e3, 1.2e5), ylim=(0.01, 400), xlabel="LUT (iCE40: logic cells)")
    axes.set_ylabel("peak GSOP/s, as if every value were not 0")
    for ratio in _RATIOS:
        ends = (1e3, 1.2e5)
        axes.plot(ends, [ratio * lut / 1000 for lut in ends], color=_FAINT, linewidth=1, zorder=1)
        start = 1.3e4 if ratio > 1 else 4.5e4
        axes.text(start, ratio * start / 850, f"{ratio:g} per 1,000 LUT", color=_OTHER, fontsize=8, rotation=16)
    for number, row in enumerate(rows):
        colour, left = _COLOURS.get(row["device"], _INK), row["family"] == "ecp5"
        axes.plot(row["lut"], row["gsops"], "o", color=colour, markersize=7, zorder=3)
        axes.annotate(
            row["shape"],
            (row["lut"], row["gsops"]),
            (-7 if left else 7, 3 if left or number % 2 == 0 else -11),
            textcoords="offset points",
            horizontalalignment="right" if left else "left",
            color=colour,
            fontsize=9,
        )
    for anchor in ANCHORS:
        if anchor.lut is not None and anchor.gsops is not None:
            place = (anchor.lut, anchor.gsops)
            axes.plot(*place, "x", color=_INK, markersize=7, zorder=3)
            axes.annotate(anchor.name, place, (7, -3), textcoords="offset points", color=_INK, fontsize=8)
    axes.grid(visible=False)


def _roof(axes: Axes, row: dict[str, Any], achieved: list[dict[str, Any]]) -> None:
    """One core: what its block RAMs' ports and its adders allow, and where networks are."""
    config = row["config"]
    weights = config["event_lanes"] * config["output_lanes"] * config["engines"] * row["fmax_hz"] / 1e9
    device = DEVICES[row["device"]]
    whole = device.brams * (device.bram_bits // config["weight_bits"]) * row["fmax_hz"] / 1e9
    span = (_LEAST, _MOST)
    axes.plot(span, [whole * x for x in span], ":", color=_OTHER, label="ports of all the device's block RAMs")
    axes.plot(span, [weights * x for x in span], "-", color="#0072b2", label="ports of the weight banks")
    axes.plot(span, [row["gsops"]] * 2, "-", color="#d55e00", label="adders: lanes x Fmax")
    points = [point for point in achieved if point["shape"] == row["shape"] and point["reason"] is None]
    for mark, point in zip(_MARKS, points, strict=False):
        axes.plot(
            point["spikes_a_weight"], point["gsops_spikes"], mark, color=_INK, markersize=5, label=point["network"]
        )
    lowest = min([row["gsops"] / 20, *(point["gsops_spikes"] for point in points)])
    axes.set(xscale="log", yscale="log", xlim=span, ylim=(lowest / 2, row["gsops"] * 3))
    axes.set_xticks([0.125, 0.5, 1, 2, 4, 8], ["1/8", "1/2", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_title(f"{row['shape']}: {row['gsops']:.1f} GSOP/s", loc="left", fontsize=9)
