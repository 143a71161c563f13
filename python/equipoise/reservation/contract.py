"""The reservation book as callers see it; the same on every store.

Every operation checks what is visible without the store (types, signs, ranges, ids) and raises `InputError` for it;
turns amounts into integers of the account's scale; and hands a request to the store, whose single atomic step answers
with an `Outcome`. Expected answers (refused, duplicate) are codes, never exceptions. A store that fails raises
`StoreUnavailable` (nothing happened), `StoreTimeout` (unknown: ask again with the same id) or `StoreCorrupt` (stop).

Times are integer microseconds since the epoch, from the store's clock. A retry carries the same id, content and
issued_at.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, unquote

from equipoise.errors import InputError, StoreUnavailable
from equipoise.reservation.arguments import (
    flag_of,
    limit_of,
    span_of,
    states_of,
    url_of,
    version_of,
)
from equipoise.reservation.audit import AuditReport, audit
from equipoise.reservation.calls import Clock, system_clock
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.foreign import understood
from equipoise.reservation.ids import account_id_of, id_of
from equipoise.reservation.reconciling import Reconciling
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol, JournalRecord, OutboxEntry
from equipoise.reservation.requests import Export
from equipoise.reservation.workers import Delivery, OutboxReader, Worker, partitions_of

__all__ = ["REDIS_SCHEMES", "Clock", "ReservationBook", "Which", "sqlite_path", "system_clock"]

REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "unix", "redis+unix")
"""Schemes of the URLs that lead to a Redis or Valkey."""


def sqlite_path(url: str) -> str:
    """Path of the file that a sqlite URL names; empty where it names none."""
    path = url.partition(":")[2].partition("?")[0]
    return unquote(path[3:]) if path.startswith("///") else ""


class Which(NamedTuple):
    """Which orders a read asks for; None: no matter."""

    states: frozenset[OrderState] | None
    symbol: str | None
    overdue_at: int | None
    """Their answer was due before this time."""
    unchanged_since: int | None

    def among(self, orders: Iterable[BookOrder]) -> tuple[BookOrder, ...]:
        """Those of the orders that are asked for."""
        states, symbol, overdue_at, unchanged_since = self
        if states is None and symbol is None and overdue_at is None and unchanged_since is None:
            return tuple(orders)
        return tuple(
            order
            for order in orders
            if (states is None or order.state in states)
            and (symbol is None or order.symbol == symbol)
            and (overdue_at is None or (order.overdue_us is not None and order.overdue_us < overdue_at))
            and (unchanged_since is None or order.changed_us <= unchanged_since)
        )


class ReservationBook(Reconciling):
    """Holds margin for orders in flight. Open one with `ReservationBook.connect`; it is a context manager.

    Safe to use from many threads. One book per process: after a fork a memory book raises and a SQLite book reopens.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from equipoise.orders import Order, Side
    >>> with ReservationBook.connect("memory:") as book:
    ...     _ = book.open_account("live:6", balance="100", currency="USD", rule="sum")
    ...     order = Order(symbol="HYPE", side=Side.BID, lots=5, price_ticks=27110, hold=13_560_000,
    ...                   price=Decimal("27.110"), size=Decimal("0.05"))
    ...     grant = book.reserve("live:6", [order], request_id="q-42")
    ...     grant.code, grant.granted, book.account("live:6").free
    (<Code.OK: 'OK'>, ('q-42:0',), Decimal('86.440000'))
    """

    @staticmethod
    def connect(
        url: str, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400
    ) -> ReservationBook:
        """Open a book.

        Parameters
        ----------
        url
            "memory:", or "sqlite:///path?durability=full" (default: every answer survives a power cut) or "normal"
            (survives the process, not the power). Three slashes begin a relative path, four an absolute one. With
            "mode=ro" the book is only read: every step is StoreUnavailable. Or where a Redis or Valkey is:
            "redis://host:port/db", "unix:///path/of/the/socket?db=0" and the others in docs/reservation.md.
        clock
            Microseconds since the epoch; the store's only source of time. Default: the host's clock.
        timeout_ms
            How long a call may wait for the store; also the default validity of a request.
        horizon_s
            How long request ids are kept at least.

        Raises
        ------
        InputError
            Unknown scheme or option.
        StoreUnavailable, StoreCorrupt
            The store cannot be opened, or its content cannot be trusted.
        """
        # The stores import this module for the contract they fulfil.
        from equipoise.reservation.memory import MemoryBook
        from equipoise.reservation.sqlite import SqliteBook

        scheme, _, rest = url_of(url).partition(":")
        path, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if scheme == "memory":
            if path or options:
                raise InputError("url", None, "'memory:' without path or options", url)
            return MemoryBook(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        if scheme == "sqlite" and sqlite_path(url):
            durability = options.pop("durability", "full")
            mode = options.pop("mode", "rw")
            if options or durability not in ("full", "normal") or mode not in ("rw", "ro"):
                raise InputError("url", None, "free of options but durability=full or normal and mode=rw or ro", url)
            return SqliteBook(
                sqlite_path(url),
                durability=durability,
                read_only=mode == "ro",
                clock=clock,
                timeout_ms=timeout_ms,
                horizon_s=horizon_s,
            )
        if scheme in REDIS_SCHEMES:
            try:
                from equipoise.reservation.redis import RedisBook
            except ModuleNotFoundError as error:
                raise StoreUnavailable("a Redis book needs the client; get equipoise[redis]") from error
            return RedisBook(url, clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        # A URL may carry a password.
        raise InputError("url", None, "'memory:', 'sqlite:///path' or 'redis://host'", f"{scheme}:...")

    # What a store provides -------------------------------------------------------------------------------------------

    @abstractmethod
    def close_book(self) -> None:
        """Release the store; idempotent. To close a ticket is `close`."""

    @abstractmethod
    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""

    def account(self, account_id: str) -> BookAccount:
        """The account as of its latest step.

        Raises
        ------
        InputError
            There is no such account.
        """
        return self._account(account_id_of(account_id))

    @abstractmethod
    def _account(self, account_id: str) -> BookAccount:
        """`account`, its arguments checked."""

    def order(self, account_id: str, order_id: str) -> BookOrder | None:
        """An order by its id or one of its aliases (venue ids); None where there is none."""
        return self._order(account_id_of(account_id), id_of(order_id, "order_id"))

    @abstractmethod
    def _order(self, account_id: str, order_id: str) -> BookOrder | None:
        """`order`, its arguments checked."""

    def orders(
        self,
        account_id: str,
        state: OrderState | Iterable[OrderState] | None = None,
        *,
        symbol: str | None = None,
        overdue: bool = False,
        age_ms: int | None = None,
        every: bool = False,
    ) -> tuple[BookOrder, ...]:
        """Orders in the order they were made: those that are not terminal, or those in the named states.

        `overdue` keeps those whose answer is past its deadline now, whether or not a sweeper has run: unsent, sent,
        cancelling, amending, and every UNKNOWN one. `age_ms` keeps those that have not changed for at least that long.
        `every` adds terminal ones.
        """
        account_id = account_id_of(account_id)
        states = states_of(state)
        if symbol is not None:
            symbol = id_of(symbol, "symbol")
        age_us = None if age_ms is None else span_of(age_ms, "age_ms", 1000, least=0)
        overdue, every = flag_of(overdue, "overdue"), flag_of(every, "every")
        now = self._clock() if overdue or age_us is not None else 0
        since = None if age_us is None else now - age_us
        which = Which(states, symbol, now if overdue else None, since)
        return self._orders(account_id, which, every=every or states is not None)

    @abstractmethod
    def _orders(self, account_id: str, which: Which, *, every: bool) -> tuple[BookOrder, ...]:
        """Of the orders that are not terminal, or of `every` one, those asked for, in the order they were made."""

    @abstractmethod
    def _awaiting(self, account_id: str) -> tuple[BookOrder, ...]:
        """Orders whose next answer is awaited (`overdue_us`), in any order; costs what there is of them."""

    def _held(self, account_id: str) -> int:
        """What all orders hold together, in units; reads every one of them."""
        return sum(order.hold for order in self.orders(account_id))

    def _place_of(self, account_id: str) -> object:  # noqa: ARG002 - most stores are one
        """The part of the store that has an account, and that fails as a whole."""
        return None

    def symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        """Running totals per symbol (hedge: and leg), sorted."""
        return self._symbols(account_id_of(account_id))

    @abstractmethod
    def _symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        """`symbols`, its argument checked."""

    def history(self, account_id: str, *, after_version: int = 0, limit: int = 1_000) -> tuple[JournalRecord, ...]:
        """Journal records with a version above `after_version`, oldest first, at most `limit` (1 or more)."""
        after = version_of(after_version, "after_version")
        return self._history(account_id_of(account_id), after, limit_of(limit))

    @abstractmethod
    def _history(self, account_id: str, after_version: int, limit: int) -> tuple[JournalRecord, ...]:
        """`history`, its arguments checked."""

    def outbox(self, account_id: str, *, after_version: int = 0, limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Outbox entries written after a version, oldest first, at most `limit` (1 or more).

        A sender claims each order of an entry, and only the claim's OK permits the bytes. An order that is SENT or
        UNKNOWN is never sent again: ask the venue by client id. An entry goes in the step in which the last of its
        orders becomes LIVE or ends.
        """
        after = version_of(after_version, "after_version")
        return self._outbox(account_id_of(account_id), after, limit_of(limit))

    @abstractmethod
    def _outbox(self, account_id: str, after_version: int, limit: int) -> tuple[OutboxEntry, ...]:
        """`outbox`, its arguments checked."""

    def worker(self, name: str, *, partition: int | None = None, poll_ms: int = 10, takeover_ms: int = 5_000) -> Worker:
        """A reader of the outbox that is handed what somebody has to send; see `Worker`.

        Parameters
        ----------
        name
            Of its own among the workers of all processes, and the same again after a restart.
        partition
            0-15: only accounts of that partition (`partition_of`); None: all accounts.
        poll_ms
            How long it waits before it looks again when there was nothing.
        takeover_ms
            An entry that was handed to a worker so long ago, and of which something is still unclaimed, is handed out
            again. Well below the time orders have until their deadline.
        """
        takeover = span_of(takeover_ms, "takeover_ms", 1000) // 1000
        reader = self._outbox_reader(id_of(name, "name"), partitions_of(partition), takeover)
        return Worker(self, reader, name, poll_ms)

    @abstractmethod
    def _outbox_size(self, account_id: str) -> int:
        """How many entries the outbox of an account has."""

    @abstractmethod
    def _outbox_reader(self, name: str, partitions: frozenset[int], takeover_ms: int) -> OutboxReader:
        """Where a worker's entries come from."""

    def _take(self, reader: OutboxReader, most: int) -> list[Delivery]:
        """A worker's look, run where the book runs."""
        return reader.take(most)

    def rebuild_registry(self) -> tuple[str, ...]:
        """Find every account anew and list it; the ids, sorted.

        A store whose accounts are one table has nothing to find. On Redis this looks at every key of every master, and
        happens by itself where the node of the list was replaced.
        """
        return self.accounts()

    def audit(self, account_id: str) -> AuditReport:
        """Prove the account's totals from its orders alone and from its journal alone. Reads only; O(history)."""
        kept = self._holdings(account_id_of(account_id))
        with understood(f"what is kept of {account_id}"):
            return audit(kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_book()

    def export(
        self, account_id: str, *, confirmed_version: int | None = None, limit: int = 1_000
    ) -> tuple[JournalRecord, ...]:
        """Next journal records that are not stored elsewhere yet, oldest first, at most `limit`.

        Parameters
        ----------
        confirmed_version
            Version of the last record that the caller has stored safely; `archive` may trim up to it. Forward only.

        Raises
        ------
        InputError
            There is no such account, or it has no such version; nothing is confirmed.

        Examples
        --------
        >>> book = ReservationBook.connect("memory:")
        >>> _ = book.open_account("desk", 5)
        >>> chunk, stored = book.export("desk"), []
        >>> while chunk:
        ...     stored.extend(chunk)
        ...     chunk = book.export("desk", confirmed_version=chunk[-1].version)
        >>> [record.op for record in stored], book.account("desk").exported_version
        (['open_account'], 1)
        """
        account_id = account_id_of(account_id)
        limit_of(limit)
        if confirmed_version is not None:
            version = version_of(confirmed_version, "confirmed_version")
            outcome = self._run(Export("export", account_id, "", "", version))
            if outcome.code is Code.ILLEGAL_TRANSITION:
                raise InputError("confirmed_version", None, f"at most {outcome.version}", version)
        return self.history(account_id, after_version=self.account(account_id).exported_version, limit=limit)
