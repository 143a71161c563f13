"""Workers on real servers, single and Cluster: processes that die, hints and lists that are lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests import servers

from equipoise.errors import StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import OrderState, ReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import Address, command, slot_of
from equipoise.reservation.workers import PARTITIONS, Worker, partition_of

Make = Callable[..., Order]

WORKER = """
import sys
from equipoise.reservation import ReservationBook

# What is printed has been sent: a line is one write, made after the claim was OK.
url, name = sys.argv[1:]
with ReservationBook.connect(url) as book, book.worker(name, poll_ms=2, takeover_ms=700) as worker:
    print("ready", flush=True)
    for delivery in worker:
        for order in delivery.orders:
            if worker.claim(delivery, order.order_id).ok:
                print(f"{delivery.account_id}/{order.order_id}", flush=True)
                book.acknowledge(delivery.account_id, order.order_id)
"""


@pytest.fixture(params=["valkey", "valkey-cluster"])
def shared_book(request: pytest.FixtureRequest) -> Iterator[RedisBook]:
    """A book on an empty server with the server's own clock."""
    if request.param == "valkey":
        with servers.shared().client() as client:
            client.flushall()
        url = servers.shared().url
    else:
        servers.shared_cluster().flush()
        url = servers.shared_cluster().url
    with ReservationBook.connect(url) as book:
        assert isinstance(book, RedisBook)
        yield book


def start(url: str, name: str) -> subprocess.Popen[str]:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, url, name], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def end(worker: subprocess.Popen[str]) -> list[str]:
    """SIGKILL; every line it wrote."""
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.stdout is not None
    lines = worker.stdout.read().splitlines()
    worker.stdout.close()
    worker.wait()
    return lines


def test_schedule_9_workers_killed_anywhere_send_every_order_once_or_leave_it_to_be_asked_after(
    shared_book: RedisBook, order: Make
) -> None:
    book, rng = shared_book, random.Random(9)
    url = servers.shared().url if not book.target.cluster else servers.shared_cluster().url
    accounts = [f"acc{n}" for n in range(6)]
    for account_id in accounts:
        book.open_account(account_id, 10)
    workers = [start(url, f"w{number}") for number in range(3)]
    sent: list[str] = []
    later = int(time.time() * 1e6) + 600_000_000
    for n in range(60):
        account_id = accounts[n % len(accounts)]
        ladder = [order(hold=1)] * 3
        assert book.reserve(account_id, ladder, request_id=f"r{n}", send="outbox", deadline_us=later).ok
        if n in (15, 35):
            time.sleep(rng.random() * 0.02)
            place = rng.randrange(3)
            sent += end(workers[place])
            workers[place] = start(url, f"w{place}")
    stop = time.monotonic() + 15
    while time.monotonic() < stop and any(book.orders(name, OrderState.RESERVED) for name in accounts):
        time.sleep(0.02)
    time.sleep(0.1)
    for worker in workers:
        sent += end(worker)
    assert len(sent) == len(set(sent))
    found = {f"{name}/{kept.order_id}": kept.state for name in accounts for kept in book.orders(name)}
    assert len(found) == 180
    # Claimed by one that died: nobody sends it again, whether or not its bytes had left.
    lost = [name for name, state in found.items() if state is OrderState.SENT]
    assert len(lost) <= 2
    assert {name for name, state in found.items() if state is OrderState.LIVE} == set(sent) - set(lost)
    assert all(state in (OrderState.LIVE, OrderState.SENT) for state in found.values())
    for name in accounts:
        left = {entry.request_id for entry in book.outbox(name)}
        assert left == {kept.request_id for kept in book.orders(name, OrderState.SENT)}
        # What was settled is neither in the stream nor with a reader.
        pending = book._command(name, "XPENDING", f"user_outbox:{{{name}}}", "workers")
        assert book._command(name, "XLEN", f"user_outbox:{{{name}}}") == pending[0] == len(left)
        assert book.audit(name).findings == ()


