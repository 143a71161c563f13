"""Draws the pictures of `model.md` into `docs/images` with the report's axes and colours: `python -m docs.pictures`."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import equipoise as eq
from equipoise.report.plot import Axis, Plot, linear_axis

__all__ = ["PICTURES", "draw"]

Floats = NDArray[np.float64]

IMAGES = Path(__file__).parent / "images"

PRICE, LEVERAGE, MARGIN = 27.11, 10.0, 397.49
CAPACITY = MARGIN * LEVERAGE / PRICE
DEPTH_BPS = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
PRICE_OF_RISK = 0.3 * (1e-4 * PRICE) ** 2 * 10
"""Risk aversion 0.3 per unit of currency, volatility 1e-4 per √second, horizon 10 s."""

WIDTH, PANEL = 720, 226
"""Of a picture, and of one of three beside each other, pixels."""

# A picture in a page is a document of its own: it does not see the page's style sheet, only what the reader prefers.
# The background is drawn so that it stays readable where the two disagree.
STYLE = """
svg { --card: #ffffff; --ink: #15181e; --soft: #59616f; --hair: #e2e4e9; --hair-strong: #b9bfca;
  --bid: #1d5fd1; --ask: #b8500a; --both: #0f766e; --exec: #6f7786; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { svg { --card: #161a21; --ink: #e9ecf2; --soft: #9da6b5; --hair: #272d38;
  --hair-strong: #4a5363; --bid: #78adff; --ask: #ffa264; --both: #4fd1bd; --exec: #8d96a6; } }
text { font: 11.5px Inter, "Segoe UI", system-ui, Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
text.note { fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
text.head { fill: var(--ink); font-weight: 600; }
text.bid { fill: var(--bid); } text.ask { fill: var(--ask); } text.both { fill: var(--both); }
path { fill: none; stroke-linejoin: round; }
.card { fill: var(--card); } .grid { stroke: var(--hair); } .axis { stroke: var(--hair-strong); }
.line { stroke: var(--ink); stroke-width: 1.6; } .line.both { stroke: var(--both); stroke-width: 2.2; }
.line.bid { stroke: var(--bid); stroke-width: 2; } .line.ask { stroke: var(--ask); stroke-width: 2; }
.line.rule { stroke-dasharray: 6 4; } .line.exec { stroke: var(--exec); stroke-dasharray: 2 3; }
.bar.bid { fill: var(--bid); } .bar.ask { fill: var(--ask); }
.dot { stroke-linecap: round; stroke-width: 7; }
.dot.bid { stroke: var(--bid); } .dot.ask { stroke: var(--ask); } .dot.both { stroke: var(--both); }
"""


def side(sign: int, position: float) -> eq.SideProblem:
    """One side of the worked check: bids with 1, asks with -1."""
    probability = 1 - np.exp(-0.3 * np.exp(-1500 * DEPTH_BPS / 1e4) * 10)
    return eq.SideProblem(
        probability * (DEPTH_BPS - 3 * np.exp(-DEPTH_BPS / 8) - 1.5) / 1e4 * PRICE,
        PRICE * (1 - sign * DEPTH_BPS / 1e4) / LEVERAGE,
        entropy_min=1.2,
        size_max=CAPACITY - sign * position,
        fill_probability=probability,
    )


def solved(position: float) -> eq.SidesResult:
    """The worked check at a position."""
    result = eq.solve_sides(
        side(1, position), side(-1, position), margin=MARGIN, inventory=eq.Inventory(position, PRICE_OF_RISK)
    )
    if result.status is not eq.SidesStatus.OPTIMAL:
        raise ValueError(f"position {position}: {result}")
    return result


def document(width: int, height: int, description: str, parts: list[str]) -> str:
    """A picture that stands alone."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{description}">\n<style>{STYLE}</style>\n'
        f'<rect class="card" width="{width}" height="{height}" rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def placed(plot: Plot, x: float, y: float, head: str = "") -> str:
    """One plot at a place of a document."""
    title = f'<text class="head" x="{x:g}" y="{y - 8:g}">{head}</text>' if head else ""
    inner = plot.svg("").replace("<svg ", f'<svg x="{x:g}" y="{y:g}" width="{plot.width}" height="{plot.height}" ', 1)
    return title + inner


def ladders() -> str:
    """Both ladders at three positions."""
    results = {position: solved(position) for position in (0.0, 40.0, 80.0)}
    top = max(max(r.bid_size.max(), r.ask_size.max()) for r in results.values())
    levels = len(DEPTH_BPS)
    # Bids outward to the left of the mid, asks outward to the right.
    places = {1: [-0.5 - i for i in range(levels)], -1: [0.5 + i for i in range(levels)]}
    ticks = tuple((at, f"{depth:g}") for sign in (1, -1) for at, depth in zip(places[sign], DEPTH_BPS, strict=True))
    x = Axis(-levels - 0.2, levels + 0.2, tuple(sorted(ticks)), "depth, bps from the mid")
    y = linear_axis([top], "size, contracts", include=[0.0], count=5, pad=0.14)
    width, height, parts = PANEL, 250, []
    for index, (position, result) in enumerate(results.items()):
        plot = Plot(width, height, x, y, f"Ladders at position {position:g}.")
        for sign, sizes, css in ((1, result.bid_size, "bid"), (-1, result.ask_size, "ask")):
            for at, size in zip(places[sign], sizes, strict=True):
                plot.bar(at - 0.42, at + 0.42, 0.0, float(size), f"bar {css}")
            total = float(sizes.sum())
            middle = plot.px(-levels / 2 if sign == 1 else levels / 2)
            words = f"{'bids' if sign == 1 else 'asks'} {total if total > 1e-6 else 0:.2f}"
            plot.text(middle, plot.top + 8, words, f"note {css}", "middle")
        parts.append(placed(plot, 14 + index * (width + 8), 40, f"q = {position:g}"))
    return document(WIDTH, height + 56, "Sizes of bids and asks by level at positions 0, 40 and 80.", parts)


def lean() -> str:
    """The asks' part of all size along the position, beside the rule of the split."""
    positions = np.linspace(-140.0, 140.0, 281)
    asks, rule = [], []
    for position in positions:
        result = solved(float(position))
        bid, ask = result.bid_size.sum(), result.ask_size.sum()
        asks.append(float(ask / (bid + ask)))
        rule.append(float(np.clip(0.5 + 0.2 * np.clip(position / CAPACITY, -1, 1), 0.3, 0.7)))
    plot = Plot(
        WIDTH - 28,
        300,
        linear_axis(positions, "position q, contracts", count=8, pad=0.0),
        linear_axis([0.0, 1.0], "asks' part of all size", count=5, include=[0.0, 1.0]),
        "Asks' part of all size against the position.",
    )
    plot.line(positions.tolist(), rule, "line rule")
    plot.line(positions.tolist(), asks, "line both")
    known = np.array([0.0, 40.0, 80.0])
    plot.marks(known, np.interp(known, positions, asks), "dot", "dot both")
    plot.text(plot.px(26), plot.py(0.86), "joint optimum", "note both", "end")
    plot.text(plot.px(104), plot.py(0.53), "rule 0.5 + 0.2 r", "note", "middle")
    return document(
        WIDTH,
        330,
        "The joint optimum leans from no asks to nothing but asks; the rule from 0.3 to 0.7.",
        [placed(plot, 14, 18)],
    )


def prices() -> str:
    """What one more unit of margin and of position is worth along the position."""
    positions = np.linspace(-140.0, 140.0, 281)
    results = [solved(float(position)) for position in positions]
    x = linear_axis(positions, "position q, contracts", count=8, pad=0.0)
    margin = [1e4 * result.margin_price[0] for result in results]
    inventory = [1e4 * result.inventory_price for result in results]
    both = Plot(WIDTH - 28, 200, x, linear_axis(margin, "margin_price μ, 1e-4 per unit of margin", count=4), "Margin.")
    held = Plot(
        WIDTH - 28,
        220,
        x,
        linear_axis(
            [*inventory, *(1e4 * PRICE_OF_RISK * positions)], "price of inventory ν, 1e-4 per contract", count=5
        ),
        "Position.",
    )
    both.left = held.left = max(both.left, held.left)
    both.line(positions.tolist(), margin, "line both")
    held.line(positions.tolist(), (1e4 * PRICE_OF_RISK * positions).tolist(), "line rule")
    held.line(positions.tolist(), inventory, "line both")
    held.text(held.px(60), held.py(1e4 * PRICE_OF_RISK * 78), "η q: no orders", "note", "end")
    held.text(held.px(30), held.py(-5.0), "ν at the optimum", "note both")
    return document(
        WIDTH,
        470,
        "Price of margin and price of inventory against the position.",
        [placed(both, 14, 18), placed(held, 14, 236)],
    )


@dataclass(frozen=True)
class Unit:
    """Value, margin and signed fills of one unit of a side's best shape, and the side's largest total."""

    value: float
    margin: float
    fill: float
    size_max: float


def shape(problem: eq.SideProblem, sign: int, price: float, inventory: float) -> Unit:
    """The best shape of one side at given prices."""
    fill = sign * problem.fill_probability
    weights = problem.utility - price * problem.margin_per_unit - inventory * fill
    share = eq.solve_side(weights, entropy_min=problem.entropy_min).share
    value, margin, fills = (float(share @ row) for row in (problem.utility, problem.margin_per_unit, fill))
    return Unit(value, margin, fills, problem.size_max)


def totals(bid: Unit, ask: Unit, position: float) -> tuple[float, float, float]:
    """Objective, price of margin and price of inventory of the best totals at given shapes.

    Two variables and five limits: every set of at most two active limits is tried.
    """
    value, fill = np.array([bid.value, ask.value]), np.array([bid.fill, ask.fill])
    rows = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [bid.margin, ask.margin]])
    limits = np.array([0.0, 0.0, bid.size_max, ask.size_max, MARGIN])
    best = (-np.inf, 0.0, 0.0)
    for active in itertools.chain(((i,) for i in range(5)), itertools.combinations(range(5), 2)):
        held = rows[list(active)]
        count = len(active)
        system = np.block([[PRICE_OF_RISK * np.outer(fill, fill), held.T], [held, np.zeros((count, count))]])
        if abs(np.linalg.det(system)) < 1e-14:
            continue
        right = np.concatenate([value - PRICE_OF_RISK * position * fill, limits[list(active)]])
        solution = np.linalg.solve(system, right)
        size, price = solution[:2], solution[2:]
        if (rows @ size <= limits + 1e-9).all() and (price >= -1e-12).all():
            expected = position + float(fill @ size)
            objective = float(value @ size) - 0.5 * PRICE_OF_RISK * expected**2
            if objective > best[0]:
                best = (objective, float(price[active.index(4)]) if 4 in active else 0.0, PRICE_OF_RISK * expected)
    return best


def rounds(position: float) -> list[tuple[float, float]]:
    """Objective from below and bound from above, round by round, until they meet."""
    bid, ask = side(1, position), side(-1, position)
    price, inventory = 0.0, PRICE_OF_RISK * position
    found: list[tuple[float, float]] = []
    for _ in range(10):
        units = (shape(bid, 1, price, inventory), shape(ask, -1, price, inventory))
        objective, *following = totals(*units, position)
        worth = sum(max(0.0, u.value - price * u.margin - inventory * u.fill) * u.size_max for u in units)
        bound = price * MARGIN + inventory**2 / (2 * PRICE_OF_RISK) - inventory * position + worth
        found.append((objective, bound))
        if bound - objective <= 1e-11 * abs(objective):
            break
        price, inventory = following
    return found


def bracket() -> str:
    """The quick search closes its bracket."""
    width, height, parts = PANEL, 250, []
    every = {position: rounds(position) for position in (0.0, 40.0, 80.0)}
    floor = 1e-14
    y_ticks = tuple((float(power), f"1e{power}".replace("-", "\N{MINUS SIGN}")) for power in range(-14, 2, 2))
    y = Axis(-14.3, 1.5, y_ticks, "distance from the optimum")
    most = max(map(len, every.values()))
    x = Axis(0.8, most + 0.2, tuple((float(i), str(i)) for i in range(1, most + 1)), "round")
    for index, (position, found) in enumerate(every.items()):
        best = solved(position).objective
        plot = Plot(width, height, x, y, f"Bracket at position {position:g}.")
        at = np.arange(1.0, len(found) + 1)
        below = np.log10([max(best - objective, floor) / abs(best) for objective, _ in found])
        above = np.log10([max(bound - best, floor) / abs(best) for _, bound in found])
        plot.line([1.0, float(most)], [-11.0, -11.0], "line rule")
        for values, css in ((above, "ask"), (below, "bid")):
            plot.line(at.tolist(), values.tolist(), f"line {css}")
            plot.marks(at, values, "dot", f"dot {css}")
        if index == 0:
            plot.text(plot.px(most), plot.py(-2.0), "bound − optimum", "note ask", "end")
            plot.text(plot.px(most), plot.py(-3.6), "optimum − ladders", "note bid", "end")
            plot.text(plot.px(most), plot.py(-10.8), "closed", "note", "end")
        parts.append(placed(plot, 14 + index * (width + 8), 40, f"q = {position:g}"))
    return document(
        WIDTH, height + 56, "Distance of the bound and of the ladder from the optimum, round by round.", parts
    )


PICTURES = {"ladders": ladders, "lean": lean, "prices": prices, "bracket": bracket}


def draw(folder: Path = IMAGES) -> None:
    """Writes every picture."""
    for name, picture in PICTURES.items():
        (folder / f"{name}.svg").write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    draw(parser.parse_args().out)
