"""A real Cluster: slots that move under load, masters that die, a replica promoted without the last steps."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from tests import servers

from equipoise.errors import StoreError, StoreTimeout, StoreUnavailable
from equipoise.orders import Order, Side
from equipoise.reservation import AccountStatus, Code, Outcome, ReservationBook, VenueOrder, VenueView
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import slot_of
from equipoise.reservation.redis_scripts import SCRIPTS

Make = Callable[..., Order]
ROOM = 150
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


class Load:
    """Threads that reserve and cancel on one account until told to stop; every id is asked until it is settled."""

    def __init__(self, url: str, account_id: str, order: Make, threads: int = 6, timeout_ms: int = 1_000) -> None:
        self.book = ReservationBook.connect(url, timeout_ms=timeout_ms)
        self.account_id, self.order = account_id, order
        self.stopped = threading.Event()
        self.granted: list[str] = []
        self.waits: list[str] = []
        self.pool = ThreadPoolExecutor(threads)
        self.futures = [self.pool.submit(self._work, number) for number in range(threads)]

    def settled(self, step: Callable[[], Any]) -> Any:
        until = time.monotonic() + 60
        while True:
            try:
                return step()
            except (StoreTimeout, StoreUnavailable) as error:
                self.waits.append(type(error).__name__)
                if time.monotonic() > until:
                    raise

    def _work(self, number: int) -> int:
        done = 0
        while not self.stopped.is_set():
            name = f"{number}-{done}"
            issued = time.time_ns() // 1000
            long = {"issued_at_us": issued, "not_after_us": issued + 120_000_000}
            outcome = self.settled(
                lambda name=name, long=long: self.book.reserve(
                    self.account_id, [self.order(lots=2, hold=10)], request_id=name, **long
                )
            )
            if outcome.done:
                self.granted.append(name)
                if done % 3 == 0:
                    assert self.settled(lambda name=name: self.book.cancel(self.account_id, f"{name}:0")).done
            else:
                assert outcome.code in (Code.INSUFFICIENT_MARGIN, Code.ACCOUNT_RECOVERING)
            done += 1
        return done

    def stop(self) -> int:
        self.stopped.set()
        done = sum(future.result() for future in self.futures)
        self.pool.shutdown()
        self.book.close_book()
        return done


class TaskLoad(Load):
    """The same by tasks of one loop, whose reservations that wait for one another go as one command."""

    def __init__(self, url: str, account_id: str, order: Make, tasks: int = 20, timeout_ms: int = 1_000) -> None:
        self.account_id, self.order = account_id, order
        self.stopped = threading.Event()
        self.granted = []
        self.waits = []
        self.pool = ThreadPoolExecutor(1)
        self.done = self.pool.submit(asyncio.run, self._main(url, tasks, timeout_ms))

    async def _main(self, url: str, tasks: int, timeout_ms: int) -> int:
        async with await AsyncReservationBook.connect(url, timeout_ms=timeout_ms) as book:
            return sum(await asyncio.gather(*[self._task(book, number) for number in range(tasks)]))

    async def _settled(self, step: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        until = time.monotonic() + 60
        while True:
            try:
                return await step()
            except (StoreTimeout, StoreUnavailable) as error:
                self.waits.append(type(error).__name__)
                if time.monotonic() > until:
                    raise

    async def _task(self, book: AsyncReservationBook, number: int) -> int:
        done = 0
        while not self.stopped.is_set():
            name = f"{number}-{done}"
            issued = time.time_ns() // 1000
            long = {"issued_at_us": issued, "not_after_us": issued + 120_000_000}
            outcome = await self._settled(
                lambda name=name, long=long: book.reserve(  # type: ignore[misc]
                    self.account_id, [self.order(lots=2, hold=10)], request_id=name, **long
                )
            )
            if outcome.done:
                self.granted.append(name)
                if done % 3 == 0:
                    ended = await self._settled(lambda name=name: book.cancel(self.account_id, f"{name}:0"))  # type: ignore[misc]
                    assert ended.done
            else:
                assert outcome.code in (Code.INSUFFICIENT_MARGIN, Code.ACCOUNT_RECOVERING)
            done += 1
        return done

    def stop(self) -> int:
        self.stopped.set()
        done = self.done.result()
        self.pool.shutdown()
        return done


loads = pytest.mark.parametrize("load_of", [Load, TaskLoad], ids=["threads", "tasks"])


CHECKER = """
import sys
from redis.cluster import RedisCluster

