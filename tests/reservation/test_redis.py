"""What only a server can do to the book: forget scripts, run full, stall, lose answers, hold other types."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis
from tests import servers
from tests.forks import forked, is_true_of
from tests.reservation import clients
from tests.warm import Child

from equipoise.errors import InputError, StoreCorrupt, StoreTimeout, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook, redis_links
from equipoise.reservation.redis_scripts import SCRIPTS
from equipoise.reservation.requests import Adopt, Ask, Export, Repair

Make = Callable[..., Order]
A = "acc"


@pytest.fixture
def server() -> Iterator[servers.Server]:
    """A server of the test's own, for what would break others."""
    with servers.Server() as own:
        yield own


def everything(client: redis.Redis) -> dict[bytes, object]:
    """Every key with its value."""
    read: dict[bytes, Callable[[bytes], object]] = {
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=10_000)}


def has_waitaof(client: redis.Redis) -> bool:
    """Whether the server can say when a step is on disk; Redis before 7.2 cannot."""
    return bool(client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", "waitaof"))


# --- one hot account ------------------------------------------------------------------------------------------------

CHECKER = """
import select, sys, redis

client = redis.Redis(port=int(sys.argv[1]), protocol=2, decode_responses=True)
client.ping()
print("ready", flush=True)
seen = set()
while not select.select([sys.stdin], [], [], 0.002)[0]:
    held, balance = client.hmget("user_portfolio:{hot}", "used_margin_all", "balance")
    if held is not None:
        assert 0 <= int(held) <= int(balance), (held, balance)
        seen.add(held)
account = client.hgetall("user_portfolio:{hot}")
orders = [client.hgetall(key) for key in client.keys("user_holdings:{hot}:*")]
held = sum(int(order["reserved_margin"]) for order in orders)
print(held, account["used_margin_all"], account["balance"], len(orders), client.zcard("user_orders:{hot}"), len(seen))
"""


def test_schedule_1_32_client_processes_on_one_hot_account_never_over_commit(client: redis.Redis) -> None:
    server = servers.shared()
    room = 100
    # Another process reads raw hashes, without the book, while they run and after.
    words = [sys.executable, "-c", CHECKER, str(server.port)]
    checker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert checker.stdout is not None
    assert checker.stdout.readline() == "ready\n"
    children = [Child(clients.on_server, server.url, number) for number in range(32)]
    assert [next(iter(child)) for child in children] == ["ready"] * 32
    with ReservationBook.connect(server.url) as book:
        book.open_account("hot", f"0.{room * 10:06d}")
    granted = sum(int(child.killed_after(None)[0]) for child in children)
    said, _ = checker.communicate("stop", timeout=60)
    assert checker.returncode == 0
    *seen, totals = [int(value) for value in said.split()]
    assert granted == room
    assert seen == [room * 10, room * 10, room * 10, room, room]
    assert totals >= 2
    with ReservationBook.connect(server.url) as book:
        assert book.audit("hot").findings == ()


# --- scripts --------------------------------------------------------------------------------------------------------


def test_scripts_the_server_has_forgotten_are_loaded_again(client: redis.Redis, order: Make) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        for n in range(3):
            client.script_flush()
            assert book.reserve(A, [order(hold=1)], request_id=f"r{n}").ok
            client.script_flush()
            assert book.fill(A, f"r{n}:0", 1, fill_id="f").ok
        assert book.audit(A).findings == ()


def test_every_script_touches_declared_keys_only_and_says_what_they_are() -> None:
    declared = {
        "PORTFOLIO",
        "SYMBOLS",
        "ORDERS",
        "DUE",
        "ALIASES",
        "REQUESTS",
        "JOURNAL",
        "OWNERS",
        "RATES",
        "OUTBOX",
        "WAITING",
        "BASE",
    }
    declared |= {"key", "record", "o.key", "unpack"}
    calls = 0
    for script in SCRIPTS.values():
        text = script.text.decode()
        assert "KEYS" in text
        for line in text.replace("(\n", "(").splitlines():
            for part in line.replace("pcall(", "(").split("call(")[1:]:
                words = [word.strip() for word in part.split(",")]
                if words[0].startswith("'TIME'"):
                    continue
                assert words[0].startswith("'"), part
                named = words[1].split("(")[0].rstrip(")").split(")")[0]
                assert named in declared or named.startswith("KEYS["), part
                calls += 1
        assert "%d" not in text.replace("(%-?%d", "").replace("(%d", "").replace("%d+", "").replace("%d*", "")
        assert "tostring" not in text.replace("tostring(value)", "")
    assert calls > 200


@pytest.mark.parametrize(("rule", "positions"), [("larger_leg", "tickets"), ("sum", "net")])
def test_a_wrong_type_at_any_key_is_corrupt_and_writes_nothing(
    client: redis.Redis, order: Make, clock: Any, rule: str, positions: str
) -> None:
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        orders = [order(lots=3, hold=30, order_id=name) for name in ("a", "b", "c", "d")]

        def prepare() -> None:
            client.flushall()
            book.open_account(A, "1", rule=rule, positions=positions, owner_margin_max={"ann": 1})
            book.reserve(A, orders, request_id="r", owner="ann", send="caller")
            book.fill(A, "b", 3, fill_id="f0")
            book.acknowledge(A, "a", "v")
            book.reserve(A, [order(hold=1, order_id="e")], request_id="e")
            book.amend(A, "d", 4, "0.00008", event_id="a")

        def adopt() -> None:
            ask = Ask("new", "SYM", "", "bid", 2, 100, 5, False)
            book._run(Adopt("adopt", A, "adopt", "content", ask, "v9"))  # type: ignore[attr-defined]

        ladder = [order(hold=5, order_id="new"), order("ask", hold=5, order_id="other")]
        operations: dict[str, Callable[[], Any]] = {
            "deposit": lambda: book.deposit(A, 1, request_id="x"),
            "withdraw": lambda: book.withdraw(A, "0.1", request_id="x"),
            "suspend": lambda: book.suspend(A, request_id="x"),
            "abandon": lambda: book.abandon(A, "x"),
            "set_terms": lambda: book.set_terms(A, request_id="x", rule="worst_side"),
            "mark": lambda: book.mark(A, {"SYM": "0.1"}),
            "reserve": lambda: book.reserve(A, ladder, request_id="x", owner="ann", send="outbox"),
            "execute": lambda: book.execute(A, order(hold=5, order_id="new"), request_id="x"),
            "acknowledge": lambda: book.acknowledge(A, "c", "v2"),
            "request_cancel": lambda: book.request_cancel(A, "c"),
            "fill": lambda: book.fill(A, "c", 3, fill_id="x"),
            "cancel": lambda: book.cancel(A, "c"),
            "reject": lambda: book.reject(A, "c"),
            "expire": lambda: book.expire(A, "c"),
            "claim": lambda: book.claim(A, "e", event_id="x"),
            "settle_amend": lambda: book.settle_amend(A, "d", "refused", amend_id="a", venue_id="v3"),
            "open_account": lambda: book.open_account(A, "1", rule="larger_leg"),
            "resolve": lambda: book.resolve(A, "c", OrderState.CANCELLED, evidence="operator"),
            "revalue": lambda: book.revalue(A, "SYM", "0.00001", request_id="x"),
            # The step alone: the read of the journal comes after it.
            "export": lambda: book._run(Export("export", A, "", "", 1)),  # type: ignore[attr-defined]
            "adopt": adopt,
            "amend": lambda: book.amend(A, "c", 5, "0.00009", event_id="x"),
            "close": lambda: book.close(A, "b", event_id="x", realised_pnl=0),
            "sweep": lambda: book.sweep(A),
            "archive": lambda: book.archive(A),
        }
        names = ["portfolio", "symbols", "orders", "due", "aliases", "requests", "journal", "owners", "rates"]
        names += ["outbox", "waiting", "base"]
        all_keys = [f"user_{name}:{{{A}}}" for name in names]
        keys, outbox, base = all_keys[:9], set(all_keys[9:11]), all_keys[11]
        records = [f"user_holdings:{{{A}}}:{name}" for name in ("b", "c", "new", "other", "d", "e")]
        refused: dict[str, set[str]] = {}
        for operation, run in operations.items():
            for key in [*all_keys, *records]:
                prepare()
                if operation == "archive":
                    clock.advance(100_000)
                elif operation == "sweep":
                    clock.advance(100)
                elif operation == "resolve":
                    clock.advance(100)
                    book.sweep(A)
                client.delete(key)
                if key == keys[0] or operation.startswith("x"):
                    client.lpush(key, "x")
                else:
                    client.set(key, "x")
                before = everything(client)
                try:
                    run()
                except StoreCorrupt:
                    refused.setdefault(operation, set()).add(key)
                    assert everything(client) == before, (operation, key)
                else:
                    # Not one of its keys: what is there was left alone.
                    assert client.type(key) in (b"string", b"list"), (operation, key)
        if rule != "larger_leg":
            keys.remove(all_keys[8])  # charges per lot
        assert refused["reserve"] == {*keys, *outbox, records[2], records[3]}
        assert refused["amend"] == {*keys, records[1]} - {keys[4], keys[5]}
        assert refused["archive"] >= {keys[0], keys[1], keys[2], keys[3], keys[4], keys[5], keys[6], base}
        assert refused["execute"] == {*keys, records[2]} - {keys[7]}
        assert refused["fill"] == {*keys, records[1]} - {keys[4], keys[5]}
        assert refused["cancel"] == refused["reject"] == refused["expire"] == refused["fill"]
        assert refused["settle_amend"] == {*keys, records[4]} - {keys[5]}
        assert refused["claim"] >= {keys[0], keys[2], keys[3], keys[6], records[5]}
        assert refused["open_account"] >= {keys[0]}
        if positions == "tickets":
            assert refused["close"] == {*keys, records[0]} - {keys[4], keys[5], keys[7]}
        else:
            assert refused["revalue"] == {keys[0], keys[1], keys[5], keys[6]}
        assert refused["resolve"] == refused["cancel"]
        assert refused["adopt"] == {*keys, records[2]} - {keys[5], keys[7]}
        assert refused["export"] == {keys[0]}
        assert set(refused) == set(operations)
        assert refused["sweep"] >= {keys[0], keys[2], keys[3], keys[6]}
        assert refused["deposit"] == {keys[0], keys[5], keys[6]}
        assert refused["mark"] == {keys[0], keys[1]}


@pytest.mark.parametrize("kind", ["order", "totals", "index", "journal", "status"])
def test_a_wrong_type_that_a_repair_meets_is_corrupt_and_writes_nothing(
    client: redis.Redis, order: Make, clock: Any, kind: str
) -> None:
    # What was read for the repair was whole; the key is another one's by the time it is written.
    names = ["portfolio", "symbols", "orders", "due", "aliases", "requests", "journal", "owners", "rates"]
    keys = [f"user_{name}:{{{A}}}" for name in [*names, "outbox", "waiting", "base"]]
    record = f"user_holdings:{{{A}}}:r:0"
    refused = set()
    for key in [*keys, record]:
        client.flushall()
        with ReservationBook.connect(servers.shared().url, clock=clock) as book:
            book.open_account(A, "1")
            book.reserve(A, [order(lots=3, hold=30)], request_id="r", owner="ann", send="outbox")
            book.acknowledge(A, "r:0", "v")
            client.hincrby(record, "reserved_margin", 1)
            script, before = book._script, list[Any]()  # type: ignore[attr-defined]

            def spoilt(request: Any, told: Any, key: str = key, script: Any = script, before: Any = before) -> bytes:
                client.delete(key)
                client.lpush(key, "x")
                before.append(everything(client))
                return cast(bytes, script(request, told))

            book._script = spoilt  # type: ignore[attr-defined]
            where = "r:0" if kind == "order" else "x"
            request = Repair("repair", A, "x", "", kind, where, "", None, "ann", expected_version=3)
            try:
                assert book._run(request).code is Code.OK
            except StoreCorrupt:
                refused.add(key)
                assert everything(client) == before[0], key
    assert refused >= {keys[0], keys[1], keys[6], *([record] if kind in ("order", "index") else [])}
    # An index that is derived anew replaces what is there.
    assert refused >= ({keys[4]} if kind == "index" else {keys[2], keys[3]})
    assert refused.isdisjoint({keys[2], keys[3], keys[7]} if kind == "index" else {keys[7]})


@pytest.mark.parametrize(("field", "value"), [("side", "x"), ("side", ""), ("leg", "both")])
def test_a_record_with_a_word_that_no_step_writes_is_corrupt_and_moves_nothing(
    client: redis.Redis, order: Make, field: str, value: str
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1", rule="worst_side")
        book.reserve(A, [order(hold=100, order_id="X"), order("ask", hold=60)], request_id="r", send="caller")
        client.hset(f"user_holdings:{{{A}}}:X", field, value)
        before = everything(client)
        for call in (book.audit, lambda name: book.order(name, "X"), lambda name: book.cancel(name, "X")):
            if field == "side" or call is book.audit:
                with pytest.raises(StoreCorrupt):
                    call(A)
        assert everything(client) == before


def test_a_wrong_type_that_an_import_meets_is_corrupt_and_writes_nothing(client: redis.Redis, clock: Any) -> None:
    names = ["portfolio", "symbols", "orders", "due", "requests", "journal"]
    record = f"user_holdings:{{{A}}}:q"
    flat = {"symbol": "EURUSD", "order_type": "BUY", "order_quantity": "0.10", "reserved_margin": "5"}
    holdings = {"q": {**flat, "order_status": "QUEUED", "execution_status": "QUEUED"}}
    figures = {"balance": "100", "used_margin_executed": "0", "used_margin_all": "5"}
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        for key in [*[f"user_{name}:{{{A}}}" for name in names], record]:
            client.flushall()
            client.lpush(key, "x")
            before = everything(client)
            with pytest.raises(StoreCorrupt):
                book.import_flat(A, figures, holdings, lot="0.01")
            assert {name: value for name, value in everything(client).items() if b"{acc}" in name} == before, key


def test_figures_that_are_no_numbers_are_corrupt_and_no_total_is_lowered(client: redis.Redis, order: Make) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="r")

        def trade() -> None:
            book.fill(A, "o", 1, fill_id="f")

        def grow() -> None:
            book.reserve(A, [order(hold=1)], request_id="x")

        for key, field, value in (
            (f"user_portfolio:{{{A}}}", "used_margin_all", "x"),
            (f"user_portfolio:{{{A}}}", "balance", ""),
            (f"user_portfolio:{{{A}}}", "version", "1.5"),
            (f"user_portfolio:{{{A}}}", "schema", "2"),
            (f"user_portfolio:{{{A}}}", "terms", "sum"),
            (f"user_symbols:{{{A}}}", "SYM", "1 2 3"),
            (f"user_holdings:{{{A}}}:o", "lots", "nan"),
            (f"user_holdings:{{{A}}}:o", "filled", "3"),
        ):
            kept = client.hget(key, field)
            client.hset(key, field, value)
            before = everything(client)
            for step in (trade, grow):
                if "holdings" in key and step is grow:
                    continue
                with pytest.raises(StoreCorrupt):
                    step()
                assert everything(client) == before
            if kept is None:
                client.hdel(key, field)
            else:
                client.hset(key, field, kept)
        assert book.audit(A).findings == ()


# --- time-outs ------------------------------------------------------------------------------------------------------


def test_a_paused_server_is_a_timeout_and_the_same_id_settles_it(server: servers.Server, order: Make) -> None:
    with ReservationBook.connect(server.url, timeout_ms=300) as book:
        book.open_account(A, "1")
        issued = time.time_ns() // 1000
        named: dict[str, Any] = {"request_id": "r", "issued_at_us": issued, "not_after_us": issued + 60_000_000}
        server.signal(19)
        began = time.monotonic()
        with pytest.raises(StoreTimeout, match="same id"):
            book.reserve(A, [order(hold=10)], **named)
        assert time.monotonic() - began < 2
        server.signal(18)
        outcome = book.reserve(A, [order(hold=10)], **named)
        # The bytes had left: whether the server ran them before this call or not, there is one hold.
        assert outcome.done
        assert book.reserve(A, [order(hold=10)], **named).code is Code.DUPLICATE
        assert book.account(A).all_units == 10


def test_schedule_14_an_answer_that_is_lost_is_never_applied_twice(client: redis.Redis, order: Make) -> None:
    proxy = servers.Proxy(servers.shared().port)
    with ReservationBook.connect(proxy.url, timeout_ms=200) as book:
        book.open_account(A, "1")
        # A server that does not know the script yet would say so, and that answer would be lost instead.
        book.reserve(A, [order(lots=2, hold=10)], request_id="warm")
        book.fill(A, "nobody", 1, fill_id="warm")
        proxy.answering = False
        issued = time.time_ns() // 1000
        named: dict[str, Any] = {"request_id": "r", "issued_at_us": issued, "not_after_us": issued + 60_000_000}
        with pytest.raises(StoreTimeout):
            book.reserve(A, [order(lots=2, hold=10)], **named)
        proxy.answering = True
        assert book.reserve(A, [order(lots=2, hold=10)], **named).code is Code.DUPLICATE
        proxy.answering = False
        with pytest.raises(StoreTimeout):
            book.fill(A, "r:0", 1, fill_id="f", margin="0.000005")
        proxy.answering = True
        assert book.fill(A, "r:0", 1, fill_id="f", margin="0.000005").code is Code.DUPLICATE
        account = book.account(A)
        assert (account.executed_units, account.all_units, account.version) == (5, 20, 4)
    proxy.close()


@pytest.mark.parametrize("reply", [b":1\r\n", b"$-1\r\n", b"*1\r\n$1\r\nO\r\n"])
def test_an_answer_that_is_no_string_says_that_the_step_may_have_been_done(
    client: redis.Redis, order: Make, reply: bytes
) -> None:
    proxy = servers.Proxy(servers.shared().port)
    with ReservationBook.connect(proxy.url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=1)], request_id="warm")
        proxy.instead = reply
        with pytest.raises(StoreCorrupt, match="may have been done"):
            book.reserve(A, [order(hold=10)], request_id="r")
        proxy.instead = b""
        assert book.reserve(A, [order(hold=10)], request_id="r").code is Code.DUPLICATE
        assert book.account(A).all_units == 11
    proxy.close()


