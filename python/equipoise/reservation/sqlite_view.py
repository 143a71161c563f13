"""What a step reads of the SQLite file: one account inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from equipoise.errors import StoreCorrupt
from equipoise.reservation.group import GroupMember
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    OutboxEntry,
    Remembered,
    answer_of_record,
    order_of_raw,
)
from equipoise.reservation.requests import Request, Reserve, Timed
from equipoise.reservation.sqlite_engine import Connection
from equipoise.reservation.sqlite_rows import (
    ENTRY_COLUMNS,
    GET_ACCOUNT,
    GET_DUE,
    GET_LIVE,
    GET_ORDERS,
    GET_OUTBOX,
    GET_SYMBOLS,
    JOURNAL_COLUMNS,
    ORDER_COLUMNS,
    SYMBOL_COLUMNS,
    account_of,
    entry_of,
    order_of,
    raw_journal_of,
    remembered_of,
    text_of,
)
from equipoise.reservation.sqlite_writes import AccountWrites
from equipoise.reservation.steps import Lease, RateKey

__all__ = ["Rows", "foresee"]

_GET_SYMBOL = f"SELECT {SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? AND symbol = ? AND leg = ?"  # noqa: S608
_GET_ORDER = f"SELECT {ORDER_COLUMNS} FROM orders WHERE account_id = ? AND order_id = ?"  # noqa: S608
_GET_BY_ALIAS = f"{_GET_ORDER[:-1]}(SELECT order_id FROM aliases WHERE account_id = ? AND alias = ?)"  # noqa: S608
_GET_SETTLED = (
    f"SELECT {ORDER_COLUMNS} FROM orders WHERE account_id = ? AND changed_us <= ? "  # noqa: S608
    "AND open_lots = 0 ORDER BY place_made"
)
_GET_FIRST_KEPT = (
    "SELECT version FROM journal AS kept WHERE account_id = ? AND (at_us > ? OR EXISTS "
    "(SELECT 1 FROM requests AS known WHERE known.account_id = kept.account_id AND known.ident = kept.ident "
    "AND issued_us > ? AND ifnull(known.version, json_extract(outcome, '$[2]')) = kept.version)) "
    "ORDER BY version LIMIT 1"
)
_GET_UNFILLED = (
    "SELECT order_id FROM orders WHERE account_id = ? AND changed_us <= ? AND request_id <> '' AND filled = 0 "
    "AND overfilled = 0 AND open_lots = 0 AND state IN ('REJECTED', 'CANCELLED', 'EXPIRED')"
)
# Each name is looked up on its own: for IN the engine would first build a table of them.
_GET_TAKEN = (
    "SELECT value FROM json_each(?2) WHERE EXISTS (SELECT 1 FROM orders WHERE account_id = ?1 AND order_id = value) "
    "OR EXISTS (SELECT 1 FROM aliases WHERE account_id = ?1 AND alias = value)"
)
_IS_USED_IS_TAKEN = (
    "SELECT EXISTS (SELECT 1 FROM requests WHERE account_id = ?1 AND ident = ?2), "
    "EXISTS (SELECT 1 FROM orders WHERE account_id = ?1 AND order_id = ?3) "
    "OR EXISTS (SELECT 1 FROM aliases WHERE account_id = ?1 AND alias = ?3)"
)
_IS_POSTED_TOO = f"{_IS_USED_IS_TAKEN}, EXISTS (SELECT 1 FROM outbox WHERE account_id = ?1 AND request_id = ?2)"  # noqa: S608
_GET_USED = (
    "SELECT value FROM json_each(?2) WHERE EXISTS (SELECT 1 FROM requests WHERE account_id = ?1 AND ident = value)"
)
_GET_POSTED = (
    "SELECT value FROM json_each(?2) WHERE EXISTS (SELECT 1 FROM outbox WHERE account_id = ?1 AND request_id = value)"
)
_GET_REQUEST = "SELECT fingerprint, issued_us, outcome, version FROM requests WHERE account_id = ? AND ident = ?"
_GET_RECORD = f"SELECT fingerprint, {JOURNAL_COLUMNS} FROM journal WHERE account_id = ? AND version = ?"  # noqa: S608
_COUNT_ISSUED = "SELECT count(*) FROM requests WHERE account_id = ? AND issued_us <= ?"
_GET_EVENT = "SELECT fingerprint, at_us, outcome FROM events WHERE account_id = ? AND order_id = ? AND ident = ?"
_GET_RATES = (
    "SELECT rate, count FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? ORDER BY rate DESC"
)
_GET_ENTRY = f"SELECT {ENTRY_COLUMNS} FROM outbox WHERE account_id = ? AND request_id = ?"  # noqa: S608


def foresee(steps: Iterable[tuple[GroupMember, Rows]]) -> None:
    """Look up at once which of the ids that the steps of a transaction will ask about are in the file."""
    asked: dict[Rows, tuple[list[str], list[str], list[str]]] = {}
    for member, rows in steps:
        request = member.request
        idents, order_ids, posted = asked.setdefault(rows, ([], [], []))
        if isinstance(request, Timed):
            idents.append(request.ident)
        if isinstance(request, Reserve):
            order_ids.extend([ask[0] for ask in request.asks])
            if request.outbox:
                posted.append(request.ident)
    for rows, (idents, order_ids, posted) in asked.items():
        rows.look_for(_GET_USED, idents, rows.unused)
        rows.look_for(_GET_TAKEN, order_ids, rows.absent)
        rows.look_for(_GET_POSTED, posted, rows.unposted)


class Rows(AccountWrites):
    """View of one account inside a transaction; loads what a step asks for.

    Several steps may share it, and several transactions while nobody else writes to the file: what a step leaves takes
    the place of what was read.
    """

    __slots__ = ("_execute",)

    def __init__(self, account_id: str, connection: Connection) -> None:
        super().__init__(account_id, connection)
        self._execute = connection.execute

    def begin(self, request: Request) -> None:
        """Look up at once which ids of a ladder are in the file."""
        if not isinstance(request, Reserve):
            return
        asks, absent = request.asks, self.absent
        # The first stands for all: as a rule they have been looked up together. What is not known is asked for later.
        if (first := asks[0][0]) in absent:
            return
        if len(asks) > 1:
            self.look_for(_GET_TAKEN, [ask[0] for ask in asks], absent)
            return
        sql, ident = _IS_POSTED_TOO if request.outbox else _IS_USED_IS_TAKEN, request.ident
        used, taken, *posted = self._execute(sql, (self.account_id, ident, first)).fetchall()[0]
        if not used:
            self.unused.add(ident)
        if not taken:
            absent.add(first)
        if posted == [0]:
            self.unposted.add(ident)

    def look_for(self, sql: str, names: list[str], missing: set[str]) -> None:
        """Note which of the names the file does not have."""
        if names:
            found = self._execute(sql, (self.account_id, text_of(names))).fetchall()
            missing.update(names)
            missing.difference_update([row[0] for row in found])

    def account(self) -> BookAccount | None:
        """The account, read once."""
        if not self.loaded:
            found = self._execute(GET_ACCOUNT, (self.account_id,)).fetchall()
            self.read_account(account_of(found[0]) if found else None)
        return self.held

    def symbol(self, symbol: str, leg: str) -> BookSymbol | None:
        """Totals of a symbol and leg."""
        key = (symbol, leg)
        row = self.totals.get(key)
        if row is None:
            found = self._execute(_GET_SYMBOL, (self.account_id, symbol, leg)).fetchall()
            if not found:
                return None  # not noted: names are endless that are asked for and never held
            row = self.totals[key] = BookSymbol._make(found[0])
        return row

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows that are not found by their keys alone: what the transaction has changed of them is written before."""
        self.flush()
        return self._execute(sql, (self.account_id, *values)).fetchall()

    def symbols(self) -> Iterable[BookSymbol]:
        """Totals of all symbols."""
        return [BookSymbol._make(row) for row in self._all(GET_SYMBOLS)]

    def order(self, order_id: str) -> BookOrder | None:
        """An order by id or alias."""
        waiting = self.new_orders.get(order_id)
        if waiting is None:
            if order_id in self.absent:
                return None
            found = self._execute(_GET_ORDER, (self.account_id, order_id)).fetchall() or self._named(order_id)
            if not found:
                return None
            waiting = self.new_orders.get(found[0][0])
        return order_of(found[0]) if waiting is None else order_of_raw(waiting[1])

    def _named(self, alias: str) -> list[tuple[Any, ...]]:
        """The row of the order behind an alias; what has become of it may not be written yet."""
        key = (self.account_id, self.account_id, alias)
        found = self._execute(_GET_BY_ALIAS, key).fetchall()
        if not found and self.new_orders:
            self.flush()
            found = self._execute(_GET_BY_ALIAS, key).fetchall()
        return found

    def live(self) -> Iterable[BookOrder]:
        """Orders that are not terminal."""
        return [order_of(row) for row in self._all(GET_LIVE)]

    def due(self, before_us: int) -> Iterable[BookOrder]:
        """Orders whose answer was due before a time."""
        # By id: an index with an entry too many would name an order twice, and its hold would be released twice.
        return {row[0]: order_of(row) for row in self._all(GET_DUE, before_us)}.values()

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        """Terminal, flat orders not changed since."""
        return [order for row in self._all(_GET_SETTLED, until_us) if (order := order_of(row)).terminal]

    def unfilled(self, until_us: int) -> Iterable[str]:
        """Orders that ended without a fill, not changed since, still kept whole."""
        return [row[0] for row in self._all(_GET_UNFILLED, until_us)]

    def forgotten(self, until_us: int) -> int:
        """How many request ids were issued until a time."""
        return int(self._all(_COUNT_ISSUED, until_us)[0][0])

    def aged(self, until_us: int) -> int:
        """Highest version of the records that are all dated until a time, and that no id kept longer leads to."""
        found = self._all(_GET_FIRST_KEPT, until_us, until_us)
        account = self.account()
        return int(found[0][0]) - 1 if found else 0 if account is None else account.version

    def lease(self) -> Lease | None:
        """Which sweeper took the account last."""
        query = "SELECT sweeper, taken_us, until_us FROM leases WHERE account_id = ?"
        found = self._execute(query, (self.account_id,)).fetchall()
        return (found[0][0], found[0][1], found[0][2]) if found else None

    def request(self, ident: str) -> Remembered | None:
        """What a request id was used for."""
        if ident in self.new_requests:
            self.flush()
        elif ident in self.unused:
            return None
        found = self._execute(_GET_REQUEST, (self.account_id, ident)).fetchall()
        if not found:
            return None
        _, issued_us, _, version = found[0]
        return remembered_of(found[0]) if version is None else self._answered(version, issued_us)

    def _answered(self, version: int, issued_us: int) -> Remembered:
        """What is remembered of a reservation whose journal record has what was asked and answered."""
        found = self._execute(_GET_RECORD, (self.account_id, version)).fetchall()
        account = self.account()
        fingerprint, *record = found[0] if found else (None,)
        if fingerprint is None or account is None:
            raise StoreCorrupt(f"journal of {self.account_id} has no reservation at version {version}")
        return (fingerprint, issued_us, answer_of_record(raw_journal_of(record), account.scale))

    def event(self, order_id: str, ident: str) -> Remembered | None:
        """What an event id was used for."""
        waiting = self.new_events.get((order_id, ident))
        if waiting is not None:
            return remembered_of(waiting)
        found = self._execute(_GET_EVENT, (self.account_id, order_id, ident)).fetchall()
        return remembered_of(found[0]) if found else None

    def owned(self, owner: str) -> int:
        """What an owner holds."""
        waiting = self.new_owners.get(owner)
        if waiting is not None:
            return waiting
        query = "SELECT held FROM owners WHERE account_id = ? AND owner = ?"
        found = self._execute(query, (self.account_id, owner)).fetchall()
        return int(found[0][0]) if found else 0

    def outbox_entry(self, request_id: str) -> OutboxEntry | None:
        """Outbox entry of a request."""
        found = self._execute(_GET_ENTRY, (self.account_id, request_id)).fetchall()
        return entry_of(found[0]) if found else None

    def outbox_entries(self) -> Iterable[OutboxEntry]:
        """All outbox entries."""
        return [entry_of(row) for row in self._execute(GET_OUTBOX, (self.account_id, 0, -1)).fetchall()]

    def every(self) -> Iterable[BookOrder]:
        """All orders."""
        return [order_of(row) for row in self._all(GET_ORDERS)]

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        """Highest rate after the deltas."""
        best = 0
        for rate, change in deltas.items():
            if rate > best and change > 0:
                best = rate
        # At most one stored rate more than the step touches is read: the first the step does not take away.
        limit = len(deltas) + 1
        for rate, count in self._execute(f"{_GET_RATES} LIMIT {limit}", (self.account_id, *key)).fetchall():
            if count + deltas.get(rate, 0) > 0:
                return max(best, int(rate))
        return best
