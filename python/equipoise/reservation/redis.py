"""The book in Redis or Valkey: for many processes and hosts.

Every step is one Lua script that reads and checks everything, computes and then writes, the journal entry first
(`lua/prelude.lua`). All keys of an account share one hash tag, so a step touches one slot of a Cluster. A time-out
after the step may have reached the server is a `StoreTimeout`: unknown; the same id settles it. `redis_links` says what
becomes of each failure.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import redis.exceptions as failures

from equipoise._rust import PackedReserve, ScriptCalls
from equipoise.errors import InputError, StoreError, StoreTimeout, StoreUnavailable
from equipoise.reservation.codes import Code
from equipoise.reservation.contract import Clock, system_clock
from equipoise.reservation.foreign import texts, understood
from equipoise.reservation.records import Outcome
from equipoise.reservation.redis_links import (
    PAUSE_S,
    Address,
    Link,
    Links,
    Target,
    command,
    failure_of,
    is_stopped,
    parse_target,
    retry_later,
    slot_of,
    timed_out,
)
from equipoise.reservation.redis_permissions import demand, denied_to, only_reads
from equipoise.reservation.redis_reads import ATTEMPTS, CHUNK, RedisReads
from equipoise.reservation.redis_records import SEEN, pairs
from equipoise.reservation.redis_registry import Registry
from equipoise.reservation.redis_repairs import KeptView, written
from equipoise.reservation.redis_routes import Clustered, Fixed, Route, Sentinels
from equipoise.reservation.redis_scripts import SCRIPTS, Script, keys_of
from equipoise.reservation.redis_steps import Arguments, Candidates, arguments, outcome_from, said, text_reply
from equipoise.reservation.redis_workers import GroupReader
from equipoise.reservation.requests import Archive, OpenAccount, Repair, Request, Reserve, Sweep
from equipoise.reservation.scales import OtherScale
from equipoise.reservation.steps import STEPS
from equipoise.reservation.workers import OutboxReader

__all__ = ["RedisBook"]

CANDIDATES_MAX = 5_000
"""Orders a single sweep or archive judges; what is left waits for the next one."""
IDS_MAX = 50_000
"""Request ids a single archive lets go."""


class RedisBook(RedisReads):
    """A reservation book in Redis or Valkey. Opened by `ReservationBook.connect("redis://...")`."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        timeout_ms: int = 5_000,
        horizon_s: int = 86_400,
    ) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._target = parse_target(url)
        self._timeout_s = timeout_ms / 1000
        self._injected = clock is not None
        self._ahead_us = 0
        if clock is None:
            # Requests are judged by the server's clock, so they are issued by it as well.
            self._clock = lambda: system_clock() + self._ahead_us
        self._scales: dict[str, int] = {}
        self._closed = False
        self._checked: set[Address] = set()
        self._verified: bool | None = None
        self._wait = b""
        # A server that waits for a disk or a replica must give up before the socket does: what it says then is known.
        grace_s = 0.0 if self._target.durability == "memory" else 1.0
        self._links = Links(self._target, self._timeout_s + grace_s, self._introduce)
        self._calls: Callable[[str], ScriptCalls] = lru_cache(maxsize=4096)(self._calls_for)
        self._route: Route = self._routed()
        self._first()
        self.registry = Registry(self)

    # Opening ---------------------------------------------------------------------------------------------------------

    def _routed(self) -> Route:
        """Where accounts live."""
        target = self._target
        if target.cluster:
            return Clustered(target, self._links)
        if target.service:
            sentinels = Sentinels(target, self._timeout_s)
            self._links.confirm = sentinels.confirm
            return sentinels
        if len(target.addresses) > 1:
            raise InputError("url", None, "one host (several only for a Cluster or Sentinels)", target.scheme)
        return Fixed(target.addresses[0])

    def _first(self) -> None:
        """Reach the store once, so that a wrong URL or a wrong setting shows at connect.

        One master is enough: accounts of the others are reached by the book, as by one that was opened before.
        """
        found, lost = False, None
        for address in sorted(self._route.masters(), key=self._links.silent):
            if found and self._links.silent(address):
                continue
            try:
                self._links.put(self._links.take(address))
                found = True
            except failures.RedisError as error:
                self._links.drop(address, error)
                lost = StoreUnavailable(f"{address}: {error}")
                lost.__cause__ = error
        if lost is not None and not found:
            raise lost

    def _introduce(self, link: Link) -> None:
        """Learn a node's clock and settings on a new connection, and what its user may do there."""
        sent = system_clock()
        seconds, micros = link.ask("TIME")
        self._ahead_us = int(seconds) * 1_000_000 + int(micros) - (sent + system_clock()) // 2
        if link.address not in self._checked:
            self._check_settings(link)
            self._checked.add(link.address)
        try:
            link.denied = denied_to(link)
        except failures.RedisError as error:
            if not retry_later(error):
                raise
            # Asked again before the first step.
            return
        if not only_reads(link.denied):
            demand(link)

    def _check_settings(self, link: Link) -> None:
        """Refuse a server that may evict or that does not give the durability named."""
        settings: dict[str, str] = {}
        try:
            for name in ("maxmemory-policy", "appendonly", "appendfsync"):
                settings.update(pairs(link.ask("CONFIG", "GET", name)))
        except failures.ResponseError:
            # A hosted server may block CONFIG; what cannot be read is said, not guessed.
            self._verified = False
        where = f"{link.address}"
        policy = settings.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            raise StoreUnavailable(
                f"{where}: maxmemory-policy is {policy}; a book needs noeviction, or margin vanishes"
            )
        durability = self._target.durability
        patience = str(int(self._timeout_s * 1000))
        if durability == "aof" and settings.get("appendonly", "yes") != "yes":
            raise StoreUnavailable(f"{where}: durability aof needs appendonly yes")
        if durability == "aof" and settings.get("appendfsync", "always") != "always":
            # The next background fsync, up to about a second away.
            self._check_waitaof(link)
            self._wait = command("WAITAOF", "1", "0", patience)
        if durability == "replicated":
            self._wait = command("WAIT", "1", patience)
        if settings and self._verified is None:
            self._verified = True

    def _check_waitaof(self, link: Link) -> None:
        """Refuse a server that cannot say when a step is on disk."""
        try:
            link.ask("WAITAOF", "0", "0", "1")
        except failures.ResponseError as error:
            raise StoreUnavailable(
                f"{link.address}: durability aof needs appendfsync always, or a server with WAITAOF ({error})"
            ) from error

    @property
    def durability(self) -> str:
        """Durability named in the URL, and whether the server's settings could be read."""
        return f"{self._target.durability} ({'verified' if self._verified else 'unverified'})"

    # Running ---------------------------------------------------------------------------------------------------------

    def _calls_for(self, account_id: str) -> ScriptCalls:
        """What packs the calls of scripts for an account."""
        return ScriptCalls(keys_of(self._target.prefix, account_id), self._key(account_id, ""))

    def _now(self) -> str:
        """The time of a step; empty: the server's."""
        return str(self._clock()) if self._injected else ""

    def _script(self, request: Request, told: Arguments | None = None) -> bytes:
        """Run a step on the node that has the account; its reply. `told` as in `packed_step`."""
        script, slot = SCRIPTS[request.op], slot_of(request.account_id)

        def payload(link: Link) -> bytes:
            return self.packed_step(request, link.home, told)

        reply = self._settled(slot, script, payload)
        while reply[:1] == b"H":
            self._settle_home(request.account_id, said(reply[1:]))
            reply = self._settled(slot, script, payload)
        return reply

    def _settle_home(self, account_id: str, home: str) -> None:
        """The account was last written on another node: a planned move, or a promotion that may have lost steps."""
        script, calls, now = SCRIPTS["home"], self._calls(account_id), self._now()
        wait = "1" if self._wait else ""
        portfolio = keys_of(self._target.prefix, account_id)[0]
        # What was found of a node; asked once, however often the node puts the step off.
        found: dict[str, str] = {}

        def payload(link: Link) -> bytes:
            if link.home not in found:
                found[link.home] = "" if self._links.planned(link, home, portfolio) else "1"
            promoted = found[link.home]
            return calls.call(script.call, [], ["promotion", now, link.home, wait, "", "", home, promoted])

        # Not waited for: the step that is put off comes after it, and with that the replicas have this.
        self._settled(slot_of(account_id), script, payload, b"")

    def _settled(self, slot: int, script: Script, payload: Callable[[Link], bytes], wait: bytes | None = None) -> bytes:
        """One step on the node of a slot, following the slot, with the durability that was named, or `wait`."""
        # Taken once: a node that is met for the first time on the way may make it another.
        wait = self._wait if wait is None else wait
        replies = self._exchange(slot, lambda link: payload(link) + wait, 2 if wait else 1, script)
        reply = text_reply(replies[0])
        if reply[:1] not in b"HKS":  # nothing was run: there is nothing to wait for
            self.check_wait(replies)
        return reply

    # For the asynchronous book, which shares all but the waiting ------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock that requests are issued by: the server's unless one was given."""
        return self._clock

    @property
    def target(self) -> Target:
        """The connection URL, taken apart."""
        return self._target

    def run(self, request: Request) -> Outcome:
        """Run one step."""
        return self._run(request)

    def packed_step(self, request: Request, home: str, told: Arguments | None = None) -> bytes:
        """A step as the server gets it from a caller who takes it for the node `home`.

        `told`: record ids and ARGV, where they are not what `arguments` makes of the request alone.
        """
        name, calls, wait = request.op, self._calls(request.account_id), self._wait
        script, now = SCRIPTS[name].call, self._now() if self._injected else ""
        if isinstance(request, Reserve):
            return calls.reserve(script, request, now, home, wait != b"")
        ids, values = told or arguments(request)
        head = [name, now, home, "1" if wait else "", request.ident, request.fingerprint]
        return calls.call(script, ids, [*head, *values])

    def packed_part(self, request: Reserve) -> PackedReserve:
        """A reservation as part of a call that takes several of one account."""
        return self._calls(request.account_id).part(request)

    def packed_parts(self, account_id: str, parts: Sequence[PackedReserve], home: str) -> bytes:
        """A call of `reserves` that takes them one after the other."""
        script = SCRIPTS["reserves"].call
        return self._calls(account_id).reserves(script, parts, self._now(), home, self._wait != b"")

    @property
    def wait(self) -> bytes:
        """The command after a step that waits for its durability; none for most."""
        return self._wait

    def address_of(self, slot: int) -> Address:
        """The node of a slot as far as known."""
        return self._route.address(slot)

    def home_of(self, address: Address, *, for_steps: bool = False) -> str:
        """Who a node is now; empty for a single one. `for_steps`: refused to a user who may not run them."""
        self._open()
        try:
            link = self._taken(address, for_steps=for_steps)
        except failures.RedisError as error:
            self._links.drop(address, error)
            raise StoreUnavailable(f"{address}: {error}") from error
        self._links.put(link)
        return link.home

    def masters(self) -> tuple[Address, ...]:
        """Every node that holds accounts."""
        return self._route.masters()

    def silent(self) -> bool:
        """Whether a node that holds accounts did not answer in time a moment ago."""
        return any(self._links.silent(address) for address in self.masters())

    def drop_links(self, address: Address) -> None:
        """Close idle connections to a node that was found to be gone."""
        self._links.drop(address)

    def lost(self, address: Address) -> None:
        """Look for the successor of a node that does not answer."""
        self._route.lost(address)

    def known_scale(self, account_id: str) -> int | None:
        """Scale of an account; None when there is none."""
        self._scale(account_id)
        return self._scales.get(account_id)

    def check_wait(self, replies: list[Any]) -> None:
        """Raise unless the durability that was named is met."""
        if len(replies) < 2:
            return
        acknowledged = replies[1]
        met = acknowledged[0] if isinstance(acknowledged, list) else acknowledged
        if not isinstance(met, int) or met < 1:
            refused = isinstance(replies[0], bytes) and replies[0][:1] == b"R"
            said = "answered by what no replica or disk may have yet" if refused else "done"
            raise StoreTimeout(
                f"{said}, but durability {self._target.durability} was not met in time; ask again with the same id"
            )

    def _exchange(
        self, slot: int, payload: Callable[[Link], bytes], replies: int, script: Script | None = None
    ) -> list[Any]:
        """Send to the node of a slot until it is served there, or the time-out."""
        self._open()
        deadline = time.monotonic() + self._timeout_s
        asked: Address | None = None
        told: Address | None = None
        while True:
            address = asked or self._route.address(slot)
            link = self._link(address, deadline, for_steps=script is not None and script.name != "snapshot")
            if link is None:
                continue
            try:
                found = link.exchange(
                    command("ASKING") + payload(link) if asked else payload(link), replies + (asked is not None)
                )
            except (failures.ConnectionError, failures.TimeoutError) as error:
                self._links.drop(address, error)
                self._route.lost(address)
                where = str(address)
                if script is None or script.name == "snapshot":
                    raise StoreUnavailable(f"{where}: {error}") from error
                raise timed_out(error, where) from error
            except BaseException:
                link.close()
                raise
            self._links.put(link)
            if asked is not None:
                found = found[1:]
            asked = None
            refused = found[0]
            if not isinstance(refused, failures.RedisError):
                return found
            unknown = isinstance(refused, failures.NoScriptError)
            # Once whatever the time: what has gone may be a wait for a replica, which a node keeps for what it did not
            # run as well, and which it ends as late as its own timer likes.
            if script is not None and unknown and (told != address or time.monotonic() < deadline):
                self.at(address, command("SCRIPT", "LOAD", script.text))
                told = address
                continue
            asked = self._after(refused, slot, address, deadline)

    def _open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the book is closed")

    def _taken(self, address: Address, *, for_steps: bool) -> Link:
        """A link; `for_steps`: whose user may run them."""
        link = self._links.take(address)
        if for_steps and link.denied != ():
            try:
                demand(link)
            except StoreError:
                self._links.put(link)  # good enough for reads
                raise
            except BaseException:
                link.close()
                raise
        return link

    def _link(self, address: Address, deadline: float, *, for_steps: bool) -> Link | None:
        """A link, or None when it is to be asked for again: the node is loading, or the route may know another.

        Nothing has been sent.
        """
        try:
            return self._taken(address, for_steps=for_steps)
        except StoreError:
            raise
        except failures.RedisError as error:
            self._links.drop(address, error)
            if not (retry_later(error) or self._route.lost(address)) or time.monotonic() >= deadline:
                raise StoreUnavailable(f"{address}: {error}") from error
            time.sleep(PAUSE_S)
            return None

    def _after(
        self,
        error: failures.RedisError,
        slot: int,
        address: Address,
        deadline: float,
    ) -> Address | None:
        """What to do about an error reply that means the step was not run: where to ask instead, or raise."""
        if not (isinstance(error, failures.AskError) or retry_later(error)):
            if is_stopped(error):
                # The next step asks first what the user may still do.
                self._links.drop(address)
            raise failure_of(error) from error
        if isinstance(error, failures.MovedError):
            # Noted at once: this call may have spent its time waiting for a replica here, and the next one would too.
            # Whoever sends callers away may be a master no longer.
            self._links.drop(address)
            self._route.moved(slot, Address(error.host or address.host, error.port))
        if time.monotonic() >= deadline:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        if isinstance(error, failures.AskError):
            return Address(error.host or address.host, error.port)
        elif not isinstance(error, failures.MovedError):
            if isinstance(error, failures.ReadOnlyError):
                self._links.drop(address)
            if isinstance(error, failures.ReadOnlyError | failures.ClusterDownError):
                # It was replaced, or cut off from the others: they may know better.
                self._route.lost(address)
            time.sleep(PAUSE_S)
        return None

    def each(self, items: Sequence[tuple[int, bytes]]) -> list[Any]:
        """A reply for each (slot, command), written to each node at once; a failure stands in its reply's place."""
        self._open()
        replies: list[Any] = [None] * len(items)
        places: dict[Address, list[int]] = {}
        for number, (slot, _) in enumerate(items):
            places.setdefault(self._route.address(slot), []).append(number)
        for address, numbers in places.items():
            for start in range(0, len(numbers), CHUNK):
                part = numbers[start : start + CHUNK]
                if len(places) > 1 and self._links.silent(address):
                    # Nobody waits once more for it who asks others too.
                    found = [StoreUnavailable(f"{address}: no answer in time, a moment ago")] * len(part)
                else:
                    found = self._together(address, [items[number][1] for number in part])
                for number, reply in zip(part, found, strict=True):
                    replies[number] = reply
        for number, (slot, payload) in enumerate(items):
            error = replies[number]
            if isinstance(error, failures.AskError | failures.MovedError) or (
                isinstance(error, failures.RedisError) and retry_later(error)
            ):
                try:
                    replies[number] = self._exchange(slot, lambda _, payload=payload: payload, 1)[0]  # type: ignore[misc]
                except StoreError as failure:
                    replies[number] = failure
        return replies

    def _together(self, address: Address, commands: list[bytes]) -> list[Any]:
        """Commands at one node in one write; its failure in the place of every reply."""
        try:
            link = self._links.take(address)
            found = link.exchange(b"".join(commands), len(commands))
        except StoreError as error:
            # Its settings are not those of a book's server.
            return [error] * len(commands)
        except failures.RedisError as error:
            self._links.drop(address, error)
            self._route.lost(address)
            lost = StoreUnavailable(f"{address}: {error}")
            lost.__cause__ = error
            return [lost] * len(commands)
        self._links.put(link)
        return found

    def at(self, address: Address, payload: bytes) -> Any:
        """One command at one node that changes no account."""
        self._open()
        try:
            link = self._links.take(address)
            reply = link.exchange(payload, 1)[0]
        except failures.RedisError as error:
            raise StoreUnavailable(f"{address}: {error}") from error
        self._links.put(link)
        if isinstance(reply, failures.RedisError):
            raise failure_of(reply) from reply
        return reply

    def _repair(self, request: Repair) -> Outcome:
        """A repair: computed from everything there is at one version, written if it is still that version."""
        try:
            kept = self._holdings(request.account_id)
        except InputError:
            return Outcome(Code.ACCOUNT_NOT_FOUND, request.op, request.account_id)
        effect = STEPS[request.op](KeptView(kept), request, self._clock())
        if effect.journal is None:
            return effect.outcome
        return outcome_from(request, self._script(request, written(kept, effect)))

    def _run(self, request: Request) -> Outcome:
        account_id = request.account_id
        if isinstance(request, Repair):
            return self._repair(request)
        if isinstance(request, OpenAccount):
            self.registry.add(account_id)
        real_id = ""
        for _ in range(ATTEMPTS):
            told = None
            if isinstance(request, Archive | Sweep):
                told = arguments(request, "", self._candidates(request))
            elif real_id:
                told = arguments(request, real_id)
            reply = self._script(request, told)
            if reply[:1] != b"K":
                break
            real_id = said(reply[1:])
        else:
            raise StoreUnavailable(f"{account_id}: what {request.op} needs to declare keeps changing")
        try:
            outcome = outcome_from(request, reply)
        except OtherScale as other:
            self._scales[account_id] = other.scale
            raise
        if isinstance(request, Reserve) and request.outbox and outcome.done:
            self._hint(account_id)
        return outcome

    def _hint(self, account_id: str) -> None:
        """Tell workers of an account, without waiting for an answer; a hint that is lost costs up to the next walk."""
        if not self.registry.due(account_id):
            return
        hint = self.registry.passing_hint(account_id)
        if hint is None:
            self.registry.hint([account_id])
            return
        with contextlib.suppress(StoreError, failures.RedisError):
            link = self._links.take(self._route.address(self.registry.hint_slot(account_id)))
            link.tell(hint, 1)
            self._links.put(link)

    def _candidates(self, request: Archive | Sweep) -> Candidates:
        """What a sweep or an archive will have to look at.

        A step declares every key it reads, so these are found beforehand; the script judges each of them again.
        """
        most = ("LIMIT", "0", str(CANDIDATES_MAX))
        if isinstance(request, Sweep):
            return self._overdue(request), [], []
        # The score of a settled order is minus the time since which it is settled.
        now = self._clock()
        watermark = now - request.horizon_us
        old = self._due(request, "ZRANGEBYSCORE", str(-watermark), "(0")
        old += self._due(request, "ZRANGEBYSCORE", str(-watermark - SEEN), f"({-SEEN}")
        ended = []
        if request.compact_us is not None:
            # The oldest first; what is left waits for the next archive.
            ended = self._due(request, "ZREVRANGEBYSCORE", f"({-watermark}", str(request.compact_us - now), *most)
        return old, ended, self._old_ids(request)

    def _overdue(self, request: Sweep) -> list[str]:
        """Orders that a sweep has something to do with; those that are UNKNOWN already stay due, however many."""
        account_id, now = request.account_id, self._clock()
        found: list[str] = []
        for start in count(0, CANDIDATES_MAX):
            page = self._due(request, "ZRANGEBYSCORE", "(0", f"({now}", "LIMIT", str(start), str(CANDIDATES_MAX))
            if len(page) < CANDIDATES_MAX and not found:
                return page  # nearly always
            slot, keys = slot_of(account_id), [self._key(account_id, name) for name in page]
            states = self.each([(slot, command("HGET", key, "state")) for key in keys])
            found += [name for name, state in zip(page, states, strict=True) if state != b"UNKNOWN"]
            if len(page) < CANDIDATES_MAX or len(found) >= CANDIDATES_MAX:
                break
        return found[:CANDIDATES_MAX]

    def _due(self, request: Request, *words: str) -> list[str]:
        """Orders by their score in user_due."""
        name, *more = words
        key = keys_of(self._target.prefix, request.account_id)[3]
        return texts(self._command(request.account_id, name, key, *more))

    def _old_ids(self, request: Archive) -> list[str]:
        """Request ids issued before the horizon, at most IDS_MAX; the rest waits for the next archive."""
        key = keys_of(self._target.prefix, request.account_id)[5]
        watermark = self._clock() - request.horizon_us
        cursor, old = "0", dict[str, None]()
        while True:
            reply = self._command(request.account_id, "HSCAN", key, cursor, "COUNT", str(CHUNK))
            with understood(f"an id of {request.account_id}"):
                kept = pairs(reply[1]).items()
                old |= dict.fromkeys([ident for ident, value in kept if int(value.split(" ", 1)[0]) <= watermark])
            cursor = reply[0].decode()
            if cursor == "0" or len(old) >= IDS_MAX:
                return list(old)

    def close_book(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        self._links.close()

    # Reads -----------------------------------------------------------------------------------------------------------

    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""
        return self.registry.accounts()

    def rebuild_registry(self) -> tuple[str, ...]:
        """Find every account anew by looking at every key of every master; the ids, sorted."""
        return self.registry.rebuild()

    def _outbox_reader(self, name: str, partitions: frozenset[int], takeover_ms: int) -> OutboxReader:
        return GroupReader(self, self.registry, name, partitions, takeover_ms)
