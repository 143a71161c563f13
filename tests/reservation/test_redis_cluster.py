"""A real Cluster: slots that move under load, masters that die, a replica promoted without the last steps."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
import redis
from redis.cluster import RedisCluster
from tests import servers

from equipoise.errors import StoreError, StoreTimeout, StoreUnavailable
from equipoise.orders import Order, Side
from equipoise.reservation import (
    AccountStatus,
    Code,
    OrderState,
    Outcome,
    ReservationBook,
    VenueFill,
    VenueOrder,
    VenueView,
)
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import slot_of
from equipoise.reservation.redis_scripts import SCRIPTS, keys_of

Make = Callable[..., Order]
ROOM = 60
"""Orders that fit beside the ladders of a load."""
LADDER_ORDERS = 300
"""Orders of its ladders, about."""
BALANCE = f"0.{10 * ROOM + 20 * LADDER_ORDERS:06d}"
TIMEOUT_MS = 250
WRITTEN = 20
"""Steps that are written during an event, at least; a load that is only refused writes none."""
Step = tuple[int, str, str, str]
"""Version, operation, id and order of a step that was answered as done."""
IDENTS = {"reserve": "request_id", "fill": "fill_id", "cancel": "event_id"}
"""Operations of a load, and the argument of each that is its id."""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def cluster() -> Iterator[servers.Cluster]:
    """A Cluster of the test's own, for what would break others."""
    own = servers.Cluster()
    yield own
    own.stop()


def home_of(cluster: servers.Cluster, account_id: str) -> int:
    """Number of the master that has an account's slot."""
    slot = slot_of(account_id)
    return 0 if slot < 5461 else 1 if slot < 10923 else 2


def account_on(cluster: servers.Cluster, number: int, name: str = "acc") -> str:
    """An account id that lives on the master with this number."""
    return next(f"{name}{n}" for n in range(1000) if home_of(cluster, f"{name}{n}") == number)


READING = """#!lua flags=no-writes
-- An account at one moment: version, balance, used_margin_all, and what its orders hold and its positions take; -1 if
-- something of that is not on this node. KEYS 1 the portfolio   ARGV 1 the account in braces
local function read(...)
    local reply = redis.pcall(...)
    return not reply.err and reply[1] and reply or nil
end
local function total()
    local names, symbols = read('ZRANGE', 'user_orders:' .. ARGV[1], 0, -1), read('HVALS', 'user_symbols:' .. ARGV[1])
    if not names or not symbols then
        return -1
    end
    local sum = 0
    for _, name in ipairs(names) do
        local order = read('HMGET', 'user_holdings:' .. ARGV[1] .. ':' .. name, 'state', 'reserved_margin')
        if not order then
            return -1
        end
        sum = sum + (order[2] or 0)
    end
    for _, symbol in ipairs(symbols) do
        sum = sum + string.match(symbol, ' (%d+)')
    end
    return sum
end
local figures = redis.call('HMGET', KEYS[1], 'version', 'balance', 'used_margin_all')
return { figures[1], figures[2], figures[3], total() }
"""

WATCHER = """
import select, sys
from redis.cluster import RedisCluster

port, account, script = sys.argv[1:]
client = RedisCluster(host="127.0.0.1", port=int(port), socket_timeout=1, decode_responses=True)
print("ready", flush=True)
ended = []
while not ended:
    ended = select.select([sys.stdin], [], [], 0.02)[0]
    try:
        print(*client.eval(script, 1, f"user_portfolio:{account}", account))
    except Exception:
        print()
"""


