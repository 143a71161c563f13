"""Rows of the SQLite file as the book's records, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter
from typing import Any

from equipoise.errors import InputError
from equipoise.reservation.audit import Holdings, JournalBase
from equipoise.reservation.codes import AccountStatus, OrderState
from equipoise.reservation.records import (
    COMPACTED,
    STATE_AT,
    STATE_END,
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OutboxEntry,
    RawJournal,
    Remembered,
    Terms,
    Totals,
    journal_record,
)
from equipoise.reservation.requests import Request, Reserve
from equipoise.reservation.sqlite_engine import Connection, Cursor
from equipoise.reservation.steps import Effect, Indexes, Lease, RateKey

__all__ = [
    "GET_DUE",
    "GET_HELD",
    "GET_JOURNAL",
    "GET_LIVE",
    "GET_ORDERS",
    "GET_OUTBOX",
    "GET_SYMBOLS",
    "NEVER_US",
    "Rows",
    "entry_of",
    "holdings",
    "journal_of",
    "must_account",
    "order_of",
    "write_effect",
]

_TERMS_NAMES = tuple(item.name for item in fields(Terms) if item.init)
_ORDER_BOOLS = tuple(BookOrder._fields.index(name) for name in ("reduce_only", "reduces", "outbox"))
_ORDER_CHANGES = ("lots", "price_ticks", "hold_start", *BookOrder._fields[BookOrder._fields.index("state") :])
"""Columns that a step on an order may change; amendments change the first three."""
_ORDER_STATE = BookOrder._fields.index("state")
_ORDER_FLAGS = BookOrder._fields.index("flags")
_CHANGED_STATE, _CHANGED_FLAGS = _ORDER_CHANGES.index("state"), _ORDER_CHANGES.index("flags")
_ACCOUNT_STATUS = BookAccount._fields.index("status")
_ACCOUNT_TERMS = BookAccount._fields.index("terms")


def _insert(table: str, names: Sequence[str], keys: Sequence[str], update: Sequence[str] | None = None) -> str:
    """INSERT that replaces everything but the key when the row is there."""
    changed = [name for name in names if name not in keys] if update is None else update
    columns = ", ".join(names)
    holes = ", ".join("?" * len(names))
    after = ", ".join(f"{name} = excluded.{name}" for name in changed)
    return f"INSERT INTO {table} ({columns}) VALUES ({holes}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {after}"  # noqa: S608


_ACCOUNT_COLUMNS = ", ".join(BookAccount._fields)
_SYMBOL_COLUMNS = ", ".join(BookSymbol._fields)
_ORDER_COLUMNS = ", ".join(BookOrder._fields)
_PUT_ACCOUNT = _insert("accounts", BookAccount._fields, ("account_id",))
_MONEY, _MONEY_END = BookAccount._fields.index("version"), BookAccount._fields.index("terms")
_COUNTS, _COUNTS_END = BookAccount._fields.index("live_orders"), BookAccount._fields.index("exported_version")
_MOVED = (*BookAccount._fields[_MONEY:_MONEY_END], *BookAccount._fields[_COUNTS:_COUNTS_END])
"""What nearly every step changes of an account."""
_MOVE_ACCOUNT = f"UPDATE accounts SET {', '.join([f'{name} = ?' for name in _MOVED])} WHERE account_id = ?"  # noqa: S608
_rare = itemgetter(*[place for place, name in enumerate(BookAccount._fields) if name not in _MOVED])
"""What few steps change of it."""
_PUT_SYMBOL = _insert("symbols", ("account_id", *BookSymbol._fields), ("account_id", "symbol", "leg"))
_PUT_ORDER = _insert(
    "orders", ("account_id", "place_made", *BookOrder._fields), ("account_id", "order_id"), _ORDER_CHANGES
)
_MOVE_ORDER = (
    f"UPDATE orders SET {', '.join([f'{name} = ?' for name in _ORDER_CHANGES])} WHERE account_id = ? AND order_id = ?"  # noqa: S608
)
_GET_ACCOUNT = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE account_id = ?"  # noqa: S608
_GET_SYMBOL = f"SELECT {_SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? AND symbol = ? AND leg = ?"  # noqa: S608
GET_SYMBOLS = f"SELECT {_SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? ORDER BY symbol, leg"  # noqa: S608
_GET_ORDER = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? AND order_id = ?"  # noqa: S608
_GET_BY_ALIAS = f"{_GET_ORDER[:-1]}(SELECT order_id FROM aliases WHERE account_id = ? AND alias = ?)"  # noqa: S608
GET_ORDERS = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? ORDER BY place_made"  # noqa: S608
_GET_SETTLED = (
    f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? AND changed_us <= ? "  # noqa: S608
    "AND open_lots = 0 ORDER BY place_made"
)
GET_FIRST_KEPT = (
    "SELECT version FROM journal AS kept WHERE account_id = ? AND (at_us > ? OR EXISTS "
    "(SELECT 1 FROM requests AS known WHERE known.account_id = kept.account_id AND known.ident = kept.ident "
    "AND issued_us > ? AND json_extract(outcome, '$[2]') = version)) ORDER BY version LIMIT 1"
)
_GET_UNFILLED = (
    "SELECT order_id FROM orders WHERE account_id = ? AND changed_us <= ? AND request_id <> '' AND filled = 0 "
    "AND overfilled = 0 AND open_lots = 0 AND state IN ('REJECTED', 'CANCELLED', 'EXPIRED')"
)
_COMPACT = (
    f"UPDATE orders SET {', '.join(f'{name} = ?' for name in COMPACTED)} "  # noqa: S608
    "WHERE account_id = ? AND order_id IN (SELECT value FROM json_each(?))"
)
_LIVE = "orders INDEXED BY orders_live WHERE account_id = ? AND state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN')"
GET_LIVE = f"SELECT {_ORDER_COLUMNS} FROM {_LIVE} ORDER BY place_made"  # noqa: S608
GET_DUE = f"SELECT {_ORDER_COLUMNS} FROM {_LIVE} AND due_us < ? ORDER BY place_made"  # noqa: S608
GET_HELD = f"SELECT ifnull(sum(hold), 0) FROM {_LIVE}"  # noqa: S608
NEVER_US = 2**62
"""Later than any time: with it, GET_DUE finds every order whose answer is awaited."""
_GET_TAKEN = (
    "SELECT order_id FROM orders WHERE account_id = ?1 AND order_id IN (SELECT value FROM json_each(?2)) UNION ALL "
    "SELECT alias FROM aliases WHERE account_id = ?1 AND alias IN (SELECT value FROM json_each(?2))"
)
_IS_TAKEN = (
    "SELECT order_id FROM orders WHERE account_id = ?1 AND order_id = ?2 UNION ALL "
    "SELECT alias FROM aliases WHERE account_id = ?1 AND alias = ?2"
)
_GET_RATES = (
    "SELECT rate, count FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? ORDER BY rate DESC"
)
_PUT_RATE = (
    "INSERT INTO rates (account_id, symbol, leg, kind, rate, count) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (account_id, symbol, leg, kind, rate) DO UPDATE SET count = count + excluded.count"
)
_JOURNAL = "SELECT version, at_us, op, ident, order_id, code, record FROM journal WHERE account_id = ?"
GET_JOURNAL = f"{_JOURNAL} AND version > ? ORDER BY version LIMIT ?"


_ENTRY_COLUMNS = ", ".join(OutboxEntry._fields)
_PUT_ENTRY = _insert("outbox", ("account_id", *OutboxEntry._fields), ("account_id", "request_id"), ("open_orders",))
_GET_ENTRY = f"SELECT {_ENTRY_COLUMNS} FROM outbox WHERE account_id = ? AND request_id = ?"  # noqa: S608
GET_OUTBOX = f"SELECT {_ENTRY_COLUMNS} FROM outbox WHERE account_id = ? AND version > ? ORDER BY version LIMIT ?"  # noqa: S608


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
"""Compact JSON; unicode as it is."""


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, all the way down."""
    return tuple([_tuples(item) for item in value]) if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _terms(text: str) -> Terms:
    return Terms(**{name: _tuples(value) for name, value in json.loads(text).items()})


