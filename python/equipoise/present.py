"""Results for people: dictionaries, data frames, tables in a notebook.

Dictionaries hold plain Python values ready for JSON, amounts as exact decimal text. Frames hold amounts as floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from decimal import Decimal
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from equipoise.orders import Order, Side

if TYPE_CHECKING:
    import pandas
    import polars

    from equipoise._rust import JointReport, Quote, QuoteSide, Split
    from equipoise.comparison import Comparison
    from equipoise.reservation.audit import AuditReport
    from equipoise.reservation.records import BookAccount

__all__ = [
    "account_dict",
    "account_html",
    "account_pandas",
    "account_polars",
    "audit_dict",
    "audit_html",
    "audit_pandas",
    "audit_polars",
    "joint_dict",
    "quote_compare",
    "quote_dict",
    "quote_html",
    "quote_orders",
    "quote_pandas",
    "quote_polars",
    "quote_rows",
    "side_dict",
    "split_dict",
    "split_html",
    "split_pandas",
    "split_polars",
    "table_html",
]

Columns = dict[str, list[Any]]


def _library(name: str) -> Any:
    """A data frame library, which only those who ask for frames need."""
    try:
        return import_module(name)
    except ImportError as missing:
        raise ImportError(
            f"data frames need {name}, which the extra `report` installs: pip install 'equipoise[report]'", name=name
        ) from missing


def _polars(columns: Columns, text: Iterable[str] = ()) -> polars.DataFrame:
    """A polars frame; columns named in `text` are text even where they are empty."""
    pl = _library("polars")
    return cast("polars.DataFrame", pl.DataFrame(columns, schema_overrides=dict.fromkeys(text, pl.String)))


def _pandas(columns: Columns) -> pandas.DataFrame:
    return cast("pandas.DataFrame", _library("pandas").DataFrame(columns))


def table_html(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; the first cell of a row is its name. Everything is escaped."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = []
    for row in rows:
        first, *rest = (escape(cell) for cell in row)
        body.append(f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>")
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def quote_orders(quote: Quote) -> tuple[Order, ...]:
    """The orders of a quote, innermost bids first, then innermost asks first."""
    market = quote.market
    # In hedge mode an order names its leg: reduce-only closes the opposite one, anything else opens its own.
    hedged = quote.split.free_by == "leg"
    legs = {(Side.BID, False): "long", (Side.BID, True): "short", (Side.ASK, False): "short", (Side.ASK, True): "long"}
    return tuple(
        Order(
            symbol=market.symbol,
            side=name,
            lots=lots,
            price_ticks=ticks,
            hold=hold,
            price=market.price(ticks),
            size=market.size(lots),
            reduce_only=side.reduce_only,
            leg=legs[name, side.reduce_only] if hedged else None,
        )
        for name, side in ((Side.BID, quote.bids), (Side.ASK, quote.asks))
        for ticks, lots, hold in zip(side.price_ticks.tolist(), side.lots.tolist(), side.hold.tolist(), strict=True)
    )


def quote_rows(quote: Quote) -> Columns:
    """Columns of a quote's orders, one row an order."""
    columns: Columns = {"side": []}
    for name, side in ((Side.BID, quote.bids), (Side.ASK, quote.asks)):
        columns["side"].extend([str(name)] * len(side))
        for field in ("price", "size", "hold", "depth_bps", "fill_probability", "edge_bps", "utility"):
            columns.setdefault(field, []).extend(getattr(side, field).tolist())
    columns["hold"] = [Decimal(micros) / 1_000_000 for micros in columns["hold"]]
    return columns


def _quote_frame(quote: Quote) -> Columns:
    columns = quote_rows(quote)
    return {**columns, "hold": [float(hold) for hold in columns["hold"]]}


def quote_polars(quote: Quote) -> polars.DataFrame:
    """The orders as a polars frame; needs the extra `report`."""
    return _polars(_quote_frame(quote), ("side",))


def quote_pandas(quote: Quote) -> pandas.DataFrame:
    """The orders as a pandas frame; needs the extra `report`."""
    return _pandas(_quote_frame(quote))


def side_dict(side: QuoteSide) -> dict[str, Any]:
    """One side as plain Python values."""
    return {
        "price_ticks": side.price_ticks.tolist(),
        "lots": side.lots.tolist(),
        "price": side.price.tolist(),
        "size": side.size.tolist(),
        "hold": [str(Decimal(micros) / 1_000_000) for micros in side.hold.tolist()],
        "depth_bps": side.depth_bps.tolist(),
        "fill_probability": side.fill_probability.tolist(),
        "edge_bps": side.edge_bps.tolist(),
        "utility": side.utility.tolist(),
        "binding": side.binding.name,
        "reasons": [reason.name for reason in side.reasons],
        "empty": None if side.empty is None else side.empty.name,
        "relaxed": side.relaxed,
        "reduce_only": side.reduce_only,
        "budget": str(side.budget),
        "held": str(side.held),
        "entropy": side.entropy,
        "entropy_min": side.entropy_min,
        "entropy_min_used": side.entropy_min_used,
        "effective_levels": side.effective_levels,
        "objective": side.objective,
        "dual_bound": side.dual_bound,
        "regret": side.regret,
    }