def test_i8_a_request_withheld_past_its_validity_or_past_abandon_has_no_effect(
    client: redis.Redis, order: Make
) -> None:
    proxy = servers.Proxy(servers.shared().port)
    with (
        ReservationBook.connect(proxy.url, timeout_ms=150) as slow,
        ReservationBook.connect(proxy.url, timeout_ms=150) as slower,
        ReservationBook.connect(servers.shared().url) as book,
    ):
        book.open_account(A, "1")
        proxy.flowing.clear()
        issued = time.time_ns() // 1000
        long: dict[str, Any] = {"issued_at_us": issued, "not_after_us": issued + 60_000_000}
        with pytest.raises(StoreTimeout):
            slow.reserve(A, [order(hold=10)], request_id="expires", issued_at_us=issued, not_after_us=issued + 100_000)
        with pytest.raises(StoreTimeout):
            slower.reserve(A, [order(hold=20)], request_id="abandoned", **long)
        assert book.abandon(A, "abandoned").ok
        version = book.account(A).version
        proxy.flowing.set()
        time.sleep(0.2)
        account = book.account(A)
        assert (account.version, account.all_units) == (version, 0)
        late = book.reserve(
            A, [order(hold=10)], request_id="expires", issued_at_us=issued, not_after_us=issued + 100_000
        )
        assert late.code is Code.REQUEST_EXPIRED
        assert book.reserve(A, [order(hold=20)], request_id="abandoned", **long).code is Code.REQUEST_ABANDONED
    proxy.close()


