"""Reservations that wait for one another go to a Redis server as one command, each as a step of its own."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from tests import servers
from tests.reservation.test_redis_same import TERMS, A, History

from equipoise.errors import InputError, StoreCorrupt, StoreTimeout, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis_links import command
from equipoise.reservation.redis_scripts import SCRIPTS

Make = Callable[..., Order]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened
        # The transports say that they are closed in a later turn.
        opened.run(asyncio.sleep(0))


async def together(book: AsyncReservationBook, calls: list[Coroutine[Any, Any, Outcome]]) -> list[Any]:
    """The answers, errors among them, of calls that are made in one turn while the connection waits for an answer."""
    await book.account(A)
    await book.abandon(A, "to have a connection")
    (line,) = book._lines.values()  # type: ignore[attr-defined]
    waiting = line.ask("", command("PING"), 1)
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert await waiting == [b"PONG"]
    return found


def of_the_account(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Every key of the account, with what it holds."""
    found = {key: client.dump(key) for key in client.scan_iter(f"user_*:{{{A}}}*", count=10_000)}
    assert len(found) > 5
    return found


def answers(
    runner: asyncio.Runner,
    calls: Callable[[AsyncReservationBook], list[Coroutine[Any, Any, Outcome]]],
    balance: object = 1,
) -> list[Any]:
    """The same on the account that every test has, opened for it."""

    async def main() -> list[Any]:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, balance)
            await book.cancel(A, "nobody")  # so that the server knows the script
            return await together(book, calls(book))

    return list(runner.run(main()))


class Joined(History):
    """A random history, step by step in memory; on the server, reservations that follow one another as one command."""

    def __init__(
        self,
        books: tuple[ReservationBook, ReservationBook, AsyncReservationBook],
        runner: asyncio.Runner,
        clock: Any,
        seed: int,
        terms: dict[str, Any],
    ) -> None:
        memory, self.hashes, self.awaited = books
        super().__init__([memory], clock, seed, terms)
        self.runner = runner
        self.waiting: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
        self.sizes = random.Random(seed)
        self.size = 1
        self.joined = 0

    def step(self) -> None:
        # Mostly reservations, and some of them again.
        if self.rng.random() < 0.6:
            op, values, named = self.reserve(self.rng, self.fresh)
            past = [asked for asked in self.asked if asked[0] == "reserve"]
            if past and self.rng.random() < 0.2:
                op, values, named = self.rng.choice(past[-6:])
                if self.rng.random() < 0.3:
                    named = {**named, "owner": "eve"}
            self.ids += self.ask(op, *values, **named).granted
            self.asked.append((op, values, named))
        else:
            super().step()

    def ask(self, op: str, *values: Any, **named: Any) -> Outcome:
        answer = super().ask(op, *values, **named)
        if op == "reserve":
            self.at_us = self.clock()
            self.waiting.append((values, named, answer))
            if len(self.waiting) >= self.size:
                self.run_group()
            return answer
        self.run_group()
        assert getattr(self.hashes, op)(A, *values, **named) == answer, (op, values, named)
        return answer

    def run_group(self) -> None:
        """What has been asked, as of when memory has run it: the clock moves before other steps only."""
        if not self.waiting:
            return
        now_us, self.clock.now_us = self.clock.now_us, self.at_us
        calls = [self.awaited.reserve(A, *values, **named) for values, named, _ in self.waiting]

        async def main() -> list[Any]:
            (line,) = self.awaited._lines.values()  # type: ignore[attr-defined]
            line.ask("", command("PING"), 1)
            return await asyncio.gather(*calls)

        for found, (values, named, answer) in zip(self.runner.run(main()), self.waiting, strict=True):
            assert found == answer, (values, named)
        self.clock.now_us = now_us
        self.joined += len(self.waiting)
        self.waiting.clear()
        self.size = self.sizes.randint(1, 12)

    def compare(self) -> None:
        self.run_group()
        self.books.append(self.hashes)
        super().compare()
        self.books.pop()


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(str(value) for value in terms.values())[:30])
@pytest.mark.parametrize("seed", range(2))
def test_i18_reservations_that_share_a_command_answer_and_keep_the_same_as_one_by_one(
    client: redis.Redis, runner: asyncio.Runner, clock: Any, terms: dict[str, Any], seed: int
) -> None:
    url = f"{servers.shared().url}?prefix=desk:"
    with (
        ReservationBook.connect("memory:", clock=clock) as memory,
        ReservationBook.connect(url, clock=clock) as hashes,
    ):
        awaited = runner.run(AsyncReservationBook.connect(url, clock=clock))
        history = Joined((memory, hashes, awaited), runner, clock, seed, terms)
        assert history.ask("open_account", balance="0.000900", **terms).ok
        runner.run(awaited.abandon("nobody", "to have a connection"))
        client.config_resetstat()
        for number in range(250):
            history.step()
            if number % 50 == 0:
                history.compare()
        history.compare()
        assert history.joined > 50
        assert hashes.audit(A).findings == memory.audit(A).findings == ()
        runner.run(awaited.close_book())