def split_dict(split: Split) -> dict[str, Any]:
    """The split as plain Python values."""
    return {
        "capacity": split.capacity,
        "margin_available": str(split.margin_available),
        "usable": str(split.usable),
        "inventory_ratio": split.inventory_ratio,
        "bid_weight": split.bid_weight,
        "ask_weight": split.ask_weight,
        "bid_part": str(split.bid_part),
        "ask_part": str(split.ask_part),
        "bid_limit_lots": split.bid_limit_lots,
        "ask_limit_lots": split.ask_limit_lots,
        "pooled": split.pooled,
        "bid_free_lots": split.bid_free_lots,
        "ask_free_lots": split.ask_free_lots,
        "free_by": split.free_by,
    }


def _split_rows(split: Split) -> Columns:
    return {
        "side": [str(Side.BID), str(Side.ASK)],
        "weight": [split.bid_weight, split.ask_weight],
        "part": [float(split.bid_part), float(split.ask_part)],
        "limit_lots": [split.bid_limit_lots, split.ask_limit_lots],
        "free_lots": [split.bid_free_lots, split.ask_free_lots],
    }


def split_polars(split: Split) -> polars.DataFrame:
    """One row a side, as a polars frame; needs the extra `report`."""
    return _polars(_split_rows(split), ("side",))


def split_pandas(split: Split) -> pandas.DataFrame:
    """One row a side, as a pandas frame; needs the extra `report`."""
    return _pandas(_split_rows(split))


def split_html(split: Split) -> str:
    """A table for notebooks, one row a side, asks above."""
    rows = [
        ("ask", f"{split.ask_weight:.2f}", str(split.ask_part), str(split.ask_limit_lots), str(split.ask_free_lots)),
        ("bid", f"{split.bid_weight:.2f}", str(split.bid_part), str(split.bid_limit_lots), str(split.bid_free_lots)),
    ]
    pot = "one pot" if split.pooled else "each its own"
    caption = f"{split.usable} of {split.margin_available} usable, {pot}; inventory {split.inventory_ratio:+.2f}"
    return table_html(caption, ("", "weight", "part", "limit, lots", "free, lots"), rows)


def joint_dict(joint: JointReport) -> dict[str, Any]:
    """What the joint problem says of a quote as plain Python values."""
    return {
        "status": joint.status,
        "returned": joint.returned,
        "because": joint.because,
        "objective": joint.objective,
        "dual_bound": joint.dual_bound,
        "regret": joint.regret,
        "objective_continuous": joint.objective_continuous,
        "objective_joint": joint.objective_joint,
        "objective_inventory": joint.objective_inventory,
        "margin_price": list(joint.margin_price),
        "price_of_risk": joint.price_of_risk,
        "inventory_price": joint.inventory_price,
        "position_expected": joint.position_expected,
        "bid_share": None if joint.bid_share is None else list(joint.bid_share),
        "share_dropped": joint.share_dropped,
        "iterations": joint.iterations,
    }


def quote_compare(quote: Quote) -> Comparison:
    """The inventory rule against the joint policy for the input of this quote."""
    from equipoise.comparison import Comparison

    return Comparison(inventory=quote.under("inventory"), joint=quote.under("joint"))


def quote_dict(quote: Quote) -> dict[str, Any]:
    """A quote as plain Python values, ready for JSON."""
    certificate = quote.certificate
    return {
        "symbol": quote.market.symbol,
        "policy": quote.policy,
        "joint": None if quote.joint is None else joint_dict(quote.joint),
        "split": split_dict(quote.split),
        "margin_held": str(quote.margin_held),
        "margin_passed": str(quote.margin_passed),
        "bids": side_dict(quote.bids),
        "asks": side_dict(quote.asks),
        "certificate": {
            "ok": certificate.ok,
            "accepted": certificate.accepted,
            "margin_usable": str(certificate.margin_usable),
            "required_before": str(certificate.required_before),
            "required_after": str(certificate.required_after),
        },
    }


