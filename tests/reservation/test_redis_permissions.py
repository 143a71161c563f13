"""A user of the server who may not run everything: no step is ever left half done."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests import servers

from equipoise import reservation
from equipoise.errors import StoreCorrupt, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis_scripts import COMMANDS

Make = Callable[..., Order]
A = "acc"


@pytest.fixture(scope="module")
def own() -> Iterator[servers.Server]:
    """A server with users of its own."""
    with servers.Server() as server:
        yield server


@pytest.fixture
def admin(own: servers.Server) -> Iterator[redis.Redis]:
    with own.client() as client:
        client.flushall()
        yield client


def permit(admin: redis.Redis, own: servers.Server, *rules: str) -> str:
    """Give the user these rules; the URL of a book of that user."""
    admin.execute_command("ACL", "SETUSER", "ann", "reset", "on", ">pw", *rules)
    return f"redis://ann:pw@127.0.0.1:{own.port}"


def everything(admin: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: admin.dump(key) for key in admin.scan_iter(count=10_000)}


def steps_run(admin: redis.Redis) -> int:
    return int(admin.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def prepare(own: servers.Server, order: Make) -> None:
    """An account with an order of its outbox at the venue's door."""
    with ReservationBook.connect(own.url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(lots=3, hold=30)], request_id="r", send="outbox")
        book.claim(A, "r:0", event_id="c")
        book.acknowledge(A, "nobody", "v")  # the server knows the script from here on


def test_the_commands_of_the_scripts_are_all_known() -> None:
    texts = [path.read_text() for path in (Path(reservation.__file__).parent / "lua").glob("*.lua")]
    called = {name for text in texts for name in re.findall(r"call\(\s*([^\s,)]+)", text)}
    assert called - {"reserve"} == {f"'{name}'" for name in COMMANDS}  # pcall(reserve) calls no command
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("name", COMMANDS)
def test_a_user_who_may_not_run_a_command_of_the_scripts_is_refused_at_connect(
    own: servers.Server, admin: redis.Redis, order: Make, name: str
) -> None:
    prepare(own, order)
    before = everything(admin)
    url = permit(admin, own, "~*", "+@all", f"-{name}")
    with pytest.raises(StoreUnavailable, match=rf"(?i)\b{name}\b"), ReservationBook.connect(url) as book:
        book.acknowledge(A, "r:0", "v")
    assert everything(admin) == before


def test_an_asynchronous_book_is_refused_to_a_user_who_may_not_run_everything(
    own: servers.Server, admin: redis.Redis, order: Make
) -> None:
    prepare(own, order)
    before = everything(admin)
    url = permit(admin, own, "~*", "+@all", "-xack", "-hdel")

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as book:
            await book.acknowledge(A, "r:0", "v")

    with pytest.raises(StoreUnavailable, match="HDEL, XACK"):
        asyncio.run(main())
    assert everything(admin) == before


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (("+@all", "-@write"), "HSET"),
        (("+@all", "-xadd", "-hset"), "HSET, XADD"),
        (("+@all", "-evalsha"), "EVALSHA"),
    ],
)
def test_a_user_who_may_write_nothing_reads_and_is_refused_every_step(
    own: servers.Server, admin: redis.Redis, order: Make, rules: tuple[str, ...], missing: str
) -> None:
    prepare(own, order)
    before = everything(admin)
    url = permit(admin, own, "~*", *rules)
    with ReservationBook.connect(url) as book:
        assert book.account(A).all_units == 30
        assert [found.order_id for found in book.orders(A)] == ["r:0"]
        steps: list[Callable[[], Any]] = [
            lambda: book.deposit(A, 1, request_id="d"),
            lambda: book.reserve(A, [order(hold=1)], request_id="r2"),
            lambda: book.acknowledge(A, "r:0", "v"),
            lambda: book.mark(A, {"SYM": 1}),
            lambda: book.sweep(A),
        ]
        for step in steps * 2:
            with pytest.raises(StoreUnavailable, match=missing):
                step()
        assert book.account(A).all_units == 30

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as awaited:
            assert (await awaited.account(A)).all_units == 30
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match=missing):
                    await awaited.deposit(A, 1, request_id="d")

    asyncio.run(main())
    assert everything(admin) == before


