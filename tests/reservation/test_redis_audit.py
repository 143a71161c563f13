"""An audit of an account that changes while it is read: in Redis its orders are not read in one step."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests import servers
from tests.reservation.test_redis_same import TERMS, A, History

from equipoise.orders import Order
from equipoise.reservation import OrderState, ReservationBook
from equipoise.reservation.as_of import orders_as_of
from equipoise.reservation.records import STATE_AT, STATE_END, BookOrder
from equipoise.reservation.redis import RedisBook

Make = Callable[..., Order]


PUT_BACK = ("outbox", "amend_id", "amend_lots", "amend_hold", "changed_us", "version")
PUT_BACK += tuple([field for field in BookOrder._fields[:STATE_END] if field != "price_ticks"])


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(str(value) for value in terms.values())[:30])
@pytest.mark.parametrize("seed", range(4))
def test_an_order_read_later_is_put_back_to_what_it_was(clock: Any, terms: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)
    with ReservationBook.connect("memory:", clock=clock) as book:
        history = History([book], clock, seed, terms)
        assert history.ask("open_account", balance="0.000300", **terms).ok
        kept, whole = [], {}
        for _ in range(150):
            history.step()
            kept.append(book._holdings(A))
            whole.update({one.version: one for one in kept[-1].journal})
        told = moved = 0
        for _ in range(300):
            at = rng.randrange(len(kept))
            last = min(at + rng.choice([1, 3, 10, 40]), len(kept) - 1)
            then, now = kept[at], kept[last]
            # Each order of then or now as of some time in between; None where it was archived by then.
            names = {**then.orders, **now.orders}
            read = {name: kept[rng.randint(at, last)].orders.get(name) for name in names}
            # What has been trimmed since is not missed: whoever reads notices that, and begins anew.
            journal = [*then.journal, *[one for one in whole.values() if then.account.version < one.version]]
            journal = [one for one in journal if one.version <= now.account.version]
            orders = {name: order for name, order in read.items() if order}
            found, untold = orders_as_of(then.account.version, orders, journal)
            assert {*found, *untold} >= then.orders.keys()
            assert found.keys() <= then.orders.keys()
            for name, order in found.items():
                was = then.orders[name]
                # One that had ended may have been compacted since: an archive leaves what the journal keeps.
                assert was.terminal or not order.compacted
                fields = BookOrder._fields[STATE_AT:STATE_END] if order.compacted else PUT_BACK
                assert [getattr(order, field) for field in fields] == [getattr(was, field) for field in fields]
            read_since = [name for name, order in read.items() if order and order.version > then.account.version]
            moved += len({*read_since} & then.orders.keys())
            told += len({*read_since} & found.keys())
        assert told > 0.5 * moved > 40


def test_an_order_that_the_journal_contradicts_is_not_put_back(order: Make, clock: Any) -> None:
    with ReservationBook.connect("memory:", clock=clock) as book:
        book.open_account(A, "1")
        then = book.reserve(A, [order(lots=3, hold=9)], request_id="r")
        book.fill(A, "r:0", 1, fill_id="f")
        kept = book._holdings(A)
        read = kept.orders["r:0"]
        found, untold = orders_as_of(then.version, {"r:0": read}, kept.journal)
        assert (found["r:0"].hold, found["r:0"].working, untold) == (9, 3, [])
        for wrong in (read._replace(hold=5), read._replace(version=9)):
            assert orders_as_of(then.version, {"r:0": wrong}, kept.journal) == ({}, ["r:0"])


def test_an_amendment_below_what_has_filled_is_put_back_too(order: Make, clock: Any) -> None:
    with ReservationBook.connect("memory:", clock=clock) as book:
        book.open_account(A, "1")
        book.execute(A, order("ask", 9), request_id="x", margin="0.000009")
        book.reserve(A, [order(lots=9, hold=9)], request_id="r", send="caller")
        book.amend(A, "r:0", 2, "0.000002", event_id="a")
        book.fill(A, "r:0", 3, fill_id="f")
        then = book.settle_amend(A, "r:0", "accepted", amend_id="a")
        was = book._holdings(A).orders["r:0"]
        book.fill(A, "r:0", 1, fill_id="late")
        kept = book._holdings(A)
        found, untold = orders_as_of(then.version, kept.orders, kept.journal)
        assert (was.lots, found["r:0"].lots, untold) == (3, 3, [])
        assert [getattr(found["r:0"], field) for field in PUT_BACK] == [getattr(was, field) for field in PUT_BACK]


class Between:
    """Takes steps between any two reads that a book makes; counts the times that it looked at everything at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]) -> None:
        self.looks, self.reads, self.busy = 0, 0, False
        exchange, snapshot = RedisBook._exchange, RedisBook._snapshot

        def exchanged(book: RedisBook, *args: Any) -> list[Any]:
            found = exchange(book, *args)
            if not self.busy:
                self.busy = True
                self.reads += 1
                step()
                self.busy = False
            return found

        def looked(book: RedisBook, *args: Any) -> Any:
            self.looks += 1
            return snapshot(book, *args)

        monkeypatch.setattr(RedisBook, "_exchange", exchanged)
        monkeypatch.setattr(RedisBook, "_snapshot", looked)