def quote_html(quote: Quote) -> str:
    """A table for notebooks: asks above, bids below, the way a ladder is read."""
    rows: list[tuple[str, ...]] = []
    for name, side in (("ask", quote.asks), ("bid", quote.bids)):
        lines = [
            (name, f"{price:g}", f"{size:g}", f"{hold / 1e6:,.6f}", f"{depth:.2f}")
            for price, size, hold, depth in zip(
                side.price.tolist(), side.size.tolist(), side.hold.tolist(), side.depth_bps.tolist(), strict=True
            )
        ]
        rows.extend(reversed(lines) if name == "ask" else lines)
    verdict = "certified" if quote.certificate.ok else "NOT certified"
    joint = quote.joint
    how = f"asks {quote.split.ask_weight:.2f}"
    if joint is not None:
        bids, asks = joint.margin_price
        how = (
            f"{joint.returned} ladder ({joint.because.replace('_', ' ')}), worth {joint.objective:.6g} of at most "
            f"{joint.dual_bound:.6g}, margin price {bids:.3g}/{asks:.3g}, inventory price {joint.inventory_price:+.3g}"
        )
    caption = f"{quote.market.symbol}: {quote.margin_held} of {quote.split.usable} held, {how}, {verdict}"
    return table_html(caption, ("", "price", "size", "hold", "depth, bps"), rows)


_MONEY = ("balance", "open_pnl", "equity", "used_margin_executed", "used_margin_all", "free", "withdrawable")
_COUNTS = ("live_orders", "late_fills", "overfills", "under_reserved", "pnl_missing")


def account_dict(account: BookAccount) -> dict[str, Any]:
    """An account of the reservation book as plain Python values; limits of its terms in units of its scale."""
    level = account.margin_level
    terms = account.terms
    return {
        "account_id": account.account_id,
        "currency": account.currency,
        "scale": account.scale,
        "status": str(account.status),
        "version": account.version,
        "opened_us": account.opened_us,
        "changed_us": account.changed_us,
        "watermark_us": account.watermark_us,
        **{name: str(getattr(account, name)) for name in _MONEY},
        "margin_level": None if level is None else str(level),
        **{name: getattr(account, name) for name in _COUNTS},
        "terms_version": account.terms_version,
        "terms": {
            field.name: dict(value) if isinstance(value, tuple) else value
            for field in fields(terms)
            if field.init
            for value in (getattr(terms, field.name),)
        },
    }


def _account_row(account: BookAccount) -> Columns:
    level = account.margin_level
    return {
        "account_id": [account.account_id],
        "currency": [account.currency],
        "status": [str(account.status)],
        "version": [account.version],
        **{name: [float(getattr(account, name))] for name in _MONEY},
        "margin_level": [float("nan") if level is None else float(level)],
        **{name: [getattr(account, name)] for name in _COUNTS},
    }


def account_polars(account: BookAccount) -> polars.DataFrame:
    """One row, amounts as floats, as a polars frame; needs the extra `report`."""
    return _polars(_account_row(account))


def account_pandas(account: BookAccount) -> pandas.DataFrame:
    """One row, amounts as floats, as a pandas frame; needs the extra `report`."""
    return _pandas(_account_row(account))


def account_html(account: BookAccount) -> str:
    """A table for notebooks, one row an amount."""
    rows = [(name.replace("_", " "), f"{getattr(account, name):,f}") for name in _MONEY]
    rows += [(name.replace("_", " "), str(getattr(account, name))) for name in _COUNTS]
    caption = f"{account.account_id}, {account.currency}, {account.status}, version {account.version}"
    return table_html(caption, ("", account.currency), rows)


def _plain(value: Any) -> Any:
    """What a finding expected or found, as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return str(value)


def audit_dict(report: AuditReport) -> dict[str, Any]:
    """An audit as plain Python values."""
    return {
        "account_id": report.account_id,
        "version": report.version,
        "orders": report.orders,
        "journal_records": report.journal_records,
        "ok": report.ok,
        "findings": [
            {
                "kind": finding.kind,
                "where": finding.where,
                "expected": _plain(finding.expected),
                "found": _plain(finding.found),
            }
            for finding in report.findings
        ],
    }


_FINDING = ("kind", "where", "expected", "found")


def _finding_rows(report: AuditReport) -> Columns:
    return {name: [str(getattr(finding, name)) for finding in report.findings] for name in _FINDING}


def audit_polars(report: AuditReport) -> polars.DataFrame:
    """One row a finding, as text, as a polars frame; none where nothing contradicts. Needs the extra `report`."""
    return _polars(_finding_rows(report), _FINDING)


def audit_pandas(report: AuditReport) -> pandas.DataFrame:
    """One row a finding, as text, as a pandas frame; none where nothing contradicts. Needs the extra `report`."""
    return _pandas(_finding_rows(report))


def audit_html(report: AuditReport) -> str:
    """A table for notebooks, one row a finding."""
    verdict = "nothing contradicts" if report.ok else f"{len(report.findings)} findings"
    caption = (
        f"{report.account_id}, version {report.version}: {report.orders} orders, "
        f"{report.journal_records} journal records, {verdict}"
    )
    rows = ([str(getattr(finding, name)) for name in _FINDING] for finding in report.findings)
    return table_html(caption, _FINDING, rows)
