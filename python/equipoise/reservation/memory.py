"""The book in this process's memory: for replay, paper trading and tests. Gone with the process."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from equipoise._rust import Shelf, pack
from equipoise.errors import InputError, StoreUnavailable
from equipoise.reservation.arguments import TIME_MAX
from equipoise.reservation.audit import Holdings, JournalBase
from equipoise.reservation.contract import Clock, ReservationBook, Which
from equipoise.reservation.forks import generation
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.records import (
    COMPACTED,
    SHRINKS,
    STATE_AT,
    STATE_END,
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    KeptStep,
    OutboxEntry,
    Outcome,
    RawJournal,
    RawOrder,
    Remembered,
    Totals,
    journal_record,
    order_of_raw,
    raw_entry,
    raw_order,
    step_of,
)
from equipoise.reservation.requests import Request
from equipoise.reservation.scales import OtherScale
from equipoise.reservation.steps import NOT_TERMINAL, STEPS, Effect, Indexes, Lease, RateKey, Upkeep
from equipoise.reservation.steps.view import RateDeltas
from equipoise.reservation.workers import Delivery, OutboxReader, PolledReader, partition_of, unclaimed

__all__ = ["CountedRates", "MemoryBook"]

_LIVE_STATES = frozenset(state.value for state in NOT_TERMINAL)
_CHANGED, _OPEN_LOTS = map(BookOrder._fields.index, ("changed_us", "open_lots"))


class CountedRates:
    """Counts per rate with the highest rate at hand; O(log n) a change."""

    __slots__ = ("counts", "heap")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.heap: list[int] = []

    def top(self, deltas: dict[int, int]) -> int:
        """Highest rate whose count is positive after the deltas; 0 if none."""
        counts, heap = self.counts, self.heap
        best = max((rate for rate, change in deltas.items() if counts.get(rate, 0) + change > 0), default=0)
        aside = []
        while heap:
            rate = -heap[0]
            if rate not in counts:
                heapq.heappop(heap)  # left over from a count that went to zero
            elif counts[rate] + deltas.get(rate, 0) <= 0:
                aside.append(heapq.heappop(heap))
            else:
                best = max(best, rate)
                break
        for rate in aside:
            heapq.heappush(heap, rate)
        return best

    def set_count(self, rate: int, count: int) -> None:
        """Set the count of a rate."""
        if count:
            if rate not in self.counts:
                heapq.heappush(self.heap, -rate)
            self.counts[rate] = count
        else:
            self.counts.pop(rate, None)


def _kept(journal: RawJournal, answer: Remembered | None) -> KeptStep:
    fingerprint, issued_us, outcome = ("", 0, None) if answer is None else answer
    step = (journal, outcome)
    try:
        return (journal[0], journal[1], fingerprint, issued_us, pack(step))
    except ValueError:
        return (journal[0], journal[1], fingerprint, issued_us, step)  # a text or number is of a class of its own


def _record(kept: KeptStep) -> JournalRecord:
    return journal_record(step_of(kept)[0])


class _Shelf(Shelf):
    """All records of one account; the view its steps read. What a reservation reads and writes is in its base."""

    __slots__ = ("base", "events", "leased", "rates")

    def __init__(self) -> None:
        self.rates: dict[RateKey, CountedRates] = {}
        self.events: dict[str, dict[str, KeptStep]] = {}
        self.base = JournalBase()
        self.leased: Lease | None = None

    def account(self) -> BookAccount | None:
        return self.held

    def symbol(self, symbol: str, leg: str) -> BookSymbol | None:
        return self.rows.get((symbol, leg))

    def symbols(self) -> Iterable[BookSymbol]:
        return self.rows.values()

    def order(self, order_id: str) -> BookOrder | None:
        found = self.orders.get(order_id)
        if found is None and self.aliases:
            name = self.aliases.get(order_id)
            found = None if name is None else self.orders.get(name)
        return None if found is None else order_of_raw(found)

    def live(self) -> Iterable[BookOrder]:
        return [order_of_raw(self.orders[order_id]) for order_id in self.working]

    def due(self, before_us: int) -> list[BookOrder]:
        late = [order_id for order_id, due_us in self.working.items() if due_us is not None and due_us < before_us]
        return [order for order in map(self.order, late) if order is not None]

    def awaited(self) -> list[BookOrder]:
        """Orders whose next answer is awaited."""
        return self.due(TIME_MAX + 1)

    def lease(self) -> Lease | None:
        return self.leased

    def request(self, ident: str) -> Remembered | None:
        kept = self.requests.get(ident)
        return None if kept is None else (kept[2], kept[3], step_of(kept)[1])

    def event(self, order_id: str, ident: str) -> Remembered | None:
        events = self.events.get(order_id)
        kept = None if events is None else events.get(ident)
        return None if kept is None else (kept[2], kept[3], step_of(kept)[1])

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        return [
            order_of_raw(kept)
            for kept in self.orders.values()
            if kept[_CHANGED] <= until_us and kept[STATE_AT] not in _LIVE_STATES and not kept[_OPEN_LOTS]
        ]

    def unfilled(self, until_us: int) -> Iterable[str]:
        return [
            order.order_id
            for order in self.every()
            if order.changed_us <= until_us
            and order.state in SHRINKS
            and order.request_id
            and not (order.filled or order.overfilled or order.open_lots)
        ]

    def forgotten(self, until_us: int) -> int:
        return sum(kept[3] <= until_us for kept in self.requests.values())

    def aged(self, until_us: int) -> int:
        for record in self.journal:
            if record[1] > until_us or self._leads_to(record, until_us):
                return record[0] - 1
        assert self.held is not None  # noqa: S101 - asked of open accounts only
        return self.held.version

    def _leads_to(self, record: KeptStep, until_us: int) -> bool:
        """Whether an id that was issued ahead of the clock, and so stays, was answered by this record."""
        if record[3] <= until_us:
            return False
        journal, answer = step_of(record)
        # The tombstone of an abandoned id needs no record: nothing is answered from it.
        return answer is not None and self.requests.get(journal[3]) is record

    def owned(self, owner: str) -> int:
        return self.owners.get(owner, 0)

    def outbox_entry(self, request_id: str) -> OutboxEntry | None:
        found = self.outbox.get(request_id)
        return None if found is None else OutboxEntry(*found)

    def outbox_entries(self) -> Iterable[OutboxEntry]:
        return [OutboxEntry(*entry) for entry in self.outbox.values()]

    def every(self) -> Iterable[BookOrder]:
        return [order_of_raw(kept) for kept in self.orders.values()]

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        rates = self.rates.get(key)
        if rates is None:
            rates = self.rates[key] = CountedRates()
        return rates.top(deltas)

    def counts_after(self, deltas: RateDeltas) -> Sequence[tuple[RateKey, int, int]]:
        """Absolute counts a step leaves, so that writing them twice is the same as once."""
        return [
            (key, rate, self.rates[key].counts.get(rate, 0) + change)
            for key, changes in deltas.items()
            for rate, change in changes.items()
        ]

    def put(self, order: RawOrder) -> None:
        """Keep an order; twice is the same as once."""
        order_id, state = order[0], order[STATE_AT]
        self.orders[order_id] = order
        if state in _LIVE_STATES:
            self.working[order_id] = order_of_raw(order).overdue_us
        else:
            self.working.pop(order_id, None)

    def write(self, effect: Effect, counts: Sequence[tuple[RateKey, int, int]]) -> None:
        """Write a step; writing the same one again changes nothing."""
        for key, rate, count in counts:
            self.rates[key].set_count(rate, count)
        if effect.kept is not None:
            self.take(effect)
            return
        for row in effect.symbols:
            self.rows[row.symbol, row.leg] = row
        for order in effect.orders:
            self.put(order)
        if effect.aliases:
            self.aliases.update(effect.aliases)
        if effect.owners:
            self.owners.update(effect.owners)
        for request_id, entry in effect.outbox:
            if entry is None:
                self.outbox.pop(request_id, None)
            else:
                self.outbox[request_id] = entry
        if effect.journal is not None:
            self._pack(effect.journal, effect)
        if effect.lease is not None:
            self.leased = effect.lease
        if effect.account is not None:
            self.held = effect.account
        if effect.upkeep is not None:
            self._tidy(effect.upkeep)

    def _tidy(self, upkeep: Upkeep) -> None:
        """Let go of what is old, or make anew what is derived; everything else has been written."""
        if upkeep.watermark_us is not None:
            self.forget(upkeep.archived, upkeep.watermark_us)
        for order_id in upkeep.compacted:
            self.put(raw_order(order_of_raw(self.orders[order_id])._replace(**COMPACTED)))
            self.events.pop(order_id, None)
        if upkeep.trim_version is not None:
            self.trim(upkeep.trim_version)
        if upkeep.indexes is not None:
            self.reindex(upkeep.indexes)
        if upkeep.rebase:
            self.rebase()

    def _pack(self, journal: RawJournal, effect: Effect) -> None:
        """Keep the journal record of a step and what it was answered, packed in one."""
        asked, noted = effect.request, effect.event
        if self.journal and self.journal[-1][0] == journal[0]:
            step = self.journal[-1]  # of a write that was struck after this, and is finished now
        else:
            step = _kept(journal, asked[1] if asked is not None else noted[2] if noted is not None else None)
            self.journal.append(step)
        if asked is not None:
            self.requests[asked[0]] = step
        elif noted is not None:
            self.events.setdefault(noted[0], {})[noted[1]] = step

    def reindex(self, indexes: Indexes) -> None:
        """Write anew what is derived from the orders; twice is the same as once."""
        self.working = {name: order_of_raw(self.orders[name]).overdue_us for name in indexes.live_ids}
        self.aliases = {alias: name for alias, name in self.aliases.items() if name in self.orders}
        self.aliases |= indexes.aliases
        self.outbox = {entry.request_id: raw_entry(entry) for entry in indexes.outbox}
        if indexes.owners is not None:
            self.owners = dict(indexes.owners)
        if indexes.rates is None:
            return
        self.rates = {}
        for key, counts in indexes.rates.items():
            rates = self.rates[key] = CountedRates()
            for rate, count in counts.items():
                rates.set_count(rate, count)

    def rebase(self) -> None:
        """Let the journal begin at the state as it is now; its earlier records stay for reading."""
        assert self.held is not None  # noqa: S101 - a repair has just written it
        self.base = JournalBase(
            self.held.version,
            Totals(*self.held.totals),
            {key: tuple(row[2:6]) for key, row in self.rows.items()},
            {name: kept[STATE_AT:STATE_END] for name, kept in self.orders.items()},
        )

    def forget(self, order_ids: tuple[str, ...], watermark_us: int) -> None:
        """Delete archived orders, and ids up to the watermark; twice is the same as once."""
        for order_id in order_ids:
            self.orders.pop(order_id, None)
            self.events.pop(order_id, None)
        gone = set(order_ids)
        self.aliases = {alias: name for alias, name in self.aliases.items() if name not in gone}
        self.requests = {name: kept for name, kept in self.requests.items() if kept[3] > watermark_us}

    def trim(self, version: int) -> None:
        """Fold journal records up to a version into the base and delete them; twice is the same as once."""
        old = self.after(version)
        for record in self.journal[:old]:
            if record[0] > self.base.version:
                self.base.fold(_record(record))
        del self.journal[:old]

    def after(self, version: int) -> int:
        """Place of the first journal record above a version."""
        return bisect_right(self.journal, version, key=lambda record: record[0])


class MemoryBook(ReservationBook):
    """A reservation book in memory. One lock; a step holds it for microseconds."""

    def __init__(self, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        # A step being written. An exception from a signal handler can strike between two assignments; whoever comes
        # next finishes the write before reading.
        self._pending: tuple[_Shelf, Effect, Sequence[tuple[RateKey, int, int]]] | None = None
        self._generation = generation()
        self._closed = False

    def _guard(self) -> threading.Lock:
        """The lock of this process's book."""
        if self._generation != generation():
            raise StoreUnavailable("a memory book belongs to the process that made it; this is a fork")
        return self._lock

    def _run(self, request: Request) -> Outcome:
        with self._guard():
            if self._closed or self._pending is not None:
                self._settle()
            account_id = request.account_id
            shelf = self._shelves.get(account_id)
            if shelf is None:
                shelf = _Shelf()
                if request.op in ("open_account", "import_flat"):
                    self._shelves[account_id] = shelf
            if request.at_scale is not None and shelf.held is not None and shelf.held.scale != request.at_scale:
                raise OtherScale(account_id, shelf.held.scale)
            effect = STEPS[request.op](shelf, request, self._clock())
            if effect.account is not None or effect.symbols or effect.lease is not None:
                counts = shelf.counts_after(effect.rates) if effect.rates else ()
                self._pending = (shelf, effect, counts)
                shelf.write(effect, counts)
                self._pending = None
            return effect.outcome

    def _settle(self) -> None:
        """Finish the write that is under way, if any."""
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._pending is not None:
            shelf, effect, counts = self._pending
            shelf.write(effect, counts)
            self._pending = None

    def _scale(self, account_id: str) -> int:
        shelf = self._shelves.get(account_id)
        return MICRO_SCALE if shelf is None or shelf.held is None else shelf.held.scale

    def _shelf(self, account_id: str) -> _Shelf:
        """An open account's records; call under the lock."""
        self._settle()
        shelf = self._shelves.get(account_id)
        if shelf is None or shelf.held is None:
            raise InputError("account_id", None, "an open account", repr(account_id))
        return shelf

    def close_book(self) -> None:
        """Forget everything. Idempotent; in a fork there is nothing to close."""
        if self._generation == generation():
            with self._lock:
                self._closed = True
                self._shelves.clear()

    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""
        with self._guard():
            self._settle()
            return tuple(sorted(name for name, shelf in self._shelves.items() if shelf.held is not None))

    def _account(self, account_id: str) -> BookAccount:
        with self._guard():
            held = self._shelf(account_id).held
        assert held is not None  # noqa: S101 - checked by _shelf
        return held

    def _order(self, account_id: str, order_id: str) -> BookOrder | None:
        with self._guard():
            return self._shelf(account_id).order(order_id)

    def _orders(self, account_id: str, which: Which, *, every: bool) -> tuple[BookOrder, ...]:
        with self._guard():
            shelf = self._shelf(account_id)
            found = shelf.every() if every else shelf.live()
        return which.among(found)

    def _awaiting(self, account_id: str) -> tuple[BookOrder, ...]:
        with self._guard():
            return tuple(self._shelf(account_id).awaited())

    def _symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        with self._guard():
            return tuple(sorted(self._shelf(account_id).rows.values()))

    def _history(self, account_id: str, after_version: int, limit: int) -> tuple[JournalRecord, ...]:
        with self._guard():
            shelf = self._shelf(account_id)
            start = shelf.after(after_version)
            raw = shelf.journal[start : start + limit]
        return tuple([_record(record) for record in raw])

    def _outbox(self, account_id: str, after_version: int, limit: int) -> tuple[OutboxEntry, ...]:
        with self._guard():
            entries = [entry for entry in self._shelf(account_id).outbox_entries() if entry.version > after_version]
        # Entries made anew by a repair may stand in another order.
        return tuple(sorted(entries, key=lambda entry: entry.version)[:limit])

    def _outbox_size(self, account_id: str) -> int:
        with self._guard():
            return len(self._shelf(account_id).outbox)

    def _outbox_reader(self, name: str, partitions: frozenset[int], takeover_ms: int) -> OutboxReader:  # noqa: ARG002
        return PolledReader(self._unsent, partitions, takeover_ms / 1000)

    def _unsent(self, partitions: frozenset[int]) -> list[Delivery]:
        found = []
        with self._guard():
            self._settle()
            waiting = [(name, shelf) for name, shelf in self._shelves.items() if shelf.outbox]
            for name, shelf in waiting:
                if partition_of(name) in partitions:
                    for entry in shelf.outbox_entries():
                        orders = unclaimed(entry, map(shelf.order, entry.order_ids))
                        if orders:
                            found.append(Delivery(name, entry, orders))
        return sorted(found, key=lambda delivery: (delivery.account_id, delivery.entry.version))

    def _knows_event(self, account_id: str, order_id: str, ident: str) -> bool:
        with self._guard():
            return self._shelf(account_id).event(order_id, ident) is not None

    def _holdings(self, account_id: str) -> Holdings:
        with self._guard():
            shelf = self._shelf(account_id)
            assert shelf.held is not None  # noqa: S101 - checked by _shelf
            awaited = {order.order_id: order.overdue_us for order in shelf.every() if not order.terminal}
            misdated = sorted(name for name, due_us in awaited.items() if shelf.working.get(name, due_us) != due_us)
            return Holdings(
                shelf.held,
                tuple(shelf.rows.values()),
                {order.order_id: order for order in shelf.every()},
                frozenset(shelf.working),
                dict(shelf.aliases),
                dict(shelf.owners),
                {key: dict(rates.counts) for key, rates in shelf.rates.items()},
                [_record(record) for record in shelf.journal],
                shelf.base.copy(),
                tuple(shelf.outbox_entries()),
                len(shelf.requests),
                f"awaiting: {misdated}" if misdated else "",
            )