class Load:
    """Callers who write on one account until told to stop, each a thread; every id is asked until it is settled.

    They trade at the limit: one that is refused, or has enough, cancels the oldest of its orders. Every third has a
    ladder before that, of which it fills three of the four lots of each order and cancels the rest. Another process
    reads the account all the while.
    """

    callers = 6

    def __init__(self, cluster: servers.Cluster, account_id: str, order: Make, name: str = "r") -> None:
        self.url, self.account_id, self.order, self.name = cluster.url, account_id, order, name
        self.stopped = threading.Event()
        self.answers: list[Step] = []
        self.refusals: list[Code] = []
        self.waits: list[str] = []
        self.readings: list[tuple[int, ...]] = []
        words = (str(cluster.masters[1].port), f"{{{account_id}}}", READING)
        self.watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.thread = ThreadPoolExecutor(1)
        self.running = self.thread.submit(self.run)
        assert self.watcher.stdout is not None
        assert self.watcher.stdout.readline() == "ready\n"

    def run(self) -> None:
        with (
            ReservationBook.connect(self.url, timeout_ms=TIMEOUT_MS) as book,
            ThreadPoolExecutor(self.callers) as threads,
        ):
            callers = [threads.submit(asyncio.run, self.caller(book, number)) for number in range(self.callers)]
            for caller in callers:
                caller.result()

    async def caller(self, book: Any, number: int) -> None:
        name = f"{self.name}{number}"
        if number % 3 == 0:
            await self.trade_ladder(book, f"{name}-ladder")
        own: list[str] = []
        for count in itertools.count():
            if self.stopped.is_set():
                return
            granted = await self.reserve(book, f"{name}-{count}", [self.order(lots=2, hold=10)])
            if granted:
                own.append(f"{name}-{count}:0")
            if own and (not granted or len(own) * self.callers > 6 * ROOM):
                await self.ask(book, "cancel", "c", own.pop(0))

    async def trade_ladder(self, book: Any, name: str) -> None:
        size = 3 * LADDER_ORDERS // self.callers
        if not await self.reserve(book, name, [self.order(lots=4, hold=20)] * size):
            return
        for place in range(size):
            if self.stopped.is_set():
                return
            for fill_id in ("f1", "f2", "f3"):
                await self.ask(book, "fill", fill_id, f"{name}:{place}", 1)
            await self.ask(book, "cancel", "c", f"{name}:{place}")

    async def reserve(self, book: Any, name: str, orders: list[Order]) -> bool:
        issued = time.time_ns() // 1000
        return await self.ask(book, "reserve", name, orders, issued_at_us=issued, not_after_us=issued + 120_000_000)

    async def ask(self, book: Any, op: str, ident: str, *words: Any, **named: Any) -> bool:
        """Whether a step is done, asked with the same id until the store says so."""
        until = time.monotonic() + 60
        while True:
            try:
                answer = getattr(book, op)(self.account_id, *words, **{IDENTS[op]: ident}, **named)
                outcome: Outcome = await answer if inspect.isawaitable(answer) else answer
                break
            except (StoreTimeout, StoreUnavailable) as error:
                self.waits.append(type(error).__name__)
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)
        if outcome.done:
            self.answers.append((outcome.version, op, ident, outcome.order_id or ""))
        else:
            self.refusals.append(outcome.code)
        # Few or many, callers ask as often together.
        await asyncio.sleep(self.callers / 1_000)
        return outcome.done

    def stop(self) -> None:
        self.stopped.set()
        try:
            self.running.result()
        finally:
            self.thread.shutdown()
            lines = self.watcher.communicate()[0].splitlines()
        self.readings = [tuple([int(word) for word in line.split()]) for line in lines if line]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class TaskLoad(Load):
    """The same by tasks of one loop, whose reservations that wait for one another go as one command."""

    callers = 12

    def run(self) -> None:
        asyncio.run(self.tasks())

    async def tasks(self) -> None:
        async with await AsyncReservationBook.connect(self.url, timeout_ms=TIMEOUT_MS) as book:
            await asyncio.gather(*[self.caller(book, number) for number in range(self.callers)])


loads = pytest.mark.parametrize("load_of", [Load, TaskLoad], ids=["threads", "tasks"])


def lost(book: ReservationBook, load: Load) -> list[Step]:
    """Steps that were answered and do not stand in the journal; those that stand there do so once."""
    stand = {
        (record.version, record.op, record.ident, record.order_id)
        for record in book.history(load.account_id, limit=10**6)
        if record.op in IDENTS and (record.order_id or record.ident).startswith(load.name)
    }
    assert len({step[1:] for step in stand}) == len(stand)
    assert len(set(load.answers)) == len(load.answers)
    if "StoreTimeout" not in load.waits:
        # Otherwise one may be done that nobody waits for any more, because its caller was refused when it asked again.
        assert stand <= set(load.answers)
    states = {order.order_id: order.state for order in book.orders(load.account_id, every=True)}
    for _, op, ident, order_id in stand:
        if op == "reserve":
            assert f"{ident}:0" in states
        elif op == "cancel":
            assert states[order_id] is OrderState.CANCELLED
    return [step for step in load.answers if step not in stand]


