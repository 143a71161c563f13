"""Which accounts a Redis book has, and which of them may have something to send.

Accounts live in slots of their own, so that no step needs a second one; somebody who looks for all of them needs a
list. It is kept by partition, in slots of its own:

=====================  ======  ====================================================================================
key                    type    holds
=====================  ======  ====================================================================================
user_accounts:{p3}     set     accounts of partition 3: written before an account is opened, never taken away
user_registered:{p3}   string  node for which the set is known to be whole
user_hints:{p3}        set     accounts into whose outbox something was written; workers take them out (best effort)
user_walk:{p3}         string  which worker walks the partition this second
=====================  ======  ====================================================================================

The list is written before the account, so on one node it can lack no account that is there. On a Cluster the node of
the list may be promoted and have lost its last members: then it is another node than the one named beside the list, and
the list is made whole again by a scan of every master. Once a second a hint adds the account to the list as well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import redis.exceptions as failures
from redis.crc import key_slot

from equipoise.errors import StoreError, StoreUnavailable
from equipoise.reservation.foreign import known_texts
from equipoise.reservation.redis_links import SILENT_S, Address, command, failure_of, slot_of
from equipoise.reservation.workers import PARTITIONS, partition_of

if TYPE_CHECKING:
    from equipoise.reservation.redis import RedisBook

__all__ = ["Hinted", "Registry"]

CHUNK = 500
HINT_S = 0.02
"""Between two hints for the same account: two looks of a worker. A step in between gives none, because the worker that
takes the last one looks at the account once more so long after it has taken it (`Hinted`), and finds the entry then."""
WHOLE_S = 1.0
"""How often the hint for an account is a whole one: it follows a slot that has moved, and puts the account on the list
as well, which may have lost it."""
LISTED_MAX = 10_000
"""Accounts whose last hint is remembered; beyond, all of them are given one more."""
HINTS_MOST = 100
WALK_MS = 900
"""How long one worker has a partition to itself: every account is looked at about once a second."""


_SLOTS = [int(key_slot(f"p{partition}".encode())) for partition in range(PARTITIONS)]


def literal(text: str) -> str:
    """Text for MATCH that stands for itself."""
    return "".join(["\\" + sign if sign in "*?[]\\^" else sign for sign in text])


class Registry:
    """The list of accounts of a book, and its hints."""

    def __init__(self, book: RedisBook) -> None:
        self._book = book
        self._prefix = book.target.prefix
        self._given: dict[str, float] = {}
        """When an account was last given a hint."""
        self._listed: dict[str, float] = {}
        """When it was last given a whole one."""
        self._failed: dict[int, float] = {}
        """Of a slot: when a hint to its node last failed."""

    def _key(self, name: str, partition: int) -> str:
        return f"{self._prefix}user_{name}:{{p{partition}}}"

    @staticmethod
    def slot(partition: int) -> int:
        """Slot of a partition's list and hints."""
        return _SLOTS[partition]

    def add(self, account_id: str) -> None:
        """Put an account on the list, before it is opened. A failure is StoreUnavailable: nothing has happened."""
        place = partition_of(account_id)
        self._ask([(self.slot(place), command("SADD", self._key("accounts", place), account_id))])

    def hint_slot(self, account_id: str) -> int:
        """Slot of the hints of an account."""
        return self.slot(partition_of(account_id))

    def due(self, account_id: str) -> bool:
        """Whether who asks is to give a hint for an account now: none was given a moment ago, and its node answers."""
        now = time.monotonic()
        if now - self._given.get(account_id, -HINT_S) < HINT_S:
            return False
        if now - self._failed.get(self.hint_slot(account_id), -SILENT_S) < SILENT_S:
            return False
        if len(self._given) > LISTED_MAX:
            self._given.clear()
        # Noted before it is sent: who relies on it has written before the worker that takes it looks for the last time.
        self._given[account_id] = now
        return True

    def passing_hint(self, account_id: str) -> bytes | None:
        """The command that tells workers of an account and whose reply nobody needs; None: give a whole hint.

        A passing hint that is sent to a node which no longer has its slot is lost, and nobody learns where the slot is.
        """
        if time.monotonic() - self._listed.get(account_id, -WHOLE_S) >= WHOLE_S:
            return None
        return command("SADD", self._key("hints", partition_of(account_id)), account_id)

    def hint(self, account_ids: Iterable[str]) -> None:
        """Tell workers of accounts and put them on their lists; a hint that is lost costs up to the next walk."""
        items, now = [], time.monotonic()
        if len(self._listed) > LISTED_MAX:
            self._listed.clear()
        for account_id in account_ids:
            place = partition_of(account_id)
            told = [command("SADD", self._key(name, place), account_id) for name in ("hints", "accounts")]
            items += [(self.slot(place), one) for one in told]
            self._listed[account_id] = now
        with contextlib.suppress(StoreError):
            for (slot, _), reply in zip(items, self._book.each(items), strict=True):
                if isinstance(reply, StoreError):
                    self._failed[slot] = time.monotonic()

    def take_hints(self, partitions: Sequence[int]) -> list[str]:
        """Take hints out, up to `HINTS_MOST` a partition."""
        asked = [(self.slot(p), command("SPOP", self._key("hints", p), str(HINTS_MOST))) for p in partitions]
        return known_texts(name for reply in self._ask(asked, partly=True) for name in reply)

    def walkable(self, partitions: Sequence[int], name: str) -> list[int]:
        """The partitions that nobody else walks this second."""
        asked = [
            (self.slot(p), command("SET", self._key("walk", p), name, "NX", "PX", str(WALK_MS))) for p in partitions
        ]
        replies = self._ask(asked, partly=True, gaps=True)
        return [p for p, reply in zip(partitions, replies, strict=True) if reply is not None]

    def members(self, partitions: Sequence[int], *, whole: bool = True) -> set[str]:
        """Accounts on the list of the partitions, which is made whole before where it might not be.

        Without `whole` a list that cannot be made whole now, because some master is out of reach, is taken as it is.
        """
        lacking = any(found != self._home(p) for p, found in zip(partitions, self._registered(partitions), strict=True))
        if lacking and (whole or not self._book.silent()):
            try:
                self.rebuild()
            except StoreUnavailable:
                if whole:
                    raise
        asked = [(self.slot(p), command("SMEMBERS", self._key("accounts", p))) for p in partitions]
        return set(known_texts(name for reply in self._ask(asked) for name in reply))

    def accounts(self) -> tuple[str, ...]:
        """Accounts that are open, sorted: the list may have some that never were."""
        listed = sorted(self.members(range(PARTITIONS)))
        asked = [(slot_of(name), command("EXISTS", f"{self._prefix}user_portfolio:{{{name}}}")) for name in listed]
        return tuple([name for name, there in zip(listed, self._ask(asked), strict=True) if there])

    def rebuild(self) -> tuple[str, ...]:
        """Put every account that is found on any master on the list; sorted."""
        start = f"{self._prefix}user_portfolio:{{"
        homes = [self._home(p) for p in range(PARTITIONS)]
        found = set()
        for address in self._book.masters():
            for key in self.scan(address, f"{literal(start)}*}}"):
                found.add(key[len(start) : -1])
        listed = sorted(found)
        places: dict[int, list[str]] = {}
        for name in listed:
            places.setdefault(partition_of(name), []).append(name)
        asked = [
            (self.slot(p), command("SADD", self._key("accounts", p), *names[i : i + CHUNK]))
            for p, names in places.items()
            for i in range(0, len(names), CHUNK)
        ]
        self._ask(asked)
        # Named as they were before the scan: a node that was promoted meanwhile has it done again.
        self._ask([(self.slot(p), command("SET", self._key("registered", p), home)) for p, home in enumerate(homes)])
        return tuple(listed)

    def scan(self, address: Address, pattern: str) -> Iterator[str]:
        """Keys of a node that match."""
        cursor = b"0"
        while True:
            cursor, keys = self._book.at(address, command("SCAN", cursor, "MATCH", pattern, "COUNT", "5000"))
            yield from known_texts(keys)
            if cursor == b"0":
                return

    def _registered(self, partitions: Sequence[int]) -> list[str | None]:
        """For which node each list was last known to be whole."""
        asked = [(self.slot(p), command("GET", self._key("registered", p))) for p in partitions]
        return [None if reply is None else reply.decode(errors="replace") for reply in self._ask(asked)]

    def _home(self, partition: int) -> str:
        """Who the node of a partition's list is now; a single node cannot lose the list and keep the accounts."""
        return self._book.home_of(self._book.address_of(self.slot(partition))) or "single"

    def _ask(self, items: list[tuple[int, bytes]], *, partly: bool = False, gaps: bool = False) -> list[Any]:
        """Replies; the first failure is raised. `partly`: only if all failed; `gaps`: with None where one did."""
        replies = self._book.each(items)
        failed = [reply for reply in replies if isinstance(reply, Exception)]
        for reply in failed:
            if not partly or len(failed) == len(replies):
                raise failure_of(reply) if isinstance(reply, failures.RedisError) else reply
        good = [None if isinstance(reply, Exception) else reply for reply in replies]
        return good if gaps or not failed else [reply for reply in good if reply is not None]


class Hinted:
    """The accounts that hints name to one worker."""

    def __init__(self, registry: Registry, partitions: Sequence[int]) -> None:
        self._registry, self._partitions = registry, partitions
        self._taken: dict[str, float] = {}
        """When the hint for an account was taken."""

    def names(self) -> list[str]:
        """Accounts to be looked at now: each until the first call that begins `HINT_S` after its hint was taken."""
        began = time.monotonic()
        hints = self._registry.take_hints(self._partitions)
        self._taken.update(dict.fromkeys(hints, time.monotonic()))
        names = list(self._taken)
        self._taken = {name: at for name, at in self._taken.items() if began - at < HINT_S}
        return names

    def leave(self) -> None:
        """Hand what is still to be looked at to whoever looks next: this worker has something to send now."""
        left, self._taken = list(self._taken), {}
        if left:
            self._registry.hint(left)
