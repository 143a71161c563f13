"""Figures of a reservation book for Prometheus (extra `metrics`). The Grafana dashboard beside this file shows them.

=============================================  =======================================================================
metric                                         says
=============================================  =======================================================================
equipoise_book_balance, _free,                 an account's money, by account and currency
_used_margin_executed, _used_margin_all
equipoise_book_orders, equipoise_book_holds    orders that are not terminal and what they hold, by account and state
equipoise_book_overdue_orders                  orders whose answer is past due, swept or not
equipoise_book_order_age_seconds               histogram of the time since orders that await an answer were made
equipoise_book_outbox_entries                  requests that wait for a sender or for an answer
equipoise_book_late_fills, _overfills,         what has gone otherwise than held for, since the account was opened
_under_reserved, _pnl_missing
equipoise_book_leak                            held by the symbols' totals beyond what their orders hold: always 0; as
                                               of the last time that all orders were read
equipoise_book_unreadable                      1 where the figures of an account are missing: a record of it is not the
                                               book's, or its node does not answer
equipoise_book_up                              0 where the list of accounts, or the node of one, does not answer
equipoise_book_steps_total                     answers since this process began, by step and code
equipoise_book_step_seconds                    histogram of the time a step took, store included
equipoise_book_store_errors_total              failures of the store, by kind
=============================================  =======================================================================

Prometheus keeps floats: these figures are for looking at, and nothing is ever computed back from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from equipoise.errors import InputError, StoreCorrupt, StoreError
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.contract import ReservationBook
from equipoise.reservation.records import BookAccount, BookOrder, Outcome
from equipoise.reservation.requests import Request
from equipoise.reservation.scales import OtherScale

__all__ = ["DASHBOARD", "BookMetrics", "serve_metrics"]

DASHBOARD = Path(__file__).with_name("grafana.json")
"""Dashboard to import into Grafana; it asks for the Prometheus data source."""
AGES_S = (1.0, 5.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0)
TIMES_S = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0)
LOOKS = 5
"""Attempts to read an account and its orders at one version."""


class BookMetrics(Collector):
    """Counts every step of a book from now on, and reads its accounts when Prometheus asks.

    Parameters
    ----------
    book
        A book of this process. A scrape reads the orders that await an answer, not those that rest. Of an
        `AsyncReservationBook` the awaited steps are counted, not those that `reconcile`, `export` and `import_flat`
        take on the way.
    registry
        Where the figures are registered; default the process's registry. One for each book: their figures have the same
        names.
    leak_every_s
        At most how often every order of an account is read, to see whether its symbols hold more than its orders.

    Raises
    ------
    InputError
        The registry has the figures of a book already.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> registry = CollectorRegistry()
    >>> with ReservationBook.connect("memory:") as book, BookMetrics(book, registry):
    ...     _ = book.open_account("live:6", balance=100)
    ...     lines = generate_latest(registry).decode().splitlines()
    >>> [line for line in lines if line.startswith("equipoise_book_free")]
    ['equipoise_book_free{account="live:6",currency="USD"} 100.0']
    """

    def __init__(
        self,
        book: ReservationBook | AsyncReservationBook,
        registry: CollectorRegistry = REGISTRY,
        *,
        leak_every_s: float = 300.0,
    ) -> None:
        self._asked, self._registry = book, registry
        self._leak_every_s = leak_every_s
        self._leaks: dict[str, tuple[float, int]] = {}
        self._names: tuple[str, ...] = ()
        """Accounts as last listed."""
        self._closed = False
        self._book = book.reader if isinstance(book, AsyncReservationBook) else book
        try:
            self._steps = Counter(
                "equipoise_book_steps", "Answers of the book by step and code", ["op", "code"], registry=registry
            )
        except ValueError as error:
            raise InputError("registry", None, "one without the figures of a book", error) from error
        self._seconds = Histogram(
            "equipoise_book_step_seconds", "Time a step took", ["op"], buckets=TIMES_S, registry=registry
        )
        self._errors = Counter(
            "equipoise_book_store_errors", "Failures of the store by kind", ["kind"], registry=registry
        )
        registry.register(self)
        # In the instance, over the store's method: a book that nobody measures pays nothing for it.
        awaited = isinstance(book, AsyncReservationBook)
        self._name = "_step" if awaited else "_run"
        self._wrapper: Callable[[Request], Any] = self._awaited_step if awaited else self._step
        self._inner: Callable[[Request], Any] = getattr(book, self._name)
        self._before = vars(book).get(self._name)
        """What stood there: whoever measures the book as well."""
        vars(book)[self._name] = self._wrapper

    def _step(self, request: Request) -> Outcome:
        with self._watch(request) as seen:
            seen.append(self._inner(request))
        return seen[0]

    async def _awaited_step(self, request: Request) -> Outcome:
        with self._watch(request) as seen:
            seen.append(await self._inner(request))
        return seen[0]

    def close(self) -> None:
        """Stop counting; the book goes on, and so does whoever else measures it."""
        if self._closed:
            return
        self._closed = True
        for collector in (self, self._steps, self._seconds, self._errors):
            self._registry.unregister(collector)
        kept = vars(self._asked)
        # Where somebody else has wrapped this since, it stays below and counts no more.
        if kept.get(self._name) == self._wrapper:
            if self._before is None:
                del kept[self._name]
            else:
                kept[self._name] = self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _watch(self, request: Request) -> Iterator[list[Outcome]]:
        """Time one step and count its answer, which the block puts into the list."""
        start, seen = time.perf_counter(), list[Outcome]()
        if self._closed:
            yield seen
            return
        try:
            yield seen
        except OtherScale:
            raise  # the store has not failed: the call is made once more
        except StoreError as error:
            self._failed(error)
            raise
        finally:
            self._seconds.labels(request.op).observe(time.perf_counter() - start)
        for outcome in seen:
            self._steps.labels(request.op, outcome.code.value).inc()

    def _failed(self, error: StoreError) -> None:
        self._errors.labels(type(error).__name__).inc()

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering must not read the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Figures of every account as of now; of those that cannot be read, that they cannot.

        A store that is silent is waited for once, and each of its nodes once.
        """
        families, place_of = _families(), self._book._place_of  # noqa: SLF001
        listed, silent = True, set[object]()
        try:
            self._names = self._book.accounts()
        except StoreError as error:
            # Other nodes may have the accounts that were there at the last look.
            self._failed(error)
            listed, places = False, {place_of(name) for name in self._names}
            silent = places if len(places) == 1 else silent
        for name in self._names:
            place, unreadable = place_of(name), 1
            if place not in silent:
                try:
                    self._look_at(name, families)
                    unreadable = 0
                except StoreError as error:
                    # What the other accounts have is as true as before.
                    self._failed(error)
                    if not isinstance(error, StoreCorrupt):
                        silent.add(place)
            families["unreadable"].add_metric([name], unreadable)
        families["up"].add_metric([], listed and not silent)
        yield from families.values()

    def _look_at(self, account_id: str, families: dict[str, Any]) -> None:
        book = self._book
        for _ in range(LOOKS):
            account, rows = book.account(account_id), book.symbols(account_id)
            awaiting = book._awaiting(account_id)  # noqa: SLF001
            if book.account(account_id).version == account.version:
                break
        held = sum(row.hold_bids + row.hold_asks for row in rows)
        leak, entries = self._leak(account, held), book._outbox_size(account_id)  # noqa: SLF001
        if leak is not None:
            families["leak"].add_metric([account_id], _number(leak, account.scale))
        _add_account(families, account)
        _add_orders(families, account, awaiting, held, book._clock())  # noqa: SLF001
        families["outbox_entries"].add_metric([account_id], entries)

    def _leak(self, account: BookAccount, held: int) -> int | None:
        """What was found when all orders were last read; None where that has not been possible yet."""
        name, now = account.account_id, time.monotonic()
        looked_at, leak = self._leaks.get(name, (None, None))
        if looked_at is None or now - looked_at >= self._leak_every_s:
            # Between two steps only: a step changes both sides.
            orders = self._book._held(name)  # noqa: SLF001
            if self._book.account(name).version == account.version:
                leak = held - orders
                self._leaks[name] = (now, leak)
        return leak


