"""Workers of the Redis store: readers of the outbox streams in one consumer group.

The server hands each new entry to one worker and remembers which. What a worker has had for longer than the take-over
time, because it died or because the venue has not answered, is handed to the next one that walks by; the orders of it
that nobody has claimed are then there to be claimed. An entry that is settled is acknowledged and deleted in the step
that settles it (lua/prelude.lua).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import redis.exceptions as failures

from equipoise.errors import StoreError
from equipoise.reservation.redis_links import command, failure_of, slot_of
from equipoise.reservation.redis_records import entries_of, entry_of
from equipoise.reservation.redis_registry import Hinted, Registry
from equipoise.reservation.redis_scripts import keys_of
from equipoise.reservation.workers import Delivery, unclaimed

if TYPE_CHECKING:
    from equipoise.reservation.redis import RedisBook

__all__ = ["GroupReader"]

GROUP = "workers"
"""Name of the consumer group, in lua/prelude.lua too."""
WALK_S = 1.0
_Entries = list[Any]
"""Entries of one stream, as the server gives them."""


class GroupReader:
    """One consumer of the group, on the streams of some partitions."""

    def __init__(
        self, book: RedisBook, registry: Registry, name: str, partitions: frozenset[int], takeover_ms: int
    ) -> None:
        self._book, self._registry, self._name = book, registry, name
        self._partitions = sorted(partitions)
        self._hinted = Hinted(registry, self._partitions)
        self._takeover_ms = takeover_ms
        self._walk_at = 0.0
        # Where the look at what others hold goes on, by account; absent: from the beginning.
        self._cursors: dict[str, str] = {}
        self._unread: StoreError | None = None
        """What the server said of a stream that could not be read at this look."""

    def take(self, most: int) -> list[Delivery]:
        """New entries of the accounts that hints name; once a second, what any account of the partitions has."""
        found: list[tuple[str, _Entries]] = []
        deliveries: list[Delivery] = []
        lost: StoreError | None = None
        self._unread = None
        try:
            found += self._new(self._hinted.names(), most)
            if time.monotonic() >= self._walk_at:
                self._walk_at = time.monotonic() + WALK_S
                walked = self._registry.walkable(self._partitions, self._name)
                members = self._registry.members(walked, whole=False) if walked else set()
                # What a dead worker holds is looked for in accounts that have new entries too: they may always have.
                found += self._left(sorted(members), most)
                found += self._new(sorted(members - {name for name, entries in found if entries}), most)
        except StoreError as error:
            lost = error
        lost = lost or self._unread
        # More may be there: whoever comes next shall look again.
        self._registry.hint([account_id for account_id, entries in found if len(entries) >= most])
        for account_id, entries in found:
            try:
                deliveries += self._deliveries(account_id, entries)
            except StoreError as error:
                # One account that cannot be read does not keep the others waiting.
                lost = error
        # What was read and could not be completed is with this worker until the take-over time has passed.
        if lost is not None and not deliveries:
            raise lost
        if deliveries:
            self._hinted.leave()
        return deliveries

    def _stream(self, account_id: str) -> str:
        return keys_of(self._book.target.prefix, account_id)[9]

    def _new(self, account_ids: Sequence[str], most: int) -> list[tuple[str, _Entries]]:
        """Entries that no worker has been handed."""

        def asked(names: Iterable[str]) -> list[tuple[int, bytes]]:
            words = ("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", str(most), "STREAMS")
            return [(slot_of(name), command(*words, self._stream(name), ">")) for name in names]

        replies = self._book.each(asked(account_ids))
        # A stream that nobody has read yet has no group; one that is not there has nothing to be read.
        fresh = [name for name, reply in zip(account_ids, replies, strict=True) if _no_group(reply)]
        made = self._book.each(
            [(slot_of(name), command("XGROUP", "CREATE", self._stream(name), GROUP, "0")) for name in fresh]
        )
        ready = [name for name, reply in zip(fresh, made, strict=True) if reply == b"OK" or _busy_group(reply)]
        read = [
            *zip(account_ids, replies, strict=True),
            *zip(ready, self._book.each(asked(ready)), strict=True),
        ]
        found = []
        for name, reply in self._answers(read):
            if reply:
                found.append((name, reply[0][1] or []))
        return found

    def _left(self, account_ids: Sequence[str], most: int) -> list[tuple[str, _Entries]]:
        """Entries that some worker was handed longer ago than the take-over time, taken over."""
        asked = []
        for name in account_ids:
            words = ("XAUTOCLAIM", self._stream(name), GROUP, self._name, str(self._takeover_ms))
            asked.append((slot_of(name), command(*words, self._cursors.get(name, "0-0"), "COUNT", str(most))))
        found = []
        for name, reply in self._answers(zip(account_ids, self._book.each(asked), strict=True)):
            cursor = reply[0].decode()
            if cursor == "0-0":
                self._cursors.pop(name, None)
            else:
                self._cursors[name] = cursor
            found.append((name, reply[1] or []))
        return found

    def _answers(self, read: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """What was answered. An account, or a master, that cannot be read does not stop the others; all masters do."""
        good: list[tuple[str, Any]] = []
        lost: StoreError | None = None
        heard = False
        for name, reply in read:
            if isinstance(reply, StoreError):
                lost = reply
            elif isinstance(reply, failures.RedisError) and not _no_group(reply):
                # A stream of another type, as a rule. It is raised by a look that finds nothing to hand out.
                self._unread = failure_of(reply)
            else:
                heard = True
                if not _no_group(reply):
                    good.append((name, reply))
        if lost is not None and not heard:
            raise lost
        return good

    def _deliveries(self, account_id: str, raw: _Entries) -> list[Delivery]:
        """The entries with those of their orders that nobody has claimed; without any, an entry waits for answers."""
        entries = entries_of(raw)
        if not entries:
            return []
        waiting = self._book.waiting_of(account_id, [fields["request_id"] for _, fields in entries])
        made = [entry_of(version, fields, left) for (version, fields), left in zip(entries, waiting, strict=True)]
        orders = self._book.orders_by_id(account_id, [name for entry in made for name in entry.order_ids])
        deliveries = []
        for entry in made:
            mine = unclaimed(entry, [orders.get(name) for name in entry.order_ids])
            if mine:
                deliveries.append(Delivery(account_id, entry, mine))
        return deliveries


def _no_group(reply: object) -> bool:
    return isinstance(reply, failures.ResponseError) and str(reply).startswith("NOGROUP")


def _busy_group(reply: object) -> bool:
    return isinstance(reply, failures.ResponseError) and "BUSYGROUP" in str(reply)