def test_a_lost_hint_costs_time_and_no_order(shared_book: RedisBook, order: Make) -> None:
    book = shared_book
    book.open_account("acc", 1)
    worker = book.worker("w")
    assert worker.take() == ()
    assert book.reserve("acc", [order(hold=1)], request_id="r", send="outbox").ok
    place = partition_of("acc")
    slot_key = f"user_hints:{{p{place}}}"
    assert book.each([(book.registry.slot(place), command("DEL", slot_key))]) == [1]
    began = time.monotonic()
    found: tuple[Any, ...] = ()
    while not found and time.monotonic() < began + 5:
        found = worker.take()
        time.sleep(0.01)
    assert [delivery.entry.request_id for delivery in found] == ["r"]
    assert time.monotonic() - began < 3


def test_an_entry_that_is_settled_while_the_outbox_is_read_is_not_shown(
    shared_book: RedisBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many orders of an entry are unanswered is kept apart from the entry, and only once that is less than all."""
    book = shared_book
    book.open_account("acc", 1)
    for name, count in (("three", 3), ("two", 2), ("one", 1)):
        assert book.reserve("acc", [order(hold=1)] * count, request_id=name, send="outbox").ok
    assert book._command("acc", "HGETALL", "user_waiting:{acc}") == []
    assert book.cancel("acc", "three:0").ok
    assert book.cancel("acc", "two:0").ok
    assert book._command("acc", "HGETALL", "user_waiting:{acc}") == [b"three", b"2 2", b"two", b"3 1"]
    counts = book.waiting_of

    def settled_before(account_id: str, request_ids: list[str]) -> list[str | None]:
        assert book.cancel(account_id, "two:1").ok
        return counts(account_id, request_ids)

    with monkeypatch.context() as patch:
        patch.setattr(book, "waiting_of", settled_before)
        found = book.outbox("acc")
    assert [(entry.request_id, entry.open_orders) for entry in found] == [("three", 2), ("one", 1)]
    assert book.outbox("acc") == found
    assert book.audit("acc").findings == ()


def test_the_entry_of_another_request_is_not_settled_in_place_of_one_that_was_lost(
    shared_book: RedisBook, order: Make
) -> None:
    book = shared_book
    book.open_account("acc", 1)
    assert book.reserve("acc", [order(hold=1)], request_id="lost", send="outbox").version == 2
    book._command("acc", "DEL", "user_outbox:{acc}")
    fields = ("request_id", "other", "created_us", "1", "deadline_us", "1", "order_ids", '["other:0"]')
    book._command("acc", "XADD", "user_outbox:{acc}", "2-0", *fields)
    assert book.cancel("acc", "lost:0").ok
    assert book._command("acc", "XLEN", "user_outbox:{acc}") == 1
    assert book._command("acc", "HGETALL", "user_waiting:{acc}") == []


def hints_of(book: RedisBook, account_id: str) -> int:
    place = partition_of(account_id)
    (count,) = book.each([(book.registry.slot(place), command("SCARD", f"user_hints:{{p{place}}}"))])
    return int(count)


def test_an_entry_without_a_hint_of_its_own_is_found_by_whoever_looks_while_hints_rest(
    shared_book: RedisBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_registry.HINT_S", 1.0)
    monkeypatch.setattr("equipoise.reservation.redis_workers.WALK_S", 60.0)
    book = shared_book
    book.open_account("acc", 1)
    worker, other = book.worker("w"), book.worker("other")
    assert worker.take() == other.take() == ()

    def handed(to: Worker, *names: str) -> list[str]:
        for name in names:
            assert book.reserve("acc", [order(hold=1)], request_id=name, send="outbox").ok
        return [delivery.entry.request_id for delivery in to.take()]

    # One that has something to send leaves the account to whoever looks next.
    assert handed(worker, "hinted") == ["hinted"]
    assert handed(other, "second") == ["second"]
    assert handed(worker, "third", "fourth") == ["third", "fourth"]
    # One that has nothing looks again at its next look, and for the last time when the time is over.
    assert handed(worker) == []
    assert handed(worker, "fifth") == ["fifth"]
    assert handed(worker) == []
    assert hints_of(book, "acc") == 0
    assert handed(other, "sixth") == []
    time.sleep(1.0)
    assert handed(worker) == ["sixth"]
    assert hints_of(book, "acc") == 0
    # From then on it needs another hint, and steps give it.
    assert book.reserve("acc", [order(hold=1)], request_id="seventh", send="outbox").ok
    assert hints_of(book, "acc") == 1
    assert handed(other) == ["seventh"]
    assert handed(worker, "eighth") == ["eighth"]


def test_what_steps_of_many_threads_leave_in_the_outbox_needs_no_walk(
    shared_book: RedisBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hints are due to one of them at a time; a worker that looks all the while finds every entry."""
    monkeypatch.setattr("equipoise.reservation.redis_workers.WALK_S", 60.0)
    book = shared_book
    book.open_account("acc", 1)
    worker, found = book.worker("w"), set[str]()
    assert worker.take() == ()

    def asks(thread: int) -> None:
        for n in range(100):
            assert book.reserve("acc", [order(hold=1)], request_id=f"{thread}-{n}", send="outbox").ok

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(asks, n) for n in range(4)]
        until = time.monotonic() + 20
        while len(found) < 400 and time.monotonic() < until:
            found |= {delivery.entry.request_id for delivery in worker.take()}
        for asked in asking:
            asked.result()
    assert len(found) == 400


