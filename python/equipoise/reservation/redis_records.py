"""Hashes of the Redis store as records of the book."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from equipoise.errors import StoreCorrupt
from equipoise.reservation.audit import JournalBase
from equipoise.reservation.codes import AccountStatus, OrderState
from equipoise.reservation.foreign import texts, understood
from equipoise.reservation.records import (
    SHRINKS,
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OutboxEntry,
    Totals,
)
from equipoise.reservation.redis_steps import SCALES, unpacked_terms
from equipoise.reservation.steps import RateKey, standing

__all__ = [
    "SEEN",
    "Snapshot",
    "account_of",
    "base_of",
    "entries_of",
    "entry_of",
    "in_order_made",
    "missed_by",
    "order_of",
    "pairs",
    "rates_of",
    "symbol_of",
]

SEEN = 2**52
"""Added to the age of a settled order once `archive` has seen whether it shrinks (lua/orders.lua)."""
SIDES = {side: side for side in ("bid", "ask")}
LEGS = {leg: leg for leg in ("", "long", "short")}
PLACES = 1000
"""`seq` of an order is version * PLACES + place in its ladder."""


def pairs(flat: list[Any]) -> dict[str, str]:
    """A flat reply of names and values as a dictionary."""
    words = iter(texts(flat))
    return dict(zip(words, words, strict=True))


def account_of(account_id: str, fields: Mapping[str, str]) -> BookAccount:
    """user_portfolio as an account."""
    try:
        if fields["schema"] != "1":
            raise StoreCorrupt(f"{account_id} has schema {fields['schema']}, this version knows 1")
        return BookAccount(
            account_id,
            fields["currency"],
            SCALES[fields["scale"]],
            int(fields["opened_us"]),
            AccountStatus(fields["status"]),
            int(fields["version"]),
            int(fields["balance"]),
            int(fields["open_pnl"]),
            int(fields["used_margin_executed"]),
            int(fields["used_margin_all"]),
            unpacked_terms(fields["terms"]),
            int(fields["terms_version"]),
            int(fields["watermark_us"]),
            int(fields["live_orders"]),
            int(fields["late_fills"]),
            int(fields["overfills"]),
            int(fields["under_reserved"]),
            int(fields["pnl_missing"]),
            int(fields["changed_us"]),
            int(fields["records"]),
            int(fields["exported_version"]),
            int(fields["trimmed_version"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreCorrupt(f"user_portfolio of {account_id} is not a record of the book ({error!r})") from error


def symbol_of(field: str, packed: str) -> BookSymbol:
    """One field of user_symbols as the running totals of a symbol and leg."""
    symbol, _, leg = field.partition("\x1f")
    try:
        return BookSymbol(symbol, leg, *[int(word) for word in packed.split(" ")])
    except (ValueError, TypeError) as error:
        raise StoreCorrupt(f"user_symbols has {packed!r} for {symbol}") from error


def order_of(order_id: str, scale: int, fields: Mapping[str, str]) -> BookOrder:
    """user_holdings as an order. Figures that are zero and texts that are empty are absent."""
    try:
        version, place = divmod(int(fields["seq"]), PLACES)
        # A shrunken ticket may have been filled late, and closed after that.
        if "request_id" not in fields and OrderState(fields["state"]) in {*SHRINKS, OrderState.CLOSED}:
            fields = {"price_ticks": "0", "request_id": "", "created_us": "0", "deadline_us": "0", **fields}
        lots, filled, released = int(fields["lots"]), int(fields.get("filled", 0)), int(fields.get("released", 0))
        created = fields["created_us"]
        amend_deadline = fields.get("amend_deadline_us")
        good_till, cancel = fields.get("good_till_us"), fields.get("cancel_deadline_us")
        order = BookOrder(
            order_id,
            fields["symbol"],
            LEGS[fields.get("leg", "")],
            SIDES[fields["side"]],
            lots,
            int(fields.get("price_ticks", 0)),
            scale,
            int(fields.get("hold_start", 0)),
            fields.get("reduce_only") == "1",
            fields.get("reduces") == "1",
            fields.get("order_type", "limit"),
            fields.get("owner", ""),
            fields["request_id"],
            place,
            int(created),
            int(fields["deadline_us"]),
            None if good_till is None else int(good_till),
            OrderState(fields["state"]),
            int(fields.get("reserved_margin", 0)),
            filled,
            0,
            released,
            int(fields.get("overfilled", 0)),
            int(fields.get("open_lots", 0)),
            int(fields.get("margin", 0)),
            int(fields.get("released_margin", 0)),
            tuple(fields["flags"].split()) if "flags" in fields else (),
            fields.get("reason", ""),
            fields.get("venue_id"),
            None if cancel is None else int(cancel),
            fields.get("outbox") == "1",
            fields.get("amend_id"),
            int(fields.get("amend_lots", 0)),
            int(fields.get("amend_hold", 0)),
            int(fields.get("amend_price_ticks", 0)),
            None if amend_deadline is None else int(amend_deadline),
            int(fields.get("changed_us", created)),
            int(fields.get("version", version)),
        )
        # Lots that work are not stored: for a live order they follow from what has filled.
        return order if order.state.terminal else order._replace(working=standing(order, filled)[0])
    except (KeyError, ValueError) as error:
        raise StoreCorrupt(f"user_holdings of {order_id} is not a record of the book ({error!r})") from error


def entry_of(version: int, fields: Mapping[str, str], waiting: str | None) -> OutboxEntry:
    """An entry of user_outbox, with what user_waiting says of it: nothing while none of its orders is answered."""
    with understood(f"user_outbox has {fields!r}, user_waiting {waiting!r}, which"):
        ids = tuple(json.loads(fields["order_ids"]))
        _ = [name.encode() for name in ids]  # what is no text cannot be asked for
        open_orders = len(ids) if waiting is None else int(waiting.split(" ")[1])
        return OutboxEntry(
            fields["request_id"], version, int(fields["created_us"]), int(fields["deadline_us"]), ids, open_orders
        )


def entries_of(raw: Iterable[Any]) -> list[tuple[int, dict[str, str]]]:
    """Version and fields of entries of user_outbox; one that was deleted while it was pending has no fields."""
    found = [(int(ident.split(b"-")[0]), pairs(fields)) for ident, fields in raw if fields]
    for version, fields in found:
        if "request_id" not in fields:
            raise StoreCorrupt(f"user_outbox has {fields!r} at {version}")
    return found


def base_of(fields: Mapping[str, str]) -> JournalBase:
    """user_base as what the journal said up to its last trimmed record."""
    base = JournalBase()
    if "version" not in fields:
        return base
    with understood("user_base"):
        base.version, base.totals = int(fields["version"]), Totals(*json.loads(fields["totals"]))
        for name, value in fields.items():
            if name.startswith("s:"):
                symbol, _, leg = name[2:].partition("\x1f")
                base.symbols[symbol, leg] = tuple(json.loads(value))
            elif name.startswith("o:"):
                state, *figures = json.loads(value)
                base.orders[name[2:]] = (OrderState(state), *figures)
    return base


def rates_of(members: list[bytes]) -> dict[RateKey, dict[int, int]]:
    """user_rates as counts per rate."""
    counts: dict[RateKey, dict[int, int]] = {}
    for member in texts(members):
        with understood(f"user_rates has {member!r}, which"):
            kind, symbol, rate, _ = member.split("\x1f", 3)
            counted = counts.setdefault((symbol, "", kind), {})
            counted[int(rate)] = counted.get(int(rate), 0) + 1
    return counts


class Snapshot:
    """What snapshot.lua returned, as records."""

    __slots__ = (
        "account",
        "aliases",
        "base",
        "due",
        "live_ids",
        "order_ids",
        "orders",
        "outbox",
        "owners",
        "rates",
        "requests",
        "symbols",
    )

    def __init__(self, account_id: str, found: list[Any], order_ids: Sequence[str]) -> None:
        portfolio, symbols, orders, aliases, owners, rates, outbox, waiting, base, requests, due, *records = found
        self.requests: int = requests
        self.account = account_of(account_id, pairs(portfolio))
        scale = self.account.scale
        self.orders = {
            name: order_of(name, scale, pairs(record))
            for name, record in zip(order_ids, records, strict=True)
            if record
        }
        self.symbols = tuple([symbol_of(name, value) for name, value in pairs(symbols).items()])
        self.order_ids = in_order_made(orders)
        scores = pairs(orders)
        with understood("user_due"):
            self.due = {name: float(score) for name, score in pairs(due).items()}
        self.live_ids = frozenset(name for name, score in scores.items() if float(score) > 0)
        self.aliases = pairs(aliases)
        with understood("user_owners"):
            self.owners = {name: int(held) for name, held in pairs(owners).items()}
        self.rates = rates_of(rates)
        self.base = base_of(pairs(base))
        left = pairs(waiting)
        self.outbox = tuple(
            [entry_of(version, fields, left.get(fields["request_id"])) for version, fields in entries_of(outbox)]
        )

    def index_fault(self, orders: Mapping[str, BookOrder], later: Collection[str]) -> str:
        """What is wrong between the orders and the indexes over them; empty: nothing.

        `later`: orders whose deadlines are of a later reading; they are looked for in the index of all only.
        """
        listed = frozenset(self.order_ids)
        for name in sorted(listed ^ orders.keys()):
            return f"user_orders {'has' if name in listed else 'lacks'} {name}"
        for name, order in orders.items():
            score, right = self.due.get(name), _due_scores(order)
            if name not in later and score not in right:
                return f"user_due has {score} for {name}, which is {right[0]}"
        for name in self.due.keys() - orders.keys():
            return f"user_due has {name}"
        return ""


def _due_scores(order: BookOrder) -> tuple[float | None, ...]:
    """Scores that an order may have in user_due: when its answer is due, or since when it is settled, negative."""
    if not order.terminal:
        return (None if order.overdue_us is None else max(order.overdue_us, 1),)
    settled = min(max(order.changed_us, 1), SEEN - 1)
    return (None,) if order.open_lots else (-settled, -settled - SEEN)


def in_order_made(flat: list[bytes]) -> list[str]:
    """Ids of the order index; the score is the place made, negative for terminal ones."""
    scored = pairs(flat)
    return sorted(scored, key=lambda name: abs(float(scored[name])))


def missed_by(index: Iterable[str], base: JournalBase, journal: Iterable[JournalRecord]) -> list[str]:
    """Orders that the journal knows and the index does not, as when the index was damaged."""
    known = dict.fromkeys(base.orders)
    for record in journal:
        for change in record.orders:
            if change.after is None:
                known.pop(change.order_id, None)
            else:
                known[change.order_id] = None
    listed = frozenset(index)
    return [name for name in known if name not in listed]