def test_a_server_that_is_gone_is_unavailable_and_one_that_dies_is_a_timeout(
    server: servers.Server, order: Make
) -> None:
    book = ReservationBook.connect(server.url, timeout_ms=500)
    book.open_account(A, "1")
    server.kill()
    with pytest.raises(StoreTimeout):
        book.reserve(A, [order(hold=10)], request_id="r")
    with pytest.raises(StoreUnavailable):
        book.reserve(A, [order(hold=10)], request_id="r")
    with pytest.raises(StoreUnavailable):
        ReservationBook.connect(server.url, timeout_ms=500)
    server.start()
    assert book.reserve(A, [order(hold=10)], request_id="r").code is Code.ACCOUNT_NOT_FOUND
    book.close_book()


def test_a_connection_the_server_closed_while_idle_is_noticed_before_it_is_used(client: redis.Redis) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        for links in book._links._idle().links.values():  # type: ignore[attr-defined]
            for link in links:
                link.used -= 60
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert book.deposit(A, 1, request_id="d").ok


def test_an_interrupt_while_waiting_leaves_no_answer_behind_for_the_next_call(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=1)], request_id="warm")

        class Interrupted:
            def __init__(self, connection: Any) -> None:
                self.sendall = socket_of(connection).sendall

            def recv(self, _: int) -> bytes:
                raise KeyboardInterrupt

        socket_of = redis_links._socket_of
        with monkeypatch.context() as patch:
            patch.setattr(redis_links, "_socket_of", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                book.reserve(A, [order(hold=10)], request_id="r")
        assert book.account(A).all_units == 11
        assert book.reserve(A, [order(hold=10)], request_id="r").code is Code.DUPLICATE


# --- memory, settings, durability -----------------------------------------------------------------------------------


def test_i7_a_server_out_of_memory_refuses_growth_and_takes_facts(server: servers.Server, order: Make) -> None:
    with ReservationBook.connect(server.url) as book, server.client() as client:
        book.open_account(A, "1")
        book.reserve(A, [order(lots=3, hold=30, order_id=name) for name in ("a", "b", "c")], request_id="r")
        client.config_set("maxmemory", 1)
        before = book.account(A)
        for step in (
            lambda: book.reserve(A, [order(hold=1)], request_id="x"),
            lambda: book.execute(A, order(hold=1), request_id="x"),
            lambda: book.withdraw(A, "0.1", request_id="x"),
            lambda: book.open_account("other", 1),
        ):
            with pytest.raises(StoreUnavailable):
                step()
        assert book.account(A) == before
        assert book.cancel(A, "a").ok
        assert book.fill(A, "b", 3, fill_id="f", margin="0.000030").ok
        assert book.claim(A, "c", event_id="w").ok
        assert book.acknowledge(A, "c", "v").ok
        assert book.deposit(A, 1, request_id="d").ok
        assert book.sweep(A).ok
        assert book.account(A).all_units == 60
        client.config_set("maxmemory", 0)
        assert book.reserve(A, [order(hold=1)], request_id="x").ok
        assert book.audit(A).findings == ()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_i7_a_server_whose_disk_is_full_grants_nothing_that_it_could_lose(order: Make, fsync: str) -> None:
    options = ("appendonly yes", f"appendfsync {fsync}", "auto-aof-rewrite-percentage 0")
    with servers.Server(*options, file_bytes_max=64 * 1024) as server:
        with server.client() as client:
            if fsync == "everysec" and not has_waitaof(client):
                pytest.skip("this server cannot say when a step is on disk")
        book = ReservationBook.connect(f"{server.url}?durability=aof", timeout_ms=2_000)
        book.open_account(A, 1)
        told: list[str] = []

        def place(first: int, last: int) -> None:
            for n in range(first, last):
                if book.reserve(A, [order(hold=1)], request_id=str(n)).ok:
                    told.append(f"{n}:0")

        for first in (0, 500):
            with pytest.raises((StoreTimeout, StoreUnavailable)):
                place(first, first + 500)
            assert 10 < len(told) < 400
        book.close_book()
        server.file_bytes_max = None
        if server.process is not None and server.process.poll() is None:
            server.kill()
        server.start()
        with ReservationBook.connect(server.url) as book:
            assert {found.order_id for found in book.orders(A)} >= set(told)
            assert book.audit(A).findings == ()


def test_connect_refuses_a_server_that_may_evict(server: servers.Server) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(StoreUnavailable, match="noeviction"):
            ReservationBook.connect(server.url)


def test_a_node_that_needs_a_wait_when_it_is_met_again_leaves_no_answer_behind(server: servers.Server) -> None:
    with server.client() as client:
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        with ReservationBook.connect(f"{server.url}?durability=aof") as opened:
            book: Any = opened
            assert book.open_account(A, 1).ok
            client.config_set("appendfsync", "everysec")
            book._checked.clear()
            for address in list(book._links._idle().links):
                book._links.drop(address)
            # The first is on its way before the wait is known.
            assert book.suspend(A, request_id="s").ok
            assert book.suspend(A, False, request_id="t").ok
            assert book.account(A).version == 3
            assert book._wait


def test_connect_refuses_a_durability_the_server_does_not_give_and_says_when_it_cannot_look(
    server: servers.Server,
) -> None:
    with pytest.raises(StoreUnavailable, match="appendonly"):
        ReservationBook.connect(f"{server.url}?durability=aof")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "desk", "on", ">pw", "~*", "+@all", "-config")
    url = server.url.replace("://", "://desk:pw@")
    with ReservationBook.connect(url) as book:
        assert book.durability == "memory (unverified)"  # type: ignore[attr-defined]
    with ReservationBook.connect(server.url) as book:
        assert book.durability == "memory (verified)"  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="invalid username-password"):
        ReservationBook.connect(server.url.replace("://", "://desk:wrong@"))