@pytest.mark.parametrize("where", ["request_id", "order_id", "symbol", "owner"])
@pytest.mark.parametrize("mark", ['"', "\\"])
def test_a_word_that_json_writes_otherwise_is_kept_as_it_is(
    client: redis.Redis, runner: asyncio.Runner, clock: Any, order: Make, where: str, mark: str
) -> None:
    said = [{"request_id": f"r{n}", "order_id": f"o{n}", "symbol": "SYM", "owner": "ann"} for n in range(3)]
    for words in said[::2]:
        words[where] += mark

    def calls(book: Any) -> list[Any]:
        # One by itself, then two that share a command.
        made = []
        for words in said:
            ladder = [order(hold=1, symbol=words["symbol"], order_id=words["order_id"]), order(hold=2)]
            made.append(partial(book.reserve, A, ladder, request_id=words["request_id"], owner=words["owner"]))
        return made

    async def main() -> list[Outcome]:
        async with await AsyncReservationBook.connect(servers.shared().url, clock=clock) as book:
            await book.open_account(A, 1)
            first, *others = calls(book)
            found = [await first(), *await together(book, [call() for call in others])]
            assert (await book.audit(A)).ok
            return found

    with ReservationBook.connect("memory:", clock=clock) as memory:
        memory.open_account(A, 1)
        first, *others = calls(memory)
        expected = [first()]
        memory.abandon(A, "to have a connection")
        expected += [call() for call in others]
        assert runner.run(main()) == expected
        assert all(outcome.ok for outcome in expected)
        with ReservationBook.connect(servers.shared().url, clock=clock) as hashes:
            assert hashes.history(A) == memory.history(A)
            assert hashes.orders(A) == memory.orders(A)