@lru_cache(maxsize=256)
def _terms_text(terms: Terms) -> str:
    return _text({name: getattr(terms, name) for name in _TERMS_NAMES})


def account_of(row: Sequence[Any]) -> BookAccount:
    values = list(row)
    values[_ACCOUNT_STATUS] = AccountStatus(values[_ACCOUNT_STATUS])
    values[_ACCOUNT_TERMS] = _terms(values[_ACCOUNT_TERMS])
    return BookAccount._make(values)


def _account_row(account: BookAccount) -> list[Any]:
    values: list[Any] = list(account)
    values[_ACCOUNT_STATUS] = account.status.value
    values[_ACCOUNT_TERMS] = _terms_text(account.terms)
    return values


def order_of(row: Sequence[Any]) -> BookOrder:
    """An order from its row."""
    values = list(row)
    for place in _ORDER_BOOLS:
        values[place] = bool(values[place])
    values[_ORDER_STATE] = OrderState(values[_ORDER_STATE])
    flags = values[_ORDER_FLAGS]
    values[_ORDER_FLAGS] = tuple(flags.split()) if flags else ()
    return BookOrder._make(values)


def _order_row(account_id: str, place_made: int, order: BookOrder) -> list[Any]:
    values: list[Any] = [account_id, place_made, *order]
    values[_ORDER_STATE + 2] = order.state.value
    values[_ORDER_FLAGS + 2] = " ".join(order.flags)
    return values