def test_entries_of_the_same_second_are_handed_over_without_a_walk(
    shared_book: RedisBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second hint and those after it are told in passing: nobody waits for their replies."""
    monkeypatch.setattr("equipoise.reservation.redis_registry.HINT_S", 0.0)
    walk_s = 10.0
    monkeypatch.setattr("equipoise.reservation.redis_workers.WALK_S", walk_s)
    book = shared_book
    book.open_account("acc", 1)
    assert book.reserve("acc", [order(hold=1)], request_id="whole", send="outbox").ok
    worker = book.worker("w")
    walked = time.monotonic()
    assert [delivery.entry.request_id for delivery in worker.take()] == ["whole"]
    for n in range(5):
        assert book.reserve("acc", [order(hold=1)], request_id=f"r{n}", send="outbox").ok
        found: tuple[Any, ...] = ()
        while not found and time.monotonic() < walked + 0.9 * walk_s:
            found = worker.take()
        assert [delivery.entry.request_id for delivery in found] == [f"r{n}"]
    assert time.monotonic() < walked + 0.9 * walk_s


def test_what_a_dead_worker_holds_is_handed_on_though_its_account_always_has_something_new(
    shared_book: RedisBook, order: Make
) -> None:
    book = shared_book
    book.open_account("acc", 1)
    assert book.reserve("acc", [order(hold=1)], request_id="held", send="outbox").ok
    assert [delivery.entry.request_id for delivery in book.worker("dead").take()] == ["held"]
    worker = book.worker("w", takeover_ms=200)
    found: set[str] = set()
    until = time.monotonic() + 5
    n = 0
    while "held" not in found:
        assert time.monotonic() < until
        n += 1
        assert book.reserve("acc", [order(hold=1)], request_id=f"r{n}", send="outbox").ok
        found |= {delivery.entry.request_id for delivery in worker.take()}


def test_now_and_then_a_hint_puts_an_account_on_the_list_that_has_lost_it(
    shared_book: RedisBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_registry.HINT_S", 0.0)
    book = shared_book
    book.open_account("acc", 1)
    place = partition_of("acc")

    def listed_after_a_reserve(name: str) -> bool:
        key = f"user_accounts:{{p{place}}}"
        book.each([(book.registry.slot(place), command("SREM", key, "acc"))])
        assert book.reserve("acc", [order(hold=1)], request_id=name, send="outbox").ok
        return bool(book.each([(book.registry.slot(place), command("SISMEMBER", key, "acc"))])[0])

    assert listed_after_a_reserve("first")
    # Within a second a hint is one command whose reply nobody waits for.
    assert not listed_after_a_reserve("second")
    monkeypatch.setattr("equipoise.reservation.redis_registry.WHOLE_S", 0.0)
    assert listed_after_a_reserve("third")


def test_a_list_of_accounts_that_was_lost_is_found_again(shared_book: RedisBook, order: Make) -> None:
    book = shared_book
    accounts = tuple(sorted(f"acc{n}" for n in range(40)))
    for account_id in accounts:
        book.open_account(account_id, 1)
    assert book.accounts() == accounts
    assert book.reserve("acc7", [order(hold=1)], request_id="r", send="outbox").ok
    for name in ("accounts", "registered", "hints"):
        items = [(book.registry.slot(p), command("DEL", f"user_{name}:{{p{p}}}")) for p in range(PARTITIONS)]
        book.each(items)
    # A worker that walks finds the list gone, and what had to be sent all the same.
    (delivery,) = book.worker("w").take()
    assert (delivery.account_id, delivery.entry.request_id) == ("acc7", "r")
    assert book.accounts() == accounts
    assert book.rebuild_registry() == accounts


def test_the_list_is_made_whole_when_its_node_is_another(shared_book: RedisBook) -> None:
    book = shared_book
    book.open_account("here", 1)
    book.open_account("there", 1)
    assert book.accounts() == ("here", "there")
    place = partition_of("there")
    slot = book.registry.slot(place)
    # As after a promotion that lost the last member.
    book.each(
        [
            (slot, command("SREM", f"user_accounts:{{p{place}}}", "there")),
            (slot, command("SET", f"user_registered:{{p{place}}}", "another/node/before")),
        ]
    )
    assert book.accounts() == ("here", "there")


def test_an_account_is_listed_before_it_is_opened_and_one_that_never_was_is_not_shown(
    shared_book: RedisBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equipoise.reservation import redis as store

    book = shared_book
    assert book.accounts() == ()

    def fail(*_: object) -> str:
        raise StoreUnavailable("between the two")

    with monkeypatch.context() as patch:
        patch.setattr(store.RedisBook, "_script", fail)
        with pytest.raises(StoreUnavailable):
            book.open_account("acc", 1)
    assert book.registry.members(range(PARTITIONS)) == {"acc"}
    assert book.accounts() == ()
    assert book.open_account("acc", 1).ok
    assert book.accounts() == ("acc",)


def test_looking_for_accounts_reads_no_keys_of_orders(shared_book: RedisBook, order: Make) -> None:
    book = shared_book
    book.open_account("acc", 1)
    book.reserve("acc", [order(hold=1)] * 50, request_id="r")
    assert book.accounts() == ("acc",)

    def scans() -> int:
        """SCANs the servers have seen."""
        count = 0
        for address in book.masters():
            for line in book.at(address, command("INFO", "commandstats")).decode().splitlines():
                if line.startswith("cmdstat_scan:"):
                    count += int(line.split("calls=")[1].split(",")[0])
        return count

    before = scans()
    assert book.accounts() == ("acc",)
    assert book.audit("acc").ok
    assert book.reconcile("acc").ok
    assert book.worker("w").take() == ()
    assert scans() == before


def test_a_master_that_is_gone_does_not_stop_workers_of_the_others(order: Make) -> None:
    cluster = servers.Cluster()
    try:
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        with ReservationBook.connect(cluster.url, timeout_ms=1_000) as book:
            assert isinstance(book, RedisBook)
            accounts = [f"acc{n}" for n in range(12)]
            for account_id in accounts:
                book.open_account(account_id, 1)
            worker = book.worker("w")
            assert worker.take() == ()
            # It has no replica: its slots stay out of reach.
            gone = cluster.masters[1].port
            near = [name for name in accounts if book.address_of(slot_of(name)).port != gone]
            listed = [n for n in near if book.address_of(book.registry.slot(partition_of(n))).port != gone]
            assert 0 < len(listed) < len(near) < len(accounts)
            cluster.masters[1].kill()
            with ReservationBook.connect(cluster.url, timeout_ms=1_000) as late:
                assert late.deposit(near[0], 1, request_id="late").ok
            for account_id in near:
                assert book.reserve(account_id, [order(hold=1)], request_id="r", send="outbox").ok
            # Nor does a list that cannot be made whole while a master is out of reach, or a hint that is lost.
            for place in {partition_of(name) for name in listed}:
                keys = [f"user_{name}:{{p{place}}}" for name in ("hints", "registered")]
                assert book.each([(book.registry.slot(place), command("DEL", *keys))]) == [2]
            seen: set[str] = set()
            stop = time.monotonic() + 10
            while not seen >= set(listed) and time.monotonic() < stop:
                try:
                    seen |= {delivery.account_id for delivery in worker.take()}
                except StoreUnavailable:
                    time.sleep(0.05)
            assert set(listed) <= seen <= set(near)
    finally:
        cluster.stop()


def test_a_promoted_node_with_a_wrong_setting_does_not_stop_workers_of_the_others(order: Make) -> None:
    cluster = servers.shared_cluster()
    cluster.flush()
    with ReservationBook.connect(cluster.url) as opened:
        book: Any = opened
        accounts = [f"acc{n}" for n in range(12)]
        for account_id in accounts:
            book.open_account(account_id, 1)
            assert book.reserve(account_id, [order(hold=1)], request_id="r", send="outbox").ok
        wrong = cluster.masters[0]
        near = [name for name in accounts if book.address_of(slot_of(name)).port != wrong.port]
        hinted = {name for name in near if book.address_of(book.registry.hint_slot(name)).port != wrong.port}
        assert 0 < len(hinted) < len(accounts)
        cluster.ask(wrong, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            # As if it were met for the first time.
            address = Address("127.0.0.1", wrong.port)
            book._checked.discard(address)
            book._links.drop(address)
            assert {delivery.account_id for delivery in book.worker("w").take()} == hinted
            assert book.deposit(near[0], 1, request_id="d").ok
            book.lost(address)  # the map is read from another
            with pytest.raises(StoreUnavailable, match="maxmemory-policy is allkeys-lru"):
                book.accounts()
        finally:
            cluster.ask(wrong, "CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_masters_that_stand_still_cost_workers_of_the_others_their_timeout_once_in_a_while(
    order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_links.SILENT_S", 60.0)
    cluster, timeout_s = servers.Cluster(), 2.0
    silent = cluster.masters[:2]
    try:
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "cluster-node-timeout", "60000")
        with ReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
            assert isinstance(book, RedisBook)
            accounts = [f"acc{n}" for n in range(30)]
            for account_id in accounts:
                assert book.open_account(account_id, 1).ok
            ports = {name: book.address_of(slot_of(name)).port for name in accounts}
            near = cluster.masters[2].port
            chosen = next(n for n in accounts if ports[n] == book.address_of(book.registry.hint_slot(n)).port == near)
            worker = book.worker("w")
            assert worker.take() == ()
            for node in silent:
                node.signal(signal.SIGSTOP)
            began = time.monotonic()
            worker.take()
            assert time.monotonic() - began < 2 * len(silent) * timeout_s + timeout_s / 2
            assert book.reserve(chosen, [order(hold=1)], request_id="r", send="outbox").ok
            began = time.monotonic()
            assert [delivery.account_id for delivery in worker.take()] == [chosen]
            while time.monotonic() < began + 1.5:
                looked = time.monotonic()
                worker.take()
                assert time.monotonic() - looked < timeout_s / 2
            with pytest.raises(StoreUnavailable, match="a moment ago"):
                book.accounts()
            began = time.monotonic()
            with ReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as late:
                assert time.monotonic() - began < len(silent) * timeout_s + timeout_s / 2
                assert late.deposit(chosen, 1, request_id="d").ok
            for node in silent:
                node.signal(signal.SIGCONT)
                # A node that has answered is asked by everybody again.
                answering = next(name for name in accounts if ports[name] == node.port)
                assert book.deposit(answering, 1, request_id="d").ok
            assert book.accounts() == tuple(sorted(accounts))
    finally:
        for node in silent:
            node.signal(signal.SIGCONT)
        cluster.stop()