client = RedisCluster(host="127.0.0.1", port=int(sys.argv[1]), decode_responses=True)
account = sys.argv[2]
names = client.zrange(f"user_orders:{{{account}}}", 0, -1)
held = sum(int(client.hget(f"user_holdings:{{{account}}}:{name}", "reserved_margin") or 0) for name in names)
print(held, client.hget(f"user_portfolio:{{{account}}}", "used_margin_all"), len(names))
"""


def check(cluster: servers.Cluster, account_id: str, balance: int) -> None:
    """Over-commit is 0 and nothing is half-written: raw hashes by another process, then the audit."""
    port = next(node.port for node in cluster.nodes if node.process and node.process.poll() is None)
    seen = subprocess.run(
        [sys.executable, "-c", CHECKER, str(port), account_id], capture_output=True, text=True, check=True
    )
    held, everything, count = (int(word) for word in seen.stdout.split())
    assert held == everything <= balance
    assert count > ROOM // 2
    with ReservationBook.connect(cluster.url) as book:
        assert book.audit(account_id).findings == ()
        account = book.account(account_id)
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
        assert book.open_account(account_id, f"0.{ROOM * 10:06d}").ok


@loads
def test_a_slot_moved_key_by_key_under_load_writes_nothing_by_halves(
    cluster: servers.Cluster, order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 1)
    slot, source, target = slot_of(account_id), cluster.masters[1], cluster.masters[2]
    opened(cluster, account_id)
    load = load_of(cluster.url, account_id, order)
    time.sleep(0.5)
    ask = cluster.ask
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[1])
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[2])
    moved = 0
    while keys := ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 5):
        for key in keys:
            ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            moved += 1
            time.sleep(0.01)
        assert moved < 5_000
    for node in (target, source, cluster.masters[0]):
        ask(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[2])
    time.sleep(0.5)
    assert load.stop() > 50
    assert moved > 20
    if load_of is TaskLoad:
        # Several went as one command on either side.
        assert [ask(node, "SCRIPT", "EXISTS", SCRIPTS["reserves"].sha) for node in (source, target)] == [[1], [1]]
    # A step whose keys were on both sides was told to come again.
    assert any(b"errorstat_TRYAGAIN" in ask(node, "INFO", "errorstats") for node in (source, target))
    check(cluster, account_id, ROOM * 10)
    with ReservationBook.connect(cluster.url) as book:
        # A planned move loses nothing: no recovery, where the server lets it be told from a promotion.
        status = AccountStatus.ACTIVE if knows_shards(target) else AccountStatus.RECOVERING
        assert book.account(account_id).status is status
        assert ask(target, "HGET", f"user_portfolio:{{{account_id}}}", "home").decode().split("/")[1] == cluster.ids[2]
        assert book.deposit(account_id, 1, request_id="d").ok


@loads
def test_slots_moved_by_the_server_under_load_lose_nothing(
    cluster: servers.Cluster, order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 1)
    slot, source, target = slot_of(account_id), cluster.masters[1], cluster.masters[2]
    opened(cluster, account_id)
    load = load_of(cluster.url, account_id, order)
    time.sleep(0.3)
    words = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.ids[2])
    try:
        cluster.ask(source, *words)
    except Exception as error:
        load.stop()
        if "unknown subcommand" in str(error).lower():
            pytest.skip("this server moves slots key by key only")
        raise
    cluster.until(lambda: cluster.ids[2] == owner(cluster, account_id))
    time.sleep(0.5)
    assert load.stop() > 50
    check(cluster, account_id, ROOM * 10)
    with ReservationBook.connect(cluster.url) as book:
        assert book.account(account_id).status is AccountStatus.ACTIVE
    assert cluster.ask(target, "EXISTS", f"user_portfolio:{{{account_id}}}") == 1


def owner(cluster: servers.Cluster, account_id: str) -> str:
    """Id of the node that a bystander, which stays alive, thinks has an account."""
    for first, last, master, *_ in cluster.ask(cluster.masters[1], "CLUSTER", "SLOTS"):
        if first <= slot_of(account_id) <= last:
            return str(master[2].decode())
    return ""


@loads
def test_a_master_that_dies_under_load_is_followed_to_its_replica_and_the_account_recovers(
    cluster: servers.Cluster, order: Make, load_of: type[Load]
) -> None:
    account_id = account_on(cluster, 0)
    opened(cluster, account_id)
    load = load_of(cluster.url, account_id, order)
    time.sleep(0.5)
    cluster.masters[0].kill()
    cluster.until(lambda: cluster.ids[3] in owner(cluster, account_id), 60)
    time.sleep(1.5)
    load.stop()
    assert "StoreTimeout" in load.waits or "StoreUnavailable" in load.waits
    with ReservationBook.connect(cluster.url) as book:
        account = book.account(account_id)
        assert account.status is AccountStatus.RECOVERING
        assert account.free_units >= 0
        assert book.audit(account_id).findings == ()
        assert book.history(account_id, limit=10**6)[-1].version == account.version
        assert [record.op for record in book.history(account_id, limit=10**6)].count("promotion") == 1


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
        view = VenueView(as_of_us=time.time_ns() // 1000 + 10**7, orders=(stray, kept), positions={})
        dry = book.reconcile(account_id, view)
        assert [item.kind for item in dry.discrepancies] == ["unheld_order", "recovering"]
        assert book.account(account_id).all_units == 10
        assert book.reconcile(account_id, view, apply=True).settled
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
    account_id, stands_still = hinted_elsewhere

    async def longest() -> float:
        async with await AsyncReservationBook.connect(cluster.url, timeout_ms=1_000) as book:
            assert (await book.reserve(account_id, [order(hold=1)], request_id="warm")).ok
            stands_still()
            worst, began, count = 0.0, time.monotonic(), 0
            while time.monotonic() < began + 4:
                count, asked = count + 1, time.monotonic()
                name = f"r{count}"
                assert (await book.reserve(account_id, [order(hold=1)], request_id=name, send="outbox")).ok
                worst = max(worst, time.monotonic() - asked)
            return worst

    assert asyncio.run(longest()) < 0.9


def test_a_master_of_hints_that_stands_still_costs_one_call_of_a_synchronous_book_in_a_while(
    cluster: servers.Cluster, hinted_elsewhere: tuple[str, Callable[[], None]], order: Make
) -> None:
    account_id, stands_still = hinted_elsewhere
    with ReservationBook.connect(cluster.url, timeout_ms=1_000) as book:
        stands_still()
        slow, began, count = 0, time.monotonic(), 0
        while time.monotonic() < began + 4:
            count, asked = count + 1, time.monotonic()
            assert book.reserve(account_id, [order(hold=1)], request_id=f"r{count}", send="outbox").ok
            slow += time.monotonic() - asked > 0.4
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
