"""Slots of a Cluster that are moved after their node has lost steps, or while both nodes are up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests import servers

from equipoise.orders import Order
from equipoise.reservation import AccountStatus, Code, ReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import Address, slot_of

Make = Callable[..., Order]
EDGES = (0, 5461, 10923, 16384)


@pytest.fixture
def cluster() -> Iterator[servers.Cluster]:
    own = servers.Cluster()
    if not knows_shards(own):
        own.stop()
        pytest.skip("this server does not name the shard of a node: every move counts as a promotion")
    yield own
    own.stop()


def knows_shards(cluster: servers.Cluster) -> bool:
    return b"myshardid" in b"".join(cluster.ask(cluster.masters[0], "CLUSTER", "HELP")).lower()


def accounts_on(number: int) -> Iterator[str]:
    """Account ids whose slots the master with this number has, to begin with."""
    return (f"acc{n}" for n in range(10_000) if EDGES[number] <= slot_of(f"acc{n}") < EDGES[number + 1])


def move(cluster: servers.Cluster, account_id: str, source: servers.Server, target: servers.Server) -> None:
    """Move the slot of an account as an operator does who moves it key by key."""
    slot, ask = slot_of(account_id), cluster.ask
    ids = {node.port: node_id for node, node_id in zip(cluster.nodes, cluster.ids, strict=True)}
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
    keys = [key.decode() for key in ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)]
    ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])


def at(node: servers.Server) -> ReservationBook:
    return ReservationBook.connect(f"redis+cluster://127.0.0.1:{node.port}", timeout_ms=5_000)


def shards_asked(node: servers.Server) -> int:
    """How often a node was asked for the shards of the Cluster."""
    found = servers.Cluster.ask(node, "INFO", "commandstats").decode().partition("cmdstat_cluster|shards:calls=")[2]
    return int(found.partition(",")[0] or 0)


def test_an_account_of_a_moved_slot_recovers_if_its_node_was_started_again_before(
    cluster: servers.Cluster, order: Make
) -> None:
    names = accounts_on(1)
    early, late = next(names), next(names)
    source, target = cluster.masters[1:]
    with at(source) as book:
        for name in (early, late):
            assert book.open_account(name, 100).ok
    move(cluster, early, source, target)
    with at(target) as book:
        # Any step tells the account where it is, one that finds nothing to do too.
        assert book.sweep(early).ok
        assert cluster.ids[2] in cluster.ask(target, "HGET", f"user_portfolio:{{{early}}}", "home").decode()
        for n in range(5):
            assert book.reserve(early, [order(hold=1)], request_id=f"r{n}").ok
        assert book.account(early).status is AccountStatus.ACTIVE
        # Once for all steps of the account there.
        assert shards_asked(target) == 1
    source.kill()
    source.start()
    cluster.until(cluster.ready)
    move(cluster, late, source, target)
    with at(target) as book:
        assert book.reserve(late, [order(hold=1)], request_id="r").code is Code.ACCOUNT_RECOVERING
        # It was written at the other node since.
        assert book.reserve(early, [order(hold=1)], request_id="r").ok
        assert shards_asked(target) == 2


def test_an_account_recovers_whose_slot_was_moved_after_a_promotion_lost_a_step(
    cluster: servers.Cluster, order: Make
) -> None:
    account_id = next(accounts_on(0))
    first, target, replica = cluster.masters[0], cluster.masters[2], cluster.replica
    with at(first) as book:
        assert book.open_account(account_id, 100).ok
        cluster.until(lambda: cluster.ask(replica, "CLUSTER", "COUNTKEYSINSLOT", slot_of(account_id)) == 3)
        replica.kill()
        assert book.reserve(account_id, [order(hold=80_000_000)], request_id="lost").ok
    first.kill()
    replica.start()

    def takes_over() -> bool:
        if b"role:master" not in cluster.ask(replica, "INFO", "replication"):
            cluster.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        return cluster.ids[3].encode() in [entry[2][2] for entry in cluster.ask(cluster.masters[1], "CLUSTER", "SLOTS")]

    cluster.until(takes_over)
    # Nobody has written at the promoted node, and the one to which the slot goes was never promoted.
    move(cluster, account_id, replica, target)
    cluster.until(lambda: b"cluster_state:ok" in cluster.ask(target, "CLUSTER", "INFO"))
    with at(target) as book:
        assert book.order(account_id, "lost:0") is None
        assert book.reserve(account_id, [order(hold=80_000_000)], request_id="again").code is Code.ACCOUNT_RECOVERING
        assert book.account(account_id).status is AccountStatus.RECOVERING


def test_a_move_is_planned_if_the_node_before_says_so_itself() -> None:
    """Of one that still says it has the slot is not known, until the time-out, whether it has only not heard yet."""
    cluster, timeout_s = servers.shared_cluster(), 2.0
    if not knows_shards(cluster):
        pytest.skip("this server does not name the shard of a node")
    with ReservationBook.connect(cluster.url, timeout_ms=int(1000 * timeout_s)) as book:
        assert isinstance(book, RedisBook)
        owner, other, target = [Address("127.0.0.1", node.port) for node in cluster.masters]
        key = f"user_portfolio:{{{next(accounts_on(0))}}}"
        link = book._links.take(target)

        def planned(home: str) -> tuple[bool, float]:
            began = time.monotonic()
            return book._links.planned(link, home, key), time.monotonic() - began

        said, seconds = planned(book.home_of(other))
        assert said
        assert seconds < timeout_s / 2
        for home in (book.home_of(other)[:-1] + "x", "shard/unknown/x", "", book.home_of(target)):
            said, seconds = planned(home)
            assert not said
            assert seconds < timeout_s / 2
        said, seconds = planned(book.home_of(owner))
        assert not said
        assert timeout_s <= seconds < 1.75 * timeout_s
        link.close()