@pytest.mark.parametrize("chunk", [50, 500])
@pytest.mark.parametrize("rule", ["sum", "larger_leg"])
def test_an_audit_ends_where_steps_come_between_any_two_of_its_reads(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch, chunk: int, rule: str
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_reads.CHUNK", chunk)
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1", rule=rule)
        made = 0

        def step() -> None:
            nonlocal made
            made += 1
            ladder = [order(lots=3, hold=9)] * 3
            assert book.reserve(A, ladder, request_id=f"r{made}", send="outbox").ok
            for place in range(3):
                assert book.claim(A, f"r{made}:{place}", event_id="c").ok
            book.fill(A, f"r{made}:0", 2, fill_id="f")
            book.cancel(A, f"r{made}:1")
            if made > 4:
                book.cancel(A, f"r{made - 4}:2")

        with monkeypatch.context() as patch:
            between = Between(patch, step)
            reports = [book.audit(A) for _ in range(8)]
        assert [report.findings for report in reports] == [()] * 8
        assert between.looks == 8
        assert between.reads > 40
        assert book.audit(A).ok


@pytest.mark.parametrize(("rule", "other"), [("sum", "hedge_legs"), ("hedge_legs", "sum")])
def test_an_audit_is_clean_where_a_late_fill_moves_an_order_to_another_leg_between_its_reads(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch, rule: str, other: str
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1", rule=rule)
        leg = "long" if rule == "hedge_legs" else None
        assert book.reserve(A, [order(lots=3, hold=9, order_id="o", leg=leg)], request_id="r").ok
        moved = []

        def step() -> None:
            if not moved:
                moved.append(book.cancel(A, "o"))
                moved.append(book.set_terms(A, rule=other, request_id="t"))
                moved.append(book.fill(A, "o", 2, fill_id="f", margin="0.000006"))

        with monkeypatch.context() as patch:
            Between(patch, step)
            report = book.audit(A)
        assert [outcome.ok for outcome in moved] == [True] * 3
        assert report.findings == ()
        found = book.order(A, "o")
        assert found is not None
        assert (found.leg, found.filled) == ("" if leg else "long", 2)
        assert book.audit(A).ok


def test_an_audit_ends_where_orders_are_amended_between_any_two_of_its_reads(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1", rule="larger_leg")
        made = 0

        def step() -> None:
            nonlocal made
            made += 1
            assert book.reserve(A, [order(lots=3, hold=9)], request_id=f"r{made}").ok
            assert book.claim(A, f"r{made}:0", event_id="c").ok
            if made > 2:
                assert book.amend(A, f"r{made - 2}:0", 5, "0.000020", event_id="a").ok
            if made > 3:
                assert book.settle_amend(A, f"r{made - 3}:0", "accepted", amend_id="a").ok

        with monkeypatch.context() as patch:
            between = Between(patch, step)
            reports = [book.audit(A) for _ in range(8)]
        assert [report.findings for report in reports] == [()] * 8
        assert between.looks == 8
        assert book.audit(A).ok


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(str(value) for value in terms.values())[:30])
def test_an_audit_of_any_history_that_goes_on_between_its_reads_finds_nothing(
    client: redis.Redis, clock: Any, monkeypatch: pytest.MonkeyPatch, terms: dict[str, Any]
) -> None:
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        history = History([book], clock, 3, terms)
        assert history.ask("open_account", balance="0.000300", **terms).ok
        with monkeypatch.context() as patch:
            Between(patch, history.step)
            for _ in range(30):
                assert book.audit(A).findings == ()


def test_an_audit_ends_where_orders_change_whose_beginning_the_journal_has_let_go_of(
    client: redis.Redis, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(lots=90, hold=900)] * 8, request_id="old")
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            assert book.fill(A, f"old:{count % 8}", 1, fill_id=f"f{count}").ok
            if count % 5 == 0:  # The journal loses its beginning while it is read, too.
                book.export(A, confirmed_version=max(book.account(A).version - 8, 0))
                clock.advance(86_401)
                assert book.archive(A).ok

        for _ in range(20):
            step()
        assert book.account(A).trimmed_version > 10
        with monkeypatch.context() as patch:
            between = Between(patch, step)
            reports = [book.audit(A) for _ in range(8)]
        assert [report.findings for report in reports] == [()] * 8
        assert between.looks > 8


def test_an_audit_ends_where_an_order_ends_and_is_compacted_between_its_reads(
    client: redis.Redis, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        book.open_account(A, "1", rule="larger_leg")
        book.reserve(A, [order(hold=9)] * 8, request_id="r", owner="ann", send="outbox")
        count = 0

        def step() -> None:
            nonlocal count
            if count < 8:
                assert book.cancel(A, f"r:{count}").ok
            count += 1
            clock.advance(1)
            assert book.archive(A, compact_after_s=0).ok

        with monkeypatch.context() as patch:
            between = Between(patch, step)
            assert book.audit(A).findings == ()
        assert between.looks > 1
        assert book.orders(A, every=True)[0].compacted


def test_an_audit_ends_beside_an_ended_ticket_that_is_closed_lot_by_lot(
    client: redis.Redis, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        book.open_account(A, "1", positions="tickets")
        book.reserve(A, [order(lots=900, hold=900)], request_id="t")
        book.fill(A, "t:0", 900, fill_id="f", margin="0.000900")
        clock.advance(2 * 86_400)
        book.export(A, confirmed_version=book.account(A).version)
        assert book.archive(A).ok
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            assert book.close(A, "t:0", 1, event_id=f"c{count}", realised_pnl=0).ok

        with monkeypatch.context() as patch:
            between = Between(patch, step)
            assert book.audit(A).findings == ()
        assert between.looks <= 3


def test_what_was_tampered_with_is_found_while_steps_go_on(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(lots=30, hold=300)], request_id="still")
        book.reserve(A, [order(lots=30, hold=300)], request_id="moves")
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            assert book.reserve(A, [order(hold=1)], request_id=f"r{count}").ok
            book.request_cancel(A, "moves:0", event_id=f"c{count}")

        for name in ("still", "moves"):
            key = f"user_holdings:{{{A}}}:{name}:0"
            client.hincrby(key, "reserved_margin", 7)
            with monkeypatch.context() as patch:
                between = Between(patch, step)
                findings = book.audit(A).findings
            assert between.reads > 4
            # A step that meets it has journalled what it found.
            assert {"still": "journal_state", "moves": "journal_chain"}[name] in {one.kind for one in findings}
            assert {"symbol", "order"} <= {one.kind for one in findings}
            client.hincrby(key, "reserved_margin", -7)


WRITER = """
import sys
from decimal import Decimal
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook

with ReservationBook.connect(sys.argv[1]) as book:
    name = sys.argv[2]
    order = Order(symbol="S", side=Side.BID, lots=2, price_ticks=1, hold=9, price=Decimal(1), size=Decimal(1))
    print("ready", flush=True)
    for n in range(300):
        ident = f"{name}{n}"
        book.reserve("acc", [order] * 3, request_id=ident, send="outbox")
        for place in range(3):
            book.claim("acc", f"{ident}:{place}", event_id="c")
        book.amend("acc", f"{ident}:2", 5, "0.000020", event_id="a")
        book.fill("acc", f"{ident}:0", 1, fill_id="f")
        book.settle_amend("acc", f"{ident}:2", "accepted", amend_id="a")
        book.cancel("acc", f"{ident}:1")
        book.mark("acc", {"S": n})
"""


def test_an_audit_reads_a_book_that_other_processes_write(client: redis.Redis) -> None:
    url = servers.shared().url
    with ReservationBook.connect(url) as book, contextlib.ExitStack() as stack:
        book.open_account("acc", "1000")
        command = [sys.executable, "-c", WRITER, url]
        writers = [stack.enter_context(subprocess.Popen([*command, name], stdout=subprocess.PIPE)) for name in "ab"]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        reports = [book.audit("acc")]
        while any(writer.poll() is None for writer in writers):
            reports.append(book.audit("acc"))
        assert [writer.returncode for writer in writers] == [0, 0]
        assert [report.findings for report in reports] == [()] * len(reports)
        assert len({report.version for report in reports}) >= 2
        assert len(book.orders("acc", OrderState.CANCELLED)) == 600