def scripts_run(client: redis.Redis) -> int:
    """How many scripts the server has run since its statistics were reset."""
    return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_reservations_of_one_turn_and_account_are_one_command(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            for account in (A, "other"):
                await book.open_account(account, 1)
            await together(book, [book.reserve(A, [order(hold=1)], request_id="to have the script")])
            client.config_resetstat()
            calls = [book.reserve(A, [order(hold=1)] * 2, request_id=f"a{n}") for n in range(10)]
            calls += [book.reserve("other", [order(hold=1)], request_id=f"b{n}") for n in range(10)]
            found = await together(book, calls)
            assert [(one.code, one.version) for one in found[:10]] == [(Code.OK, n + 4) for n in range(10)]
            assert [(one.code, one.version) for one in found[10:]] == [(Code.OK, n + 2) for n in range(10)]
            assert scripts_run(client) == 2 + 1  # and `together` asks for one itself
            # Not more orders in one than keep the server busy for a moment.
            client.config_resetstat()
            await together(book, [book.reserve(A, [order(hold=1)] * 30, request_id=f"c{n}") for n in range(5)])
            assert scripts_run(client) == 3 + 1

    runner.run(main())


def test_a_step_of_the_account_between_two_reservations_stays_between_them(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    found = answers(
        runner,
        lambda book: [
            book.reserve(A, [order(hold=10)], request_id="a"),
            book.reserve(A, [order(hold=10)], request_id="b"),
            book.cancel(A, "a:0"),
            book.reserve(A, [order(hold=10)], request_id="c"),
            book.reserve(A, [order(hold=10)], request_id="c"),
        ],
        balance="0.00001",
    )
    codes = [outcome.code for outcome in found]
    assert codes == [Code.OK, Code.INSUFFICIENT_MARGIN, Code.OK, Code.OK, Code.DUPLICATE]


def test_nobody_s_account_is_said_to_each(client: redis.Redis, runner: asyncio.Runner, order: Make) -> None:
    found = answers(
        runner, lambda book: [book.reserve("nobody", [order(hold=1)], request_id=f"r{n}") for n in range(3)]
    )
    assert [outcome.code for outcome in found] == [Code.ACCOUNT_NOT_FOUND] * 3
    assert not list(client.scan_iter("user_*{nobody}*"))


def test_an_id_used_twice_in_one_command_is_used_twice(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    asked = (("a", 1), ("b", 1), ("a", 2), ("a", 1))
    first, second, third, fourth = answers(
        runner,
        lambda book: [book.reserve(A, [order(hold=hold, order_id="o")], request_id=name) for name, hold in asked],
    )
    assert [first.code, second.code, third.code] == [Code.OK, Code.ORDER_EXISTS, Code.REQUEST_CONFLICT]
    assert fourth.code is Code.DUPLICATE
    assert fourth.orders == first.orders


def test_a_venue_s_id_of_an_order_is_not_used_again_by_one_of_several(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    async def main() -> list[Any]:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1, order_id="o")], request_id="first")
            await book.acknowledge(A, "o", "at the venue")
            names = ("n", "at the venue", "m", "o")
            found = await together(
                book, [book.reserve(A, [order(hold=1, order_id=name)], request_id=f"r {name}") for name in names]
            )
            assert (await book.audit(A)).findings == ()
            return found

    codes = [outcome.code for outcome in runner.run(main())]
    assert codes == [Code.OK, Code.ORDER_EXISTS, Code.OK, Code.ORDER_EXISTS]


def test_an_archived_id_whose_entry_is_open_is_not_used_again_by_one_of_several(
    client: redis.Redis, runner: asyncio.Runner, order: Make, clock: Any
) -> None:
    async def main() -> list[Any]:
        async with await AsyncReservationBook.connect(servers.shared().url, clock=clock) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1, order_id="o")], request_id="old", send="outbox")
            clock.advance(90_000)
            assert (await book.archive(A)).ok
            names = ("new", "old", "newer")
            found = await together(book, [book.reserve(A, [order(hold=1)], request_id=n, send="outbox") for n in names])
            assert [entry.request_id for entry in await book.outbox(A)] == ["old", "new", "newer"]
            assert [entry.open_orders for entry in await book.outbox(A)] == [1, 1, 1]
            assert (await book.audit(A)).findings == ()
            return found

    assert [outcome.code for outcome in runner.run(main())] == [Code.OK, Code.REQUEST_CONFLICT, Code.OK]


