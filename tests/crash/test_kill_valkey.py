"""SIGKILL of clients and of the server (AOF always) at seeded points under load, then the same ids again (I17)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests import servers

from equipoise.errors import StoreError
from equipoise.orders import Order
from equipoise.reservation import ReservationBook

POINTS = int(os.environ.get("CRASH_POINTS", "10"))
WRITER = """
import random, sys, time
from decimal import Decimal
from equipoise.errors import StoreError
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook

url, account, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = random.Random(seed)
until = time.monotonic() + 60


def again(step):
    # A server that was killed is started again: the same id, until it is settled.
    while True:
        try:
            return step()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


book = again(lambda: ReservationBook.connect(url, clock=lambda: 10**15, timeout_ms=2000))
again(lambda: book.open_account(account, 1000, rule="worst_side"))
print("ready", flush=True)
for n in range(40):
    orders = [
        Order(symbol="SYM", side=rng.choice(list(Side)), lots=rng.randint(1, 9), price_ticks=1,
              hold=rng.randint(0, 10**6), price=Decimal(1), size=Decimal(1)) for _ in range(4)
    ]
    again(lambda: book.reserve(account, orders, request_id=f"r{n}"))
    print(n, flush=True)
    for place, order in enumerate(orders):
        name = f"r{n}:{place}"
        lots = rng.randint(1, order.lots)
        margin = Decimal(rng.randint(0, 10**6)).scaleb(-6)
        again(lambda: book.fill(account, name, lots, fill_id="f", margin=margin, realised_pnl="0.01", fee="0.001"))
        again(lambda: book.cancel(account, name))
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.Server("appendonly yes", "appendfsync always") as own:
        yield own


def run(url: str, account: str, kill_after: int | None, delay_s: float = 0.0) -> list[str]:
    """Run the writer; with `kill_after`, SIGKILL it a moment after that many lines."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, url, account, "1"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if len(lines) == kill_after:
            time.sleep(delay_s)
            os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    code = child.wait()
    # On a busy machine the writer may be through before the kill.
    assert (code == -signal.SIGKILL and kill_after is not None) or (code == 0 and lines[-1] == "done")
    return lines


def state(server: servers.Server, account: str) -> dict[str, object]:
    """Raw keys of an account that must not depend on where anything was killed."""
    kept: dict[str, object] = {}
    with server.client() as client:
        for raw in client.scan_iter(f"*{{{account}}}*", count=10_000):
            name = raw.decode().replace(account, "*")
            kind = client.type(raw)
            if kind == b"hash":
                kept[name] = client.hgetall(raw)
            elif kind == b"zset":
                kept[name] = client.zrange(raw, 0, -1, withscores=True)
            else:
                kept[name] = client.xrange(raw)
    assert len(kept) > 100
    return kept


def test_i17_a_client_killed_anywhere_is_completed_by_the_same_ids_on_valkey(server: servers.Server) -> None:
    run(server.url, "whole", None)
    expected = state(server, "whole")
    rng = random.Random(17)
    reached = 0
    for _ in range(POINTS):
        lines = run(server.url, "killed", rng.randint(1, 40), rng.random() * 0.004)
        reached += lines[-1] != "done"
        with ReservationBook.connect(server.url) as book:
            assert book.audit("killed").findings == ()
    assert reached
    assert run(server.url, "killed", None)[-1] == "done"
    assert state(server, "killed") == expected


def test_i17_a_server_killed_under_load_has_every_step_it_answered_and_none_twice(server: servers.Server) -> None:
    rng = random.Random(18)
    with server.client() as client:
        client.flushall()
    run(server.url, "whole", None)
    expected = state(server, "whole")
    kills = max(2, POINTS // 5)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, server.url, f"load{n}", "1"], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    answered: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        """Notes what has been answered: it must be there after every kill."""
        number = 0
        from decimal import Decimal

        from equipoise.orders import Side

        order = Order(symbol="S", side=Side.BID, lots=1, price_ticks=1, hold=1, price=Decimal(1), size=Decimal(1))
        book: ReservationBook | None = None
        while not stop.is_set():
            try:
                book = book or ReservationBook.connect(server.url, timeout_ms=1000)
                book.open_account("watched", 1)
                if book.reserve("watched", [order], request_id=f"w{number}").done:
                    answered.append(f"w{number}:0")
                    number += 1
            except StoreError:
                time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not answered:
        time.sleep(0.001)
    for _ in range(kills):
        time.sleep(0.05 + rng.random() * 0.25)
        before = len(answered)
        server.kill()
        server.start()
        with ReservationBook.connect(server.url) as book:
            there = {order.order_id for order in book.orders("watched")}
            assert set(answered[:before]) <= there
            for account_id in book.accounts():
                assert book.audit(account_id).findings == ()
    stop.set()
    watcher.join()
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.read().endswith("done\n")
        writer.stdout.close()
        assert writer.wait() == 0
    for n in range(3):
        assert state(server, f"load{n}") == expected
    with ReservationBook.connect(server.url) as book:
        # The watcher may have stopped between a step and its answer.
        there = {order.order_id for order in book.orders("watched")}
        assert set(answered) <= there
        assert len(answered) <= len(there) <= len(answered) + 1
        assert len(answered) > 10
