"""The pictures of the report, one function each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from equipoise.orders import Side
from equipoise.report.markup import Key, figure, nothing, slices, table
from equipoise.report.plot import Axis, Plot, linear_axis, log_axis, time_axis
from equipoise.report.series import (
    HORIZONS_S,
    Markouts,
    Run,
    columns_at_peak,
    idle_share,
    quantile,
    time_mean,
)
from equipoise.report.text import clock, integer, number, plain, significant

__all__ = [
    "entropy",
    "equity",
    "idle",
    "inventory",
    "ladder_close",
    "ladder_last",
    "margin",
    "market",
    "markout_curve",
    "positions",
    "quote_time",
    "split_weight",
    "spread_parts",
    "unrealised",
]

Floats = NDArray[np.float64]
TIME = "time since the start"
BINS_A_DECADE = 20


def _known(*series: Floats) -> bool:
    return any(bool(np.isfinite(values).any()) for values in series)


def _extent(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)


def _span_words(name: str, values: Floats, unit: str) -> str:
    low, high = _extent(values)
    if not math.isfinite(low):
        return f"{name} is not known."
    known = values[np.isfinite(values)]
    start, end = f"{significant(float(known[0]))} {unit}".strip(), significant(float(known[-1]))
    return f"{name} starts at {start}, ends at {end}, least {significant(low)}, greatest {significant(high)}."


def _over_time(run: Run, width: int, height: int, y: Axis, description: str, draw: Callable[[Plot], None]) -> Plot:
    span = run.span()
    plot = Plot(width, height, time_axis(*span, TIME, width=width - 70), y, description)
    draw(plot)
    return plot


def _rows(height: int) -> int:
    return max(3, height // 52)


def _concat(arrays: Iterable[Floats]) -> list[float]:
    return [edge for values in arrays for edge in _extent(values)]


def market(run: Run) -> str:
    """The mid, our fills on it, and the reach of the ladder around it."""
    mid = run["mid"]
    if not _known(mid):
        return nothing("The record holds no mid price.")
    at = run.fill_seconds()
    price = np.array([fill.price for fill in run.fills], dtype=np.float64)
    is_bid = np.array([fill.side is Side.BID for fill in run.fills], dtype=np.bool_)
    words = (
        _span_words("The mid", mid, "") + f" {integer(float(is_bid.sum()))} bids and {integer(float((~is_bid).sum()))}"
        " asks were filled."
    )

    def draw(width: int) -> Plot:
        y = linear_axis([*_extent(mid), *price], "price, quote currency", count=5, pad=0.04)

        def paint(plot: Plot) -> None:
            plot.steps(run.time, mid, "line market", "mid")
            plot.marks(at[is_bid], price[is_bid], "up", "mark bid")
            plot.marks(at[~is_bid], price[~is_bid], "down", "mark ask")

        return _over_time(run, width, 330 if width > 400 else 260, y, words, paint)

    keys = [
        Key("line", "market", "mid"),
        Key("up", "bid", "bid filled (bought)"),
        Key("down", "ask", "ask filled (sold)"),
    ]
    return figure(
        "Market and fills",
        "The mid with every fill at its price.",
        draw,
        keys=keys,
        alternative=slices(run, [("Mid", mid)], "Mid price"),
    )


def _busiest(run: Run, length: int) -> slice:
    """The stretch of `length` samples with most fills, the earliest of equals."""
    if run.time.size <= length:
        return slice(0, run.time.size)
    place = np.clip(np.searchsorted(run.time, run.fill_seconds(), side="right") - 1, 0, run.time.size - 1)
    counts = np.bincount(place, minlength=run.time.size)
    total = np.r_[0, np.cumsum(counts)]
    start = int(np.argmax(total[length:] - total[:-length]))
    return slice(start, start + length)


def ladder_close(run: Run) -> str:
    """Every order of a short stretch, drawn at its price for as long as it stood."""
    if not run.has_ladders:
        return ""
    at = run.fill_seconds()
    price = np.array([fill.price for fill in run.fills], dtype=np.float64)
    is_bid = np.array([fill.side is Side.BID for fill in run.fills], dtype=np.bool_)

    def draw(width: int) -> Plot:
        window = _busiest(run, 140 if width > 700 else 80 if width > 400 else 45)
        time = run.time[window]
        usual = float(np.median(np.diff(time))) if time.size > 1 else 1.0
        ends = np.minimum(np.r_[time[1:], time[-1] + usual], time + max(3 * usual, 1e-9))
        low, high = float(time[0]), float(ends[-1])
        prices = [run.ladders[f"{side}_price"][window] for side in ("bid", "ask")]
        sizes = [run.ladders[f"{side}_size"][window] for side in ("bid", "ask")]
        greatest = max((edge for edge in _concat(sizes) if edge > 0), default=1.0)
        inside = (at >= low) & (at <= high)
        y = linear_axis(_concat([*prices, run["mid"][window], price[inside]]), "price, quote currency", count=6)
        words = (
            f"{integer(time.size)} ladders between {clock(low)} and {clock(high)}, "
            f"{integer(float(inside.sum()))} fills among them."
        )
        x = time_axis(low, high, TIME, width=width - 70)
        plot = Plot(width, 360 if width > 400 else 320, x, y, words)
        for side, rows, size in zip(("bid", "ask"), prices, sizes, strict=True):
            _orders(plot, time, ends, rows, size / greatest, side)
        plot.steps(time, run["mid"][window], "line market", "mid")
        plot.marks(at[inside & is_bid], price[inside & is_bid], "up", "mark bid", 5)
        plot.marks(at[inside & ~is_bid], price[inside & ~is_bid], "down", "mark ask", 5)
        return plot

    return figure(
        "The ladder over the market, close",
        "The stretch with most fills. Each line is an order at its price until the next quote; thicker is larger.",
        draw,
        keys=[
            Key("order", "bid", "bids"),
            Key("order", "ask", "asks"),
            Key("line", "market", "mid"),
            Key("up", "bid", "bought"),
            Key("down", "ask", "sold"),
        ],
    )


def _orders(plot: Plot, start: Floats, end: Floats, prices: Floats, weight: Floats, side: str) -> None:
    """Orders as horizontal strokes in four thicknesses; one that stays as it was is one stroke."""
    strokes: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    for level in range(prices.shape[1]):
        open_at: tuple[float, float, int] | None = None
        for row in range(len(start) + 1):
            here = None
            if row < len(start) and np.isfinite(prices[row, level]):
                size = weight[row, level]
                thickness = 1 + min(3, int(4 * size)) if math.isfinite(size) else 1
                here = (float(prices[row, level]), thickness)
            unbroken = row < len(start) and row > 0 and start[row] <= end[row - 1]
            if open_at and (here != open_at[1:] or not unbroken):
                x0, x1, y = plot.px(open_at[0]), plot.px(float(end[row - 1])), plot.py(open_at[1])
                strokes[open_at[2]].append(f"M{x0:.1f} {y:.1f}H{x1:.1f}")
                open_at = None
            if here and open_at is None:
                open_at = (float(start[row]), *here)
    for thickness, parts in strokes.items():
        plot.path("".join(parts), f"order {side} s{thickness}")


def ladder_last(run: Run) -> str:
    """The last ladder: size at each price."""
    if not run.has_ladders:
        return ""
    placed = np.isfinite(run.ladders["bid_price"]).any(axis=1) | np.isfinite(run.ladders["ask_price"]).any(axis=1)
    last = int(np.flatnonzero(placed)[-1])
    levels: list[tuple[str, float, float]] = []
    for side in ("bid", "ask"):
        pairs = zip(run.ladders[f"{side}_price"][last], run.ladders[f"{side}_size"][last], strict=True)
        levels += [(side, float(p), float(s)) for p, s in pairs if math.isfinite(p) and math.isfinite(s)]
    levels.sort(key=lambda level: level[1])
    prices = [price for _, price, _ in levels]
    mid = float(run["mid"][last])
    gaps = np.diff(prices)
    gap = float(gaps[gaps > 0].min()) if (gaps > 0).any() else abs(prices[0]) * 1e-4 or 1.0
    words = f"{integer(len(levels))} orders at {clock(float(run.time[last]))}, mid {significant(mid, 7)}."

    def draw(width: int) -> Plot:
        half = max(gap, (prices[-1] - prices[0]) / 60) * 0.4
        x = linear_axis(
            [prices[0] - half, prices[-1] + half, mid], "price, quote currency", count=width // 110, pad=0.02
        )
        y = linear_axis([size for _, _, size in levels], "contracts", include=(0.0,), count=5)
        plot = Plot(width, 260, x, y, words)
        for side, price, size in levels:
            plot.bar(price - half, price + half, 0.0, size, f"fill {side}")
        plot.upright(mid, "line floor", "mid")
        return plot

    return figure(
        "Last ladder",
        "Size of each order at its price.",
        draw,
        keys=[Key("fill", "bid", "bids"), Key("fill", "ask", "asks")],
        alternative=table(
            ["Price", "Side", "Contracts", "From the mid, bps"],
            (
                [plain(price), side, plain(size), number(abs(price / mid - 1) * 1e4 if mid else math.nan, 2)]
                for side, price, size in levels
            ),
            caption="Orders of the last ladder",
        ),
        wide=False,
    )


def equity(run: Run) -> str:
    """Equity and balance over time."""
    total, balance = run["equity"], run["balance"]
    if not _known(total, balance):
        return nothing("The record holds no equity.")
    unit = run.record.currency
    words = _span_words("Equity", total, unit) + " " + _span_words("Balance", balance, unit)

    def draw(width: int) -> Plot:
        y = linear_axis(_concat([total, balance]), unit, count=5)

        def paint(plot: Plot) -> None:
            plot.level(run.record.balance_start, "grid", "")
            plot.steps(run.time, balance, "line exec", "balance")
            plot.steps(run.time, total, "line both", "equity")

        return _over_time(run, width, 280 if width > 400 else 240, y, words, paint)

    return figure(
        "Equity and balance",
        "Equity is the balance (realised, fees paid) plus what the position would bring at mark.",
        draw,
        keys=[Key("line", "both", "equity"), Key("line", "exec", "balance")],
        alternative=slices(run, [("Equity", total), ("Balance", balance)], f"Equity and balance, {unit}"),
    )


def unrealised(run: Run) -> str:
    """Equity less balance over time."""
    values = run["equity"] - run["balance"]
    return _single(
        run, values, "Unrealised", "What the position would bring at mark, over its entry.", run.record.currency
    )


def inventory(run: Run) -> str:
    """Position over time, with its limits."""
    limit = run.record.position_max
    return _single(
        run,
        run["position"],
        "Position",
        "Contracts held, long above zero." + (" Dashed: the limits." if math.isfinite(limit) else ""),
        "contracts",
        limits=(limit, -limit) if math.isfinite(limit) else (),
    )


def positions(inventory_run: Run, joint_run: Run) -> str:
    """Position over time under both policies, on the clock of the first."""
    later = (joint_run.record.started_ns - inventory_run.record.started_ns) / 1e9
    lines = (
        (inventory_run.time, inventory_run["position"], "exec", "inventory rule"),
        (joint_run.time + later, joint_run["position"], "both", "joint"),
    )
    if not all(_known(values) for _, values, _, _ in lines):
        return nothing("The records hold no positions.")
    words = " ".join(_span_words(name, values, "contracts") for _, values, _, name in lines)

    def draw(width: int) -> Plot:
        edges = [edge for _, values, _, _ in lines for edge in _extent(values)]
        y = linear_axis([*edges, 0.0], "contracts", count=4)

        def paint(plot: Plot) -> None:
            for time, values, css, name in lines:
                plot.steps(time, values, f"line {css}", name)

        return _over_time(inventory_run, width, 230, y, words, paint)

    return figure(
        "Position under both policies",
        "Contracts held, long above zero.",
        draw,
        keys=[Key("line", css, name) for _, _, css, name in lines],
        alternative=slices(inventory_run, [("inventory rule", lines[0][1])], "Position, inventory rule, contracts")
        + slices(joint_run, [("joint", lines[1][1])], "Position, joint, contracts"),
        wide=True,
    )


def _single(run: Run, values: Floats, title: str, subtitle: str, unit: str, limits: tuple[float, ...] = ()) -> str:
    if not _known(values):
        return nothing(f"The record holds no {title.lower()}.")
    words = _span_words(title, values, unit)
    low, high = _extent(values)
    near = [limit for limit in limits if low - 3 * (high - low) <= limit <= high + 3 * (high - low)]

    def draw(width: int) -> Plot:
        y = linear_axis([low, high, 0.0, *near], unit, count=4)

        def paint(plot: Plot) -> None:
            for limit in near:
                plot.level(limit, "line floor", "limit", above=limit < 0)
            plot.steps(run.time, values, "line both", title.lower())

        return _over_time(run, width, 230, y, words, paint)

    return figure(title, subtitle, draw, alternative=slices(run, [(title, values)], f"{title}, {unit}"), wide=False)


def margin(run: Run) -> str:
    """Margin held by positions, bids and asks, stacked under all margin there is."""
    executed = np.nan_to_num(run["margin_executed"])
    bids, asks, held = run["held_bids"], run["held_asks"], run["margin_held"]
    limit = executed + run["margin_available"]
    if not _known(bids, asks, held):
        return nothing("The record holds no margin.")
    scale = max(1e-12, *(abs(edge) for edge in _concat([held, bids, asks]) if math.isfinite(edge)))
    additive = not bool((np.abs(held - bids - asks) > 1e-6 * scale).any())
    parts = [(executed * 0, executed, "exec")]
    if additive:
        parts += [(executed, executed + bids, "bid"), (executed + bids, executed + bids + asks, "ask")]
        top = executed + bids + asks
    else:
        parts += [(executed, executed + held, "both")]
        top = executed + held
    unit = run.record.currency
    words = (
        _span_words("Margin held by resting orders", held, unit)
        + " "
        + _span_words("Margin available", run["margin_available"], unit)
    )

    def draw(width: int) -> Plot:
        alone = [] if additive else [bids, asks]
        y = linear_axis(_concat([limit, top, *alone]), unit, include=(0.0,), count=5)

        def paint(plot: Plot) -> None:
            chosen = columns_at_peak(run.time, top, plot.x.low, plot.x.high, plot.columns)
            for low, high, css in parts:
                # Where nothing is held there is nothing to outline.
                shown = np.where(high > low, high, np.nan)
                plot.band(run.time[chosen], low[chosen], shown[chosen], f"fill {css}")
            if not additive:
                plot.steps(run.time, bids, "line bid", "bids alone")
                plot.steps(run.time, asks, "line ask", "asks alone")
            plot.steps(run.time, limit, "line limit", "all margin")

        return _over_time(run, width, 320 if width > 400 else 270, y, words, paint)

    keys = [Key("line", "limit", "all margin there is"), Key("fill", "exec", "executed (positions)")]
    if additive:
        keys += [Key("fill", "bid", "resting bids"), Key("fill", "ask", "resting asks")]
    else:
        keys += [
            Key("fill", "both", "held by the rule"),
            Key("line", "bid", "bids alone"),
            Key("line", "ask", "asks alone"),
        ]
    apart = (
        ""
        if additive
        else (
            " This rule does not add the sides up: the lines are the charges of each side alone, and a side that"
            " closes the position may be above all margin."
        )
    )
    return figure(
        "Margin held against margin available",
        f"Stacked, {unit}. Where a pixel covers several quotes it shows the moment with most margin held.{apart}",
        draw,
        keys=keys,
        alternative=slices(
            run,
            [
                ("Available", run["margin_available"]),
                ("Bids", bids),
                ("Asks", asks),
                ("Held by the rule", held),
                ("Executed", run["margin_executed"]),
            ],
            f"Margin, {unit}",
        ),
    )


def idle(run: Run) -> str:
    """Share of the available margin that no order held."""
    share = np.clip(idle_share(run), 0.0, None) * 100
    if not _known(share):
        return nothing("The record does not say what margin was idle.")
    mean = time_mean(run.time, share)
    words = f"Idle margin, mean {number(mean, 2)} % of what was available. " + _span_words("It", share, "%")
    empty = int(((run["levels_bids"] == 0) & (run["levels_asks"] == 0)).sum())
    why = f" {integer(empty)} of {integer(run.time.size)} quotes placed nothing." if empty else ""

    def draw(width: int) -> Plot:
        y = linear_axis(_concat([share]), "% of available", include=(0.0,), count=4)

        def paint(plot: Plot) -> None:
            plot.steps(run.time, share, "line both thin", "idle %")
            plot.level(mean, "line floor")

        return _over_time(run, width, 230, y, words, paint)

    return figure(
        "Idle margin",
        f"Available margin that no order held. Dashed: the mean over time, {number(mean, 2)} %.{why}",
        draw,
        alternative=slices(run, [("Idle, %", share)], "Idle margin, % of available"),
        wide=False,
    )


def split_weight(run: Run) -> str:
    """Weight of the asks against inventory, over the rule that it follows."""
    ratio, weight = run["inventory_ratio"], run["ask_weight"]
    known = np.isfinite(ratio) & np.isfinite(weight)
    if not known.any():
        return nothing("The record holds no split weights.")
    rule = _rule_line(run) if run.record.policy in {"inventory", "joint"} else None
    words = (
        f"{integer(float(known.sum()))} splits; the ask weight runs from {number(float(weight[known].min()), 3)} to "
        f"{number(float(weight[known].max()), 3)}."
    )

    def draw(width: int) -> Plot:
        x = Axis(
            -1.0, 1.0, tuple((v, number(v, 1)) for v in (-1.0, -0.5, 0.0, 0.5, 1.0)), "position / limit, long above 0"
        )
        y = Axis(0.0, 1.0, tuple((v, number(v, 2)) for v in (0.0, 0.25, 0.5, 0.75, 1.0)), "ask weight")
        plot = Plot(width, 250, x, y, words)
        if rule:
            plot.line(*rule, "line rule")
        clipped = np.clip(ratio[known], -1.0, 1.0), np.clip(weight[known], 0.0, 1.0)
        plot.marks(*clipped, "dot", "dot both pale")
        return plot

    keys = [Key("dot", "both", "one quote")]
    if rule:
        keys.append(Key("line", "rule", "the rule" if run.record.policy == "inventory" else "the inventory rule"))
    rows = []
    for low in np.arange(-1.0, 1.0, 0.25):
        chosen = known & (ratio >= low) & ((ratio < low + 0.25) | (low + 0.25 >= 1.0))
        if chosen.any():
            part = weight[chosen]
            rows.append(
                [
                    f"{number(float(low), 2)} to {number(float(low) + 0.25, 2)}",
                    integer(float(chosen.sum())),
                    f"{number(float(part.min()), 3)} … {number(float(part.max()), 3)}",
                ]
            )
    return figure(
        "Split weight against inventory",
        "Share of the margin that the asks got. More to the asks when long, to the bids when short.",
        draw,
        keys=keys,
        alternative=table(["Position / limit", "Quotes", "Ask weight"], rows, caption="Ask weight: least … greatest"),
        wide=False,
    )


def _rule_line(run: Run) -> tuple[list[float], list[float]]:
    settings = run.record.settings.get("quoter", {})

    def setting(name: str, default: float) -> float:
        try:
            value = float(settings.get(name, default))
        except (TypeError, ValueError):
            return default
        return value if math.isfinite(value) else default

    slope, low, high = setting("sensitivity", 0.2), setting("weight_min", 0.3), setting("weight_max", 0.7)
    ratios = [-1 + index / 50 for index in range(101)]
    return ratios, [min(max(0.5 + slope * ratio, low), high) for ratio in ratios]


def entropy(run: Run, side: str) -> str:
    """Entropy of the final ladders of one side against the floor asked for."""
    value, floor = run[f"entropy_{side}"], run[f"entropy_floor_{side}"]
    if not _known(value):
        return ""
    other = "asks" if side == "bids" else "bids"
    edges = _concat([value, floor, run[f"entropy_{other}"], run[f"entropy_floor_{other}"]])
    css = side[:-1]
    words = _span_words(f"Entropy of the {side}", value, "nats") + " " + _span_words("Its floor", floor, "nats")

    def draw(width: int) -> Plot:
        y = linear_axis(edges, "nats", include=(0.0,), count=4)

        def paint(plot: Plot) -> None:
            plot.steps(run.time, floor, "line floor", "floor")
            plot.steps(run.time, value, f"line {css}", side)

        return _over_time(run, width, 230, y, words, paint)

    return figure(
        f"Entropy of the {side}",
        "Of the orders as sent, after rounding to lots.",
        draw,
        keys=[Key("line", css, "entropy"), Key("line", "floor", "floor asked for")],
        alternative=slices(run, [("Entropy", value), ("Floor", floor)], f"Entropy of the {side}, nats"),
        wide=False,
    )


def markout_curve(marks: Markouts) -> str:
    """Mean markout after fills: where the mid went, seen from the side of the fill."""
    steps = (0.0, *HORIZONS_S)
    everyone = np.ones(marks.is_bid.shape, dtype=np.bool_)
    lines: list[tuple[str, str, float, list[tuple[float, float, int]]]] = []
    for name, css, chosen, shift in (
        ("bids", "bid", marks.is_bid, -0.07),
        ("asks", "ask", ~marks.is_bid, 0.07),
        ("all", "both", everyone, 0.0),
    ):
        means = [marks.mean(marks.captured_bps, chosen)]
        means += [marks.mean(marks.markout_bps[:, index], chosen) for index in range(len(HORIZONS_S))]
        lines.append((name, css, shift, means))
    reach = [
        edge
        for *_, means in lines
        for mean, error, _ in means
        for edge in (mean, mean - 2 * error, mean + 2 * error)
        if math.isfinite(edge)
    ]
    if not reach:
        return nothing("No fill has a markout yet.")
    overall = lines[2][3]
    words = "Mean markout of all fills: " + ", ".join(
        f"{number(mean, 2)} bps at {step:g} s" for step, (mean, _, _) in zip(steps, overall, strict=True)
    )

    def draw(width: int) -> Plot:
        x = Axis(
            -0.3,
            len(steps) - 0.7,
            tuple((float(i), f"{step:g} s") for i, step in enumerate(steps)),
            "time after the fill",
        )
        plot = Plot(width, 260, x, linear_axis([*reach, 0.0], "bps of price", count=5), words)
        for _, css, shift, means in lines:
            at = [index + shift for index in range(len(steps))]
            values = [mean for mean, _, _ in means]
            for place, (mean, error, _) in zip(at, means, strict=True):
                if math.isfinite(error):
                    plot.line([place, place], [mean - 2 * error, mean + 2 * error], f"whisker {css}")
            plot.line(at, values, f"line {css}")
            shape = {"bid": "up", "ask": "down"}.get(css)
            points = np.array(at), np.array(values)
            plot.marks(*points, shape or "dot", f"mark {css}" if shape else f"dot {css}", 4.5)
        return plot

    rows = [
        [name, *(f"{number(mean, 2)} ± {number(2 * error, 2)} ({integer(count)})" for mean, error, count in means)]
        for name, _, _, means in lines
    ]
    return figure(
        "Markouts",
        "Mean gain against the mid at and after a fill, weighted by value; bars are two standard errors.",
        draw,
        keys=[Key("up", "bid", "bids"), Key("down", "ask", "asks"), Key("dot", "both", "all")],
        alternative=table(
            ["Fills", *(f"{step:g} s" for step in steps)],
            rows,
            caption="Mean markout, bps ± two standard errors (fills known)",
        ),
        wide=False,
    )


def spread_parts(marks: Markouts, currency: str) -> str:
    """Spread captured against what the move after the fill and the fees took, in money, by horizon."""
    columns = []
    for index, horizon in enumerate(HORIZONS_S):
        known = np.isfinite(marks.markout_bps[:, index]) & np.isfinite(marks.captured_bps) & np.isfinite(marks.notional)
        money = marks.notional[known] / 1e4
        captured = float((marks.captured_bps[known] * money).sum())
        adverse = float(((marks.markout_bps[known, index] - marks.captured_bps[known]) * money).sum())
        fees = -float(np.nan_to_num(marks.fee[known]).sum())
        columns.append((horizon, int(known.sum()), captured, adverse, fees, captured + adverse + fees))
    if not any(count for _, count, *_ in columns):
        return nothing("No fill has a markout yet.")
    names = (("captured", "both"), ("move after the fill", "move"), ("fees", "exec"), ("what is left", "net"))
    words = " ".join(
        f"At {horizon:g} s: captured {number(captured, 2)}, move {number(adverse, 2)}, fees {number(fees, 2)}, "
        f"left {number(net, 2)} {currency}."
        for horizon, _, captured, adverse, fees, net in columns
    )

    def draw(width: int) -> Plot:
        ticks = tuple((float(index), f"{horizon:g} s") for index, (horizon, *_) in enumerate(columns))
        x = Axis(-0.5, len(columns) - 0.5, ticks, "time after the fill")
        y = linear_axis([value for column in columns for value in column[2:]] + [0.0], currency, count=5)
        plot = Plot(width, 260, x, y, words)
        for index, column in enumerate(columns):
            for place, (_, css) in enumerate(names):
                left = index - 0.4 + 0.2 * place
                plot.bar(left, left + 0.2, 0.0, column[2 + place], f"fill {css}")
        return plot

    rows = [
        [f"{horizon:g} s", integer(count), *(number(value, 2) for value in values)]
        for horizon, count, *values in columns
    ]
    return figure(
        "Spread captured against adverse selection",
        "Sum over the fills whose mid is known that much later.",
        draw,
        keys=[Key("fill", css, name) for name, css in names],
        alternative=table(
            ["After", "Fills", "Captured", "Move after the fill", "Fees", "Left"], rows, caption=f"Parts, {currency}"
        ),
        wide=False,
    )


def quote_time(run: Run) -> str:
    """How long the quote call took."""
    times = run["quote_us"]
    known = times[np.isfinite(times) & (times > 0)]
    if known.size == 0:
        return nothing("The record holds no quote times.")
    low, high = float(known.min()), float(known.max())
    lowest, highest = math.floor(math.log10(low) * BINS_A_DECADE), math.floor(math.log10(high) * BINS_A_DECADE) + 1
    edges = 10 ** (np.arange(lowest, highest + 1) / BINS_A_DECADE)
    counts = np.histogram(known, np.r_[edges[:-1], max(edges[-1], high)])[0]
    share = counts / known.size * 100
    half, late = quantile(known, 0.5), quantile(known, 0.99)
    words = (
        f"{integer(known.size)} quotes: half within {significant(half, 3)} µs, 99 % within {significant(late, 3)} µs, "
        f"longest {significant(high, 3)} µs."
    )

    def draw(width: int) -> Plot:
        x = log_axis(float(edges[0]), float(edges[-1]), "microseconds, logarithmic", count=width // 55)
        plot = Plot(width, 250, x, linear_axis(share, "% of quotes", include=(0.0,), count=4), words)
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            if value > 0:
                plot.bar(float(left), float(right), 0.0, float(value), "fill both")
        plot.upright(half, "line floor", "half", "end")
        plot.upright(late, "line floor", "99 %", "start")
        return plot

    rows = [
        [name, significant(quantile(known, level), 4)]
        for name, level in (("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("longest", 1.0))
    ]
    return figure(
        "Time of the quote call",
        words,
        draw,
        alternative=table(["Within", "Microseconds"], rows, caption="Time of the quote call"),
        wide=False,
    )