def test_durability_aof_waits_for_the_disk_where_the_server_does_not_do_so_by_itself(order: Make) -> None:
    with (
        servers.Server("appendonly yes", "appendfsync everysec") as server,
        server.client() as client,
    ):
        if not has_waitaof(client):
            with pytest.raises(StoreUnavailable, match="WAITAOF"):
                ReservationBook.connect(f"{server.url}?durability=aof")
            return
        book = ReservationBook.connect(f"{server.url}?durability=aof")
        book.open_account(A, "1")
        assert book.reserve(A, [order(hold=10)], request_id="r").ok
        server.kill()
        server.start()
        with ReservationBook.connect(f"{server.url}?durability=aof") as again:
            assert again.reserve(A, [order(hold=10)], request_id="r").code is Code.DUPLICATE
        book.close_book()
        with server.client() as other:
            other.config_set("appendfsync", "no")
        with (
            ReservationBook.connect(f"{server.url}?durability=aof", timeout_ms=200) as unmet,
            pytest.raises(StoreTimeout, match="aof"),
        ):
            unmet.deposit(A, 1, request_id="d")


def test_durability_replicated_is_a_timeout_until_a_replica_has_it_and_a_repeat_waits_again(
    server: servers.Server, order: Make
) -> None:
    book = ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=200)
    issued = time.time_ns() // 1000
    named: dict[str, Any] = {"issued_at_us": issued, "not_after_us": issued + 60_000_000}
    with pytest.raises(StoreTimeout, match="replicated"):
        book.open_account(A, 1, request_id="open", **named)
    # Done on the master; a repeat on a fresh connection has written nothing there and must wait all the same.
    book.close_book()
    book = ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=200)
    with pytest.raises(StoreTimeout, match="replicated"):
        book.open_account(A, 1, request_id="open", **named)
    with servers.Server(f"replicaof 127.0.0.1 {server.port}") as replica, replica.client() as client:
        until = time.monotonic() + 20
        while client.info("replication")["master_link_status"] != "up" and time.monotonic() < until:
            time.sleep(0.02)
        book.close_book()
        book = ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=10_000)
        assert book.open_account(A, 1, request_id="open", **named).code is Code.DUPLICATE
        assert book.reserve(A, [order(hold=10)], request_id="r").ok
        assert client.hget(f"user_portfolio:{{{A}}}", "used_margin_all") == b"10"
        with (
            ReservationBook.connect(replica.url, timeout_ms=200) as other,
            pytest.raises(StoreUnavailable, match=r"[Rr]ead.?only"),
        ):
            other.deposit(A, 1, request_id="d")
    book.close_book()