def _order_changes(account_id: str, order: BookOrder) -> list[Any]:
    """What may have changed of an order that is in the file, and its key."""
    values: list[Any] = [
        order.lots,
        order.price_ticks,
        order.hold_start,
        *order[_ORDER_STATE:],
        account_id,
        order.order_id,
    ]
    values[_CHANGED_STATE] = order.state.value
    values[_CHANGED_FLAGS] = " ".join(order.flags)
    return values


def journal_row(account_id: str, raw: RawJournal) -> tuple[Any, ...]:
    return (account_id, *raw[:6], _text(raw[6:]))


def journal_of(row: Sequence[Any]) -> JournalRecord:
    """A journal record from its row."""
    return journal_record((*row[:6], *_tuples(json.loads(row[6]))))


def entry_of(row: Sequence[Any]) -> OutboxEntry:
    """An outbox entry from its row."""
    request_id, version, created_us, deadline_us, order_ids, open_orders = row
    return OutboxEntry(request_id, version, created_us, deadline_us, tuple(json.loads(order_ids)), open_orders)


def _remembered(row: Sequence[Any]) -> Remembered:
    text = row[2]
    return (row[0], row[1], None if text is None else _tuples(json.loads(text)))


class Rows:
    """View of one account inside a transaction; loads what a step asks for.

    Several steps may share it, and several transactions while nobody else writes to the file: what a step writes,
    `write` puts in the place of what was read.
    """

    __slots__ = ("_absent", "_account_id", "_execute", "_found", "_held", "_loaded", "_symbols", "connection")

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self._execute = connection.execute
        self._account_id = request.account_id
        self._loaded = False
        self._held: BookAccount | None = None
        self._symbols: dict[tuple[str, str], BookSymbol | None] = {}
        self.begin(request)

    def begin(self, request: Request) -> None:
        """Look up at once which of a ladder's ids are taken."""
        self._absent: frozenset[str] = frozenset()
        self._found: str | None = None
        if isinstance(request, Reserve):
            ids = [ask.order_id for ask in request.asks]
            sql, values = (_GET_TAKEN, _text(ids)) if len(ids) > 1 else (_IS_TAKEN, ids[0])
            taken = self._execute(sql, (self._account_id, values)).fetchall()
            self._absent = frozenset(ids).difference([row[0] for row in taken]) if taken else frozenset(ids)

    def account(self) -> BookAccount | None:
        """The account, read once."""
        if not self._loaded:
            found = self._execute(_GET_ACCOUNT, (self._account_id,)).fetchall()
            self._held = account_of(found[0]) if found else None
            self._loaded = True
        return self._held

    def symbol(self, symbol: str, leg: str) -> BookSymbol | None:
        """Totals of a symbol and leg."""
        key = (symbol, leg)
        if key not in self._symbols:
            found = self._execute(_GET_SYMBOL, (self._account_id, symbol, leg)).fetchall()
            self._symbols[key] = BookSymbol._make(found[0]) if found else None
        return self._symbols[key]

    def write(self, effect: Effect) -> None:
        """Write a step, and take over the account and the symbols that it leaves."""
        write_effect(self.connection, self._account_id, effect, self.account(), self._found)
        if effect.account is not None:
            self._held = effect.account
        for row in effect.symbols:
            self._symbols[row.symbol, row.leg] = row

    def symbols(self) -> Iterable[BookSymbol]:
        """Totals of all symbols."""
        return [BookSymbol._make(row) for row in self._execute(GET_SYMBOLS, (self._account_id,)).fetchall()]

    def order(self, order_id: str) -> BookOrder | None:
        """An order by id or alias."""
        if order_id in self._absent:
            return None
        found = self._execute(_GET_ORDER, (self._account_id, order_id)).fetchall()
        if not found:
            found = self._execute(_GET_BY_ALIAS, (self._account_id, self._account_id, order_id)).fetchall()
        if not found:
            return None
        self._found = found[0][0]
        return order_of(found[0])

    def live(self) -> Iterable[BookOrder]:
        """Orders that are not terminal."""
        return [order_of(row) for row in self._execute(GET_LIVE, (self._account_id,)).fetchall()]

    def due(self, before_us: int) -> Iterable[BookOrder]:
        """Orders whose answer was due before a time."""
        return [order_of(row) for row in self._execute(GET_DUE, (self._account_id, before_us)).fetchall()]

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        """Terminal, flat orders not changed since."""
        return [
            order
            for row in self._execute(_GET_SETTLED, (self._account_id, until_us)).fetchall()
            if (order := order_of(row)).terminal
        ]

    def unfilled(self, until_us: int) -> Iterable[str]:
        """Orders that ended without a fill, not changed since, still kept whole."""
        return [row[0] for row in self._execute(_GET_UNFILLED, (self._account_id, until_us)).fetchall()]

    def forgotten(self, until_us: int) -> int:
        """How many request ids were issued until a time."""
        found = self._execute(
            "SELECT count(*) FROM requests WHERE account_id = ? AND issued_us <= ?", (self._account_id, until_us)
        ).fetchall()
        return int(found[0][0])

    def aged(self, until_us: int) -> int:
        """Highest version of the records that are all dated until a time, and that no id kept longer leads to."""
        found = self._execute(GET_FIRST_KEPT, (self._account_id, until_us, until_us)).fetchall()
        account = self.account()
        return int(found[0][0]) - 1 if found else 0 if account is None else account.version

    def lease(self) -> Lease | None:
        """Which sweeper took the account last."""
        query = "SELECT sweeper, taken_us, until_us FROM leases WHERE account_id = ?"
        found = self._execute(query, (self._account_id,)).fetchall()
        return (found[0][0], found[0][1], found[0][2]) if found else None

    def request(self, ident: str) -> Remembered | None:
        """What a request id was used for."""
        found = self._execute(
            "SELECT fingerprint, issued_us, outcome FROM requests WHERE account_id = ? AND ident = ?",
            (self._account_id, ident),
        ).fetchall()
        return _remembered(found[0]) if found else None

    def event(self, order_id: str, ident: str) -> Remembered | None:
        """What an event id was used for."""
        found = self._execute(
            "SELECT fingerprint, at_us, outcome FROM events WHERE account_id = ? AND order_id = ? AND ident = ?",
            (self._account_id, order_id, ident),
        ).fetchall()
        return _remembered(found[0]) if found else None

    def owned(self, owner: str) -> int:
        """What an owner holds."""
        found = self._execute(
            "SELECT held FROM owners WHERE account_id = ? AND owner = ?", (self._account_id, owner)
        ).fetchall()
        return int(found[0][0]) if found else 0

    def outbox_entry(self, request_id: str) -> OutboxEntry | None:
        """Outbox entry of a request."""
        found = self._execute(_GET_ENTRY, (self._account_id, request_id)).fetchall()
        return entry_of(found[0]) if found else None

    def outbox_entries(self) -> Iterable[OutboxEntry]:
        """All outbox entries."""
        return [entry_of(row) for row in self._execute(GET_OUTBOX, (self._account_id, 0, -1)).fetchall()]

    def every(self) -> Iterable[BookOrder]:
        """All orders."""
        return [order_of(row) for row in self._execute(GET_ORDERS, (self._account_id,)).fetchall()]

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        """Highest rate after the deltas."""
        best = 0
        for rate, change in deltas.items():
            if rate > best and change > 0:
                best = rate
        # At most one stored rate more than the step touches is read: the first the step does not take away.
        limit = len(deltas) + 1
        for rate, count in self._execute(f"{_GET_RATES} LIMIT {limit}", (self._account_id, *key)).fetchall():
            if count + deltas.get(rate, 0) > 0:
                return max(best, int(rate))
        return best


