"""What the report computes from a record: thinning of long series, markouts, time-weighted means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.record import FillRecord, RunOutcome, RunRecord

__all__ = [
    "HORIZONS_S",
    "Markouts",
    "Run",
    "both_sides",
    "columns_at_peak",
    "envelope",
    "idle_share",
    "ladders_below_floor",
    "markouts",
    "outcome",
    "quantile",
    "redacted",
    "time_mean",
    "use_share_max",
]

Floats = NDArray[np.float64]

HORIZONS_S = (1.0, 5.0, 30.0, 60.0)
"""Seconds after a fill at which its markout is read."""

FLOOR_TOLERANCE = 1e-9
"""Nats by which an entropy may miss its floor and still count as met."""


class Run:
    """A record with its samples checked, in time order, every fixed name present (NaN where the record has none)."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        samples = {name: np.asarray(values, dtype=np.float64) for name, values in record.samples.items()}
        count = len(samples["time_s"]) if "time_s" in samples else 0
        for name, values in samples.items():
            if values.shape != (count,):
                raise InputError(f"samples.{name}", None, f"an array of shape ({count},) like time_s", values.shape)
        time = samples.get("time_s", np.empty(0))
        order = np.argsort(time, kind="stable")
        order = order[np.isfinite(time[order])]
        self._samples = {name: _finite_or_nan(values[order]) for name, values in samples.items()}
        self.time = self._samples.get("time_s", np.empty(0))
        self.ladders: dict[str, Floats] = {}
        for name, values in record.ladders.items():
            rows = np.asarray(values, dtype=np.float64)
            rows = rows.reshape(0, 0) if rows.size == 0 and count == 0 else rows
            if rows.ndim != 2 or len(rows) != count:
                raise InputError(f"ladders.{name}", None, f"an array of shape ({count}, levels)", rows.shape)
            self.ladders[name] = _finite_or_nan(rows[order])
        self.has_ladders = (
            {"bid_price", "bid_size", "ask_price", "ask_size"} <= self.ladders.keys()
            and self.time.size > 0
            and any(bool(np.isfinite(self.ladders[name]).any()) for name in ("bid_price", "ask_price"))
        )
        self.fills = tuple(sorted(record.fills, key=lambda fill: fill.time_ns))

    def __getitem__(self, name: str) -> Floats:
        """The samples called `name`, NaN when the record has none."""
        found = self._samples.get(name)
        return np.full(self.time.shape, np.nan) if found is None else found

    def fill_seconds(self) -> Floats:
        """Times of the fills, seconds since the start."""
        return np.array([(fill.time_ns - self.record.started_ns) / 1e9 for fill in self.fills], dtype=np.float64)

    def span(self) -> tuple[float, float]:
        """First and last second that the pictures show."""
        times = [float(edge) for values in (self.time, self.fill_seconds()) if values.size for edge in values[[0, -1]]]
        if not times:
            return 0.0, 1.0
        low, high = min(*times, 0.0), max(times)
        return (low, high) if high > low else (low, low + 1.0)


