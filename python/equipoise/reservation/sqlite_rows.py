"""Rows of the SQLite file as the book's records, and everything kept of an account at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from equipoise._rust import compact_json
from equipoise.errors import InputError
from equipoise.reservation.audit import Holdings, JournalBase
from equipoise.reservation.codes import AccountStatus, OrderState
from equipoise.reservation.records import (
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
from equipoise.reservation.sqlite_engine import Connection, Cursor
from equipoise.reservation.steps import RateKey

__all__ = [
    "ACCOUNT_STATUS_AT",
    "ACCOUNT_TERMS_AT",
    "ENTRY_COLUMNS",
    "GET_ACCOUNT",
    "GET_DUE",
    "GET_HELD",
    "GET_JOURNAL",
    "GET_LIVE",
    "GET_ORDERS",
    "GET_OUTBOX",
    "GET_SYMBOLS",
    "JOURNAL",
    "JOURNAL_COLUMNS",
    "NEVER_US",
    "ORDER_COLUMNS",
    "SYMBOL_COLUMNS",
    "account_of",
    "entry_of",
    "holdings",
    "journal_of",
    "must_account",
    "order_of",
    "raw_journal_of",
    "remembered_of",
    "text_of",
    "tuples_of",
]

_ORDER_BOOLS = tuple(BookOrder._fields.index(name) for name in ("reduce_only", "reduces", "outbox"))
ACCOUNT_STATUS_AT = BookAccount._fields.index("status")
ACCOUNT_TERMS_AT = BookAccount._fields.index("terms")
ACCOUNT_COLUMNS = ", ".join(BookAccount._fields)
SYMBOL_COLUMNS = ", ".join(BookSymbol._fields)
ORDER_COLUMNS = ", ".join(BookOrder._fields)
GET_ACCOUNT = f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE account_id = ?"  # noqa: S608
GET_SYMBOLS = f"SELECT {SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? ORDER BY symbol, leg"  # noqa: S608
GET_ORDERS = f"SELECT {ORDER_COLUMNS} FROM orders WHERE account_id = ? ORDER BY place_made"  # noqa: S608
_STATES = "(state = 'RESERVED' OR state = 'SENT' OR state = 'LIVE' OR state = 'UNKNOWN')"
"""As the index has it: in other words the engine does not take it for the same."""
_LIVE = f"orders INDEXED BY orders_live WHERE account_id = ? AND {_STATES}"
GET_LIVE = f"SELECT {ORDER_COLUMNS} FROM {_LIVE} ORDER BY place_made"  # noqa: S608
GET_DUE = f"SELECT {ORDER_COLUMNS} FROM {_LIVE} AND due_us < ? ORDER BY place_made"  # noqa: S608
GET_HELD = f"SELECT ifnull(sum(hold), 0) FROM {_LIVE}"  # noqa: S608
NEVER_US = 2**62
"""Later than any time: with it, GET_DUE finds every order whose answer is awaited."""
JOURNAL_COLUMNS = "version, at_us, op, ident, order_id, code, record"
JOURNAL = f"SELECT {JOURNAL_COLUMNS} FROM journal WHERE account_id = ?"  # noqa: S608
GET_JOURNAL = f"{JOURNAL} AND version > ? ORDER BY version LIMIT ?"
ENTRY_COLUMNS = ", ".join(OutboxEntry._fields)
GET_OUTBOX = f"SELECT {ENTRY_COLUMNS} FROM outbox WHERE account_id = ? AND version > ? ORDER BY version LIMIT ?"  # noqa: S608


_anything = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def text_of(value: object) -> str:
    """Compact JSON of tuples, lists, text and numbers, unicode as it is."""
    try:
        return compact_json(value)
    except ValueError:
        return _anything(value)  # a mapping, a larger number, text of a class of its own


def tuples_of(value: Any) -> Any:
    """JSON lists as tuples, all the way down."""
    return tuple([tuples_of(item) for item in value]) if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _terms(text: str) -> Terms:
    return Terms(**{name: tuples_of(value) for name, value in json.loads(text).items()})


def account_of(row: Sequence[Any]) -> BookAccount:
    """An account from its row."""
    values = list(row)
    values[ACCOUNT_STATUS_AT] = AccountStatus(values[ACCOUNT_STATUS_AT])
    values[ACCOUNT_TERMS_AT] = _terms(values[ACCOUNT_TERMS_AT])
    return BookAccount._make(values)


def order_of(row: Sequence[Any]) -> BookOrder:
    """An order from its row."""
    values = list(row)
    for place in _ORDER_BOOLS:
        values[place] = bool(values[place])
    values[STATE_AT] = OrderState(values[STATE_AT])
    flags = values[STATE_END]
    values[STATE_END] = tuple(flags.split()) if flags else ()
    return BookOrder._make(values)


def raw_journal_of(row: Sequence[Any]) -> RawJournal:
    """A journal record from its row, as it is kept."""
    return (*row[:6], *tuples_of(json.loads(row[6])))


def journal_of(row: Sequence[Any]) -> JournalRecord:
    """A journal record from its row."""
    return journal_record(raw_journal_of(row))


def entry_of(row: Sequence[Any]) -> OutboxEntry:
    """An outbox entry from its row."""
    request_id, version, created_us, deadline_us, order_ids, open_orders = row
    return OutboxEntry(request_id, version, created_us, deadline_us, tuple(json.loads(order_ids)), open_orders)


def remembered_of(row: Sequence[Any]) -> Remembered:
    """What is remembered of an id, from its row."""
    text = row[2]
    return (row[0], row[1], None if text is None else tuples_of(json.loads(text)))


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
        {(symbol, leg): tuple(json.loads(state)) for symbol, leg, state in rows},
        {order_id: tuple(json.loads(state)) for order_id, state in orders},
    )


def must_account(connection: Connection, account_id: str) -> BookAccount:
    """The account; InputError where there is none."""
    found = connection.execute(GET_ACCOUNT, (account_id,)).fetchall()
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
        "" if len(live) == len(set(live)) else "an order is in it twice",
    )


def _mapping(cursor: Cursor) -> dict[str, Any]:
    """First column to second."""
    return {row[0]: row[1] for row in cursor.fetchall()}