def write_effect(
    connection: Connection, account_id: str, effect: Effect, before: BookAccount | None, found: str | None
) -> None:
    """Write a step, its journal record first; `before` is the account in the file, `found` an order that is there."""
    execute = connection.execute
    if effect.journal is not None:
        execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", journal_row(account_id, effect.journal))
    after = effect.account
    if after is not None:
        if before is not None and _rare(after) == _rare(before):
            execute(_MOVE_ACCOUNT, after[_MONEY:_MONEY_END] + after[_COUNTS:_COUNTS_END] + (account_id,))
        else:
            execute(_PUT_ACCOUNT, _account_row(after))
    for row in effect.symbols:
        execute(_PUT_SYMBOL, (account_id, *row))
    if effect.orders:
        assert after is not None  # noqa: S101 - orders change with their account
        # Of an order that is there the place stays as it is.
        first = after.version << 32
        if len(effect.orders) > 1:
            rows = [_order_row(account_id, place, order) for place, order in enumerate(effect.orders, first)]
            connection.executemany(_PUT_ORDER, rows)
        elif effect.orders[0].order_id == found:
            execute(_MOVE_ORDER, _order_changes(account_id, effect.orders[0]))
        else:
            execute(_PUT_ORDER, _order_row(account_id, first, effect.orders[0]))
    for alias, order_id in effect.aliases:
        execute("INSERT INTO aliases VALUES (?, ?, ?)", (account_id, alias, order_id))
    for owner, held in effect.owners:
        execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", (account_id, owner, held))
    if effect.rates is not None:
        changes = [
            (account_id, *key, rate, n) for key, deltas in effect.rates.items() for rate, n in deltas.items() if n
        ]
        connection.executemany(_PUT_RATE, changes)
        connection.executemany(
            "DELETE FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? AND rate = ? AND count = 0",
            [change[:5] for change in changes],
        )
    for request_id, entry in effect.outbox:
        if entry is None:
            execute("DELETE FROM outbox WHERE account_id = ? AND request_id = ?", (account_id, request_id))
        else:
            execute(_PUT_ENTRY, (account_id, *entry[:4], _text(entry.order_ids), entry.open_orders))
    if effect.request is not None:
        ident, (print_, at_us, packed) = effect.request
        text = None if packed is None else _text(packed)
        execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", (account_id, ident, print_, at_us, text))
    if effect.event is not None:
        order_id, ident, (print_, at_us, packed) = effect.event
        text = None if packed is None else _text(packed)
        execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (account_id, order_id, ident, print_, at_us, text))
    if effect.lease is not None:
        execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (account_id, *effect.lease))
    if effect.watermark_us is not None:
        execute("DELETE FROM requests WHERE account_id = ? AND issued_us <= ?", (account_id, effect.watermark_us))
        ids = _text(effect.archived)
        for table in ("orders", "events", "aliases"):
            where = "account_id = ? AND order_id IN (SELECT value FROM json_each(?))"
            execute(f"DELETE FROM {table} WHERE {where}", (account_id, ids))  # noqa: S608
    if effect.compacted:
        ids = _text(effect.compacted)
        execute(_COMPACT, (*COMPACTED.values(), account_id, ids))
        execute(
            "DELETE FROM events WHERE account_id = ? AND order_id IN (SELECT value FROM json_each(?))",
            (account_id, ids),
        )
    if effect.trim_version is not None:
        _trim(connection, account_id, effect.trim_version)
    if effect.indexes is not None:
        _reindex(connection, account_id, effect.indexes)
    if effect.rebase:
        _rebase(connection, account_id)