def test_a_user_who_may_not_load_scripts_is_refused_at_connect(own: servers.Server, admin: redis.Redis) -> None:
    admin.script_flush()
    with pytest.raises(StoreUnavailable, match="SCRIPT LOAD"):
        ReservationBook.connect(permit(admin, own, "~*", "+@all", "-script"))


def test_a_user_of_some_keys_only_has_a_book_there_and_writes_nothing_elsewhere(
    own: servers.Server, admin: redis.Redis, order: Make
) -> None:
    url = permit(admin, own, "~mine:*", "+@all")
    with ReservationBook.connect(f"{url}?prefix=mine:") as book:
        assert book.open_account(A, "1").ok
        assert book.reserve(A, [order(hold=1)], request_id="r", send="outbox").ok
        assert book.cancel(A, "r:0").ok
        assert book.audit(A).findings == ()
    prepare(own, order)
    before = everything(admin)
    # Of one account only, beside the lists of accounts; and one that may only be read.
    for rules in (("~user_*:{other}*",), (f"~user_portfolio:{{{A}}}", f"%R~user_*:{{{A}}}*")):
        url = permit(admin, own, "~user_accounts:*", "~user_hints:*", *rules, "+@all")
        with ReservationBook.connect(url) as book:
            with pytest.raises(StoreUnavailable):
                book.acknowledge(A, "r:0", "v")
            assert everything(admin) == before
    with ReservationBook.connect(permit(admin, own, "~user_accounts:*", "~user_*:{other}*", "+@all")) as book:
        assert book.open_account("other", 1).ok
        assert book.deposit("other", 1, request_id="d").ok


def test_permissions_are_asked_once_a_connection_and_not_with_a_step(
    own: servers.Server, admin: redis.Redis, order: Make
) -> None:
    prepare(own, order)
    with ReservationBook.connect(own.url) as book:
        book.reserve(A, [order(hold=1)], request_id="warm")
        began = steps_run(admin)
        for n in range(20):
            book.reserve(A, [order(hold=1)], request_id=f"r{n}")
        assert steps_run(admin) == began + 20


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("taken", ["xadd", "xack"])
def test_a_step_that_meets_a_permission_taken_away_says_so_and_no_other_step_begins(
    own: servers.Server, admin: redis.Redis, order: Make, taken: str, *, awaited: bool
) -> None:
    prepare(own, order)
    url = permit(admin, own, "~*", "+@all")

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as book:
            await book.account(A)
            assert (await book.claim(A, "r:0", event_id="c")).code is Code.DUPLICATE  # a line is there
            permit(admin, own, "~*", "+@all", f"-{taken}")
            began = steps_run(admin)
            with pytest.raises(StoreCorrupt, match="in part"):
                await book.acknowledge(A, "r:0", "v")
            assert steps_run(admin) == began + 1
            left = everything(admin)
            with pytest.raises(StoreUnavailable, match=rf"\b{taken.upper()}\b"):
                await book.deposit(A, 1, request_id="d")
            assert everything(admin) == left

    def call() -> None:
        with ReservationBook.connect(url) as book:
            book.claim(A, "r:0", event_id="c")
            permit(admin, own, "~*", "+@all", f"-{taken}")
            with pytest.raises(StoreCorrupt, match="in part"):
                book.acknowledge(A, "r:0", "v")
            left = everything(admin)
            with pytest.raises(StoreUnavailable, match=rf"\b{taken.upper()}\b"):
                book.deposit(A, 1, request_id="d")
            assert everything(admin) == left

    if awaited:
        asyncio.run(main())
    else:
        call()


def test_a_step_waits_for_a_server_that_cannot_say_yet_what_the_user_may_do(order: Make) -> None:
    with servers.Server("enable-debug-command yes") as server, server.client() as admin:
        prepare(server, order)
        for n in range(400):
            admin.set(f"k{n}", "x" * 20_000)
        admin.config_set("key-load-delay", 4_000)
        admin.config_set("loading-process-events-interval-bytes", 1_024)
        loading = threading.Thread(target=lambda: server.client().execute_command("DEBUG", "RELOAD"))
        loading.start()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                admin.get("k0")
            except redis.BusyLoadingError:
                break
        with ReservationBook.connect(server.url) as book:
            assert book.claim(A, "r:0", event_id="c").code is Code.DUPLICATE
        loading.join()
