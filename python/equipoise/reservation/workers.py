"""Workers: whoever sends what stands in the outbox, in as many processes as wanted.

A worker is handed the requests that have orders nobody has claimed. It claims each order, and only the claim's OK
permits the bytes, so however often an entry is handed out, and to however many, an order is sent at most once. A worker
that dies before the claim costs time: another is handed the entry. One that dies after it leaves an order that goes
overdue and then UNKNOWN, and is asked after by client id, never sent again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self
from zlib import crc32

from equipoise.errors import InputError
from equipoise.reservation.arguments import span_of
from equipoise.reservation.codes import OrderState
from equipoise.reservation.ids import derived_id, id_of
from equipoise.reservation.money import lots_of
from equipoise.reservation.records import BookOrder, OutboxEntry, Outcome

if TYPE_CHECKING:
    from equipoise.reservation.awaited import AsyncReservationBook
    from equipoise.reservation.contract import ReservationBook

__all__ = ["PARTITIONS", "AsyncWorker", "Delivery", "OutboxReader", "Worker", "partition_of"]

PARTITIONS = 16
"""Every account belongs to one of so many; the same in every process and on every store."""
TAKE_MOST = 10
"""Entries of an account that a worker is handed at once; the rest is there for other workers."""


def partition_of(account_id: str) -> int:
    """Partition of an account, 0 ... PARTITIONS - 1."""
    return crc32(account_id.encode()) % PARTITIONS


class Delivery(NamedTuple):
    """An outbox entry in a worker's hands."""

    account_id: str
    entry: OutboxEntry
    orders: tuple[BookOrder, ...]
    """Of the entry, those that nobody had claimed when it was read: to be claimed, each, before its bytes leave."""


class OutboxReader(Protocol):
    """Where a store's entries come from."""

    def take(self, most: int) -> list[Delivery]:
        """Entries to be handed out now, up to `most` an account, without waiting for any."""


class PolledReader:
    """Reads the outbox of a store that has no groups of readers; remembers what it has handed out.

    `unsent` finds every entry with an order that is RESERVED, oldest first within an account.
    """

    def __init__(
        self, unsent: Callable[[frozenset[int]], Iterable[Delivery]], partitions: frozenset[int], takeover_s: float
    ) -> None:
        self._unsent, self._partitions, self._takeover_s = unsent, partitions, takeover_s
        self._handed: dict[tuple[str, int], float] = {}

    def take(self, most: int) -> list[Delivery]:
        """Entries not handed out before, or so long ago that whoever had them must have failed."""
        now = time.monotonic()
        handed: dict[tuple[str, int], float] = {}
        taken: list[Delivery] = []
        counts: dict[str, int] = {}
        for delivery in self._unsent(self._partitions):
            key = (delivery.account_id, delivery.entry.version)
            since = self._handed.get(key)
            if since is not None and now - since < self._takeover_s:
                handed[key] = since
                continue
            count = counts.get(delivery.account_id, 0)
            if count < most:
                counts[delivery.account_id] = count + 1
                handed[key] = now
                taken.append(delivery)
        # What is no longer unsent is forgotten.
        self._handed = handed
        return taken


def unclaimed(entry: OutboxEntry, orders: Iterable[BookOrder | None]) -> tuple[BookOrder, ...]:
    """The orders of an entry that a worker may claim, of those that have its order ids now.

    One that has ended and was archived leaves its id to whoever asks next: that order is not of this entry.
    """
    return tuple(
        [
            order
            for order in orders
            if order is not None
            and order.state is OrderState.RESERVED
            and order.outbox
            and order.request_id == entry.request_id
        ]
    )


def _parted(found: list[Delivery], most: int) -> tuple[list[Delivery], list[Delivery]]:
    """Up to `most` entries an account, and the others."""
    counts: dict[str, int] = {}
    first: list[Delivery] = []
    rest: list[Delivery] = []
    for delivery in found:
        count = counts[delivery.account_id] = counts.get(delivery.account_id, 0) + 1
        (first if count <= most else rest).append(delivery)
    return first, rest


def partitions_of(partition: int | None) -> frozenset[int]:
    """The partitions a worker reads: one, or all."""
    if partition is None:
        return frozenset(range(PARTITIONS))
    if lots_of(partition, "partition", least=0) >= PARTITIONS:
        raise InputError("partition", None, f"0-{PARTITIONS - 1}, or None for all", partition)
    return frozenset({partition})


class _Named:
    """What both kinds of worker are made of."""

    def __init__(self, reader: OutboxReader, name: str, poll_ms: int) -> None:
        self.name = id_of(name, "name")
        self._reader = reader
        self._poll_s = span_of(poll_ms, "poll_ms", 1000) / 1_000_000
        self._event = derived_id("claim:", self.name)
        self._queue: deque[Delivery] = deque()