def _reindex(connection: Connection, account_id: str, indexes: Indexes) -> None:
    """Write anew what is derived from the orders. Which of them are live is an index over their rows."""
    execute, many = connection.execute, connection.executemany
    for table in ("owners", "rates", "outbox"):
        execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))  # noqa: S608
    execute(
        "DELETE FROM aliases WHERE account_id = ?1 "
        "AND order_id NOT IN (SELECT order_id FROM orders WHERE account_id = ?1)",
        (account_id,),
    )
    many("INSERT INTO owners VALUES (?, ?, ?)", [(account_id, *owner) for owner in indexes.owners])
    rates = [(account_id, *key, *item) for key, counts in indexes.rates.items() for item in counts.items()]
    many(_PUT_RATE, rates)
    entries = [(account_id, *entry[:4], _text(entry.order_ids), entry.open_orders) for entry in indexes.outbox]
    many(_PUT_ENTRY, entries)


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
    old = execute(f"{_JOURNAL} AND version <= ? ORDER BY version", (account_id, version)).fetchall()
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
        "INSERT OR REPLACE INTO journal_base VALUES (?, ?, ?)", (account_id, base.version, _text(base.totals))
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base_symbols VALUES (?, ?, ?, ?)",
        [(account_id, *key, _text(state)) for key, state in base.symbols.items()],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base_orders VALUES (?, ?, ?)",
        [(account_id, order_id, _text(state)) for order_id, state in base.orders.items()],
    )


