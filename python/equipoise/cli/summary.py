"""The summary of a run as lines of text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from equipoise.cli.text import table
from equipoise.record import RunRecord
from equipoise.report.series import Run, markouts, outcome, quantile
from equipoise.report.text import clock, integer, number, percent, signed, significant

__all__ = ["summary", "summary_text"]


def summary(record: RunRecord) -> dict[str, Any]:
    """The figures of a run that an operator looks at first; NaN where unknown."""
    run = Run(record)
    result = outcome(record, record.title)
    marks = markouts(run)
    everyone = np.ones(marks.is_bid.shape, dtype=np.bool_)
    return {
        "title": record.title,
        "symbol": record.symbol,
        "market": record.market_source,
        "rule": record.rule,
        "seconds": (record.ended_ns - record.started_ns) / 1e9,
        "quotes": int(run.time.size),
        "orders": result.orders_sent,
        "refused_for_margin": result.orders_refused,
        "refusals": dict(record.refusals),
        "fills": result.fills,
        "equity_change": result.equity_change,
        "currency": record.currency,
        "margin_held_max": result.demand_share_max,
        "idle_margin_mean": result.idle_share,
        "side_ladders": result.ladders,
        "below_entropy_floor": result.ladders_below_floor,
        "spread_captured_bps": marks.mean(marks.captured_bps, everyone)[0],
        "markout_5s_bps": marks.mean(marks.markout_bps[:, 1], everyone)[0],
        "quote_us_p50": quantile(run["quote_us"], 0.5),
        "quote_us_p99": quantile(run["quote_us"], 0.99),
    }


def summary_text(record: RunRecord, more: Sequence[Sequence[str]] = ()) -> str:
    """The same as an aligned table with `more` rows below; refusals are shown by reason, none of them left out."""
    s = summary(record)
    rows = [
        ["market", f"{s['symbol']}, {s['market']}"],
        ["length", f"{clock(s['seconds'])}, {integer(s['quotes'])} quotes"],
        ["order-margin rule", s["rule"]],
        ["orders sent", integer(s["orders"])],
        ["refused for margin", integer(s["refused_for_margin"])],
        *([f"  {reason}", integer(count)] for reason, count in record.refusals.items()),
        ["fills", integer(s["fills"])],
        ["equity change", f"{signed(s['equity_change'], 4)} {s['currency']}"],
        ["most margin held", f"{percent(s['margin_held_max'], 2)} of available"],
        ["idle margin, mean", f"{percent(s['idle_margin_mean'], 2)} of available"],
        ["entropy floor missed", f"{integer(s['below_entropy_floor'])} of {integer(s['side_ladders'])} side ladders"],
    ]
    if math.isfinite(s["spread_captured_bps"]):
        captured, later = number(s["spread_captured_bps"], 2), number(s["markout_5s_bps"], 2)
        rows.append(["spread captured", f"{captured} bps, 5 s later {later}"])
    if math.isfinite(s["quote_us_p50"]):
        half, late = significant(s["quote_us_p50"], 3), significant(s["quote_us_p99"], 3)
        rows.append(["quote time", f"{half} µs, 99 % within {late} µs"])
    return table([*rows, *more], left=(0, 1))