def check(book: ReservationBook, load: Load, *refused: Code) -> None:
    """Over-commit is 0 and nothing is half-written: raw hashes by another process all the while, then the audit."""
    account_id, account = load.account_id, book.account(load.account_id)
    whole = [reading for reading in load.readings if reading[3] >= 0]
    assert len(whole) > 10
    assert all(used <= balance for _, balance, used, _ in load.readings)
    assert all(used == total for _, _, used, total in whole)
    assert (load.readings[-1], load.readings[-1][0]) == (whole[-1], account.version)
    # Some were granted while others met the limit.
    assert sum(op == "reserve" for _, op, _, _ in load.answers) > ROOM // 2
    assert Code.INSUFFICIENT_MARGIN in load.refusals
    assert {Code.INSUFFICIENT_MARGIN, *refused}.issuperset(load.refusals)
    assert book.audit(account_id).findings == ()
    assert account.free_units >= 0
    assert account.live_orders == len(book.orders(account_id))


def knows_shards(node: servers.Server) -> bool:
    """Whether a server names the shard of a node; Redis before 7.2 does not."""
    try:
        return bool(servers.Cluster.ask(node, "CLUSTER", "MYSHARDID"))
    except redis.ResponseError:
        return False


def opened(cluster: servers.Cluster, account_id: str) -> None:
    with ReservationBook.connect(cluster.url) as book:
        assert book.open_account(account_id, BALANCE).ok


def opened_with_every_key(cluster: servers.Cluster, account_id: str, order: Make) -> None:
    """An account of which no key is missing, once it has asked.

    While its slot moves, a server puts off each step that names a missing one: those of most accounts, all of them.
    """
    with ReservationBook.connect(cluster.url, clock=lambda: time.time_ns() // 1000 - 3_600_000_000) as book:
        assert book.open_account(account_id, BALANCE, rule="larger_leg").ok
        pair = [order(lots=1, hold=5)] * 2
        assert book.reserve(account_id, pair, request_id="pair", owner="desk", send="outbox").ok
        assert book.acknowledge(account_id, "pair:0", "venue").ok
        book.export(account_id, confirmed_version=3)
    with ReservationBook.connect(cluster.url, horizon_s=60) as book:
        assert book.archive(account_id).ok


@pytest.fixture
def version_of(cluster: servers.Cluster) -> Iterator[Callable[[str], int]]:
    """Version of an account, by a client that shares no code with the book."""
    with RedisCluster(host="127.0.0.1", port=cluster.masters[1].port) as client:
        yield lambda account_id: int(client.hget(f"user_portfolio:{{{account_id}}}", "version"))


@loads
def test_a_slot_moved_key_by_key_under_load_writes_nothing_by_halves(
    cluster: servers.Cluster, version_of: Callable[[str], int], order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 1)
    slot, source, target = slot_of(account_id), cluster.masters[1], cluster.masters[2]
    opened_with_every_key(cluster, account_id, order)
    ask = cluster.ask

    def turn(key: bytes) -> int:
        """Orders of every other caller go first, then what every step needs, then the orders of the rest."""
        caller = re.search(rb":r(\d+)-", key)
        return 1 if caller is None else 2 * (int(caller[1]) % 2)

    versions = []
    with load_of(cluster, account_id, order) as load:
        time.sleep(0.4)
        assert ask(source, "EXISTS", *keys_of("", account_id)) == len(keys_of("", account_id))
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[1])
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[2])
        for number in range(3):
            versions.append(version_of(account_id))
            keys = [key for key in ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 10_000) if turn(key) == number]
            assert len(keys) > 10
            for key in keys:
                ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                time.sleep(0.5 / len(keys))
            if number != 1:
                # Steps are written at the node that the slot is leaving, and at the one to which it comes.
                cluster.until(lambda: version_of(account_id) > versions[-1] + WRITTEN)
        versions.append(version_of(account_id))
        assert ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot) == 0
        for node in (target, source, cluster.masters[0]):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[2])
        time.sleep(0.4)
    assert versions[1] > versions[0] + WRITTEN
    assert versions[3] > versions[2] + WRITTEN
    assert sum(versions[0] <= reading[0] <= versions[3] for reading in load.readings) > 20
    if load_of is TaskLoad:
        # Several went as one command on either side.
        assert [ask(node, "SCRIPT", "EXISTS", SCRIPTS["reserves"].sha) for node in (source, target)] == [[1], [1]]
    # A step whose keys were on both sides was told to come again.
    assert any(b"errorstat_TRYAGAIN" in ask(node, "INFO", "errorstats") for node in (source, target))
    with ReservationBook.connect(cluster.url) as book:
        # A planned move loses nothing: no recovery, where the server lets it be told from a promotion.
        if knows_shards(target):
            check(book, load)
            assert book.account(account_id).status is AccountStatus.ACTIVE
        else:
            check(book, load, Code.ACCOUNT_RECOVERING)
            assert book.account(account_id).status is AccountStatus.RECOVERING
        assert lost(book, load) == []
        assert ask(target, "HGET", f"user_portfolio:{{{account_id}}}", "home").decode().split("/")[1] == cluster.ids[2]
        assert book.deposit(account_id, 1, request_id="d").ok