def test_a_record_that_cannot_be_read_fails_its_own_reservation_only(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    async def main() -> list[Any]:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, 1)
            client.set(f"user_holdings:{{{A}}}:torn", "no hash")
            client.hset(f"user_symbols:{{{A}}}", "TORN", "no row")
            found = await together(
                book,
                [
                    book.reserve(A, [order(hold=1)], request_id="a"),
                    book.reserve(A, [order(hold=1, order_id="torn")], request_id="b"),
                    book.reserve(A, [order(hold=1)], request_id="c"),
                    book.reserve(A, [order(hold=1), order(hold=1, symbol="TORN")], request_id="d"),
                    book.reserve(A, [order(hold=1)], request_id="e"),
                ],
            )
            client.delete(f"user_holdings:{{{A}}}:torn")
            client.hdel(f"user_symbols:{{{A}}}", "TORN")
            assert (await book.audit(A)).findings == ()
            assert (await book.account(A)).all_units == 3
            return found

    first, torn, third, row, fifth = runner.run(main())
    assert [first.version, third.version, fifth.version] == [3, 4, 5]
    assert isinstance(torn, StoreCorrupt)
    assert isinstance(row, StoreCorrupt)


@pytest.mark.parametrize("terms", [{"rule": "sum"}, {"rule": "larger_leg", "positions": "tickets"}])
def test_a_wrong_type_at_any_key_of_a_command_is_corrupt_and_writes_nothing(
    client: redis.Redis, runner: asyncio.Runner, order: Make, terms: dict[str, Any]
) -> None:
    names = ["portfolio", "symbols", "orders", "due", "aliases", "requests", "journal", "owners", "rates", "outbox"]
    keys = [f"user_{name}:{{{A}}}" for name in [*names, "waiting"]]

    async def main() -> dict[str, list[Any]]:
        found = {}
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            for key in keys:
                client.flushall()
                await book.open_account(A, 1, owner_margin_max={"ann": 1}, **terms)
                await book.reserve(A, [order(hold=1)], request_id="first", owner="ann", send="outbox")
                await book.abandon(A, "to have a connection")
                client.delete(key)
                client.set(key, "of another kind")
                before = of_the_account(client)
                (line,) = book._lines.values()  # type: ignore[attr-defined]
                line.ask("", command("PING"), 1)
                calls = [
                    book.reserve(A, [order(hold=1)], request_id=f"r{n}", owner="ann", send="outbox") for n in range(3)
                ]
                found[key] = await asyncio.gather(*calls, return_exceptions=True)
                if not all(isinstance(answer, Outcome) for answer in found[key]):
                    assert of_the_account(client) == before, key
        return found

    for key, answers in runner.run(main()).items():
        for answer in answers:
            # Charges per lot are looked at under one rule only.
            if "rates" in key and terms["rule"] == "sum":
                assert answer.ok
            else:
                assert isinstance(answer, StoreCorrupt), (key, answer)


@pytest.mark.parametrize("torn", ["", "x", "1.5", "nan", "1e400", "7-"])
def test_a_figure_of_the_account_that_is_none_is_corrupt_and_writes_nothing(
    client: redis.Redis, runner: asyncio.Runner, order: Make, torn: str
) -> None:
    names = ["version", "balance", "open_pnl", "used_margin_executed", "used_margin_all", "live_orders"]
    names += ["watermark_us", "records", "digest"]

    async def main() -> None:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            for name in names:
                client.flushall()
                await book.open_account(A, 1)
                await book.reserve(A, [order(hold=1)], request_id="first")
                client.hset(f"user_portfolio:{{{A}}}", name, torn)
                before = of_the_account(client)
                (line,) = book._lines.values()  # type: ignore[attr-defined]
                line.ask("", command("PING"), 1)
                calls = [book.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(3)]
                alone = book.cancel(A, "first:0")
                found = await asyncio.gather(*calls, alone, return_exceptions=True)
                assert [type(one) for one in found] == [StoreCorrupt] * 4, name
                assert of_the_account(client) == before, name

    runner.run(main())


def test_scripts_that_the_server_has_forgotten_are_sent_again(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, 1)
            await together(book, [book.reserve(A, [order(hold=1)], request_id=f"a{n}") for n in range(5)])
            client.script_flush()
            found = await together(book, [book.reserve(A, [order(hold=1)], request_id=f"b{n}") for n in range(5)])
            assert [one.code for one in found] == [Code.OK] * 5
            assert client.script_exists(SCRIPTS["reserves"].sha) == [True]
            client.config_resetstat()
            await together(book, [book.reserve(A, [order(hold=1)], request_id=f"c{n}") for n in range(5)])
            assert scripts_run(client) == 2

    runner.run(main())


