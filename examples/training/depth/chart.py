"""A plain SVG line chart: panels in a grid, each with axes, a grid and curves; a legend under each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 380, 200
_LEFT, _TOP, _GAP_X, _GAP_Y = 52, 40, 68, 44
_LEGEND_ROW, _BELOW = 18, 44
_INK, _FAINT = "#333", "#ddd"


@dataclass(frozen=True)
class Curve:
    """``y`` over ``x``; ``dashed`` and ``colour`` (CSS) tell curves apart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False

    @property
    def style(self) -> str:
        dash = ' stroke-dasharray="5 4"' if self.dashed else ""
        return f'fill="none" stroke="{self.colour}" stroke-width="2" stroke-linejoin="round"{dash}'


@dataclass(frozen=True)
class Panel:
    """One set of axes from 0 to ``x_max`` and 0 to ``y_max``, with a tick every ``x_tick`` and ``y_tick``."""

    title: str
    x_label: str
    y_label: str
    x_max: float
    y_max: float
    x_tick: float
    y_tick: float
    curves: Sequence[Curve]


def chart(rows: Sequence[Sequence[Panel]]) -> str:
    """The SVG of a grid of panels; each column's legend names the curves of its first panel."""
    columns = len(rows[0])
    legend = max(len(panel.curves) for panel in rows[0]) * _LEGEND_ROW
    width = _LEFT + columns * _WIDTH + (columns - 1) * _GAP_X + 16
    bottom = _TOP + len(rows) * _HEIGHT + (len(rows) - 1) * _GAP_Y
    height = bottom + _BELOW + legend
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            left, top = _LEFT + column * (_WIDTH + _GAP_X), _TOP + row * (_HEIGHT + _GAP_Y)
            parts += _panel(panel, left, top, last=row == len(rows) - 1)
    for column, panel in enumerate(rows[0]):
        parts += _legend(panel.curves, _LEFT + column * (_WIDTH + _GAP_X), bottom + _BELOW)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: int, top: int, *, last: bool) -> list[str]:
    def place(x: float, y: float) -> tuple[float, float]:
        return left + _WIDTH * x / panel.x_max, top + _HEIGHT * (1 - y / panel.y_max)

    parts: list[str] = []
    if panel.title:
        parts.append(_text(left, top - 14, panel.title, 'font-weight="bold" font-size="13"'))
    for index in range(round(panel.y_max / panel.y_tick) + 1):
        _, y = place(0, index * panel.y_tick)
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="{_FAINT}"/>')
        parts.append(_text(left - 6, y + 4, f"{index * panel.y_tick:g}", 'text-anchor="end"'))
    for index in range(round(panel.x_max / panel.x_tick) + 1):
        x, _ = place(index * panel.x_tick, 0)
        parts.append(f'<path d="M{x:.1f} {top + _HEIGHT}v4" stroke="{_INK}"/>')
        parts.append(_text(x, top + _HEIGHT + 17, f"{index * panel.x_tick:g}", 'text-anchor="middle"'))
    parts.append(f'<path d="M{left} {top}v{_HEIGHT}h{_WIDTH}" fill="none" stroke="{_INK}"/>')
    middle = top + _HEIGHT / 2
    turned = f'text-anchor="middle" transform="rotate(-90 {left - 38} {middle})"'
    parts.append(_text(left - 38, middle, panel.y_label, turned))
    if last:
        parts.append(_text(left + _WIDTH / 2, top + _HEIGHT + 33, panel.x_label, 'text-anchor="middle"'))
    for curve in panel.curves:
        points = (place(x, y) for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline {curve.style} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
    return parts


def _legend(curves: Sequence[Curve], left: int, top: int) -> list[str]:
    parts: list[str] = []
    for index, curve in enumerate(curves):
        y = top + index * _LEGEND_ROW + 8
        parts.append(f'<path {curve.style} d="M{left} {y}h30"/>')
        parts.append(_text(left + 38, y + 4, curve.label, ""))
    return parts


def _text(x: float, y: float, words: str, attributes: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{_INK}" {attributes}>{escape(words)}</text>'