def _number(count: int, scale: int) -> float:
    return float(count / 10**scale)


def _families() -> dict[str, Any]:
    """Empty metric families."""
    money = (
        ("balance", "Balance"),
        ("free", "Margin another order may take"),
        ("used_margin_executed", "Margin of positions"),
        ("used_margin_all", "Margin of positions and of orders in flight"),
    )
    counts = (
        ("overdue_orders", "Orders whose answer is past due"),
        ("outbox_entries", "Requests that wait for a sender or an answer"),
        ("late_fills", "Fills after a terminal state"),
        ("overfills", "Fills beyond the ordered quantity"),
        ("under_reserved", "Fills that took more than was held"),
        ("pnl_missing", "Reductions booked without a result"),
        ("leak", "Held by symbol totals beyond what their orders hold"),
        ("unreadable", "1 where the account cannot be read, so that its figures are missing"),
    )
    by_state = (("orders", "Orders that are not terminal"), ("holds", "Margin they hold"))
    made: dict[str, Any] = {}
    whole = (("up", "0 where the list of accounts or the node of one does not answer"),)
    kinds: tuple[tuple[tuple[tuple[str, str], ...], list[str]], ...] = (
        (whole, []),
        (money, ["account", "currency"]),
        (counts, ["account"]),
        (by_state, ["account", "state"]),
    )
    for names, labels in kinds:
        for name, words in names:
            made[name] = GaugeMetricFamily(f"equipoise_book_{name}", words, labels=labels)
    made["order_age_seconds"] = HistogramMetricFamily(
        "equipoise_book_order_age_seconds", "Time since orders that await an answer were made", labels=["account"]
    )
    return made


