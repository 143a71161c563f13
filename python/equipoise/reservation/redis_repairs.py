"""Repairs of the Redis store: computed here from everything an account has at one version, written by one script.

A repair may have to look at every order, so it is no script of its own: the step of the other stores runs on records
that were read beforehand, and `lua/apply.lua` writes its effect only if the account is still at that version.
"""

from __future__ import annotations

import json
from typing import Any

from equipoise.reservation.audit import Holdings
from equipoise.reservation.memory import CountedRates, _Shelf
from equipoise.reservation.records import STATE_AT, STATE_END, BookOrder, digest_of, order_of_raw, raw_entry
from equipoise.reservation.steps import NOT_TERMINAL, Effect, Indexes, Upkeep, counted, counted_rate, order_rate
from equipoise.reservation.steps.draft import snapshot

__all__ = ["KeptView", "written"]


class KeptView(_Shelf):
    """The records that were read, as a step sees them."""

    __slots__ = ("request_count",)

    def __init__(self, kept: Holdings) -> None:
        super().__init__()
        self.held = kept.account
        self.rows = {(row.symbol, row.leg): row for row in kept.symbols}
        self.orders = dict(kept.orders)
        self.working = {name: order.overdue_us for name, order in kept.orders.items() if name in kept.live_ids}
        self.aliases = dict(kept.aliases)
        self.owners = dict(kept.owners)
        self.outbox = {entry.request_id: raw_entry(entry) for entry in kept.outbox}
        self.request_count = kept.requests
        for key, counts in kept.rates.items():
            rates = self.rates[key] = CountedRates()
            for rate, count in counts.items():
                rates.set_count(rate, count)

    def forgotten(self, until_us: int) -> int:  # noqa: ARG002 - a repair asks for all of them
        """How many request ids there are; they were counted, not read."""
        return self.request_count


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def written(kept: Holdings, effect: Effect) -> tuple[list[str], list[str]]:
    """(ids of the records, ARGV from the seventh on) of lua/apply.lua for a repair's effect."""
    account, journal = effect.account, effect.journal
    assert account is not None  # noqa: S101 - a repair that is done writes both
    assert journal is not None  # noqa: S101
    written = [order_of_raw(raw) for raw in effect.orders]
    changed = {order.order_id: order for order in written}
    orders = {**kept.orders, **changed}
    standing = [(order.order_id, snapshot(order)) for order in orders.values() if order.state in NOT_TERMINAL]
    portfolio: dict[str, Any] = {
        "version": account.version,
        "status": account.status.value,
        "balance": account.balance_units,
        "open_pnl": account.open_pnl_units,
        "used_margin_executed": account.executed_units,
        "used_margin_all": account.all_units,
        "live_orders": account.live_orders,
        "records": account.records,
        "changed_us": account.changed_us,
        "digest": digest_of(standing),
    }
    symbols: list[str] = []
    for row in effect.symbols:
        symbols += (f"{row.symbol}\x1f{row.leg}" if row.leg else row.symbol, " ".join(map(str, row[2:])))
    set_, gone = _order_fields(written[0]) if written else ([], [])
    upkeep = effect.upkeep or Upkeep()
    ids = list(orders) if upkeep.indexes is not None else list(changed)
    values = [
        str(kept.account.version),
        str(kept.account.open_pnl_units),
        _text([*journal, None, []]),
        _text([str(item) for pair in portfolio.items() for item in pair]),
        _text(symbols),
        _text(set_),
        _text(gone),
        _indexes(upkeep.indexes, orders, larger_leg=account.terms.combine == "larger_leg"),
        _base(kept, effect) if upkeep.rebase else "",
    ]
    return ids, [*values, *ids]


def _order_fields(order: BookOrder) -> tuple[list[str], list[str]]:
    """(names and values to set, names to delete) of what a repair may change of a record."""
    status, execution = order.wire
    fields: dict[str, Any] = {
        "state": order.state.value,
        "order_status": status,
        "execution_status": execution,
        "lots": order.lots,
        "hold_start": order.hold_start,
        "price_ticks": order.price_ticks,
        "reserved_margin": order.hold,
        "filled": order.filled,
        "released": order.released,
        "overfilled": order.overfilled,
        "open_lots": order.open_lots,
        "margin": order.margin,
        "released_margin": order.hold_released,
        "amend_id": order.amend_id,
        "amend_lots": order.amend_lots,
        "amend_hold": order.amend_hold,
        "amend_price_ticks": order.amend_price_ticks,
        "amend_deadline_us": order.amend_deadline_us,
        "cancel_deadline_us": order.cancel_deadline_us,
        "outbox": int(order.outbox),
        "changed_us": order.changed_us,
        "version": order.version,
    }
    kept = [str(item) for name, value in fields.items() if value not in (0, None) for item in (name, value)]
    return kept, [name for name, value in fields.items() if value in (0, None)]


def _indexes(indexes: Indexes | None, orders: dict[str, BookOrder], *, larger_leg: bool) -> str:
    """What is derived from the orders, as apply.lua takes it."""
    if indexes is None:
        return ""
    owners = None if indexes.owners is None else [[name, str(held)] for name, held in indexes.owners]
    rates: list[str] = []
    for order in orders.values() if larger_leg else ():
        if order.working and counted(order):
            rates.append(f"orders\x1f{order.symbol}\x1f{counted_rate(order):016d}\x1f{order.order_id}")
        if order.open_lots:
            rate = order_rate(order.margin, order.open_lots)
            rates.append(f"tickets\x1f{order.symbol}\x1f{rate:016d}\x1f{order.order_id}")
    entries = [
        [
            str(entry.version),
            entry.request_id,
            str(entry.created_us),
            str(entry.deadline_us),
            _text(entry.order_ids),
            str(entry.open_orders),
        ]
        for entry in sorted(indexes.outbox, key=lambda entry: entry.version)
    ]
    return _text([owners, None if indexes.rates is None else rates, entries, indexes.aliases])


def _base(kept: Holdings, effect: Effect) -> str:
    """The journal's base: the state after this step."""
    assert effect.account is not None  # noqa: S101 - a repair that is done writes it
    rows = {(row.symbol, row.leg): row for row in (*kept.symbols, *effect.symbols)}
    orders = {**kept.orders, **{raw[0]: order_of_raw(raw) for raw in effect.orders}}
    fields = ["version", str(effect.account.version), "totals", _text(effect.account.totals)]
    for (symbol, leg), row in rows.items():
        fields += (f"s:{symbol}\x1f{leg}" if leg else f"s:{symbol}", _text(row[2:6]))
    for name, order in orders.items():
        fields += (f"o:{name}", _text([order.state.value, *order[STATE_AT + 1 : STATE_END]]))
    return _text(fields)