class Worker(_Named):
    """Iterates over what has to be sent, until `stop`. Made by `ReservationBook.worker`; one thread uses it.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from equipoise.orders import Order, Side
    >>> from equipoise.reservation import ReservationBook
    >>> order = Order(symbol="HYPE", side=Side.BID, lots=5, price_ticks=27110, hold=13_560_000,
    ...               price=Decimal("27.110"), size=Decimal("0.05"))
    >>> with ReservationBook.connect("memory:") as book, book.worker("sender-1") as worker:
    ...     _ = book.open_account("live:6", balance="100")
    ...     _ = book.reserve("live:6", [order], request_id="q-42", send="outbox")
    ...     for delivery in worker:
    ...         for order in delivery.orders:
    ...             if worker.claim(delivery, order.order_id).ok:
    ...                 print("send", order.order_id)  # the bytes may leave, now and never again
    ...         worker.stop()
    send q-42:0
    """

    def __init__(self, book: ReservationBook, reader: OutboxReader, name: str, poll_ms: int) -> None:
        super().__init__(reader, name, poll_ms)
        self._book = book
        self._stopped = threading.Event()

    def take(self, most: int = TAKE_MOST) -> tuple[Delivery, ...]:
        """What is there now, up to `most` entries an account; does not wait."""
        return tuple(self._book._take(self._reader, lots_of(most, "most")))  # noqa: SLF001 - two halves of one thing

    def claim(self, delivery: Delivery, order_id: str) -> Outcome:
        """Claim an order under this worker's name; only `ok` permits its bytes."""
        return self._book.claim(delivery.account_id, order_id, event_id=self._event)

    def stop(self) -> None:
        """End the iteration, from any thread. What was handed out and not claimed goes to other workers."""
        self._stopped.set()

    def __iter__(self) -> Iterator[Delivery]:
        return self

    def __next__(self) -> Delivery:
        """The next entry, waited for. A store's error passes; iterate again to go on."""
        while not self._stopped.is_set():
            if self._queue:
                return self._queue.popleft()
            self._queue.extend(self.take())
            if not self._queue:
                self._stopped.wait(self._poll_s)
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class AsyncWorker(_Named):
    """`Worker` for asyncio: an asynchronous iterator. Made by `AsyncReservationBook.worker`."""

    def __init__(self, book: AsyncReservationBook, reader: OutboxReader, name: str, poll_ms: int) -> None:
        super().__init__(reader, name, poll_ms)
        self._book = book
        self._stopped = False
        self._reading: asyncio.Task[list[Delivery]] | None = None
        """What is being read, or was for a call that was cancelled: the store counts it as handed to this worker."""
        self._left: list[Delivery] = []
        """What was read for another call than the one that it was handed to, and was too much for that."""

    async def take(self, most: int = TAKE_MOST) -> tuple[Delivery, ...]:
        """What is there now, up to `most` entries an account; does not wait.

        What a call has read that was cancelled meanwhile is handed to the next one.
        """
        most = lots_of(most, "most")
        if not self._left:
            found = await self._read(most)
            self._left += found  # several callers may have waited
        handed, self._left = _parted(self._left, most)
        return tuple(handed)

    async def _read(self, most: int) -> list[Delivery]:
        """What the book has to hand out; of several callers that wait for the same look one gets it."""
        reading, loop = self._reading, asyncio.get_running_loop()
        if reading is not None and reading.done():
            self._reading = None
            if not reading.cancelled() and reading.exception() is None:
                return reading.result()
        if self._reading is None or self._reading.get_loop() is not loop:
            call = self._book._call("_take", self._reader, most)  # noqa: SLF001 - two halves of one thing
            self._reading = loop.create_task(call)
            # That it failed is not reported as seen by nobody, where nobody waits for it any more.
            self._reading.add_done_callback(lambda read: read.cancelled() or read.exception())
        reading = self._reading
        # It goes on where the caller is cancelled.
        found = await asyncio.shield(reading)
        if self._reading is not reading:
            return []
        self._reading = None
        return found

    async def claim(self, delivery: Delivery, order_id: str) -> Outcome:
        """Claim an order under this worker's name; only `ok` permits its bytes."""
        return await self._book.claim(delivery.account_id, order_id, event_id=self._event)

    def stop(self) -> None:
        """End the iteration. What was handed out and not claimed goes to other workers."""
        self._stopped = True

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        """The next entry, waited for. A store's error passes; iterate again to go on."""
        while not self._stopped:
            if self._queue:
                return self._queue.popleft()
            self._queue.extend(await self.take())
            if not self._queue:
                await asyncio.sleep(self._poll_s)
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
