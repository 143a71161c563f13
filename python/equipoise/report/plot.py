"""Pictures as SVG: axes that read well, step lines, areas, marks. Colours and dashes come from page.css by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.report.series import envelope
from equipoise.report.text import clock, escape, number

__all__ = ["Axis", "Plot", "linear_axis", "log_axis", "time_axis"]

Floats = NDArray[np.float64]

LABEL_WIDTH = 7.0
"""Widest mean advance of a digit at the label size, pixels."""

LABEL_GAP = 14.0
CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Axis:
    """A range, its ticks with labels, and the title with the unit."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str
    is_log: bool = False

    def share(self, value: float) -> float:
        """Position of a value on the axis, 0 at the low end and 1 at the high end."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _range(values: Iterable[float], include: Sequence[float], pad: float) -> tuple[float, float]:
    known = [value for value in (*values, *include) if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(high) * 0.01 or 1.0
        return low - room, high + room
    room = (high - low) * pad
    return low - (0.0 if low in include else room), high + (0.0 if high in include else room)


def linear_axis(
    values: Iterable[float], title: str, *, count: int = 5, include: Sequence[float] = (), pad: float = 0.06
) -> Axis:
    """An axis over the values and everything in `include`, with about `count` round ticks.

    An included value at an end gets no room beyond it: an axis from zero starts at zero.
    """
    low, high = _range(values, include, pad)
    step = _round_step((high - low) / max(count, 1))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple((index * step, number(index * step, digits)) for index in range(first, last + 1))
    return Axis(low, high, ticks, title)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))


def time_axis(low: float, high: float, title: str, *, width: float) -> Axis:
    """An axis of seconds, labelled as m:ss or h:mm:ss, as many labels as fit the width."""
    widest = LABEL_WIDTH * len(clock(high)) + 2 * LABEL_GAP
    room = max(2.0, width / widest)
    span = high - low
    step = next((float(s) for s in CLOCK_STEPS if span / s <= room), 86400.0 * math.ceil(span / room / 86400))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple((i * step, clock(i * step)) for i in range(first, last + 1)), title)


def log_axis(low: float, high: float, title: str, *, count: int) -> Axis:
    """A logarithmic axis over a positive range, ticks at 1, 2 and 5 times powers of ten, at most about `count`."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) <= count:
            break
    return Axis(
        low,
        high,
        tuple((value, number(value, max(0, -math.floor(math.log10(value) + 1e-9)))) for value in inside),
        title,
        True,
    )


