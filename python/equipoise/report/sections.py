"""The parts of the page in the order a desk reads them: verdict, comparison, market, money, margin, fills, settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from equipoise.record import BeforeAfter, RunOutcome
from equipoise.report import pictures
from equipoise.report.markup import card, nothing, section, table
from equipoise.report.series import (
    HORIZONS_S,
    Markouts,
    Run,
    both_sides,
    idle_share,
    ladders_below_floor,
    quantile,
    redacted,
    time_mean,
    use_share_max,
)
from equipoise.report.text import (
    MISSING,
    aligned,
    clock,
    escape,
    integer,
    number,
    percent,
    plain,
    signed,
    significant,
    utc,
)

if TYPE_CHECKING:
    from equipoise.policies import PolicyComparison

__all__ = ["comparison", "facts", "policies", "run_sections", "verdict"]

ROWS_SHOWN = 400
"""Fills listed in the table; of more, the first and the last half of these."""


def verdict(run: Run) -> str:
    """The outcome in one sentence."""
    margin = run.record.refused_for_margin
    other = sum(run.record.refusals.values()) - margin
    what = {0: "No order was", 1: "1 order was"}.get(margin, f"{integer(margin)} orders were") + " refused for margin"
    sent = run.record.counters.get("orders")
    of_sent = f" of {integer(sent)} sent" if sent else ""
    if other:
        of_sent += f", {integer(other)} for other reasons"
    filled = len(run.fills)
    fills = f"{integer(filled)} {'fill' if filled == 1 else 'fills'}"
    use = use_share_max(run)
    held = f", at most {percent(use)} of the available margin was held" if math.isfinite(use) else ""
    return f'<p class="verdict"><strong>{escape(what)}</strong>{escape(f"{of_sent}; {fills}{held}.")}</p>'


def facts(run: Run) -> str:
    """What was run: market, account, rule, policy, time."""
    record = run.record
    seconds = (record.ended_ns - record.started_ns) / 1e9
    pairs = [
        ("Symbol", record.symbol),
        ("Market", record.market_source),
        ("Order-margin rule", record.rule),
        ("Policy", record.policy),
        ("Optimizer", record.optimizer),
        ("Starting balance", f"{number(record.balance_start, 2)} {record.currency}"),
        ("Leverage", f"{plain(record.leverage)}×"),
        (
            "Position limit",
            f"{plain(record.position_max)} contracts" if math.isfinite(record.position_max) else "none",
        ),
        ("From, UTC", utc(record.started_ns)),
        ("To, UTC", utc(record.ended_ns)),
        ("Length", clock(seconds)),
        ("Seed", str(record.seed)),
    ]
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value).replace('/', '/<wbr>')}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts">{items}</dl>'


def _summary(run: Run, marks: Markouts, prefix: str) -> str:
    record = run.record
    bids = int(marks.is_bid.sum())
    sent = record.counters.get("orders")
    refused = record.refused_for_margin
    other = sum(record.refusals.values()) - refused
    apart = f"{integer(other)} refused for other reasons" if other else "and none for another reason"
    equity = run["equity"][np.isfinite(run["equity"])]
    change = float(equity[-1]) - record.balance_start if equity.size else math.nan
    relative = change / record.balance_start * 1e4 if record.balance_start else math.nan
    missed, ladders = ladders_below_floor(run)
    everyone = np.ones(marks.is_bid.shape, dtype=np.bool_)
    captured, _, _ = marks.mean(marks.captured_bps, everyone)
    later, _, _ = marks.mean(marks.markout_bps[:, 1], everyone)
    volume = float(np.nansum(marks.notional)) if marks.notional.size else 0.0
    times = run["quote_us"]
    idle = np.clip(idle_share(run), 0, None)
    busy = time_mean(run.time, np.where(both_sides(run), idle, np.nan))
    cards = [
        card(
            "Fills",
            integer(len(run.fills)),
            "",
            f"{integer(bids)} bids, {integer(len(run.fills) - bids)} asks; "
            f"{number(volume, 0)} {record.currency} traded",
        ),
        card(
            "Refused for margin",
            integer(refused),
            "",
            f"of {integer(sent)} orders sent; {apart}" if sent is not None else apart,
        ),
        card("Most margin held", number(use_share_max(run) * 100, 1), "%", "of what was available"),
        card(
            "Equity change",
            signed(change, 2),
            record.currency,
            f"{signed(relative, 1)} bps of {number(record.balance_start, 2)}",
        ),
        card(
            "Idle margin",
            number(time_mean(run.time, idle) * 100, 1),
            "%",
            f"mean over time; {percent(busy, 1)} while both sides were quoted",
        ),
        card("Entropy floor missed", integer(missed), "", f"of {integer(ladders)} side ladders"),
        card(
            "Spread captured",
            number(captured, 2),
            "bps",
            f"mean per fill; {number(later, 2)} bps {HORIZONS_S[1]:g} s later",
        ),
        card(
            "Quote time",
            significant(quantile(times, 0.5), 3),
            "µs",
            f"half of the quotes; 99 % within {significant(quantile(times, 0.99), 3)} µs",
        ),
    ]
    return section(
        f"{prefix}summary",
        "Summary",
        "The figures to look at first; each is explained below.",
        f'<div class="cards">{"".join(cards)}</div>',
    )


def comparison(pair: BeforeAfter) -> str:
    """The older way and the new one, measure by measure."""
    before, after = pair.before, pair.after
    rows = [
        _measure("Orders refused for margin", *(_part(o.orders_refused, o.orders_sent) for o in (before, after))),
        _measure(
            "Most margin asked for by one ladder",
            *((percent(o.demand_share_max, 2), o.demand_share_max) for o in (before, after)),
        ),
        _measure("Idle margin, mean", *((percent(o.idle_share, 2), o.idle_share) for o in (before, after))),
        _measure(
            "Ladders below the entropy floor", *(_part(o.ladders_below_floor, o.ladders) for o in (before, after))
        ),
        _measure("Fills", *((integer(o.fills), math.nan) for o in (before, after))),
        _measure("Equity change", *((signed(o.equity_change, 2), math.nan) for o in (before, after))),
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in pair.notes)
    return section(
        "comparison",
        "Before and after",
        pair.scenario or "The same market, account, rule and seed, quoted in the older way and in the new one.",
        '<div class="scroll" tabindex="0" role="region" aria-label="Before and after"><table class="comparison">'
        f"<caption>{escape(_columns(before, after))}</caption>"
        f'<thead><tr><th scope="col">Measure</th><th scope="col">{escape(before.name)}</th>'
        f'<th scope="col">{escape(after.name)}</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>',
        f'<ul class="notes">{notes}</ul>' if notes else "",
    )


def policies(found: PolicyComparison) -> str:
    """The inventory rule against the joint policy, measure by measure, with what the data carry."""
    from equipoise.policies import ADVERSE_S, FILLS_MIN

    rows = []
    for measure in found.measures:
        known = math.isfinite(measure.low) and math.isfinite(measure.high)
        rows.append(
            [
                measure.name,
                measure.unit,
                significant(measure.inventory, 4),
                significant(measure.joint, 4),
                significant(measure.difference, 4),
                f"{significant(measure.low, 3)} … {significant(measure.high, 3)}" if known else MISSING,
                measure.finding,
            ]
        )
    inventory, joint = found.fills
    return section(
        "policies",
        "Inventory rule against joint policy",
        f"The same market, account, rule and seed under both policies. {found.verdict}",
        table(
            ["Measure", "Unit", "Inventory", "Joint", "Difference", "95 % interval", "Joint is"],
            rows,
            caption=f"{integer(inventory)} fills under the inventory rule, {integer(joint)} under joint",
            words=(1, 6),
        ),
        _figures(pictures.positions(Run(found.inventory), Run(found.joint))),
        '<ul class="notes">'
        f"<li>Profit is marked at the mid: spread captured + adverse selection (the mid {ADVERSE_S:g} s after a fill) "
        "+ inventory carry (all later moves on the position) + fees, a cost being negative.</li>"
        f"<li>Intervals: circular block bootstrap of the differences, blocks of {found.block_s:g} s, the same for both "
        f"runs, {integer(found.draws)} draws. They speak of this stretch of this market, not of other days. None is "
        f"given for what fills decide where a run has fewer than {integer(FILLS_MIN)}.</li></ul>",
    )


def _columns(before: RunOutcome, after: RunOutcome) -> str:
    return f"{integer(before.orders_sent)} orders sent before, {integer(after.orders_sent)} after."


def _part(count: int, whole: int) -> tuple[str, float]:
    share = count / whole if whole else math.nan
    return (f"{integer(count)} ({percent(share)})" if whole else integer(count), share)


def _measure(name: str, before: tuple[str, float], after: tuple[str, float]) -> str:
    top = max((share for _, share in (before, after) if math.isfinite(share)), default=math.nan)
    scale = max(1.0, top) if math.isfinite(top) else math.nan
    cells = []
    for css, (words, share) in (("was", before), ("after", after)):
        meter = ""
        if math.isfinite(share) and scale > 0:
            width = min(100.0, max(0.0, share / scale * 100))
            meter = f'<span class="meter" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
        strong = f"<strong>{escape(words)}</strong>" if css == "after" else escape(words)
        cells.append(f'<td class="{css}">{strong}{meter}</td>')
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _refusals(run: Run, prefix: str) -> str:
    sent = run.record.counters.get("orders", 0)
    reasons = dict(run.record.refusals) or {"every reason": 0}
    total = sum(reasons.values())
    rows = [
        [reason, integer(count), percent(count / sent, 2) if sent else MISSING] for reason, count in reasons.items()
    ]
    if len(rows) > 1:
        rows.append(["all", integer(total), percent(total / sent, 2) if sent else MISSING])
    lead = "No order was refused." if total == 0 else "Why the book or the venue refused orders."
    return section(
        f"{prefix}refusals",
        "Refusals by reason",
        f"{lead} A reason that did not occur is listed with 0.",
        table(["Reason", "Orders", "Of those sent"], rows, caption="Orders refused, by reason"),
    )


def _fills(run: Run, marks: Markouts, prefix: str) -> str:
    count = len(run.fills)
    lead = "Every fill with its markouts: the gain against the mid that much later, seen from the side of the fill."
    if count == 0:
        return section(f"{prefix}fills", "Fills", lead, nothing("Nothing was filled."))
    shown = list(range(count))
    if count > ROWS_SHOWN:
        shown = [*range(ROWS_SHOWN // 2), *range(count - ROWS_SHOWN // 2, count)]
        lead += f" The first and the last {ROWS_SHOWN // 2} of {integer(count)}; the saved record has all."
    seconds = run.fill_seconds()
    prices, sizes, positions = (
        aligned(getattr(run.fills[index], name) for index in shown) for name in ("price", "size", "position_after")
    )
    rows = []
    for row, index in enumerate(shown):
        fill = run.fills[index]
        whole = math.floor(seconds[index])
        thousandths = math.floor((seconds[index] - whole) * 1000)
        rows.append(
            [
                f"{clock(whole)}.{thousandths:03d}",
                fill.side.value,
                prices[row],
                sizes[row],
                number(float(marks.captured_bps[index]), 2),
                *(number(float(value), 2) for value in marks.markout_bps[index]),
                number(fill.fee, 4),
                number(fill.realised_pnl, 4),
                positions[row],
                fill.order_id,
            ]
        )
    head = ["Time", "Side", "Price", "Contracts", "Captured, bps", *(f"{h:g} s, bps" for h in HORIZONS_S)]
    head += [f"Fee, {run.record.currency}", f"Realised, {run.record.currency}", "Position after", "Order"]
    caption = f"{integer(len(shown))} of {integer(count)} fills"
    return section(f"{prefix}fills", "Fills", lead, table(head, rows, caption=caption, tall=True))


def _settings(run: Run, prefix: str) -> str:
    record = run.record
    blocks = []
    if record.counters:
        rows = [[name, integer(count)] for name, count in record.counters.items()]
        blocks.append("<div>" + table(["Counter", "Count"], rows, caption="Counted in the run") + "</div>")
    for name, values in redacted(record.settings).items():
        rows = [[key, str(value)] for key, value in values.items()]
        blocks.append("<div>" + table(["Setting", "Value"], rows, caption=name) + "</div>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in record.notes)
    return section(
        f"{prefix}settings",
        "Settings and notes",
        "What is needed to run this again.",
        f'<ul class="notes">{notes}</ul><br>' if notes else "",
        f'<div class="settings">{"".join(blocks)}</div>' if blocks else "",
    )


def _figures(*parts: str) -> str:
    return f'<div class="figures">{"".join(parts)}</div>'


def run_sections(run: Run, marks: Markouts, prefix: str) -> list[tuple[str, str, str]]:
    """Every part of one run as (id, name, html)."""
    currency = run.record.currency
    entropies = [pictures.entropy(run, side) for side in ("bids", "asks")]
    entropy = _figures(*entropies) if any(entropies) else nothing("The record holds no entropies.")
    parts = [
        ("summary", "Summary", _summary(run, marks, prefix)),
        (
            "market",
            "Market and ladder",
            section(
                f"{prefix}market",
                "Market and ladder",
                "Where the market went, what was quoted into it, and what was taken.",
                _figures(pictures.market(run), pictures.ladder_close(run)),
            ),
        ),
        (
            "equity",
            "Equity and inventory",
            section(
                f"{prefix}equity",
                "Equity and inventory",
                "What the run earned, what of it is still open, and the position it stands on.",
                _figures(pictures.equity(run), pictures.unrealised(run), pictures.inventory(run)),
            ),
        ),
        (
            "margin",
            "Margin",
            section(
                f"{prefix}margin",
                "Margin",
                "Each order's margin is held before the order leaves. Margin is never promised twice, so the stack "
                "stays below the line.",
                _figures(pictures.margin(run), pictures.idle(run), pictures.split_weight(run)),
            ),
        ),
        (
            "entropy",
            "Entropy",
            section(
                f"{prefix}entropy",
                "Entropy floor and final ladders",
                "The floor asked for and what the orders that were sent came to. Where an account is too small for the "
                "floor on the levels it can afford, the floor is relaxed and the ladder falls below the dashed line.",
                entropy,
            ),
        ),
        (
            "execution",
            "Execution",
            section(
                f"{prefix}execution",
                "Spread captured and what came after",
                "A fill away from the mid captures spread; the mid then tends to move against it. What is left pays "
                "for the risk.",
                _figures(pictures.markout_curve(marks), pictures.spread_parts(marks, currency)),
            ),
        ),
        ("refusals", "Refusals", _refusals(run, prefix)),
        (
            "speed",
            "Last ladder and speed",
            section(
                f"{prefix}speed",
                "Last ladder and speed",
                "The ladder as it stood last, and how long quotes took.",
                _figures(pictures.ladder_last(run), pictures.quote_time(run)),
            ),
        ),
        ("fills", "Fills", _fills(run, marks, prefix)),
        ("settings", "Settings", _settings(run, prefix)),
    ]
    return [(prefix + name, heading, html) for name, heading, html in parts]