def test_durability_replicated_without_a_replica_still_lets_facts_in_and_calls_nothing_done_that_was_not(
    server: servers.Server, order: Make
) -> None:
    with ReservationBook.connect(server.url) as plain:
        plain.open_account(A, 1)
        plain.reserve(A, [order(hold=10, lots=5)], request_id="r")
        plain.acknowledge(A, "r:0", venue_id="at the venue")
        with ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=100) as book:
            # The name has to be looked up first, which writes nothing that a replica could have.
            with pytest.raises(StoreTimeout, match="done, but"):
                book.fill(A, "at the venue", 2, fill_id="f", margin=0)
            assert plain.order(A, "r:0").filled == 2
            with pytest.raises(StoreTimeout, match="answered by what"):
                book.deposit("nobody", 1, request_id="d")


def test_a_script_is_loaded_however_long_the_node_waited_to_say_that_it_has_none(server: servers.Server) -> None:
    with (
        ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=100) as book,
        server.client() as client,
    ):
        # It ends a wait when its timer goes off, once a second: later than the book's whole time-out.
        client.config_set("hz", 1)
        for n in range(2):
            client.script_flush()
            with pytest.raises(StoreTimeout, match="done, but"):
                book.open_account(f"a{n}", 1, not_after_us=time.time_ns() // 1000 + 60_000_000)
        with ReservationBook.connect(server.url) as plain:
            assert plain.accounts() == ("a0", "a1")


def test_an_abandoned_id_is_final_only_once_a_replica_knows_it_however_often_it_is_asked(
    server: servers.Server,
) -> None:
    with (
        ReservationBook.connect(server.url) as plain,
        servers.Server(f"replicaof 127.0.0.1 {server.port}") as replica,
        replica.client() as client,
    ):
        plain.open_account(A, 1)
        servers.Cluster.until(lambda: client.info("replication")["master_link_status"] == "up")
        with ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=5_000) as book:
            assert book.deposit(A, 1, request_id="d").ok
        replica.signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                # Each time by a connection that has written nothing yet.
                with (
                    ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=100) as book,
                    pytest.raises(StoreTimeout, match="replicated"),
                ):
                    book.abandon(A, "r")
        finally:
            replica.signal(signal.SIGCONT)
        with ReservationBook.connect(f"{server.url}?durability=replicated", timeout_ms=5_000) as book:
            assert book.abandon(A, "r").code is Code.DUPLICATE