def test_a_server_without_memory_refuses_all_and_grants_none(runner: asyncio.Runner, order: Make) -> None:
    async def main(client: redis.Redis, url: str) -> list[Any]:
        async with await AsyncReservationBook.connect(url) as book:
            await book.open_account(A, 1)
            await together(book, [book.reserve(A, [order(hold=1)], request_id="first")])
            client.config_set("maxmemory", 1)
            (line,) = book._lines.values()  # type: ignore[attr-defined]
            line.ask("", command("PING"), 1)
            calls = [book.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(5)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            client.config_set("maxmemory", 0)
            assert (await book.account(A)).all_units == 1
            assert (await book.audit(A)).findings == ()
            return found

    with servers.Server() as server, server.client() as client:
        found = runner.run(main(client, server.url))
    assert [type(one) for one in found] == [StoreUnavailable] * 5


def test_silence_is_an_unknown_answer_for_each_and_the_ids_settle_it(runner: asyncio.Runner, order: Make) -> None:
    async def main(server: servers.Server) -> None:
        async with await AsyncReservationBook.connect(server.url, timeout_ms=300) as book:
            await book.open_account(A, 1)
            await together(book, [book.reserve(A, [order(hold=1)], request_id="first")])
            server.process.send_signal(signal.SIGSTOP)
            (line,) = book._lines.values()  # type: ignore[attr-defined]
            line.ask("", command("PING"), 1).add_done_callback(lambda future: future.exception())
            calls = [book.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(5)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in found] == [StoreTimeout] * 5
            server.process.send_signal(signal.SIGCONT)
            # What was on its way is done, or too late by then; either way one answer stands for each id.
            again = [await book.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(5)]
            held = 1 + sum(one.ok for one in again)
            assert (await book.account(A)).all_units == held
            assert (await book.audit(A)).findings == ()

    with servers.Server() as server:
        runner.run(main(server))


@pytest.mark.parametrize("durability", ["aof", "replicated"])
def test_a_durability_that_is_not_met_is_unknown_for_each(runner: asyncio.Runner, order: Make, durability: str) -> None:
    """No replica is there, and a disk that is asked for with every command: one wait stands behind all of them."""

    async def main(url: str) -> list[Any]:
        with ReservationBook.connect(url) as plain:
            plain.open_account(A, 1)
            plain.reserve(A, [order(hold=1)], request_id="so that the server knows the script")
        until = {"not_after_us": time.time_ns() // 1000 + 60_000_000}
        async with await AsyncReservationBook.connect(f"{url}?durability={durability}", timeout_ms=250) as book:
            first = await asyncio.gather(
                *[book.reserve(A, [order(hold=1)], request_id=f"r{n}", **until) for n in range(6)],
                return_exceptions=True,
            )
            assert (await book.account(A)).all_units == 7
            assert (await book.audit(A)).findings == ()
            return first

    with servers.Server("appendonly yes", "appendfsync everysec") as server:
        found = runner.run(main(server.url))
    if durability == "aof":
        assert [one.code for one in found] == [Code.OK] * 6
    else:
        assert [type(one) for one in found] == [StoreTimeout] * 6


def test_an_id_that_cannot_be_sent_is_refused_before_the_others_are_kept_waiting(
    client: redis.Redis, runner: asyncio.Runner, order: Make
) -> None:
    names = ("a", "b\x1fc", "Ж∞", 'q"\\')
    first, wrong, third, fourth = answers(
        runner, lambda book: [book.reserve(A, [order(hold=1)], request_id=name) for name in names]
    )
    assert isinstance(wrong, InputError)
    assert [first.code, third.code, fourth.code] == [Code.OK] * 3
