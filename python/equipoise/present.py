"""Quotes for people: dictionaries, data frames, a table in a notebook."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any

from equipoise.orders import Order, Side

if TYPE_CHECKING:
    import pandas
    import polars

    from equipoise._rust import Quote, QuoteSide, Split

__all__ = [
    "quote_dict",
    "quote_html",
    "quote_orders",
    "quote_pandas",
    "quote_polars",
    "quote_rows",
    "side_dict",
    "split_dict",
]


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


def quote_rows(quote: Quote) -> dict[str, list[Any]]:
    """Columns of a quote's orders, one row an order."""
    columns: dict[str, list[Any]] = {"side": []}
    for name, side in ((Side.BID, quote.bids), (Side.ASK, quote.asks)):
        columns["side"].extend([str(name)] * len(side))
        for field in ("price", "size", "hold", "depth_bps", "fill_probability", "edge_bps", "utility"):
            columns.setdefault(field, []).extend(getattr(side, field).tolist())
    columns["hold"] = [Decimal(micros) / 1_000_000 for micros in columns["hold"]]
    return columns


def quote_polars(quote: Quote) -> polars.DataFrame:
    """The orders as a polars frame; needs the extra `report`."""
    import polars as pl

    return pl.DataFrame({**quote_rows(quote), "hold": [float(hold) for hold in quote_rows(quote)["hold"]]})


def quote_pandas(quote: Quote) -> pandas.DataFrame:
    """The orders as a pandas frame; needs the extra `report`."""
    import pandas as pd

    return pd.DataFrame({**quote_rows(quote), "hold": [float(hold) for hold in quote_rows(quote)["hold"]]})


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
    }


def quote_dict(quote: Quote) -> dict[str, Any]:
    """A quote as plain Python values, ready for JSON."""
    certificate = quote.certificate
    return {
        "symbol": quote.market.symbol,
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
    rows = []
    for name, side in (("ask", quote.asks), ("bid", quote.bids)):
        lines = list(
            zip(side.price.tolist(), side.size.tolist(), side.hold.tolist(), side.depth_bps.tolist(), strict=True)
        )
        for price, size, hold, depth in reversed(lines) if name == "ask" else lines:
            cells = "".join(
                f"<td>{escape(text)}</td>" for text in (f"{price:g}", f"{size:g}", f"{hold / 1e6:,.6f}", f"{depth:.2f}")
            )
            rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    verdict = "certified" if quote.certificate.ok else "NOT certified"
    caption = (
        f"{escape(quote.market.symbol)}: {quote.margin_held} of {quote.split.usable} held, "
        f"asks {quote.split.ask_weight:.2f}, {verdict}"
    )
    head = "<tr><th></th><th>price</th><th>size</th><th>hold</th><th>depth, bps</th></tr>"
    return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