def _add_account(families: dict[str, Any], account: BookAccount) -> None:
    labels = [account.account_id, account.currency]
    for name in ("balance", "free", "used_margin_executed", "used_margin_all"):
        families[name].add_metric(labels, float(getattr(account, name)))
    for name in ("late_fills", "overfills", "under_reserved", "pnl_missing"):
        families[name].add_metric(labels[:1], getattr(account, name))


def _add_orders(
    families: dict[str, Any], account: BookAccount, awaiting: tuple[BookOrder, ...], held: int, now: int
) -> None:
    """What rests is what is left when the orders that await an answer are taken away."""
    counts = {state: [0, 0] for state in ("RESERVED", "SENT", "UNKNOWN")}
    ages = []
    overdue = 0
    for order in awaiting:
        mine = counts.get(order.state.value)
        if mine is not None:
            mine[0] += 1
            mine[1] += order.hold
        overdue += order.overdue_us is not None and order.overdue_us < now
        ages.append(max(now - order.created_us, 0) / 1e6)
    others = [sum(column) for column in zip(*counts.values(), strict=True)]
    counts["LIVE"] = [max(account.live_orders - others[0], 0), max(held - others[1], 0)]
    name = account.account_id
    for state, (count, hold) in counts.items():
        families["orders"].add_metric([name, state], count)
        families["holds"].add_metric([name, state], _number(hold, account.scale))
    families["overdue_orders"].add_metric([name], overdue)
    buckets = [(str(limit), float(sum(age <= limit for age in ages))) for limit in AGES_S]
    families["order_age_seconds"].add_metric([name], [*buckets, ("+Inf", float(len(ages)))], sum(ages))


def serve_metrics(
    book: ReservationBook | AsyncReservationBook,
    port: int,
    *,
    address: str = "127.0.0.1",
    registry: CollectorRegistry = REGISTRY,
) -> tuple[BookMetrics, Callable[[], None]]:
    """Answer Prometheus on `http://address:port/metrics` in a thread of its own; (metrics, how to stop)."""
    metrics = BookMetrics(book, registry)
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except BaseException:
        metrics.close()
        raise

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()
        metrics.close()

    return metrics, stop