def _finite_or_nan(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def envelope(x: Floats, y: Floats, low: float, high: float, columns: int) -> list[tuple[Floats, Floats]]:
    """Thin a series to the least and greatest value of each pixel column, in the order they came.

    Nothing that would be visible is lost: a spike of one sample keeps its column. A column whose samples are all NaN
    breaks the line; a column without samples does not, the value before it holds.

    Parameters
    ----------
    x, y
        Positions, ascending, and values, equally long; NaN in `y` where unknown.
    low, high
        Range of `x` that the columns divide evenly.
    columns
        Number of pixel columns, at least 1.

    Returns
    -------
    list of (x, y)
        Unbroken runs of at least one point, at most two points a column.
    """
    known = np.isfinite(y)
    if x.size <= 2 * columns:
        return _runs(x, y, known)
    column = np.clip(((x - low) / (high - low) * columns).astype(np.int64), 0, columns - 1)
    starts = np.flatnonzero(np.r_[True, np.diff(column) > 0])
    least = np.minimum.reduceat(np.where(known, y, np.inf), starts)
    greatest = np.maximum.reduceat(np.where(known, y, -np.inf), starts)
    ends = np.r_[starts[1:], x.size]
    points_x: list[float] = []
    points_y: list[float] = []
    for start, end, minimum, maximum in zip(starts, ends, least, greatest, strict=True):
        if not np.isfinite(minimum):
            points_x.append(float(x[start]))
            points_y.append(math.nan)
            continue
        part = y[start:end]
        ranked = {int(np.flatnonzero(part == minimum)[0]), int(np.flatnonzero(part == maximum)[-1])}
        for index in sorted(ranked):
            points_x.append(float(x[start + index]))
            points_y.append(float(part[index]))
    thin_x, thin_y = np.array(points_x), np.array(points_y)
    return _runs(thin_x, thin_y, np.isfinite(thin_y))


def _runs(x: Floats, y: Floats, known: NDArray[np.bool_]) -> list[tuple[Floats, Floats]]:
    if not known.any():
        return []
    edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(np.int8)))
    return [(x[a:b], y[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def columns_at_peak(x: Floats, total: Floats, low: float, high: float, columns: int) -> NDArray[np.int64]:
    """One sample per pixel column: that with the greatest total, so that stacked parts belong to one moment."""
    if x.size <= columns:
        return np.arange(x.size)
    column = np.clip(((x - low) / (high - low) * columns).astype(np.int64), 0, columns - 1)
    filled = np.where(np.isfinite(total), total, -np.inf)
    order = np.lexsort((filled, column))
    last = np.flatnonzero(np.r_[np.diff(column[order]) > 0, True])
    return order[last]


def time_mean(time: Floats, values: Floats) -> float:
    """Mean of a value that holds until the next sample, weighted by how long it held; NaN when nothing is known."""
    known = np.isfinite(values)
    if not known.any():
        return math.nan
    weight = np.r_[np.diff(time), 0.0]
    total = float(weight[known].sum())
    if total <= 0:
        return float(values[known].mean())
    return float((weight[known] * values[known]).sum() / total)


def quantile(values: Floats, share: float) -> float:
    """Quantile of the known values (an observed value, not an interpolation); NaN when there is none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share, method="higher")) if known.size else math.nan


@dataclass(frozen=True, slots=True)
class Markouts:
    """Where the mid stood after fills, from the side of the fill, and what that came to.

    Arrays have one row per fill. `captured_bps`: how far from the mid of its moment the fill was, in our favour.
    `markout_bps[:, j]`: the same against the mid HORIZONS_S[j] later; the difference is the adverse selection. NaN
    where the run ended, or the samples have a hole, before the horizon.
    """

    is_bid: NDArray[np.bool_]
    notional: Floats
    fee: Floats
    captured_bps: Floats
    markout_bps: Floats

    def mean(self, values: Floats, chosen: NDArray[np.bool_]) -> tuple[float, float, int]:
        """Mean weighted by notional, its standard error, and the count of fills known."""
        known = chosen & np.isfinite(values) & (self.notional > 0)
        count = int(known.sum())
        if count == 0:
            return math.nan, math.nan, 0
        weight = self.notional[known] / self.notional[known].sum()
        mean = float((weight * values[known]).sum())
        error = math.sqrt(float((weight**2 * (values[known] - mean) ** 2).sum())) if count > 1 else math.nan
        return mean, error, count


def markouts(run: Run) -> Markouts:
    """Markouts of every fill from the mid samples of the run."""
    fills = run.fills
    at = run.fill_seconds()
    sign = np.array([1.0 if fill.side is Side.BID else -1.0 for fill in fills], dtype=np.float64)
    price = _column(fills, "price")
    mid = _column(fills, "mid")
    with np.errstate(divide="ignore", invalid="ignore"):
        captured = _finite_or_nan(1e4 * sign * (mid - price) / mid)
        later = np.full((len(fills), len(HORIZONS_S)), np.nan)
        for index, horizon in enumerate(HORIZONS_S):
            later[:, index] = _finite_or_nan(1e4 * sign * (_mid_at(run, at + horizon) - price) / mid)
    return Markouts(
        is_bid=sign > 0,
        notional=np.abs(price * _column(fills, "size")) * run.record.contract_value,
        fee=_column(fills, "fee"),
        captured_bps=captured,
        markout_bps=later,
    )


def _column(fills: Sequence[FillRecord], name: str) -> Floats:
    return np.array([getattr(fill, name) for fill in fills], dtype=np.float64)


def _mid_at(run: Run, at: Floats) -> Floats:
    """Last known mid at a time, not older than the usual gap between samples; NaN beyond the last sample."""
    mid = run["mid"]
    known = np.isfinite(mid)
    time, mid = run.time[known], mid[known]
    if time.size == 0:
        return np.full(at.shape, np.nan)
    usual = float(np.median(np.diff(time))) if time.size > 1 else 0.0
    index = np.searchsorted(time, at, side="right") - 1
    seen = (index >= 0) & (at <= time[-1])
    index = np.clip(index, 0, None)
    fresh = at - time[index] <= max(2.0, 3.0 * usual)
    return np.where(seen & fresh, mid[index], np.nan)


def ladders_below_floor(run: Run) -> tuple[int, int]:
    """How many side ladders missed the entropy asked for, and how many there were."""
    missed = placed = 0
    for side in ("bids", "asks"):
        value, floor, levels = run[f"entropy_{side}"], run[f"entropy_floor_{side}"], run[f"levels_{side}"]
        quoted = np.isfinite(value) & np.isfinite(floor) & ~(levels == 0)
        placed += int(quoted.sum())
        missed += int((quoted & (value < floor - FLOOR_TOLERANCE)).sum())
    return missed, placed


def idle_share(run: Run) -> Floats:
    """Margin available that no order held, as a share of what was available; NaN where nothing was."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _finite_or_nan(
            1.0 - run["margin_held"] / np.where(run["margin_available"] > 0, run["margin_available"], np.nan)
        )


def both_sides(run: Run) -> NDArray[np.bool_]:
    """Which samples had orders on both sides; all of them when the record does not say."""
    empty: NDArray[np.bool_] = (run["levels_bids"] == 0) | (run["levels_asks"] == 0)
    return ~empty


def use_share_max(run: Run) -> float:
    """Greatest share of the available margin that resting orders held; NaN when unknown."""
    idle = idle_share(run)
    return float(np.nanmax(1.0 - idle)) if np.isfinite(idle).any() else math.nan


def outcome(record: RunRecord, name: str) -> RunOutcome:
    """Sum a run up as one column of the before/after table."""
    run = Run(record)
    missed, placed = ladders_below_floor(run)
    idle = idle_share(run)
    equity = run["equity"][np.isfinite(run["equity"])]
    return RunOutcome(
        name=name,
        orders_sent=int(record.counters.get("orders", 0)),
        orders_refused=record.refused_for_margin,
        ladders=placed,
        ladders_below_floor=missed,
        idle_share=time_mean(run.time, np.clip(idle, 0.0, None)),
        demand_share_max=use_share_max(run),
        fills=len(record.fills),
        equity_change=float(equity[-1]) - record.balance_start if equity.size else math.nan,
    )


def redacted(settings: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Settings with the value of anything that could be a secret replaced."""
    words = ("secret", "password", "private", "token", "mnemonic", "key")
    return {
        section: {
            key: "(hidden)" if any(word in key.lower() for word in words) else value for key, value in values.items()
        }
        for section, values in settings.items()
    }