def _base(connection: Connection, account_id: str) -> JournalBase:
    """What was folded of the journal before its first record."""
    execute, mine = connection.execute, (account_id,)
    found = execute("SELECT version, totals FROM journal_base WHERE account_id = ?", mine).fetchall()
    if not found:
        return JournalBase()
    rows = execute("SELECT symbol, leg, state FROM base_symbols WHERE account_id = ?", mine).fetchall()
    orders = execute("SELECT order_id, state FROM base_orders WHERE account_id = ?", mine).fetchall()
    return JournalBase(
        found[0][0],
        Totals(*json.loads(found[0][1])),
        {(symbol, leg): _tuples(json.loads(state)) for symbol, leg, state in rows},
        {order_id: _tuples(json.loads(state)) for order_id, state in orders},
    )


def must_account(connection: Connection, account_id: str) -> BookAccount:
    """The account; InputError where there is none."""
    found = connection.execute(_GET_ACCOUNT, (account_id,)).fetchall()
    if not found:
        raise InputError("account_id", None, "an open account", repr(account_id))
    return account_of(found[0])


def holdings(connection: Connection, account_id: str) -> Holdings:
    """Everything kept of an account, from one snapshot."""
    execute = connection.execute
    mine = (account_id,)
    rates: dict[RateKey, dict[int, int]] = {}
    for symbol, leg, kind, rate, count in execute(
        "SELECT symbol, leg, kind, rate, count FROM rates WHERE account_id = ?", mine
    ).fetchall():
        rates.setdefault((symbol, leg, kind), {})[rate] = count
    orders = [order_of(row) for row in execute(GET_ORDERS, mine).fetchall()]
    live = [order_of(row).order_id for row in execute(GET_LIVE, mine).fetchall()]
    return Holdings(
        must_account(connection, account_id),
        tuple([BookSymbol._make(row) for row in execute(GET_SYMBOLS, mine).fetchall()]),
        {order.order_id: order for order in orders},
        frozenset(live),
        _mapping(execute("SELECT alias, order_id FROM aliases WHERE account_id = ?", mine)),
        _mapping(execute("SELECT owner, held FROM owners WHERE account_id = ?", mine)),
        rates,
        [journal_of(row) for row in execute(GET_JOURNAL, (account_id, 0, -1)).fetchall()],
        _base(connection, account_id),
        tuple([entry_of(row) for row in execute(GET_OUTBOX, (account_id, 0, -1)).fetchall()]),
        int(execute("SELECT count(*) FROM requests WHERE account_id = ?", mine).fetchall()[0][0]),
    )


def _mapping(cursor: Cursor) -> dict[str, Any]:
    """First column to second."""
    return {row[0]: row[1] for row in cursor.fetchall()}