def test_steps_that_a_moving_slot_puts_off_keep_nobody_else_waiting(cluster: servers.Cluster, order: Make) -> None:
    moving, still = account_on(cluster, 1), account_on(cluster, 0)
    slot, timeout_s = slot_of(moving), 3.0
    waits: dict[str, list[float]] = {moving: [], still: []}

    async def main() -> None:
        async with await AsyncReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
            for name in waits:
                await book.open_account(name, 1)
            # From here on a new order of the account is neither here nor there.
            cluster.ask(cluster.masters[2], "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[1])
            cluster.ask(cluster.masters[1], "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[2])
            until = time.monotonic() + 1.2 * timeout_s

            async def asks(name: str, task: int) -> None:
                while time.monotonic() < until:
                    asked = time.monotonic()
                    try:
                        assert (await book.reserve(name, [order(hold=1)], request_id=f"{task}-{asked}")).ok
                    except StoreUnavailable:
                        assert name == moving
                    waits[name].append(time.monotonic() - asked)

            await asyncio.gather(asks(still, 0), *[asks(moving, task) for task in range(1, 41)])

    asyncio.run(main())
    assert max(waits[still]) < timeout_s / 2
    # Its own time-out for who is begun, at most one more for the turn.
    assert max(waits[moving]) < 2 * timeout_s + 1
    assert len(waits[still]) > 100


@loads
def test_slots_moved_by_the_server_under_load_lose_nothing(
    cluster: servers.Cluster, version_of: Callable[[str], int], order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 1)
    slot, source, target = slot_of(account_id), cluster.masters[1], cluster.masters[2]
    opened(cluster, account_id)
    # Something else in the slot, so that the move takes a while.
    cluster.ask(source, "SET", f"large:{{{account_id}}}", "x" * 30_000_000)
    with load_of(cluster, account_id, order) as load:
        time.sleep(0.4)
        before = version_of(account_id)
        try:
            cluster.ask(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.ids[2])
        except redis.ResponseError as error:
            if "unknown subcommand" in str(error).lower():
                pytest.skip("this server moves slots key by key only")
            raise
        cluster.until(lambda: cluster.ids[2] == owner(cluster, account_id))
        after = version_of(account_id)
        time.sleep(0.4)
    assert after > before + WRITTEN
    assert any(before < reading[0] < after for reading in load.readings)
    with ReservationBook.connect(cluster.url) as book:
        check(book, load)
        assert lost(book, load) == []
        assert book.account(account_id).status is AccountStatus.ACTIVE
    assert cluster.ask(target, "EXISTS", f"user_portfolio:{{{account_id}}}") == 1


def owner(cluster: servers.Cluster, account_id: str) -> str:
    """Id of the node that a bystander, which stays alive, thinks has an account."""
    for first, last, master, *_ in cluster.ask(cluster.masters[1], "CLUSTER", "SLOTS"):
        if first <= slot_of(account_id) <= last:
            return str(master[2].decode())
    return ""


def venue_of(load: Load) -> VenueView:
    """What a venue would say: it traded what the callers told, and what traded is open until they cancelled it."""
    fills = [(order_id, ident) for _, op, ident, order_id in load.answers if op == "fill"]
    filled = Counter([order_id for order_id, _ in fills])
    ended = {order_id for _, op, _, order_id in load.answers if op == "cancel"}
    terms: dict[str, Any] = {"symbol": "SYM", "side": Side.BID, "lots": 4, "price_ticks": 100, "hold": "0.000020"}
    return VenueView(
        as_of_us=time.time_ns() // 1000,
        orders=tuple([VenueOrder(order_id=name, filled=filled[name], **terms) for name in filled.keys() - ended]),
        fills=tuple([VenueFill(fill_id=ident, order_id=order_id, lots=1) for order_id, ident in fills]),
        positions={"SYM": len(fills)},
    )


@loads
def test_a_master_that_dies_under_load_is_followed_to_its_replica_and_the_account_recovers(
    cluster: servers.Cluster, order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 0)
    opened(cluster, account_id)
    with load_of(cluster, account_id, order) as load:
        time.sleep(0.4)
        # The replica is sent away and not let in again: it has none of the last steps.
        cluster.ask(cluster.replica, "CONFIG", "SET", "masterauth", "unknown")
        cluster.ask(cluster.masters[0], "CLIENT", "KILL", "TYPE", "replica")
        time.sleep(0.1)
        cluster.masters[0].kill()
        cluster.until(lambda: cluster.ids[3] in owner(cluster, account_id), 60)
        answered = len(load.answers)
        cluster.until(lambda: len(load.answers) > answered + 2 * WRITTEN)
    assert "StoreTimeout" in load.waits or "StoreUnavailable" in load.waits
    with ReservationBook.connect(cluster.url) as book:
        account = book.account(account_id)
        assert account.status is AccountStatus.RECOVERING
        check(book, load, Code.ACCOUNT_RECOVERING, Code.ORDER_NOT_FOUND)
        (promotion,) = [record for record in book.history(account_id, limit=10**6) if record.op == "promotion"]
        # What was answered after the promotion stands, and of what was answered before, all but the end.
        gone = lost(book, load)
        assert gone
        assert all(version >= promotion.version for version, *_ in gone)
        after = load.answers[answered:]
        assert not set(gone).intersection(after)
        # Facts passed meanwhile, and nothing else.
        assert {op for version, op, _, _ in after if version > promotion.version} == {"fill", "cancel"}
        assert account.version > promotion.version + WRITTEN
        assert book.reconcile(account_id, venue_of(load), apply=True, grace_ms=0).settled
        account = book.account(account_id)
        assert account.status is AccountStatus.ACTIVE
        assert book.symbols(account_id)[0].lots == sum(op == "fill" for _, op, _, _ in load.answers)
        # The same load is granted and refused as before.
        with load_of(cluster, account_id, order, "s") as load:
            cluster.until(lambda: book.account(account_id).version > account.version + WRITTEN)
            time.sleep(1.5)
        check(book, load)
        assert lost(book, load) == []
        assert book.account(account_id).version > account.version + WRITTEN


def test_a_promotion_that_loses_the_last_step_leaves_the_account_recovering_until_it_is_reconciled(
    cluster: servers.Cluster, order: Make
) -> None:
    account_id = account_on(cluster, 0)
    with ReservationBook.connect(cluster.url, timeout_ms=20_000) as book:
        book.open_account(account_id, 1)
        assert book.reserve(account_id, [order(hold=10, order_id="kept")], request_id="kept").ok
        cluster.until(
            lambda: (
                cluster.ask(cluster.masters[0], "WAIT", 1, 1000) >= 0
                and b"slave0" in cluster.ask(cluster.masters[0], "INFO", "replication")
            )
        )
        time.sleep(0.3)
        cluster.replica.kill()
        issued = time.time_ns() // 1000
        long: dict[str, Any] = {"issued_at_us": issued, "not_after_us": issued + 120_000_000}
        assert book.reserve(account_id, [order(hold=20, order_id="lost")], request_id="lost", **long).ok
        cluster.masters[0].kill()
        cluster.replica.start()
        cluster.until(lambda: takes_over(cluster), 60)
        # Facts pass, growth and claims do not.
        refused = settled(
            lambda: book.reserve(account_id, [order(hold=20, order_id="lost")], request_id="lost", **long)
        )
        assert refused.code is Code.ACCOUNT_RECOVERING
        assert book.order(account_id, "lost") is None
        assert book.claim(account_id, "kept", event_id="w").code is Code.ACCOUNT_RECOVERING
        assert book.fill(account_id, "lost", 1, fill_id="f").code is Code.ORDER_NOT_FOUND
        assert book.acknowledge(account_id, "kept", "v").ok
        assert book.account(account_id).all_units == 10
        record = book.history(account_id)[-2]
        assert (record.op, dict(record.details)["status"]) == ("promotion", "RECOVERING")
        # The order had been sent, and the venue has it open: its hold is taken again before anything is granted.
        stray = VenueOrder(
            symbol="SYM", side=Side.BID, lots=1, price_ticks=100, hold="0.000020", order_id="lost", venue_id="w"
        )
        kept = VenueOrder(
            symbol="SYM", side=Side.BID, lots=1, price_ticks=100, hold="0.000010", order_id="kept", venue_id="v"
        )
        early = VenueView(as_of_us=record.at_us, orders=(stray, kept), positions={})
        assert book.reconcile(account_id, early).discrepancies[-1].note == "the view is not later than the promotion"
        view = VenueView(as_of_us=time.time_ns() // 1000, orders=(stray, kept), positions={})
        dry = book.reconcile(account_id, view, grace_ms=0)
        assert [item.kind for item in dry.discrepancies] == ["unheld_order", "recovering"]
        assert book.account(account_id).all_units == 10
        assert book.reconcile(account_id, view, apply=True, grace_ms=0).settled
        account = book.account(account_id)
        assert (account.status, account.all_units) == (AccountStatus.ACTIVE, 30)
        assert book.reserve(account_id, [order(hold=20)], request_id="next").ok
        assert book.claim(account_id, "next:0", event_id="w").ok
        assert book.audit(account_id).findings == ()


def test_a_master_that_was_started_again_may_have_lost_steps_and_its_accounts_recover(
    cluster: servers.Cluster, order: Make
) -> None:
    account_id = account_on(cluster, 1)
    with ReservationBook.connect(cluster.url, timeout_ms=20_000) as book:
        book.open_account(account_id, 1)
        assert book.reserve(account_id, [order(hold=10, order_id="o")], request_id="r").ok
        assert book.suspend(account_id, request_id="by hand").ok
        cluster.masters[1].kill()
        cluster.masters[1].start()
        cluster.until(cluster.ready)
        assert settled(lambda: book.acknowledge(account_id, "o", "v", event_id="a")).done
        assert book.account(account_id).status is AccountStatus.SUSPENDED_RECOVERING
        assert book.reserve(account_id, [order(hold=1)], request_id="s").code is Code.ACCOUNT_SUSPENDED
        assert book.suspend(account_id, False, request_id="lifted").ok
        assert book.account(account_id).status is AccountStatus.RECOVERING
        assert book.reserve(account_id, [order(hold=1)], request_id="s").code is Code.ACCOUNT_RECOVERING
        assert book.audit(account_id).findings == ()


@pytest.fixture
def hinted_elsewhere(cluster: servers.Cluster) -> Iterator[tuple[str, Callable[[], None]]]:
    """An account of the second master whose hints go to the third, and what makes that one stand still, unreplaced."""
    for node in cluster.nodes:
        cluster.ask(node, "CONFIG", "SET", "cluster-node-timeout", "60000")
    silent = cluster.masters[2]
    with ReservationBook.connect(cluster.url) as book:
        assert isinstance(book, RedisBook)
        names = [account_on(cluster, 1, f"hinted{n}-") for n in range(40)]
        ports = {name: book.address_of(book.registry.hint_slot(name)).port for name in names}
        account_id = next(name for name, port in ports.items() if port == silent.port)
        assert book.open_account(account_id, 1).ok
    yield account_id, lambda: silent.signal(signal.SIGSTOP)
    silent.signal(signal.SIGCONT)


def test_a_master_of_hints_that_stands_still_does_not_stop_the_tasks_of_another(
    cluster: servers.Cluster, hinted_elsewhere: tuple[str, Callable[[], None]], order: Make
) -> None:
    (account_id, stands_still), timeout_s = hinted_elsewhere, 3.0

    async def longest() -> float:
        async with await AsyncReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
            assert (await book.reserve(account_id, [order(hold=1)], request_id="warm")).ok
            stands_still()
            worst, began, count = 0.0, time.monotonic(), 0
            while time.monotonic() < began + 2 * timeout_s:
                count, asked = count + 1, time.monotonic()
                name = f"r{count}"
                assert (await book.reserve(account_id, [order(hold=1)], request_id=name, send="outbox")).ok
                worst = max(worst, time.monotonic() - asked)
            return worst

    assert asyncio.run(longest()) < timeout_s / 2


def test_reads_and_first_steps_of_a_master_that_stands_still_keep_no_task_of_another_waiting(
    cluster: servers.Cluster,
) -> None:
    for node in cluster.nodes:
        cluster.ask(node, "CONFIG", "SET", "cluster-node-timeout", "60000")
    well, timeout_s = account_on(cluster, 1), 3.0
    silent = [name for n in range(1000) if home_of(cluster, name := f"silent{n}") == 2][:60]

    async def main() -> float:
        async with await AsyncReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
            await book.open_account(well, 1)
            await book.open_account(silent[0], 1)
            assert (await book.deposit(silent[0], 1, request_id="warm")).ok
            # So that it is to be asked who it is.
            await asyncio.sleep(1.1)
            cluster.masters[2].signal(signal.SIGSTOP)
            calls: list[Coroutine[Any, Any, Any]] = [book.account(silent[0]) for _ in silent]
            calls += [book.deposit(silent[0], 1, request_id=f"d{n}") for n in range(60)]
            # Of these the scale is not known yet.
            calls += [book.deposit(name, 1, request_id="d") for name in silent[1:]]
            tasks = [asyncio.ensure_future(call) for call in calls]
            worst, began, count = 0.0, time.monotonic(), 0
            # Longer than it is known for who a node is, and longer than the calls take.
            while time.monotonic() < began + 2.5 * timeout_s:
                count, asked = count + 1, time.monotonic()
                assert (await book.deposit(well, "0.000001", request_id=f"w{count}")).ok
                worst = max(worst, time.monotonic() - asked)
            for task in tasks:
                assert task.done()
                assert isinstance(task.exception(), StoreError)
            cluster.masters[2].signal(signal.SIGCONT)
            return worst

    assert asyncio.run(main()) < timeout_s / 2


def test_a_master_of_hints_that_stands_still_costs_one_call_of_a_synchronous_book_in_a_while(
    cluster: servers.Cluster, hinted_elsewhere: tuple[str, Callable[[], None]], order: Make
) -> None:
    (account_id, stands_still), timeout_s = hinted_elsewhere, 3.0
    with ReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
        stands_still()
        slow, began, count = 0, time.monotonic(), 0
        while time.monotonic() < began + 2 * timeout_s:
            count, asked = count + 1, time.monotonic()
            assert book.reserve(account_id, [order(hold=1)], request_id=f"r{count}", send="outbox").ok
            slow += time.monotonic() - asked > 0.4 * timeout_s
        assert slow <= 1


def settled(step: Callable[[], Any]) -> Any:
    until = time.monotonic() + 60
    while True:
        try:
            return step()
        except StoreError:
            if time.monotonic() > until:
                raise


def takes_over(cluster: servers.Cluster) -> bool:
    """Promote the replica by force; whether it has the slots."""
    try:
        if b"role:master" not in cluster.ask(cluster.replica, "INFO", "replication"):
            cluster.ask(cluster.replica, "CLUSTER", "FAILOVER", "TAKEOVER")
    except Exception:
        return False
    return cluster.ids[3] == owner(cluster, account_on(cluster, 0))


def replicas_known(sentinel: servers.Server) -> int:
    return len(servers.Cluster.ask(sentinel, "SENTINEL", "REPLICAS", "desk"))


def test_a_sentinel_names_the_master_and_its_successor(order: Make) -> None:
    with servers.Server() as master, servers.Server(f"replicaof 127.0.0.1 {master.port}") as replica:
        servers.Cluster.until(lambda: b"master_link_status:up" in servers.Cluster.ask(replica, "INFO", "replication"))
        watched = (
            f"sentinel monitor desk 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds desk 500",
            "sentinel failover-timeout desk 3000",
        )
        with servers.Server(*watched, sentinel=True) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/desk"
            servers.Cluster.until(
                lambda: (
                    b"num-slaves" in bytes(str(servers.Cluster.ask(sentinel, "SENTINEL", "MASTER", "desk")), "utf-8")
                )
            )
            with ReservationBook.connect(url, timeout_ms=15_000) as book:
                assert book.open_account("acc", 1).ok
                assert book.reserve("acc", [order(hold=10, order_id="o")], request_id="r").ok
                servers.Cluster.until(lambda: servers.Cluster.ask(master, "WAIT", 1, 100) >= 0)
                time.sleep(1.5)
                master.kill()
                outcome = settled(lambda: book.acknowledge("acc", "o", "v", event_id="a"))
                assert outcome.done
                assert book.account("acc").status is AccountStatus.RECOVERING
                assert book.reserve("acc", [order(hold=1)], request_id="s").code is Code.ACCOUNT_RECOVERING
                assert book.audit("acc").findings == ()
            with pytest.raises(StoreUnavailable, match="knows no other"):
                ReservationBook.connect(url.replace("desk", "other"), timeout_ms=500)


def test_facts_pass_a_promotion_where_no_replica_is_left_to_wait_for(order: Make) -> None:
    """Where the answer is that the account was last written elsewhere, nothing was run: nothing is waited for."""
    cluster = servers.shared_cluster()
    cluster.flush()
    account_id = account_on(cluster, 1)
    with ReservationBook.connect(cluster.url) as plain:
        assert plain.open_account(account_id, 1).ok
        assert plain.reserve(account_id, [order(hold=10, lots=5)], request_id="r").ok
        portfolio = f"user_portfolio:{{{account_id}}}"
        home = cluster.ask(cluster.nodes[1], "HGET", portfolio, "home").decode()
        cluster.ask(cluster.nodes[1], "HSET", portfolio, "home", home[:-1] + ("1" if home[-1] == "0" else "0"))
        with (
            ReservationBook.connect(f"{cluster.url}?durability=replicated", timeout_ms=100) as book,
            pytest.raises(StoreTimeout, match="done, but"),
        ):
            book.fill(account_id, "r:0", 2, fill_id="f", margin=0)
        assert plain.order(account_id, "r:0").filled == 2
        assert plain.account(account_id).status is AccountStatus.RECOVERING


def test_a_slot_that_left_a_master_without_a_replica_is_found_by_the_next_call(cluster: servers.Cluster) -> None:
    """The old owner sends the caller away at once, and WAIT behind that takes the rest of the call's time."""
    account_id = account_on(cluster, 1)
    with ReservationBook.connect(f"{cluster.url}?durability=replicated", timeout_ms=200) as book:
        with pytest.raises(StoreTimeout):
            book.open_account(account_on(cluster, 1, "warm"), 1)  # a connection that has written
        for node in cluster.masters:
            cluster.ask(node, "CLUSTER", "SETSLOT", slot_of(account_id), "NODE", cluster.ids[0])
        with contextlib.suppress(StoreUnavailable):
            book.open_account(account_id, 1, request_id="open")
        # The master that has it now has the replica.
        assert book.open_account(account_id, 1, request_id="open").done
