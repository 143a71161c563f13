"""What steps write into the SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter
from typing import Any

from equipoise._rust import step_columns
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
    PackedStep,
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

__all__ = ["Writes"]

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


def _order_row(account_id: str, place_made: int, order: RawOrder) -> list[Any]:
    values: list[Any] = [account_id, order[0], place_made, *order[1:]]
    values[STATE_END + 2] = " ".join(values[STATE_END + 2])
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


class Writes:
    """What the steps of one transaction write. Most of it is kept until `flush`: rows that many of them change, the
    account's before all, are then written once, and of the others many at a time.

    Whoever looks for a record by its key looks here first; whoever selects by anything else flushes before.
    """

    __slots__ = (
        "absent",
        "accounts",
        "connection",
        "events",
        "journal",
        "orders",
        "owners",
        "requests",
        "symbols",
        "unused",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.clear()

    def clear(self) -> None:
        """Forget what is kept."""
        self.journal: list[tuple[Any, ...]] = []
        self.accounts: dict[str, tuple[BookAccount | None, BookAccount]] = {}
        """What is in the file, and what is to be."""
        self.symbols: dict[tuple[str, str, str], BookSymbol] = {}
        self.orders: dict[tuple[str, str], tuple[int | None, RawOrder]] = {}
        """The place of a new one; None: it is in the file, and has one."""
        self.owners: dict[tuple[str, str], int] = {}
        self.requests: dict[tuple[str, str], tuple[str | None, int, str | None, int | None]] = {}
        """As `AnswerRow`, and None; or the version whose journal record has fingerprint and answer."""
        self.events: dict[tuple[str, str, str], AnswerRow] = {}
        self.absent: set[tuple[str, str]] = set()
        """By account: ids that no order in the file has, nor is one known there by them."""
        self.unused: set[tuple[str, str]] = set()
        """By account: ids that no request in the file has used."""

    def take(self, account_id: str, effect: Effect, before: BookAccount | None) -> None:
        """Take over a step. `before` is the account as it was."""
        if effect.kept is not None:
            self._take_ladder(account_id, effect, effect.kept, before)
            return
        after, journal = effect.account, effect.journal
        if journal is not None:
            self.journal.append(journal_row(account_id, journal))
        if after is not None:
            kept = self.accounts.get(account_id)
            self.accounts[account_id] = (before if kept is None else kept[0], after)
        for totals in effect.symbols:
            self.symbols[account_id, totals.symbol, totals.leg] = totals
        if effect.orders:
            assert after is not None  # noqa: S101 - orders change with their account, and
            assert journal is not None  # noqa: S101 - in the journal
            changes = zip(effect.orders, journal[_JOURNAL_ORDERS], strict=True)
            for place, (order, (_, was, _)) in enumerate(changes, after.version << 32):
                key = (account_id, order[0])
                waits = self.orders.get(key)
                new = (place if was is None else None) if waits is None else waits[0]
                self.orders[key] = (new, order)
        for owner, held in effect.owners:
            self.owners[account_id, owner] = held
        if effect.request is not None:
            ident, answer = effect.request
            self.requests[account_id, ident] = (*_answer_row(answer), None)
        if effect.event is not None:
            order_id, ident, answer = effect.event
            self.events[account_id, order_id, ident] = _answer_row(answer)
        if effect.aliases or effect.rates is not None or effect.outbox or effect.lease is not None:
            self._write_aside(account_id, effect)
        if effect.upkeep is not None:
            self.flush()
            self._tidy(account_id, effect.upkeep)

    def _take_ladder(
        self, account_id: str, effect: Effect, step: tuple[str, PackedStep], before: BookAccount | None
    ) -> None:
        """Take over a step that holds a ladder: what most steps are, and all of its orders are new."""
        ident, (version, _, fingerprint, issued_us, packed) = step
        _, after, symbols, orders, _, _, _, _, _, owners, rates, outbox, _, _ = effect
        assert after is not None  # noqa: S101 - it holds more
        row, text = step_columns(packed)
        if text is None:
            self.journal.append((account_id, *row, fingerprint))
            self.requests[account_id, ident] = (None, issued_us, None, version)
        else:
            self.journal.append((account_id, *row, None))
            self.requests[account_id, ident] = (fingerprint, issued_us, text, None)
        kept = self.accounts.get(account_id)
        self.accounts[account_id] = (before if kept is None else kept[0], after)
        for totals in symbols:
            self.symbols[account_id, totals[0], totals[1]] = totals
        place = version << 32
        for order in orders:
            self.orders[account_id, order[0]] = (place, order)
            place += 1
        for owner, held in owners:
            self.owners[account_id, owner] = held
        for _, entry in outbox:
            assert entry is not None  # noqa: S101 - it is new
            self.connection.execute(_PUT_NEW_ENTRY, _entry_row(account_id, entry))
        if rates is not None:
            self._write_rates(account_id, rates)

    def flush(self) -> None:
        """Write what is kept, the journal first."""
        put = self._put
        put(_PUT_JOURNAL, self.journal)
        for account_id, (before, after) in self.accounts.items():
            if before is not None and _rare(after) == _rare(before):
                put(_MOVE_ACCOUNT, [after[_MONEY:_MONEY_END] + after[_COUNTS:_COUNTS_END] + (account_id,)])
            else:
                put(_PUT_ACCOUNT, [_account_row(after)])
        if self.symbols:
            put(_PUT_SYMBOL, [(key[0], *row) for key, row in self.symbols.items()])
        if self.orders:
            orders = self.orders.items()
            put(_PUT_ORDER, [_order_row(key[0], at, order) for key, (at, order) in orders if at is not None])
            put(_MOVE_ORDER, [_order_changes(key[0], order) for key, (at, order) in orders if at is None])
        if self.owners:
            put(_PUT_OWNER, [(*key, held) for key, held in self.owners.items()])
        if self.requests:
            put(_PUT_REQUEST, [key + answer for key, answer in self.requests.items()])
        if self.events:
            put(_PUT_EVENT, [key + answer for key, answer in self.events.items()])
        self.clear()

    def _put(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) == 1:
            self.connection.execute(sql, rows[0])
        elif rows:
            self.connection.executemany(sql, rows)

    def _write_aside(self, account_id: str, effect: Effect) -> None:
        """Write what no other table depends on."""
        execute = self.connection.execute
        for alias, order_id in effect.aliases:
            self.absent.discard((account_id, alias))
            execute("INSERT INTO aliases VALUES (?, ?, ?)", (account_id, alias, order_id))
        if effect.rates is not None:
            self._write_rates(account_id, effect.rates)
        for request_id, entry in effect.outbox:
            if entry is None:
                execute("DELETE FROM outbox WHERE account_id = ? AND request_id = ?", (account_id, request_id))
            else:
                execute(_PUT_ENTRY, _entry_row(account_id, entry))
        if effect.lease is not None:
            execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (account_id, *effect.lease))

    def _write_rates(self, account_id: str, rates: RateDeltas) -> None:
        """Count the rates that orders rest at."""
        changes = [(account_id, *key, rate, n) for key, deltas in rates.items() for rate, n in deltas.items() if n]
        self.connection.executemany(_PUT_RATE, changes)
        self.connection.executemany(_DROP_RATE, [change[:5] for change in changes])

    def _tidy(self, account_id: str, upkeep: Upkeep) -> None:
        """Let go of what is old, or make anew what is derived; everything else is in the file."""
        connection, execute = self.connection, self.connection.execute
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
