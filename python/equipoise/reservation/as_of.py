"""Orders as they were at an earlier version of their account: what was read later, put back by the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from equipoise.reservation.codes import OrderState
from equipoise.reservation.records import STATE_AT, STATE_END, BookOrder, JournalRecord, OrderChange
from equipoise.reservation.steps.view import AWAITING_VENUE

__all__ = ["orders_as_of"]

TOLD = frozenset(
    {"reserve", "execute", "claim", "acknowledge", "request_cancel", "fill", "close", "amend", "settle_amend"}
    | {"reject", "cancel", "expire", "resolve", "sweep"}
)
"""Steps of which the journal tells all that they do to an order's part in the totals."""

Story = list[tuple[JournalRecord, OrderChange]]


def orders_as_of(
    version: int, orders: Mapping[str, BookOrder], journal: Sequence[JournalRecord]
) -> tuple[dict[str, BookOrder], list[str]]:
    """(orders as they were at a version, names of those that cannot be told).

    Parameters
    ----------
    version
        Of the account.
    orders
        As each was read at some time after that version; one that was archived by then is absent.
    journal
        Of the account, up to a version that is no older than any of the orders. A record that does not agree with it
        is never put back, so that nothing false in a record is hidden by what the journal says.

    Of an order that is put back the price, reason, flags, venue id and deadlines are of the later reading.
    """
    moved = {change.order_id for record in journal if record.version > version for change in record.orders}
    then, untold = dict(orders), []
    for name, story in _stories(journal, moved).items():
        order = then.pop(name, None)
        if next(change.before for record, change in story if record.version > version) is None:
            continue  # made since
        if order is not None and order.version > version:
            order = _put_back(version, order, story)
        if order is None:
            untold.append(name)
        else:
            then[name] = order
    return then, untold


def _stories(journal: Iterable[JournalRecord], names: set[str]) -> dict[str, Story]:
    stories: dict[str, Story] = {}
    for record in journal if names else ():
        for change in record.orders:
            if change.order_id in names:
                stories.setdefault(change.order_id, []).append((record, change))
    return stories


def _put_back(version: int, order: BookOrder, story: Story) -> BookOrder | None:
    """An order that was read after a version, as it was then; None where its story does not tell."""
    # An archive that compacts a record leaves its version, and less than its totals were made of.
    if order.compacted or story[0][1].before is not None or not all(record.op in TOLD for record, _ in story):
        return None
    read = [change.after for record, change in story if record.version == order.version]
    joined = all(one.after == another.before for (_, one), (_, another) in pairwise(story))
    if not joined or read != [order[STATE_AT:STATE_END]]:
        return None
    past = [(record, change) for record, change in story if record.version <= version]
    if all(move.leg != order.leg for record, _ in past for move in record.symbols if move.symbol == order.symbol):
        return None  # a late fill under another position mode has taken it to another leg since
    told = [_figures(change.after) for _, change in past]
    waits = dict(story[0][0].details).get("send") == "outbox" and all(now["state"] in AWAITING_VENUE for now in told)
    terms = _terms(past) if any(record.op == "amend" for record, _ in story) else {}
    last = past[-1][0]
    return order._replace(**told[-1], **terms, outbox=waits, changed_us=last.at_us, version=last.version)


def _figures(values: Sequence[Any] | None) -> dict[str, Any]:
    """What the journal keeps of an order, by name."""
    state, *figures = values or ()
    return dict(zip(BookOrder._fields[STATE_AT:STATE_END], (OrderState(state), *figures), strict=True))


def _terms(past: Story) -> dict[str, Any]:
    """Quantity and charge that an order had, and those asked for, from all its steps up to then."""
    made = _figures(past[0][1].after)
    lots, hold_start = made["working"], made["hold"]
    asked: dict[str, Any] = {}
    for record, change in past:
        now, details = _figures(change.after), dict(record.details)
        if record.op == "amend":
            asked = {"amend_id": record.ident, "amend_lots": details["lots"], "amend_hold": details["hold"]}
            continue
        if not asked or not (record.op == "settle_amend" or now["state"].terminal):
            continue
        if details["accepted"] if record.op == "settle_amend" else now["filled"] > lots:
            lots, hold_start = max(asked["amend_lots"], now["filled"]), asked["amend_hold"]
        asked = {}
    none = {"amend_id": None, "amend_lots": 0, "amend_hold": 0}
    return {"lots": lots, "hold_start": hold_start, **(asked or none)}
