"""What steps write into the SQLite file, and what they know of it until then."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from equipoise._rust import Slate
from equipoise.reservation.audit import JournalBase
from equipoise.reservation.records import (
    COMPACTED,
    STATE_AT,
    STATE_END,
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OutboxEntry,
    RawEntry,
    RawJournal,
    RawOrder,
    Remembered,
    Terms,
    Totals,
    raw_entry,
)
from equipoise.reservation.sqlite_engine import Connection
from equipoise.reservation.sqlite_rows import (
    ACCOUNT_STATUS_AT,
    ACCOUNT_TERMS_AT,
    GET_ORDERS,
    GET_SYMBOLS,
    JOURNAL,
    journal_of,
    must_account,
    order_of,
    text_of,
)
from equipoise.reservation.steps import Effect, Indexes, Upkeep
from equipoise.reservation.steps.view import RateDeltas

__all__ = ["AccountWrites", "write"]

_TERMS_NAMES = tuple(item.name for item in fields(Terms) if item.init)
_RARELY = ("leg", "lots", "price_ticks", "hold_start")
"""Columns of an order that amendments change, and a late fill under another position mode."""
_RARELY_AT = tuple(BookOrder._fields.index(name) for name in _RARELY)
_ORDER_CHANGES = (*_RARELY, *BookOrder._fields[STATE_AT:])
"""Columns that a step on an order may change."""
_CHANGED_FLAGS = _ORDER_CHANGES.index("flags")


def _holes(count: int) -> str:
    return ",".join("?" * count)


def _insert(table: str, names: Sequence[str], keys: Sequence[str], update: Sequence[str] | None = None) -> str:
    """INSERT that replaces everything but the key when the row is there."""
    changed = [name for name in names if name not in keys] if update is None else update
    columns = ", ".join(names)
    after = ", ".join(f"{name} = excluded.{name}" for name in changed)
    key = ", ".join(keys)
    return f"INSERT INTO {table} ({columns}) VALUES ({_holes(len(names))}) ON CONFLICT ({key}) DO UPDATE SET {after}"  # noqa: S608


_JOURNAL_ORDERS = JournalRecord._fields.index("orders")

_PUT_ACCOUNT = _insert("accounts", BookAccount._fields, ("account_id",))
_MONEY, _MONEY_END = BookAccount._fields.index("version"), BookAccount._fields.index("terms")
_COUNTS, _COUNTS_END = BookAccount._fields.index("live_orders"), BookAccount._fields.index("exported_version")
_MOVED = (*BookAccount._fields[_MONEY:_MONEY_END], *BookAccount._fields[_COUNTS:_COUNTS_END])
"""What nearly every step changes of an account."""
_MOVE_ACCOUNT = f"UPDATE accounts SET {', '.join([f'{name} = ?' for name in _MOVED])} WHERE account_id = ?"  # noqa: S608
_rare = itemgetter(*[place for place, name in enumerate(BookAccount._fields) if name not in _MOVED])
"""What few steps change of it."""
# Every step hands these texts over, and the engine's cache hashes them whole: so they name no column. Lifted files have
# their columns in the order of new ones.
_PUT_SYMBOL = f"INSERT OR REPLACE INTO symbols VALUES ({_holes(1 + len(BookSymbol._fields))})"  # noqa: S608
_PUT_ORDER = f"INSERT INTO orders VALUES ({_holes(2 + len(BookOrder._fields))})"  # noqa: S608
_MOVE_ORDER = (
    f"UPDATE orders SET {', '.join([f'{name} = ?' for name in _ORDER_CHANGES])} WHERE account_id = ? AND order_id = ?"  # noqa: S608
)
# Left to itself the engine goes through all orders of the account.
_THESE_ORDERS = "orders INDEXED BY orders_by_id"
_COMPACT = (
    f"UPDATE {_THESE_ORDERS} SET {', '.join(f'{name} = ?' for name in COMPACTED)} "  # noqa: S608
    "WHERE account_id = ? AND order_id IN (SELECT value FROM json_each(?))"
)
_PUT_RATE = (
    "INSERT INTO rates (account_id, symbol, leg, kind, rate, count) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (account_id, symbol, leg, kind, rate) DO UPDATE SET count = count + excluded.count"
)
_DROP_RATE = "DELETE FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? AND rate = ? AND count = 0"
_PUT_JOURNAL = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_REQUEST = "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?)"
_PUT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)"
_PUT_OWNER = "INSERT OR REPLACE INTO owners VALUES (?, ?, ?)"
_PUT_ALIAS = "INSERT INTO aliases VALUES (?, ?, ?)"
_PUT_LEASE = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)"
_PUT_NEW_ENTRY = "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_ENTRY = _insert("outbox", ("account_id", *OutboxEntry._fields), ("account_id", "request_id"), ("open_orders",))


@lru_cache(maxsize=256)
def _terms_text(terms: Terms) -> str:
    return text_of({name: getattr(terms, name) for name in _TERMS_NAMES})


def _account_row(account: BookAccount) -> list[Any]:
    values: list[Any] = list(account)
    values[ACCOUNT_STATUS_AT] = account.status.value
    values[ACCOUNT_TERMS_AT] = _terms_text(account.terms)
    return values


def _order_changes(account_id: str, order: RawOrder) -> list[Any]:
    """What may have changed of an order that is in the file, and its key."""
    values: list[Any] = [*[order[place] for place in _RARELY_AT], *order[STATE_AT:], account_id, order[0]]
    values[_CHANGED_FLAGS] = " ".join(values[_CHANGED_FLAGS])
    return values


def _entry_row(account_id: str, entry: RawEntry) -> tuple[Any, ...]:
    return (account_id, *entry[:4], text_of(entry[4]), entry[5])


def journal_row(account_id: str, raw: RawJournal) -> tuple[Any, ...]:
    return (account_id, *raw[:6], text_of(raw[6:]), None)


AnswerRow = tuple[str, int, str | None]
"""What is remembered of an id, as the file has it."""


def _answer_row(answer: Remembered) -> AnswerRow:
    fingerprint, at_us, packed = answer
    return (fingerprint, at_us, None if packed is None else text_of(packed))


class AccountWrites(Slate):
    """What the steps of a transaction know of an account without asking the file, and what they write of it.

    Most of it is kept until the end: rows that many of them change, the account's before all, are then written once,
    and of the others many at a time. Whoever looks for a record by its key looks here first; whoever selects by
    anything else flushes before. What a ladder needs and leaves, which most steps are, is in the base.
    """

    __slots__ = ("connection",)

    def __init__(self, account_id: str, connection: Connection) -> None:  # noqa: ARG002 - the base has taken it
        self.connection = connection

    def take(self, effect: Effect) -> None:
        """Take over what a step leaves to be written."""
        if effect.kept is None:
            self._take_step(effect)
        else:
            self.take_ladder(effect)
        if effect.outbox:
            self._write_entries(effect)
        if effect.rates is not None:
            self._write_rates(effect.rates)
        for alias, order_id in effect.aliases:
            self.absent.discard(alias)
            self.connection.execute(_PUT_ALIAS, (self.account_id, alias, order_id))
        if effect.lease is not None:
            self.connection.execute(_PUT_LEASE, (self.account_id, *effect.lease))
        if effect.upkeep is not None:
            self.flush()
            self._tidy(effect.upkeep)

    def flush(self) -> None:
        """Write what is kept."""
        write(self.connection, (self,))

    def _take_step(self, effect: Effect) -> None:
        """Take over a step that is no ladder."""
        account_id, after, journal = self.account_id, effect.account, effect.journal
        if journal is not None:
            self.new_journal.append(journal_row(account_id, journal))
        if after is not None:
            self.move_account(after)
        for totals in effect.symbols:
            self.totals[totals.symbol, totals.leg] = self.new_totals[totals.symbol, totals.leg] = totals
        if effect.orders:
            assert after is not None  # noqa: S101 - orders change with their account, and
            assert journal is not None  # noqa: S101 - in the journal
            changes = zip(effect.orders, journal[_JOURNAL_ORDERS], strict=True)
            for place, (order, (_, was, _)) in enumerate(changes, after.version << 32):
                waits = self.new_orders.get(order[0])
                new = (place if was is None else None) if waits is None else waits[0]
                self.new_orders[order[0]] = (new, order)
        self.new_owners.update(effect.owners)
        if effect.request is not None:
            ident, answer = effect.request
            self.new_requests[ident] = (account_id, ident, *_answer_row(answer), None)
        if effect.event is not None:
            order_id, ident, answer = effect.event
            self.new_events[order_id, ident] = _answer_row(answer)

    def _write_entries(self, effect: Effect) -> None:
        """Write or delete entries of the outbox."""
        execute, account_id = self.connection.execute, self.account_id
        for request_id, entry in effect.outbox:
            if entry is None:
                execute("DELETE FROM outbox WHERE account_id = ? AND request_id = ?", (account_id, request_id))
            else:
                self.unposted.discard(request_id)
                execute(_PUT_ENTRY if effect.kept is None else _PUT_NEW_ENTRY, _entry_row(account_id, entry))

    def _write_rates(self, rates: RateDeltas) -> None:
        """Count the rates that orders rest at."""
        account_id = self.account_id
        changes = [(account_id, *key, rate, n) for key, deltas in rates.items() for rate, n in deltas.items() if n]
        self.connection.executemany(_PUT_RATE, changes)
        self.connection.executemany(_DROP_RATE, [change[:5] for change in changes])

    def _tidy(self, upkeep: Upkeep) -> None:
        """Let go of what is old, or make anew what is derived; everything else is in the file."""
        account_id, connection, execute = self.account_id, self.connection, self.connection.execute
        if upkeep.watermark_us is not None:
            execute("DELETE FROM requests WHERE account_id = ? AND issued_us <= ?", (account_id, upkeep.watermark_us))
            ids = text_of(upkeep.archived)
            for table in (_THESE_ORDERS, "events", "aliases"):
                where = "account_id = ? AND order_id IN (SELECT value FROM json_each(?))"
                execute(f"DELETE FROM {table} WHERE {where}", (account_id, ids))  # noqa: S608
        if upkeep.compacted:
            ids = text_of(upkeep.compacted)
            execute(_COMPACT, (*COMPACTED.values(), account_id, ids))
            execute(
                "DELETE FROM events WHERE account_id = ? AND order_id IN (SELECT value FROM json_each(?))",
                (account_id, ids),
            )
        if upkeep.trim_version is not None:
            _trim(connection, account_id, upkeep.trim_version)
        if upkeep.indexes is not None:
            _reindex(connection, account_id, upkeep.indexes)
        if upkeep.rebase:
            _rebase(connection, account_id)


def write(connection: Connection, accounts: Collection[AccountWrites]) -> None:
    """Write what is kept of these accounts, the journal first, and at once for all of them what most steps leave."""
    kept = [account.unwritten() for account in accounts]
    parts = kept[0] if len(kept) == 1 else [list(chain.from_iterable(part)) for part in zip(*kept, strict=True)]
    journal, totals, orders, owners, requests, _ = parts
    _put(connection, _PUT_JOURNAL, journal)
    for account in accounts:
        if account.changed:
            _put_account(connection, account.before, account.held)
    _put(connection, _PUT_SYMBOL, totals)
    _put(connection, _PUT_ORDER, orders)
    for account, (*_, moved) in zip(accounts, kept, strict=True):
        if moved:
            _put(connection, _MOVE_ORDER, [_order_changes(account.account_id, order) for order in moved])
        if account.new_events:
            events = account.new_events.items()
            _put(connection, _PUT_EVENT, [(account.account_id, *key, *answer) for key, answer in events])
    _put(connection, _PUT_OWNER, owners)
    _put(connection, _PUT_REQUEST, requests)
    for account in accounts:
        account.wipe()


def _put_account(connection: Connection, before: BookAccount | None, after: BookAccount | None) -> None:
    assert after is not None  # noqa: S101 - no step takes an account away
    if before is not None and _rare(after) == _rare(before):
        moved = after[_MONEY:_MONEY_END] + after[_COUNTS:_COUNTS_END]
        connection.execute(_MOVE_ACCOUNT, (*moved, after.account_id))
    else:
        connection.execute(_PUT_ACCOUNT, _account_row(after))


def _put(connection: Connection, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    if len(rows) == 1:
        connection.execute(sql, rows[0])
    elif rows:
        connection.executemany(sql, rows)


def _reindex(connection: Connection, account_id: str, indexes: Indexes) -> None:
    """Write anew what is derived from the orders. Which of them are live is an index over their rows."""
    execute, many = connection.execute, connection.executemany
    execute("REINDEX")
    anew = {"owners": indexes.owners is not None, "rates": indexes.rates is not None, "outbox": True}
    for table in [name for name, written in anew.items() if written]:
        execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))  # noqa: S608
    execute(
        "DELETE FROM aliases WHERE account_id = ?1 "
        "AND order_id NOT IN (SELECT order_id FROM orders WHERE account_id = ?1)",
        (account_id,),
    )
    many("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", [(account_id, *alias) for alias in indexes.aliases])
    many("INSERT INTO owners VALUES (?, ?, ?)", [(account_id, *owner) for owner in indexes.owners or ()])
    rates = [(account_id, *key, *item) for key, counts in (indexes.rates or {}).items() for item in counts.items()]
    many(_PUT_RATE, rates)
    many(_PUT_NEW_ENTRY, [_entry_row(account_id, raw_entry(entry)) for entry in indexes.outbox])


def _rebase(connection: Connection, account_id: str) -> None:
    """Let the journal begin at the state as it is now; its earlier records stay for reading."""
    execute = connection.execute
    for table in ("base_symbols", "base_orders"):
        execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))  # noqa: S608
    account = must_account(connection, account_id)
    base = JournalBase(account.version, Totals(*account.totals))
    for row in execute(GET_SYMBOLS, (account_id,)).fetchall():
        base.symbols[row[0], row[1]] = tuple(row[2:6])
    for order in map(order_of, execute(GET_ORDERS, (account_id,)).fetchall()):
        base.orders[order.order_id] = order[STATE_AT:STATE_END]
    _put_base(connection, account_id, base)


def _trim(connection: Connection, account_id: str, version: int) -> None:
    """Fold journal records up to a version into the base and delete them."""
    execute = connection.execute
    old = execute(f"{JOURNAL} AND version <= ? ORDER BY version", (account_id, version)).fetchall()
    if not old:
        return
    begun = execute("SELECT version FROM journal_base WHERE account_id = ?", (account_id,)).fetchall()
    base = JournalBase(begun[0][0] if begun else 0)
    gone: set[str] = set()
    for record in map(journal_of, old):
        if record.version <= base.version:
            continue
        base.fold(record)
        gone.update(change.order_id for change in record.orders if change.after is None)
    connection.executemany(
        "DELETE FROM base_orders WHERE account_id = ? AND order_id = ?",
        [(account_id, order_id) for order_id in gone],
    )
    if not begun or base.version > begun[0][0]:
        _put_base(connection, account_id, base)
    execute("DELETE FROM journal WHERE account_id = ? AND version <= ?", (account_id, version))


def _put_base(connection: Connection, account_id: str, base: JournalBase) -> None:
    """Move the base on to the version of `base`, which has what changed since."""
    connection.execute(
        "INSERT OR REPLACE INTO journal_base VALUES (?, ?, ?)", (account_id, base.version, text_of(base.totals))
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base_symbols VALUES (?, ?, ?, ?)",
        [(account_id, *key, text_of(state)) for key, state in base.symbols.items()],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base_orders VALUES (?, ?, ?)",
        [(account_id, order_id, text_of(state)) for order_id, state in base.orders.items()],
    )
