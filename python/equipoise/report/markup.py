"""The building blocks of the page: figures with their legends and tables, sections, cards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.report.plot import Plot
from equipoise.report.series import Run
from equipoise.report.text import clock, escape, significant

__all__ = ["Key", "card", "figure", "nothing", "section", "slices", "table"]

Floats = NDArray[np.float64]
Draw = Callable[[int], Plot]

WIDE = (("wide", 1110), ("mid", 640), ("slim", 340))
HALF = (("half", 530), ("slim", 340))
SLICES = 12


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: how the thing is drawn (line, fill, dot, up, down) and what it is called."""

    shape: str
    css: str
    words: str

    def html(self) -> str:
        """The entry with a small sample of the line or mark."""
        samples = {
            "line": f'<path class="line {self.css}" d="M0 6H28"/>',
            "fill": f'<path class="fill {self.css}" d="M1 1H27V11H1Z"/>',
            "dot": f'<path class="dot {self.css}" d="M14 6h0"/>',
            "up": f'<path class="mark {self.css}" d="M10 9h8l-4-7z"/>',
            "down": f'<path class="mark {self.css}" d="M10 3h8l-4 7z"/>',
            "order": f'<path class="order s3 {self.css}" d="M0 6H28"/>',
        }
        return f'<li><svg viewBox="0 0 28 12" aria-hidden="true">{samples[self.shape]}</svg>{escape(self.words)}</li>'


def figure(
    title: str, subtitle: str, draw: Draw, *, keys: Sequence[Key] = (), alternative: str = "", wide: bool = True
) -> str:
    """A picture at each width it is shown at, its legend, and the same figures as a table.

    `draw` is called with the width in pixels; only the picture that fits is displayed, and read out.
    """
    pictures = "".join(draw(width).svg(css) for css, width in (WIDE if wide else HALF))
    legend = f'<ul class="legend">{"".join(key.html() for key in keys)}</ul>' if keys else ""
    details = f"<details><summary>Figures as a table</summary>{alternative}</details>" if alternative else ""
    return (
        f"<figure{' class=wide' if wide else ''}><figcaption><h3>{escape(title)}</h3><p>{escape(subtitle)}</p>{legend}"
        f'</figcaption>{pictures}<div class="readout" aria-hidden="true"></div>{details}</figure>'
    )


def nothing(words: str) -> str:
    """What stands where a picture would, when there is nothing to draw."""
    return f'<figure class="wide"><div class="nothing">{escape(words)}</div></figure>'


def section(name: str, heading: str, lead: str, *content: str) -> str:
    """A part of the page with its heading and one plain sentence or two."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{escape(heading)}</h2>'
        f"<p>{escape(lead)}</p>{''.join(content)}</section>"
    )


def card(name: str, value: str, unit: str, more: str) -> str:
    """One figure of the summary."""
    small = f" <small>{escape(unit)}</small>" if unit else ""
    return (
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}{small}</div>'
        f'<div class="more">{escape(more)}</div></div>'
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, words: Sequence[int] = (), tall: bool = False
) -> str:
    """A table whose first column names the row; columns in `words` hold text, the others figures."""

    def cell(index: int, value: str) -> str:
        if index == 0:
            return f'<th scope="row">{escape(value)}</th>'
        css = ' class="words"' if index in words else ""
        css = f' class="side {value}"' if value in {"bid", "ask"} else css
        return f"<td{css}>{escape(value)}</td>"

    headings = "".join(
        f'<th scope="col"{" class=words" if index in words else ""}>{escape(name)}</th>'
        for index, name in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(cell(i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def slices(run: Run, series: Sequence[tuple[str, Floats]], caption: str) -> str:
    """Series as a table of least and greatest value over equal stretches of time."""
    if run.time.size == 0:
        return ""
    low, high = float(run.time[0]), float(run.time[-1])
    count = min(SLICES, run.time.size)
    edges = np.linspace(low, high, count + 1)
    place = np.clip(np.searchsorted(edges, run.time, side="right") - 1, 0, count - 1)
    rows = []
    for index in range(count):
        chosen = place == index
        cells = [f"{clock(float(edges[index]))} to {clock(float(edges[index + 1]))}"]
        for _, values in series:
            part = values[chosen & np.isfinite(values)]
            cells.append(f"{significant(float(part.min()))} … {significant(float(part.max()))}" if part.size else "–")
        rows.append(cells)
    return table(["Time", *(name for name, _ in series)], rows, caption=f"{caption}: least … greatest")