def test_the_servers_clock_judges_a_request_however_wrong_the_callers_is(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600 * 10**9)
    with ReservationBook.connect(servers.shared().url) as book:
        assert book.open_account(A, "1").ok
        assert book.reserve(A, [order(hold=10)], request_id="r").ok
        made = book.orders(A)[0].created_us
        assert abs(made - real() // 1000) < 10_000_000


# --- URL, processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://", "given with a host"),
        ("unix://:geheim@host/path", "unix:///path"),
        ("redis+unix://", "unix:///path"),
        ("unix:///path?db=x", "database number"),
        ("unix://:geheim@/path?nonsense=1", "free of options but prefix, durability and db"),
        ("redis://:geheim@host?nonsense=1", "free of options"),
        ("redis://:geheim@host?ca=x", "free of options but prefix and durability, got ca"),
        ("rediss://:geheim@host?ca=/no/such/file", "a file of certificates as ca"),
        ("rediss://:geheim@host?cert=x", "prefix, durability and ca"),
        ("redis://:geheim@host?durability=full", "durability"),
        ("redis://:geheim@host?prefix=a%7Bb", "braces"),
        ("redis://:geheim@host/x", "database number"),
        ("redis+cluster://:geheim@host/3", "database number"),
        ("redis+sentinel://:geheim@host", "service"),
        ("redis://:geheim@one,two", "one host"),
        ("redis://:geheim@[::1", "a URL, got redis://"),
        ("redis://:geheim@[bad]", "a URL, got redis://"),
        ("redis://:geheim@\u2100.com", "a URL, got redis://"),
        ("redis://:geheim@a..b", "a name that a host can have, got 'a..b'"),
        (f"redis+sentinel://:geheim@host,{'a' * 70}/desk", "a name that a host can have"),
        ("redis+cluster://:geheim@host:0", "a port from 1 to 65535"),
        ("redis://:geheim@host:65536", "a port from 1 to 65535"),
        (f"redis://:geheim@host:{'9' * 5000}", "a port from 1 to 65535"),
        (f"redis://:geheim@host/{'9' * 5000}", "database number"),
        (f"rediss://:geheim@host?ca={'x' * 5000}", "a file of certificates as ca"),
        ("valkey://:geheim@host", "'memory:'"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_never_the_password(url: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong) as caught:
        ReservationBook.connect(url)
    assert "geheim" not in str(caught.value)


def test_a_prefix_keeps_two_books_on_one_server_apart(client: redis.Redis) -> None:
    url = servers.shared().url
    with ReservationBook.connect(f"{url}?prefix=a:") as one, ReservationBook.connect(f"{url}?prefix=b:") as two:
        one.open_account(A, 1)
        two.open_account(A, 2)
        two.open_account("only*[two]", 2)
        assert (one.accounts(), two.accounts()) == ((A,), (A, "only*[two]"))
        assert (one.account(A).balance, two.account(A).balance) == (1, 2)
        assert two.audit("only*[two]").findings == ()


def test_an_account_id_that_would_leave_its_slot_is_refused(client: redis.Redis) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        for name in ("a{b}", "a b", "a\nb", ""):
            with pytest.raises(InputError):
                book.open_account(name, 1)
    assert client.dbsize() == 0


def test_after_a_fork_both_processes_go_on_with_connections_of_their_own(client: redis.Redis, order: Make) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")

        def granted(who: str) -> bool:
            return sum(book.reserve(A, [order(hold=1)], request_id=f"{who}{n}").ok for n in range(20)) == 20

        child = forked(lambda: granted("c"))
        assert granted("p")
        assert is_true_of(child)
        assert book.account(A).all_units == 40


def test_the_stored_record_has_the_names_of_the_worked_example(client: redis.Redis, order: Make) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account("live:6", "10000")
        book.execute("live:6", order(), request_id="x", margin="1250.50")
        book.reserve("live:6", [order(order_id="ORDER")], request_id="r", holds=["500.00"], order_type="market")
        key = "user_holdings:{live:6}:ORDER"
        held = {"order_status": "QUEUED", "execution_status": "QUEUED", "reserved_margin": "500000000"}
        names = ("order_status", "execution_status", "reserved_margin", "margin")

        def stored() -> dict[str, str]:
            return {k.decode(): v.decode() for k, v in client.hgetall(key).items() if k.decode() in names}

        portfolio = client.hmget("user_portfolio:{live:6}", "used_margin_executed", "used_margin_all")
        assert (stored(), portfolio) == (held, [b"1250500000", b"1750500000"])
        book.fill("live:6", "ORDER", 1, fill_id="f", margin="500.00")
        portfolio = client.hmget("user_portfolio:{live:6}", "used_margin_executed", "used_margin_all")
        assert stored() == {"order_status": "OPEN", "execution_status": "EXECUTED"}
        assert portfolio == [b"1750500000", b"1750500000"]
        record = json.loads(client.xrange("user_journal:{live:6}", "4-0", "4-0")[0][1][b"r"])
        assert record[:6] == [4, record[1], "fill", "f", "ORDER", "OK"]


def test_i14_a_record_without_its_index_entry_and_an_entry_without_record_are_found(
    client: redis.Redis, order: Make
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=10, order_id="o"), order(hold=1, order_id="p")], request_id="r")
        score = client.zscore(f"user_orders:{{{A}}}", "o")
        client.zrem(f"user_orders:{{{A}}}", "o")
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}
        client.zadd(f"user_orders:{{{A}}}", {"o": score})
        assert book.audit(A).ok
        client.zadd(f"user_orders:{{{A}}}", {"ghost": 7})
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}
        client.zrem(f"user_orders:{{{A}}}", "ghost")
        client.delete(f"user_holdings:{{{A}}}:o")
        kinds = {finding.kind for finding in book.audit(A).findings}
        assert {"index", "live_orders", "symbol"} <= kinds
