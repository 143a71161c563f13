"""`equipoise quote`: one ladder from flags or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise._rust import AccountState, Market, OrderMarginRule, Shape
from equipoise.cli.text import say, say_json, table
from equipoise.config import Config, load_config
from equipoise.errors import InputError
from equipoise.quoter import Quoter, QuoterConfig
from equipoise.report.text import number, plain

if TYPE_CHECKING:
    from equipoise._rust import Quote, QuoteSide

__all__ = ["quote"]

DEFAULTS = {
    "symbol": "X",
    "tick": "0.01",
    "lot": "0.01",
    "notional_min": "10",
    "leverage": "10",
    "position": "0",
    "volatility": "0.0001",
    "fill_rate": "0.3",
    "fill_decay": "1500",
    "horizon_s": "10",
    "risk_aversion": "0.3",
    "adverse_bps": "3",
    "adverse_decay_bps": "8",
    "fee_bps": "1.5",
}
REQUIRED = ("bid", "ask", "margin")
KNOWN = (*REQUIRED, *DEFAULTS, "mark", "position_max", "unit", "rule")
SHAPE = (
    "volatility",
    "fill_rate",
    "fill_decay",
    "horizon_s",
    "risk_aversion",
    "adverse_bps",
    "adverse_decay_bps",
    "fee_bps",
)
TEXTS = ("symbol", "rule")


def quote(options: argparse.Namespace) -> int:
    """Quote once; 1 when nothing can be quoted."""
    # A single ladder meets the market as it is: no room for moves of the mark unless asked for.
    chosen = [] if options.policy is None else [f"quoter.policy={options.policy}"]
    config = load_config(options.config, options=[*chosen, *options.set], default=Config(quoter=QuoterConfig()))
    values = {"rule": config.venue.rule, **DEFAULTS, **_input(options.input), **_flags(options)}
    for name in REQUIRED:
        if values.get(name) is None:
            raise InputError(f"--{name}", None, "given", "nothing")
    figures = {name: _figure(name, value) for name, value in values.items() if name not in TEXTS}
    bid, ask, margin = figures["bid"], figures["ask"], figures["margin"]
    mark = figures.get("mark", (bid + ask) / 2)
    if mark <= 0:
        raise InputError("--mark", None, "above 0", mark)
    market = Market(
        symbol=str(values["symbol"]),
        bid=bid,
        ask=ask,
        mark=mark,
        tick=figures["tick"],
        lot=figures["lot"],
        notional_min=figures["notional_min"],
    )
    limit = figures.get("position_max", _carried(margin * figures["leverage"] / mark, market.lot))
    state = AccountState(
        margin_available=margin, position=figures["position"], leverage=figures["leverage"], position_max=limit
    )
    unit = figures.get("unit", max(limit / 10, market.lot))
    shape = Shape(unit=float(unit), **{name: float(figures[name]) for name in SHAPE})  # type: ignore[arg-type]
    result = Quoter(config.quoter).quote(market, state, rule=_rule(str(values["rule"])), shape=shape)
    if options.json:
        say_json(result.to_dict())
    else:
        _print(result)
    return 0 if result.orders() else 1


def _rule(name: str) -> OrderMarginRule:
    try:
        return OrderMarginRule.venue(name)
    except InputError as error:
        raise InputError("--rule", None, error.requirement, error.got) from error


def _carried(contracts: Decimal, lot: Decimal) -> Decimal:
    return contracts // lot * lot


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in KNOWN if getattr(options, name) is not None}


def _input(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        values = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InputError("--input", None, "JSON", str(error)) from error
    if not isinstance(values, dict):
        raise InputError("--input", None, "a JSON object", type(values).__name__)
    for name in values:
        if name not in KNOWN:
            raise InputError("--input", None, f"an object with the keys {', '.join(KNOWN)}", name)
    return values


def _figure(name: str, value: Any) -> Decimal:
    label = "--" + name.replace("_", "-")
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        raise InputError(label, None, "a number", repr(value)) from None
    if not figure.is_finite():
        raise InputError(label, None, "a finite number", repr(value))
    return figure


def _print(result: Quote) -> None:
    rows = []
    for name, side in (("ask", result.asks), ("bid", result.bids)):
        holds = [Decimal(micros) / 1_000_000 for micros in side.hold.tolist()]
        lines = list(zip(side.price.tolist(), side.size.tolist(), holds, side.depth_bps.tolist(), strict=True))
        for price, size, hold, depth in reversed(lines) if name == "ask" else lines:
            rows.append([name, plain(price), plain(size), number(float(hold), 6), number(depth, 2)])
    say(table(rows, head=["side", "price", "size", "margin", "depth, bps"]) if rows else "nothing can be quoted")
    say()
    split = result.split
    figures = [
        ["margin held", f"{result.margin_held} of {split.usable}"],
        ["ask weight", number(split.ask_weight, 4)],
        *_joint_rows(result),
        *([f"{name} bound by", _bound(side)] for name, side in (("bids", result.bids), ("asks", result.asks))),
        *(
            [f"entropy of {name}", f"{number(side.entropy, 4)} nats, floor {number(side.entropy_min_used, 4)}"]
            for name, side in (("bids", result.bids), ("asks", result.asks))
            if len(side)
        ),
        ["certificate", "holds" if result.certificate.ok else "DOES NOT HOLD"],
    ]
    say(table(figures, left=(0, 1)))


def _joint_rows(result: Quote) -> list[list[str]]:
    """What the joint problem says, where it was asked."""
    joint = result.joint
    if joint is None:
        return []
    both = result.bids.total + result.asks.total
    bids, asks = (number(price, 6) for price in joint.margin_price)
    dropped = [["share bound", f"dropped ({joint.share_dropped})"]] if joint.share_dropped else []
    return [
        ["ask share", number(result.asks.total / both, 4) if both > 0 else "nothing quoted"],
        ["ladder", f"{joint.returned} ({joint.because.replace('_', ' ')})"],
        ["worth", f"{number(joint.objective, 6)} of at most {number(joint.dual_bound, 6)}"],
        ["price of margin", f"{bids} bids, {asks} asks"],
        ["price of inventory", number(joint.inventory_price, 6)],
        *dropped,
    ]


def _bound(side: QuoteSide) -> str:
    reasons = sorted({reason.name for reason in side.reasons if reason.name != "KEPT"})
    return side.binding.name + (f" ({', '.join(reasons)})" if reasons else "")
