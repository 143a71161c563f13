"""What is read of an account in Redis, beside the steps: nothing here writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nlargest
from typing import Any

import redis.exceptions as failures

from equipoise._rust import ScriptCalls
from equipoise.errors import InputError, StoreError, StoreUnavailable
from equipoise.reservation.as_of import orders_as_of
from equipoise.reservation.audit import Holdings
from equipoise.reservation.contract import ReservationBook, Which
from equipoise.reservation.foreign import texts, understood
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol, JournalRecord, OutboxEntry, journal_record
from equipoise.reservation.redis_links import Address, Link, Target, command, failure_of, slot_of
from equipoise.reservation.redis_records import (
    Snapshot,
    account_of,
    entries_of,
    entry_of,
    in_order_made,
    missed_by,
    order_of,
    pairs,
    symbol_of,
)
from equipoise.reservation.redis_scripts import SCRIPTS, Script, keys_of
from equipoise.reservation.redis_steps import SCALES, journal_of

__all__ = ["ATTEMPTS", "CHUNK", "RedisReads"]

CHUNK = 500
"""Records that are asked for at once."""
ATTEMPTS = 100
"""At what keeps changing."""


class RedisReads(ReservationBook):
    """The reads of a Redis book. How a command reaches the node of an account is `RedisBook`'s."""

    _target: Target
    _scales: dict[str, int]
    _calls: Callable[[str], ScriptCalls]
    """Of an account: what packs the calls of scripts."""

    @abstractmethod
    def _exchange(
        self, slot: int, payload: Callable[[Link], bytes], replies: int, script: Script | None = None
    ) -> list[Any]:
        """Send to the node of a slot until it is served there, or the time-out."""

    @abstractmethod
    def each(self, items: Sequence[tuple[int, bytes]]) -> list[Any]:
        """A reply for each (slot, command), written to each node at once; a failure stands in its reply's place."""

    @abstractmethod
    def address_of(self, slot: int) -> Address:
        """The node of a slot as far as known."""

    def _place_of(self, account_id: str) -> object:
        return self.address_of(slot_of(account_id))

    def _key(self, account_id: str, order_id: str) -> str:
        return f"{self._target.prefix}user_holdings:{{{account_id}}}:{order_id}"

    def _command(self, account_id: str, *words: str) -> Any:
        """One reading command on the node that has an account."""
        return self._exchange(slot_of(account_id), lambda _: command(*words), 1)[0]

    def _scale(self, account_id: str) -> int:
        scale = self._scales.get(account_id)
        if scale is None:
            found = self._command(account_id, "HGET", keys_of(self._target.prefix, account_id)[0], "scale")
            if found is None:
                return MICRO_SCALE
            with understood(f"the scale of {account_id}"):
                scale = self._scales[account_id] = SCALES[found.decode()]
        return scale

    def waiting_of(self, account_id: str, request_ids: list[str]) -> list[str | None]:
        """What user_waiting says of entries; None: all orders of the entry are unanswered, or it has been settled."""
        found = self._command(account_id, "HMGET", keys_of(self._target.prefix, account_id)[10], *request_ids)
        return [None if left is None else texts([left])[0] for left in found]

    def _account_fields(self, account_id: str) -> dict[str, str]:
        fields = pairs(self._command(account_id, "HGETALL", keys_of(self._target.prefix, account_id)[0]))
        if not fields:
            raise InputError("account_id", None, "an open account", repr(account_id))
        return fields

    def _account(self, account_id: str) -> BookAccount:
        return account_of(account_id, self._account_fields(account_id))

    def _order(self, account_id: str, order_id: str) -> BookOrder | None:
        fields = pairs(self._command(account_id, "HGETALL", self._key(account_id, order_id)))
        if not fields:
            self._account_fields(account_id)
            found = self._command(account_id, "HGET", keys_of(self._target.prefix, account_id)[4], order_id)
            if found is None:
                return None
            (order_id,) = texts([found])
            fields = pairs(self._command(account_id, "HGETALL", self._key(account_id, order_id)))
        return order_of(order_id, self._scale(account_id), fields) if fields else None

    def _orders(self, account_id: str, which: Which, *, every: bool) -> tuple[BookOrder, ...]:
        # Each as of its own latest step.
        self._account_fields(account_id)
        key = keys_of(self._target.prefix, account_id)[2]
        live_only, due = not every, which.overdue_at
        if live_only and due is not None:
            ids = self._made_in_order(account_id, self._ids_due(account_id, f"({due}"))
        elif live_only:
            ids = texts(self._command(account_id, "ZRANGEBYSCORE", key, "(0", "+inf"))
        else:
            ids = in_order_made(self._command(account_id, "ZRANGE", key, "0", "-1", "WITHSCORES"))
        found = self.orders_by_id(account_id, ids)
        listed = [found[name] for name in ids if name in found and not (live_only and found[name].terminal)]
        return which.among(listed)

    def _ids_due(self, account_id: str, before: str) -> list[str]:
        """Orders whose answer is due before a time, +inf: ever."""
        key = keys_of(self._target.prefix, account_id)[3]
        return texts(self._command(account_id, "ZRANGEBYSCORE", key, "(0", before))

    def _made_in_order(self, account_id: str, ids: list[str]) -> list[str]:
        """The ids in the order in which the orders were made; of those that have ended meanwhile none."""
        if not ids:
            return []
        scores = self._command(account_id, "ZMSCORE", keys_of(self._target.prefix, account_id)[2], *ids)
        placed = [(float(score), name) for score, name in zip(scores, ids, strict=True) if score is not None]
        return [name for place, name in sorted(placed) if place > 0]

    def _awaiting(self, account_id: str) -> tuple[BookOrder, ...]:
        return tuple(self.orders_by_id(account_id, self._ids_due(account_id, "+inf")).values())

    def _held(self, account_id: str) -> int:
        key = keys_of(self._target.prefix, account_id)[2]
        names = texts(self._command(account_id, "ZRANGEBYSCORE", key, "(0", "+inf"))
        slot = slot_of(account_id)
        asked = [(slot, command("HGET", self._key(account_id, name), "reserved_margin")) for name in names]
        held = 0
        for reply in self.each(asked):
            if isinstance(reply, Exception):
                raise reply if isinstance(reply, StoreError) else failure_of(reply)
            with understood("a hold"):
                held += int(reply or 0)
        return held

    def orders_by_id(self, account_id: str, ids: Iterable[str]) -> dict[str, BookOrder]:
        """Records by id, read in pieces; an id without a record is left out."""
        scale = self._scale(account_id)
        wanted, found = list(ids), {}
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            payload = b"".join([command("HGETALL", self._key(account_id, name)) for name in part])
            replies = self._exchange(slot_of(account_id), lambda _, payload=payload: payload, len(part))  # type: ignore[misc]
            for name, reply in zip(part, replies, strict=True):
                if isinstance(reply, failures.RedisError):
                    reply = self._command(account_id, "HGETALL", self._key(account_id, name))
                if reply:
                    found[name] = order_of(name, scale, pairs(reply))
        return found

    def _symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        self._account_fields(account_id)
        fields = pairs(self._command(account_id, "HGETALL", keys_of(self._target.prefix, account_id)[1]))
        return tuple(sorted(symbol_of(name, value) for name, value in fields.items()))

    def _history(self, account_id: str, after_version: int, limit: int) -> tuple[JournalRecord, ...]:
        self._account_fields(account_id)
        return tuple(self._journal(account_id, after_version, "+", limit))

    def _journal(self, account_id: str, after: int, last: str, limit: int) -> Iterator[JournalRecord]:
        key = keys_of(self._target.prefix, account_id)[6]
        while limit > 0:
            count = min(limit, CHUNK)
            part = self._command(account_id, "XRANGE", key, f"({after}-0", last, "COUNT", str(count))
            for _, fields in part:
                with understood(f"a journal record of {account_id}"):
                    record = journal_record(journal_of(pairs(fields)["r"]))
                yield record
            if len(part) < count:
                return
            after = int(part[-1][0].split(b"-")[0])
            limit -= count

    def _outbox(self, account_id: str, after_version: int, limit: int) -> tuple[OutboxEntry, ...]:
        self._account_fields(account_id)
        keys = keys_of(self._target.prefix, account_id)
        words = ("XRANGE", keys[9], f"({after_version}-0", "+", "COUNT", str(limit))
        found = entries_of(self._command(account_id, *words))
        if not found:
            return ()
        waiting = self.waiting_of(account_id, [fields["request_id"] for _, fields in found])
        # One without a count that has gone meanwhile was settled before the count was asked for.
        there = {version for version, _ in entries_of(self._command(account_id, *words))} if None in waiting else set()
        return tuple(
            [
                entry_of(version, fields, left)
                for (version, fields), left in zip(found, waiting, strict=True)
                if left is not None or version in there
            ]
        )

    def _outbox_size(self, account_id: str) -> int:
        return int(self._command(account_id, "XLEN", keys_of(self._target.prefix, account_id)[9]))

    def _knows_event(self, account_id: str, order_id: str, ident: str) -> bool:
        return bool(self._command(account_id, "HEXISTS", self._key(account_id, order_id), f"e:{ident}"))

    def _holdings(self, account_id: str) -> Holdings:
        """Everything kept of an account, at one version.

        The account is not held still for it: orders are read while steps go on, and those that have changed meanwhile
        are put back by the journal. Where it does not tell enough of one (trimmed at its beginning, adopted),
        the orders most likely to change are read in one step with everything else.
        """
        orders: dict[str, BookOrder] = {}
        journal: list[JournalRecord] = []
        asked: list[str] = []
        since, trimmed = 0, -1
        for _ in range(ATTEMPTS):
            view = self._snapshot(account_id, asked)
            version = view.account.version
            if view.base.version != trimmed:
                # What is gone from the journal may have changed what was read before: everything anew.
                orders, journal, since, trimmed = {}, [], 0, view.base.version
            self._read_on(account_id, journal, version)
            if since:
                names = {change.order_id for one in journal if one.version > since for change in one.orders}
            else:
                names = {*view.order_ids, *missed_by(view.order_ids, view.base, journal)}
            since = version
            for name in names:
                orders.pop(name, None)
            orders.update(self.orders_by_id(account_id, names.difference(asked)))
            orders.update(view.orders)
            # No further than to what the orders show: the journal may grow faster than it can be read.
            self._read_on(account_id, journal, self._number(account_id, 0, "version"))
            with understood(f"a journal record of {account_id}"):
                then, untold = orders_as_of(version, orders, journal)
            if not untold and self._number(account_id, 11, "version") == trimmed:
                break
            working = [order for order in orders.values() if not order.terminal]
            likely = nlargest(CHUNK, working, key=lambda order: order.version)
            asked = list(dict.fromkeys([*untold, *[order.order_id for order in likely]]))[:CHUNK]
        else:
            raise StoreUnavailable(f"orders of {account_id} change faster than they can be read")
        later = frozenset([name for name, order in orders.items() if order.version > version])
        return Holdings(
            view.account,
            view.symbols,
            {name: then[name] for name in dict.fromkeys([*view.order_ids, *sorted(then)]) if name in then},
            view.live_ids,
            view.aliases,
            view.owners,
            view.rates,
            [one for one in journal if one.version <= version],
            view.base,
            view.outbox,
            view.requests,
            view.index_fault(then, later),
            later,
        )

    def _read_on(self, account_id: str, journal: list[JournalRecord], last: int) -> None:
        journal += self._journal(account_id, journal[-1].version if journal else 0, f"{last}-0", 10**9)

    def _number(self, account_id: str, place: int, field: str) -> int:
        """A figure of one of an account's hashes, by the place of its key; 0: there is none."""
        with understood(f"{field} of {account_id}"):
            return int(self._command(account_id, "HGET", keys_of(self._target.prefix, account_id)[place], field) or 0)

    def _snapshot(self, account_id: str, order_ids: Sequence[str] = ()) -> Snapshot:
        script = SCRIPTS["snapshot"]
        payload = self._calls(account_id).call(script.call, order_ids, [])
        found = self._exchange(slot_of(account_id), lambda _: payload, 1, script)[0]
        if not found[0]:
            raise InputError("account_id", None, "an open account", repr(account_id))
        return Snapshot(account_id, found, order_ids)