def _n(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")


class Plot:
    """One picture being drawn. Methods add marks; `svg` closes it.

    Parameters
    ----------
    width, height
        Size in CSS pixels at which the text is as large as the page's small print.
    x, y
        Axes.
    description
        What the picture shows, with its figures, for people who do not see it.
    """

    def __init__(self, width: int, height: int, x: Axis, y: Axis, description: str) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        self.left = 10.0 + LABEL_WIDTH * max((len(label) for _, label in y.ticks), default=0)
        self.right = width - 12.0
        self.top, self.bottom = 26.0, height - 40.0
        self._description = description
        self._marks: list[str] = []

    def px(self, value: float) -> float:
        """Horizontal pixel of a value."""
        return self.left + self.x.share(value) * (self.right - self.left)

    def py(self, value: float) -> float:
        """Vertical pixel of a value."""
        return self.bottom - self.y.share(value) * (self.bottom - self.top)

    @property
    def columns(self) -> int:
        """Pixel columns of the drawing area."""
        return max(1, int(self.right - self.left))

    def path(self, d: str, css: str, name: str = "") -> None:
        """A raw path; `name` makes it readable under the pointer."""
        if d:
            label = f' data-name="{escape(name)}"' if name else ""
            self._marks.append(f'<path class="{css}" d="{d}"{label}/>')

    def steps(self, x: Floats, y: Floats, css: str, name: str = "") -> None:
        """A line that holds each value until the next, thinned to the pixel columns."""
        parts = []
        for run_x, run_y in envelope(x, y, self.x.low, self.x.high, self.columns):
            last_y = _n(self.py(run_y[0]))
            part = [f"M{_n(self.px(run_x[0]))} {last_y}h0"]
            for at, value in zip(run_x[1:], run_y[1:], strict=True):
                here = _n(self.py(value))
                if here != last_y:
                    part.append(f"H{_n(self.px(at))}V{here}")
                    last_y = here
            if len(run_x) > 1:
                part.append(f"H{_n(self.px(run_x[-1]))}")
            parts.append("".join(part))
        self.path("".join(parts), css, name)

    def line(self, x: Sequence[float], y: Sequence[float], css: str, name: str = "") -> None:
        """Straight segments through the points; NaN breaks the line."""
        parts, pen = [], "M"
        for at, value in zip(x, y, strict=True):
            if math.isfinite(value) and math.isfinite(at):
                parts.append(f"{pen}{_n(self.px(at))} {_n(self.py(value))}")
                pen = "L"
            else:
                pen = "M"
        self.path("".join(parts), css, name)

    def band(self, x: Floats, low: Floats, high: Floats, css: str) -> None:
        """The area between two step lines over the same positions, broken where either is unknown."""
        known = np.isfinite(low) & np.isfinite(high)
        edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(np.int8)))
        parts = []
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            ahead = self._stairs(x[a:b], high[a:b])
            back = self._stairs(x[a:b], low[a:b])[::-1]
            points = [*ahead, *back]
            parts.append("M" + "L".join(f"{_n(px)} {_n(py)}" for px, py in points) + "Z")
        self.path("".join(parts), css)

    def _stairs(self, x: Floats, y: Floats) -> list[tuple[float, float]]:
        points: list[tuple[float, float]] = []
        for at, value in zip(x, y, strict=True):
            px, py = self.px(at), self.py(value)
            if points and points[-1][1] != py:
                points.append((px, points[-1][1]))
                points.append((px, py))
            elif not points:
                points.append((px, py))
        end = self.px(x[-1])
        if points[-1][0] != end:
            points.append((end, points[-1][1]))
        return points

    def marks(self, x: Floats, y: Floats, shape: str, css: str, size: float = 3.5) -> None:
        """Marks at points, those within half a pixel of another drawn once. Shapes: dot, up, down."""
        seen: set[tuple[int, int]] = set()
        parts = []
        for at, value in zip(x, y, strict=True):
            if not (math.isfinite(at) and math.isfinite(value)):
                continue
            px, py = self.px(at), self.py(value)
            cell = (round(px * 2), round(py * 2))
            if cell not in seen:
                seen.add(cell)
                parts.append(_mark(px, py, shape, size))
        self.path("".join(parts), css)

    def bar(self, low: float, high: float, base: float, value: float, css: str) -> None:
        """A bar over [low, high] of the horizontal axis, from base to value."""
        left, right = self.px(low), self.px(high)
        top, bottom = sorted((self.py(base), self.py(value)))
        gap = min(1.0, (right - left) * 0.15)
        self.path(f"M{_n(left + gap)} {_n(bottom)}V{_n(top)}H{_n(right - gap)}V{_n(bottom)}Z", css)

    def level(self, value: float, css: str, text: str = "", *, above: bool = True) -> None:
        """A horizontal line across the picture, with words at its right end."""
        if not (math.isfinite(value) and self.y.low <= value <= self.y.high):
            return
        y = self.py(value)
        self.path(f"M{_n(self.left)} {_n(y)}H{_n(self.right)}", css)
        if text:
            self.text(self.right - 2, y - 5 if above else y + 14, text, "note", "end")

    def upright(self, value: float, css: str, text: str = "", anchor: str = "middle") -> None:
        """A vertical line across the picture, with words above it."""
        if not (math.isfinite(value) and self.x.low <= value <= self.x.high):
            return
        x = self.px(value)
        self.path(f"M{_n(x)} {_n(self.top)}V{_n(self.bottom)}", css)
        if text:
            self.text(x, self.top - 5, text, "note", anchor)

    def text(self, x: float, y: float, words: str, css: str = "note", anchor: str = "start") -> None:
        """Words at a pixel."""
        self._marks.append(f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}</text>')

    def _grid(self) -> str:
        parts = []
        for value, label in self.y.ticks:
            y = self.py(value)
            css = "axis" if value == 0 else "grid"
            parts.append(f'<path class="{css}" d="M{_n(self.left)} {_n(y)}H{_n(self.right)}"/>')
            parts.append(f'<text class="tick" x="{_n(self.left - 6)}" y="{_n(y + 4)}" text-anchor="end">{label}</text>')
        used = -math.inf
        for value, label in self.x.ticks:
            x = self.px(value)
            half = LABEL_WIDTH * len(label) / 2
            centre = min(max(x, half), self.width - half)
            parts.append(f'<path class="grid" d="M{_n(x)} {_n(self.bottom)}v5"/>')
            if centre - half >= used + 4:
                used = centre + half
                place = f'x="{_n(centre)}" y="{_n(self.bottom + 17)}"'
                parts.append(f'<text class="tick" {place} text-anchor="middle">{label}</text>')
        parts.append(f'<path class="axis" d="M{_n(self.left)} {_n(self.bottom)}H{_n(self.right)}"/>')
        parts.append(f'<text class="unit" x="0" y="13">{escape(self.y.title)}</text>')
        parts.append(
            f'<text class="unit" x="{_n(self.right)}" y="{_n(self.height - 6)}" text-anchor="end">'
            f"{escape(self.x.title)}</text>"
        )
        return "".join(parts)

    def svg(self, css: str) -> str:
        """The picture as one element that scales with its place."""
        frame = " ".join(_n(edge) for edge in (self.left, self.right, self.top, self.bottom))
        edges = (self.x.low, self.x.high, self.y.low, self.y.high)
        ranges = " ".join(repr(float(edge)) for edge in edges)
        return (
            f'<svg class="plot {css}" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self._description)}" data-frame="{frame}" data-range="{ranges}">'
            f"{self._grid()}{''.join(self._marks)}</svg>"
        )


def _mark(x: float, y: float, shape: str, size: float) -> str:
    if shape == "dot":
        return f"M{_n(x)} {_n(y)}h0"
    half, tall = _n(size), _n(size * 1.7)
    if shape == "up":
        return f"M{_n(x - size)} {_n(y + size * 0.85)}h{_n(2 * size)}l-{half}-{tall}z"
    return f"M{_n(x - size)} {_n(y - size * 0.85)}h{_n(2 * size)}l-{half} {tall}z"
